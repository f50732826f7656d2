"""Checks that each header compiles alone: `check_headers.py BUILD_DIRECTORY JOBS`.

The build cannot prove it, for its precompiled headers come first.
"""

import concurrent.futures
import itertools
import json
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("schema", "batcher", "runner", "hostagent", "tests")


def command_of(build):
    """A compiler with all flags that any translation unit of the build needs to find its headers."""
    flags = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        words = shlex.split(entry["command"])
        compiler, *words = words[1:] if pathlib.Path(words[0]).name == "ccache" else words
        for word, after in zip(words, words[1:]):
            if word == "-isystem":
                flags[word, after] = None
            elif re.match(r"-(I|D|std=|W(?!invalid-pch))", word):
                flags[word,] = None
    return [compiler, *itertools.chain.from_iterable(flags)]


def compile_alone(command, header):
    result = subprocess.run(
        [*command, "-fsyntax-only", "-x", "c++", "-include", str(header), "/dev/null"],
        capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return ""
    return f"{header.relative_to(ROOT)} does not compile alone:\n{result.stderr}"


def main():
    build, jobs = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    if not (build / "compile_commands.json").is_file():
        print(f"{build} is not configured")
        return 77
    command = command_of(build)
    headers = [header for folder in FOLDERS for header in sorted((ROOT / folder).rglob("*.h"))]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        problems = [p for p in pool.map(lambda h: compile_alone(command, h), headers) if p]
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
