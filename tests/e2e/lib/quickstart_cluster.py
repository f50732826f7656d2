"""A whole VmsRunner for end-to-end tests: engine, agents, libvirt hosts, by `quickstart`.

    with QuickstartCluster(vms=0, hosts=2) as cluster:
        guests = cluster.define(cluster.guests(8))
        client = cluster.client("run", "--all", "--wait")
        cluster.wait_domains(3, client)
        cluster.kill_engine()
        cluster.restart_engine()
        client.wait(60)
        assert all(guest.starts() == 1 for guest in guests)

The programs are those of $VMS_BIN, else quickstart builds the release ones. Leaving the
block ends everything and removes the folder, also after an exception, Ctrl-C or SIGTERM.
"""

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import vmshosts

import cluster as clusters  # noqa: E402  (config/demo, which vmshosts put on the path)
import control  # noqa: E402
import daemon  # noqa: E402
import guests  # noqa: E402
import libvirt_host  # noqa: E402
import processes  # noqa: E402

QUICKSTART = os.path.join(vmshosts.REPOSITORY, "quickstart")
ENDED = re.compile(r"^\[(\w+) (\d+) ended with status (-?\d+)\]$", re.MULTILINE)
LOG_LINES_SHOWN = 60


class Client:
    """A vmsctl command that runs in the background, with its output in files."""

    def __init__(self, argv, folder):
        self.argv = argv
        handle, self._out = tempfile.mkstemp(prefix="client-", suffix=".out", dir=folder)
        with os.fdopen(handle, "wb") as out, open(self._out + ".err", "wb") as errors:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=errors, start_new_session=True)

    def output(self):
        """(standard output, standard error) so far."""
        texts = []
        for path in (self._out, self._out + ".err"):
            with open(path, encoding="utf-8", errors="replace") as file:
                texts.append(file.read())
        return tuple(texts)

    def ended(self):
        return self.process.poll() is not None

    def wait(self, timeout_s, status=0):
        """Until the command ends; AssertionError unless with `status`. Returns its output."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} has not ended in {timeout_s:.0f} s: "
                                 f"{self.output()}") from None
        got = self.process.returncode
        assert got == status, f"{self} ended with {got}, not {status}: {self.output()}"
        return self.output()

    def __str__(self):
        return " ".join(["vmsctl", *self.argv[3:]])

    def end(self):
        if not self.ended():
            self.process.kill()
            self.process.wait()


class QuickstartCluster:
    def __init__(self, vms=0, hosts=2, keep=False, options=()):
        self.options = ["--vms", str(vms), "--hosts", str(hosts), *options]
        self.keep = keep
        self.folder = None
        self.state = None
        self.clients = []
        self._old_handler = None

    def __enter__(self):
        def leave(number, _frame):
            raise SystemExit(128 + number)

        self._old_handler = signal.signal(signal.SIGTERM, leave)
        try:
            self.folder = tempfile.mkdtemp(prefix="vms-e2e-")
            # Everything that is started after this line is found again through the folder.
            self.quickstart("--keep", self.folder, "--detach", *self.options)
            self.state = clusters.Cluster(self.folder, lambda _text: None)
            self.state.load()
        except BaseException:
            self.show_logs()
            self.close()
            raise
        return self

    def __exit__(self, kind, *_exception):
        """A test that passed may still fail here: daemons must not have ended by themselves."""
        try:
            if kind is None:
                self.assert_no_crash()
        except AssertionError:
            kind = AssertionError
            raise
        finally:
            if kind is not None:
                self.show_logs()
            self.close()

    def close(self):
        for client in self.clients:
            client.end()
        saved = {number: signal.signal(number, signal.SIG_IGN)
                 for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            if self.folder and os.path.exists(os.path.join(self.folder, "cluster.json")):
                self.quickstart("--stop", self.folder)
            if self.folder and not self.keep:
                shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None
        finally:
            for number, handler in saved.items():
                signal.signal(number, handler)
            if self._old_handler is not None:
                signal.signal(signal.SIGTERM, self._old_handler)
                self._old_handler = None

    @staticmethod
    def quickstart(*words):
        """Runs ./quickstart; its output goes to our stderr; fails as it fails."""
        subprocess.run([QUICKSTART, *words], stdin=subprocess.DEVNULL, stdout=sys.stderr,
                       check=True)

    # -- vmsctl -----------------------------------------------------------------------

    def vmsctl(self, *words, check=True, timeout_s=300):
        """Runs vmsctl with this cluster's context; returns the completed process."""
        result = subprocess.run(self.state.ctl().command(*words), stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, timeout=timeout_s, check=False)
        if check and result.returncode != 0:
            raise AssertionError(f"vmsctl {' '.join(words)} ended with {result.returncode}: "
                                 f"{result.stderr.strip()}")
        return result

    def client(self, *words):
        """Starts vmsctl in the background; it is ended with the cluster at the latest."""
        started = Client(self.state.ctl().command(*words), self.folder)
        self.clients.append(started)
        return started

    def rows(self, *words):
        """The rows of a list command, as dictionaries."""
        output = self.vmsctl(*words, "--output", "ndjson").stdout
        return [json.loads(line) for line in output.splitlines() if line.strip()]

    def http(self, method, path, body=None, content_type="application/json", token=None):
        """Asks the API itself; returns (status, the JSON of the answer)."""
        given = control.token_of(self.state.token) if token is None else token
        request = urllib.request.Request(
            self.state.server + path, method=method, data=body,
            headers={"Authorization": f"Bearer {given}", "Content-Type": content_type})
        trusted = ssl.create_default_context(cafile=os.path.join(self.state.pki, "ca.crt"))
        try:
            with urllib.request.urlopen(request, timeout=30, context=trusted) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    # -- guests -----------------------------------------------------------------------

    def guests(self, count, prefix="vm"):
        """VMs that log their starts; defined nowhere yet. Emulated, so they run anywhere."""
        rom = os.path.join(self.state.payload_folder, "guest.rom")
        if not os.path.exists(rom):
            subprocess.run([sys.executable, os.path.join(vmshosts.DEMO, "make-payload.py"), rom],
                           check=True)
        return guests.numbered_guests(count, guests.Payload(rom=rom), "qemu",
                                      self.state.serial_folder, prefix)

    def define(self, wanted, *options):
        """Registers guests with one command; returns them."""
        path = os.path.join(self.folder, "define.xml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(guests.domains_xml(wanted))
        self.vmsctl("vm", "define", path, *options)
        return wanted

    def wait_started(self, guest, times=1, timeout_s=60.0):
        vmshosts.wait_until(lambda: guest.starts() >= times,
                            f"start number {times} of {guest.name}", timeout_s)

    # -- what runs where --------------------------------------------------------------

    def host(self, name):
        return self.state.host(name)

    def domains(self, name):
        """The UUIDs that a host's libvirt lists as active."""
        return set(self.host(name).libvirt.domains())

    def where(self, vm_id):
        """All hosts that run this VM, as the kernel has it: more than one is a disaster."""
        found = []
        for host in self.state.hosts:
            for pid in host.libvirt.qemu_pids():
                if vm_id in processes.arguments(pid):
                    found.append(host.name)
        return found

    def count_domains(self):
        """How many domains are active on all hosts together; a dead libvirtd counts as none."""
        total = 0
        for host in self.state.hosts:
            try:
                total += len(host.libvirt.domains())
            except libvirt_host.HostError:
                pass
        return total

    def wait_domains(self, count, client=None, timeout_s=120.0):
        """Until at least `count` domains exist; fails early when `client` ends before that."""
        def enough():
            if self.count_domains() >= count:
                return True
            assert client is None or not client.ended() or self.count_domains() >= count, \
                f"{client} ended before {count} domains existed: {client.output()}"
            return False

        vmshosts.wait_until(enough, f"{count} domains", timeout_s)

    def host_row(self, name):
        """A host as the engine sees it."""
        return next(row for row in self.rows("host", "list") if row["host"] == name)

    def wait_host_state(self, name, state, timeout_s=60.0):
        """Until the engine says that the host is in this state; returns its row."""
        last = {}

        def reached():
            last.update(self.host_row(name))
            return last["state"] == state

        try:
            vmshosts.wait_until(reached, f"host {name} {state}", timeout_s)
        except vmshosts.Timeout as error:
            raise vmshosts.Timeout(f"{error}; it is {last}") from None
        return last

    # -- how the daemons fare ---------------------------------------------------------

    def daemon_logs(self):
        """Logs of the programs under test."""
        return [self.state.engine_log] + [host.log for host in self.state.hosts]

    def endings(self):
        """(program, pid, exit status) of every engine and agent that has ended so far."""
        found = []
        for path in self.daemon_logs():
            found += [(name, int(pid), int(status))
                      for name, pid, status in ENDED.findall(read(path))]
        return found

    def assert_no_crash(self):
        """Engine and agents ended only because a test killed them or asked them to end."""
        wrong = [end for end in self.endings() if end[2] not in (0, -signal.SIGKILL)]
        assert not wrong, f"ended with a status of their own: {wrong}"
        assert self.state.engine_pids(), "the engine runs no more"
        for host in self.state.hosts:
            assert host.pids(), f"the agent of {host.name} runs no more"

    def show_logs(self):
        """What every daemon said last, to stderr."""
        if self.folder is None:
            return
        logs = []
        for folder, _folders, files in os.walk(self.folder):
            logs += [os.path.join(folder, name) for name in files
                     if name in ("engine.log", "agent.log", "libvirtd.log")]
        for path in sorted(logs):
            lines = read(path).splitlines()
            print(f"---- {path}, {len(lines)} lines, the last:", file=sys.stderr)
            print("\n".join(lines[-LOG_LINES_SHOWN:]), file=sys.stderr)
        for client in self.clients:
            print(f"---- {client}: {client.output()}", file=sys.stderr)
        sys.stderr.flush()

    # -- faults -----------------------------------------------------------------------

    def kill_engine(self):
        for pid in self.state.engine_pids():
            vmshosts.kill(pid)

    def restart_engine(self):
        self.quickstart("--restart-engine", self.folder)

    def stop_engine(self, timeout_s=30.0):
        """SIGTERM, and waits for the engine's end."""
        processes.send(self.state.engine_pids(), signal.SIGTERM)
        vmshosts.wait_until(lambda: not self.state.engine_pids(), "the engine's end", timeout_s)

    def start_engine_alone(self, *options):
        """Starts the engine without waiting until it says that it is ready."""
        daemon.spawn([self.state.program("vmsrunnerd"), "--config", self.state.engine_config,
                      *options],
                     self.state.engine_log, os.path.join(self.state.engine_folder, "engine.pid"))

    def kill_agent(self, name):
        for pid in self.host(name).pids():
            vmshosts.kill(pid)

    def restart_agent(self, name):
        """Also starts the host's libvirtd if that was killed."""
        self.quickstart("--restart-agent", self.folder, name)

    def start_agent_alone(self, name):
        """The agent without its libvirtd; returns at once."""
        host = self.host(name)
        daemon.spawn([self.state.program("vmshostd"), "--config", host.config], host.log,
                     host.pid_file)

    def kill_libvirtd(self, name):
        vmshosts.kill(self.host(name).libvirt.daemon_pid())

    def restart_libvirtd(self, name):
        self.host(name).libvirt.start()

    def power_off(self, name):
        """Agent, libvirtd and QEMUs of a host die at once, as in a power cut."""
        host = self.host(name)
        pids = host.pids() + host.libvirt.pids()
        processes.send(pids, signal.SIGKILL)
        vmshosts.wait_until(lambda: not (host.pids() + host.libvirt.pids()),
                            f"the end of {name}", 10.0)

    def power_on(self, name):
        """The host boots: it has another boot id, and none of its domains."""
        host = self.host(name)
        self.state.new_boot_id(host)
        self.restart_agent(name)


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
