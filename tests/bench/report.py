#!/usr/bin/env python3
"""Measures how long commands should gather, and writes the table and the plot of
docs/performance.md.

    tests/bench/report.py                      # measure everything, then write both
    tests/bench/report.py --from FILE          # write both from figures measured before
    tests/bench/report.py --repeat 3           # the run with the median starts/s of each three

Each line of the figures' file is what `vms-bench orchestration --json` printed.
"""

import argparse
import json
import os
import subprocess
import sys

import window_plot

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
PAGE = os.path.join(ROOT, "docs", "performance.md")
PLOT = os.path.join(ROOT, "docs", "batching-window.svg")
BEGIN, END = "<!-- table: written by tests/bench/report.py -->", "<!-- end of table -->"
SIZES = [(10, 1000), (100, 10000)]
WINDOWS = ["adaptive", "off", "fixed:10", "fixed:100"]
DELAYS_MS = [0, 2]
COLUMNS = [
    ("starts/s", lambda r: f"{r['starts_per_s']:.0f}"),
    ("starts per message, bulk", lambda r: f"{r['starts_per_message_bulk']:.1f}"),
    ("starts per message, single", lambda r: f"{r['starts_per_message_single']:.1f}"),
    ("starts per commit", lambda r: f"{r['starts_per_commit']:.1f}"),
    ("accepted to sent p50 / p99 ms",
     lambda r: f"{r['accept_to_sent_p50_ms']:.0f} / {r['accept_to_sent_p99_ms']:.0f}"),
    ("lone start p99 ms", lambda r: f"{r['lone_start_accept_to_sent_p99_ms']:.1f}"),
    ("accepted to running p99 ms", lambda r: f"{r['accept_to_running_p99_ms']:.0f}"),
    ("engine CPU ms per start", lambda r: f"{r['engine_cpu_ms_per_start']:.3f}"),
    ("load", lambda r: f"{r['load']:.1f}"),
]


def measure(program, hosts, vms, window, delay, repeat):
    command = [program, "orchestration", "--hosts", str(hosts), "--vms", str(vms), "--window",
               window, "--commit-delay", str(delay), "--timeout", "300", "--json"]
    runs = []
    for _ in range(repeat):
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"report.py: `{' '.join(command)}` failed; see above")
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    runs.sort(key=lambda run: run["starts_per_s"])
    return runs[len(runs) // 2]


def measure_all(program, file, repeat):
    with open(file, "w", encoding="utf-8") as out:
        for hosts, vms in SIZES:
            for delay in DELAYS_MS:
                for window in WINDOWS:
                    run = measure(program, hosts, vms, window, delay, repeat)
                    print(f"{hosts} hosts, {vms} VMs, {window}, {delay} ms: "
                          f"{run['starts_per_s']:.0f} starts/s", flush=True)
                    out.write(json.dumps(run) + "\n")


def read(file):
    with open(file, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def table(runs):
    heads = ["hosts", "VMs", "commit delay ms", "window"] + [name for name, _ in COLUMNS]
    rows = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for run in runs:
        cells = [str(run["hosts"]), str(run["vms"]), f"{run['commit_delay_ms']:g}", run["window"]]
        rows.append("| " + " | ".join(cells + [show(run) for _, show in COLUMNS]) + " |")
    return "\n".join(rows)


def write_page(text):
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    before, found, rest = page.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        sys.exit(f"report.py: {PAGE} lacks the lines '{BEGIN}' and '{END}'; put them back")
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(ROOT, "build/release/bin/vms-bench"))
    parser.add_argument("--figures", default=os.path.join(ROOT, "build", "orchestration.jsonl"),
                        help="where what was measured goes (default: build/orchestration.jsonl)")
    parser.add_argument("--from", dest="given", metavar="FILE", help="measure nothing, read this")
    parser.add_argument("--repeat", type=int, default=1, choices=range(1, 10), metavar="1-9")
    options = parser.parse_args()
    if not options.given:
        measure_all(options.program, options.figures, options.repeat)
    runs = read(options.given or options.figures)
    write_page(table(runs))
    with open(PLOT, "w", encoding="utf-8") as file:
        file.write(window_plot.draw([run for run in runs if run["commit_delay_ms"] == 2],
                                    SIZES, WINDOWS))


if __name__ == "__main__":
    main()
