"""Too little memory, files or processor time for the daemon: slower, or denied, and never wrong."""

import os
import re
import resource
import socket
import subprocess
import time
from pathlib import Path

import mosquitto
from stage import LeftOut, claim, wait_until

RATE = 600
MEMORY = 64 * 1024 * 1024


# F09
def memory(house):
    """64 MiB for the daemon, the broker away for two thirds of the batch: the backlog lies on disk, nothing is killed for memory"""
    group = house.group("memory", memory__limit_in_bytes=MEMORY)
    with mosquitto.Mosquitto(house.folder("broker")) as broker:
        demo = house.demo("memory", 900, 3000, "--broker", f"127.0.0.1:{broker.port}")
        wait_until(demo.is_up, "the daemon is up", 30)
        group.take(demo.pid)
        house.count("64 MiB of memory, broker away")
        demo.wait_presented(200)
        broker.kill()
        demo.wait_presented(800, 240)
        highest = memory_of(demo.pid)
        broker.start()
        figures, journal = demo.end()
        claim(len(journal.bodies("line_started")) == 1, "the daemon did not live through it")
    return f"resident at most {highest // 1024} MiB, {figures['commissioned']} commissioned, {figures['acked']} of {figures['messages']} delivered"


def memory_of(pid):
    """The most that was resident, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


# F10
def files(house):
    """64 file descriptors and hundreds of clients at the local socket, then none left at all: the line runs on"""
    demo = house.demo("files", 400, RATE)
    demo.wait_presented(20)
    pid, clients = demo.pid, []
    limit(pid, 64)
    house.count("64 file descriptors, 500 clients")
    path = re.search(r'socket = "(.+)"', (demo.folder / "line.toml").read_text())[1]
    try:
        for _ in range(500):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(0)
            clients.append(client)
            try:
                client.connect(path)
            except (BlockingIOError, ConnectionRefusedError):
                pass  # The kernel's queue is full: refused, as it should be.
        demo.wait_presented(150)
        limit(pid, len(os.listdir(f"/proc/{pid}/fd")))
        house.count("no file descriptor left")
        demo.wait_presented(280)
    finally:
        for client in clients:
            client.close()
        if Path(f"/proc/{pid}").exists():
            limit(pid, 1024)
    figures, journal = demo.end()
    claim(len(journal.bodies("line_started")) == 1, "the daemon did not live through it")
    claim(figures["false_rejects"] == 0, f"{figures['false_rejects']} false rejects")
    return f"{figures['commissioned']} commissioned, no false reject"


def limit(pid, number):
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    try:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(number, hard), hard))
    except PermissionError as error:
        raise LeftOut(f"the limits of another process cannot be set: {error}") from error


# F07
def processor(house):
    """a tenth of a processor for the daemon: slower or denied, never wrong; with a whole one again, the batch closes"""
    group = house.group("cpu", cpu__cfs_quota_us=10_000)
    demo = house.demo("processor", 200, 300)
    demo.wait_presented(30)
    pid = demo.pid
    group.take(pid)
    house.count("a tenth of a processor")
    began, before = time.monotonic(), demo.presented()
    wait_until(lambda: demo.presented() >= 150 or time.monotonic() - began > 60, "half the batch, or a minute", 70)
    slow = demo.presented() - before
    group.write("cpu.cfs_quota_us", -1 if group.is_v1 else "max")
    figures, journal = demo.end()
    late = len(journal.rows("SELECT 1 FROM v_fact WHERE kind = 'pass_expired'"))
    return f"{slow} units in {time.monotonic() - began:.0f} s, {late} passes expired, {figures['false_rejects']} good units rejected, none wrong"


# F07
def hog(house):
    """every processor busy with other work: the same"""
    demo = house.demo("hog", 200, 300)
    demo.wait_presented(20)
    hogs = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(2 * (os.cpu_count() or 1))]
    house.count("processors busy with other work")
    try:
        demo.wait_presented(150)
    finally:
        for process in hogs:
            process.kill()
            process.wait()
    figures, _ = demo.end()
    return f"{figures['false_rejects']} good units rejected, p99 of a verdict {figures['verdict_us']['p99'] / 1000:.1f} ms"


STEPS = (memory, files, processor, hog)
