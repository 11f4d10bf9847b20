"""The process stands still, is told to stop, is killed again and again, or loses a thread: the machines stop, and nothing goes wrong."""

import random
import re
import signal
import sqlite3
import time

from stage import ROOT, Daemon, Journal, claim, thread_of, wait_until

RATE = 600


# F08, I25
def pauses(house):
    """SIGSTOP and SIGCONT under a running batch: a fact says for how long, and nothing that waited is sent late"""
    demo, draw = house.demo("pauses", 600, RATE), random.Random(8)
    lengths = [0.3, 1.5, 3.0, 6.0]
    for index, seconds in enumerate(lengths):
        demo.wait_presented(60 + 120 * index)
        pid = demo.pid
        time.sleep(draw.random() / 10)
        stop_for(pid, seconds)
        house.count("process paused (SIGSTOP)")
    figures, journal = demo.end()
    paused = [body["paused_us"] / 1e6 for body in journal.bodies("line_paused")]
    for seconds in lengths:
        found = [length for length in paused if abs(length - seconds) < 0.5]
        claim(bool(found) == (seconds > 1), f"a pause of {seconds} s is in the journal as {paused}")
    claim("line_paused" in journal.alarms(), "six seconds are no alarm")
    check_no_late_pass(journal)
    return f"pauses of {', '.join(f'{length:.1f}' for length in paused)} s, {figures['commissioned']} commissioned"


def stop_for(pid, seconds):
    import os

    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


def check_no_late_pass(journal):
    """A pass that was not on its way before the pause is a reject after it: no unit is verified and then commissioned on a pass that
    waited through the pause."""
    wrong = journal.rows(
        "SELECT p.seq FROM v_fact p JOIN v_fact c ON c.seq > p.seq AND c.kind = 'commissioned' AND c.subject = p.subject "
        "WHERE p.kind = 'pass_expired'"
    )
    claim(not wrong, f"units whose pass expired (facts {wrong[:5]}) were commissioned all the same")


# F02
def terminations(house):
    """SIGTERM under a running batch, started again at once: each run ends with its last fact, and the batch goes on"""
    demo, draw, count = house.demo("terminations", 600, RATE), random.Random(2), 6
    for index in range(count):
        demo.wait_presented(40 + 80 * index)
        time.sleep(draw.random() / 5)
        starts = demo.facts("line_started")
        end(demo.pid, signal.SIGTERM)
        house.count("stopped in order (SIGTERM)")
        wait_until(lambda: demo.facts("line_started") > starts, "the daemon is back", 30)
    figures, journal = demo.end()
    started = journal.bodies("line_started")
    claim(len(started) == count + 1, f"{len(started)} starts")
    claim(all(body["clean"] for body in started), "a run that was told to stop is recorded as one that crashed")
    lasts = journal.rows("SELECT kind FROM v_fact WHERE seq IN (SELECT max(seq) FROM v_fact GROUP BY boot)")
    claim(set(lasts) == {("line_stopped",)}, f"runs end with {set(lasts)}")
    claim("crash_loop" not in journal.alarms(), "stops in order are taken for crashes")
    return f"{count} stops, {figures['commissioned']} commissioned"


def end(pid, number):
    import os

    os.kill(pid, number)


# F01, F13
def crash_loop(house):
    """killed at every start: the third crash within ten minutes is an alarm; systemd gives up after a stated number"""
    folder = house.folder("crashes")
    daemon = Daemon(house, folder)
    for crash in range(1, 5):
        daemon.start()
        # Ready means that it turns; a kill before its first facts are on disk leaves no start to count.
        wait_until(lambda: len(daemon.journal().bodies("line_started")) == crash, "the start is durable", 20)
        daemon.kill()
        house.count("killed at the start (SIGKILL)")
        alarms = daemon.journal().alarms()
        # The first start follows no run at all.
        claim(("crash_loop" in alarms) == (crash - 1 >= 3), f"after {crash - 1} crashes: {alarms}")
    daemon.start()
    code = daemon.kill(signal.SIGTERM)
    claim(code == 0, f"a stop in order ends with {code}")
    clean = [body["clean"] for body in daemon.journal().bodies("line_started")]
    claim(clean == [True, False, False, False, False], f"the starts say {clean}")
    unit = (ROOT / "systemd" / "sealgate@.service").read_text()
    limit = re.search(r"StartLimitBurst=(\d+)", unit)
    claim(limit and "StartLimitIntervalSec=" in unit, "the unit starts a daemon that crashes for ever")
    return f"alarm at the third crash; systemd gives up after {limit[1]} starts"


# F07
def wedged(house):
    """one thread alone stands still: the watchdog is not fed, since only turns feed it"""
    folder = house.folder("wedged")
    freezer = house.group("freezer")
    daemon = Daemon(house, folder).start(watchdog_us=1_000_000)
    for thread in ("sealgate-line",):
        claim(daemon.hear("WATCHDOG=1", 2), "a healthy line does not feed the watchdog")
        freezer.take_thread(thread_of(daemon.process.pid, thread))
        freezer.write("freezer.state", "FROZEN")
        time.sleep(0.3)
        daemon.drop_what_was_said()
        fed = daemon.hear("WATCHDOG=1", 3)
        freezer.write("freezer.state", "THAWED")
        house.count(f"thread {thread} frozen")
        claim(not fed, f"{thread} stands still, and the watchdog is fed")
        claim(daemon.hear("WATCHDOG=1", 5), "the line does not come back")
    wait_until(lambda: daemon.journal().bodies("line_paused"), "the pause is a fact", 10)
    daemon.kill()
    return "silent for three seconds, back at once"


# F07, I25
def wedged_line(house):
    """the line thread alone stands still under a running batch: heartbeat stops, machines stop, nothing wrong, the batch closes"""
    freezer = house.group("freezer")
    demo = house.demo("wedged-line", 300, RATE)
    for units in (60, 160):
        demo.wait_presented(units)
        freezer.take_thread(thread_of(demo.pid, "sealgate-line"))
        freezer.write("freezer.state", "FROZEN")
        time.sleep(3)
        freezer.write("freezer.state", "THAWED")
        house.count("line thread frozen")
    figures, journal = demo.end()
    claim(len(journal.bodies("line_paused")) >= 2, "the pauses are no facts")
    return f"{figures['commissioned']} commissioned"


# F11
def two_daemons_one_journal(house):
    """a second daemon on the same journal, by its path and by a link, ends with 75 and names the first"""
    folder = house.folder("twice")
    daemon = Daemon(house, folder).start()
    database = next(folder.glob("*.db"))
    (folder / "other.db").symlink_to(database.name)
    text = (folder / "line.toml").read_text().replace("line.sock", "other.sock")
    (folder / "same.toml").write_text(text)
    (folder / "link.toml").write_text(text.replace(database.name, "other.db"))
    for name in ("same.toml", "link.toml"):
        code, out, err = house.run("run", "--config", folder / name)
        house.count("second daemon on one journal")
        claim(code == 75 and str(daemon.process.pid) in out + err, f"{name}: exit code {code}: {out}{err}")
    daemon.kill(signal.SIGTERM)
    return "75, twice, with the holder's number"


# F12
def two_daemons_one_line(house):
    """a second daemon, with a journal of its own, on the same devices: both stand and say so; when it is gone, the batch closes"""
    demo = house.demo("foreign", 300, RATE)
    demo.wait_presented(60)
    folder = house.folder("foreign-second")
    text = (demo.folder / "line.toml").read_text()
    text = re.sub(r"\[mqtt\].*?(?=\n\[)", "", text, flags=re.S)
    text = re.sub(r'socket = ".*"', 'socket = "second.sock"', text).replace('"maps/', f'"{demo.folder}/maps/')
    (folder / "line.toml").write_text(text)
    second = house.start("run", "--config", folder / "line.toml")
    house.count("second daemon on the same devices")
    wait_until(lambda: "foreign_writer" in alarms_of(folder / "line.db"), "the second daemon notices the first", 30)
    wait_until(lambda: "foreign_writer" in demo.journal().alarms(), "the first daemon notices the second", 30)
    second.terminate()
    second.communicate(timeout=30)
    ours = Journal(folder / "line.db")
    claim(not ours.bodies("verified") and not ours.bodies("close_granted"), "the second daemon permitted something")
    figures, journal = demo.end()
    causes = {body["cause"] for body in journal.bodies("station_lost")}
    claim("foreign" in causes, f"stations were lost for {causes}")
    return f"both stood; {figures['commissioned']} commissioned after it had gone"


def alarms_of(database):
    try:
        return Journal(database).alarms()
    except sqlite3.OperationalError:
        return set()  # It is being made.


STEPS = (pauses, terminations, crash_loop, wedged, wedged_line, two_daemons_one_journal, two_daemons_one_line)
