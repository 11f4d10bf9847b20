"""A harness that cannot fail proves nothing: each of seven broken promises must be noticed by the same runs."""

import os
import random
import shutil
import subprocess
from pathlib import Path

import cuts
import upstream
from rig import HERE, House, LeftOut, Row, wrong

ROOT = HERE.parents[1]
CUTS = 5


def build():
    """The program with its canaries; no release build has them."""
    cargo = shutil.which("cargo")
    if not cargo:
        raise LeftOut("cargo is not installed: the program with canaries cannot be built")
    made = subprocess.run([cargo, "build", "--quiet", "--features", "canary"], cwd=ROOT, capture_output=True, text=True)
    if made.returncode:
        raise AssertionError(f"cargo build --features canary: {made.stderr[-600:]}")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "debug/sealgate"


def library():
    found = [path for folder in ("/usr/lib", "/usr/local/lib") for path in Path(folder).rglob("libeatmydata.so")]
    if not found:
        raise LeftOut("libeatmydata is not installed")
    return found[0]


def power_cuts(house, name, before="", **environment):
    """Most cuts must be noticed: one right after the log was taken back into the file, which is flushed, loses nothing."""
    # Words to the line, spread over the batch: what was just said to be durable is what must be there.
    plans = [("write", number, False) for number in random.Random(6).sample(range(120, 420), CUTS)]
    all_found = cuts.cut_all(house, plans, lambda disk, plan: cuts.one_cut(house, disk, plan, before, **environment))
    noticed = sum(bool(found) for found in all_found)
    print(f"    {name}: {noticed} of {CUTS} power cuts noticed")
    return Row(f"canary {name}", CUTS, [] if noticed * 2 > CUTS else [f"{name}: {noticed} of {CUTS} power cuts were noticed"])


def batch(house, name):
    """An undisturbed batch is enough."""
    verdict = house.lockstep(house.folder(), SEALGATE_CANARY=name)
    return Row(f"canary {name}", 1, [] if wrong(verdict) else [f"{name} was not noticed"])


def swarm(house, name):
    """Some simulated lines with people: most that is asked for without the right is refused for something else too."""
    command = [house.program, "simulate", "--seeds", "0..60", "--units", "400", "--no-forks", "--json"]
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=os.environ | {"SEALGATE_CANARY": name})
    return Row(f"canary {name}", 1, [] if ended.returncode == 1 and '"rights' in ended.stdout else [f"{name} was not noticed"])


def feed(house, name):
    found = upstream.silent_broker(house, SEALGATE_CANARY=name)
    return Row(f"canary {name}", 1, [] if found else [f"{name} was not noticed"])


def quiet(house):
    """Without any canary the same program is found good, by each of the judges."""
    verdict = house.lockstep(house.folder())
    plan = [("write", 200, False)]
    found = wrong(verdict) + upstream.silent_broker(house)
    found += sum(cuts.cut_all(house, plan, lambda disk, job: cuts.one_cut(house, disk, job)), [])
    return Row("no canary", 1, found)


def no_release(house):
    """a build without debug assertions refuses to have them"""
    rustc = shutil.which("rustc")
    if not rustc:
        raise LeftOut("rustc is not installed")
    row = Row("canaries in a release build")

    def compiles(assertions):
        command = [rustc, "--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--out-dir", house.folder()]
        command += ["-C", f"debug-assertions={assertions}", ROOT / "src/canary.rs"]
        ended = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        return ended.returncode == 0, ended.stderr

    with_them, said = compiles("yes")
    row.add([] if with_them else [f"src/canary.rs does not compile: {said[-300:]}"])
    without, said = compiles("no")
    row.add([] if not without and "no release build may have it" in said else ["a release build takes the canaries"])
    return [row]


def noticed(house):
    """no sync, synchronous=NORMAL, an early permit, a cursor without an acknowledgement, a forgetful gate, a neighbour's verdict, every role"""
    program = house.root / "with-canaries"
    shutil.copy(build(), program)
    own = House(program, house.full)
    try:
        rows = [quiet(own)]
        for check in (
            lambda: power_cuts(own, "no_sync", f"env LD_PRELOAD={library()}"),
            lambda: power_cuts(own, "sync_normal", SEALGATE_CANARY="sync_normal"),
            lambda: batch(own, "early_permit"),
            lambda: feed(own, "cursor_without_ack"),
            lambda: batch(own, "forgetful_gate"),
            lambda: batch(own, "neighbour_verdict"),
            lambda: swarm(own, "every_role"),
        ):
            rows.append(left_out_or(check))
    finally:
        own.close()
    return rows


def left_out_or(check):
    try:
        return check()
    except LeftOut as why:
        print(f"    LEFT OUT: {why}")
        return Row("canary", left_out=str(why))
