#!/usr/bin/env python3
"""A backup of the engine's database, taken while it works, is put back: nothing starts twice.

What happened after the copy was taken is known to the hosts alone. Until a person has confirmed
them the engine starts nothing, whichever way it learns that its database is an old one.
"""

import os
import shutil
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))
import e2e  # noqa: E402
import verdict  # noqa: E402
import vmshosts  # noqa: E402
from quickstart_cluster import QuickstartCluster  # noqa: E402

VMS = e2e.sized(12, 6)
WAIT_S = 120 * e2e.FACTOR
STATE_S = 60.0 * e2e.FACTOR


def run(cluster, guests, key):
    cluster.vmsctl("run", *[guest.name for guest in guests], "--wait", "--timeout", f"{WAIT_S}s",
                   "--key", key, timeout_s=WAIT_S)


def backup(cluster, name):
    """Runs the documented command on the running engine; returns the copy's path."""
    copy = os.path.join(cluster.folder, name)
    made = subprocess.run([cluster.state.program("vmsrunnerd"), "--config",
                           cluster.state.engine_config, "--backup", copy],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    print(made.stdout.strip(), flush=True)
    assert copy in made.stdout and "checked" in made.stdout, made
    assert made.stderr == "", f"progress where nobody watches: {made.stderr}"
    return copy


def put_back(cluster, copy):
    """The documented steps: the engine is down, the copy replaces the database and its log."""
    state = os.path.join(cluster.state.engine_folder, "state")
    for suffix in ("-wal", "-shm"):
        path = os.path.join(state, "engine.db" + suffix)
        if os.path.exists(path):
            os.unlink(path)
    shutil.copyfile(copy, os.path.join(state, "engine.db"))


def forget_marks(cluster):
    """As on a new machine: only the hosts know that the database is an old one."""
    os.unlink(os.path.join(cluster.state.engine_folder, "state", "marks.json"))


def assert_waits_for_a_person(cluster, names):
    vmshosts.wait_until(lambda: cluster.vmsctl("host", "list", check=False).returncode == 0,
                        "an answer of the engine", STATE_S)
    for name in names:
        row = cluster.wait_host_state(name, "unconfirmed", STATE_S)
        assert "confirm" in row["state_reason"], row


def newest_request(cluster):
    request = cluster.rows("request", "list")[0]
    assert request["total"] == VMS, f"not the request for everything: {request}"
    return request


def life(cluster, rng, take_copy, put_it_back):
    """Some work, a copy, more work, and the copy in place of the database."""
    guests = cluster.define(cluster.guests(VMS))
    third = VMS // 3
    before, after, never = guests[:third], guests[third:2 * third], guests[2 * third:]
    run(cluster, before, "before")
    copy = take_copy(cluster)
    run(cluster, after, "after")
    stopped = rng.choice(before)
    cluster.vmsctl("stop", stopped.name, "--force", "--wait", "--timeout", f"{WAIT_S}s",
                   timeout_s=WAIT_S)
    still = [guest for guest in guests if guest in before + after and guest is not stopped]
    where = {guest.vm_id: cluster.where(guest.vm_id) for guest in still}
    starts = {guest.vm_id: guest.starts() for guest in guests}

    cluster.stop_engine(STATE_S)
    put_it_back(cluster, copy)
    assert_waits_for_a_person(cluster, ["h1", "h2"])

    # Asked for everything, the engine starts nothing, not even what was never started.
    cluster.vmsctl("run", "--all", "--key", "all")
    cluster.vmsctl("host", "confirm", "h1")
    row = cluster.host_row("h2")
    assert row["state"] == "unconfirmed", row
    assert {guest.vm_id: guest.starts() for guest in guests} == starts, "something was started"
    assert {guest.vm_id: cluster.where(guest.vm_id) for guest in still} == where

    cluster.vmsctl("host", "confirm", "h2")
    for name in ("h1", "h2"):
        cluster.wait_host_state(name, "ready", STATE_S)
    # What is not up starts now. What runs under a forgotten attempt waits for a person.
    def settled():
        request = newest_request(cluster)
        return request["held"] == len(after) and request["running"] == VMS - len(after)

    vmshosts.wait_until(settled, "the starts of all but the forgotten VMs", STATE_S)
    verdict.wait_executed(never)
    verdict.wait_executed([stopped], starts[stopped.vm_id] + 1)
    assert {guest.vm_id: cluster.where(guest.vm_id) for guest in still} == where, "a VM has moved"
    wrong = {guest.name: guest.starts() for guest in still + never if guest.starts() != 1}
    assert not wrong, f"executed not once: {wrong}"
    assert stopped.starts() == 2, f"{stopped.name} has executed {stopped.starts()} times"
    twice = {vm: hosts for vm, hosts in verdict.placements(cluster).items() if len(hosts) != 1}
    assert not twice, f"run on two hosts: {twice}"
    print(f"{len(never) + 1} started, {len(after)} wait for a person", flush=True)


def a_copy_put_back(rng):
    """By the manual: --backup, and --restored at the next start."""
    def put_it_back(cluster, copy):
        put_back(cluster, copy)
        cluster.start_engine_alone("--restored")

    with QuickstartCluster(vms=0) as cluster:
        life(cluster, rng, lambda one: backup(one, "copy.db"), put_it_back)


def a_copy_on_a_new_machine_without_a_word(rng):
    """Nobody says --restored and marks.json is lost: the copy itself says what it is."""
    def put_it_back(cluster, copy):
        put_back(cluster, copy)
        forget_marks(cluster)
        cluster.start_engine_alone()

    with QuickstartCluster(vms=0) as cluster:
        life(cluster, rng, lambda one: backup(one, "copy.db"), put_it_back)


def a_raw_copy_without_a_word(rng):
    """Not even the copy says so: the agents' higher marks stop the engine."""
    def take(cluster):
        source = os.path.join(cluster.state.engine_folder, "state", "engine.db")
        copy = os.path.join(cluster.folder, "raw.db")
        with sqlite3.connect(f"file:{source}?mode=ro", uri=True) as old, \
                sqlite3.connect(copy) as new:
            old.backup(new)
        return copy

    def put_it_back(cluster, copy):
        put_back(cluster, copy)
        forget_marks(cluster)
        cluster.start_engine_alone()

    with QuickstartCluster(vms=0) as cluster:
        life(cluster, rng, take, put_it_back)


if __name__ == "__main__":
    e2e.main(a_copy_put_back, a_copy_on_a_new_machine_without_a_word, a_raw_copy_without_a_word,
             limit_s=400)
