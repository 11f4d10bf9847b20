"""A foreign OPC UA server (asyncua) in a thread of its own: a camera that waits for nobody, and a blade that does nothing.

The server's program goes on while its network side is restarted, as in a PLC whose communication module restarts: sessions,
subscriptions and namespace indices are lost, counters are not. The tags lie in four namespaces at once; only the one that has the
plant's URI is alive, and the others show a poison that must never be read.
"""

import asyncio
import logging
import random
import threading

URI = "urn:field:plant"
SLOTS = 4
FIRST = 2  # 0 is OPC UA's own namespace, 1 the server's.
POISON = 4_000_000

CAMERA = ("heartbeat", "epoch", "heartbeat_out", "epoch_out", "seq", "code", "track", "ack")
BLADE = ("heartbeat", "epoch", "heartbeat_out", "epoch_out", "in_count", "end_seq", "ends", "verdict_echo", "verdict_word", "run_permit")
WRITTEN = ("heartbeat_out", "epoch_out", "ack", "verdict_word", "run_permit")

MAP = """
[camera.heartbeat]
node = "nsu={uri};s=camera.heartbeat"
type = "u16"
wrap = 65535
[camera.epoch]
node = "nsu={uri};s=camera.epoch"
type = "u32"
[camera.heartbeat_out]
node = "nsu={uri};s=camera.heartbeat_out"
type = "u16"
[camera.epoch_out]
node = "nsu={uri};s=camera.epoch_out"
type = "u32"
[camera.seq]
node = "nsu={uri};s=camera.seq"
type = "u32"
wrap = 4294967295
[camera.code]
node = "nsu={uri};s=camera.code"
type = "text"
length = 72
[camera.track]
node = "nsu={uri};s=camera.track"
type = "u16"
wrap = 32767
[camera.ack]
node = "nsu={uri};s=camera.ack"
type = "u32"

[rejector]
ends_ring = 64
[rejector.heartbeat]
node = "nsu={uri};s=rejector.heartbeat"
type = "u16"
wrap = 65535
[rejector.epoch]
node = "nsu={uri};s=rejector.epoch"
type = "u32"
[rejector.heartbeat_out]
node = "nsu={uri};s=rejector.heartbeat_out"
type = "u16"
[rejector.epoch_out]
node = "nsu={uri};s=rejector.epoch_out"
type = "u32"
[rejector.in_count]
node = "nsu={uri};s=rejector.in_count"
type = "u32"
wrap = 32767
[rejector.end_seq]
node = "nsu={uri};s=rejector.end_seq"
type = "u32"
wrap = 4294967232
[rejector.ends]
node = "nsu={uri};s=rejector.ends"
type = "ints"
count = 128
[rejector.verdict_echo]
node = "nsu={uri};s=rejector.verdict_echo"
type = "u16"
[rejector.verdict_word]
node = "nsu={uri};s=rejector.verdict_word"
type = "u16"
[rejector.run_permit]
node = "nsu={uri};s=rejector.run_permit"
type = "bool"
"""

LINE = """[line]
name = "field"
path = "acme/field/line"
read_point = "urn:epc:id:sgln:0614141.07346.line3"
socket = "line.sock"

[journal]
path = "line.db"

[store]
file_systems = ["tmpfs", "overlay"]
reserve_free_mb = 16
ballast_mb = 1

[device.plc]
protocol = "opcua"
url = "opc.tcp://127.0.0.1:{port}"
{keys}
request_timeout_ms = 1000
backoff_min_ms = 50
backoff_max_ms = 200

[station.camera]
kind = "camera"
device = "plc"
map = "plc.toml"
rejector = "blade"
verdict_deadline_ms = 400

[station.blade]
kind = "rejector"
device = "plc"
map = "plc.toml"
"""


def write_config(folder, port, keys):
    """A line of one camera and its blade, both on the server behind this port."""
    (folder / "plc.toml").write_text(MAP.format(uri=URI))
    (folder / "line.toml").write_text(LINE.format(port=port, keys=keys))
    return folder / "line.toml"


class Foreign:
    """The server. Methods may be called from any thread; they return when it is done."""

    def __init__(self, port, seed, result_every=0.06):
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        self.port, self.draw, self.result_every = port, random.Random(seed), result_every
        self.seq, self.sessions, self.acks, self.beat = 0, 0, [], 0
        self.is_running, self.slot = True, 0
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def call(self, work, within=120):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(within)

    def start(self, prepare=None):
        self.call(self._start(prepare))
        return self

    async def _start(self, prepare):
        from asyncua import Server, ua

        self.ua = ua
        self.server = Server()
        await self.server.init()
        self.server.set_endpoint(f"opc.tcp://127.0.0.1:{self.port}/")
        if prepare:
            await prepare(self.server)
        else:
            self.server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        for index in range(SLOTS):
            await self.server.register_namespace(f"urn:field:slot{index}")
            await self._nodes(FIRST + index)
        inner = self.server.iserver.create_session

        def create_session(name, *rest, external=False, **more):
            self.sessions += external
            return inner(name, *rest, external=external, **more)

        self.server.iserver.create_session = create_session
        await self._order()
        await self.server.start()
        self.tasks = [self.loop.create_task(self._live())]

    async def _nodes(self, namespace):
        ua, kinds = self.ua, {}
        for name in ("code",):
            kinds[name] = ("", ua.VariantType.String)
        kinds["ends"] = ([0] * 128, ua.VariantType.UInt32)
        kinds["run_permit"] = (False, ua.VariantType.Boolean)
        for name in ("heartbeat", "heartbeat_out", "track", "verdict_echo", "verdict_word"):
            kinds[name] = (0, ua.VariantType.UInt16)
        for station, names in (("camera", CAMERA), ("rejector", BLADE)):
            for name in names:
                value, kind = kinds.get(name, (POISON if name == "seq" else 0, ua.VariantType.UInt32))
                node = await self.server.nodes.objects.add_variable(
                    ua.NodeId(f"{station}.{name}", namespace), ua.QualifiedName(f"{station}.{name}", namespace), value, kind
                )
                if name in WRITTEN:
                    await node.set_writable()

    async def _order(self):
        """Another order of the namespaces: the plant's URI moves to another index."""
        ua = self.ua
        array = await self.server.get_namespace_array()
        self.slot = self.draw.randrange(SLOTS)
        array[FIRST:] = [f"urn:field:other{index}" for index in range(SLOTS)]
        array[FIRST + self.slot] = URI
        await self.server.get_node(ua.ObjectIds.Server_NamespaceArray).write_value(array)
        for index in range(SLOTS):
            if index != self.slot:
                await self._put("camera.seq", POISON, ua.VariantType.UInt32, index)
        for station in ("camera", "rejector"):
            await self._put(f"{station}.epoch", 7, ua.VariantType.UInt32)
        await self._show()

    async def _put(self, name, value, kind, slot=None):
        node = self.ua.NodeId(name, FIRST + (self.slot if slot is None else slot))
        await self.server.write_attribute_value(node, self.ua.DataValue(self.ua.Variant(value, kind)))

    async def _show(self):
        kinds = self.ua.VariantType
        await self._put("camera.track", self.seq % 32767, kinds.UInt16)
        await self._put("camera.seq", self.seq, kinds.UInt32)
        for station in ("camera", "rejector"):
            await self._put(f"{station}.heartbeat", self.beat % 65535 + 1, kinds.UInt16)

    async def _live(self):
        while True:
            await asyncio.sleep(self.result_every)
            self.beat += 1
            self.seq += self.is_running
            await self._show()
            ack = await self.server.get_node(self.ua.NodeId("camera.ack", FIRST + self.slot)).read_value()
            if ack and (not self.acks or self.acks[-1] != ack):
                self.acks.append(ack)

    def restart(self, away):
        """The network side goes, with every session and subscription, and comes back after so long with other indices."""
        self.call(self._restart(away))

    async def _restart(self, away):
        await self.server.bserver.stop()
        inner = self.server.iserver
        for session in list(inner._external_sessions.values()):
            await session.close_session(True)
        for subscription in list(inner.subscription_service.subscriptions):
            await inner.subscription_service.delete_subscriptions([subscription])
        await self._order()
        await asyncio.sleep(away)
        await self.server.bserver.start()

    def burst(self, results):
        """So many results faster than anybody reads: all but the last are overwritten."""

        async def show():
            for _ in range(results):
                self.seq += 1
                await self._show()

        self.call(show())

    def stop_results(self):
        """The camera sees nothing more; its heartbeat goes on."""
        self.is_running = False
        return self.seq

    def stop(self):
        async def end():
            for task in self.tasks:
                task.cancel()
            await self.server.stop()

        try:
            self.call(end(), 10)
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)

    def recertify(self, policies, certificate=None):
        """The network side again, with these security policies (names of asyncua's SecurityPolicyType) and this certificate and key."""
        self.call(self._recertify(policies, certificate))

    async def _recertify(self, policies, certificate):
        await self.server.bserver.stop()
        for session in list(self.server.iserver._external_sessions.values()):
            await session.close_session(True)
        if certificate:
            await self.server.load_certificate(certificate[0])
            await self.server.load_private_key(certificate[1])
        self.server._policies, self.server.iserver.endpoints = [], []
        self.server.set_security_policy([self.ua.SecurityPolicyType[name] for name in policies])
        await self.server._setup_server_nodes()
        self.server.bserver.set_policies(self.server._policies)
        await self.server.bserver.start()

    def channels(self):
        """What secures the connections that are open now, with a session."""

        async def look():
            found = set()
            for client in self.server.bserver.clients:
                processor = getattr(client, "processor", None)
                if processor is not None and processor.session is not None:
                    policy = processor._connection.security_policy
                    found.add((policy.URI.rsplit("#", 1)[-1], policy.Mode.name.rstrip("_")))
            return found

        return self.call(look())
