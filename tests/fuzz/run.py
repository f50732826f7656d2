#!/usr/bin/env python3
"""Runs fuzz targets for a while: `run.py BUILD [--seconds N] [--seed N] [--keep DIR] [TARGET...]`.

BUILD is the folder of the preset `fuzz`. With --jobs N, N targets run at a time. Each target begins with its corpus, and with what is in
DIR/TARGET, where new inputs are kept; without --keep they go. Prints a line per target:
executions, edges covered, inputs of interest. A finding is written to the current folder, and the
exit status is 1.
"""

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
MEMORY_MB = 1024
INPUT_BYTES = 8192
INPUT_S = 20  # for one input: more is a finding
STATUS = re.compile(r"^#(\d+)\s+\w+\s+.*?cov: (\d+).*?corp: (\d+)", re.MULTILINE)


def run(program, name, options):
    """True when nothing was found."""
    with tempfile.TemporaryDirectory(prefix="vms-fuzz-") as scratch:
        found = os.path.join(options.keep, name) if options.keep else scratch
        os.makedirs(found, exist_ok=True)
        environment = {**os.environ,
                       "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
                       "LSAN_OPTIONS": f"suppressions={HERE}/../lsan.supp:print_suppressions=0",
                       "UBSAN_OPTIONS": "print_stacktrace=1"}
        done = subprocess.run(
            [program, f"-max_total_time={options.seconds}", f"-seed={options.seed}",
             f"-rss_limit_mb={MEMORY_MB}", f"-max_len={INPUT_BYTES}", f"-timeout={INPUT_S}",
             f"-artifact_prefix={os.getcwd()}/{name}-", "-print_final_stats=1",
             found, os.path.join(HERE, "corpus", name)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", env=environment, check=False)
    status = STATUS.findall(done.stdout)
    runs, edges, inputs = status[-1] if status else ("0", "0", "0")
    verdict = "nothing found" if done.returncode == 0 else "FINDING"
    print(f"{name}: {runs} executions, {edges} edges, {inputs} inputs: {verdict}", flush=True)
    if done.returncode != 0:
        print(done.stdout[-6000:], flush=True)
    return done.returncode == 0 and status != []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", metavar="DIR")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    options = parser.parse_intermixed_args()
    programs = os.path.join(options.build, "test-bin")
    known = sorted(os.listdir(os.path.join(HERE, "corpus")))
    unknown = set(options.targets) - set(known)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    missing = [name for name in known if not os.path.exists(f"{programs}/fuzz_{name}")]
    if missing:
        parser.error(f"{', '.join(missing)} not built: cmake --preset fuzz && "
                     "cmake --build --preset fuzz")
    if options.jobs < 1:
        parser.error("--jobs takes a number from 1")
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        good = list(pool.map(
            lambda name: run(os.path.join(programs, f"fuzz_{name}"), name, options),
            options.targets or known))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
