"""Judges the program from outside: what the folders of tests share that start it as it ships.

A step is a function with one line of documentation that takes a `House`, says by `count` what it tries, and returns what it found, or
raises `Wrong`, or `LeftOut`. `main` plays steps and prints a table "kind of fault, tried, violations".
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


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


class House:
    """The program, a folder for each run, and what ends with the step at the latest."""

    def __init__(self, program, root, is_full=False):
        self.program, self.root, self.is_full = program, root, is_full
        self.tried, self.processes, self.ends = {}, [], []

    def folder(self, name):
        """A fresh, empty folder."""
        folder = self.root / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def count(self, kind, times=1):
        self.tried[kind] = self.tried.get(kind, 0) + times

    def run(self, *arguments, within=60, env=None):
        """The program with these arguments, to its end: exit code, standard output, standard error."""
        command = [self.program, *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=within, env={**os.environ, **(env or {})})
        return ended.returncode, ended.stdout, ended.stderr

    def start(self, *arguments, log=subprocess.DEVNULL, env=None):
        """The program beside us. What it says goes to `log`: a file, to whose end it is added, or what `Popen` takes."""
        command = [self.program, *map(str, arguments)]
        with open(log, "ab") if isinstance(log, Path) else contextlib.nullcontext(log) as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, text=True, env={**os.environ, **(env or {})})
        self.processes.append(process)
        return process

    def afterwards(self, end):
        """Something to be called when the step is over, however it ends."""
        self.ends.append(end)

    def clear(self):
        for process in self.processes:
            if process.poll() is None:
                # A demo takes its daemon with it when it is asked, and cannot when it is killed.
                process.terminate()
                try:
                    process.wait(30)
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

    def one(self, sql, *values):
        return self.rows(sql, *values)[0][0]

    def bodies(self, kind):
        return [json.loads(body) for (body,) in self.rows("SELECT body FROM v_fact WHERE kind = ? ORDER BY seq", kind)]

    def close(self):
        self.base.close()


def main(name, about, steps, house, may_leave_out=True):
    """The command of a folder of tests: plays the steps in a `house` of this class; 1 where one found a violation."""
    steps = {step.__name__: step for step in steps}
    options = argparse.ArgumentParser(prog=f"tests/{name}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("program", type=Path)
    options.add_argument("--only", nargs="+", choices=steps, default=list(steps), metavar="STEP", help=", ".join(steps))
    options.add_argument("--full", action="store_true")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(prefix=f"sealgate-{name}-") as temporary:
        root = Path(os.environ.get(f"SEALGATE_{name.upper()}_DIR", temporary)).resolve()
        root.mkdir(parents=True, exist_ok=True)
        stage = house(arguments.program.resolve(), root, arguments.full)
        rows = [row for step in arguments.only for row in play(stage, steps[step], may_leave_out)]
    width = max(44, *(len(kind) for kind, _, _ in rows))
    print(f"\n{'kind of fault':<{width}} {'tried':>6} {'violations':>11}")
    for kind, tried, violations in rows:
        print(f"{kind:<{width}} {tried:>6} {violations:>11}")
    return 1 if any(violations not in (0, "left out") for _, _, violations in rows) else 0


def play(house, step, may_leave_out):
    """Rows of the table. A step says what it tried as it goes, so that a violation has its count too."""
    name = step.__name__
    print(f"--> {name}: {(step.__doc__ or name).splitlines()[0]}", flush=True)
    began = time.monotonic()
    house.tried = {}
    violations = 0
    try:
        print(f"    {step(house)}; {time.monotonic() - began:.0f} s", flush=True)
    except LeftOut as left_out:
        print(f"    LEFT OUT: {left_out}", flush=True)
        violations = "left out" if may_leave_out else 1
    except Wrong as wrong:
        violations = 1
        print(f"    VIOLATION: {wrong}", flush=True)
    except Exception:
        # A surprise in a check is a failed check; the other steps still say what they find.
        violations = 1
        traceback.print_exc(file=sys.stdout)
    finally:
        house.clear()
    tried = house.tried or {name: 0}
    last = len(tried) - 1
    return [(kind, count, violations if index == last or violations == "left out" else 0) for index, (kind, count) in enumerate(tried.items())]
