#!/usr/bin/env python3
"""Everything that a disk and a power supply can do to a journal, done to it on purpose.

usage: python tests/torture PROGRAM [--full] [--only STEP ...]

A batch of three cases runs in lock-step over a real journal (`sealgate lockstep`), while its calls are counted, killed, refused,
delayed, or cut off from power. After every run the plant, the journal and upstream must agree; the program judges that itself, and
the canaries show that this judge sees. Prints a table: kind of fault, how often it was tried, violations. Ends with 1 on a
violation, and where a step did nothing. Needs Python 3.11, strace, and for mounts root; what a machine does not allow is said
and counts as left out.
"""

import sys
import time
import traceback

import canaries
import cuts
import daemon
import disks
import errors
import kills
import losses
from rig import House, LeftOut, Row

STEPS = {
    "kills": (kills.at_files, kills.at_speech, kills.twice),
    "errors": (errors.once, errors.for_ever, errors.reads),
    "cuts": (cuts.once, cuts.twice),
    "disks": (disks.full, disks.read_only, disks.broken, disks.over_committed, disks.lying),
    "losses": (losses.log_removed, losses.old_copy, losses.page_damaged),
    "daemon": (daemon.sockets, daemon.slow),
    "canaries": (canaries.no_release, canaries.noticed),
}
SHOWN = 5


def main(arguments):
    words = [word for word in arguments if not word.startswith("--")]
    wanted = words[1:] or list(STEPS)
    unknown = [name for name in wanted if name not in STEPS]
    unknown += [word for word in arguments if word.startswith("--") and word not in ("--full", "--only")]
    if not words or unknown:
        print(f"{__doc__}\nsteps: {', '.join(STEPS)}", file=sys.stderr)
        return 64
    house = House(words[0], "--full" in arguments)
    try:
        rows = [row for name in wanted for step in STEPS[name] for row in play(house, f"{name}.{step.__name__}", step)]
    finally:
        house.close()
    print(f"\n{'kind of fault':<44} {'tried':>6} {'violations':>11}")
    for row in rows:
        print(f"{row.kind:<44} {row.tried:>6} {row.left_out and 'left out' or len(row.violations):>11}")
    return 0 if all(row.left_out or row.tried and not row.violations for row in rows) else 1


def play(house, name, step):
    print(f"--> {name}: {step.__doc__}", flush=True)
    began = time.monotonic()
    try:
        rows = step(house)
    except LeftOut as why:
        print(f"    LEFT OUT: {why}")
        rows = [Row(name, left_out=str(why))]
    except Exception:
        # A surprise in a step is a violation; the other steps still say what they find.
        rows = [Row(name, 1, [traceback.format_exc()])]
    for row in rows:
        for text in row.violations[:SHOWN]:
            print(f"    VIOLATION {row.kind}: {text}")
        if len(row.violations) > SHOWN:
            print(f"    and {len(row.violations) - SHOWN} more")
    tried = sum(row.tried for row in rows)
    print(f"    {tried} tried, {sum(len(row.violations) for row in rows)} violations, {time.monotonic() - began:.0f} s", flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
