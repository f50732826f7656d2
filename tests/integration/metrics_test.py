"""GET /metrics of a real engine: who may read it, that it moves, and what Prometheus' rules say."""

import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e", "lib"))
import exposition  # noqa: E402
import small_cluster  # noqa: E402

VMS = 6
MOVES = {  # what one bulk start of VMS VMs adds, at least
    "vmsrunner_requests_accepted_total": 1,
    'vmsrunner_runs_finished_total{outcome="succeeded"}': VMS,
    'vmsrunner_attempts{state="running"}': VMS,
    'vmsrunner_attempt_phase_seconds_count{phase="total"}': VMS,
    'vmsrunner_attempt_phase_seconds_count{phase="build"}': VMS,
    "vmsrunner_batch_items_sum": VMS,
    "vmsrunner_batch_size_bytes_count": 1,
    'vmsrunner_window_closes_total{reason="idle"}': 1,
    'vmsrunner_agent_frames_total{direction="sent",kind="bulk_create"}': 1,
    'vmsrunner_agent_frames_total{direction="received",kind="bulk_accepted"}': 1,
    'vmsrunner_agent_frame_bytes_total{direction="sent",kind="bulk_create"}': 500,
    "vmsrunner_turn_duration_seconds_count": 2,
    "vmsrunner_turn_changes_sum": 3 * VMS,
    "vmsrunner_store_commits_total": 2,
    "vmsrunner_store_rows_total": 3 * VMS,
    "vmsrunner_store_commit_duration_seconds_count": 2,
    "vmsrunner_store_commit_number": 2,
    'vmsrunner_http_requests_total{method="POST",route="/v1/requests",status="2xx"}': 1,
    "vmsrunner_http_sent_bytes_total": 1000,
    "vmsrunner_http_connections_accepted_total": 1,
}
IS = {  # what is so when everything is still
    'vmsrunner_hosts{state="ready"}': 1,
    'vmsrunner_host_ready{host="h1"}': 1,
    'vmsrunner_host_lane_width{host="h1"}': None,
    'vmsrunner_host_memory_bytes{host="h1"}': 8 << 30,
    "vmsrunner_sessions": 1,
    "vmsrunner_sessions_opened_total": 1,
    'vmsrunner_runs{state="queued"}': 0,
    "vmsrunner_oldest_waiting_seconds": 0,
    "vmsrunner_store_has_room": 1,
    "vmsrunner_engine_may_start": 1,
    "process_open_fds": None,
}


def values(page):
    found = {}
    for line in page.splitlines():
        if line and not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            found[series] = float(value)
    return found


def check_with_promtool(page):
    tool = shutil.which("promtool")
    if tool is None:
        print("promtool is not installed (package prometheus): its check is left out", flush=True)
        return
    result = subprocess.run([tool, "check", "metrics"], input=page, capture_output=True, text=True,
                            timeout=60, check=False)
    assert result.returncode == 0 and not result.stderr.strip(), result.stdout + result.stderr


def main():
    with small_cluster.SmallCluster() as cluster:
        assert cluster.get("/metrics", token="")[0] == 401
        viewer = cluster.vmsctl("token", "create", "--role", "viewer")
        match = re.search(r"vms_\S+", viewer)
        assert match, viewer
        status, before = cluster.get("/metrics", token=match.group())
        assert status == 200, before
        before = values(before)

        cluster.define(VMS)
        cluster.vmsctl("run", "--all", "--wait")
        page = cluster.get("/metrics")[1]
        after = values(page)
        for series, least in MOVES.items():
            moved = after.get(series, 0) - before.get(series, 0)
            assert moved >= least, f"{series} moved by {moved}, not by {least}"
        for series, wanted in IS.items():
            assert series in after, f"{series} is missing"
            assert wanted is None or after[series] == wanted, f"{series} is {after[series]}"
        exposition.check(page)
        check_with_promtool(page)
        print(f"{len(after)} series, {len(page)} bytes", flush=True)


main()
