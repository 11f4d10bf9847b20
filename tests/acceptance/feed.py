"""What the subscriber captured: whole, the same bytes under the same id, in order, and valid against the schemas."""

import hashlib
import json
import subprocess
import sys

import jsonschema

from stage import ROOT, claim, standards

MARK = ',"payload":'


class Feed:
    """`feed.jsonl`: messages by id, and the lines in the order of arrival."""

    def __init__(self, folder):
        self.path = folder / "feed.jsonl"
        self.lines, self.bytes, self.copies = [], {}, 0
        for text in self.path.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            raw = text[text.index(MARK) + len(MARK) : -1].encode()
            digest = hashlib.sha256(raw).hexdigest()
            claim(digest == line["sha256"], f"the payload is not the one of its digest: {text[:200]}")
            self.lines.append(line)
            if identity := line["properties"].get("id"):
                self.copies += identity in self.bytes
                first = self.bytes.setdefault(identity, raw)
                claim(first == raw, f"{identity} came with other bytes than before")

    def numbers(self, stream):
        return {int(identity.rsplit("/", 1)[1]) for identity in self.bytes if identity.split("/")[-2] == stream}

    def first_of(self, part):
        """Messages whose topic contains `part`, each id once, in the order of arrival."""
        seen = set()
        for line in self.lines:
            identity = line["properties"].get("id")
            if part in line["topic"] and identity not in seen:
                seen.add(identity)
                yield line


def check_whole(feed, views):
    """Every number of every stream, with the bytes that the journal holds."""
    counts = {"fact": views.one("SELECT count(*) FROM v_fact")}
    for stream, last in views.rows("SELECT stream, max(seq) FROM v_message GROUP BY stream"):
        counts[stream] = last
    claim(counts.get("epcis", 0) > 0 and counts.get("batch") == 1, f"the journal has {counts}")
    for stream, last in counts.items():
        missing = set(range(1, last + 1)) - feed.numbers(stream)
        claim(not missing, f"{stream}: {len(missing)} of {last} never arrived, for example {sorted(missing)[:5]}")
        surplus = feed.numbers(stream) - set(range(1, last + 1))
        claim(not surplus, f"{stream}: {sorted(surplus)[:5]} arrived and are not in the journal")
    prefix = views.one("SELECT line || '/' || epoch FROM v_meta")
    for seq, body in views.rows("SELECT seq, body FROM v_fact"):
        claim(feed.bytes[f"{prefix}/fact/{seq}"] == body.encode(), f"fact {seq} arrived with another body")
    for identity, digest in views.rows("SELECT id, body_sha256 FROM v_message"):
        claim(hashlib.sha256(feed.bytes[identity]).hexdigest() == digest, f"{identity} arrived with other bytes")
    return counts


def check_order(feed):
    """In the order of their numbers, each child and the parent are commissioned before the packing that names them."""
    events = sorted(feed.first_of("/_epcis/"), key=lambda line: int(line["properties"]["seq"]))
    commissioned, packed = set(), 0
    for event in (line["payload"] for line in events):
        if event["bizStep"] == "commissioning":
            commissioned.update(event["epcList"])
        else:
            named = {event["parentID"], *event["childEPCs"]}
            claim(named <= commissioned, f"{sorted(named - commissioned)[:3]} packed before their commissioning")
            packed += 1
    claim(packed > 0 and len(commissioned) > packed, f"{len(commissioned)} commissioned, {packed} packings")
    return len(events)


def check_epcis(feed):
    """The official JSON schema, with its formats asserted."""
    path = standards() / "epcis20/json-schema/epcis-json-schema-2.0.1.json"
    validator = validator_of(json.loads(path.read_text(encoding="utf-8")))
    events = [line["payload"] for line in feed.first_of("/_epcis/")]
    claim(events, "no event was captured")
    for event in events:
        assert_valid(validator, event, event.get("eventID"))
    spoiled = [{**events[0], "eventTime": "yesterday"}, {**events[0], "bizStep": "made_up"}, {**events[0], "action": "add"}]
    for event in spoiled:
        claim(not validator.is_valid(event), "the schema takes what is wrong")
    return len(events)


def check_hashes(feed):
    """GS1's reference program recomputes every eventID."""
    script = ROOT / "tests/foreign/event_hash.py"
    ended = subprocess.run([sys.executable, script, feed.path], capture_output=True, text=True, timeout=300)
    claim(ended.returncode == 0, f"event_hash.py: {ended.stdout[-1000:]}{ended.stderr[-1000:]}")
    return ended.stdout.strip().splitlines()[-1]


def check_schemas(feed, schemas):
    """Every payload that has a schema of ours is valid against it."""
    validators = {name: validator_of(schema) for name, schema in schemas.items()}
    seen = {}
    for line in feed.lines:
        name = "/".join(part for part in line["topic"].split("/")[3:])
        if name.startswith("_answer/"):
            name = "_answer/feed/replay"
        if name.startswith("_checkpoint/"):
            name = "_checkpoint"  # One schema for the retained one and for each by its number.
        if name.startswith("_"):
            claim(name in validators, f"{name} was published and has no schema")
            assert_valid(validators[name], line["payload"], name)
            seen[name] = line["payload"]
    states = ("_status", "_state/batch", "_state/counts", "_state/devices")
    for name in (*states, "_batch/closed", "_fact/commissioned", "_cmd/feed/replay", "_answer/feed/replay"):
        claim(name in seen, f"no {name} was captured")
    for name, payload in seen.items():
        claim(not validators[name].is_valid({**payload, "surplus": 1}), f"{name}: the schema takes all")
    return sorted(seen)


def validator_of(schema):
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema, format_checker=kind.FORMAT_CHECKER)


def assert_valid(validator, value, name):
    flaw = jsonschema.exceptions.best_match(validator.iter_errors(value))
    claim(flaw is None, f"{name}: {flaw and flaw.message} in {json.dumps(value)[:500]}")
