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

import importlib
import os
import sys
from pathlib import Path

# What several folders of tests share lies beside them.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import judge
from stage import Stage

GROUPS = [
    "restarts",
    "secured",
    "quiet",
    "plant",
    "technician",
    "cables",
]
STEPS = [step for group in GROUPS for step in importlib.import_module(group).STEPS]


if __name__ == "__main__":
    sys.exit(judge.main("field", __doc__, STEPS, Stage, may_leave_out=not os.environ.get("CI")))
