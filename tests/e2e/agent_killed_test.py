#!/usr/bin/env python3
"""An agent dies in the middle of a bulk start: what it was building is undone or adopted."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))
import e2e  # noqa: E402
import verdict  # noqa: E402
from quickstart_cluster import QuickstartCluster  # noqa: E402

VMS = e2e.sized(100, 30)
DONE_S = 240 * e2e.FACTOR


def killed_while_domains_are_created(rng):
    with QuickstartCluster(vms=0) as cluster:
        guests = cluster.define(cluster.guests(VMS))
        client = cluster.client("run", "--all", "--wait", "--timeout", f"{DONE_S}s")
        cluster.wait_domains(rng.randint(VMS // 10, VMS * 6 // 10), client)
        name = rng.choice(["h1", "h2"])
        cluster.kill_agent(name)
        print(f"the agent of {name} was killed with {cluster.count_domains()} domains up",
              flush=True)
        cluster.restart_agent(name)
        client.wait(DONE_S)
        verdict.assert_all_succeeded(cluster, guests)


def both_killed_twice(rng):
    """Also while one recovers from the first time."""
    with QuickstartCluster(vms=0) as cluster:
        guests = cluster.define(cluster.guests(e2e.sized(60, 20)))
        client = cluster.client("run", "--all", "--wait", "--timeout", f"{DONE_S}s")
        cluster.wait_domains(rng.randint(3, len(guests) // 3), client)
        for name in ("h1", "h2"):
            cluster.kill_agent(name)
        for name in ("h1", "h2"):
            cluster.start_agent_alone(name)
        vanished = rng.choice(["h1", "h2"])
        cluster.kill_agent(vanished)
        cluster.restart_agent(vanished)
        client.wait(DONE_S)
        verdict.assert_all_succeeded(cluster, guests)


if __name__ == "__main__":
    e2e.main(killed_while_domains_are_created, both_killed_twice, limit_s=500)
