"""Signals that never leave anything behind.

The first signal becomes an `Interrupted` exception, so that every `finally` runs, and the
following ones are dropped, so that none cuts a clean-up short. While `deferred()` is
active a signal waits until the block's end. Programs run by `run` have a
process group of their own, which is ended with them.
"""

import contextlib
import os
import signal
import subprocess
import tempfile

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
_held = False


def install():
    """Call once, in the main thread."""
    for number in CAUGHT:
        signal.signal(number, _on_signal)


def hold():
    """No signal interrupts any more: the last step before a clean-up on the good path."""
    global _held
    _held = True


def _on_signal(number, _frame):
    global _pending
    if _depth > 0:
        _pending = number
    else:
        _deliver(number)


def _deliver(number):
    if not _held:
        hold()
        raise Interrupted(number)


@contextlib.contextmanager
def deferred():
    """Lets a signal wait until the end of a step that must not stop half-way."""
    global _depth, _pending
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
    if _depth == 0 and _pending is not None:
        number, _pending = _pending, None
        _deliver(number)


@contextlib.contextmanager
def started(argv, output=None, cwd=None, errors=None):
    """A running program; it and its process group are ended with the block."""
    child = None
    try:
        with deferred():
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output,
                                     stderr=errors or output, cwd=cwd, start_new_session=True)
        yield child
    finally:
        if child is not None and child.poll() is None:
            with deferred():
                end_group(child)


def run(argv, output=None, cwd=None):
    """Runs a program to its end; returns its status. Interrupted: its group is ended too."""
    with started(argv, output, cwd) as child:
        return child.wait()


def output_of(argv):
    """Like `run`, and returns (status, standard output, standard error) as text."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        with started(argv, out, errors=errors) as child:
            status = child.wait()
        out.seek(0)
        errors.seek(0)
        return (status, out.read().decode(errors="replace"),
                errors.read().decode(errors="replace"))


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
