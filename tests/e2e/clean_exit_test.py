#!/usr/bin/env python3
"""SIGTERM to a daemon in the middle of a bulk start: it ends soon, with 0, and VMs live on."""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))
import e2e  # noqa: E402
import verdict  # noqa: E402
import vmshosts  # noqa: E402
from quickstart_cluster import QuickstartCluster  # noqa: E402

import processes  # noqa: E402  (config/demo)

VMS = e2e.sized(60, 20)
DONE_S = 240 * e2e.FACTOR
EXIT_S = 5.0 * e2e.FACTOR  # what both daemons promise


def terminate(cluster, *pids):
    """Asks the processes to end, all at once, and checks how they did."""
    processes.send(pids, signal.SIGTERM)
    late = processes.wait_gone(pids, EXIT_S)
    assert not late, f"processes {late} have not ended {EXIT_S:.0f} s after SIGTERM"

    def statuses():
        found = {pid: status for _name, pid, status in cluster.endings() if pid in pids}
        return found if len(found) == len(pids) else None

    got = vmshosts.wait_until(statuses, f"the exit statuses of {pids}")
    assert set(got.values()) == {0}, f"not a clean exit: {got}"


def start_and_wait(cluster, rng):
    """A bulk start on its way: returns the guests and the waiting client."""
    guests = cluster.define(cluster.guests(VMS))
    client = cluster.client("run", "--all", "--wait", "--timeout", f"{DONE_S}s")
    cluster.wait_domains(rng.randint(2, VMS * 6 // 10), client)
    return guests, client


def assert_all_live(before):
    dead = [pid for pid in before if not processes.is_alive(pid)]
    assert not dead, f"{len(dead)} of {len(before)} QEMUs ended with a daemon"


def qemu_pids(cluster):
    return [pid for host in cluster.state.hosts for pid in host.libvirt.qemu_pids()]


def the_engine(rng):
    with QuickstartCluster(vms=0) as cluster:
        guests, client = start_and_wait(cluster, rng)
        terminate(cluster, *cluster.state.engine_pids())
        cluster.restart_engine()
        client.wait(DONE_S)
        verdict.assert_all_succeeded(cluster, guests)


def an_agent(rng):
    with QuickstartCluster(vms=0) as cluster:
        guests, client = start_and_wait(cluster, rng)
        name = rng.choice(["h1", "h2"])
        terminate(cluster, *cluster.host(name).pids())
        cluster.restart_agent(name)
        client.wait(DONE_S)
        verdict.assert_all_succeeded(cluster, guests)


def everything(rng):
    """And with all VMs up: not one of them notices."""
    with QuickstartCluster(vms=0) as cluster:
        guests, client = start_and_wait(cluster, rng)
        for again in (False, True):
            pids = cluster.state.engine_pids() + [
                pid for host in cluster.state.hosts for pid in host.pids()]
            assert len(pids) == 3, pids
            up = qemu_pids(cluster) if again else []
            terminate(cluster, *pids)
            assert_all_live(up)
            cluster.restart_engine()
            for name in ("h1", "h2"):
                cluster.restart_agent(name)
            client.wait(DONE_S)
            verdict.assert_all_succeeded(cluster, guests)


if __name__ == "__main__":
    e2e.main(the_engine, an_agent, everything, limit_s=700)
