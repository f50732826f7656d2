#!/usr/bin/env python3
"""Draws the plot of docs/performance.md: what each batching window costs and what it saves.

    tests/bench/window_plot.py build/orchestration.jsonl > plot.svg

Each line of FIGURES is what `vms-bench orchestration --json` printed: one run for each window and
for one or two sizes. `tests/bench/report.py` measures them and writes such a file.
"""

import argparse
import json
import sys
from xml.sax.saxutils import escape

WIDTH, LEFT, TOP = 940, 92, 92
PANEL, GAP, ROW, BAR = 236, 36, 52, 17
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .title { font-size: 15px; font-weight: 600; }
  .note { font-size: 12px; fill: #57606a; }
  .axis { stroke: #d0d7de; }
  .s0 { fill: #0969da; } .s1 { fill: #bc4c00; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .note { fill: #9da7b1; } .axis { stroke: #444c56; }
    .s0 { fill: #58a6ff; } .s1 { fill: #f0883e; }
  }"""

# What a panel shows: its title, what to read from it, and the figure of a run.
PANELS = [
    ("What a lone start waits", "accepted to sent, p99 in ms; less is better",
     lambda r: r["lone_start_accept_to_sent_p99_ms"], "{:.1f}"),
    ("What is sent", "messages for 100 starts; less is better",
     lambda r: 100 * r["messages"] / r["vms"], "{:.1f}"),
    ("What it costs the engine", "CPU per start in ms; less is better",
     lambda r: r["engine_cpu_ms_per_start"], "{:.3f}"),
]


def _text(x, y, words, kind="", anchor="start"):
    return (f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" class="{kind}">'
            f"{escape(words)}</text>")


def _panel(number, found, sizes, windows):
    title, unit, value, form = PANELS[number]
    x = LEFT + number * (PANEL + GAP)
    values = {key: value(run) for key, run in found.items()}
    most = max(values.values(), default=0) or 1
    room = PANEL - 52  # for the number behind the longest bar
    parts = [_text(x, TOP - 30, title, "title"), _text(x, TOP - 13, unit, "note"),
             f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{TOP + ROW * len(windows)}" class="axis"/>']
    for row, window in enumerate(windows):
        for series, size in enumerate(sizes):
            if (size, window) not in values:
                continue
            amount = values[size, window]
            y = TOP + row * ROW + 8 + series * (BAR + 2)
            length = max(1.0, room * amount / most)
            parts.append(f'<rect x="{x + 1}" y="{y}" width="{length:.1f}" height="{BAR}" '
                         f'class="s{series}"/>')
            parts.append(_text(x + length + 6, y + BAR - 4, form.format(amount)))
    return parts


def draw(runs):
    """The SVG of `runs`, which all have the same commit delay; sizes and windows in their order."""
    found = {((run["hosts"], run["vms"]), run["window"]): run for run in runs}
    sizes = list(dict.fromkeys(size for size, _ in found))
    windows = list(dict.fromkeys(window for _, window in found))
    height = TOP + ROW * len(windows) + 20
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
             f'viewBox="0 0 {WIDTH} {height}" role="img">',
             "<title>What each batching window costs and saves</title>", f"<style>{STYLE}</style>"]
    for series, (hosts, vms) in enumerate(sizes):
        x = LEFT + series * 210
        parts.append(f'<rect x="{x}" y="16" width="13" height="13" class="s{series}"/>')
        parts.append(_text(x + 20, 27, f"{hosts} hosts, {vms:,} VMs"))
    for row, window in enumerate(windows):
        parts.append(_text(LEFT - 10, TOP + row * ROW + 30, window, anchor="end"))
    for number in range(len(PANELS)):
        parts += _panel(number, found, sizes, windows)
    return "\n".join(parts + ["</svg>"]) + "\n"


def read(file):
    """One run a line."""
    with open(file, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def with_delay(runs, delay_ms):
    return [run for run in runs if run["commit_delay_ms"] == delay_ms]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", metavar="FIGURES")
    parser.add_argument("--commit-delay", type=int, default=2, metavar="MS",
                        help="draw the runs with this commit delay (default: 2)")
    options = parser.parse_args()
    runs = with_delay(read(options.figures), options.commit_delay)
    if not runs:
        sys.exit(f"window_plot.py: {options.figures} has no run with a commit delay of "
                 f"{options.commit_delay} ms; give one that it has with --commit-delay")
    sys.stdout.write(draw(runs))


if __name__ == "__main__":
    main()
