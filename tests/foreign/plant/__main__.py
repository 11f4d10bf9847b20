#!/usr/bin/env python3
"""A packaging line that knows nothing of Sealgate but the contract: coder, camera and reject gate over OPC UA, case packer and palletizer
over Modbus TCP, with names, types and layouts of their own.

usage: python tests/foreign/plant [--truth FILE] [--opcua PORT] [--modbus PORT] [--good N] [--rate PER_MINUTE] ...

What physically happens goes to the truth file, one JSON object a line; started again with the same file, the controllers have a new epoch
and the things lie where they lay. Needs Python 3.11, asyncua and pymodbus. Written from the device contract alone.
"""

import argparse
import asyncio
import logging
import time
from collections import deque
from pathlib import Path

from belt import Belt
from camera import Camera
from closer import Closer
from coder import Coder
from gate import Gate
from printer import Printer
from registers import Gateway
from truth import Things, Truth

SCAN_S = 0.02
DROP_S = 0.05


class Plant:
    def __init__(self, options):
        self.truth = Truth(options.truth)
        things = Things(self.truth.events)
        self.starts = sum(event["kind"] == "started" for event in self.truth.events)
        self.epoch = int(time.time())
        self.truth.write("started", epoch=self.epoch)
        self.watch_s, self.spacing_s = options.watch_ms / 1000, 60 / options.rate
        self.good, self.bad, self.seed = options.good, options.bad, options.seed
        self.jams = {"packer": options.jam} if options.jam else {}
        self.printer, self.camera, self.gate = Printer(self), Camera(self), Gate(self)
        self.packer = Closer(self, "packer", options.case, things)
        self.palletizer = Closer(self, "palletizer", options.pallet, things)
        self.lane = deque((number, things.units[number]["printed"]) for number in things.lane)
        self.cases = deque(things.cases)
        self.belt, self.dropped_at = Belt(self, things), 0.0

    def scan(self, now, passed_s):
        for station in (self.printer, self.camera, self.gate):
            station.scan(now)
        self.belt.scan(now, passed_s)
        self.fill(now)
        for station in (self.packer, self.palletizer):
            station.scan(now)

    def fill(self, now):
        """Units fall one after the other into the case; a case that left goes on the pallet."""
        if self.lane and self.packer.has_room() and now - self.dropped_at >= DROP_S:
            self.dropped_at = now
            self.packer.put(*self.lane.popleft())
        if self.cases and self.palletizer.has_room():
            case = self.cases.popleft()
            self.palletizer.put(case["box"], case["label"])

    def hand_over(self, name, box):
        if name == "packer":
            self.cases.append(box)


async def run(options):
    plant = Plant(options)
    coder = Coder(options.opcua)
    gateway = Gateway(options.modbus, [plant.packer, plant.palletizer], options.case, options.pallet)
    await coder.start([plant.printer, plant.camera, plant.gate], is_reversed=plant.starts % 2 == 1)
    await gateway.start()
    print(f"a foreign line: opc.tcp://127.0.0.1:{options.opcua}/line, Modbus TCP 127.0.0.1:{options.modbus}", flush=True)
    before = time.monotonic()
    while True:
        coder.take()
        gateway.take()
        now = time.monotonic()
        # A scan that came very late moves the belt no further than the encoder can follow.
        plant.scan(now, min(now - before, 5 * SCAN_S))
        before = now
        gateway.show()
        await coder.show()
        await asyncio.sleep(max(0.001, SCAN_S - (time.monotonic() - now)))


def main():
    options = argparse.ArgumentParser(prog="tests/foreign/plant", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--truth", type=Path, default=Path("plant.jsonl"))
    options.add_argument("--opcua", type=int, default=48410, metavar="PORT")
    options.add_argument("--modbus", type=int, default=15020, metavar="PORT")
    options.add_argument("--good", type=int, default=100, metavar="N", help="conforming units to be made; default %(default)s")
    options.add_argument("--rate", type=int, default=240, metavar="PER_MINUTE", help="default %(default)s")
    options.add_argument("--bad", type=float, default=0.1, metavar="SHARE", help="of units that are spoiled; default %(default)s")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--case", type=int, default=5, metavar="UNITS")
    options.add_argument("--pallet", type=int, default=2, metavar="CASES")
    options.add_argument("--jam", type=int, default=0, metavar="BOX", help="the case whose seal fails once")
    options.add_argument("--watch-ms", type=int, default=2000, help="without a heartbeat for so long everything stops; default %(default)s")
    logging.basicConfig(level=logging.ERROR)
    # Their servers complain of every client that goes without a word, which is what this is for.
    for name in ("asyncua", "pymodbus"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        asyncio.run(run(options.parse_args()))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
