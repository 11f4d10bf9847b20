"""SIGKILL at every call: the process dies there and nowhere else."""

import shutil

from rig import Row, calls, sampled, strace, wrong

# Every call by which the journal changes, and those by which it is found.
ON_FILES = ("pwrite64", "write", "fsync", "fdatasync", "ftruncate", "fallocate", "unlink", "rename", "openat", "flock")


def sweep(house, name, numbers, paths):
    def one(number):
        folder = house.folder()
        verdict = house.lockstep(folder, [strace(folder, f"{name}:signal=KILL:when={number}", paths=paths)])
        shutil.rmtree(folder, ignore_errors=True)
        return [f"{name} {number}: {text}" for text in wrong(verdict, ["signal 9", "0"])]

    return house.all([lambda number=number: one(number) for number in numbers])


def past_the_end(house, name, number, paths):
    """The run that needs no kill any more: the sweep has met every call."""
    folder = house.folder()
    verdict = house.lockstep(folder, [strace(folder, f"{name}:signal=KILL:when={number}", paths=paths)])
    return [f"{name} {number}, past the last: {text}" for text in wrong(verdict, ["0"])]


# F01, F04, F25, F134
def at_files(house):
    """killed at every call on the files of the journal"""
    rows = []
    for name, count in calls(house, ON_FILES).items():
        row = Row(f"killed at {name}")
        for found in sweep(house, name, range(1, count + 1), paths=True):
            row.add(found)
        row.violations += past_the_end(house, name, count + 1, paths=True)
        rows.append(row)
    return rows


# F104, F105, I28
def at_speech(house):
    """killed at words to the machines and to upstream: between a commit and its permit, between a permit and its answer"""
    count = calls(house, ("write",), paths=False)["write"]
    row = Row("killed at a word to the line")
    for found in sweep(house, "write", range(1, count + 1) if house.full else sampled(count, 250), paths=False):
        row.add(found)
    return [row]


# F01, F04
def twice(house):
    """killed at a call, and at a call of the start after that"""
    count = calls(house, ("pwrite64",))["pwrite64"]
    firsts, seconds = (60, 6) if house.full else (20, 4)
    row = Row("killed twice")

    def one(first, second):
        folder = house.folder()
        unders = [strace(folder, f"pwrite64:signal=KILL:when={number}") for number in (first, second)]
        verdict = house.lockstep(folder, unders)
        shutil.rmtree(folder, ignore_errors=True)
        ends = verdict["ends"]
        found = wrong(verdict) + ([] if ends[:1] == ["signal 9"] and ends[-1:] == ["0"] else [f"ends {ends}"])
        return [f"pwrite64 {first}, then {second}: {text}" for text in found]

    pairs = [(first, second) for first in sampled(count, firsts) for second in (1, 2, 3, 5, 9, 17)[:seconds]]
    for found in house.all([lambda pair=pair: one(*pair) for pair in pairs]):
        row.add(found)
    return [row]
