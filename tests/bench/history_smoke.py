#!/usr/bin/env python3
"""A small run of `vms-bench history`: every figure is there and about the rows that were asked for."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

BENCH = os.path.join(os.environ.get("VMS_BIN_DIR", "build/dev/bin"), "vms-bench")
KEYS = """rows hosts days fill_s insert_rows_per_s insert_all_rows_per_s database_bytes bytes_per_row
    pages page_p50_ms page_p99_ms page_cpu_ms stats_host_day_cpu_ms stats_host_day_max_ms
    stats_host_day_p50_ms stats_host_day_p99_ms stats_host_day_rows
    commit_alone_p50_ms commit_alone_p99_ms commit_query_p50_ratio commit_query_p99_ratio
    commit_export_p50_ratio commit_export_p99_ratio commit_prune_p50_ratio commit_prune_p99_ratio
    exported_rows pruned_rows insert_last_tenth_rows_per_s insert_cpu_us_per_row
    prune_slice_p50_ms prune_slice_p99_ms load export_csv_rows export_ndjson_rows
    export_csv_bytes export_ndjson_bytes export_csv_rows_per_s export_ndjson_rows_per_s
    export_csv_engine_mib_before export_csv_engine_mib export_csv_client_mib
    export_ndjson_engine_mib_before export_ndjson_engine_mib export_ndjson_client_mib""".split()


def bench(*arguments):
    return subprocess.run([BENCH, "history", *arguments], capture_output=True, text=True,
                          timeout=100, check=False)


class History(unittest.TestCase):
    def test_every_figure(self):
        done = bench("--rows", "2000", "--hosts", "4", "--vms", "100", "--pages", "20", "--stats", "5",
                     "--per-host-day", "500", "--export-rows", "1500", "--rounds", "1",
                     "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        figures = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual([key for key in KEYS if key not in figures], [])
        self.assertEqual((figures["rows"], figures["hosts"], figures["pages"]), (2000, 4, 20))
        self.assertAlmostEqual(figures["days"], 1, places=2)
        self.assertAlmostEqual(figures["stats_host_day_rows"], 500, delta=150)
        self.assertEqual((figures["export_csv_rows"], figures["export_ndjson_rows"]), (1500, 1500))
        for key in ("exported_rows", "pruned_rows", "bytes_per_row", "page_p50_ms", "export_csv_bytes",
                    "export_csv_client_mib", "export_ndjson_engine_mib"):
            self.assertGreater(figures[key], 0, key)

    def test_a_kept_history_is_measured_again(self):
        small = ("--pages", "4", "--stats", "2", "--rounds", "1", "--export-rows", "500", "--json")
        with tempfile.TemporaryDirectory() as folder:
            kept = os.path.join(folder, "kept")
            done = bench("--use-dir", kept, *small)
            self.assertEqual(done.returncode, 1, "nothing was kept there")
            self.assertIn("--keep-dir", done.stderr)
            done = bench("--keep-dir", kept, "--rows", "1000", "--hosts", "2", "--vms", "50",
                         "--per-host-day", "500", *small)
            self.assertEqual(done.returncode, 0, done.stderr)
            for _ in range(2):
                done = bench("--use-dir", kept, *small)
                self.assertEqual(done.returncode, 0, done.stderr)
                figures = json.loads(done.stdout.splitlines()[-1])
                self.assertNotIn("fill_s", figures)
                self.assertEqual((figures["rows"], figures["hosts"], figures["pages"]), (1000, 2, 4))
                self.assertGreater(figures["stats_host_day_rows"], 100, "retention took some")

    def test_bad_options(self):
        for option, value in (("--rows", "1"), ("--hosts", "0"), ("--pages", "many")):
            done = bench(option, value)
            self.assertEqual(done.returncode, 2, option)
            self.assertIn(option, done.stderr)


if __name__ == "__main__":
    if not os.path.exists(BENCH):
        print(f"{BENCH} is missing: build vms-bench first")
        sys.exit(1)
    unittest.main()
