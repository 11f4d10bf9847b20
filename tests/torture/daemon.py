"""The real daemon of a demo, with its sockets and its threads, under a tracer."""

import json
import random

from rig import LeftOut, Row, UNDER, needs

# By these the daemon speaks to machines, to the broker and to people.
SOCKETS = ("sendto", "recvfrom", "writev", "connect", "socket", "accept4")
# Starts of one demo that are killed, behind the first, which loads the batch.
KILLS = 10
DEMO_MAX = 240


def demo(house, units, rate, unders, *more, seed):
    """The last line of a demo whose daemon starts under `unders`, and what is wrong with it."""
    needs("strace")
    folder = house.folder()
    command = [house.program, "demo", "--headless", "--json", "--units", units, "--rate", rate, "--seed", seed, "--data", folder, *more]
    command += [f"--under={word}" for word in ("sh", "-c", UNDER, "sh")]
    told = {f"UNDER_{number}": under for number, under in unders.items()}
    out = house.run(command, {**house.environment, **told}, within=DEMO_MAX)
    try:
        figures = json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"starts": 0}, [f"no summary: {out[-600:]}"]
    found = [f"{key} is {figures[key]}" for key in ("reconciled", "batch_closed") if figures[key] is not True]
    if found:
        found += figures["differences"][:3]
    if figures["wrong_in_closed_case"]:
        found.append(f"{figures['wrong_in_closed_case']} wrong in closed cases")
    return figures, found


def traced(inject):
    return f"strace -D -f -o /dev/null -e trace={inject.split(':')[0]} -e inject={inject}"


# F01, F105
def sockets(house):
    """the daemon is killed at sampled socket calls, in any of its threads, while the plant goes on"""
    draw = random.Random(5)
    row = Row("killed at a socket call")

    def one(seed):
        points = [(draw.choice(SOCKETS[:3] * 4 + SOCKETS), draw.randint(1, 300)) for _ in range(KILLS)]
        # A thread seldom opens a connection; one that never does so often is never killed.
        points = [(name, number if name in SOCKETS[:3] else 1 + number % 4) for name, number in points]
        unders = {start: traced(f"{name}:signal=KILL:when={number}") for start, (name, number) in enumerate(points, 2)}
        figures, found = demo(house, 400, 1200, unders, "--kills", 1, seed=seed)
        return max(figures["starts"] - 2, 0), [f"seed {seed}, {points}: {text}" for text in found]

    for tried, found in house.all([lambda seed=seed: one(seed) for seed in range(1, 11)]):
        row.tried += tried
        row.violations += found
    return [row]


# F28
def slow(house):
    """every so often a flush takes half a second, or two: what comes too late is rejected, nothing is accepted first and written later"""
    rows = []
    for seed, (microseconds, every) in enumerate(((500_000, 9), (2_000_000, 40)), 1):
        row = Row(f"flush takes {microseconds / 1e6:.1f} s")
        delay = traced(f"fsync,fdatasync:delay_enter={microseconds}:when=20+{every}")
        figures, found = demo(house, 100, 600, {1: delay}, seed=seed)
        row.tried, row.violations = figures.get("facts", 0) // every, found
        rows.append(row)
    if not any(row.tried for row in rows):
        raise LeftOut("no demo ran")
    return rows
