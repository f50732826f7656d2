"""Finding and ending processes by what they are, not only by a number in a file."""

import os
import signal
import time


def each_pid():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def is_alive(pid):
    """True while the process exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def arguments(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [os.fsdecode(part) for part in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def with_argument(program, argument):
    """The processes of one program (base name) that were started with one argument."""
    found = []
    for pid in each_pid():
        words = arguments(pid)
        if program in map(os.path.basename, words[:2]) and argument in words[1:]:
            found.append(pid)
    return [pid for pid in found if is_alive(pid)]


def read_pid(path):
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def send(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def wait_gone(pids, timeout_s):
    """Waits until none of the processes is alive; returns those that still are."""
    deadline = time.monotonic() + timeout_s
    left = [pid for pid in pids if is_alive(pid)]
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = [pid for pid in left if is_alive(pid)]
    return left


def end(pids, timeout_s=10.0):
    """SIGTERM, then SIGKILL for what is left; returns what survived even that."""
    send(pids, signal.SIGTERM)
    left = wait_gone(pids, timeout_s)
    send(left, signal.SIGKILL)
    return wait_gone(left, 5.0)


def keepers(folder):
    """The keepers (daemon.py) of daemons whose log lies in the folder."""
    found = []
    for pid in each_pid():
        words = arguments(pid)
        if any(os.path.basename(word) == "daemon.py" for word in words[:3]) and any(
                word.startswith(folder + os.sep) for word in words):
            found.append(pid)
    return found
