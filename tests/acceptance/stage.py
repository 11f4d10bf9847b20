"""What the steps of this folder share beyond `judge`: demos, and the standards data."""

import json
import os
import subprocess
import time
from pathlib import Path

# For the steps, which take all that they share from here.
from judge import ROOT, House, Journal, Wrong, claim, wait_until  # noqa: F401


def standards():
    folder = Path(os.environ.get("SEALGATE_STANDARDS", ROOT.parent / "shared" / "standards"))
    claim(folder.is_dir(), f"{folder} is missing: point SEALGATE_STANDARDS to the standards data")
    return folder


class Stage(House):
    def demo(self, folder, units, rate, *more, within=120, seed=1):
        """A demo that must end well: the last line of its output, and how long it took."""
        began = time.monotonic()
        arguments = demo_arguments(folder, units, rate, seed) + list(more)
        try:
            code, out, err = self.run(*arguments, within=within)
        except subprocess.TimeoutExpired:
            raise Wrong(f"{' '.join(map(str, arguments))} did not end within {within} s") from None
        return summary(code, out, err), time.monotonic() - began

    def start_demo(self, folder, units, rate, *more, seed=1):
        return self.start(*demo_arguments(folder, units, rate, seed), *more, log=subprocess.PIPE)


def demo_arguments(folder, units, rate, seed):
    return ["demo", "--units", units, "--rate", rate, "--seed", seed, "--headless", "--json", "--data", folder]


def summary(code, out, err):
    claim(code == 0, f"exit code {code}; {out[-2000:]}{err[-2000:]}")
    return json.loads(out.strip().splitlines()[-1])
