"""What every station's controller does: it beats, shows its epoch, and obeys nobody whose heartbeat stands or who answers another epoch.

`out` holds the tags that the station shows, `inp` those that Sealgate writes; the names are those of the contract, and where they lie is
the business of `coder.py` and `registers.py`.
"""

BEAT_LAST = 250
SCANS_PER_BEAT = 4


def after(count, last):
    """The next value of a counter that counts 1 to `last` and then 1 again."""
    return count % last + 1


class Station:
    def __init__(self, plant, name):
        self.plant, self.name, self.epoch = plant, name, plant.epoch
        self.out = {"heartbeat": 0, "epoch": 0, "fault": 0, "state": 2}
        self.inp = {"heartbeat_out": 0, "epoch_out": 0}
        self.scans, self.heard, self.heard_at = 0, 0, None
        self.is_fresh = self.is_obeyed = False

    def supervise(self, now):
        """The heartbeat watch; called first in every scan."""
        self.scans += 1
        if self.scans % SCANS_PER_BEAT == 0:
            self.out["heartbeat"] = after(self.out["heartbeat"], BEAT_LAST)
        # Shown last of all, when everything else of the new epoch stands.
        self.out["epoch"] = self.epoch
        beat = self.inp["heartbeat_out"]
        if beat != self.heard:
            self.heard, self.heard_at = beat, now
        was = self.is_fresh
        self.is_fresh = self.heard_at is not None and now - self.heard_at <= self.plant.watch_s
        self.is_obeyed = self.is_fresh and self.inp["epoch_out"] == self.epoch
        self.out["state"] = 6 if self.is_obeyed else 2
        if was != self.is_fresh:
            self.plant.truth.write("heard", station=self.name, fresh=self.is_fresh)

    def scan(self, now):
        raise NotImplementedError
