"""Power cuts: an ext4 of its own loses everything that was not synced, at the very call at which the process died."""

import random
import shutil
import threading

from rig import AT_ONCE, Disk, Row, calls, needs, strace, wrapper, wrong

# Calls on the files, and words to the line: right after a permit has left.
ON_FILES = ("pwrite64", "fsync", "fdatasync", "ftruncate", "unlink")


def plans(house, count, draw):
    """So many call numbers, drawn over files and words alike."""
    counted = [(name, of, True) for name, of in calls(house, ON_FILES).items()]
    counted += [(name, of, False) for name, of in calls(house, ("write",), paths=False).items()]
    weights = [{"pwrite64": 4, "write": 4}.get(name, 2) for name, _, _ in counted]
    drawn = draw.choices(counted, weights, k=count)
    return [(name, draw.randint(1, of), paths) for name, of, paths in drawn]


def cut_all(house, jobs, one):
    """The jobs over as many disks as run at once."""
    needs("strace", root=True)
    waiting, results, failures = list(jobs), [], []
    lock = threading.Lock()

    def work():
        try:
            with Disk(house) as disk:
                while True:
                    with lock:
                        if not waiting:
                            return
                        job = waiting.pop()
                    found = one(disk, job)
                    with lock:
                        results.append(found)
        except Exception as failure:
            failures.append(failure)

    workers = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    [worker.start() for worker in workers], [worker.join() for worker in workers]
    if failures:
        raise failures[0]
    return results


def kill(folder, plan):
    name, number, paths = plan
    return strace(folder, f"{name}:signal=KILL:when={number}", paths=paths)


def one_cut(house, disk, plan, before="", **environment):
    """`before`: words in front of the subject that is to die."""
    folder = disk.folder()
    unders = [f"{kill(folder, plan)} {before}", wrapper("cut")]
    verdict = house.lockstep(folder, unders, **disk.told(), **environment)
    # The disk is small, and many runs share it.
    shutil.rmtree(folder, ignore_errors=True)
    return [f"cut at {plan[0]} {plan[1]}: {text}" for text in wrong(verdict, ["signal 9", "0"])]


# F03, F15, F25, F29, I01, I28
def once(house):
    """the power goes at a call, and comes back"""
    row = Row("power cut")
    jobs = plans(house, 200 if house.full else 60, random.Random(3))
    for found in cut_all(house, jobs, lambda disk, plan: one_cut(house, disk, plan)):
        row.add(found)
    return [row]


# F03, F04, F15
def twice(house):
    """it goes again within the first calls of the start after that: in recovery, or at its first commit"""
    row = Row("power cut twice")
    draw = random.Random(4)
    firsts = plans(house, 50 if house.full else 16, draw)
    jobs = [(first, draw.choice(ON_FILES[:1] * 3 + ON_FILES[1:2]), draw.randint(1, 24)) for first in firsts]

    def one(disk, job):
        first, name, number = job
        folder = disk.folder()
        second = f"{wrapper('cut')} {kill(folder, (name, number, True))}"
        verdict = house.lockstep(folder, [kill(folder, first), second, wrapper("cut")], **disk.told())
        shutil.rmtree(folder, ignore_errors=True)
        ends = verdict["ends"]
        found = wrong(verdict) + ([] if ends[:1] == ["signal 9"] and ends[-1:] == ["0"] else [f"ends {ends}"])
        return [f"cut at {first[0]} {first[1]}, then at {name} {number}: {text}" for text in found]

    for found in cut_all(house, jobs, one):
        row.add(found)
    return [row]
