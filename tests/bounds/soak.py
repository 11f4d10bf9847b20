"""Hours in minutes: a fault every ten seconds at 1,200 units a minute, and memory that stays where it is."""

import random
import re
import signal
import time
from pathlib import Path

from process import end, stop_for
from stage import claim

RATE = 1200
MINUTES, MINUTES_FULL = 3, 30
FAULT_EVERY = 10
# The daemon warms up before its memory is compared. What grows is memory of its threads alone: the page caches of the connections,
# which SQLite bounds, are full after some 6,000 units, and from then on stay at the same kilobyte; the containers of the open batch
# add some 50 bytes a unit, which the order bounds.
WARM_UP = 0.25
# Three minutes end before the caches are full: there the bound only finds a leak that is worth the name.
GROWTH_MAX, GROWTH_MAX_FULL = 0.25, 0.05


def soak(house):
    """faults all along; resident memory of each life of the daemon flat after its warm-up: within 5 % over half an hour"""
    minutes = MINUTES_FULL if house.is_full else MINUTES
    rough = "--faults" in house.run("demo", "--help")[1]
    demo = house.demo("soak", RATE * minutes, RATE, *(["--faults", "rough"] if rough else []), seed=3)
    demo.wait_presented(1)
    draw, began, samples, faults = random.Random(3), time.monotonic(), [], 0
    # The daemon lives through the first nine tenths, so that its memory can be compared; then it is killed now and then.
    while not demo.is_over():
        now = time.monotonic() - began
        samples.append((now, *resident(demo)))
        if now > FAULT_EVERY * (faults + 1) and demo.presented() < RATE * minutes - 200:
            faults += 1
            disturb(demo, draw, is_late=now > 54 * minutes)
            house.count("soak: a fault every ten seconds")
        time.sleep(1)
    # Rough weather leaves what only a signature can close.
    figures, _ = demo.end(closes=False)
    growth = growth_of(samples)
    claim(growth <= (GROWTH_MAX_FULL if house.is_full else GROWTH_MAX), f"resident memory grew by {growth:.1%} after the warm-up")
    lost = {key: figures[key] for key in ("missed", "unaccounted", "false_rejects")}
    return f"{figures['presented']} units, {faults} faults, resident memory {samples[-1][2] // 1024} MiB, grown by {growth:.1%}; {lost}"


def disturb(demo, draw, is_late):
    """Pauses while the plant's own faults go on; kills only near the end."""
    if is_late and draw.random() < 0.5:
        end(demo.pid, signal.SIGKILL)
    else:
        stop_for(demo.pid, draw.choice([0.1, 0.4, 1.2]))


def resident(demo):
    """The daemon's process and its size in KiB; 0 while it is started again, or has ended before the demo."""
    try:
        pid = demo.pid
        return pid, int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1])
    except (OSError, TypeError, ValueError):
        return 0, 0


def growth_of(samples):
    """How much higher the last quarter of the longest life lies than the quarter after its warm-up, by medians."""
    lives = {}
    for at, pid, size in samples:
        if size:
            lives.setdefault(pid, []).append(size)
    life = max(lives.values(), key=len)
    warm = life[int(len(life) * WARM_UP) :]
    quarter = max(len(warm) // 4, 1)
    first, last = sorted(warm[:quarter])[quarter // 2], sorted(warm[-quarter:])[quarter // 2]
    return (last - first) / first


STEPS = (soak,)
