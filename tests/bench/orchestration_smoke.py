#!/usr/bin/env python3
"""A small run of `vms-bench orchestration`: every figure is there and every VM started."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
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


def engine_of(bench_pid):
    """The pid of the engine that a benchmark has started and that serves; None: not yet."""
    try:
        with open(f"/proc/{bench_pid}/task/{bench_pid}/children", encoding="ascii") as file:
            children = file.read().split()
        for child in children:
            with open(f"/proc/{child}/cmdline", encoding="utf-8") as file:
                words = file.read().split("\0")
            if "--commit-delay" in words:
                return int(child)
    except FileNotFoundError:  # It has just ended.
        pass
    return None


def text_of(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


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

    def test_an_engine_that_dies_ends_it(self):
        # Builds take so long that the engine dies amid them, and steps may take longer than the test.
        with tempfile.TemporaryDirectory() as folder:
            keep = os.path.join(folder, "kept")
            command = [BENCH, "orchestration", "--hosts", "1", "--vms", "20", "--build-ms", "60000",
                       "--timeout", "3600", "--keep-dir", keep]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  text=True) as process:
                try:
                    end = time.monotonic() + 60
                    while ": connected" not in text_of(os.path.join(keep, "engine.log")):
                        self.assertIsNone(process.poll(), "it ended by itself")
                        self.assertLess(time.monotonic(), end, "no host has connected")
                        time.sleep(0.01)
                    engine = engine_of(process.pid)
                    self.assertIsNotNone(engine)
                    os.kill(engine, signal.SIGKILL)
                    said = process.communicate(timeout=60)[1]
                finally:
                    process.kill()
            self.assertEqual(process.returncode, 1, said)
            self.assertIn("the engine has ended with status 137; its last words: ", said)

    def test_output_that_nobody_can_read(self):
        command = [BENCH, "orchestration", "--hosts", "1", "--vms", "2", "--alone", "1", "--json"]
        unread, closed = os.pipe()
        os.close(unread)
        with open("/dev/full", "w", encoding="ascii") as full, os.fdopen(closed, "w") as pipe:
            for output in (full, pipe):
                done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True,
                                      timeout=200, check=False)
                self.assertEqual(done.returncode, 1, output.name)
                self.assertEqual(done.stderr, "vms-bench: its output cannot be written; check "
                                              "where it goes\n")

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
