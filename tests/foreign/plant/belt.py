"""The belt: units enter, are printed, looked at, pushed out or let through. It moves only while the gate's controller lets it.

Places are seconds of belt travel from the infeed. The operator presses start a moment after the lamp of the run permit is on.
"""

import random

from codes import with_another_lot
from gate import PASSED, REJECTED

HEAD, LENS, BLADE, EXIT = 0.15, 0.45, 2.45, 2.65
START_S = 0.25
LANE_MAX = 12
FIRST_SPOILED = 5


class Unit:
    def __init__(self, track, spoil):
        self.track, self.spoil, self.at = track, spoil, 0.0
        self.number, self.record, self.printed, self.passes = None, "", "", False

    def crosses(self, place, step):
        return self.at < place <= self.at + step


class Belt:
    def __init__(self, plant, things):
        self.plant = plant
        self.units, self.passed, self.last = [], things.passed, things.last["unit"]
        self.codes = [unit["printed"] for unit in things.units.values() if unit["spoil"] == "none"]
        self.runs, self.may_since, self.gap_s = False, None, 0.0
        # What lay in the tracked section when the controllers lost their memory is taken out, as the instruction says.
        for number in list(things.belt):
            plant.truth.write("taken_out", unit=number)

    def operate(self, now):
        may = self.plant.gate.may_run and len(self.plant.lane) < LANE_MAX
        self.may_since = (self.may_since or now) if may else None
        runs = may and now - self.may_since >= START_S
        if runs != self.runs:
            self.runs = runs
            self.plant.truth.write("belt", runs=runs)

    def scan(self, now, passed_s):
        self.operate(now)
        if not self.runs:
            return
        for unit in list(self.units):
            self.carry(unit, passed_s)
        self.gap_s += passed_s
        if self.gap_s >= self.plant.spacing_s and self.wants_more():
            self.gap_s = 0.0
            self.units.append(Unit(self.plant.gate.enter(), self.spoil()))

    def carry(self, unit, step):
        if unit.crosses(HEAD, step):
            self.print(unit)
        if unit.crosses(LENS, step):
            code = "" if unit.spoil == "no_read" else unit.printed
            grade = "0.8" if unit.spoil == "low_grade" else "3.6"
            seq = self.plant.camera.look(unit.track, code, grade)
            self.plant.truth.write("seen", unit=unit.number, seq=seq, track=unit.track)
        if unit.crosses(BLADE, step):
            unit.passes = self.plant.gate.decide(unit.track)
        if unit.crosses(EXIT, step):
            self.leave(unit)
        unit.at += step

    def print(self, unit):
        self.last += 1
        unit.number, unit.record = self.last, self.plant.printer.print()
        unit.printed = unit.record
        if unit.spoil == "wrong_lot":
            unit.printed = with_another_lot(unit.record)
        if unit.spoil == "duplicate":
            # The coder repeats what it printed before.
            unit.printed = self.codes[-1]
        if unit.spoil == "none":
            self.codes.append(unit.printed)
        self.plant.truth.write("unit", unit=unit.number, spoil=unit.spoil, record=unit.record, printed=unit.printed)

    def leave(self, unit):
        self.units.remove(unit)
        self.plant.truth.write("end", unit=unit.number, end=1 if unit.passes else 2)
        if unit.passes:
            self.passed += 1
            self.plant.lane.append((unit.number, unit.printed))
        self.plant.gate.end(unit.track, PASSED if unit.passes else REJECTED)

    def wants_more(self):
        """Enough for the boxes that are wanted, and never a unit that nothing could be printed on."""
        waiting = sum(unit.number is None for unit in self.units)
        hoped = sum(unit.spoil == "none" for unit in self.units)
        return self.passed + hoped < self.plant.good and len(self.plant.printer.buffer) > waiting

    def spoil(self):
        """Drawn by the seed and the unit's number, so that the same line spoils the same units."""
        number = self.last + 1 + sum(unit.number is None for unit in self.units)
        draw = random.Random(f"{self.plant.seed}/{number}")
        if number < FIRST_SPOILED or not self.codes or draw.random() >= self.plant.bad:
            return "none"
        return draw.choice(["no_read", "low_grade", "wrong_lot", "duplicate"])
