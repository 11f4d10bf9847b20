"""The Modbus gateway of the line's end: case packer (unit 11) and palletizer (unit 12) behind one address.

Registers are numbered from 40001 in this file, as in the suppliers' lists. A request that touches a register that is not listed is answered
with exception 2, and so is a write to one that is only shown. Texts are padded with spaces.
"""

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

FIRST = 40001
UNITS = {"packer": 11, "palletizer": 12}
CHILD, CASE_CODE, LABEL = 64, 24, 24


def layouts(case, pallet):
    """Tag, first register, type; written tags are marked. Both machines have their own ideas of order."""
    return {
        "packer": [
            ("seq", 40001, "u16"), ("request", 40002, "u16"), ("container", 40003, "u16"), ("child_count", 40004, "u16"),
            ("close_result", 40006, "u16"), ("gate_state", 40007, "u16"), ("permit_ack", 40008, "u32"), ("state", 40010, "u16"),
            ("fault", 40011, "u16"), ("heartbeat", 40012, "u16"), ("epoch", 40013, "u32"), ("label_read", 40021, "text", LABEL),
            ("reply_seq", 40101, "u16", "W"), ("reply", 40102, "u16", "W"), ("reason", 40103, "u16", "W"), ("token", 40104, "u32", "W"),
            ("ttl_ms", 40106, "u32", "W"), ("label", 40110, "text", LABEL, "W"), ("ack", 40130, "u16", "W"),
            ("epoch_out", 40140, "u32", "W"), ("heartbeat_out", 40142, "u16", "W"), ("children", 40201, "texts", CHILD, case),
        ],
        "palletizer": [
            ("epoch", 42001, "u32"), ("heartbeat", 42003, "u16"), ("fault", 42004, "u16"), ("state", 42005, "u16"),
            ("gate_state", 42011, "u16"), ("close_result", 42012, "u16"), ("permit_ack", 42013, "u32"),
            ("children", 42021, "texts", CASE_CODE, pallet), ("child_count", 42060, "u32"), ("container", 42062, "u32"),
            ("label_read", 42064, "text", LABEL), ("request", 42076, "u16"), ("seq", 42077, "u32"),
            ("epoch_out", 43001, "u32", "W"), ("heartbeat_out", 43003, "u16", "W"), ("ack", 43004, "u32", "W"),
            ("token", 43006, "u32", "W"), ("ttl_ms", 43008, "u32", "W"), ("reason", 43010, "u16", "W"), ("label", 43011, "text", LABEL, "W"),
            ("reply", 43023, "u16", "W"), ("reply_seq", 43024, "u32", "W"),
        ],
    }


# Which word of two comes first, which byte of a number's word, which of a text's.
ORDERS = {"packer": ("low", "high", "low"), "palletizer": ("high", "low", "low")}


class Field:
    def __init__(self, orders, tag, first, kind, *more):
        self.words, self.bytes, self.letters = orders
        self.tag, self.at, self.kind = tag, first - FIRST, kind
        self.is_written = more[-1:] == ("W",)
        self.length, self.count = (more[0] if kind in ("text", "texts") else 0), (more[1] if kind == "texts" else 1)
        self.size = {"u16": 1, "u32": 2}.get(kind, self.length // 2 * self.count)

    def encode(self, value):
        if self.kind == "u16":
            words = [value]
        elif self.kind == "u32":
            words = [value >> 16, value & 0xFFFF][:: 1 if self.words == "high" else -1]
        else:
            texts = value if self.kind == "texts" else [value]
            data = b"".join(text.encode("latin-1").ljust(self.length) for text in texts)
            return [int.from_bytes(data[at : at + 2], "big" if self.letters == "high" else "little") for at in range(0, len(data), 2)]
        return words if self.bytes == "high" else [swapped(word) for word in words]

    def decode(self, words):
        if self.kind == "text":
            order = "big" if self.letters == "high" else "little"
            return b"".join(word.to_bytes(2, order) for word in words).rstrip(b" \0").decode("latin-1")
        words = words if self.bytes == "high" else [swapped(word) for word in words]
        if self.kind == "u16":
            return words[0]
        high, low = words[:: 1 if self.words == "high" else -1]
        return high << 16 | low


def swapped(word):
    return word >> 8 | (word & 0xFF) << 8


class Memory:
    """One unit's registers."""

    def __init__(self, station, rows):
        self.station = station
        self.fields = [Field(ORDERS[station.name], *row) for row in rows]
        self.words = {}
        for field in self.fields:
            blank = [0x2020] * field.size if field.kind in ("text", "texts") else [0] * field.size
            self.words.update({field.at + place: word for place, word in enumerate(blank)})
        self.writable = {field.at + place for field in self.fields if field.is_written for place in range(field.size)}

    def device(self):
        ranges = [SimData(field.at, values=[0] * field.size, datatype=DataType.REGISTERS) for field in sorted(self.fields, key=lambda field: field.at)]
        return SimDevice(UNITS[self.station.name], simdata=ranges, action=self.serve)

    async def serve(self, _function, start, address, count, registers, values):
        """One request: checked, and answered from this memory."""
        if values:
            if not self.writable.issuperset(range(address, address + count)):
                return ExcCodes.ILLEGAL_ADDRESS
            self.words.update({address + place: word for place, word in enumerate(values)})
        for place in range(address, address + count):
            registers[place - start] = self.words[place]
        return None

    def take(self):
        for field in self.fields:
            if field.is_written:
                words = [self.words[field.at + place] for place in range(field.size)]
                self.station.inp[field.tag] = field.decode(words)

    def show(self):
        for field in self.fields:
            if not field.is_written:
                words = field.encode(self.station.out[field.tag])
                self.words.update({field.at + place: word for place, word in enumerate(words)})


class Gateway:
    def __init__(self, port, stations, case, pallet):
        rows = layouts(case, pallet)
        self.port, self.memories = port, [Memory(station, rows[station.name]) for station in stations]

    async def start(self):
        devices = [memory.device() for memory in self.memories]
        self.server = ModbusTcpServer(devices, address=("127.0.0.1", self.port))
        await self.server.serve_forever(background=True)

    def take(self):
        for memory in self.memories:
            memory.take()

    def show(self):
        for memory in self.memories:
            memory.show()
