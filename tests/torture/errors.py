"""The disk refuses: an error at one call or from one call on, and a disk that is slow."""

import shutil

from rig import Row, calls, sampled, strace, wrong

WRITES = ("pwrite64", "fsync", "fdatasync", "ftruncate", "openat", "unlink", "flock")
ERRORS = ("EIO", "ENOSPC", "EROFS")
# Starts that meet the error which stays, before it is lifted.
STAYS = 3


def judged(verdict, what):
    """Every start ended in order or with 74, the last one in order."""
    found = wrong(verdict)
    ends = verdict["ends"]
    if ends[-1:] != ["0"] or any(end not in ("0", "74") for end in ends):
        found.append(f"the starts ended with {ends}")
    return [f"{what}: {text}" for text in found]


def points(house, counted, most):
    return [(name, number) for name, count in counted.items() for number in sampled(count, most)]


# F16, F18, F21, F22, F163
def once(house):
    """EIO, ENOSPC and EROFS at one write-class call: nothing goes on after it but a new start"""
    counted = calls(house, WRITES)
    rows = []

    def one(error, name, number):
        folder = house.folder()
        verdict = house.lockstep(folder, [strace(folder, f"{name}:error={error}:when={number}")])
        shutil.rmtree(folder, ignore_errors=True)
        return judged(verdict, f"{name} {number} {error}")

    for error in ERRORS:
        row = Row(f"{error} once")
        jobs = [lambda at=at: one(error, *at) for at in points(house, counted, 2000 if house.full else 40)]
        for found in house.all(jobs):
            row.add(found)
        rows.append(row)
    return rows


# F16, F17, F18, F21, F22
def for_ever(house):
    """the same from one call on, over three starts, each of which must end with 74; then it is lifted"""
    # Who cannot open a file any more while it runs reads nothing for the feed; only a start cannot do without.
    # The side file, flushed by fdatasync, may fail: the journal holds its checkpoints too.
    counted = {**calls(house, ("pwrite64", "fsync")), "openat": 5}
    rows = []

    def one(error, name, number):
        folder = house.folder()
        stays = [strace(folder, f"{name}:error={error}:when={at}+") for at in [number] + [1] * (STAYS - 1)]
        verdict = house.lockstep(folder, stays)
        shutil.rmtree(folder, ignore_errors=True)
        found = judged(verdict, f"{name} {number}+ {error}")
        if verdict["ends"] != ["74"] * STAYS + ["0"]:
            found.append(f"{name} {number}+ {error}: the starts ended with {verdict['ends']}")
        return found

    for error in ERRORS:
        row = Row(f"{error} for ever")
        # The last checkpoint of a clean stop may fail without harm, and without a word that counts.
        jobs = [lambda at=at: one(error, *at) for at in points(house, counted, 60 if house.full else 8) if at[1] < counted[at[0]]]
        for found in house.all(jobs):
            row.add(found)
        rows.append(row)
    return rows


# F19
def reads(house):
    """EIO at one read of the journal"""
    counted = calls(house, ("pread64",))
    row = Row("EIO at a read")

    def one(name, number):
        folder = house.folder()
        verdict = house.lockstep(folder, [strace(folder, f"{name}:error=EIO:when={number}")])
        shutil.rmtree(folder, ignore_errors=True)
        return judged(verdict, f"{name} {number} EIO")

    for found in house.all([lambda at=at: one(*at) for at in points(house, counted, 2000 if house.full else 80)]):
        row.add(found)
    return [row]
