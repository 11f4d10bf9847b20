"""A journal of which something is gone: its log, its newest part, a page. A start finds it, keeps what there is, and holds the line
until a person has looked."""

import json
import os
import shutil

from rig import Disk, Row, calls, sampled, strace
from running import Daemon

PAGE = 4096
# What may lie beside the journal and is not the journal.
LOG = ("line.db-wal", "line.db-shm")


def alarms(daemon):
    found = daemon.read("alarm", "list")
    return found if isinstance(found, list) else []


def looked_at(house, folder, what, must_doubt=True):
    """A start on what is left: it comes up, doubts, and goes on when a person acknowledges; and what it goes on with is whole."""
    daemon = Daemon(house, folder)
    try:
        if not daemon.wait(lambda: "seq" in daemon.read("status")):
            # Where nothing can be saved there is nothing to hold a line over: the file is kept, and a backup is asked for.
            is_refused = "restore a backup" in daemon.words() and list(folder.glob("line.db-damaged*"))
            return [] if is_refused else [f"{what}: no start comes up: {daemon.words()}"]
        # The doubt is one of the first facts of this start.
        if must_doubt:
            daemon.wait(lambda: alarms(daemon))
        else:
            daemon.wait(lambda: daemon.read("status").get("seq", 0) > 0)
        doubts = alarms(daemon)
        found = [] if doubts or not must_doubt else [f"{what}: nobody was told"]
        if doubts and daemon.read("status").get("running") is not False:
            found.append(f"{what}: the line is not held")
        for alarm in doubts:
            if daemon.ask("alarm", "ack", alarm["alarm"])[0] != 0:
                found.append(f"{what}: alarm {alarm} cannot be acknowledged")
        daemon.wait(lambda: not alarms(daemon))
        found += [f"{what}: acknowledged, and {left} waits" for left in alarms(daemon)]
    finally:
        daemon.stop()
    for words in (["audit", "verify"], ["store", "rebuild", "--check"]):
        code, out = daemon.ask(*words, "--db", folder / "line.db")
        if code != 0:
            found.append(f"{what}: {' '.join(words)} ends with {code}: {out[-300:]}")
    return found


def facts(house, folder):
    """Facts that the file holds as it lies; a file that is no journal any more holds none."""
    out = house.run([house.program, "audit", "verify", "--json", "--db", folder / "line.db"], {})
    try:
        return json.loads(out.strip().splitlines()[-1])["facts"]
    except (IndexError, KeyError, ValueError):
        return 0


def anchored(folder):
    """The newest fact of the side file."""
    side = folder / "line.anchors"
    return max((json.loads(line)["seq"] for line in side.read_text().splitlines()), default=0) if side.exists() else 0


def killed(house, disk, number):
    """A journal whose line died at this write, its log not yet played into it."""
    folder = disk.folder()
    house.lockstep(folder, [strace(folder, f"pwrite64:signal=KILL:when={number}")], starts_max=1)
    return folder


def lived(house, folder):
    """A start and a stop in order on this journal."""
    daemon = Daemon(house, folder)
    try:
        if not daemon.wait(lambda: "seq" in daemon.read("status")):
            return [f"no start comes up: {daemon.words()}"]
        daemon.load()
    finally:
        daemon.stop()
    return []


# F24, F25
def log_removed(house):
    """the log of the journal is removed after a kill, and with it facts that stand in the side file"""
    row = Row("log removed")
    count = calls(house, ("pwrite64",))["pwrite64"]
    with Disk(house, megabytes=64) as disk:
        # The first start is proven by then, and upkeep has not yet played the log into the file.
        for number in range(count // 10, count // 3, 8 if house.full else 16):
            folder = killed(house, disk, number)
            for name in LOG:
                (folder / name).unlink(missing_ok=True)
            if facts(house, folder) < anchored(folder):
                row.add(looked_at(house, folder, f"log removed after pwrite64 {number}"))
            shutil.rmtree(folder)
    return [row]


# F26, F159
def old_copy(house):
    """an older copy is laid over the journal"""
    row = Row("old copy laid over")
    with Disk(house, megabytes=64) as disk:
        for number in sampled(calls(house, ("pwrite64",))["pwrite64"], 12 if house.full else 4):
            folder = killed(house, disk, number)
            found = lived(house, folder)
            old = {name: (folder / name).read_bytes() for name in ("line.db", *LOG) if (folder / name).exists()}
            found += lived(house, folder)
            for name in ("line.db", *LOG):
                (folder / name).unlink(missing_ok=True)
            for name, content in old.items():
                (folder / name).write_bytes(content)
            row.add(found + looked_at(house, folder, f"the copy after pwrite64 {number} laid over"))
    return [row]


# F19
def page_damaged(house):
    """a page of the journal is overwritten: it is moved aside, salvaged, and the line held"""
    row = Row("page damaged")
    with Disk(house, megabytes=64) as disk:
        whole = disk.folder()
        found = lived(house, whole)
        if found:
            return [Row("page damaged", 1, found)]
        pages = os.path.getsize(whole / "line.db") // PAGE
        for page in sampled(pages, pages if house.full else 10):
            folder = disk.folder()
            shutil.copytree(whole, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
            with open(folder / "line.db", "r+b") as journal:
                journal.seek((page - 1) * PAGE + (100 if page == 1 else 0))
                journal.write(b"\xa5" * 2000)
            # A page that nothing uses may be anything; then both proofs of the file must hold as they are.
            row.add(looked_at(house, folder, f"page {page} damaged", must_doubt=False))
            if not list(folder.glob("line.db-damaged*")):
                row.violations.append(f"page {page} damaged: nothing was moved aside")
            shutil.rmtree(folder)
    return [row]
