#!/usr/bin/env python3
"""Time and bounds, judged from outside: clocks that step, a process that stands still, too little memory, files and processor time.

usage: python tests/bounds PROGRAM [--only STEP ...] [--full]

Runs the program as it ships against its own simulated plant, disturbs it, and asks the records: nothing wrong in a closed case, plant,
journal and feed agree, the batch closes when the disturbance has gone, and times fall only where a fact says so. Ends with a table
"kind of fault, tried, violations", and with 1 where there was a violation. What this machine lacks the means for is left out, and said.

`--full` makes the soak last half an hour. Needs Python 3.11, libfaketime (package faketime) and mosquitto; root for the control groups.
`SEALGATE_BOUNDS_DIR` keeps the folders of the runs there instead of in a temporary folder.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

# What several folders of tests share lies beside them.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import clock
import narrow
import process
import soak
from stage import LeftOut, Stage, Wrong

STEPS = {step.__name__: step for step in (*clock.STEPS, *process.STEPS, *narrow.STEPS, *soak.STEPS)}


def main():
    options = argparse.ArgumentParser(prog="tests/bounds", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("program", type=Path)
    options.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP", help=", ".join(STEPS))
    options.add_argument("--full", action="store_true")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="sealgate-bounds-") as temporary:
        root = Path(os.environ.get("SEALGATE_BOUNDS_DIR", temporary)).resolve()
        root.mkdir(parents=True, exist_ok=True)
        house = Stage(arguments.program.resolve(), root, arguments.full)
        rows = [row for name in arguments.only for row in play(house, name)]
    print(f"\n{'kind of fault':<44} {'tried':>6} {'violations':>11}")
    for kind, tried, violations in rows:
        print(f"{kind:<44} {tried:>6} {violations:>11}")
    return 1 if any(violations not in (0, "left out") for _, _, violations in rows) else 0


def play(house, name):
    """Rows of the table. A step says what it tried as it goes, so that a violation has its count too."""
    print(f"--> {name}: {STEPS[name].__doc__.splitlines()[0]}", flush=True)
    began = time.monotonic()
    house.tried = {}
    violations = 0
    try:
        print(f"    {STEPS[name](house)}; {time.monotonic() - began:.0f} s", flush=True)
    except LeftOut as left_out:
        print(f"    LEFT OUT: {left_out}", flush=True)
        violations = "left out"
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


if __name__ == "__main__":
    sys.exit(main())
