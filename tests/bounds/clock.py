"""The wall clock goes where it wants; the line runs on, and the record says so."""

import calendar
import json
import os
import time
from pathlib import Path

from stage import LeftOut, claim, wait_until

HOUR, DAY = 3600, 86_400
RATE = 600


def fake_time():
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise LeftOut("libfaketime is not installed (package faketime)")
    return str(found[0])


class Wall:
    """The wall clock of a running demo and its daemon, moved by a file."""

    def __init__(self, file):
        self.file, self.offset = file, 0
        self.set(0)

    def env(self):
        return {
            "LD_PRELOAD": fake_time(),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset):
        """Seconds beside the true time. Written beside and moved, so that no half of it is read."""
        self.offset = offset
        beside = self.file.with_suffix(".new")
        beside.write_text(f"{offset:+d}s\n")
        os.replace(beside, self.file)

    def set_to(self, *utc):
        self.set(int(calendar.timegm((*utc, 0, 0, 0)[:9]) - time.time()))


# F35, F36, F37, F41, I21
def clock_steps(house):
    """back an hour, forward a day, half a second either way, to 1970 and home again, under a running batch"""
    wall = Wall(house.root / "wall")
    demo = house.demo("clock", 600, RATE, env=wall.env())
    moves = [("clock back an hour", -HOUR), ("clock forward a day", DAY - HOUR), ("clock forward half a second", None),
             ("clock to 1970", 1970), ("clock home", 0)]
    expected = []
    for index, (kind, offset) in enumerate(moves):
        demo.wait_presented(60 + 100 * index)
        before = wall.offset
        if offset == 1970:
            wall.set_to(1970, 1, 1, 1, 0, 0)
        elif offset is None:
            wall.file.write_text(f"{before + 0.5:+.1f}s\n")
            wall.offset = before + 0.5
        else:
            wall.set(offset)
        expected.append((wall.offset - before, kind))
        house.count(kind)
        wait_until(lambda: demo.facts("clock_stepped") >= len(expected), f"{kind} is a fact", 20)
    figures, journal = demo.end()
    steps = [(body["to_us"] - body["from_us"]) / 1e6 for body in journal.bodies("clock_stepped")]
    claim(len(steps) == len(expected), f"{len(expected)} steps were made, and {steps} are in the journal")
    for found, (wanted, kind) in zip(steps, expected):
        claim(abs(found - wanted) < 1.5, f"{kind}: {found} s instead of {wanted} s")
    claim({"clock_rollback", "clock_stepped", "clock_unset"} <= journal.alarms(), f"only {journal.alarms()}")
    claim(figures["false_rejects"] == 0, f"{figures['false_rejects']} good units were rejected because of the wall clock")
    return f"{len(steps)} steps, {figures['commissioned']} commissioned, {check_events(journal, demo.folder)} events in order, no false reject"


def check_events(journal, folder):
    """Order is by sequence number: what is commissioned is told before what holds it, whatever the times say."""
    known, events = set(), 0
    for (body,) in bodies(folder):
        event, events = json.loads(body), events + 1
        stamp = event["eventTime"]
        claim(stamp.endswith("Z") or stamp[-6] in "+-", f"{stamp} is no time of EPCIS")
        claim(event["eventTimeZoneOffset"][0] in "+-", f"{event['eventTimeZoneOffset']} is no offset")
        if event["type"] == "ObjectEvent":
            known.update(event["epcList"])
        elif event["type"] == "AggregationEvent":
            units = [child for child in event["childEPCs"] if ":sgtin:" in child or "/21/" in child]
            claim(set(units) <= known, f"{event['parentID']} is packed before its units are commissioned")
    return events


def bodies(folder):
    """The captured EPCIS events, each once, in the order of their numbers."""
    found = {}
    for text in (folder / "feed.jsonl").read_text().splitlines():
        line = json.loads(text)
        if "/_epcis/" in line["topic"]:
            found[int(line["properties"]["seq"])] = (json.dumps(line["payload"]),)
    return [found[number] for number in sorted(found)]


# F39
def clock_summer_time(house):
    """across the end of summer time, 2026-10-25 01:00 UTC: no time doubled, none missing"""
    wall = Wall(house.root / "wall")
    wall.set_to(2026, 10, 25, 0, 59, 40)
    demo = house.demo("summer", 300, RATE, env={**wall.env(), "TZ": "Europe/Berlin"})
    house.count("end of summer time")
    figures, journal = demo.end()
    change = calendar.timegm((2026, 10, 25, 1, 0, 0)) * 1_000_000
    (before, after), = journal.rows("SELECT sum(at_us < ?1), sum(at_us >= ?1) FROM v_fact", change)
    claim(before > 10 and after > 10, f"{before} facts before the change and {after} after it")
    claim(not journal.bodies("clock_stepped"), "the end of summer time was taken for a step of the clock")
    claim(figures["false_rejects"] == 0, f"{figures['false_rejects']} false rejects")
    return f"{before} facts before, {after} after, none falls"


# F38
def clock_unset(house):
    """1970 at the start: no batch starts before the clock is set, then it does by itself"""
    wall = Wall(house.root / "wall")
    wall.set_to(1970, 1, 1, 0, 0, 30)
    demo = house.demo("unset", 100, RATE, env=wall.env())
    house.count("clock unset at the start")
    wait_until(lambda: demo.facts("clock_found"), "the clock is looked at", 30)
    claim(demo.journal().bodies("clock_found")[0]["clock"] == "unset", "a clock that shows 1970 is not found unset")
    wait_until(lambda: demo.facts("batch_loaded"), "the order is loaded", 30)
    claim(not demo.facts("batch_started"), "a batch started by a clock that nobody set")
    wall.set(0)
    figures, journal = demo.end()
    ((started,),), ((stepped,),) = (journal.rows("SELECT min(seq) FROM v_fact WHERE kind = ?", kind) for kind in ("batch_started", "clock_stepped"))
    claim(started > stepped, f"batch_started is fact {started}, the clock was set at fact {stepped}")
    claim("clock_unset" in journal.alarms(), f"only {journal.alarms()}")
    return f"set at fact {stepped}, started at fact {started}, {figures['commissioned']} commissioned"


STEPS = (clock_steps, clock_summer_time, clock_unset)
