"""The coder: a buffer of records, printed in their order. It never prints anything twice and never anything by itself."""

from collections import deque

from station import Station

BUFFER = 10


class Printer(Station):
    def __init__(self, plant):
        super().__init__(plant, "printer")
        self.out.update(printed_seq=0, accepted_seq=0, remaining=0, flush_done=0)
        self.inp.update(data="", data_seq=0, flush=0)
        self.buffer = deque()

    def scan(self, now):
        self.supervise(now)
        seq = self.inp["data_seq"]
        if self.is_obeyed and seq not in (0, self.out["accepted_seq"]) and len(self.buffer) < BUFFER:
            self.buffer.append((seq, self.inp["data"]))
            self.out["accepted_seq"] = seq
        if self.is_obeyed and self.inp["flush"] != self.out["flush_done"]:
            self.buffer.clear()
            self.out["flush_done"] = self.inp["flush"]
        self.out["remaining"] = len(self.buffer)

    def print(self):
        """The next record, on the unit that is under the head now."""
        self.out["printed_seq"], data = self.buffer.popleft()
        return data
