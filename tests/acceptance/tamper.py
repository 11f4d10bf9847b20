"""One value of one fact is changed in a copy of the journal, as somebody with the file and a tool would."""

import json
import random
import shutil
import sqlite3
import subprocess
import sys

from stage import ROOT, claim

COLUMNS = ("seq", "at_us", "mono_us", "boot", "kind", "version", "batch", "actor", "subject", "body", "hash")
TRIGGERS = ("fact_is_never_changed", "fact_is_never_deleted")
AT_ONCE = 40


def compact(journal, copy):
    """The journal as one file, without its log."""
    source, target = sqlite3.connect(f"file:{journal}?mode=ro", uri=True), sqlite3.connect(copy)
    source.backup(target)
    target.execute("PRAGMA journal_mode = DELETE")
    source.close(), target.close()


def another(value, column, draw):
    """The value with one byte of it changed."""
    if value is None:
        return 2
    if isinstance(value, int):
        # A number that another fact has is refused by the file itself.
        least, most = {"seq": (20, 62), "version": (0, 8)}.get(column, (0, 40))
        return value ^ 1 << draw.randrange(least, most)
    data = bytearray(value if isinstance(value, bytes) else value.encode())
    if not data:
        return "x"
    at = draw.randrange(len(data))
    data[at] ^= 1 << draw.randrange(7)
    return bytes(data) if isinstance(value, bytes) else bytes(data).decode()


def change(copy, seq, column, draw, is_careful):
    base = sqlite3.connect(copy)
    made = [base.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).fetchone()[0] for name in TRIGGERS]
    base.execute("PRAGMA synchronous = OFF")
    for name in TRIGGERS:
        base.execute(f"DROP TRIGGER {name}")
    (value,) = base.execute(f"SELECT {column} FROM fact WHERE seq = ?", (seq,)).fetchone()
    changed = another(value, column, draw)
    claim(changed != value, f"nothing changes {column} of fact {seq}")
    base.execute(f"UPDATE fact SET {column} = ? WHERE seq = ?", (changed, seq))
    for sql in made if is_careful else []:
        base.execute(sql)
    base.commit()
    base.close()


def newest_of_each_kind(journal):
    base = sqlite3.connect(journal)
    kinds = base.execute("SELECT kind, (min(seq) + max(seq)) / 2, max(seq) FROM v_fact GROUP BY kind").fetchall()
    # The one in the middle of its kind, or the newest where another kind lies there.
    found = {}
    for kind, middle, last in kinds:
        row = base.execute("SELECT max(seq) FROM v_fact WHERE kind = ? AND seq <= ?", (kind, middle)).fetchone()
        found[kind] = row[0] or last
    base.close()
    return found


def check(house, journal, seed=1):
    """Each column of one fact of each kind, with the triggers put back and left out; the two verifiers agree."""
    draw = random.Random(seed)
    folder = house.folder("tampered")
    whole = folder / "whole.db"
    compact(journal, whole)
    claim(verdicts(house, [whole]) == (0, [None]), "a compact copy of the journal does not verify")
    facts = newest_of_each_kind(whole)
    cases = []
    for seq in facts.values():
        for column in COLUMNS:
            for is_careful in (True, False):
                cases.append((folder / f"{len(cases)}.db", seq, column, is_careful))
    for start in range(0, len(cases), AT_ONCE):
        check_some(house, whole, cases[start : start + AT_ONCE], draw)
    return len(cases), sorted(facts)


def check_some(house, whole, cases, draw):
    for copy, seq, column, is_careful in cases:
        shutil.copyfile(whole, copy)
        change(copy, seq, column, draw, is_careful)
    code, found = verdicts(house, [case[0] for case in cases])
    claim(code == 1 and len(found) == len(cases), f"exit code {code}, {len(found)} answers for {len(cases)} journals")
    for (copy, seq, column, is_careful), named in zip(cases, found):
        how = "put back" if is_careful else "left out"
        claim(named == seq, f"{column} of fact {seq} changed, triggers {how}: fact {named} is named")
    copy, seq, column, _ = cases[0]
    code, out, _ = house.run("audit", "verify", "--db", copy)
    claim(code == 1 and str(seq) in out, f"alone: exit code {code}: {out}")
    for copy, seq, column, is_careful in cases:
        if is_careful and column in ("body", "hash", "at_us"):
            foreign(copy, seq)
        copy.unlink()


def verdicts(house, journals):
    """Exit code, and for each journal the broken fact; `None` where it is whole, 0 where no fact is named."""
    arguments = [part for journal in journals for part in ("--db", journal)]
    code, out, err = house.run("audit", "verify", "--json", *arguments)
    claim(out, err)
    documents = json.loads(out)
    documents = documents if isinstance(documents, list) else [documents]
    return code, [None if document["outcome"] == "whole" else document["broken_seq"] or 0 for document in documents]


def foreign(copy, seq=None):
    """The same in another language."""
    script = ROOT / "tests/foreign/verify_proof.py"
    ended = subprocess.run([sys.executable, script, copy], capture_output=True, text=True, timeout=60)
    claim(ended.returncode == (0 if seq is None else 1), f"verify_proof.py: {ended.returncode} {ended.stdout}")
    claim(seq is None or f"fact {seq}" in ended.stdout, f"verify_proof.py names another fact than {seq}: {ended.stdout}")
