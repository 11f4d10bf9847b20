"""A whole line of foreign parts: the plant of tests/foreign/plant, mosquitto, the daemon, a subscriber, and a person at the line."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from mosquitto import Mosquitto
from stage import ROOT, Journal, claim, free_port, wait_until
from subscriber import Subscriber

PLANT = ROOT / "tests" / "foreign" / "plant"
BATCH = "PO-77"
CASE, PALLET = 5, 2


class ForeignLine:
    def __init__(self, house, name, good, mode="subscribe", plant_options=()):
        for package in ("asyncua", "pymodbus"):
            house.needs(package)
        self.house, self.folder, self.good = house, house.folder(name), good
        self.truth, self.config = self.folder / "plant.jsonl", self.folder / "line.toml"
        self.broker = Mosquitto(self.folder, "max_queued_messages 0")
        self.ports = {"opcua": free_port(), "modbus": free_port(), "mqtt": self.broker.port}
        self.plant_options = plant_options
        self.write_config(mode)
        self.write_order()
        self.children = {}
        house.afterwards(self.clear)
        self.broker.start()
        self.subscriber = Subscriber(self.ports["mqtt"], "acme/plant2/line9/#")
        house.afterwards(self.subscriber.close)
        self.acknowledged, self.is_watched = [], threading.Event()

    def write_config(self, mode):
        """The shipped files, with the ports that are free here."""
        shutil.copytree(PLANT / "maps", self.folder / "maps")
        text = (PLANT / "line.toml").read_text()
        for key, shipped in (("opcua", "48410"), ("modbus", "15020"), ("mqtt", "48883")):
            claim(shipped in text, f"line.toml does not name {shipped}")
            text = text.replace(shipped, str(self.ports[key]))
        self.config.write_text(text.replace('mode = "subscribe"', f'mode = "{mode}"'))

    def write_order(self):
        # Leading zeros, and one serial of the full length: none of them is a number.
        serials = [f"{number:05d}" for number in range(self.good * 2 + 100)]
        serials[7] = "0123456789ABCDEF/-_9"
        sscc = {"extension": 3, "prefix": "9506000", "first": 1, "last": 500}
        order = {"batch": BATCH, "gtin": "09506000134352", "lot": "L-09", "expiry": "2031-02-28", "gcp_length": 7}
        order |= {"pack": {"case": CASE, "pallet": PALLET}, "sscc": sscc, "serials": serials}
        (self.folder / "order.json").write_text(json.dumps(order))

    def spawn(self, name, command):
        with open(self.folder / f"{name}.log", "ab") as log:
            self.children[name] = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        return self.children[name]

    def wait_port(self, key):
        def answers():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.ports[key])) == 0

        wait_until(answers, f"port {key} answers")

    def start_plant(self):
        options = ["--truth", self.truth, "--opcua", self.ports["opcua"], "--modbus", self.ports["modbus"], "--good", self.good]
        self.spawn("plant", [sys.executable, "-B", PLANT, *options, "--case", CASE, "--pallet", PALLET, *self.plant_options])
        self.wait_port("opcua")
        self.wait_port("modbus")

    def start_daemon(self):
        return self.spawn("daemon", [self.house.program, "run", "--config", self.config])

    def kill(self, name, number=signal.SIGKILL):
        child = self.children[name]
        child.send_signal(number)
        return child.wait(30)

    def clear(self):
        self.is_watched.set()
        for child in self.children.values():
            if child.poll() is None:
                child.kill()
                child.wait()
        self.broker.kill()

    def ask(self, *words):
        """What the command line answers: exit code and document."""
        code, out, err = self.house.run("--config", self.config, "--json", *words)
        try:
            return code, json.loads(out)
        except ValueError:
            return code, {"text": out + err}

    def watch(self):
        """The person at the line: looks at every alarm and acknowledges it."""
        def look():
            while not self.is_watched.wait(0.15):
                code, alarms = self.ask("alarm", "list")
                for alarm in alarms if code == 0 else []:
                    self.acknowledged.append(alarm)
                    self.ask("alarm", "ack", alarm["alarm"])

        threading.Thread(target=look, daemon=True).start()

    def begin(self):
        """From nothing to a running batch."""
        self.start_plant()
        self.start_daemon()
        wait_until(lambda: self.ask("status")[0] == 0, "the daemon answers", 30)
        code, answer = self.ask("batch", "load", self.folder / "order.json")
        claim(code == 0, f"the order is refused: {answer}")
        self.watch()
        wait_until(lambda: self.ask("batch", "start", BATCH)[0] == 0, f"the batch starts: {self.ask('status')[1]}", 30)

    def events(self, kind=None):
        lines = self.truth.read_bytes().splitlines() if self.truth.exists() else []
        events = (json.loads(line) for line in lines if line.endswith(b"}"))
        return [event for event in events if kind in (None, event["kind"])]

    def passed(self):
        return sum(event["end"] == 1 for event in self.events("end"))

    def wait_passed(self, count, within=90):
        wait_until(lambda: self.passed() >= count, f"{count} units have passed; {self.passed()} so far; {self.tail()}", within)

    def tail(self):
        status = self.ask("status")[1]
        return json.dumps({key: status.get(key) for key in ("stations", "alarms", "holds", "batch")})[:1500] + str(self.events()[-5:])

    def journal(self):
        return Journal(self.folder / "line.db")

    def finish(self, boxes, closes=True, within=60):
        """All is packed and gone; the batch ends, the daemon too. What stands against the close, where it does not close."""
        until = time.monotonic() + within
        while sum(event["station"] == "palletizer" for event in self.events("left")) < boxes:
            claim(time.monotonic() < until, f"the last pallet has not left: {self.tail()}")
            time.sleep(0.1)
        code, answer = self.ask("batch", "stop", BATCH)
        claim(code == 0, f"the batch does not stop: {answer}")
        until = time.monotonic() + (15 if closes else 2)
        while (closed := self.ask("batch", "close", BATCH))[0] != 0 and time.monotonic() < until:
            time.sleep(0.2)
        claim(closed[0] == 0 or not closes, f"the batch does not close: {closed[1]}")
        self.is_watched.set()
        self.kill("plant", signal.SIGTERM)
        code = self.kill("daemon", signal.SIGTERM)
        claim(code == 0, f"the daemon ends with {code}")
        wait_until(lambda: len(self.subscriber.facts()) >= self.count_facts(), "the feed has all facts", 30)
        return closed[1]

    def count_facts(self):
        return self.journal().rows("SELECT count(*) FROM v_fact")[0][0]
