#!/usr/bin/env python3
"""Starts a program as a daemon, without systemd.

    daemon.py --log FILE [--pid FILE] -- PROGRAM ARG...

The program gets a session of its own, `/` as working directory, no descriptor of the
caller, and its output appended to the log. The pid file names the program itself.
The command returns once the program has been executed; it fails if it could not be.

A small keeper stays above the program as a child subreaper, until the last descendant
has gone: orphans (a QEMU whose libvirtd was killed) are reaped at once, also where
init is slow at it. It passes SIGTERM on to the program.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys

PR_SET_CHILD_SUBREAPER = 36
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/",
}
# The settings of programs that were built with sanitizers.
PASSED_ON = ("ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")


def spawn(argv, log, pid_file=None, environment=None):
    """Starts `argv` detached; returns its pid. RuntimeError says why it could not start."""
    command = [sys.executable, os.path.abspath(__file__), "--log", log]
    if pid_file:
        command += ["--pid", pid_file]
    result = subprocess.run(
        command + ["--"] + argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
             **(environment or {})},
        # A Ctrl-C meant for the caller must not catch the keeper half-way.
        start_new_session=True,
    )
    if result.returncode != 0:
        raise RuntimeError(result.stderr.strip() or f"cannot start {argv[0]}")
    return int(result.stdout)


def write_atomically(path, text):
    partial = f"{path}.{os.getpid()}.part"
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(partial, path)


def shed_descriptors(log):
    """Leaves 0 (null), 1 and 2 (the log) open, and nothing else."""
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:
                pass  # the descriptor of the listing itself


def keep(argv, log, pid_file, report):
    """The keeper: never returns. `report` is the pipe to the waiting command."""
    os.setsid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.chdir("/")
    message = os.fdopen(report, "w")
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=open(log, "ab"),
            stderr=subprocess.STDOUT,
            close_fds=True,
        )
        if pid_file:
            write_atomically(pid_file, f"{child.pid}\n")
    except OSError as error:
        message.write(f"cannot start {argv[0]}: {error}")
        message.close()
        os._exit(1)
    message.write(f"pid {child.pid}")
    message.close()
    shed_descriptors(log)

    def forward(number, _frame):
        try:
            os.kill(child.pid, number)
        except ProcessLookupError:
            pass

    signal.signal(signal.SIGTERM, forward)
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            os._exit(0)
        if pid == child.pid:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            code = os.waitstatus_to_exitcode(status)
            print(f"[{os.path.basename(argv[0])} {pid} ended with status {code}]", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", required=True)
    parser.add_argument("--pid")
    parser.add_argument("argv", nargs="+")
    options = parser.parse_args()
    log = os.path.abspath(options.log)
    pid_file = os.path.abspath(options.pid) if options.pid else None
    receive, report = os.pipe()
    if os.fork() == 0:
        os.close(receive)
        for descriptor in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
        keep(options.argv, log, pid_file, report)
    os.close(report)
    with os.fdopen(receive) as pipe:
        text = pipe.read()
    if not text.startswith("pid "):
        sys.exit(text or f"cannot start {options.argv[0]}: see {log}")
    print(text[4:])


if __name__ == "__main__":
    main()
