"""One engine and one agent whose hypervisor is simulated: the real daemons, without libvirt.

    with SmallCluster() as cluster:
        cluster.define(5)
        cluster.vmsctl("run", "--all", "--wait")
        status, text = cluster.get("/metrics")

The programs are those of $VMS_BIN_DIR. Leaving the block ends both by their pids and removes
the folder; it fails when one of them had ended by itself.
"""

import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid

REPOSITORY = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BIN = os.environ.get("VMS_BIN_DIR", os.path.join(REPOSITORY, "build", "dev", "bin"))
FACTOR = 5 if os.environ.get("VMS_SANITIZE") else 1
ADDRESS = "127.0.0.1"

ENGINE = """[engine]
state_dir = "state"
[api]
listen = "127.0.0.1:0"
certificate = "{pki}/127.0.0.1.crt"
key = "{pki}/127.0.0.1.key"
port_file = "{folder}/api"
[agents]
listen = "127.0.0.1:0"
certificate = "{pki}/127.0.0.1.crt"
key = "{pki}/127.0.0.1.key"
client_ca = "{pki}/ca.crt"
port_file = "{folder}/agents"
"""

AGENT = """[agent]
host = "h1"
state_dir = "agent"
engine = "{agents}"
certificate = "{pki}/h1.crt"
key = "{pki}/h1.key"
ca = "{pki}/ca.crt"
boot_id_file = "{folder}/boot_id"
hardware_uuid_file = "{folder}/hardware_uuid"
[capacity]
cpus = 8
memory = "8GiB"
[hypervisor]
type = "simulated"
[simulated]
build = "constant"
build_median = "20ms"
"""


def wait_until(true, what, timeout_s=30.0):
    """Until `true()` is true; its value. AssertionError after the bound."""
    end = time.monotonic() + timeout_s * FACTOR
    while True:
        value = true()
        if value:
            return value
        assert time.monotonic() < end, f"no {what} in {timeout_s * FACTOR:.0f} s"
        time.sleep(0.05)


def domain_xml(name, memory_mib=16):
    return (f"<domain type='kvm'><name>{name}</name><uuid>{uuid.uuid4()}</uuid>"
            f"<memory unit='MiB'>{memory_mib}</memory><vcpu>1</vcpu>"
            "<os><type arch='x86_64'>hvm</type></os></domain>")


class SmallCluster:
    def __init__(self):
        self.folder = None
        self.daemons = []  # (program, process)

    def __enter__(self):
        try:
            self.folder = tempfile.mkdtemp(prefix="vms-small-")
            self._start()
        except BaseException:
            self.close(show=True)
            raise
        return self

    def __exit__(self, kind, *_exception):
        ended = [f"{name} ended with {process.returncode}" for name, process in self.daemons
                 if process.poll() is not None]
        self.close(show=kind is not None or bool(ended))
        if kind is None:
            assert not ended, ended

    def path(self, name):
        return os.path.join(self.folder, name)

    def _write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def _read(self, name):
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                return file.read().strip()
        except FileNotFoundError:
            return ""

    @staticmethod
    def _run(program, *words):
        result = subprocess.run([os.path.join(BIN, program), *words], stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, timeout=60 * FACTOR, check=False)
        assert result.returncode == 0, f"{program} {' '.join(words)}: {result.stderr.strip()}"
        return result.stdout

    def _spawn(self, program, config):
        with open(self.path(program + ".log"), "ab") as log:
            self.daemons.append((program, subprocess.Popen(
                [os.path.join(BIN, program), "--config", config], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)))

    def _port(self, name, program):
        def known():
            ended = [p for n, p in self.daemons if n == program and p.poll() is not None]
            assert not ended, f"{program} ended: {self._read(program + '.log')}"
            return self._read(name)
        return wait_until(known, f"address of {program}")

    def _start(self):
        self.pki = self.path("pki")
        self.ca = os.path.join(self.pki, "ca.crt")
        self._run("vmsctl", "pki", "init", self.pki)
        self._run("vmsctl", "pki", "issue", self.pki, "--server", ADDRESS)
        self._run("vmsctl", "pki", "issue", self.pki, "--host", "h1")
        config = self._write("engine.toml", ENGINE.format(pki=self.pki, folder=self.folder))
        self.token_file = self.path("token")
        self._run("vmsrunnerd", "--config", config, "--create-admin-token", self.token_file)
        self.token = self._read("token")
        self._spawn("vmsrunnerd", config)
        self.server = "https://" + self._port("api", "vmsrunnerd")
        self._write("boot_id", f"{uuid.uuid4()}\n")
        self._write("hardware_uuid", f"{uuid.uuid4()}\n")
        agents = self._port("agents", "vmsrunnerd")
        self._spawn("vmshostd", self._write("agent.toml", AGENT.format(
            agents=agents, pki=self.pki, folder=self.folder)))
        wait_until(lambda: '"state":"ready"' in self.get("/v1/hosts")[1], "host that is ready")

    def vmsctl(self, *words):
        return self._run("vmsctl", "--server", self.server, "--token", self.token_file,
                         "--ca", self.ca, *words)

    def define(self, count, prefix="vm"):
        """Registers VMs; returns their names."""
        names = [f"{prefix}{number}" for number in range(count)]
        xml = "<domains>" + "".join(map(domain_xml, names)) + "</domains>"
        self.vmsctl("vm", "define", self._write("define.xml", xml))
        return names

    def get(self, path, token=None):
        """(status, text) of a GET; `token` "" sends none."""
        token = self.token if token is None else token
        request = urllib.request.Request(self.server + path)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        trusted = ssl.create_default_context(cafile=self.ca)
        try:
            with urllib.request.urlopen(request, timeout=30, context=trusted) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def close(self, show=False):
        for _name, process in reversed(self.daemons):
            process.terminate()
        for name, process in self.daemons:
            try:
                process.wait(20 * FACTOR)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if show:
                print(f"---- {name}:\n" + "\n".join(self._read(name + ".log").splitlines()[-40:]),
                      file=sys.stderr)
        self.daemons = []
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None
