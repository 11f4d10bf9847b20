"""What physically happened, one JSON object a line, written as it happens; and what stands where when the controllers start again.

The plant's controllers forget everything when their process dies; bottles, cases and labels stay where they are. So the file is both the
judge's truth and the memory of the things themselves.
"""

import json
import time


class Truth:
    def __init__(self, path):
        self.path, self.events = path, []
        if path.exists():
            # A line that was cut by a kill did not happen.
            lines = path.read_bytes().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith(b"\n")]
            path.write_bytes(b"".join(whole))
            self.events = [json.loads(line) for line in whole]
        self.file = open(path, "a", encoding="utf-8")

    def write(self, kind, **words):
        line = {"kind": kind, "at": round(time.time(), 3), **words}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()


class Things:
    """Where everything lies that was there before: folded from the events."""

    def __init__(self, events):
        self.units, self.lane, self.belt, self.passed = {}, [], [], 0
        self.boxes = {"packer": None, "palletizer": None}
        self.cases = []
        self.last = {"unit": 0, "packer": 0, "palletizer": 0}
        for event in events:
            if fold := getattr(self, "on_" + event["kind"], None):
                fold(event)

    def on_unit(self, event):
        self.last["unit"] = event["unit"]
        self.units[event["unit"]] = event
        self.belt.append(event["unit"])

    def on_taken_out(self, event):
        self.belt.remove(event["unit"])

    def on_end(self, event):
        self.belt.remove(event["unit"])
        if event["end"] == 1:
            self.lane.append(event["unit"])
            self.passed += 1

    def on_packed(self, event):
        station, box = event["station"], event["box"]
        if self.last[station] != box:
            self.last[station] = box
            self.boxes[station] = {"box": box, "children": [], "codes": [], "label": "", "sealed": False}
        self.boxes[station]["children"].append(event["child"])
        self.boxes[station]["codes"].append(event["code"])
        if station == "packer":
            self.lane.remove(event["child"])
        else:
            self.cases = [case for case in self.cases if case["box"] != event["child"]]

    def on_sealed(self, event):
        self.boxes[event["station"]].update(sealed=True, label=event["label"])

    def on_left(self, event):
        if event["station"] == "packer":
            self.cases.append(self.boxes["packer"])
        self.boxes[event["station"]] = None
