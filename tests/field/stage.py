"""What the steps share: the program beside them, the journal at the end, and a loopback proxy that stops forwarding without a word."""

import importlib
import json
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Wrong(Exception):
    """A promise that does not hold, in words."""


class LeftOut(Exception):
    """What this machine lacks, in words."""


def claim(holds, text):
    if not holds:
        raise Wrong(text)


def wait_until(condition, what, within=60):
    """What the condition found. `what` says what was waited for; where it is a function, in the words of the end."""
    until = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() > until:
            raise Wrong(f"{what() if callable(what) else what}: not within {within} s")
        time.sleep(0.02)
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Stage:
    def __init__(self, program, root, is_full):
        self.program, self.root, self.is_full = program, root, is_full
        self.tried, self.processes, self.ends = {}, [], []

    def folder(self, name):
        folder = self.root / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def needs(self, package):
        """A package of the test environment; the step is left out where it is not there."""
        try:
            return importlib.import_module(package)
        except ImportError as error:
            raise LeftOut(f"the Python package {package} is missing ({error}); tests/all.sh installs it") from None

    def count(self, kind, times=1):
        self.tried[kind] = self.tried.get(kind, 0) + times

    def start(self, *arguments, log=None, **more):
        """The program beside us, ended with the step at the latest."""
        environment = {**os.environ, **more.pop("env", {})}
        out = open(log, "ab") if log else subprocess.DEVNULL
        command = [self.program, *map(str, arguments)]
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, **more)
        self.processes.append(process)
        return process

    def run(self, *arguments, within=60, **more):
        environment = {**os.environ, **more.pop("env", {})}
        command = [self.program, *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=within, env=environment, **more)
        return ended.returncode, ended.stdout, ended.stderr

    def afterwards(self, end):
        """Something to be called when the step is over, however it ends."""
        self.ends.append(end)

    def clear(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for end in reversed(self.ends):
            end()
        self.processes, self.ends = [], []


class Journal:
    """The audit views, by plain SQL."""

    def __init__(self, path):
        self.base = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)

    def rows(self, sql, *values):
        return self.base.execute(sql, values).fetchall()

    def bodies(self, kind):
        return [json.loads(body) for (body,) in self.rows("SELECT body FROM v_fact WHERE kind = ? ORDER BY seq", kind)]


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
