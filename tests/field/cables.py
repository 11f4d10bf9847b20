"""Each device's cable is pulled in turn while the line runs. Nobody is told: no packet comes, none goes, and no connection is closed.

What the plant did is judged by its own truth: from the heartbeat's time-out on, no unit passes the blade and no gate of that machine opens;
nothing was let through that the journal does not know; and once the cable is back the line goes on by itself, after the person at
the line has acknowledged what there is to acknowledge.
"""

import time

import compare
from foreign_line import CASE, PALLET, ForeignLine
from stage import Proxy, claim, wait_until

WATCH_S = 1.0
# What the controllers' scan, the belt's stop and a stroke that had begun take beside.
SLACK_S = 0.4
# Beyond the longest permit of this line, and the daemon's own time-outs.
PULLED_S = 4.5
# In the order of the devices in line.toml.
STATIONS = {"front": ("printer", "camera", "rejector"), "packer": ("packer",), "palletizer": ("palletizer",)}


class Cable(Proxy):
    """A proxy that can be pulled: new connections are taken by the network's queue then, and nobody ever answers them."""

    def __init__(self, back):
        self.is_pulled, self.unanswered = False, []
        super().__init__(back)

    def _take(self):
        while True:
            near, _ = self.listener.accept()
            if not self.is_pulled:
                return near
            self.unanswered.append(near)

    def pull(self):
        self.is_pulled = True
        claim(self.cut(), "nothing was connected")

    def plug(self):
        self.is_pulled = False
        while self.unanswered:
            self.unanswered.pop().close()
        self.forget()


class CabledLine(ForeignLine):
    """The foreign line with a cable between the daemon and each of its devices."""

    def write_config(self, mode):
        super().write_config(mode)
        opcua, modbus = self.ports["opcua"], self.ports["modbus"]
        self.cables = dict(zip(STATIONS, (Cable(opcua), Cable(modbus), Cable(modbus))))
        for cable in self.cables.values():
            self.house.afterwards(cable.close)
        text = self.config.read_text().replace(f"127.0.0.1:{opcua}", f"127.0.0.1:{self.cables['front'].port}")
        for name in ("packer", "palletizer"):
            text = text.replace(f"port = {modbus}", f"port = {self.cables[name].port}", 1)
        self.config.write_text(text)

    def joined(self, kinds):
        code, status = self.ask("status")
        return code == 0 and {at["kind"] for at in status["stations"] if at["joined"]} >= set(kinds)

    def runs(self):
        belts = self.events("belt")
        return bool(belts) and belts[-1]["runs"]


# F48, F59
def cables(house):
    """every device's cable pulled in turn, silently: reject and deny within the time to live, and back to work by itself"""
    good = 120 if house.is_full else 40
    rounds = 3 if house.is_full else 1
    line = CabledLine(house, "cables", good, plant_options=["--watch-ms", int(WATCH_S * 1000)])
    line.begin()
    line.wait_passed(6)
    stops, backs = [], []
    for name in list(STATIONS) * rounds:
        wait_until(line.runs, f"the belt runs before {name} is pulled: {line.tail()}", 30)
        stopped, back = pull_one(line, name)
        house.count("cable pulled without a word")
        stops.append(stopped)
        backs.append(back)
    line.finish(good // (CASE * PALLET), closes=False, within=240)
    check_against_journal(line)
    return f"{len(stops)} cables: the belt stood after {max(stops):.1f} s at the latest, and ran again {max(backs):.1f} s after the plug at the latest"


def pull_one(line, name):
    """Seconds until the belt stood, and from the plug until it ran."""
    cable, stations = line.cables[name], STATIONS[name]
    pulled = time.time()
    cable.pull()
    wait_until(lambda: not line.joined(stations), f"{name} is known to be away: {line.tail()}", 10)
    wait_until(lambda: time.time() > pulled + PULLED_S, "the permits have run out", PULLED_S + 1)
    claim(not line.runs(), f"the belt runs without {name}: {line.events('belt')[-3:]}")
    stopped = next(event["at"] for event in line.events("belt") if event["at"] > pulled and not event["runs"])
    silent = pulled + WATCH_S + SLACK_S
    if name == "front":
        passed = [event for event in line.events("end") if event["at"] > silent and event["end"] == 1]
        claim(not passed, f"units passed the blade {WATCH_S} s after the cable of {name} was pulled: {passed}")
    for kind in ("opened", "sealed", "released"):
        opened = [event for event in line.events(kind) if event["at"] > silent and event["station"] in stations]
        claim(not opened, f"{name} went on {WATCH_S} s after its cable was pulled: {opened}")
    plugged, passed_before = time.time(), line.passed()
    cable.plug()
    wait_until(lambda: line.joined(stations), f"{name} is back: {line.tail()}", 20)
    wait_until(lambda: line.runs() or line.passed() >= line.good, f"the line runs again with {name}: {line.tail()}", 30)
    back = time.time()
    claim(line.passed() >= passed_before, "the truth lost units")
    return stopped - pulled, back - plugged


def check_against_journal(line):
    """What passed is commissioned or was told as an unexpected pass; what is commissioned passed; boxes hold what the journal says."""
    story, journal = compare.Story(line.events()), line.journal()
    compare.once(story)
    boxes = compare.boxes(story, journal, (CASE, PALLET))
    claim(boxes == line.good // CASE + line.good // (CASE * PALLET), f"{boxes} boxes were closed and released")
    passed = {story.serial(number) for number, end in story.ends.items() if end == 1}
    commissioned = {serial for (serial,) in journal.rows("SELECT serial FROM v_unit WHERE state = 'commissioned'")}
    claim(commissioned <= passed, f"commissioned, and never passed: {sorted(commissioned - passed)[:5]}")
    unexpected = len(journal.bodies("unexpected_pass"))
    claim(len(passed - commissioned) <= unexpected, f"passed unknown to the journal: {sorted(passed - commissioned)[:5]}")
    spoiled = {story.serial(number) for number, unit in story.units.items() if unit["spoil"] not in ("none", "duplicate")}
    claim(not spoiled & commissioned, f"spoiled and commissioned: {sorted(spoiled & commissioned)[:5]}")
    journal.base.close()


STEPS = (cables,)
