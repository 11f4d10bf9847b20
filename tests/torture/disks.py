"""Disks that fill up, turn read-only, or took what they could not hold; and space that returns."""

import subprocess

from errors import judged
from rig import Disk, LeftOut, Row, calls, needs, sampled, strace, wrapper

# Starts that meet the full disk before space returns.
STAYS = 3


class Memory:
    """A tmpfs of its own size."""

    def __init__(self, house, kilobytes):
        needs("mount", "umount", root=True)
        self.house, self.mount_point = house, house.folder()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", self.mount_point], capture_output=True, text=True)
        if mounted.returncode:
            raise LeftOut(f"no tmpfs here: {mounted.stderr.strip()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.mount_point], capture_output=True)

    def told(self):
        return {"DISK_MOUNT": str(self.mount_point)}


# F21
def full(house):
    """a disk that fills up in the middle of the batch: nothing wrong is recorded or permitted, and space that returns is enough"""
    row = Row("disk full")
    lefts = range(40, 1000, 40 if house.full else 80)

    def one(left):
        with Memory(house, 4096) as disk:
            folder = house.folder(disk.mount_point)
            unders = [wrapper("fill", disk.mount_point, left * 1024)] + [""] * (STAYS - 1) + [wrapper("empty", disk.mount_point)]
            verdict = house.lockstep(folder, unders, **disk.told())
            return judged(verdict, f"{left} KiB left")

    for found in house.all([lambda left=left: one(left) for left in lefts]):
        row.add(found)
    return [row]


# F22
def read_only(house):
    """read-only when it comes back: no start works on it, and none makes a file elsewhere; then it is writable again"""
    counted = calls(house, ("pwrite64",))["pwrite64"]
    row = Row("read-only remount")
    with Disk(house) as disk:
        for number in sampled(counted, 12 if house.full else 5):
            folder = disk.folder()
            unders = [strace(folder, f"pwrite64:signal=KILL:when={number}"), wrapper("remount", "ro"), "", wrapper("remount", "rw")]
            verdict = house.lockstep(folder, unders, **disk.told())
            found = judged({**verdict, "ends": verdict["ends"][1:]}, f"read-only after pwrite64 {number}")
            if verdict["ends"] != ["signal 9", "74", "74", "0"]:
                found.append(f"read-only after pwrite64 {number}: the starts ended with {verdict['ends']}")
            row.add(found)
    return [row]


# F17, F22, F29
def broken(house):
    """an ext4 that finds an error and makes itself read-only under the running line; mounted again it goes on"""
    row = Row("file system turns read-only")
    lies = Row("a flush that lied (F29)", left_out="no program can prevent it")
    for at in range(12 if house.full else 5):
        with Disk(house, options="errors=remount-ro") as disk:
            unders = [wrapper("broken", 0.05 + at * 0.03), "", wrapper("mended")]
            found = judged(house.lockstep(disk.folder(), unders, **disk.told()), f"broken at {at}")
        # While it aborts its journal, ext4 may answer a flush in flight with yes and keep nothing, about once in a hundred times.
        if any("was durable, and a start found only" in text for text in found):
            print(f"    a flush was answered with yes and nothing was kept: {found[0]}")
            lies.add([])
        else:
            row.add(found)
    return [row, lies] if lies.tried else [row]


# F16, F17
def over_committed(house):
    """a disk that takes what it cannot hold: the flush fails for real, and the pages it loses are marked clean"""
    row = Row("write-back fails")
    for kilobytes in range(900, 2200, 100 if house.full else 260):
        with Memory(house, kilobytes) as memory:
            with Disk(house, megabytes=16, options="errors=remount-ro", backing=memory.mount_point) as disk:
                grow = wrapper("grow", memory.mount_point)
                verdict = house.lockstep(disk.folder(), ["", "", grow], **disk.told())
            row.add(judged(verdict, f"{kilobytes} KiB under it"))
    return [row]
