"""The camera: results with numbers, one shown at a time until it is acknowledged; what does not fit into its queue is dropped and counted."""

from collections import deque

from station import Station, after

QUEUE = 8
SEQ_LAST = 50


class Camera(Station):
    def __init__(self, plant):
        super().__init__(plant, "camera")
        self.out.update(result="", overrun=False)
        self.inp.update(ack=0)
        self.seq, self.shown, self.queue = 0, 0, deque()

    def look(self, track, code, grade):
        """One unit in front of the lens. The number is used up even where the result is dropped."""
        self.seq = after(self.seq, SEQ_LAST)
        # The symbology identifier of a GS1 DataMatrix, as most readers put it in front.
        text = f"{self.seq};{track};{grade};{']d2' + code if code else ''}"
        if len(self.queue) >= QUEUE:
            self.out["overrun"] = True
        else:
            self.queue.append((self.seq, text))
        return self.seq

    def scan(self, now):
        self.supervise(now)
        if self.is_obeyed and self.shown and self.inp["ack"] == self.shown:
            self.shown, self.out["overrun"] = 0, False
        if not self.shown and self.queue:
            self.shown, self.out["result"] = self.queue.popleft()
