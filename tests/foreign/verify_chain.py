#!/usr/bin/env python3
"""Recompute the hash chain of a journal, written from the head of src/wire/chain.rs alone.

usage: verify_chain.py COPY.db      exit 0: whole; 1: broken, the fact is named; 64: usage
"""
import hashlib
import sqlite3
import sys

COLUMNS = ("seq", "at_us", "mono_us", "boot", "kind", "version", "batch", "actor", "subject", "body")


def field(number, value, kind):
    if kind == "null":
        tag, data = b"n", b""
    elif kind == "integer":
        tag, data = b"i", value.to_bytes(8, "big", signed=True)
    else:
        tag, data = {"text": b"t", "blob": b"b"}[kind], value
    return bytes([number]) + tag + len(data).to_bytes(4, "big") + data


def genesis(line, store_uuid):
    data = b"sealgate.genesis.1\n" + field(1, line, "text") + field(2, store_uuid, "text")
    return hashlib.sha256(data).digest()


def verify(path):
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    db.text_factory = bytes
    prev = genesis(*db.execute("SELECT line, store_uuid FROM v_meta").fetchone())
    select = ", ".join(f"{name}, typeof({name})" for name in COLUMNS)
    expected = 1
    for row in db.execute(f"SELECT {select}, hash FROM v_fact ORDER BY seq"):
        if row[0] != expected:
            return f"fact {expected} is missing"
        data = b"sealgate.fact.1\n" + field(0, prev, "blob")
        for number in range(len(COLUMNS)):
            kind = row[2 * number + 1].decode()
            if kind == "real":
                return f"fact {expected}: {COLUMNS[number]} is no text and no integer"
            data += field(number + 1, row[2 * number], kind)
        prev = hashlib.sha256(data).digest()
        if prev.hex().encode() != row[-1]:
            return f"fact {expected}: its hash differs"
        expected += 1
    return None


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(64)
    try:
        flaw = verify(sys.argv[1])
    except sqlite3.DatabaseError as error:
        flaw = str(error)
    print(flaw or "the chain is whole")
    sys.exit(1 if flaw else 0)
