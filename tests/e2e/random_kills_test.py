#!/usr/bin/env python3
"""Anything dies or stands still at any moment of bulk starts, cancels and stops.

SIGKILL and SIGSTOP hit the engine, the agents and the libvirt daemons at moments drawn from the
seed; some pauses are longer than the engine waits for a host. Afterwards libvirt is asked what
runs, the guests how often they have executed, and the agents' journals what they had claimed.

One fault is left out: a libvirtd that stands still until libvirt's client gives it up. The client
library of libvirt before 10.4 then crashes its own process, if several threads use a connection
(CVE-2024-4418). The agent dies, and a restart recovers, but nothing restarts it here.
"""

import collections
import os
import signal
import sqlite3
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))
import e2e  # noqa: E402
import verdict  # noqa: E402
import vmshosts  # noqa: E402
from libvirtd_killed_test import mend  # noqa: E402
from quickstart_cluster import QuickstartCluster  # noqa: E402

import processes  # noqa: E402  (config/demo)

VMS = e2e.sized(40, 12)
ROUNDS = e2e.sized(4, 2)
FAULTS = e2e.sized(4, 2)  # of a round
WAIT_S = 120.0 * e2e.FACTOR
STALLED_S = 20.0 * e2e.FACTOR
LONG_PAUSE_S = 12.0  # the engine gives up on a silent connection after 10 s
FINAL = {"dropped", "refused", "failed", "ended"}


class Chaos:
    """Hits one process after the other; everything runs again after mend_all()."""

    def __init__(self, cluster, rng):
        self.cluster = cluster
        self.rng = rng

    def pids(self, what):
        if what == "engine":
            return self.cluster.state.engine_pids()
        kind, host = what.split()
        if kind == "agent":
            return self.cluster.host(host).pids()
        pid = self.cluster.host(host).libvirt.daemon_pid()
        return [pid] if pid else []

    def restart(self, what):
        if what == "engine":
            self.cluster.state.start_engine()
        elif what.startswith("agent"):
            self.cluster.restart_agent(what.split()[1])
        else:
            self.cluster.restart_libvirtd(what.split()[1])

    def hit(self):
        """One fault, from its beginning to its end."""
        what = self.rng.choice(["engine", "agent h1", "agent h2", "libvirtd h1", "libvirtd h2"])
        how = self.rng.choice(["kill", "kill", "pause", "pause", "long pause"])
        if how == "long pause" and what.startswith("libvirtd"):
            how = "pause"
        away = {"kill": self.rng.uniform(0, 1.5), "pause": self.rng.uniform(0.1, 3.0),
                "long pause": LONG_PAUSE_S}[how]
        print(f"   {how} of {what}, back after {away:.1f} s", flush=True)
        pids = self.pids(what)
        if how == "kill":
            for pid in pids:
                vmshosts.kill(pid)
            time.sleep(away)
            self.restart(what)
            return
        processes.send(pids, signal.SIGSTOP)
        try:
            time.sleep(away)
        finally:
            processes.send(pids, signal.SIGCONT)


def some(rng, guests):
    return rng.sample(guests, rng.randint(max(1, len(guests) // 4), len(guests)))


def ask(cluster, *words):
    """Asks an engine that may be away or dead: once it answers, the same again."""
    result = []

    def answered():
        result[:] = [cluster.vmsctl(*words, check=False)]
        return result[0].returncode != 5

    vmshosts.wait_until(answered, f"an answer to {words[0]}", WAIT_S)
    return result[0]


def stop(cluster, guests, stopping):
    """Notes in `stopping` which epoch of whom ends by it, for lists show a guest as running until
    it has."""
    names = {guest.name for guest in guests}
    running = {row["vm_name"]: row["epoch"] for row in cluster.rows("vm", "list")
               if row["vm_name"] in names and row["state"] in ("running", "ready")}
    ask(cluster, "stop", *names, "--force")
    stopping.update(running)


def one_round(cluster, rng, guests, number, stopping):
    chaos = Chaos(cluster, rng)
    ask(cluster, "run", *[guest.name for guest in some(rng, guests)], "--key", f"run-{number}")
    for fault in range(FAULTS):
        time.sleep(rng.uniform(0, 1.0))
        chaos.hit()
        doing = rng.choice(["run", "run", "run", "stop", "cancel"])
        print(f"   {doing}", flush=True)
        if doing == "run":
            ask(cluster, "run", *[guest.name for guest in some(rng, guests)], "--key",
                f"run-{number}-{fault}")
        elif doing == "stop":
            stop(cluster, some(rng, guests), stopping)
        elif doing == "cancel":
            active = [row for row in cluster.rows("request", "list") if not row["finished_at"]]
            if active:
                ask(cluster, "request", "cancel", rng.choice(active)["request_id"])
        assert_nothing_twice(cluster, guests)


def assert_nothing_twice(cluster, guests):
    """Asks the kernel, because libvirt may be away."""
    for guest in guests:
        found = cluster.where(guest.vm_id)
        assert len(found) <= 1, f"{guest.name} runs on {found}"


def settle(cluster, stopping):
    """Until every request is finished and nothing is under way; mends what libvirt cannot."""
    last, since = None, time.monotonic()
    deadline = time.monotonic() + WAIT_S
    while True:
        requests = cluster.rows("request", "list")
        vms = cluster.rows("vm", "list")
        under_way = sorted((row["vm_name"], row["state"]) for row in vms
                           if row["state"] not in ("running", "ready", "stopped")
                           or row["state"] != "stopped"
                           and stopping.get(row["vm_name"]) == row["epoch"])
        open_requests = [row for row in requests if not row["finished_at"]]
        staged = sum(row["staged"] for row in cluster.rows("host", "list"))
        if not under_way and not open_requests and not staged:
            return
        now = (under_way, len(open_requests), staged)
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > STALLED_S:
            for host in cluster.state.hosts:
                mend(host.libvirt)
            since = time.monotonic()
        assert time.monotonic() < deadline, \
            f"not settled: {under_way}, {[row['request_id'] for row in open_requests]}, {staged}"
        time.sleep(0.2)


def verdict_on(cluster, guests):
    """libvirt, the guests and the history agree."""
    for row in cluster.rows("request", "list"):
        verdict.assert_counts_add_up(row)
        assert row["finished_at"], f"without an outcome: {row}"
    by_vm = collections.defaultdict(list)
    for row in verdict.history(cluster):
        by_vm[row["vm_id"]].append(row)
    found = verdict.placements(cluster)
    vms = {row["vm_id"]: row for row in cluster.rows("vm", "list")}
    for guest in guests:
        hosts = found.get(guest.vm_id, [])
        assert len(hosts) <= 1, f"{guest.name} runs on {hosts}"
        rows = sorted(by_vm[guest.vm_id], key=lambda row: row["epoch"])
        assert [row["epoch"] for row in rows] == list(range(1, vms[guest.vm_id]["epoch"] + 1)), \
            f"{guest.name}: epochs {[row['epoch'] for row in rows]}"
        open_rows = [row for row in rows if row["state"] not in FINAL]
        if hosts:
            assert [row["host"] for row in open_rows] == hosts, f"{guest.name}: {hosts}, {rows}"
            verdict.wait_executed([guest])
        else:
            assert not open_rows, f"{guest.name} runs nowhere, the history says {open_rows}"
        executed = [row for row in rows if row["running_at"]]
        # A guest that was stopped before its first instruction has not printed anything.
        assert guest.starts() <= len(executed), \
            f"{guest.name} has executed {guest.starts()} times, the history knows {rows}"
    return by_vm


def assert_journals_agree(cluster, by_vm):
    """The agents have ended: their journals tell what they had claimed."""
    attempts = {row["attempt_id"]: row for rows in by_vm.values() for row in rows}
    compared = 0
    for host in cluster.state.hosts:
        path = os.path.join(host.folder, "state", "journal.db")
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as journal:
            claims = journal.execute("SELECT attempt, vm, epoch, phase, host FROM claims").fetchall()
            floors = dict(journal.execute("SELECT vm, epoch FROM epoch_floors").fetchall())
        for attempt, vm, epoch, phase, name in claims:
            row = attempts.get(str(uuid.UUID(bytes=attempt)))
            assert row, f"{host.name} has claimed an attempt that the history does not know"
            assert (row["vm_id"], row["epoch"], row["host"]) == \
                (str(uuid.UUID(bytes=vm)), epoch, name), f"{row}, journal of {host.name}: {epoch}"
            over = row["state"] in FINAL
            assert over == (phase == "gone"), f"{row['state']} in the history, {phase} on {host.name}"
            compared += 1
        for rows in by_vm.values():
            for row in rows:
                if row["host"] == host.name and row["accepted_at"]:
                    floor = floors.get(uuid.UUID(row["vm_id"]).bytes, 0)
                    assert floor >= row["epoch"], f"floor {floor} on {host.name}: {row}"
    print(f"{compared} claims in the journals, {len(attempts)} attempts in the history", flush=True)


def everything_dies(rng):
    with QuickstartCluster(vms=0) as cluster:
        guests = cluster.define(cluster.guests(VMS))
        stopping = {}
        for number in range(ROUNDS):
            print(f"round {number + 1}", flush=True)
            one_round(cluster, rng, guests, number, stopping)
        settle(cluster, stopping)
        by_vm = verdict_on(cluster, guests)
        running = sum(len(hosts) for hosts in verdict.placements(cluster).values())
        print(f"{running} of {VMS} VMs run", flush=True)
        pids = [pid for host in cluster.state.hosts for pid in host.pids()]
        processes.send(pids, signal.SIGTERM)
        vmshosts.wait_until(lambda: not any(host.pids() for host in cluster.state.hosts),
                            "the agents' end", WAIT_S)
        assert_journals_agree(cluster, by_vm)
        for host in cluster.state.hosts:
            cluster.start_agent_alone(host.name)


if __name__ == "__main__":
    e2e.main(everything_dies, limit_s=400)
