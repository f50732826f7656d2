"""What must be true after a bulk start, whatever died meanwhile.

Three witnesses that know nothing of each other are asked: each host's libvirt (what runs
where), the guests' serial logs (how often each has executed), and the engine's history.
"""

import collections

import vmshosts

OPEN = {"placed", "sent", "staged", "building", "unknown"}
ENDED_BADLY = {"dropped", "refused", "failed", "ended"}


def placements(cluster):
    """VM id -> the hosts whose libvirt lists it as active."""
    found = collections.defaultdict(list)
    for host in cluster.state.hosts:
        for vm_id in cluster.domains(host.name):
            found[vm_id].append(host.name)
    return found


def assert_each_runs_once(cluster, guests, starts=1):
    """Every guest is active on exactly one host and has executed `starts` times in all."""
    wait_executed(guests, starts)
    found = placements(cluster)
    known = {guest.vm_id: guest.name for guest in guests}
    twice = {known.get(vm, vm): hosts for vm, hosts in found.items() if len(hosts) > 1}
    assert not twice, f"run on two hosts: {twice}"
    absent = [name for vm, name in known.items() if vm not in found]
    assert not absent, f"run nowhere: {absent}"
    strangers = set(found) - set(known)
    assert not strangers, f"domains that nobody defined: {strangers}"
    counts = {guest.name: guest.starts() for guest in guests}
    wrong = {name: count for name, count in counts.items() if count != starts}
    assert not wrong, f"executed not {starts} times: {wrong}"


def wait_executed(guests, starts=1, timeout_s=120.0):
    """Waits until every guest has printed its start line that often."""
    left = list(guests)

    def done():
        left[:] = [guest for guest in left if guest.starts() < starts]
        return not left

    try:
        vmshosts.wait_until(done, f"start number {starts} of all guests", timeout_s)
    except vmshosts.Timeout as error:
        names = ", ".join(guest.name for guest in left[:10])
        raise vmshosts.Timeout(f"{error}; silent: {names}") from None


def history(cluster, *words):
    """Attempts, newest first."""
    return cluster.rows("history", "--limit", "100000", *words)


def assert_history_complete(cluster, guests, request_id):
    """No attempt is missing or open, and each VM's newest is where it runs; returns the rows.

    Every attempt takes the VM's next epoch, so a gap would be a lost row.
    """
    rows = history(cluster)
    by_vm = collections.defaultdict(list)
    for row in rows:
        by_vm[row["vm_id"]].append(row)
    found = placements(cluster)
    epochs = {row["vm_id"]: row["epoch"] for row in cluster.rows("vm", "list")}
    for guest in guests:
        attempts = sorted(by_vm[guest.vm_id], key=lambda row: row["epoch"])
        assert attempts, f"{guest.name} has no attempt in the history"
        got = [row["epoch"] for row in attempts]
        assert got == list(range(1, epochs[guest.vm_id] + 1)), \
            f"{guest.name} is at epoch {epochs[guest.vm_id]}, the history has {got}"
        for row in attempts[:-1]:
            assert row["state"] in ENDED_BADLY and row["ended_at"], \
                f"an older attempt of {guest.name} is still open: {row}"
        last = attempts[-1]
        assert last["outcome"] == "succeeded" and last["state"] == "running", \
            f"{guest.name} runs, but its newest attempt says otherwise: {last}"
        assert last["running_at"] and last["request_id"] == request_id, f"wrong: {last}"
        assert found[guest.vm_id] == [last["host"]], \
            f"{guest.name} runs on {found[guest.vm_id]}, the history says {last['host']}"
    ids = [row["attempt_id"] for row in rows]
    assert len(ids) == len(set(ids)), "the history lists an attempt twice"
    return rows


def only_request(cluster):
    """The one request of this cluster."""
    requests = cluster.rows("request", "list")
    assert len(requests) == 1, f"{len(requests)} requests instead of one: {requests}"
    return requests[0]


def assert_counts_add_up(request):
    """The counts of a request partition its total."""
    parts = ("queued", "placed", "sent", "staged", "building", "running", "ready", "failed",
             "held", "unknown", "cancelled")
    total = sum(request[part] for part in parts)
    assert total == request["total"], f"the counts add up to {total}: {request}"
    return request


def assert_all_succeeded(cluster, guests):
    """The whole verdict on one bulk start of all guests; returns the attempts."""
    request = assert_counts_add_up(only_request(cluster))
    assert request["state"] == "succeeded", f"the request has not succeeded: {request}"
    assert request["running"] == request["total"] == len(guests), f"not all run: {request}"
    assert_each_runs_once(cluster, guests)
    rows = assert_history_complete(cluster, guests, request["request_id"])
    retried = len(rows) - len(guests)
    print(f"{len(guests)} VMs run once each; {len(rows)} attempts, {retried} of them retries; "
          f"{request['batches']} bulk messages", flush=True)
    return rows
