"""A foreign OPC UA server restarts again and again, with other namespace indices, and the line to it is cut without a word."""

import json
import random
import time

import foreign
from stage import Journal, Proxy, claim, free_port, wait_until

ORDER = {
    "batch": "B1", "gtin": "09506000134352", "lot": "L7", "expiry": "2047-03-31", "gcp_length": 7, "pack": {"case": 2, "pallet": 2},
    "sscc": {"extension": 0, "prefix": "9506000", "first": 1, "last": 99}, "serials": ["A1", "A2"],
}


# F47, F48, F49, F54, F58
def opcua_restarts(house):
    """60 restarts with other namespaces, and silent cuts: it always comes back, notifications too, and no result is counted twice"""
    house.needs("asyncua")
    restarts, cut_every = (1000, 5) if house.is_full else (60, 5)
    draw = random.Random(60)
    server = foreign.Foreign(free_port(), seed=60).start()
    # Nothing may be in transit while the batch starts.
    server.is_running = False
    house.afterwards(server.stop)
    proxy = Proxy(server.port)
    house.afterwards(proxy.close)
    folder = house.folder("restarts")
    config = foreign.write_config(folder, proxy.port, 'security = "none"\nmode = "subscribe"\npoll_ms = 10')
    code, out, err = house.run("check", "--config", config)
    claim(code == 0, f"check: {out}{err}")
    house.start("run", "--config", config, log=folder / "daemon.log")
    (folder / "order.json").write_text(json.dumps(ORDER))
    wait_until(lambda: house.run("--config", config, "batch", "load", folder / "order.json")[0] == 0, "the order is loaded", 30)
    wait_until(lambda: house.run("--config", config, "batch", "start", "B1")[0] == 0, "the batch starts", 30)
    server.is_running = True
    follows(server, "the first connection")
    cuts, slowest = 0, 0.0
    for restart in range(1, restarts + 1):
        server.restart(draw.uniform(0.05, 0.6))
        house.count("OPC UA server restarted, other namespaces")
        slowest = max(slowest, follows(server, f"restart {restart}"))
        if restart % cut_every == 0:
            time.sleep(draw.random() / 10)
            if proxy.cut():
                cuts += 1
                house.count("OPC UA connection cut silently")
                slowest = max(slowest, follows(server, f"cut {cuts}"))
                proxy.forget()
        if restart % 10 == 0:
            server.burst(30)
            house.count("30 results between two notifications")
            follows(server, f"the burst after restart {restart}")
    last = server.stop_results()
    database = folder / "line.db"
    wait_until(lambda: Journal(database).rows("SELECT max(result_seq) FROM v_inspection")[0][0] == last, f"result {last} is recorded", 20)
    return judge(server, Journal(database), last, (restarts, cuts, slowest))


def follows(server, what, within=30):
    """Three results in a row were answered: a slow poll alone sees only every fourth of them. Returns how long that took."""
    began, shown = time.monotonic(), server.seq

    def in_a_row():
        acks = [ack for ack in server.acks[-12:] if ack > shown]
        return any(acks[at : at + 3] == list(range(ack, ack + 3)) for at, ack in enumerate(acks))

    said = lambda: f"after {what} results are notified (acknowledged: {server.acks[-5:]}, shown: {server.seq})"
    wait_until(in_a_row, said, within)
    return time.monotonic() - began


def judge(server, journal, last, figures):
    restarts, cuts, slowest = figures
    seqs = [seq for (seq,) in journal.rows("SELECT result_seq FROM v_inspection WHERE result_seq IS NOT NULL ORDER BY result_seq")]
    twice = sorted({seq for seq in seqs if seqs.count(seq) > 1}) if len(seqs) != len(set(seqs)) else []
    claim(not twice, f"results {twice[:10]} are counted twice")
    claim(max(seqs) == last, f"a result {max(seqs)} was recorded, the camera's last was {last}: another namespace was read")
    gaps = sorted(set(range(min(seqs), last + 1)) - set(seqs))
    claim(not gaps, f"results {gaps[:10]} are in no fact, not even as missed")
    bound = restarts + cuts + 1
    claim(server.sessions <= bound, f"{server.sessions} sessions were opened, and at most {bound} are needed")
    missed = journal.rows("SELECT count(*) FROM v_inspection WHERE verdict = 'missed'")[0][0]
    lost = journal.rows("SELECT count(*) FROM v_fact WHERE kind = 'station_lost'")[0][0]
    back = f"slowest way back {slowest:.1f} s"
    return f"{last} results, {missed} of them recorded as missed; {server.sessions} sessions (at most {bound}); {lost} times lost; {back}"


STEPS = (opcua_restarts,)
