"""A broker on a free port of loopback, for whoever judges the program from outside."""

import shutil
import signal
import socket
import subprocess
from pathlib import Path

from judge import LeftOut, claim, free_port, wait_until

PATIENCE = 10


def program():
    """Where it is installed; none where it is not."""
    found = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    return found if Path(found).exists() else None


class Mosquitto:
    """A broker without persistence: what it held is gone with it."""

    def __init__(self, folder, *more):
        if not program():
            raise LeftOut("mosquitto is not installed; tests/all.sh installs it")
        self.port, self.process = free_port(), None
        self.config = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "persistence false", *more]
        self.config.write_text("".join(f"{line}\n" for line in lines))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        self.process = subprocess.Popen([program(), "-c", self.config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: self.answers() or self.process.poll() is not None, "mosquitto answers", PATIENCE)
        claim(self.process.poll() is None, "mosquitto ended by itself")

    def answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
