#!/usr/bin/env python3
"""The main job by one command, `quickstart`: what it starts, prints and leaves behind."""

import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))
import e2e  # noqa: E402
import quickstart_cluster  # noqa: E402
import verdict  # noqa: E402
from quickstart_cluster import QuickstartCluster  # noqa: E402

import guests as demo_guests  # noqa: E402  (config/demo)
import processes  # noqa: E402

VMS = e2e.sized(24, 12)
LIMIT_S = 240 * e2e.FACTOR


def quickstart(*options):
    """Returns (exit status, the JSON object, what was said); checks that nothing is left."""
    with tempfile.TemporaryDirectory(prefix="vms-e2e-") as parent:
        folder = os.path.join(parent, "state")
        words = [quickstart_cluster.QUICKSTART, "--keep", folder, "--once", "--json", *options]
        result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                timeout=LIMIT_S, check=False)
        # For the case of a failure; not shown otherwise.
        said = result.stderr + "".join(
            f"---- {name}\n{quickstart_cluster.read(os.path.join(folder, name))}"
            for name in ("engine/engine.log", "hosts/h1/agent.log", "hosts/h2/agent.log"))
        left = [pid for pid in processes.each_pid()
                if any(folder in word for word in processes.arguments(pid))]
        assert not left, f"still running: {[processes.arguments(pid) for pid in left]}"
        lines = result.stdout.splitlines()
        assert len(lines) == 1, f"more than one JSON object on stdout: {result.stdout}\n{said}"
        return result.returncode, json.loads(lines[0]), said


def all_run_and_nothing_is_left(_rng):
    status, figures, said = quickstart("--vms", str(VMS), "--hosts", "2")
    assert status == 0, said
    wanted = {"vms": VMS, "running": VMS, "failed": 0, "hosts": 2, "history_rows": VMS}
    got = {key: figures.get(key) for key in wanted}
    assert got == wanted, f"{figures}\n{said}"
    assert 1 <= figures["batches"] <= VMS / 5, f"not bulk: {figures}"
    assert 0 < figures["first_running_ms"] <= figures["elapsed_ms"], figures
    assert f"witness: {VMS} of {VMS} guests" in said, said


def libvirt_shows_what_it_says(_rng):
    """--detach leaves it up, so that the hosts can be asked."""
    with QuickstartCluster(vms=VMS) as cluster:
        vms = cluster.rows("vm", "list")
        assert len(vms) == VMS, vms
        serial = cluster.state.serial_folder
        guests = [demo_guests.Guest(row["vm_name"], None, None,
                                    os.path.join(serial, row["vm_name"] + ".log"), row["vm_id"])
                  for row in vms]
        verdict.assert_all_succeeded(cluster, guests)
        hosts = {row["host"]: row["running"] for row in cluster.rows("host", "list")}
        for name, running in hosts.items():
            assert running == len(cluster.domains(name)), f"{name} runs {running}?"
        assert min(hosts.values()) > 0, f"all on one host: {hosts}"


def a_vm_that_cannot_start(_rng):
    status, figures, said = quickstart("--vms", "4", "--with-failure")
    assert status == 1, f"exit status {status}\n{said}"
    assert (figures["vms"], figures["running"], figures["failed"]) == (5, 4, 1), figures
    failures = said.partition("---- engine/engine.log")[0].split("broken on h")[1:]
    assert failures, f"nothing says why 'broken' failed:\n{said}"
    assert all("no-such-firmware.rom" in text for text in failures), failures


def no_vms(_rng):
    status, figures, said = quickstart("--vms", "0")
    assert status == 0, said
    assert figures["vms"] == figures["running"] == figures["history_rows"] == 0, figures


if __name__ == "__main__":
    e2e.main(all_run_and_nothing_is_left, libvirt_shows_what_it_says, a_vm_that_cannot_start,
             no_vms, limit_s=600)
