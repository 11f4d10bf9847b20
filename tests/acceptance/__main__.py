#!/usr/bin/env python3
"""What the program promises, asked of the program as it ships: demos, kills, a foreign broker, tampering, bad use.

usage: python tests/acceptance BINARY [STEP ...]

Runs every step (or those named), prints what each found and a table with times, and ends with 1 where one failed. Shares no
line with the program: it reads the plant's truth, the audit views of the journal and the subscriber's capture by their
documented names. Needs Python 3.11 with the packages `jsonschema[format-nongpl]` and `epcis-event-hash-generator`,
mosquitto, and the standards data (`SEALGATE_STANDARDS`, or `../shared/standards` beside the project).

`SEALGATE_ACCEPTANCE_DIR` keeps the folders of the runs there instead of in a temporary folder.
"""

import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

# What several folders of tests share lies beside them.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import steps
from judge import LeftOut, Wrong
from stage import Stage


def main(arguments):
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 64
    binary, wanted = Path(arguments[1]).resolve(), arguments[2:] or list(steps.ALL)
    unknown = [name for name in wanted if name not in steps.ALL]
    if unknown or not binary.is_file():
        print(f"no such step or binary: {unknown or binary}; steps: {', '.join(steps.ALL)}", file=sys.stderr)
        return 64
    with tempfile.TemporaryDirectory(prefix="sealgate-acceptance-") as temporary:
        root = Path(os.environ.get("SEALGATE_ACCEPTANCE_DIR", temporary)).resolve()
        root.mkdir(parents=True, exist_ok=True)
        house = Stage(binary, root)
        rows = [play(house, name) for name in wanted]
    print(f"\n{'acceptance':<28} {'seconds':>8}  result")
    for name, seconds, result in rows:
        print(f"{name:<28} {seconds:>8.0f}  {result}")
    return 0 if all(result == "ok" for _, _, result in rows) else 1


def play(house, name):
    print(f"--> {name}: {steps.ALL[name].__doc__.splitlines()[0]}", flush=True)
    began, result = time.monotonic(), "ok"
    try:
        print(f"    {steps.ALL[name](house)}")
    except (Wrong, LeftOut) as wrong:
        result = "FAILED"
        print(f"    {wrong}")
    except Exception:
        # A surprise in a check is a failed check; the other steps still say what they find.
        result = "FAILED"
        traceback.print_exc(file=sys.stdout)
    finally:
        house.clear()
    return name, time.monotonic() - began, result


if __name__ == "__main__":
    sys.exit(main(sys.argv))
