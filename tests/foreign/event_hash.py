#!/usr/bin/env python3
"""Recomputes every eventID of a feed capture with the reference program.

Usage: event_hash.py CAPTURE.jsonl

The capture holds one object per line: {"topic": ..., "payload": ...}, the payload being the published JSON, as an object or as
its text. Messages whose topic contains "/_epcis/" are checked, all others are skipped. Prints a count; exits 1 on any
difference, and when no event was seen. Needs Python 3.11 or later and the package epcis-event-hash-generator (1.9.3).
"""

import json
import logging
import sys

from epcis_event_hash_generator import hash_generator, json_to_py


def reference_id(event):
    """The event hash as the reference computes it, or None where it drops the event.

    The reference reads documents: the context that our event carries becomes that of a document of one event.
    """
    event = dict(event)
    document = {
        "@context": event.pop("@context", []),
        "type": "EPCISDocument",
        "schemaVersion": "2.0",
        "creationDate": event.get("eventTime"),
        "epcisBody": {"eventList": [event]},
    }
    # Prefixes of earlier documents stay in this global of the reference; every event must stand alone.
    json_to_py._namespaces.clear()
    events = json_to_py.event_list_from_epcis_document_str(json.dumps(document))
    ids = hash_generator.epcis_hashes_from_events(events)
    return ids[0] if len(ids) == 1 else None


def epcis_messages(lines):
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        message = json.loads(line)
        if "/_epcis/" in message["topic"]:
            payload = message["payload"]
            yield number, json.loads(payload) if isinstance(payload, str) else payload


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 64
    logging.disable(logging.CRITICAL)
    seen = different = 0
    with open(arguments[1], encoding="utf-8") as capture:
        for number, event in epcis_messages(capture):
            seen += 1
            ours, theirs = event.get("eventID"), reference_id(event)
            if ours is None or ours != theirs:
                different += 1
                print(f"line {number}: published {ours}, reference {theirs}")
    print(f"{seen} events, {different} differ")
    if seen == 0:
        print(f"{arguments[1]} holds no message on a topic with /_epcis/: nothing was checked")
    return 1 if different or not seen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
