"""A subscriber that keeps what it is sent: as much MQTT 5 as that takes, and no line of the program's own."""

import socket
import struct
import threading

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ = 0x10, 3, 0x40, 0x82, 0xC0
KEEP_ALIVE_S = 20


def text(value):
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def packet(head, body):
    length, size = len(body), b""
    while True:
        length, byte = length >> 7, length & 127
        size += bytes([byte | (128 if length else 0)])
        if not length:
            return bytes([head]) + size + body


class Subscriber:
    """Everything below a topic, in the order of arrival: (topic, seq, payload); `seq` is None where there is none."""

    def __init__(self, port, topic):
        self.messages = []
        self.peer = socket.create_connection(("127.0.0.1", port), 10)
        self.stream = self.peer.makefile("rb")
        self.peer.sendall(packet(CONNECT, text("MQTT") + b"\x05\x02" + struct.pack(">H", KEEP_ALIVE_S) + b"\0" + text("judge")))
        self.peer.sendall(packet(SUBSCRIBE, b"\0\x01\0" + text(topic) + b"\x01"))
        self.peer.settimeout(None)
        threading.Thread(target=self.read, daemon=True).start()
        self.ping()

    def ping(self):
        """Says that we are alive, for as long as we are connected."""
        try:
            self.peer.sendall(bytes([PINGREQ, 0]))
        except OSError:
            return
        timer = threading.Timer(KEEP_ALIVE_S / 2, self.ping)
        timer.daemon = True
        timer.start()

    def read(self):
        try:
            while head := self.stream.read(1):
                size = shift = 0
                while True:
                    byte = self.stream.read(1)[0]
                    size |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                body = self.stream.read(size)
                if head[0] >> 4 == PUBLISH:
                    self.take(head[0], body)
        except (OSError, IndexError, ValueError):
            pass

    def take(self, head, body):
        length = int.from_bytes(body[:2], "big")
        topic, at = body[2 : 2 + length].decode(), 2 + length
        if head & 6:
            self.peer.sendall(packet(PUBACK, body[at : at + 2]))
            at += 2
        size = shift = 0
        while True:
            byte, at = body[at], at + 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        seq = user_properties(body[at : at + size]).get("seq")
        self.messages.append((topic, int(seq) if seq else None, body[at + size :]))

    def facts(self):
        """Bodies of facts by their number; where one came again it has to be the same."""
        found = {}
        for topic, seq, payload in list(self.messages):
            if "/_fact/" in topic:
                if found.setdefault(seq, payload) != payload:
                    found[seq] = b"came with two bodies"
        return found

    def close(self):
        self.peer.close()


def user_properties(data):
    """Pairs of strings (0x26); what else stands before them in the feed has a fixed length."""
    sizes, found, at = {0x01: 1, 0x02: 4}, {}, 0
    while at < len(data):
        kind, at = data[at], at + 1
        if kind == 0x26:
            pair = []
            for _ in range(2):
                length = int.from_bytes(data[at : at + 2], "big")
                pair.append(data[at + 2 : at + 2 + length].decode())
                at += 2 + length
            found[pair[0]] = pair[1]
        elif kind in (0x03, 0x08, 0x09):
            at += 2 + int.from_bytes(data[at : at + 2], "big")
        else:
            at += sizes[kind]
    return found
