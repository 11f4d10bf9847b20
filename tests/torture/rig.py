"""Runs the lock-step batch under faults: the commands, the folders, the loop-mounted disks, and what a run said at its end."""

import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
AT_ONCE = 2
# One run takes a fifth of a second; this is for a machine that does other things as well.
RUN_MAX = 120
# Starts the subject under what UNDER_1, UNDER_2 .. say of this start, or by itself where they say nothing.
UNDER = 'eval "under=\\$UNDER_$SEALGATE_START"; exec $under "$@"'
# The files of the journal: calls on others are not counted.
FILES = ("line.db", "line.db-wal", "line.db-shm", "line.db.lock", "line.db.born", "line.key", "line.pub", "line.anchors")


@dataclass
class Row:
    """One kind of fault: how often it was provoked, and what did not hold."""

    kind: str
    tried: int = 0
    violations: list = field(default_factory=list)
    left_out: str = ""

    def add(self, violations):
        self.tried += 1
        self.violations += violations


class LeftOut(Exception):
    """What this machine does not allow, in words."""


def fast_folder():
    """Memory where there is some: a killed process loses nothing that was written, on any file system."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and os.access(memory, os.W_OK) else Path(tempfile.gettempdir())


class House:
    def __init__(self, program, full):
        self.program = Path(program).resolve()
        self.full = full
        self.root = Path(tempfile.mkdtemp(prefix="sealgate-torture-", dir=fast_folder()))
        self.lock = threading.Lock()
        self.made = 0
        self.environment = {}

    def close(self):
        shutil.rmtree(self.root, ignore_errors=True)

    def folder(self, below=None):
        """A fresh, empty folder."""
        with self.lock:
            self.made += 1
            folder = Path(below or self.root) / f"run-{self.made}"
        folder.mkdir()
        return folder

    def lockstep(self, folder, unders=(), starts_max=12, seed=None, disk_may_lie=False, **environment):
        """A run with `unders[k]` as the wrapper of start k + 1: its verdict. A run that hangs or says nothing is a violation."""
        command = [self.program, "lockstep", "--json", "--on", folder, "--starts-max", starts_max]
        command += ["--seed", seed] if seed is not None else []
        command += ["--disk-may-lie"] if disk_may_lie else []
        wrapper = ["sh", "-c", UNDER, "sh"] if unders else []
        command += [f"--under={word}" for word in wrapper]
        told = {f"UNDER_{at}": under for at, under in enumerate(unders, 1) if under}
        out = self.run(command, {**self.environment, **told, **environment})
        try:
            verdict = json.loads(out.strip().splitlines()[-1])
        except (IndexError, ValueError):
            verdict = {"violations": [f"no verdict: {out[-600:]}"], "ends": []}
        return verdict

    def run(self, command, environment, within=RUN_MAX):
        """What it says on both outputs; everything that it started dies with it."""
        whole = {**os.environ, **environment}
        process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=whole, start_new_session=True
        )
        try:
            out, _ = process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            end_group(process)
            out, _ = process.communicate()
            return f"{out}\nhangs: not at its end within {within} s"
        return out

    def all(self, jobs):
        """Each job's result in their order, two at a time."""
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda job: job(), jobs))


def end_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def strace(folder, inject="", trace="", out="/dev/null", paths=True):
    """The words of a tracer that touches only calls on the files of the journal (or all calls)."""
    words = ["strace", "-f", "-o", str(out)]
    if paths:
        words += [word for name in FILES for word in ("-P", f"{folder}/{name}")] + ["-P", str(folder)]
    if trace or inject:
        words += ["-e", f"trace={trace or inject.split(':')[0]}"]
    words += ["-e", f"inject={inject}"] if inject else []
    return " ".join(words)


def needs(*programs, root=False):
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        raise LeftOut(f"{', '.join(missing)}: not installed")
    if root and os.geteuid() != 0:
        raise LeftOut("mounts need root")


def calls(house, names, paths=True):
    """How often an undisturbed run makes each of these calls."""
    needs("strace")
    folder = house.folder()
    out = folder.with_suffix(".calls")
    verdict = house.lockstep(folder, [strace(folder, trace=",".join(names), out=out, paths=paths)])
    if not out.exists():
        raise LeftOut(f"strace cannot trace here: {verdict['violations'][:1]}")
    if wrong(verdict, ["0"]):
        raise AssertionError(f"a run without a fault: {wrong(verdict, ['0'])}")
    lines = [line.split(None, 1)[-1] for line in out.read_text(errors="replace").splitlines()]
    counted = {name: sum(line.startswith(f"{name}(") for line in lines) for name in names}
    shutil.rmtree(folder)
    return {name: count for name, count in counted.items() if count}


def wrong(verdict, ends=None):
    """The violations of a run, and an end that was not to be."""
    found = list(verdict["violations"])
    if ends is not None and verdict["ends"] != ends:
        found.append(f"the starts ended with {verdict['ends']}, expected {ends}")
    return found


def sampled(count, most):
    """At most so many numbers of 1 to count, spread evenly, the first and the last among them."""
    if count <= most:
        return list(range(1, count + 1))
    return sorted({1 + round(at * (count - 1) / (most - 1)) for at in range(most)})


class Disk:
    """An ext4 of its own on a loop device, or a tmpfs; unmounted and gone at the end."""

    def __init__(self, house, megabytes=24, options="", backing=None):
        needs("mkfs.ext4", "mount", "umount", root=True)
        self.house = house
        self.base = house.folder()
        self.image = Path(backing or self.base) / "image"
        self.mount_point = self.base / "mounted"
        self.mount_point.mkdir()
        # Nothing reaches the disk by itself: only what the program asks for.
        self.options = ",".join(filter(None, ["loop,commit=600", options]))
        with open(self.image, "wb") as image:
            image.truncate(megabytes * 1024 * 1024)

    def make(self, *words):
        made = subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "4096", *words, self.image], capture_output=True, text=True)
        if made.returncode:
            raise LeftOut(f"mkfs.ext4: {made.stderr.strip()}")

    def __enter__(self):
        self.make()
        mounted = subprocess.run(["mount", "-o", self.options, self.image, self.mount_point], capture_output=True, text=True)
        if mounted.returncode:
            raise LeftOut(f"no loop mount here: {mounted.stderr.strip()}")
        return self

    def __exit__(self, *_):
        for _ in range(100):
            if subprocess.run(["umount", self.mount_point], capture_output=True).returncode == 0:
                break
            if not os.path.ismount(self.mount_point):
                break
            threading.Event().wait(0.1)
        shutil.rmtree(self.base, ignore_errors=True)

    def folder(self):
        """A folder that stands whatever happens to what is in it."""
        folder = self.house.folder(self.mount_point)
        for path in (folder, self.mount_point):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        return folder

    def told(self):
        """For the wrappers: which disk is meant."""
        return {"DISK_IMAGE": str(self.image), "DISK_MOUNT": str(self.mount_point), "DISK_OPTIONS": self.options}


def wrapper(name, *words):
    """The words that run one of our wrappers in front of the subject."""
    return " ".join([sys.executable, "-S", str(HERE / "under.py"), name, *map(str, words), "--"])
