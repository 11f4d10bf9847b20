#!/usr/bin/env python3
"""Devices as they are in the field: foreign servers that restart, hang, refuse and lie, judged from outside.

usage: python tests/field PROGRAM [--only STEP ...] [--full]

Runs the program as it ships against servers that share no line with it (asyncua, pymodbus), disturbs them, and asks the servers and the
journal what came of it. Ends with a table "kind of fault, tried, violations", and with 1 where there was a violation. What this
machine lacks the means for is left out, and said; with CI set it is a violation.

`--full` tries more (1,000 restarts instead of 60). Needs Python 3.11 and the packages that tests/all.sh installs.
`SEALGATE_FIELD_DIR` keeps the folders of the runs there instead of in a temporary folder.

A new group of steps is a file beside this one with a tuple `STEPS` of functions that take a `Stage`, and a word in GROUPS. What such a
file imports beyond the standard library is imported inside its steps, by `house.needs("asyncua")`.
"""

import argparse
import importlib
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from stage import LeftOut, Stage, Wrong

GROUPS = [
    "restarts",
    "secured",
    "quiet",
    "plant",
    "technician",
    "cables",
]
STEPS = {step.__name__: step for group in GROUPS for step in importlib.import_module(group).STEPS}


def main():
    options = argparse.ArgumentParser(prog="tests/field", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("program", type=Path)
    options.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP", help=", ".join(STEPS))
    options.add_argument("--full", action="store_true")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="sealgate-field-") as temporary:
        root = Path(os.environ.get("SEALGATE_FIELD_DIR", temporary)).resolve()
        root.mkdir(parents=True, exist_ok=True)
        house = Stage(arguments.program.resolve(), root, arguments.full)
        rows = [row for name in arguments.only for row in play(house, name)]
    print(f"\n{'kind of fault':<52} {'tried':>6} {'violations':>11}")
    for kind, tried, violations in rows:
        print(f"{kind:<52} {tried:>6} {violations:>11}")
    return 1 if any(violations not in (0, "left out") for _, _, violations in rows) else 0


def play(house, name):
    """Rows of the table. A step says what it tried as it goes, so that a violation has its count too."""
    print(f"--> {name}: {(STEPS[name].__doc__ or name).splitlines()[0]}", flush=True)
    began = time.monotonic()
    house.tried = {}
    violations = 0
    try:
        print(f"    {STEPS[name](house)}; {time.monotonic() - began:.0f} s", flush=True)
    except LeftOut as left_out:
        print(f"    LEFT OUT: {left_out}", flush=True)
        violations = 1 if os.environ.get("CI") else "left out"
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
