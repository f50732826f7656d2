"""Signals that never leave anything behind.

A signal becomes an `Interrupted` exception, so that every `finally` runs; while
`deferred()` is active it waits until the block's end. Programs run by `run` have a
process group of their own, which is ended with them.
"""

import contextlib
import os
import signal
import subprocess

CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody wants us to end."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_status(self):
        return 128 + self.number


_depth = 0
_pending = None


def install():
    """Call once, in the main thread."""
    for number in CAUGHT:
        signal.signal(number, _on_signal)


def _on_signal(number, _frame):
    global _pending
    if _depth > 0:
        _pending = number
    else:
        raise Interrupted(number)


@contextlib.contextmanager
def deferred(deliver=True):
    """Holds signals back: for steps that must not stop half-way, and for cleaning up.

    With `deliver=False` signals that came meanwhile are dropped.
    """
    global _depth, _pending
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        number = _pending
        if _depth == 0:
            _pending = None
    if deliver and _depth == 0 and number is not None:
        raise Interrupted(number)


@contextlib.contextmanager
def started(argv, output=None, cwd=None):
    """A running program; it and its process group are ended with the block."""
    child = None
    try:
        with deferred():
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output,
                                     stderr=output, cwd=cwd, start_new_session=True)
        yield child
    finally:
        if child is not None and child.poll() is None:
            with deferred():
                end_group(child)


def run(argv, output=None, cwd=None):
    """Runs a program to its end; returns its status. Interrupted: its group is ended too."""
    with started(argv, output, cwd) as child:
        return child.wait()


def end_group(child):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            pass
        try:
            child.wait(timeout=5.0)
            return
        except subprocess.TimeoutExpired:
            continue
