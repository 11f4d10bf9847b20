"""Disks that fill up, turn read-only, took what they could not hold, or lie about it; and space that returns."""

import subprocess
from pathlib import Path

from errors import judged
from rig import Disk, LeftOut, Row, calls, needs, sampled, strace, wrapper, wrong

# Starts that meet the full disk before space returns.
STAYS = 3
# Megabytes of a disk that has room for the file system's own blocks alone.
SHORT = 16


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

    def resize(self, kilobytes):
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", self.mount_point], check=True)

    def told(self):
        return {"DISK_MOUNT": str(self.mount_point)}


class Laid(Disk):
    """An ext4 all of whose own blocks have room under it, its journal among them; its files have none."""

    def make(self):
        words = ["-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"]
        super().make(*words)
        # What mkfs leaves as holes is written as zeros.
        self.image.write_bytes(self.image.read_bytes())

    def lay(self, is_honest):
        """An honest disk takes a page at a time. A loop device says yes to a request of which it could write only the first pages."""
        needs("fstrim", "findmnt")
        subprocess.run(["fstrim", self.mount_point], check=True)
        if is_honest:
            device = subprocess.check_output(["findmnt", "-no", "SOURCE", self.mount_point], text=True).strip()
            Path(f"/sys/block/{Path(device).name}/queue/max_sectors_kb").write_text("4")


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


# F17, F22
def broken(house):
    """an ext4 that finds an error and makes itself read-only under the running line; checked and mounted again it goes on"""
    row = Row("file system turns read-only")
    for at in range(24 if house.full else 6):
        with Disk(house, options="errors=remount-ro") as disk:
            unders = [wrapper("broken", 0.03 + at * 0.03), "", wrapper("mended")]
            row.add(judged(house.lockstep(disk.folder(), unders, **disk.told()), f"broken at {at}"))
    return [row]


# F16, F17
def over_committed(house):
    """a disk that takes what it cannot hold: the flush fails for real, and the pages it loses are marked clean"""
    row = Row("write-back fails")
    for kilobytes in range(900, 2200, 100 if house.full else 260):
        with Memory(house, kilobytes) as memory:
            with Disk(house, megabytes=16, options="errors=remount-ro", backing=memory.mount_point) as disk:
                verdict = house.lockstep(disk.folder(), healed(memory), **disk.told())
            row.add(judged(verdict, f"{kilobytes} KiB under it"))
    # The file system's own blocks have room, so that it stays writable: the next start meets the pages that are marked clean.
    for left in range(10, 560, 20 if house.full else 60):
        row.add(judged(short(house, left, is_honest=True), f"{left} KiB left for its files"))
    return [row]


# F29
def lying(house):
    """a disk that says yes to half a write: nothing wrong, and no durable fact is lost without a word beyond the last hundred"""
    row = Row("write-back that lies")
    told = unseen = 0
    for left in range(0, 560, 20 if house.full else 70):
        verdict = short(house, left, is_honest=False)
        told, unseen = told + verdict.get("losses_told", 0), unseen + verdict.get("losses_unseen", 0)
        row.add(found_or_intact(verdict, f"{left} KiB left for its files"))
    print(f"    lost and told {told}, lost behind the newest checkpoint {unseen}")
    return [row]


def healed(memory):
    """Two starts on what has no room, room, and whoever looks after the file system from then on."""
    return ["", "", wrapper("grow", memory.mount_point), *[wrapper("watched")] * 9]


def short(house, left, is_honest):
    """A run on a file system whose disk holds its own blocks and so many KiB of files."""
    with Memory(house, SHORT * 2048) as memory:
        with Laid(house, megabytes=SHORT, options="errors=remount-ro", backing=memory.mount_point) as disk:
            disk.lay(is_honest)
            folder = disk.folder()
            used = disk.image.stat().st_blocks // 2
            memory.resize(used + left)
            return house.lockstep(folder, healed(memory), disk_may_lie=not is_honest, **disk.told())


def found_or_intact(verdict, what):
    """A start that says what is missing, and does not go on, has found the loss as well."""
    refused = [text for text in verdict["violations"] if "was a journal here" in text or "restore a backup" in text]
    return [] if refused and set(verdict["ends"]) == {"74"} else [f"{what}: {text}" for text in wrong(verdict)]
