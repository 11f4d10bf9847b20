"""Case packer and palletizer: fill a box, ask for its two gates, and do only what a permit allows, once, in its time.

The sequence is written as a generator: one `yield` is one scan.
"""

from station import Station, after

SEQ_LAST = 30000
# This machine's own numbers for the words of the contract.
SEAL, RELEASE = 100, 200
NONE, DENY, PENDING, PERMIT = 0, 11, 12, 13
DONE, FAILED, EXPIRED = 1, 8, 9
SHUT, MOVING, OPEN = 0, 1, 2
STROKE_S, ASK_AGAIN_S = 0.06, 0.4


class Closer(Station):
    def __init__(self, plant, name, capacity, things):
        super().__init__(plant, name)
        self.out.update(seq=0, request=0, container=0, child_count=0, children=[""] * capacity, label_read="")
        self.out.update(permit_ack=0, close_result=0, gate_state=SHUT)
        self.inp.update(ack=0, reply_seq=0, reply=NONE, token=0, ttl_ms=0, reason=0, label="")
        self.capacity, self.last_box = capacity, things.last[name]
        self.box = things.boxes[name] or self.new_box()
        self.first_seen, self.used = {}, set()
        self.now, self.chart = 0.0, self.sequence()
        self.is_asking = False
        # The box whose stroke fails once, as film and tape do.
        self.jams = plant.jams.get(name)

    def new_box(self):
        self.last_box += 1
        return {"box": self.last_box, "children": [], "codes": [], "label": "", "sealed": False}

    def has_room(self):
        return not self.box["sealed"] and len(self.box["children"]) < self.capacity

    def put(self, child, code):
        self.box["children"].append(child)
        self.box["codes"].append(code)
        self.plant.truth.write("packed", station=self.name, box=self.box["box"], child=child, code=code)

    def scan(self, now):
        self.now = now
        self.supervise(now)
        # The time to live runs from the first sight of a permit with this token, whatever else goes on.
        if self.is_obeyed and self.inp["reply"] == PERMIT and self.inp["token"]:
            self.first_seen.setdefault(self.inp["token"], now)
        next(self.chart)

    def sequence(self):
        while True:
            self.out["container"] += 1
            while not self.box["sealed"]:
                while len(self.box["children"]) < self.capacity:
                    yield
                yield from self.gate(SEAL)
            while not (yield from self.gate(RELEASE)):
                pass
            self.plant.truth.write("left", station=self.name, box=self.box["box"])
            self.plant.hand_over(self.name, self.box)
            self.box = self.new_box()

    def gate(self, which):
        """One request, from its number to its end. True where the stroke was done."""
        self.ask(which)
        while not self.is_answered():
            yield
        if self.inp["reply"] == DENY:
            self.plant.truth.write("denied", station=self.name, box=self.box["box"], reason=self.inp["reason"])
            yield from self.wait(ASK_AGAIN_S)
            self.is_asking = False
            return False
        token, label = self.inp["token"], self.inp["label"]
        result = yield from self.stroke(which, token, label)
        self.out["close_result"] = result
        while self.inp["reply"] != NONE or not self.is_obeyed:
            yield
        self.is_asking = False
        return result == DONE

    def ask(self, which):
        seq = after(self.out["seq"], SEQ_LAST)
        codes = self.box["codes"] + [""] * (self.capacity - len(self.box["codes"]))
        read = self.box["label"] if which == RELEASE else ""
        self.is_asking = True
        self.out.update(request=which, children=codes, child_count=len(self.box["codes"]), label_read=read)
        self.out.update(permit_ack=0, close_result=0, seq=seq)
        self.plant.truth.write("asked", station=self.name, box=self.box["box"], gate=which, seq=seq)

    def is_answered(self):
        """Denied, or permitted with a token that was never used. `PENDING` and silence go on waiting."""
        if not self.is_obeyed or self.inp["reply_seq"] != self.out["seq"]:
            return False
        token = self.inp["token"]
        return self.inp["reply"] == DENY or (self.inp["reply"] == PERMIT and token != 0 and token not in self.used)

    def stroke(self, which, token, label):
        """The machine moves, or says why it did not. Once begun a stroke is never aborted."""
        seen = self.first_seen[token]
        self.used.add(token)
        self.out["permit_ack"] = token
        if self.now - seen > self.inp["ttl_ms"] / 1000:
            self.plant.truth.write("expired", station=self.name, box=self.box["box"], token=token)
            return EXPIRED
        if which == SEAL and self.jams == self.box["box"]:
            self.jams = None
            self.plant.truth.write("jammed", station=self.name, box=self.box["box"], token=token)
            return FAILED
        self.plant.truth.write("opened", station=self.name, box=self.box["box"], gate=which, token=token)
        for state in (MOVING, OPEN):
            self.out["gate_state"] = state
            yield from self.wait(STROKE_S)
        if which == SEAL:
            # The label of the permit is printed and applied with the stroke, and read back by the machine's own scanner.
            self.box.update(sealed=True, label=label)
            self.plant.truth.write("sealed", station=self.name, box=self.box["box"], label=label, token=token)
        else:
            self.plant.truth.write("released", station=self.name, box=self.box["box"], token=token)
        self.out["gate_state"] = SHUT
        return DONE

    def wait(self, seconds):
        until = self.now + seconds
        while self.now < until:
            yield
