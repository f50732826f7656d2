"""Sweeps seeds and compares what they meet of the tables of states with docs/testing.md: which
transitions only seeds meet, and which nothing does."""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(os.environ["VMS_SOURCE_DIR"])
SIM = os.environ["VMS_BIN_DIR"] + "/vms-sim"

sweep = subprocess.run([SIM, "--edges", *sys.argv[1:]], stdout=subprocess.PIPE, text=True)
print(sweep.stdout)
if sweep.returncode != 0:
    sys.exit(sweep.returncode)
met = {edge: int(count)
       for count, edge in re.findall(r"^ *(\d+)  ((?:run|attempt) .*)$", sweep.stdout, re.M)}

docs = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
problems = []
checked = 0
for edge, cell in re.findall(r"^\| ((?:run|attempt) \S+ > \S+) \| (none: .*) \|$", docs, re.M):
    checked += 1
    if cell.endswith("seeds do that"):
        if met[edge] == 0:
            problems.append(f"'{edge}' is said to occur in seeds, and none of these meets it")
    elif met[edge] > 0:
        problems.append(f"'{edge}' is said to occur nowhere, and {met[edge]} of these seeds meet it")
if checked < 5:
    problems.append("docs/testing.md has no table of edges that this test understands")
for problem in problems:
    print(problem)
sys.exit(1 if problems else 0)
