"""The reject gate's controller: it counts units in, follows each by its track, passes what was told to pass and rejects all others."""

from station import Station, after

TRACK_LAST = 60
END_LAST = 64
RING = 64
# This machine's own numbers for the ends of a track.
PASSED, REJECTED = 10, 20


class Gate(Station):
    def __init__(self, plant):
        super().__init__(plant, "rejector")
        self.out.update(in_count=0, end_seq=0, ends=[0] * (2 * RING), verdict_echo=0, phantom_count=0, bin_count=0, bin_full=False)
        self.inp.update(verdict=False, verdict_track=0, run_permit=False)
        self.latched = 0
        # Verdicts by track, while the unit is before the blade.
        self.before_blade = {}

    def scan(self, now):
        self.supervise(now)
        if not self.is_obeyed:
            # No pass outlives the one who gave it. What stands in the tags then counts again when he is back.
            self.before_blade = {track: False if verdict is False else None for track, verdict in self.before_blade.items()}
            self.latched = 0
            return
        track = self.inp["verdict_track"]
        if track not in (0, self.latched):
            self.latched = self.out["verdict_echo"] = track
            # Past the blade it is too late, and a fail is final.
            if self.before_blade.get(track, False) is not False:
                self.before_blade[track] = self.inp["verdict"]

    def enter(self):
        self.out["in_count"] = track = after(self.out["in_count"], TRACK_LAST)
        self.before_blade[track] = None
        return track

    def decide(self, track):
        """At the blade: whether the unit goes on. Silence means reject."""
        return self.before_blade.pop(track, None) is True

    def end(self, track, end):
        self.out["end_seq"] = seq = after(self.out["end_seq"], END_LAST)
        ends, place = list(self.out["ends"]), 2 * (seq % RING)
        ends[place : place + 2] = [track, end]
        self.out["ends"] = ends
        if end == REJECTED:
            self.out["bin_count"] += 1

    @property
    def may_run(self):
        return self.is_obeyed and self.inp["run_permit"] and self.out["fault"] == 0
