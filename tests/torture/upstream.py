"""A broker of our own, in as much MQTT 5 as the feed speaks: it takes everything and acknowledges only what it is told to."""

import shutil
import socket
import threading

from running import Daemon

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP = 1, 2, 3, 4, 8, 9, 12, 13
SILENT_FOR = 6


def number(data, at):
    """A variable byte integer and the place behind it (MQTT 5, 1.5.5)."""
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


class Broker:
    def __init__(self, acknowledges):
        self.acknowledges = acknowledges
        self.seen = {}
        self.copies = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = [self.listener]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(peer)
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def close(self):
        for one in self.open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def serve(self, peer):
        stream = peer.makefile("rb")
        try:
            while head := stream.read(1):
                length, shift = 0, 0
                while True:
                    byte = stream.read(1)[0]
                    length |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                self.take(peer, head[0], stream.read(length))
        except (OSError, IndexError, ValueError):
            pass

    def take(self, peer, head, body):
        kind = head >> 4
        if kind == CONNECT:
            peer.sendall(bytes([CONNACK << 4, 3, 0, 0, 0]))
        elif kind == SUBSCRIBE:
            peer.sendall(bytes([SUBACK << 4, 4, body[0], body[1], 0, 1]))
        elif kind == PINGREQ:
            peer.sendall(bytes([PINGRESP << 4, 0]))
        elif kind == PUBLISH:
            self.publish(peer, head, body)

    def publish(self, peer, head, body):
        length = int.from_bytes(body[:2], "big")
        topic, at = body[2 : 2 + length].decode(), 2 + length
        if not head & 6:
            return
        packet, at = body[at : at + 2], at + 2
        size, at = number(body, at)
        if self.acknowledges:
            peer.sendall(bytes([PUBACK << 4, 2]) + packet)
        payload = body[at + size :]
        below = topic.rpartition("/_")[2]
        if below.startswith("fact/"):
            self.note(user_properties(body[at : at + size]).get("seq"), topic, payload)

    def note(self, seq, topic, payload):
        known = self.seen.setdefault(int(seq), (topic, payload))
        self.copies += 1
        if known != (topic, payload):
            self.seen[-int(seq)] = (topic, payload)


def user_properties(data):
    """The pairs of user properties (0x26); nothing else stands before them in what the feed sends."""
    found, at = {}, 0
    while at < len(data) and data[at] == 0x26:
        pair = []
        at += 1
        for _ in range(2):
            length = int.from_bytes(data[at : at + 2], "big")
            pair.append(data[at + 2 : at + 2 + length].decode())
            at += 2 + length
        found[pair[0]] = pair[1]
    return found


def silent_broker(house, **environment):
    """A broker that takes every message and answers none; a kill; one that answers. What is wrong with the feed's place and order."""
    folder = house.folder()
    silent = Broker(acknowledges=False)
    daemon = Daemon(house, folder, silent.port, environment)
    try:
        if not daemon.load():
            return [f"the order is not loaded: {daemon.words()}"]
        if not daemon.wait(lambda: len(silent.seen) >= 2):
            return [f"the broker heard only {sorted(silent.seen)}"]
        # The feed reports its place every 50 ms; a place that moves at all has moved by now.
        moved = daemon.wait(lambda: daemon.read("feed", "status").get("acked", 0) > 0, SILENT_FOR)
    finally:
        daemon.kill()
        silent.close()
    found = ["I6: the feed's place moved and nothing was acknowledged"] if moved else []
    heard = Broker(acknowledges=True)
    daemon = Daemon(house, folder, heard.port, environment)
    try:
        daemon.wait(lambda: daemon.read("feed", "status").get("acked", 0) >= max(heard.seen, default=99) > 2)
    finally:
        daemon.stop()
        heard.close()
    missing = sorted(set(range(1, max(silent.seen) + 1)) - set(heard.seen))
    if missing:
        found.append(f"I6: facts {missing} were never acknowledged and were not sent again")
    changed = [seq for seq in silent.seen if seq in heard.seen and silent.seen[seq] != heard.seen[seq]]
    found += [f"I6: fact {seq} was sent again with other bytes" for seq in changed]
    shutil.rmtree(folder, ignore_errors=True)
    return found
