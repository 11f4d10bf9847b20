"""The README's path from an unknown server to a running line: its commands, as they stand there, in their order."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from foreign_line import PLANT
from stage import ROOT, claim, wait_until

HEADING = "## A line of foreign devices, step by step"
COMMANDS_MAX = 19
PATIENCE_S = 30


def commands():
    """The lines of the section's code blocks."""
    text = (ROOT / "README.md").read_text()
    claim(HEADING in text, f"README.md has no section {HEADING!r}")
    section = text.split(HEADING, 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"^```\w*\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


class Shell:
    """A technician at a keyboard: who asks again, for a while, where something is not up yet."""

    def __init__(self, house, folder):
        (folder / "bin").mkdir()
        (folder / "bin" / "sealgate").symlink_to(house.program)
        (folder / "tests").symlink_to(ROOT / "tests")
        path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])
        self.folder, self.env, self.behind = folder, {**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}, []
        house.afterwards(self.clear)

    def start(self, line):
        with open(self.folder / f"behind-{len(self.behind)}.log", "wb") as log:
            started = subprocess.Popen(["bash", "-c", f"exec {line.rstrip('& ')}"], cwd=self.folder, env=self.env, stdout=log, stderr=log)
        self.behind.append(started)

    def run(self, line):
        until = time.monotonic() + PATIENCE_S
        while True:
            ended = subprocess.run(["bash", "-c", line], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=60)
            if ended.returncode == 0:
                return ended.stdout
            claim(time.monotonic() < until, f"{line}: exit {ended.returncode}: {ended.stdout[-1500:]}{ended.stderr[-1500:]}")
            time.sleep(0.3)

    def clear(self):
        for started in reversed(self.behind):
            if started.poll() is None:
                started.send_signal(signal.SIGTERM)
        for started in self.behind:
            try:
                started.wait(15)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def technician(house):
    """from an unknown server to a running line by the commands of the README, under twenty of them"""
    house.needs("asyncua"), house.needs("pymodbus")
    lines = commands()
    claim(0 < len(lines) <= COMMANDS_MAX, f"README has {len(lines)} commands")
    house.count("the README's path, tried as it stands")
    shell = Shell(house, house.folder("technician"))
    for line in lines:
        if line.rstrip().endswith("&"):
            shell.start(line)
        else:
            shell.run(line)
    skeleton_holds_the_maps(shell.folder)
    truth = shell.folder / "line9" / "plant.jsonl"
    wait_until(lambda: truth.read_bytes().count(b'"kind": "left"') >= 2, "two boxes have left the line", PATIENCE_S)
    return f"{len(lines)} commands; boxes leave the line"


def skeleton_holds_the_maps(folder):
    """What browsing found is what the maps of the front are made of: every node, with a type of its family."""
    skeleton = (folder / "line9" / "skeleton.toml").read_text()
    maps = [(PLANT / "maps" / name).read_text() for name in ("markjet.toml", "eye.toml", "gate.toml")]
    nodes = [node for text in maps for node in re.findall(r'^node = (".*")', text, re.MULTILINE)]
    missing = [node for node in nodes if f"node = {node}" not in skeleton]
    claim(len(nodes) > 30 and not missing, f"the skeleton lacks {missing[:5]}")


STEPS = (technician,)
