"""`sealgate run` by itself: a line whose machines are away, which records its start, an order and its stop."""

import json
import os
import signal
import subprocess
import time

from rig import HERE, end_group

ROOT = HERE.parents[1]
ANSWER_MAX = 20


class Daemon:
    """In `folder`: `line.toml`, `line.db` and what belongs to them. Its broker is at `port`."""

    def __init__(self, house, folder, port=9, environment=None):
        self.house, self.folder = house, folder
        self.config = folder / "line.toml"
        maps = ROOT / "config/maps"
        text = (ROOT / "config/demo.toml").read_text()
        text = text.replace('"maps/', f'"{maps}/').replace("port = 1883", f"port = {port}").replace("4840", "1").replace("1502", "2")
        self.config.write_text(text)
        self.log = open(folder / "daemon.log", "ab")
        whole = {**os.environ, **house.environment, **(environment or {})}
        command = [house.program, "run", "--config", self.config]
        self.process = subprocess.Popen(list(map(str, command)), stdout=self.log, stderr=self.log, env=whole, start_new_session=True)

    def ask(self, *words):
        """Exit code and answer of a command."""
        command = [self.house.program, *words, "--config", self.config, "--json"]
        ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=30)
        return ended.returncode, ended.stdout or ended.stderr

    def wait(self, condition, within=ANSWER_MAX):
        until = time.monotonic() + within
        while time.monotonic() < until and self.process.poll() is None:
            if condition():
                return True
            time.sleep(0.05)
        return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def kill(self):
        end_group(self.process)
        self.process.wait()
        self.log.close()

    def load(self):
        """The order, as soon as somebody answers; whether it was taken."""
        order = self.folder / "order.json"
        order.write_text(json.dumps(ORDER))
        return self.wait(lambda: self.ask("batch", "load", order)[0] == 0)

    def read(self, *words):
        """What a command answers; an empty object while nobody does."""
        code, out = self.ask(*words)
        try:
            return json.loads(out) if code == 0 else {}
        except ValueError:
            return {}

    def words(self):
        self.log.flush()
        return (self.folder / "daemon.log").read_text(errors="replace")[-400:]


ORDER = {
    "batch": "UPSTREAM-1",
    "gtin": "09506000134352",
    "lot": "L7",
    "expiry": "2029-03-31",
    "gcp_length": 7,
    "pack": {"case": 3, "pallet": 3},
    "sscc": {"extension": 0, "prefix": "9506000", "first": 1, "last": 9},
    "serials": ["A1", "A2", "A3"],
}
