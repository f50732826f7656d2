#!/usr/bin/env python3
"""The tour of README.md, as its reader would type it: every command does what is shown there."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))
import e2e  # noqa: E402
import vmshosts  # noqa: E402

README = os.path.join(vmshosts.REPOSITORY, "README.md")
QUICKSTART = os.path.join(vmshosts.REPOSITORY, "quickstart")
FOLDER = "/tmp/demo"  # The state's folder in the README.
PROGRAMS = "$PWD/build/release/bin"
UNREACHABLE = 5
LIMIT_S = 120 * e2e.FACTOR
MEASURED = [
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<id>"),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "<when>"),
    (r"\b\d+(\.\d+)? (ms|s|min)(?=\s|,|$)", "<time>"),
    (r"\d+(\.\d+)?", "<n>"),
    (r"\s+", " "),
]


def steps():
    """[(command, lines shown below it)] of every console block, in their order."""
    with open(README, encoding="utf-8") as file:
        blocks = re.findall(r"^```console\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)
    found = []
    for line in "".join(blocks).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip() and line != "…":
            found[-1][1].append(line)
    return found


def shape(line):
    """The line without what differs from run to run."""
    for pattern, word in MEASURED:
        line = re.sub(pattern, word, line)
    return line.strip()


class Reader:
    """Types commands into shells of one session."""

    def __init__(self, folder):
        self.folder = folder
        self.aliases = ["shopt -s expand_aliases"]

    def types(self, command):
        """(exit status, what was printed); an alias holds for what follows."""
        programs = os.environ.get("VMS_BIN")
        if programs:
            command = command.replace(PROGRAMS, os.path.abspath(programs))
        command = command.replace(FOLDER, self.folder)
        if command.startswith("alias "):
            self.aliases.append(command)
        with subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, cwd=vmshosts.REPOSITORY,
                              start_new_session=True) as shell:
            try:
                said = shell.communicate("\n".join([*self.aliases, command, ""]), LIMIT_S)[0]
            except BaseException:
                os.killpg(shell.pid, signal.SIGKILL)
                raise
        return shell.returncode, said


def follow(reader):
    ran = 0
    for command, shown in steps():
        status, said = reader.types(command)
        print(f"$ {command}\n{said}", flush=True)
        wanted = UNREACHABLE if any(line.startswith("vmsctl: ") for line in shown) else 0
        assert status == wanted, f"'{command}' ended with {status}, not {wanted}"
        got = {shape(line) for line in said.splitlines()}
        missing = [line for line in shown if shape(line) not in got]
        assert not missing, f"'{command}' prints nothing like {missing}"
        ran += command.startswith("vmsctl ")
    assert ran >= 8, f"the README shows only {ran} commands of vmsctl"


def the_tour_is_true(_rng):
    parent = tempfile.mkdtemp(prefix="vms-e2e-")
    folder = os.path.join(parent, "demo")
    try:
        follow(Reader(folder))
        assert not os.path.exists(os.path.join(folder, "engine", "engine.pid")), "it is still up"
    finally:
        if os.path.exists(os.path.join(folder, "cluster.json")):
            subprocess.run([QUICKSTART, "--stop", folder], stdin=subprocess.DEVNULL, check=False)
        shutil.rmtree(parent, ignore_errors=True)


if __name__ == "__main__":
    e2e.main(the_tour_is_true, limit_s=400)
