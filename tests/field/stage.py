"""What the steps of this folder share beyond `judge`: packages, and a loopback proxy that stops forwarding without a word."""

import importlib
import select
import socket
import threading

# For the steps, which take all that they share from here.
from judge import ROOT, House, Journal, LeftOut, Wrong, claim, free_port, wait_until  # noqa: F401


class Stage(House):
    def needs(self, package):
        """A package of the test environment; the step is left out where it is not there."""
        try:
            return importlib.import_module(package)
        except ImportError as error:
            raise LeftOut(f"the Python package {package} is missing ({error}); tests/all.sh installs it") from None


class Proxy:
    """Between the program and one server. `cut` stops forwarding on every open link and closes neither side: nobody is told."""

    def __init__(self, back):
        self.back, self.links, self.accepted, self.open = back, [], 0, True
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while self.open:
            try:
                near = self._take()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.back), 1)
            except OSError:
                near.close()  # The server is away: as if its port were closed.
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted += 1
            link = {"near": near, "far": far, "is_cut": False}
            self.links.append(link)
            threading.Thread(target=self._carry, args=(link,), daemon=True).start()

    def _take(self):
        return self.listener.accept()[0]

    def _carry(self, link):
        ends = (link["near"], link["far"])
        while not link["is_cut"]:
            try:
                ready, _, _ = select.select(ends, [], [], 0.02)
                for end in ready:
                    data = end.recv(65536)
                    if link["is_cut"]:
                        return
                    if not data:
                        raise ConnectionError
                    ends[1 if end is ends[0] else 0].sendall(data)
            except (OSError, ValueError):
                for end in ends:
                    end.close()
                return

    def cut(self):
        """Every link that is open now is silent from now on. True where there was one."""
        alive = [link for link in self.links if not link["is_cut"] and link["near"].fileno() >= 0 and link["far"].fileno() >= 0]
        for link in alive:
            link["is_cut"] = True
        return bool(alive)

    def forget(self):
        """Closes what was cut: the far ends hear of it now."""
        for link in [link for link in self.links if link["is_cut"]]:
            link["near"].close()
            link["far"].close()
        self.links = [link for link in self.links if not link["is_cut"] and link["near"].fileno() >= 0]

    def close(self):
        self.open = False
        self.listener.close()
        self.cut()
        self.forget()
