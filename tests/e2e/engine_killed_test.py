#!/usr/bin/env python3
"""The engine dies in the middle of a bulk start: nothing is lost and nothing starts twice."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))
import e2e  # noqa: E402
import verdict  # noqa: E402
from quickstart_cluster import QuickstartCluster  # noqa: E402

VMS = e2e.sized(100, 30)
DONE_S = 240 * e2e.FACTOR
UNREACHABLE = 5


def killed_while_domains_are_created(rng):
    with QuickstartCluster(vms=0) as cluster:
        guests = cluster.define(cluster.guests(VMS))
        client = cluster.client("run", "--all", "--wait", "--timeout", f"{DONE_S}s")
        domains = rng.randint(VMS // 10, VMS * 6 // 10)
        cluster.wait_domains(domains, client)
        cluster.kill_engine()
        print(f"the engine was killed with {cluster.count_domains()} domains up", flush=True)
        cluster.restart_engine()
        client.wait(DONE_S)
        verdict.assert_all_succeeded(cluster, guests)


def killed_while_accepting(rng):
    """The client that did not hear whether it was accepted asks again with the same key."""
    with QuickstartCluster(vms=0) as cluster:
        guests = cluster.define(cluster.guests(e2e.sized(20, 10)))
        words = ("run", "--all", "--wait", "--timeout", f"{DONE_S}s", "--key", "once")
        client = cluster.client(*words)
        pause = rng.uniform(0, 0.1)
        try:
            client.process.wait(pause)
        except subprocess.TimeoutExpired:
            pass
        cluster.kill_engine()
        print(f"the engine was killed {pause * 1000:.0f} ms after the client's start", flush=True)
        cluster.restart_engine()
        client.process.wait(DONE_S)
        print(f"the client ended with {client.process.returncode}", flush=True)
        assert client.process.returncode in (0, UNREACHABLE), f"{client}: {client.output()}"
        cluster.vmsctl(*words, timeout_s=DONE_S)
        verdict.assert_all_succeeded(cluster, guests)


if __name__ == "__main__":
    e2e.main(killed_while_domains_are_created, killed_while_accepting, limit_s=500)
