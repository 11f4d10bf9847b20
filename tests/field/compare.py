"""The foreign plant's truth, the journal's views and the subscriber's capture: do they tell the same story?"""

import sys
from collections import Counter

from stage import ROOT, claim

sys.path.append(str(ROOT / "tests" / "foreign" / "plant"))
from codes import elements  # noqa: E402


class Story:
    """What the plant says."""

    def __init__(self, events):
        self.units, self.boxes, self.ends, self.taken_out = {}, {}, {}, set()
        self.sealed, self.released, self.tokens, self.spoiled = {}, set(), [], Counter()
        for event in events:
            if fold := getattr(self, "on_" + event["kind"], None):
                fold(event)

    def on_unit(self, event):
        self.units[event["unit"]] = event
        self.spoiled[event["spoil"]] += 1

    def on_end(self, event):
        self.ends[event["unit"]] = event["end"]

    def on_taken_out(self, event):
        self.taken_out.add(event["unit"])

    def on_packed(self, event):
        self.boxes.setdefault((event["station"], event["box"]), []).append(event["child"])

    def on_opened(self, event):
        self.tokens.append(event["token"])

    def on_sealed(self, event):
        self.sealed[event["station"], event["box"]] = elements(event["label"]).get("00")

    def on_released(self, event):
        self.released.add((event["station"], event["box"]))

    def serial(self, number):
        return elements(self.units[number]["record"]).get("21")


def units(story, journal, is_calm):
    """Units that passed are commissioned, and nothing else is; on a calm line that is every conforming one."""
    states = {serial: (state, verified) for serial, state, verified in journal.rows("SELECT serial, state, verified FROM v_unit")}
    for number, unit in story.units.items():
        if number in story.taken_out:
            continue
        own, end = story.serial(number), story.ends.get(number)
        if unit["spoil"] == "none" and (is_calm or end == 1):
            claim(end == 1, f"conforming unit {number} ({own}) ended as {end}")
            claim(states.get(own) == ("commissioned", 1), f"conforming unit {number} ({own}) stands as {states.get(own)}")
        elif unit["spoil"] != "none":
            claim(end == 2, f"unit {number} ({unit['spoil']}) ended as {end}")
            claim(states.get(own, ("",))[0] != "commissioned", f"unit {number} ({unit['spoil']}) is commissioned")
    passed = {story.serial(number) for number, end in story.ends.items() if end == 1}
    commissioned = {serial for serial, (state, _) in states.items() if state == "commissioned"}
    claim(passed == commissioned, f"passed and commissioned differ: {sorted(passed ^ commissioned)[:5]}")
    out = {story.serial(number) for number in story.taken_out}
    claim(not out & commissioned, f"taken out and commissioned: {sorted(out & commissioned)[:5]}")
    return len(commissioned)


def boxes(story, journal, capacities):
    """Every sealed box is released in the journal, with exactly the children that lie in it."""
    uris = dict(journal.rows("SELECT serial, unit FROM v_unit"))
    rows = {name: rest for name, *rest in journal.rows("SELECT container, level, state, capacity FROM v_container")}
    members = {}
    for child, parent in journal.rows("SELECT child, parent FROM v_member WHERE to_seq IS NULL"):
        members.setdefault(parent, set()).add(child)
    claim(set(story.sealed) == story.released == set(story.boxes), f"sealed, released and filled boxes differ: {story.boxes.keys() - story.released}")
    for (station, box), name in story.sealed.items():
        level, capacity = ("case", capacities[0]) if station == "packer" else ("pallet", capacities[1])
        claim(rows.get(name) == [level, "released", capacity], f"{station} {box} with label {name} stands as {rows.get(name)}")
        inside = story.boxes[station, box]
        own = [uris.get(story.serial(child)) if station == "packer" else story.sealed["packer", child] for child in inside]
        claim(len(own) == capacity and set(own) == members.get(name), f"{station} {box} holds {own}, the journal says {members.get(name)}")
    claim(len(rows) == len(story.sealed), f"{len(rows)} containers in the journal, {len(story.sealed)} sealed")
    return len(story.sealed)


def once(story):
    """No record on two units, no unit in two cases, no label on two boxes, no token for two strokes."""
    records = [unit["record"] for unit in story.units.values()]
    packed = [child for (station, _), children in story.boxes.items() if station == "packer" for child in children]
    for what, values in (("record", records), ("unit in a case", packed), ("label", list(story.sealed.values())), ("token", story.tokens)):
        twice = [value for value, count in Counter(values).items() if count > 1]
        claim(not twice, f"{what} twice: {twice[:5]}")


def feed(journal, facts):
    """The subscriber has every fact, with the bytes of the journal or the digest of a kind that is not published."""
    rows = dict(journal.rows("SELECT seq, body FROM v_fact"))
    claim(set(facts) == set(rows), f"facts that differ: {sorted(set(facts) ^ set(rows))[:5]}")
    same = sum(facts[seq] == body.encode() for seq, body in rows.items())
    digests = [seq for seq, body in rows.items() if facts[seq] != body.encode() and b"body_sha256" not in facts[seq]]
    claim(not digests, f"facts with other bytes: {[(seq, facts[seq], rows[seq]) for seq in digests[:2]]}")
    return same


def all_of_it(line, capacities, is_calm=True):
    """Everything at once; the numbers that a reader wants to see."""
    story, journal = Story(line.events()), line.journal()
    once(story)
    commissioned, closed = units(story, journal, is_calm), boxes(story, journal, capacities)
    facts = feed(journal, line.subscriber.facts())
    journal.base.close()
    code, out, err = line.house.run("audit", "verify", "--db", line.folder / "line.db")
    claim(code == 0, f"audit verify: {out}{err}")
    spoiled = sum(count for spoil, count in story.spoiled.items() if spoil != "none")
    lost = sum(story.ends.get(number) == 2 for number, unit in story.units.items() if unit["spoil"] == "none")
    text = f"{commissioned} commissioned, {spoiled} spoiled and rejected, {lost} conforming rejected, {closed} boxes closed and released, {facts} facts in the feed"
    return story, text
