"""What every end-to-end test begins with: its programs, its seed, its bound.

    def survives(rng):
        with QuickstartCluster() as cluster:
            ...

    e2e.main(survives, limit_s=300)

Exit status 0 when every scenario passed, 1 when one failed, 77 when this machine cannot
run them, with the reason. `VMS_SEED=N` repeats the random choices of a run.
"""

import os
import random
import shutil
import signal
import sys
import time
import traceback

SKIPPED = 77
SANITIZED = bool(os.environ.get("VMS_SANITIZE"))
FACTOR = 5 if SANITIZED else 1  # how much slower everything may be
NEEDED = ("libvirtd", "virsh", "qemu-system-x86_64", "unshare")


class Overdue(BaseException):
    """The test's own bound; it comes before ctest's, which would leave processes behind."""


def sized(usual, sanitized):
    """How many VMs: a sanitizer build gets fewer."""
    return sanitized if SANITIZED else usual


def skip(reason):
    print(f"skipped: {reason}", flush=True)
    sys.exit(SKIPPED)


def require():
    """Skips unless this machine can run real hosts."""
    if os.geteuid() != 0:
        skip("private libvirt daemons need root")
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        skip(f"{', '.join(missing)} not found: install what .ci/packages.txt names")


def main(*scenarios, limit_s):
    """Runs the scenarios one after the other, all of them within `limit_s` (a sanitizer build
    gets FACTOR times that), and ends the process."""
    require()
    if os.environ.get("VMS_BIN_DIR"):
        os.environ["VMS_BIN"] = os.environ["VMS_BIN_DIR"]
    seed = int(os.environ.get("VMS_SEED") or time.time_ns() % 2**32)
    print(f"seed {seed} (VMS_SEED={seed} repeats these choices)", flush=True)

    def overdue(_number, _frame):
        raise Overdue(f"not done within {limit_s * FACTOR} s")

    signal.signal(signal.SIGALRM, overdue)
    signal.alarm(limit_s * FACTOR)
    failed = []
    for scenario in scenarios:
        name = scenario.__name__
        print(f"-- {name}", flush=True)
        try:
            scenario(random.Random(f"{seed} {name}"))
        except (Exception, Overdue) as error:  # pylint: disable=broad-except
            failed.append(name)
            traceback.print_exc()
            if isinstance(error, Overdue):
                break
    signal.alarm(0)
    print(f"{len(scenarios) - len(failed)} of {len(scenarios)} passed"
          + (f"; failed: {', '.join(failed)}; seed {seed}" if failed else ""), flush=True)
    sys.exit(1 if failed else 0)
