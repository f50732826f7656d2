#!/usr/bin/env python3
"""A small run of `vms-bench orchestration`: every figure is there and every VM started."""

import json
import os
import subprocess
import sys
import unittest

BENCH = os.path.join(os.environ.get("VMS_BIN_DIR", "build/dev/bin"), "vms-bench")
KEYS = """hosts vms window ingest_per_s starts_per_s messages starts_per_message_bulk
    starts_per_message_single bytes_per_start starts_per_commit engine_fsyncs load
    accept_to_sent_p50_ms accept_to_sent_p99_ms lone_start_accept_to_sent_p99_ms
    accept_to_running_p50_ms accept_to_running_p99_ms engine_cpu_s engine_cpu_ms_per_start
    engine_peak_rss_mib journal_commits_per_start""".split()


def bench(*arguments):
    return subprocess.run([BENCH, "orchestration", *arguments], capture_output=True, text=True,
                          timeout=200, check=False)


class Orchestration(unittest.TestCase):
    def measure(self, *arguments):
        done = bench("--hosts", "2", "--vms", "20", "--alone", "3", "--json", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    def test_every_figure(self):
        figures = self.measure("--commit-delay", "2")
        self.assertEqual([key for key in KEYS if key not in figures], [])
        self.assertEqual((figures["hosts"], figures["vms"], figures["window"]), (2, 20, "adaptive"))
        self.assertEqual(figures["attempts"], 20)
        self.assertGreaterEqual(figures["messages"], 2)
        self.assertGreater(figures["engine_commits"], 0)
        # Each commit has a sync; when counting began, one may have been between its sync and its end.
        self.assertGreaterEqual(figures["engine_fsyncs"], figures["engine_commits"] - 1)
        for key in ("starts_per_s", "bytes_per_start", "engine_cpu_s", "engine_peak_rss_mib",
                    "journal_commits_per_start"):
            self.assertGreater(figures[key], 0, key)

    def test_without_a_window_every_start_is_a_message(self):
        figures = self.measure("--window", "off")
        self.assertEqual(figures["messages"], 20)
        self.assertEqual(figures["starts_per_message_bulk"], 1)

    def test_bad_options(self):
        for arguments in (["--hosts", "0"], ["--window", "fixed:x"], ["--vms", "many"], ["--nope"]):
            done = bench(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(arguments[-1] if arguments == ["--nope"] else arguments[0], done.stderr)


if __name__ == "__main__":
    if not os.path.exists(BENCH):
        print(f"{BENCH} is missing: build vms-bench first")
        sys.exit(1)
    unittest.main()
