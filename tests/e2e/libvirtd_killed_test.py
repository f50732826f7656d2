#!/usr/bin/env python3
"""A host's libvirtd dies or is missing: the agent stays up, says so, and recovers by itself.

One thing it cannot mend. libvirt writes down a new domain before it starts QEMU. If it is
killed in between, libvirt 9.0 lists that domain as "paused (starting up)" for ever, without
a process, and refuses to destroy it ("cannot acquire state change lock"), also after more
restarts. The run waits, since nothing may start elsewhere what a host says it has. A person
removes libvirt's note of the domain while libvirtd is stopped, and so does this test.
"""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))
import e2e  # noqa: E402
import verdict  # noqa: E402
import vmshosts  # noqa: E402
from quickstart_cluster import QuickstartCluster  # noqa: E402

import processes  # noqa: E402  (config/demo)

VMS = e2e.sized(80, 24)
DONE_S = 240 * e2e.FACTOR
STATE_S = 60.0 * e2e.FACTOR


STALLED_S = 20.0 * e2e.FACTOR  # without progress, until somebody looks into libvirt


def finish(cluster, client):
    """Waits for the client, and mends what libvirt cannot."""
    deadline = time.monotonic() + DONE_S
    running, since = -1, time.monotonic()
    while not client.ended() and time.monotonic() < deadline:
        now = verdict.only_request(cluster)["running"]
        if now != running:
            running, since = now, time.monotonic()
        elif time.monotonic() - since > STALLED_S:
            for host in cluster.state.hosts:
                mend(host.libvirt)
            since = time.monotonic()
        try:
            client.process.wait(0.2)
        except subprocess.TimeoutExpired:
            pass
    client.wait(1)


def mend(libvirt):
    """Makes a libvirtd forget the domains that it only began to start."""
    lost = [name for name in libvirt.virsh("list", "--name").split()
            if "starting up" in libvirt.virsh("domstate", "--reason", name)
            and not any(f"guest={name}," in word for pid in libvirt.qemu_pids()
                        for word in processes.arguments(pid))]
    if not lost:
        return
    print(f"{libvirt.name}: libvirt lists {lost}, which it never started: mended", flush=True)
    vmshosts.kill(libvirt.daemon_pid())
    for name in lost:
        os.unlink(os.path.join(libvirt.private, "run", "qemu", f"{name}.xml"))
    libvirt.start()


def killed_while_domains_are_created(rng):
    with QuickstartCluster(vms=0) as cluster:
        guests = cluster.define(cluster.guests(VMS))
        client = cluster.client("run", "--all", "--wait", "--timeout", f"{DONE_S}s")
        cluster.wait_domains(rng.randint(VMS // 10, VMS * 6 // 10), client)
        name = rng.choice(["h1", "h2"])
        agent = cluster.host(name).pids()
        domains = len(cluster.domains(name))
        cluster.kill_libvirtd(name)
        print(f"libvirtd of {name} was killed with about {domains} domains up", flush=True)
        row = cluster.wait_host_state(name, "not_ready", STATE_S)
        assert "libvirt" in row["state_reason"], f"no reason that names libvirt: {row}"
        cluster.restart_libvirtd(name)
        cluster.wait_host_state(name, "ready", STATE_S)
        finish(cluster, client)
        assert cluster.host(name).pids() == agent, f"the agent of {name} is another one"
        verdict.assert_all_succeeded(cluster, guests)


def killed_and_back_at_once(rng):
    """The engine may not even hear of it."""
    with QuickstartCluster(vms=0) as cluster:
        guests = cluster.define(cluster.guests(e2e.sized(60, 20)))
        client = cluster.client("run", "--all", "--wait", "--timeout", f"{DONE_S}s")
        cluster.wait_domains(rng.randint(3, len(guests) // 2), client)
        for name in ("h1", "h2"):
            cluster.kill_libvirtd(name)
            cluster.restart_libvirtd(name)
        finish(cluster, client)
        verdict.assert_all_succeeded(cluster, guests)


def missing_when_the_agent_starts(_rng):
    with QuickstartCluster(vms=0) as cluster:
        cluster.kill_agent("h1")
        cluster.kill_libvirtd("h1")
        cluster.start_agent_alone("h1")
        cluster.wait_host_state("h1", "not_ready", STATE_S)
        guests = cluster.define(cluster.guests(6))
        agent = cluster.host("h1").pids()
        # The other host works meanwhile.
        cluster.vmsctl("run", *[guest.name for guest in guests[:3]], "--wait", "--timeout",
                       f"{DONE_S}s", timeout_s=DONE_S)
        assert all(cluster.where(guest.vm_id) == ["h2"] for guest in guests[:3])
        cluster.restart_libvirtd("h1")
        cluster.wait_host_state("h1", "ready", STATE_S)
        assert cluster.host("h1").pids() == agent, "the agent of h1 is another one"
        cluster.vmsctl("run", *[guest.name for guest in guests[3:]], "--host", "h1", "--wait",
                       "--timeout", f"{DONE_S}s", timeout_s=DONE_S)
        assert all(cluster.where(guest.vm_id) == ["h1"] for guest in guests[3:])
        verdict.assert_each_runs_once(cluster, guests)


if __name__ == "__main__":
    e2e.main(killed_while_domains_are_created, killed_and_back_at_once,
             missing_when_the_agent_starts, limit_s=700)
