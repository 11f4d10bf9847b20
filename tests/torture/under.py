"""Stands in front of the subject at one start: does something to its disk, and then becomes the subject.

usage: under.py DEED [WORD ...] -- COMMAND ...
"""

import errno
import fcntl
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

# FS_IOC_SHUTDOWN with NOLOGFLUSH: what was not synced is gone, the file system's own journal included.
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2


def quiet(*command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def insist(*command):
    """A process that was just killed may hold the disk for a moment."""
    for _ in range(200):
        if quiet(*command):
            return
        time.sleep(0.02)
    sys.exit(f"{' '.join(command)}: does not succeed")


def disk():
    return os.environ["DISK_IMAGE"], os.environ["DISK_MOUNT"], os.environ["DISK_OPTIONS"]


def cut():
    """The power goes, and comes back."""
    image, mount, options = disk()
    folder = os.open(mount, os.O_RDONLY)
    fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    os.close(folder)
    insist("umount", mount)
    insist("mount", "-o", options, image, mount)


def fill(folder, left):
    """All but so many bytes of the disk are taken."""
    path = Path(folder) / "filler"
    free = os.statvfs(folder)
    size = max(free.f_bavail * free.f_frsize - int(left), 0)
    with open(path, "wb") as filler:
        filler.write(bytes(size))
        filler.flush()
        os.fsync(filler.fileno())


def empty(folder):
    (Path(folder) / "filler").unlink(missing_ok=True)


def remount(how):
    insist("mount", "-o", f"remount,{how}", os.environ["DISK_MOUNT"])


def broken(seconds):
    """The file system finds an error and makes itself read-only while the subject runs."""
    device = os.path.basename(subprocess.check_output(["findmnt", "-no", "SOURCE", os.environ["DISK_MOUNT"]], text=True).strip())
    subject = os.getpid()
    if os.fork() == 0:
        time.sleep(float(seconds))
        # Where the subject has ended, another run may have this device by now.
        if os.getppid() == subject:
            Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("torture\n")
        os._exit(0)


def mended():
    """As a technician does it: unmounted, checked, and mounted again. The check plays back the file system's own journal."""
    image, mount, options = disk()
    insist("umount", mount)
    careful = subprocess.run(["e2fsck", "-p", image], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    if careful & 4:
        # What a careful check leaves to a person, a person says yes to.
        quiet("e2fsck", "-f", "-y", image)
    insist("mount", "-o", options, image, mount)


def watched():
    """Mended again where it is read-only again; newer kernels show that only to a write."""
    probe = Path(os.environ["DISK_MOUNT"]) / "probe"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        if error.errno == errno.EROFS:
            mended()


def grow(memory):
    """What lies under the disk is large enough at last; what it lost is lost, and the file system starts anew."""
    insist("mount", "-o", "remount,size=64m", memory)
    mended()


DEEDS = {deed.__name__: deed for deed in (cut, fill, empty, remount, broken, mended, watched, grow)}


def main(arguments):
    at = arguments.index("--")
    deed, *words = arguments[:at]
    DEEDS[deed](*words)
    command = arguments[at + 1 :]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
