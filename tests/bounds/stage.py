"""What the steps of this folder share beyond `judge`: demos, a daemon alone, control groups, and the time in a journal at the end."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

# For the steps, which take all that they share from here.
from judge import ROOT, House, LeftOut, Wrong, claim, wait_until  # noqa: F401
import judge

CGROUPS = Path("/sys/fs/cgroup")


class Stage(House):
    def demo(self, name, units, rate, *more, seed=1, env=None):
        return Demo(self, self.folder(name), (units, rate, seed), more, env)

    def group(self, controller, **files):
        group = Group(controller, files)
        self.afterwards(group.remove)
        return group


class Demo:
    """A demo with a folder; the daemon in it is looked after by the demo and disturbed by us."""

    def __init__(self, house, folder, figures, more, env):
        self.house, self.folder = house, folder
        units, rate, seed = figures
        arguments = ["demo", "--units", units, "--rate", rate, "--seed", seed, "--headless", "--json", "--data", folder]
        self.process = house.start(*arguments, *more, log=subprocess.PIPE, env=env)

    @property
    def pid(self):
        return int((self.folder / "daemon.pid").read_text())

    def is_over(self):
        return self.process.poll() is not None

    def presented(self):
        """Units inspected so far; the plant's own record is written with delay."""
        return self.ask("SELECT count(*) FROM v_inspection") if self.is_up() else 0

    def is_up(self):
        """The journal is made and folded: nobody looks at it before."""
        log = self.folder / "daemon.log"
        return log.exists() and "recovered" in log.read_text(errors="replace")

    def ask(self, sql, *values):
        """One value of the journal, while the daemon works on it."""
        journal = self.journal()
        try:
            return journal.one(sql, *values)
        finally:
            journal.close()

    def facts(self, kind):
        return self.ask("SELECT count(*) FROM v_fact WHERE kind = ?", kind) if self.is_up() else 0

    def wait_presented(self, units, within=120):
        wait_until(lambda: self.presented() >= units or self.is_over(), f"{units} units presented", within)
        if self.is_over():
            raise Wrong(f"the demo ended before unit {units}: {self.process.communicate()[1][-2000:]}")

    def end(self, within=240, closes=True):
        """The figures of a demo that must end well, its journal checked."""
        try:
            out, err = self.process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            raise Wrong(f"the demo did not end within {within} s; {self.house.run('status', '--db', self.folder / 'line.db')[1]}") from None
        log = (self.folder / "daemon.log").read_text(errors="replace")[-1500:]
        claim(self.process.returncode == 0, f"the demo ends with {self.process.returncode}: {out[-2000:]}{err[-2000:]}{log}")
        figures = json.loads(out.strip().splitlines()[-1])
        claim(figures["wrong_in_closed_case"] == 0, f"{figures['wrong_in_closed_case']} wrong in closed cases")
        claim(figures["reconciled"], f"the records differ: {figures['differences']}")
        claim(figures["batch_closed"] or not closes, f"the batch does not close when the fault has gone: {figures}")
        journal = self.journal()
        journal.check_time()
        code, out, err = self.house.run("audit", "verify", "--db", self.folder / "line.db")
        claim(code == 0, f"audit verify: {out}{err}")
        return figures, journal

    def journal(self):
        return Journal(self.folder / "line.db")


class Journal(judge.Journal):
    def alarms(self):
        return {body["alarm_kind"] for body in self.bodies("alarm_raised")}

    # I21
    def check_time(self):
        """Inside a run monotonic time never falls; UTC falls only at a step of the clock; what is known of the clock is known everywhere."""
        before = None
        for seq, at_us, mono_us, boot, kind in self.rows("SELECT seq, at_us, mono_us, boot, kind FROM v_fact ORDER BY seq"):
            if before:
                claim(at_us >= before[0] or kind == "clock_stepped", f"fact {seq} ({kind}) is earlier than the one before it")
                claim(boot != before[2] or mono_us >= before[1], f"fact {seq}: monotonic time fell")
            before = (at_us, mono_us, boot)
        unknown = self.rows("SELECT seq FROM v_fact_clock WHERE clock IS NULL ORDER BY seq LIMIT 5")
        claim(not unknown, f"nothing is said of the clock at facts {unknown}")


class Daemon:
    """The daemon alone, as systemd starts it: its devices are away, and we hold the socket on which it speaks to systemd."""

    ORDER = {
        "batch": "B1", "gtin": "09506000134352", "lot": "L7", "expiry": "2047-03-31", "gcp_length": 7, "pack": {"case": 2, "pallet": 2},
        "sscc": {"extension": 0, "prefix": "9506000", "first": 1, "last": 99}, "serials": ["A1", "A2"],
    }

    def __init__(self, house, folder, line_keys=""):
        self.house, self.folder, self.process = house, folder, None
        data = ROOT / "tests" / "data" / "config"
        text = (data / "good.toml").read_text().replace("[journal]", f'socket = "line.sock"\n{line_keys}\n[journal]')
        text = text.replace('"maps/', f'"{data}/maps/')
        for peer in ("10.0.0.5:4840", "10.0.0.6:4840"):
            text = text.replace(peer, "127.0.0.1:1")
        text = text.replace('host = "10.0.0.7"\nport = 1502', 'host = "127.0.0.1"\nport = 1').replace('host = "broker"', 'host = "127.0.0.1"\nport = 1')
        (folder / "line.toml").write_text(text)
        (folder / "order.json").write_text(json.dumps(self.ORDER))
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / "notify"))

    def start(self, watchdog_us=None, **env):
        environment = {"NOTIFY_SOCKET": str(self.folder / "notify"), **env}
        if watchdog_us:
            environment["WATCHDOG_USEC"] = str(watchdog_us)
        log = open(self.folder / "daemon.log", "ab")
        command = [self.house.program, "run", "--config", self.folder / "line.toml"]
        self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})
        self.house.processes.append(self.process)
        self.hear("READY=1", 30)
        return self

    def hear(self, word, within):
        """Whether systemd would hear the word in time."""
        until = time.monotonic() + within
        while (left := until - time.monotonic()) > 0:
            self.notify.settimeout(left)
            try:
                if word in self.notify.recv(4096).decode().splitlines():
                    return True
            except TimeoutError:
                break
        return False

    def drop_what_was_said(self):
        self.notify.settimeout(0)
        try:
            while True:
                self.notify.recv(4096)
        except BlockingIOError:
            pass

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        return self.process.wait(60)

    def ask(self, *words):
        return self.house.run("--config", self.folder / "line.toml", *words)

    def journal(self):
        database = next(self.folder.glob("*.db"))
        return Journal(database)


class Group:
    """A control group of one controller, version 1 or 2, by the file names of version 1."""

    V2 = {"memory.limit_in_bytes": "memory.max", "cpu.cfs_quota_us": "cpu.max", "freezer.state": "cgroup.freeze"}

    def __init__(self, controller, files):
        self.is_v1 = (CGROUPS / controller / "tasks").exists() or (CGROUPS / controller / "cgroup.procs").exists()
        available = (CGROUPS / "cgroup.controllers").read_text().split() if (CGROUPS / "cgroup.controllers").exists() else []
        if os.geteuid() != 0 or not (self.is_v1 or controller in available):
            raise LeftOut(f"the control group {controller} needs root and a mounted controller")
        self.path = (CGROUPS / controller if self.is_v1 else CGROUPS) / f"sealgate-bounds-{os.getpid()}"
        try:
            if not self.is_v1:
                (CGROUPS / "cgroup.subtree_control").write_text(f"+{controller}")
            self.path.mkdir(exist_ok=True)
            for name, value in files.items():
                self.write(name.replace("__", "."), value)
        except OSError as error:
            raise LeftOut(f"the control group {controller} cannot be made here: {error}") from error

    def write(self, name, value):
        if not self.is_v1:
            name = self.V2[name]
            value = f"{value} 100000" if name == "cpu.max" else value
            value = {"FROZEN": 1, "THAWED": 0}.get(value, value)
        (self.path / name).write_text(f"{value}\n")

    def read(self, name, v2_name):
        return (self.path / (name if self.is_v1 else v2_name)).read_text().strip()

    def take(self, pid):
        (self.path / "cgroup.procs").write_text(f"{pid}\n")

    def take_thread(self, tid):
        """One thread alone, which version 2 does only in threaded groups."""
        if not self.is_v1:
            raise LeftOut("one thread alone is frozen by version 1 of the control groups, which is not mounted here")
        (self.path / "tasks").write_text(f"{tid}\n")

    def remove(self):
        parent = self.path.parent
        for name in ("cgroup.procs", "tasks"):
            for pid in (self.path / name).read_text().split() if (self.path / name).exists() else []:
                try:
                    (parent / name).write_text(pid)
                except OSError:
                    pass  # It has ended meanwhile.
        try:
            self.path.rmdir()
        except OSError as error:
            print(f"    {self.path} stays behind: {error}")


def thread_of(pid, name):
    """The thread of a process that has this name (cut to 15 characters by the kernel)."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name[:15]:
            return int(task.name)
    raise Wrong(f"process {pid} has no thread {name}")
