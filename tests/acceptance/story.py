"""The plant's truth against the audit views, counted here once more and by other means than the program's own comparison."""

import json
from collections import Counter

from stage import Journal, claim

FIXED = {"00": 18, "01": 14, "11": 6, "17": 6}


def elements(text):
    """Application identifiers of an element string, as far as the demo uses them; empty where it is none."""
    found = {}
    while text:
        ai = text[:2]
        if ai in FIXED:
            value, text = text[2 : 2 + FIXED[ai]], text[2 + FIXED[ai] :].removeprefix("\x1d")
        elif ai in ("10", "21"):
            value, _, text = text[2:].partition("\x1d")
        else:
            return {}
        found[ai] = value
    return found


class Truth:
    """`truth.jsonl`, by its documented kinds."""

    def __init__(self, folder):
        self.units, self.sealed, self.labels, self.openings = {}, [], [], []
        self.cases, self.taken_out, self.refused, gates = {}, set(), 0, {}
        for line in (folder / "truth.jsonl").read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            kind = event["kind"]
            if kind == "unit":
                record, printed = elements(event["record"]), elements(event["printed"])
                serials = {"own": record.get("21"), "shown": printed.get("21")}
                self.units[event["unit"]] = {"spoil": event["spoil"], "end": None, **serials}
            elif kind == "end":
                self.units[event["unit"]]["end"] = event["end"]
            elif kind == "gate":
                self.openings.append(event)
                gates[event["token"]] = event
            elif kind == "closed" and event["result"] == 1 and event["gate"] == "seal":
                self.sealed.append(gates[event["token"]])
            elif kind == "labelled":
                self.labels.append((event["station"], event["epoch"], event["container"], event["label"]))
            elif kind == "moved" and event["station"] == "packer":
                self.cases[event["container"]] = elements(event["label"])["00"]
            elif kind == "taken_out" and event["station"] != "palletizer":
                self.taken_out.add(event["unit"])
            elif kind == "denied":
                self.refused += 1

    def good(self):
        return {number for number, unit in self.units.items() if unit["spoil"] == "none"}


def check(folder, figures, is_calm):
    """Everything that must hold at the end of a demo; `is_calm` where nothing was killed on the way."""
    truth, views = Truth(folder), Journal(folder / "line.db")
    check_figures(truth, views, figures)
    check_units(truth, views, figures, is_calm)
    check_closed(truth, views, figures)
    check_once(truth, views)
    states = views.rows("SELECT state FROM v_batch")
    claim(states == [("closed",)], f"the batch stands as {states}")
    views.close()
    return truth


def check_figures(truth, views, figures):
    counted = {
        "presented": len(truth.units),
        "printed": sum(unit["own"] is not None for unit in truth.units.values()),
        "commissioned": views.one("SELECT count(*) FROM v_unit WHERE state = 'commissioned'"),
        "rejected": sum(unit["end"] == 2 for unit in truth.units.values()),
        "missed": views.one("SELECT count(*) FROM v_inspection WHERE verdict = 'missed'"),
        "unaccounted": views.one("SELECT count(*) FROM v_unit WHERE state = 'encoded'"),
        "cases_closed": sum(gate["station"] == "packer" for gate in truth.sealed),
        "pallets_closed": sum(gate["station"] == "palletizer" for gate in truth.sealed),
        "closes_refused": truth.refused,
        "facts": views.one("SELECT count(*) FROM v_fact"),
        "messages": views.one("SELECT count(*) FROM v_fact") + views.one("SELECT count(*) FROM v_message"),
        "false_rejects": sum(truth.units[number]["end"] == 2 for number in truth.good()),
        "wrong_in_closed_case": wrong_in_closed_cases(truth, views),
    }
    for key, value in counted.items():
        claim(figures[key] == value, f"{key} is given as {figures[key]} and counted as {value}")
    claim(figures["wrong_in_closed_case"] == 0, f"{figures['wrong_in_closed_case']} wrong in closed cases")
    claim(figures["reconciled"] is True, f"not reconciled: {figures['differences']}")
    claim(0 < figures["acked"] <= figures["messages"], f"{figures['acked']} of {figures['messages']} acknowledged")
    quantiles = [figures["verdict_us"][key] for key in ("p50", "p99", "p999")]
    claim(0 < quantiles[0] and quantiles == sorted(quantiles), f"verdict_us {quantiles}")


def members(views):
    """Present children by parent."""
    found = {}
    for child, parent in views.rows("SELECT child, parent FROM v_member WHERE to_seq IS NULL"):
        found.setdefault(parent, set()).add(child)
    return found


def wrong_in_closed_cases(truth, views):
    uris = dict(views.rows("SELECT serial, unit FROM v_unit WHERE state = 'commissioned'"))
    present, wrong = members(views), 0
    for gate in (gate for gate in truth.sealed if gate["station"] == "packer"):
        inside = present.get(elements(gate["label"]).get("00"), set())
        for number in gate["inside"]:
            unit = truth.units[number]
            wrong += unit["spoil"] != "none" or uris.get(unit["own"]) not in inside
    return wrong


def check_units(truth, views, figures, is_calm):
    spoiled = Counter(unit["spoil"] for unit in truth.units.values())
    states = {serial: (state, verified) for serial, state, verified in views.rows("SELECT serial, state, verified FROM v_unit")}
    for number, unit in truth.units.items():
        if number in truth.taken_out:
            continue
        state = states.get(unit["own"])
        if unit["spoil"] != "none":
            claim(unit["end"] == 2, f"unit {number} ({unit['spoil']}) ended as {unit['end']}, not in the bin")
            claim(state is None or state[0] != "commissioned", f"unit {number} ({unit['spoil']}) is commissioned")
        elif is_calm:
            claim(unit["end"] == 1, f"conforming unit {number} ended as {unit['end']}")
            claim(state == ("commissioned", 1), f"conforming unit {number} ({unit['own']}) stands as {state}")
    if is_calm:
        for key in ("false_rejects", "missed", "unaccounted", "closes_refused"):
            claim(figures[key] == 0, f"{key} is {figures[key]}")
    passed = {truth.units[number]["own"] for number in truth.good() if truth.units[number]["end"] == 1}
    commissioned = {serial for serial, (state, _) in states.items() if state == "commissioned"}
    claim(passed == commissioned, f"passed and commissioned differ: {sorted(passed ^ commissioned)[:5]}")
    if len(truth.units) > 1000:
        kinds = {"none", "no_read", "low_grade", "wrong_lot", "duplicate", "foreign"}
        claim(set(spoiled) == kinds, f"the plant made only {dict(spoiled)}")


def check_closed(truth, views, figures):
    """Every sealed case and pallet is in the journal as it physically is, and every full one closed."""
    uris = dict(views.rows("SELECT serial, unit FROM v_unit"))
    rows = views.rows("SELECT container, level, state, capacity FROM v_container")
    containers = {name: rest for name, *rest in rows}
    present = members(views)
    for gate in truth.sealed:
        name = elements(gate["label"]).get("00")
        level, state, capacity = containers.get(name, (None, None, None))
        is_case = gate["station"] == "packer"
        is_right = level == ("case" if is_case else "pallet") and state == "released"
        claim(is_right, f"{name} is sealed and stands as {level} {state}")
        own = [uris[truth.units[number]["own"]] if is_case else truth.cases[number] for number in gate["inside"]]
        claim(len(own) == capacity and set(own) == present[name], f"{name} holds other children than its members")
    claim(len(containers) == len(truth.sealed), f"{len(containers)} containers, {len(truth.sealed)} sealed")
    cases, pallets = figures["cases_closed"], figures["pallets_closed"]
    claim(figures["commissioned"] == cases * 10 == pallets * 100, f"{figures['commissioned']} in {cases} in {pallets}")


def check_once(truth, views):
    """No serial on two units, no SSCC on two containers, no token for two gates, no child in two parents."""

    def once(values, what):
        twice = [value for value, count in Counter(values).items() if count > 1]
        claim(not twice, f"{what} used twice: {twice[:5]}")

    once((unit["own"] for unit in truth.units.values()), "serial")
    once((unit["shown"] for unit in truth.units.values() if unit["spoil"] not in ("duplicate", "no_read", "foreign")), "code")
    once((label for *_, label in set(truth.labels)), "SSCC on a label")
    once((elements(gate["label"])["00"] for gate in truth.sealed), "SSCC of a sealed container")
    once((gate["token"] for gate in truth.openings), "token")
    once((number for gate in truth.sealed if gate["station"] == "packer" for number in gate["inside"]), "unit in a case")
    once((serial for (serial,) in views.rows("SELECT gtin || serial FROM v_unit")), "serial in v_unit")
    once((name for (name,) in views.rows("SELECT container FROM v_container")), "SSCC in v_container")
    once((child for (child,) in views.rows("SELECT child FROM v_member WHERE to_seq IS NULL")), "child in v_member")
    for kind in ("commissioned", "verified"):
        once((subject for (subject,) in views.rows("SELECT subject FROM v_fact WHERE kind = ?", kind)), f"subject of {kind}")
    encoded = [body for (body,) in views.rows("SELECT body FROM v_fact WHERE kind = 'serials_allocated'")]
    once((serial for body in encoded for serial in json.loads(body)["serials"]), "allocated serial")


def check_kills(views, kills):
    """As many starts as kills and one, each a second or more after the one before: no kill was earlier after READY."""
    started = [at for (at,) in views.rows("SELECT at_us FROM v_fact WHERE kind = 'line_started' ORDER BY seq")]
    stopped = views.one("SELECT count(*) FROM v_fact WHERE kind = 'line_stopped'")
    claim(len(started) == kills + 1 and stopped == 1, f"{len(started)} starts and {stopped} stops for {kills} kills")
    shortest = min(later - earlier for earlier, later in zip(started, started[1:]))
    claim(shortest >= 1_000_000, f"a daemon lived only {shortest} us")
    return shortest / 1e6
