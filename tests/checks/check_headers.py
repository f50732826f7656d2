"""Checks that each header compiles alone: `check_headers.py BUILD_DIRECTORY JOBS`.

A header whose .cc file includes it first has been proven by the build; only others are compiled.
"""

import concurrent.futures
import json
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("schema", "batcher", "runner", "hostagent", "tests")


def first_include(source):
    match = re.search(r'^#include [<"]([^>"]+)[>"]', source.read_text(encoding="utf-8"), re.MULTILINE)
    return match.group(1) if match else ""


def flags_by_folder(build):
    """The compiler and flags of one translation unit for each folder that has any."""
    flags = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        folder = pathlib.Path(entry["file"]).parent
        words = shlex.split(entry["command"])
        if pathlib.Path(words[0]).name == "ccache":
            words = words[1:]
        kept = [words[0]] + [w for w in words[1:] if re.match(r"-(I|D|std=|W)", w)]
        system = [w for i, w in enumerate(words) if w == "-isystem" or words[i - 1] == "-isystem"]
        flags.setdefault(folder, kept + system)
    return flags


def compile_alone(header, flags, fallback):
    folder = header.parent
    while folder != ROOT and folder not in flags:
        folder = folder.parent
    command = flags.get(folder, fallback) + ["-fsyntax-only", "-x", "c++", "-include", str(header), "/dev/null"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if result.returncode == 0 else f"{header.relative_to(ROOT)} does not compile alone:\n{result.stderr}"


def main():
    build, jobs = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    if not (build / "compile_commands.json").is_file():
        print(f"{build} is not configured")
        return 77
    flags = flags_by_folder(build)
    fallback = next(iter(flags.values()))
    unproven = []
    for folder in FOLDERS:
        for header in sorted((ROOT / folder).rglob("*.h")):
            source = header.with_suffix(".cc")
            if not source.exists() or first_include(source) != header.relative_to(ROOT).as_posix():
                unproven.append(header)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        problems = [p for p in pool.map(lambda h: compile_alone(h, flags, fallback), unproven) if p]
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
