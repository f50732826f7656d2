"""Builds the programs, and nothing when they are up to date."""

import os
import subprocess
import time

import killable

PROGRAMS = ("vmsrunnerd", "vmshostd", "vmsctl")
PRESET = "release"
MEMORY_PER_JOB = 2.5 * 2**30  # the largest translation units need about that much
REPORT_EVERY_S = 10.0


class BuildError(Exception):
    """Says what failed and where the compiler's output is."""


def programs_folder(repository, say):
    """Where the programs are, built if need be. $VMS_BIN names a folder to use as it is."""
    given = os.environ.get("VMS_BIN")
    if given:
        missing = [name for name in PROGRAMS if not os.access(os.path.join(given, name), os.X_OK)]
        if missing:
            raise BuildError(f"VMS_BIN={given} lacks {', '.join(missing)}: build them, or unset it")
        return os.path.realpath(given)
    folder = os.path.join(repository, "build", PRESET)
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        say("configuring a release build")
        _run(["cmake", "--preset", PRESET], repository, say)
    build = ["cmake", "--build", "--preset", PRESET, "--parallel", str(jobs()), "--target",
             *PROGRAMS]
    if _is_stale(repository, folder):
        say(f"building {', '.join(PROGRAMS)} (some minutes the first time)")
        _run(build, repository, say)
    else:
        say("the programs are built already")
    return os.path.join(folder, "bin")


def jobs():
    """One per processor, as far as the memory goes."""
    with open("/proc/meminfo", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    available = int(fields["MemAvailable"].split()[0]) * 1024
    return max(1, min(len(os.sched_getaffinity(0)), int(available / MEMORY_PER_JOB)))


def _is_stale(repository, folder):
    """A dry run: ninja says "no work to do" when everything is up to date."""
    result = subprocess.run(["ninja", "-C", folder, "-n", *PROGRAMS], cwd=repository,
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return result.returncode != 0 or "no work to do" not in result.stdout


def _run(argv, repository, say):
    """Output goes to a log; its last line is reported now and then."""
    log = os.path.join(repository, "build", "quickstart.log")
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with open(log, "wb") as out, killable.started(argv, out, repository) as child:
        reported = time.monotonic()
        while child.poll() is None:
            try:
                child.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                pass
            if time.monotonic() - reported >= REPORT_EVERY_S:
                reported = time.monotonic()
                say(f"  {_last_lines(log, 1)[:100]}")
    if child.returncode != 0:
        raise BuildError(f"`{' '.join(argv)}` failed; all of its output is in {log}, "
                         f"which ends with:\n{_last_lines(log, 30)}")


def _last_lines(path, count):
    with open(path, encoding="utf-8", errors="replace") as file:
        return "".join(file.readlines()[-count:]).strip()
