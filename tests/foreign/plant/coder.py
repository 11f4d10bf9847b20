"""The OPC UA server of the line's front: coder, camera and reject gate, each in a namespace of its own, as three suppliers made them."""

from asyncua import Server, ua

from gate import RING

T = ua.VariantType
CODER, EYE, GATE = "urn:example:markjet", "http://example.com/eye/2", "urn:example:gate-plc"
# Tag, identifier, type; written tags are marked. Shown in this order, the epoch last.
NODES = {
    "printer": (CODER, "MarkJet", [
        ("printed_seq", 5001, T.UInt16), ("accepted_seq", 5002, T.UInt16), ("remaining", 5003, T.Byte), ("flush_done", 5004, T.UInt16),
        ("state", 5010, T.Int32), ("fault", 5011, T.Int32), ("heartbeat", 5012, T.Byte), ("epoch", 5013, T.UInt32),
        ("data", 6001, T.String, "W"), ("data_seq", 6002, T.UInt16, "W"), ("flush", 6003, T.UInt16, "W"),
        ("heartbeat_out", 6010, T.Int32, "W"), ("epoch_out", 6011, T.UInt32, "W"),
    ]),
    "camera": (EYE, "Eye1", [
        ("result", "Eye1.Inspection.Result", T.String), ("overrun", "Eye1.Inspection.Overrun", T.Boolean),
        ("state", "Eye1.State", T.UInt16), ("fault", "Eye1.Error", T.UInt16),
        ("heartbeat", "Eye1.Life", T.UInt16), ("epoch", "Eye1.Boot", T.UInt32),
        ("ack", "Eye1.Inspection.Taken", T.UInt32, "W"),
        ("heartbeat_out", "Eye1.Host.Life", T.UInt16, "W"), ("epoch_out", "Eye1.Host.Boot", T.UInt32, "W"),
    ]),
    "rejector": (GATE, "Gate", [
        ("ends", "DB20.Ends", T.Int16), ("end_seq", "DB20.EndNo", T.Int16), ("in_count", "DB20.InCount", T.Int16),
        ("verdict_echo", "DB20.VerdictSeen", T.Int16), ("phantom_count", "DB20.Phantoms", T.Int32),
        ("bin_count", "DB20.Bin", T.Int32), ("bin_full", "DB20.BinFull", T.Boolean),
        ("state", "DB20.State", T.Int16), ("fault", "DB20.Fault", T.Int16), ("heartbeat", "DB20.Life", T.Int16), ("epoch", "DB20.Boot", T.UInt32),
        ("verdict", "DB21.Pass", T.Boolean, "W"), ("verdict_track", "DB21.Track", T.Int16, "W"), ("run_permit", "DB21.Run", T.Boolean, "W"),
        ("heartbeat_out", "DB21.Life", T.Int16, "W"), ("epoch_out", "DB21.Boot", T.UInt32, "W"),
    ]),
}


class Coder:
    """Carries tags between the stations and the address space, in every scan."""

    def __init__(self, port):
        self.port, self.server, self.nodes = port, Server(), {}

    async def start(self, stations, is_reversed):
        """Namespaces get their numbers in the order of their registration, which is another one after each restart."""
        await self.server.init()
        self.server.set_endpoint(f"opc.tcp://127.0.0.1:{self.port}/line")
        self.server.set_server_name("a foreign line")
        self.server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        self.stations = {station.name: station for station in stations}
        for name, (uri, folder, rows) in sorted(NODES.items(), reverse=is_reversed):
            space = await self.server.register_namespace(uri)
            parent = await self.server.nodes.objects.add_folder(ua.NodeId(folder, space), f"{space}:{folder}")
            for row in rows:
                await self.add(name, space, parent, *row)
        await self.server.start()

    async def add(self, name, space, parent, tag, identifier, kind, access="R"):
        value = self.zero(tag, kind)
        label = identifier.rpartition(".")[2] if isinstance(identifier, str) else tag.title().replace("_", "")
        node = await parent.add_variable(ua.NodeId(identifier, space), f"{space}:{label}", value, kind)
        if access == "W":
            await node.set_writable()
        self.nodes[name, tag] = (node.nodeid, kind, access, value)

    @staticmethod
    def zero(tag, kind):
        if tag == "ends":
            return [0] * (2 * RING)
        return {T.String: "", T.Boolean: False}.get(kind, 0)

    def take(self):
        """What was written since the last scan."""
        for (name, tag), (node, _, access, _) in self.nodes.items():
            if access == "W":
                value = self.server.read_attribute_value(node).Value.Value
                self.stations[name].inp[tag] = "" if value is None else value

    async def show(self):
        """What changed since the last scan."""
        for (name, tag), (node, kind, access, before) in self.nodes.items():
            value = self.stations[name].out.get(tag, before)
            if access == "R" and value != before:
                self.nodes[name, tag] = (node, kind, access, value)
                await self.server.write_attribute_value(node, ua.DataValue(ua.Variant(value, kind)))
