"""What the demonstration asks of the engine, through `vmsctl` and its health page."""

import json
import os
import ssl
import urllib.error
import urllib.request

import killable


# A host in one of these states is given new VMs (see HostState in schema/openapi.yaml).
READY_STATES = ("ready",)
# Its agent is back; the last three wait for a person.
CONNECTED_STATES = (*READY_STATES, "draining", "quarantined", "unconfirmed")


class ControlError(Exception):
    """Carries what vmsctl said, which names the cause and the next step."""


class Control:
    """`vmsctl` with the context file of one state directory."""

    def __init__(self, program, context):
        self.program = program
        self.context = context

    def command(self, *words):
        return [self.program, "--context", self.context, *words]

    def ask(self, *words):
        """Runs a command and returns its output; ControlError when it fails."""
        status, output, errors = killable.output_of(self.command(*words))
        if status != 0:
            raise ControlError(errors.strip() or f"vmsctl {words[0]} failed")
        return output

    def rows(self, *words):
        """A list command's rows, one dictionary each."""
        output = self.ask(*words, "--output", "ndjson")
        return [json.loads(line) for line in output.splitlines() if line.strip()]

    def hosts(self):
        return self.rows("host", "list")

    def history(self, *words):
        return self.rows("history", *words)

    def show(self, *words, to):
        """Runs a command whose output is for people; returns its exit status."""
        return killable.run(self.command(*words), to)


def is_ready(server, ca, timeout_s=2.0):
    """Whether the engine at `server` answers its readiness page; also says why not."""
    context = ssl.create_default_context(cafile=ca)
    try:
        with urllib.request.urlopen(f"{server}/readyz", timeout=timeout_s, context=context):
            return True, ""
    except (urllib.error.URLError, OSError) as error:
        return False, str(error)


def token_of(path):
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read().strip()
