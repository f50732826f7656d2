#!/usr/bin/env python3
"""Cancel amid a bulk start, stop of everything: what is said to have stopped is gone."""

import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))
import e2e  # noqa: E402
import verdict  # noqa: E402
import vmshosts  # noqa: E402
from quickstart_cluster import QuickstartCluster  # noqa: E402

import guests as demo_guests  # noqa: E402  (config/demo)
import processes  # noqa: E402

VMS = e2e.sized(80, 32)
WAIT_S = 240.0 * e2e.FACTOR
PAYLOAD = os.path.join(vmshosts.REPOSITORY, "build", "linux-payload")


def cancelled_in_the_middle(rng):
    with QuickstartCluster(vms=0) as cluster:
        guests = cluster.define(cluster.guests(VMS))
        client = cluster.client("run", "--all", "--wait", "--timeout", f"{int(WAIT_S)}s")
        cluster.wait_domains(1, client)
        request_id = verdict.only_request(cluster)["request_id"]
        # One host stands still in the middle of its share, so that the cancel cannot come too late.
        agent = cluster.host("h2").pids()
        processes.send(agent, signal.SIGSTOP)
        try:
            cluster.wait_domains(rng.randint(2, VMS // 4), client)
            cluster.vmsctl("request", "cancel", request_id)
        finally:
            processes.send(agent, signal.SIGCONT)
        client.process.wait(WAIT_S)
        request = verdict.assert_counts_add_up(verdict.only_request(cluster))
        assert request["finished_at"] and request["running"] + request["cancelled"] == VMS, request
        assert client.process.returncode == (0 if request["running"] == VMS else 1), request
        assert request["cancelled"] > 0, f"cancelled too late to show anything: {request}"

        running = {row["vm_id"]: row for row in cluster.rows("vm", "list")
                   if row["state"] == "running"}
        assert len(running) == request["running"], f"{len(running)} run, {request}"
        up = [guest for guest in guests if guest.vm_id in running]
        verdict.assert_each_runs_once(cluster, up)
        for guest in guests:
            if guest.vm_id not in running:
                assert guest.starts() == 0, f"{guest.name} was cancelled and has executed"
        for row in verdict.history(cluster):
            if row["vm_id"] not in running:
                assert row["outcome"] == "cancelled" and row["ended_at"], f"not cancelled: {row}"
        # The hosts tell of it with their next heartbeat.
        vmshosts.wait_until(
            lambda: all(host["staged"] == 0 for host in cluster.rows("host", "list")),
            "the end of everything half-built", WAIT_S)
        for host in cluster.rows("host", "list"):
            assert host["failures_recent"] == 0, f"a cancel counts as a failure: {host}"
        print(f"{request['running']} up, {request['cancelled']} cancelled", flush=True)

        # What was cancelled can be started again.
        cluster.vmsctl("run", "--all", "--wait", "--timeout", f"{int(WAIT_S)}s",
                       timeout_s=WAIT_S)
        verdict.assert_each_runs_once(cluster, guests)


def stopped_by_force(_rng):
    with QuickstartCluster(vms=0) as cluster:
        guests = cluster.define(cluster.guests(e2e.sized(40, 16)))
        cluster.vmsctl("run", "--all", "--wait", "--timeout", f"{int(WAIT_S)}s",
                       timeout_s=WAIT_S)
        cluster.vmsctl("stop", "--all", "--force", "--wait", "--timeout", f"{int(WAIT_S)}s",
                       timeout_s=WAIT_S)
        assert cluster.count_domains() == 0, verdict.placements(cluster)
        assert not any(cluster.where(guest.vm_id) for guest in guests), "a QEMU is left"
        rows = verdict.history(cluster)
        assert len(rows) == len(guests), f"{len(rows)} attempts"
        for row in rows:
            assert row["outcome"] == "succeeded" and row["error_class"] == "intended_stop", row
            assert row["stopped_at"] and row["stop_reason"], row
        # An intended stop is no failure: nothing comes back by itself, until it is asked for.
        assert {row["state"] for row in cluster.rows("vm", "list")} == {"stopped"}
        cluster.vmsctl("run", guests[0].name, "--wait", "--timeout", f"{int(WAIT_S)}s")
        verdict.wait_executed(guests[:1], 2)
        assert cluster.count_domains() == 1
        assert all(guest.starts() == 1 for guest in guests[1:]), "more than one came back"


def stopped_gracefully(_rng):
    """Only a guest with an operating system hears a graceful stop."""
    made = subprocess.run([os.path.join(vmshosts.DEMO, "linux-payload.sh"), PAYLOAD],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        print(f"left out: no Linux guest can be made: {made.stderr.strip()}", flush=True)
        return
    payload = demo_guests.Payload(kernel=os.path.join(PAYLOAD, "vmlinuz"),
                                  initrd=os.path.join(PAYLOAD, "initrd.gz"))
    with QuickstartCluster(vms=0) as cluster:
        log = os.path.join(cluster.state.serial_folder, "linux.log")
        guest = demo_guests.Guest("linux", payload, "qemu", log)
        cluster.define([guest])
        cluster.vmsctl("run", "linux", "--wait", "--timeout", f"{int(WAIT_S)}s")
        verdict.wait_executed([guest], timeout_s=WAIT_S)
        cluster.vmsctl("stop", "linux", "--wait", "--timeout", f"{int(WAIT_S)}s",
                       timeout_s=WAIT_S)
        row = verdict.history(cluster)[0]
        assert row["error_class"] == "intended_stop" and row["stop_reason"] == "shutdown", row
        assert cluster.count_domains() == 0


if __name__ == "__main__":
    e2e.main(cancelled_in_the_middle, stopped_by_force, stopped_gracefully, limit_s=700)
