"""The steps, in the order in which they run. Each returns what it found, or raises `Wrong`."""

import collections
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import feed
import mosquitto
import story
import tamper
from stage import Journal, claim, demo_arguments, summary, wait_until

UNITS, RATE = 2000, 6000
KILLS = 50
ROUGH_SEEDS = range(1, 11)


def calm(house, seed):
    folder = house.folder(f"calm-{seed}")
    figures, seconds = house.demo(folder, UNITS, RATE, seed=seed)
    claim(seconds < 120, f"it took {seconds:.0f} s")
    claim(figures["presented"] >= UNITS and figures["batch_closed"], f"{figures}")
    story.check(folder, figures, is_calm=True)
    return f"{figures['commissioned']} commissioned, {figures['rejected']} rejected, {figures['facts']} facts, {seconds:.0f} s"


def calm_run(house):
    """two thousand units by seed 1: every spoiled unit rejected, every conforming one commissioned, all closed"""
    return calm(house, 1)


def another_seed(house):
    """the same by seed 2"""
    return calm(house, 2)


def capture(house):
    """its capture: whole, in order, valid against EPCIS 2.0 and our schemas, every eventID recomputed"""
    folder = house.root / "calm-1"
    captured, views = feed.Feed(folder), Journal(folder / "line.db")
    counts = feed.check_whole(captured, views)
    views.close()
    events = feed.check_order(captured)
    code, out, err = house.run("schema", "--json")
    claim(code == 0, err)
    kinds = feed.check_schemas(captured, json.loads(out))
    valid, hashes = feed.check_epcis(captured), feed.check_hashes(captured)
    claim(valid == events, f"{valid} of {events} events were validated")
    return f"{counts}, {len(kinds)} kinds of payload valid; {hashes}"


def kills(house):
    """fifty SIGKILLs of the daemon alone while the plant goes on"""
    folder = house.folder("kills")
    figures, seconds = house.demo(folder, 6000, 1800, "--kills", KILLS, within=480)
    claim(figures["kills"] == KILLS and figures["starts"] == KILLS + 1, f"{figures['kills']} kills, {figures['starts']} starts")
    story.check(folder, figures, is_calm=False)
    views = Journal(folder / "line.db")
    shortest = story.check_kills(views, KILLS)
    feed.check_whole(feed.Feed(folder), views)
    views.close()
    whole(house, folder / "line.db")
    return f"{figures['commissioned']} commissioned, shortest life {shortest:.2f} s, {seconds:.0f} s"


def foreign_broker(house):
    """mosquitto in place of the embedded broker, killed and started again twice, without persistence"""
    folder = house.folder("mosquitto")
    with mosquitto.Mosquitto(folder) as broker:
        demo = house.start_demo(folder / "data", 600, 2400, "--broker", f"127.0.0.1:{broker.port}")
        for units in (150, 400):
            wait_until(lambda: presented(folder / "data") >= units or demo.poll() is not None, f"{units} units")
            claim(demo.poll() is None, f"the demo ended before unit {units}")
            broker.kill()
            broker.start()
        out, err = demo.communicate(timeout=120)
    figures = summary(demo.returncode, out, err)
    story.check(folder / "data", figures, is_calm=True)
    captured, views = feed.Feed(folder / "data"), Journal(folder / "data" / "line.db")
    counts = feed.check_whole(captured, views)
    views.close()
    online = sum(line["topic"].endswith("/_status") and line["payload"]["status"] == "online" for line in captured.lines)
    asked = sum(line["topic"].endswith("/_cmd/feed/replay") for line in captured.lines)
    claim(online >= 3 and asked >= 3, f"the kills were not felt: {online} births, {asked} requests for a replay")
    return f"{counts}, {captured.copies} copies, all with the same bytes"


def rough(house):
    """ten seeds of two thousand units in rough weather: every kind of fault occurs, nothing wrong in a case, all reconciled"""
    with ThreadPoolExecutor(2) as two:
        runs = list(two.map(lambda seed: rough_run(house, seed), ROUGH_SEEDS))
    tried, violated = collections.Counter(), collections.Counter()
    for figures in runs:
        tried.update(figures["faults"])
        violated.update({kind: figures["wrong_in_closed_case"] + figures["differences_in_all"] for kind in figures["faults"]})
    print(f"    {'kind of fault':<24} {'tried':>6} {'violations':>11}")
    for kind, count in sorted(tried.items()):
        print(f"    {kind:<24} {count:>6} {violated[kind]:>11}")
    wrong = [(seed, figures["exit"], figures["differences"][:5]) for seed, figures in zip(ROUGH_SEEDS, runs) if not sound(figures)]
    claim(not wrong, f"seeds with what they show: {wrong}")
    commissioned = sum(figures["commissioned"] for figures in runs)
    return f"{len(runs)} seeds, {sum(tried.values())} faults of {len(tried)} kinds, {commissioned} units commissioned"


def rough_run(house, seed):
    arguments = demo_arguments(house.folder(f"rough-{seed}"), UNITS, RATE, seed) + ["--faults", "rough"]
    code, out, err = house.run(*arguments, within=300)
    claim(out.strip(), f"seed {seed} ends with {code} and says nothing: {err[-2000:]}")
    return {**json.loads(out.strip().splitlines()[-1]), "exit": code}


def sound(figures):
    is_right = figures["wrong_in_closed_case"] == 0 and figures["reconciled"] and not figures["faults_never"]
    return is_right and figures["exit"] == 0 and figures["commissioned"] > UNITS // 4


def store(house):
    """the journal of the first run: its tables are the fold of its facts; a backup of it is as whole, a changed one is not"""
    journal, folder = house.root / "calm-1" / "line.db", house.folder("store")
    copy = folder / "copy.db"
    code, out, err = house.run("store", "rebuild", "--check", "--db", journal, within=300)
    claim(code == 0, f"{code}: {out}{err}")
    base = sqlite3.connect(journal)
    base.execute("VACUUM INTO ?", (str(copy),))
    base.close()
    code, out, err = house.run("store", "rebuild", "--check", "--db", copy, within=300)
    claim(code == 0, f"the copy: {code}: {out}{err}")
    with sqlite3.connect(copy) as base:
        base.execute("UPDATE serial SET state = (SELECT max(state) FROM serial) WHERE rowid = (SELECT min(rowid) FROM serial)")
    base.close()
    code, out, err = house.run("store", "rebuild", "--check", "--db", copy, within=300)
    claim(code == 1 and "serial" in out + err, f"a changed serial was not found: {code}: {out}{err}")
    return "the fold of its facts; one changed serial is named"


def presented(folder):
    truth = folder / "truth.jsonl"
    return truth.read_bytes().count(b'"kind":"unit"') if truth.exists() else 0


def whole(house, journal):
    code, out, err = house.run("audit", "verify", "--db", journal)
    claim(code == 0, f"audit verify ends with {code}: {out}{err}")
    tamper.foreign(journal)


def audit(house):
    """audit verify: whole as written; one changed value in each column of a fact of each kind is found and named"""
    whole(house, house.root / "calm-1" / "line.db")
    folder = house.folder("small")
    house.demo(folder, 100, 6000)
    whole(house, folder / "line.db")
    cases, kinds = tamper.check(house, folder / "line.db")
    claim(len(kinds) >= 20, f"the journal has only {kinds}")
    return f"{cases} changed journals of {len(kinds)} kinds of fact, each named"


def folders(house):
    """a folder is used again, a foreign journal is left alone"""
    folder = house.folder("twice")
    for seed in (1, 2):
        figures, _ = house.demo(folder, 50, 600, seed=seed)
        claim(figures["reconciled"] and figures["batch_closed"], f"run {seed}: {figures}")
    foreign = house.folder("foreign")
    base = sqlite3.connect(foreign / "line.db")
    base.execute("CREATE TABLE precious (a)")
    base.commit(), base.close()
    before = (foreign / "line.db").read_bytes()
    code, out, err = house.run(*demo_arguments(foreign, 50, 600, 1))
    claim(code == 64 and "line.db" in err and not out, f"exit code {code}: {out}{err}")
    claim((foreign / "line.db").read_bytes() == before, "a foreign line.db was changed")
    claim([path.name for path in foreign.iterdir()] == ["line.db"], "files were left in a foreign folder")
    return "used again; refused with 64"


def no_broker(house):
    """a broker that is away is said so"""
    code, out, err = house.run(*demo_arguments(house.folder("away"), 50, 600, 1), "--broker", "127.0.0.1:1")
    claim(code == 69 and "127.0.0.1:1" in err and "broker" in err and not out, f"exit code {code}: {out}{err}")
    return err.strip()


ALL = {
    step.__name__: step
    for step in (calm_run, capture, another_seed, audit, store, foreign_broker, folders, no_broker, kills, rough)
}
