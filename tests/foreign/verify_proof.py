#!/usr/bin/env python3
"""Verify a journal's chain, signatures and anchors, written from src/wire/chain.rs and src/wire/checkpoint.rs alone.

usage: verify_proof.py COPY.db [PUBLIC_KEYS|-] [ANCHORS]   exit 0: whole; 1: broken, and where; Ed25519 is RFC 8032 in plain Python
"""
import base64, hashlib, json, sqlite3, sys
from datetime import datetime, timezone
from verify_chain import verify as chain_flaw

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
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

def time_text(at_us):
    at = datetime.fromtimestamp(at_us // 1000 // 1000, timezone.utc)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_us // 1000 % 1000:03}Z"

def flaw(path, keys_path="-", anchors_path=None):
    if found := chain_flaw(path):
        return found
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    line, store = db.execute("SELECT line, store_uuid FROM v_meta").fetchone()
    ring = {}
    if keys_path != "-":
        for text in filter(lambda text: text.strip() and text[0] != "#", open(keys_path)):
            name, number, key = text.strip().split("+", 2)
            key = base64.b64decode(key)[1:]
            if name == line and key_id(line, key) == number:
                ring[number] = key
    facts = db.execute("SELECT seq, kind, body FROM v_fact WHERE kind IN ('key_announced', 'epoch_raised') ORDER BY seq")
    facts = [(seq, kind, json.loads(body)) for seq, kind, body in facts]
    epochs = [(seq, body["epoch"]) for seq, kind, body in facts if kind == "epoch_raised"]
    for _, _, body in [fact for fact in facts if fact[1] == "key_announced"]:
        text = f"sealgate-key/v1\nline={line}\nkey_id={body['key_id']}\npublic_key={body['public_key']}\n"
        key, old = base64.b64decode(body["public_key"]), ring.get(body.get("replaces"))
        if not ring and keys_path == "-" or old and has_signed(old, text, base64.b64decode(body["signature"])):
            ring[key_id(line, key)] = key
    number = through = 0
    heads = "SELECT c.seq, c.head_hash, c.key_id, c.signature, f.hash, f.at_us, f.boot FROM v_checkpoint c LEFT JOIN v_fact f USING (seq)"
    for seq, head, name, signature, found, at_us, boot in db.execute(heads + " ORDER BY c.seq"):
        number, epoch = number + 1, max([e for s, e in epochs if s <= seq], default=1)
        text = (f"sealgate-checkpoint/v1\nline={line}\nstore={store} epoch={epoch}\nseq={seq} checkpoint={number}\n"
                f"head=sha256:{head}\ntime={time_text(at_us or 0)} boot={boot}\n")
        if head != found or name not in ring or not has_signed(ring[name], text, bytes.fromhex(signature)):
            return f"facts {through + 1} to {seq}: their checkpoint does not hold"
        through = seq
    last, kind = db.execute("SELECT max(seq), (SELECT kind FROM v_fact ORDER BY seq DESC LIMIT 1) FROM v_fact").fetchone()
    if ring and (last - through >= 100 or not number or kind == "line_stopped" and last > through):
        return f"facts {through + 1} to {last}: their checkpoints are gone"
    expired, = db.execute("SELECT max(seq) FROM v_fact WHERE kind = 'messages_expired'").fetchone()
    if ring and (expired or 0) > through:
        return f"fact {expired} lets messages go, and no checkpoint covers it"
    for row in map(json.loads, open(anchors_path) if anchors_path else []):
        text, signature = row["note"].split("\n\n")
        said = dict(part.split("=", 1) for part in text.split()[1:])
        seq, epoch = int(said["seq"]), max([e for s, e in epochs if s <= int(said["seq"])], default=1)
        signature = base64.b64decode(signature.split()[-1])
        if signature[:4].hex() not in ring or not has_signed(ring[signature[:4].hex()], text + "\n", signature[4:]):
            return f"anchor of fact {seq}: its signature does not hold"
        found = db.execute("SELECT hash FROM v_fact WHERE seq = ?", (seq,)).fetchone()
        if said["store"] != store or int(said["epoch"]) >= epoch and (not found or said["head"] != "sha256:" + found[0]):
            return f"anchor of fact {seq}: facts up to it are missing or not those that were signed"
    return None

if __name__ == "__main__":
    found = flaw(*sys.argv[1:])
    print(found or "whole")
    sys.exit(1 if found else 0)
