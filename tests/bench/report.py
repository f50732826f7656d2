#!/usr/bin/env python3
"""Measures how long commands should gather, and writes the table and the plot of
docs/performance.md.

    tests/bench/report.py                      # measure everything three times, then write both
    tests/bench/report.py --repeat 1           # faster, and less sure
    tests/bench/report.py --from FILE          # write both from figures measured before

Each line of the figures' file is what `vms-bench orchestration --json` printed. Of the repetitions
it keeps the one with the median of starts per second, whole. Leave the machine alone meanwhile; the
column "load" tells whether it was.
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
PLOTTED_DELAY_MS = 2
LONE_STARTS = 100  # enough for a p99 that is not the slowest
COLUMNS = [
    ("hosts", lambda r: str(r["hosts"])),
    ("VMs", lambda r: f"{r['vms']:,}"),
    ("commit delay ms", lambda r: f"{r['commit_delay_ms']:g}"),
    ("window", lambda r: r["window"]),
    ("starts/s", lambda r: f"{r['starts_per_s']:,.0f}"),
    ("starts per message, bulk", lambda r: f"{r['starts_per_message_bulk']:.1f}"),
    ("starts per message, single", lambda r: f"{r['starts_per_message_single']:.1f}"),
    ("starts per commit", lambda r: f"{r['starts_per_commit']:.1f}"),
    ("lone start, accepted to sent p99 ms",
     lambda r: f"{r['lone_start_accept_to_sent_p99_ms']:.1f}"),
    ("under load, accepted to sent p50 / p99 ms",
     lambda r: f"{r['accept_to_sent_p50_ms']:.0f} / {r['accept_to_sent_p99_ms']:.0f}"),
    ("accepted to running p99 ms", lambda r: f"{r['accept_to_running_p99_ms']:.0f}"),
    ("engine CPU ms per start", lambda r: f"{r['engine_cpu_ms_per_start']:.3f}"),
    ("load", lambda r: f"{r['load']:.1f}"),
]


def measure(program, hosts, vms, window, delay, repeat):
    command = [program, "orchestration", "--hosts", str(hosts), "--vms", str(vms), "--window",
               window, "--commit-delay", str(delay), "--alone", str(LONE_STARTS), "--timeout",
               "300", "--json"]
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
                          f"{run['starts_per_s']:.0f} starts/s, load {run['load']:.1f}", flush=True)
                    out.write(json.dumps(run) + "\n")
                    out.flush()


def table(runs):
    rows = ["| " + " | ".join(name for name, _ in COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    rows += ["| " + " | ".join(show(run) for _, show in COLUMNS) + " |" for run in runs]
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
    parser.add_argument("--program", default=os.path.join(ROOT, "build/release/bin/vms-bench"),
                        help="default: build/release/bin/vms-bench")
    parser.add_argument("--figures", default=os.path.join(ROOT, "build", "orchestration.jsonl"),
                        help="where what was measured goes (default: build/orchestration.jsonl)")
    parser.add_argument("--from", dest="given", metavar="FILE", help="measure nothing, read this")
    parser.add_argument("--repeat", type=int, default=3, choices=range(1, 10), metavar="1-9",
                        help="runs of each row (default: 3)")
    options = parser.parse_args()
    if not options.given:
        measure_all(options.program, options.figures, options.repeat)
    runs = window_plot.read(options.given or options.figures)
    write_page(table(runs))
    with open(PLOT, "w", encoding="utf-8") as file:
        file.write(window_plot.draw(window_plot.with_delay(runs, PLOTTED_DELAY_MS)))


if __name__ == "__main__":
    main()
