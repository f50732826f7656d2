#!/usr/bin/env python3
"""The disk of the engine's database fills up: new work is refused, no result is lost."""

import contextlib
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))
import e2e  # noqa: E402
import verdict  # noqa: E402
import vmshosts  # noqa: E402
from quickstart_cluster import QuickstartCluster  # noqa: E402

WAIT_S = 120.0 * e2e.FACTOR
FULL = 507
OWN_MOUNTS = "VMS_E2E_OWN_MOUNTS"
BLOCK = 64 * 1024
# More than twice the reserve (16 MiB): that much must be free for the engine to take new work.
DISK_MIB = 64


@contextlib.contextmanager
def small_disk(cluster):
    """The engine restarts with its state on a small disk; yields the folder."""
    state = os.path.join(cluster.state.engine_folder, "state")
    cluster.kill_engine()
    os.rename(state, state + ".old")
    os.mkdir(state)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", state], check=True)
    try:
        subprocess.run(["cp", "-a", state + ".old/.", state], check=True)
        cluster.restart_engine()
        for name in ("h1", "h2"):
            cluster.wait_host_state(name, "ready", WAIT_S)
        yield state
    finally:
        cluster.kill_engine()
        subprocess.run(["cp", "-a", state, state + ".new"], check=True)
        # A killed process lets go of its files a moment after its pid is gone.
        vmshosts.wait_until(
            lambda: subprocess.run(["umount", state], capture_output=True,
                                   check=False).returncode == 0,
            "the small disk being let go of", WAIT_S)
        # Not the older one: hosts that know more than their engine's database stop everything.
        subprocess.run(["cp", "-a", state + ".new/.", state], check=True)


def fill(folder):
    """Takes what is free now, not what the engine may give up later; returns the file."""
    path = os.path.join(folder, "ballast")
    with open(path, "wb") as file:
        disk = os.statvfs(folder)
        size = disk.f_bavail * disk.f_frsize
        while size:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
                break
            except OSError:  # the engine was faster
                size -= min(size, BLOCK)
    return path


def define_until_full(cluster):
    """Defines bulky VMs until the engine refuses; returns (the refusal, the names accepted)."""
    accepted = []
    for number in range(1000):
        guest = cluster.guests(1, prefix=f"bulky{number}")[0]
        xml = guest.xml().replace("<os>", f"<description>{'x' * 50_000}</description><os>", 1)
        status, answer = cluster.http("POST", "/v1/vms", xml.encode(), "application/xml")
        if status == FULL:
            return answer, accepted
        assert status == 201, (status, answer)
        accepted.append(guest.name)
    raise AssertionError(f"{len(accepted)} VMs were accepted on a full disk")


def refused_then_accepted(_rng):
    with QuickstartCluster(vms=0) as cluster:
        with small_disk(cluster) as state:
            guests = cluster.define(cluster.guests(e2e.sized(40, 16)))
            names = [guest.name for guest in guests]
            half = len(guests) // 2
            client = cluster.client("run", *names[:half], "--wait", "--timeout",
                                    f"{int(WAIT_S)}s")
            cluster.wait_domains(1, client)
            # From here on commits meet a full disk, those of the first half's results too.
            ballast = fill(state)
            refusal, accepted = define_until_full(cluster)
            assert refusal["error_class"] == "store_full", refusal
            assert "disk" in refusal["detail"] and "free" in refusal["detail"], refusal
            status, answer = cluster.http("POST", "/v1/requests", request_for(names[half:]))
            assert status == FULL, (status, answer)
            told = cluster.vmsctl("run", *names[half:], check=False)
            assert told.returncode == 1 and told.stderr.count("\n") == 1, told
            assert "full" in told.stderr and "free" in told.stderr, told
            client.wait(WAIT_S)
            verdict.wait_executed(guests[:half])
            shown = {row["vm_name"] for row in cluster.rows("vm", "list")
                     if row["state"] == "running"}
            assert set(names[:half]) <= shown, f"results lost: {set(names[:half]) - shown}"

            # What was recorded while the disk was full is there after a crash.
            cluster.kill_engine()
            cluster.start_engine_alone()
            vmshosts.wait_until(lambda: cluster.vmsctl("vm", "list", check=False).returncode == 0,
                                "an answer of the engine", WAIT_S)
            rows = verdict.history(cluster)
            succeeded = {row["vm_name"] for row in rows if row["outcome"] == "succeeded"}
            assert set(names[:half]) <= succeeded, rows
            known = {row["vm_name"] for row in cluster.rows("vm", "list")}
            assert set(accepted) <= known, f"accepted and lost: {set(accepted) - known}"
            assert len(cluster.rows("request", "list")) == 1, "a refused request is there"
            status, _ = cluster.http("POST", "/v1/requests", request_for(names[half:]))
            assert status == FULL, f"accepted with {status} on a full disk"

            os.unlink(ballast)
            vmshosts.wait_until(
                lambda: cluster.vmsctl("run", *names[half:], check=False).returncode == 0,
                "new work being accepted again", WAIT_S)
            cluster.vmsctl("run", *names[half:], "--wait", "--timeout", f"{int(WAIT_S)}s")
            verdict.assert_each_runs_once(cluster, guests)
        # For the check that no daemon has crashed.
        cluster.restart_engine()


def request_for(names):
    listed = ", ".join(f'"{name}"' for name in names)
    return f'{{"vms": [{listed}]}}'.encode()


def with_own_mounts():
    """Starts this test again where a mount is nobody else's and ends with the last process."""
    e2e.require()
    if os.environ.get(OWN_MOUNTS):
        return
    os.environ[OWN_MOUNTS] = "1"
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, "-B",
                          *sys.argv])


if __name__ == "__main__":
    with_own_mounts()
    e2e.main(refused_then_accepted, limit_s=400)
