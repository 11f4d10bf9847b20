#!/usr/bin/env python3
"""Time and bounds, judged from outside: clocks that step, a process that stands still, too little memory, files and processor time.

usage: python tests/bounds PROGRAM [--only STEP ...] [--full]

Runs the program as it ships against its own simulated plant, disturbs it, and asks the records: nothing wrong in a closed case, plant,
journal and feed agree, the batch closes when the disturbance has gone, and times fall only where a fact says so. Ends with a table
"kind of fault, tried, violations", and with 1 where there was a violation. What this machine lacks the means for is left out, and said.

`--full` makes the soak last half an hour. Needs Python 3.11, libfaketime (package faketime) and mosquitto; root for the control groups.
`SEALGATE_BOUNDS_DIR` keeps the folders of the runs there instead of in a temporary folder.
"""

import sys
from pathlib import Path

# What several folders of tests share lies beside them.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import clock
import judge
import narrow
import process
import soak
from stage import Stage

STEPS = [*clock.STEPS, *process.STEPS, *narrow.STEPS, *soak.STEPS]


if __name__ == "__main__":
    sys.exit(judge.main("bounds", __doc__, STEPS, Stage))
