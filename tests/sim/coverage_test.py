"""Compares the tables of docs/testing.md with the scenarios, mutations, faults and checkers."""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(os.environ["VMS_SOURCE_DIR"])
SIM = os.environ["VMS_BIN_DIR"] + "/vms-sim"
SCENARIOS = ROOT / "tests/sim/scenarios"
problems = []


def check(good, message):
    if not good:
        problems.append(message)


def output(*arguments):
    return subprocess.run([SIM, *arguments], check=True, capture_output=True, text=True).stdout


def rows(text, heading):
    """Cells of the table whose first heading is `heading`."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith(f"| {heading} |")), None)
    if start is None:
        sys.exit(f"docs/testing.md has no table that begins with '{heading}'")
    table = []
    for line in lines[start + 2:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def names(cell):
    return [name.strip() for name in cell.split(",") if name.strip()]


docs = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
scenarios = sorted(path.name for path in SCENARIOS.iterdir() if path.is_dir())
mentioned = set()

for rule, cell in rows(docs, "rule"):
    for name in names(cell):
        mentioned.add(name)
        readme = SCENARIOS / name / "README"
        check(readme.exists(), f"{rule}: there is no scenario {name}")
        if readme.exists():
            check(re.search(rf"\b{rule}\b", readme.read_text(encoding="utf-8")),
                  f"{rule}: the README of {name} does not name it")

covered = {name: set(output("--scenario", str(SCENARIOS / name), "--edges").splitlines())
           for name in scenarios}
unlisted = set(output("--list-edges").splitlines())
for edge, cell in rows(docs, "edge or class"):
    check(edge in unlisted, f"'{edge}' is not in the code, or is listed twice")
    unlisted.discard(edge)
    if cell.startswith("none:"):
        seen = [name for name in scenarios if edge in covered[name]]
        check(not seen, f"'{edge}' is said to occur in no scenario and does in {', '.join(seen)}")
        continue
    for name in names(cell):
        mentioned.add(name)
        check(name in covered, f"'{edge}': there is no scenario {name}")
        check(edge in covered.get(name, set()), f"'{edge}' does not occur in {name}")
for edge in sorted(unlisted):
    problems.append(f"'{edge}' is missing in docs/testing.md")
for name in scenarios:
    check(name in mentioned, f"scenario {name} is in no table of docs/testing.md")
    lines = (SCENARIOS / name / "README").read_text(encoding="utf-8").splitlines()
    check(len(lines) == 3, f"the README of {name} has not three lines")

promises = "\n".join("|".join(row) for row in rows(docs, "promise"))
quoted = set(re.findall(r"`([^`]+)`", promises))
catalogue = (ROOT / "tests/sim/mutations.txt").read_text(encoding="utf-8")
known = set(re.findall(r"^mutation (\S+)", catalogue, re.M))
source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests/sim").glob("*.cc"))
known |= set(re.findall(r'fail\(\s*"([a-z_]+)"', source))
plan = (ROOT / "tests/sim/fault_plan.cc").read_text(encoding="utf-8")
known |= set(re.findall(r'"([a-z_]+)"', plan[:plan.index("return names")]))
for name in sorted(known - quoted):
    problems.append(f"`{name}` is missing in the table of promises")
for name in sorted(quoted - known):
    problems.append(f"`{name}` is in the table of promises and not in the code")

for problem in problems:
    print(problem)
sys.exit(1 if problems else 0)
