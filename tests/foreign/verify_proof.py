#!/usr/bin/env python3
"""Verify a journal's chain, signatures and anchors, written from src/wire/chain.rs and src/wire/checkpoint.rs alone.

usage: verify_proof.py COPY.db [PUBLIC_KEYS|-] [ANCHORS]   exit 0: whole; 1: broken, and where; Ed25519 is RFC 8032 in plain Python
"""
import base64, hashlib, json, sqlite3, sys
from datetime import datetime, timezone

COLUMNS = ("seq", "at_us", "mono_us", "boot", "kind", "version", "batch", "actor", "subject", "body")
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P

def field(number, value):
    tag, data = {type(None): (b"n", b""), int: (b"i", value), str: (b"t", value), bytes: (b"b", value)}[type(value)]
    data = data.to_bytes(8, "big", signed=True) if tag == b"i" else data.encode() if tag == b"t" else data
    return bytes([number]) + tag + len(data).to_bytes(4, "big") + data

def chain_flaw(db, line, store):
    prev, seq = hashlib.sha256(b"sealgate.genesis.1\n" + field(1, line) + field(2, store)).digest(), 0
    for seq, row in enumerate(db.execute(f"SELECT {', '.join(COLUMNS)}, hash FROM v_fact ORDER BY seq"), 1):
        if row[0] != seq:
            return f"fact {seq} is missing"
        if float in map(type, row):
            return f"fact {seq}: a column is no text and no integer"
        fields = b"".join(field(number, value) for number, value in enumerate(row[:-1], 1))
        prev = hashlib.sha256(b"sealgate.fact.1\n" + field(0, prev) + fields).digest()
        if prev.hex() != row[-1]:
            return f"fact {seq}: its hash differs"
    return None

def add(a, b):
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    e, f = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    g, h, i, j = f - e, d - c, d + c, f + e
    return g * h % P, i * j % P, h * i % P, g * j % P

def times(n, point):
    result = (0, 1, 1, 0)
    while n:
        result, point, n = add(result, point) if n & 1 else result, add(point, point), n >> 1
    return result

def point(data):
    y = int.from_bytes(data, "little") & 2**255 - 1
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    if y >= P or x * x % P != square:
        raise ValueError("no point of the curve")
    x = P - x if x & 1 != data[31] >> 7 else x
    return x, y, 1, x * y % P

BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))

def has_signed(key, text, signature):
    if len(signature) != 64 or (s := int.from_bytes(signature[32:], "little")) >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + text.encode()).digest(), "little") % L
    try:
        (x1, y1, z1, _), (x2, y2, z2, _) = times(s, BASE), add(point(signature[:32]), times(k, point(key)))
    except ValueError:
        return False
    return (x1 * z2 - x2 * z1) % P == 0 and (y1 * z2 - y2 * z1) % P == 0

def key_id(line, key):
    return hashlib.sha256(line.encode() + b"\n\x01" + key).hexdigest()[:8]

def keys_of(line, keys_path, announced):
    ring = {}
    for text in [] if keys_path == "-" else filter(lambda text: text.strip() and text[0] != "#", open(keys_path)):
        name, number, key = text.strip().split("+", 2)
        key = base64.b64decode(key)[1:]
        if name == line and key_id(line, key) == number:
            ring[number] = key
    for body in announced:
        text = f"sealgate-key/v1\nline={line}\nkey_id={body['key_id']}\npublic_key={body['public_key']}\n"
        key, old = base64.b64decode(body["public_key"]), ring.get(body.get("replaces"))
        if not ring and keys_path == "-" or old and has_signed(old, text, base64.b64decode(body["signature"])):
            ring[key_id(line, key)] = key
    return ring

def checkpoint_flaw(db, line, store, ring, epoch_at):
    number = through = 0
    heads = "SELECT c.seq, c.head_hash, c.key_id, c.signature, f.hash, f.at_us, f.boot FROM v_checkpoint c LEFT JOIN v_fact f USING (seq)"
    for number, (seq, head, name, signature, found, at_us, boot) in enumerate(db.execute(heads + " ORDER BY c.seq"), 1):
        at = datetime.fromtimestamp((at_us or 0) // 1000000, timezone.utc)
        text = (f"sealgate-checkpoint/v1\nline={line}\nstore={store} epoch={epoch_at(seq)}\nseq={seq} checkpoint={number}\n"
                f"head=sha256:{head}\ntime={at:%Y-%m-%dT%H:%M:%S}.{(at_us or 0) // 1000 % 1000:03}Z boot={boot}\n")
        if head != found or name not in ring or not has_signed(ring[name], text, bytes.fromhex(signature)):
            return f"facts {through + 1} to {seq}: their checkpoint does not hold"
        through = seq
    last, expired, kind = db.execute("SELECT max(seq), coalesce(max(seq) FILTER (WHERE kind = 'messages_expired'), 0), "
                                     "(SELECT kind FROM v_fact ORDER BY seq DESC LIMIT 1) FROM v_fact").fetchone()
    if ring and (last - through >= 100 or not number or expired > through or kind == "line_stopped" and last > through):
        return f"facts {through + 1} to {last}: their checkpoints are gone"
    return None

def anchor_flaw(db, store, ring, epoch_at, row):
    text, signature = json.loads(row)["note"].split("\n\n")
    said = dict(part.split("=", 1) for part in text.split()[1:])
    seq, signature = int(said["seq"]), base64.b64decode(signature.split()[-1])
    if signature[:4].hex() not in ring or not has_signed(ring[signature[:4].hex()], text + "\n", signature[4:]):
        return f"anchor of fact {seq}: its signature does not hold"
    found = db.execute("SELECT hash FROM v_fact WHERE seq = ?", (seq,)).fetchone()
    if said["store"] != store or int(said["epoch"]) >= epoch_at(seq) and (not found or said["head"] != "sha256:" + found[0]):
        return f"anchor of fact {seq}: facts up to it are missing or not those that were signed"
    return None

def flaw(path, keys_path="-", anchors_path=None):
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    line, store = db.execute("SELECT line, store_uuid FROM v_meta").fetchone()
    if found := chain_flaw(db, line, store):
        return found
    facts = db.execute("SELECT seq, kind, body FROM v_fact WHERE kind IN ('key_announced', 'epoch_raised') ORDER BY seq")
    facts = [(seq, kind, json.loads(body)) for seq, kind, body in facts]
    epoch_at = lambda at: max([body["epoch"] for seq, kind, body in facts if kind == "epoch_raised" and seq <= at], default=1)
    ring = keys_of(line, keys_path, [body for _, kind, body in facts if kind == "key_announced"])
    found = checkpoint_flaw(db, line, store, ring, epoch_at)
    rows = open(anchors_path) if anchors_path else []
    return found or next(filter(None, (anchor_flaw(db, store, ring, epoch_at, row) for row in rows)), None)

if __name__ == "__main__":
    try:
        found = flaw(*sys.argv[1:])
    except sqlite3.DatabaseError as error:
        found = str(error)
    print(found or "whole")
    sys.exit(1 if found else 0)
