"""A whole VmsRunner for end-to-end tests: engine, agents, libvirt hosts, by `quickstart`.

    with QuickstartCluster(vms=0, hosts=2) as cluster:
        guests = cluster.define(cluster.guests(8))
        cluster.vmsctl("run", "--all", "--wait")
        cluster.kill_engine()
        cluster.restart_engine()
        assert all(guest.starts() == 1 for guest in guests)

The programs are those of $VMS_BIN, else quickstart builds the release ones. Leaving the
block ends everything and removes the folder, also after an exception, Ctrl-C or SIGTERM.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import vmshosts

import cluster as clusters  # noqa: E402  (config/demo, which vmshosts put on the path)
import guests  # noqa: E402
import processes  # noqa: E402

QUICKSTART = os.path.join(vmshosts.REPOSITORY, "quickstart")


class QuickstartCluster:
    def __init__(self, vms=0, hosts=2, keep=False, options=()):
        self.options = ["--vms", str(vms), "--hosts", str(hosts), *options]
        self.keep = keep
        self.folder = None
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
            self.close()
            raise
        return self

    def __exit__(self, *_exception):
        self.close()

    def close(self):
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

    def rows(self, *words):
        """The rows of a list command, as dictionaries."""
        output = self.vmsctl(*words, "--output", "ndjson").stdout
        return [json.loads(line) for line in output.splitlines() if line.strip()]

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
        """All hosts that list this VM: more than one is a disaster."""
        return [host.name for host in self.state.hosts if vm_id in self.domains(host.name)]

    # -- faults -----------------------------------------------------------------------

    def kill_engine(self):
        for pid in self.state.engine_pids():
            vmshosts.kill(pid)

    def restart_engine(self):
        self.quickstart("--restart-engine", self.folder)

    def kill_agent(self, name):
        for pid in self.host(name).pids():
            vmshosts.kill(pid)

    def restart_agent(self, name):
        """Also starts the host's libvirtd if that was killed."""
        self.quickstart("--restart-agent", self.folder, name)

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
