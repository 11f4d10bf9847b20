#!/usr/bin/env python3
"""The HTTP door under requests that nobody would think of: schemathesis (https://schemathesis.readthedocs.io) reads the OpenAPI
document that a running daemon serves, and makes requests of it, good ones and bad ones.

usage: python tests/door PROGRAM [--only STEP ...]

Nothing may be answered with a 5xx, with a status, a content type or a body that the document does not name, or be done without a
session. One seed, so that what is found is found again; a look takes at most five minutes, and a quarter of one on a machine at rest. Needs the package `schemathesis` beside this Python.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

# What several folders of tests share lies beside them.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import judge
from judge import ROOT, House, Wrong, claim, wait_until

SEED = 1
LOOK_SECONDS_MAX = 280
EXAMPLES = 4
CHECKS = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
          "negative_data_rejection", "unsupported_method", "allow_header_conformance", "ignored_auth"]
FIRST, OWN = "chosen by an administrator", "a river runs through it"
ROLES = ["operator", "supervisor", "quality", "maintenance", "admin", "auditor"]


class Daemon:
    """One with its door open; its devices and its broker are away. `anna` administers, `all` may do everything."""

    def __init__(self, house):
        self.folder = house.folder("door")
        shutil.copytree(ROOT / "config/maps", self.folder / "maps")
        text = (ROOT / "config/demo.toml").read_text()
        (self.folder / "line.toml").write_text(text + '\n[http]\nlisten = "127.0.0.1:0"\n')
        self.process = house.start("run", "--config", self.folder / "line.toml", log=self.folder / "log")
        status = wait_until(self.status, self.log, within=60)
        self.base = f"http://{status['http']}"
        code = (self.folder / "line.code").read_text().strip()
        self.ask(do="user_init", code=code, user="anna", full_name="Anna", password=OWN)
        anna = self.ask(do="login", user="anna", password=OWN)["session"]
        self.ask(do="user_add", session=anna, user="all", full_name="All", roles=ROLES, password=FIRST)
        first = self.ask(do="login", user="all", password=FIRST)["session"]
        self.ask(do="user_passwd", session=first, user="all", password=FIRST, new_password=OWN)

    def ask(self, **fields):
        """The data of an answer of the local socket that is yes."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(60)
            line.connect(str(self.folder / "line.sock"))
            line.sendall(json.dumps({"id": 1, **fields}).encode() + b"\n")
            answer = json.loads(line.makefile().readline())
        claim(answer["ok"], answer)
        return answer.get("data")

    def status(self):
        claim(self.process.poll() is None, self.log())
        try:
            return self.ask(do="status")
        except (OSError, ValueError):
            return None

    def log(self):
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def log_in(self):
        """The cookie of the one who may do everything."""
        body = json.dumps({"user": "all", "password": OWN}).encode()
        request = urllib.request.Request(f"{self.base}/api/v1/login", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.headers["Set-Cookie"].split(";")[0]

    def may_read(self, cookie):
        request = urllib.request.Request(f"{self.base}/api/v1/status", headers={"Cookie": cookie})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return False


def look(house, daemon, kind, cookie, *more):
    """One run of schemathesis; how many requests it made, by its own count."""
    command = [Path(sys.executable).parent / "st", "run", f"{daemon.base}/api/v1/openapi.json", "--seed", SEED,
               "--max-examples", EXAMPLES, "--phases", "examples,coverage,fuzzing", "--checks", ",".join(CHECKS),
               "--continue-on-failure", "--no-shrink", "--suppress-health-check", "all", "--rate-limit", "150/s",
               "--warnings", "off", "--no-color", "--generation-database", "none",
               "--generation-with-security-parameters", "false", *more]
    if cookie:
        command += ["-H", f"Cookie: {cookie}"]
    try:
        ended = subprocess.run([*map(str, command)], cwd=daemon.folder, capture_output=True, text=True,
                               timeout=LOOK_SECONDS_MAX, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    except subprocess.TimeoutExpired as late:
        raise Wrong(f"{kind}: not within {LOOK_SECONDS_MAX} s: {(late.stdout or b'')[-2000:]}") from None
    said = ended.stdout
    house.count(f"requests {kind}", sum(int(word) for word in generated(said)))
    claim(ended.returncode == 0, f"{kind}: {said[-8000:]}{ended.stderr[-2000:]}")
    claim(daemon.status(), f"{kind}: the line does not answer")


def generated(said):
    for line in said.splitlines():
        words = line.replace(",", "").split()
        if "generated" in words:
            yield words[words.index("generated") - 1]


def somebody_who_may_do_everything(house):
    """Every route but the end of the session, as somebody with every role."""
    daemon = Daemon(house)
    cookie = daemon.log_in()
    look(house, daemon, "by somebody who may do everything", cookie, "--exclude-operation-id", "logout")
    claim(daemon.may_read(cookie), "the session did not hold: less was tried than it seems")
    look(house, daemon, "at the end of a session", cookie, "--include-operation-id", "logout")
    return "no 5xx, nothing undocumented, and the line answers"


def somebody_without_a_session(house):
    """Every route, as nobody and with a cookie that nobody gave."""
    daemon = Daemon(house)
    before = daemon.ask(do="user_list")
    look(house, daemon, "by nobody", None)
    look(house, daemon, "with a forged cookie", "sealgate_session=" + "0" * 64)
    claim(daemon.ask(do="user_list") == before, "people were changed by nobody")
    claim(daemon.ask(do="batch_list") == [], "a batch was loaded by nobody")
    return "no 5xx, nothing undocumented, nothing done"


if __name__ == "__main__":
    steps = [somebody_who_may_do_everything, somebody_without_a_session]
    sys.exit(judge.main("door", __doc__, steps, House, may_leave_out=False))
