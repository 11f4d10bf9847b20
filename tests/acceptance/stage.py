"""Starts what the steps look at: the program and demos of it. Everything dies with the step."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Wrong(Exception):
    """A promise that does not hold, in words."""


def claim(holds, text):
    if not holds:
        raise Wrong(text)


def standards():
    folder = Path(os.environ.get("SEALGATE_STANDARDS", ROOT.parent / "shared" / "standards"))
    claim(folder.is_dir(), f"{folder} is missing: point SEALGATE_STANDARDS to the standards data")
    return folder


class Stage:
    def __init__(self, binary, root):
        self.binary = binary
        self.root = root

    def folder(self, name):
        """A fresh, empty folder."""
        folder = self.root / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def run(self, *arguments, within=60):
        """The program with these arguments, to its end: exit code, standard output, standard error."""
        command = [self.binary, *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=within)
        return ended.returncode, ended.stdout, ended.stderr

    def demo(self, folder, units, rate, *more, within=120, seed=1):
        """A demo that must end well: the last line of its output, and how long it took."""
        began = time.monotonic()
        arguments = demo_arguments(folder, units, rate, seed) + list(more)
        try:
            code, out, err = self.run(*arguments, within=within)
        except subprocess.TimeoutExpired:
            raise Wrong(f"{' '.join(map(str, arguments))} did not end within {within} s") from None
        return summary(code, out, err), time.monotonic() - began

    def start_demo(self, folder, units, rate, *more, seed=1):
        command = [self.binary, *map(str, demo_arguments(folder, units, rate, seed)), *map(str, more)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def demo_arguments(folder, units, rate, seed):
    return ["demo", "--units", units, "--rate", rate, "--seed", seed, "--headless", "--json", "--data", folder]


def summary(code, out, err):
    claim(code == 0, f"exit code {code}; {out[-2000:]}{err[-2000:]}")
    return json.loads(out.strip().splitlines()[-1])


def wait_until(condition, what, within=60):
    until = time.monotonic() + within
    while not condition():
        claim(time.monotonic() < until, f"{what}: not within {within} s")
        time.sleep(0.05)
