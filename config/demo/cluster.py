"""One engine and a few hosts on this machine, all in one state directory.

    DIR/cluster.json           which hosts there are, and whose programs run
    DIR/ctl.toml               context of `vmsctl`: server, token, CA
    DIR/pki/                   certificate authority and certificates
    DIR/engine/                engine.toml engine.pid engine.log, its state
    DIR/hosts/H/               agent.toml agent.pid agent.log, its state; libvirtd.pid
                               libvirt-uri libvirtd.log (see libvirt_host.py)
    DIR/serial/                one log per VM: its guest's own word (see guests.py)

Everything can be stopped and started again from the directory alone.
"""

import concurrent.futures
import json
import os
import time
import uuid

import control
import daemon
import killable
import libvirt_host
import processes

ADDRESS = "127.0.0.1"
READY_TIMEOUT_S = 60.0


class ClusterError(Exception):
    """Says what is wrong and what to do about it."""


def toml(value):
    """A TOML basic string."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


class Host:
    """One agent with its libvirt."""

    def __init__(self, cluster, name, slot):
        self.name = name
        self.folder = os.path.join(cluster.folder, "hosts", name)
        self.libvirt = libvirt_host.LibvirtHost(name, self.folder, slot)
        self.config = os.path.join(self.folder, "agent.toml")
        self.pid_file = os.path.join(self.folder, "agent.pid")
        self.log = os.path.join(self.folder, "agent.log")

    def pids(self):
        return processes.with_argument("vmshostd", self.config)


class Cluster:
    """The daemons of one state directory. One user at a time."""

    def __init__(self, folder, say):
        self.folder = os.path.realpath(folder)
        self.say = say
        self.description = os.path.join(self.folder, "cluster.json")
        self.engine_folder = os.path.join(self.folder, "engine")
        self.engine_config = os.path.join(self.engine_folder, "engine.toml")
        self.engine_log = os.path.join(self.engine_folder, "engine.log")
        self.serial_folder = os.path.join(self.folder, "serial")
        self.payload_folder = os.path.join(self.folder, "payload")
        self.context = os.path.join(self.folder, "ctl.toml")
        self.token = os.path.join(self.folder, "admin.token")
        self.pki = os.path.join(self.folder, "pki")
        self.programs = None
        self.hosts = []
        self.server = None

    # -- what is on disk --------------------------------------------------------------

    def create(self, programs, host_count, settings):
        """Lays out a new directory. `settings`: vcpu_ratio, cpus, memory (bytes per host)."""
        self.programs = programs
        for folder in (self.engine_folder, self.serial_folder, self.payload_folder):
            os.makedirs(folder, exist_ok=True)
        self._set_hosts([f"h{number}" for number in range(1, host_count + 1)])
        for host in self.hosts:
            os.makedirs(host.folder, exist_ok=True)
        self.settings = settings
        self._save()

    def load(self):
        """Reads an existing directory."""
        try:
            with open(self.description, encoding="utf-8") as file:
                saved = json.load(file)
        except FileNotFoundError:
            raise ClusterError(f"{self.folder} is no state directory of quickstart (it has no "
                               "cluster.json): give the DIR of --keep") from None
        self.programs = saved["programs"]
        self.settings = saved["settings"]
        self.server = saved.get("server")
        self._set_hosts(saved["hosts"])

    def _set_hosts(self, names):
        self.hosts = [Host(self, name, slot) for slot, name in enumerate(names)]

    def _save(self):
        saved = {"programs": self.programs, "hosts": [host.name for host in self.hosts],
                 "settings": self.settings, "server": self.server}
        daemon.write_atomically(self.description, json.dumps(saved, indent=1) + "\n")

    def program(self, name):
        return os.path.join(self.programs, name)

    def ctl(self):
        return control.Control(self.program("vmsctl"), self.context)

    def host(self, name):
        for host in self.hosts:
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.hosts)
        raise ClusterError(f"there is no host {name} in {self.folder}: choose one of {known}")

    # -- start ------------------------------------------------------------------------

    def start(self):
        self.say(f"certificates in {self.pki}")
        self._make_certificates()
        self.say("starting the engine")
        self._write_engine_config(f"{ADDRESS}:0", f"{ADDRESS}:0")
        self._make_token()
        self.start_engine()
        for host in self.hosts:
            self.say(f"starting host {host.name}: libvirtd and agent")
            self._write_agent_config(host)
            self.start_host(host)
        self.wait_hosts()

    def _make_certificates(self):
        vmsctl = self.program("vmsctl")
        self._must([vmsctl, "pki", "init", self.pki])
        self._must([vmsctl, "pki", "issue", self.pki, "--server", ADDRESS])
        for host in self.hosts:
            self._must([vmsctl, "pki", "issue", self.pki, "--host", host.name])

    def _make_token(self):
        self._must([self.program("vmsrunnerd"), "--config", self.engine_config,
                    "--create-admin-token", self.token])

    @staticmethod
    def _must(argv):
        status, _, errors = killable.output_of(argv)
        if status != 0:
            raise ClusterError(f"`{' '.join(argv)}` failed: {errors.strip()}")

    def _certificate(self, name, kind="crt"):
        return toml(os.path.join(self.pki, f"{name}.{kind}"))

    def _port_file(self, name):
        return os.path.join(self.engine_folder, f"{name}.port")

    def _write_engine_config(self, api, agents):
        pair = f"certificate = {self._certificate(ADDRESS)}\nkey = {self._certificate(ADDRESS, 'key')}"
        daemon.write_atomically(self.engine_config, f"""[engine]
name = "quickstart"
state_dir = {toml(os.path.join(self.engine_folder, "state"))}

[api]
listen = "{api}"
port_file = {toml(self._port_file("api"))}
{pair}

[agents]
listen = "{agents}"
port_file = {toml(self._port_file("agents"))}
{pair}
client_ca = {self._certificate("ca")}

[batching]
window = "adaptive"

[placement]
# The demonstration's guests are idle: many share a processor.
vcpu_ratio = {self.settings["vcpu_ratio"]:.1f}

[log]
level = "info"
""")

    def _write_agent_config(self, host):
        self.new_boot_id(host)
        daemon.write_atomically(os.path.join(host.folder, "hardware-uuid"), f"{uuid.uuid4()}\n")
        daemon.write_atomically(host.config, f"""[agent]
host = "{host.name}"
state_dir = {toml(os.path.join(host.folder, "state"))}
engine = "{self._read_port("agents")}"
certificate = {self._certificate(host.name)}
key = {self._certificate(host.name, "key")}
ca = {self._certificate("ca")}
# Several hosts share this machine, so each has an identity and a share of its own.
boot_id_file = {toml(os.path.join(host.folder, "boot-id"))}
hardware_uuid_file = {toml(os.path.join(host.folder, "hardware-uuid"))}

[capacity]
cpus = {self.settings["cpus"]}
memory = "{self.settings["memory"]}B"

[hypervisor]
type = "libvirt"
uri = {toml(host.libvirt.uri)}

[log]
level = "info"
""")

    @staticmethod
    def new_boot_id(host):
        """What a reboot of the host would change."""
        daemon.write_atomically(os.path.join(host.folder, "boot-id"), f"{uuid.uuid4()}\n")

    def _read_port(self, name):
        try:
            with open(self._port_file(name), encoding="ascii") as file:
                return file.read().strip()
        except FileNotFoundError:
            return ""

    def engine_pids(self):
        return processes.with_argument("vmsrunnerd", self.engine_config)

    def start_engine(self):
        """Starts the engine unless it runs, and waits until it answers."""
        if self.engine_pids():
            return
        for name in ("api", "agents"):
            if os.path.exists(self._port_file(name)):
                os.unlink(self._port_file(name))
        self._spawn([self.program("vmsrunnerd"), "--config", self.engine_config],
                    self.engine_log, os.path.join(self.engine_folder, "engine.pid"))
        self._wait(lambda: self._read_port("api") and self._read_port("agents"),
                   "the engine", self.engine_pids, self.engine_log)
        # From now on the ports are fixed: agents and clients must find it after a restart.
        self._write_engine_config(self._read_port("api"), self._read_port("agents"))
        self.server = f"https://{self._read_port('api')}"
        daemon.write_atomically(self.context, f"""server = {toml(self.server)}
token = {toml(self.token)}
ca = {self._certificate("ca")}
""")
        self._save()
        ca = os.path.join(self.pki, "ca.crt")
        self._wait(lambda: control.is_ready(self.server, ca)[0],
                   "the engine", self.engine_pids, self.engine_log)

    def start_host(self, host):
        """Starts what does not run of a host: its libvirtd and its agent."""
        with killable.deferred():
            try:
                host.libvirt.start()
            except libvirt_host.HostError as error:
                raise ClusterError(str(error)) from error
        if not host.pids():
            self._spawn([self.program("vmshostd"), "--config", host.config], host.log,
                        host.pid_file)

    def wait_hosts(self, names=None, states=control.READY_STATES):
        """Waits until the hosts (default all) are in one of the states for the engine."""
        wanted = set(names or [host.name for host in self.hosts])
        self.say(f"waiting until the engine sees {', '.join(sorted(wanted))}")
        watched = [host for host in self.hosts if host.name in wanted]

        def all_ready():
            try:
                rows = self.ctl().hosts()
            except control.ControlError:
                return False
            return wanted <= {row["host"] for row in rows if row["state"] in states}

        def all_alive():
            return all(host.pids() for host in watched)

        logs = [host.log for host in watched if not host.pids()] or [watched[0].log]
        self._wait(all_ready, f"host {', '.join(sorted(wanted))}", all_alive, logs[0])

    def _spawn(self, argv, log, pid_file):
        with killable.deferred():
            try:
                daemon.spawn(argv, log, pid_file)
            except RuntimeError as error:
                raise ClusterError(str(error)) from error

    def _wait(self, condition, what, alive, log):
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not condition():
            if not alive():
                raise ClusterError(f"{what} ended; {log} ends with:\n{tail(log)}")
            if time.monotonic() >= deadline:
                raise ClusterError(f"{what} gave no answer in {READY_TIMEOUT_S:.0f} s; {log} ends "
                                   f"with:\n{tail(log)}")
            time.sleep(0.05)

    # -- stop -------------------------------------------------------------------------

    def stop(self):
        """Ends agents, engine, every VM and every libvirtd; ClusterError if one survives."""
        agents = [pid for host in self.hosts for pid in host.pids()]
        left = processes.end(agents + self.engine_pids())
        failures = [f"processes {left} survived SIGKILL"] if left else []

        def stop_libvirt(host):
            try:
                host.libvirt.stop()
            except libvirt_host.HostError as error:
                failures.append(str(error))

        with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(stop_libvirt, self.hosts))
        # The keepers (daemon.py) end by themselves once their last process has gone.
        left = processes.wait_gone(processes.keepers(self.folder), 5.0)
        left = processes.end(left)
        for path in [os.path.join(self.engine_folder, "engine.pid")] + [
                host.pid_file for host in self.hosts]:
            if os.path.exists(path):
                os.unlink(path)
        if failures:
            raise ClusterError("; ".join(failures))


def tail(path, count=8):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-count:]).rstrip()
    except OSError as error:
        return str(error)
