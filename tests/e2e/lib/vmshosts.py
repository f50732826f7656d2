"""Private libvirt hosts for end-to-end tests, and the witness of what their guests did.

    with LibvirtHosts(2) as hosts:
        guest = hosts.guest("vm-1")
        hosts[0].virsh("create", "--validate", hosts.xml_file(guest))
        hosts.wait_started(guest)
        hosts.kill_libvirtd(0)
        hosts.restart_libvirtd(0)

Everything lies in one temporary folder. Leaving the block ends every process of the
hosts and removes the folder, also after an exception, Ctrl-C or SIGTERM. Python's
standard library only; needs root, libvirt-daemon-driver-qemu and qemu-system-x86.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.realpath(__file__)))))
DEMO = os.path.join(REPOSITORY, "config", "demo")
sys.path.insert(0, DEMO)

import guests  # noqa: E402
import libvirt_host  # noqa: E402
import processes  # noqa: E402


class Timeout(AssertionError):
    """What was waited for did not come within its bound."""


def wait_until(condition, what, timeout_s=30.0):
    """Polls until `condition()` is true and returns its value; Timeout names `what`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise Timeout(f"{what} did not happen within {timeout_s:.0f} s")
        time.sleep(0.02)


class LibvirtHosts:
    """`count` libvirt hosts, named h1, h2, ...; index them from 0."""

    def __init__(self, count=2, kvm=False, keep=False):
        self.count = count
        self.domain_type = "kvm" if kvm else "qemu"
        self.keep = keep
        self.folder = None
        self.hosts = []
        self._old_handler = None

    def __enter__(self):
        self._catch_sigterm()
        try:
            self.folder = tempfile.mkdtemp(prefix="vms-e2e-")
            self.serial_folder = os.path.join(self.folder, "serial")
            os.mkdir(self.serial_folder)
            rom = os.path.join(self.folder, "guest.rom")
            subprocess.run([sys.executable, os.path.join(DEMO, "make-payload.py"), rom],
                           check=True)
            self.payload = guests.Payload(rom=rom)
            for number in range(1, self.count + 1):
                folder = os.path.join(self.folder, "hosts", f"h{number}")
                os.makedirs(folder)
                host = libvirt_host.LibvirtHost(f"h{number}", folder, slot=number)
                self.hosts.append(host)
                host.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exception):
        self.close()

    def __len__(self):
        return len(self.hosts)

    def __getitem__(self, index):
        return self.hosts[index]

    def close(self):
        """Ends all processes and removes the folder; may be called twice."""
        # A second signal must not cut the clean-up short.
        in_main = threading.current_thread() is threading.main_thread()
        ignored = (signal.SIGTERM, signal.SIGINT) if in_main else ()
        saved = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
        try:
            failures = []
            for host in self.hosts:
                try:
                    host.stop()
                except libvirt_host.HostError as error:
                    failures.append(str(error))
            if self.folder and not self.keep and not failures:
                shutil.rmtree(self.folder, ignore_errors=True)
            self.hosts = []
        finally:
            for number, handler in saved.items():
                signal.signal(number, handler)
            self._release_sigterm()
        if failures:
            raise RuntimeError("; ".join(failures))

    def _catch_sigterm(self):
        if threading.current_thread() is not threading.main_thread():
            return

        def leave(number, _frame):
            raise SystemExit(128 + number)

        self._old_handler = signal.signal(signal.SIGTERM, leave)

    def _release_sigterm(self):
        if self._old_handler is not None:
            signal.signal(signal.SIGTERM, self._old_handler)
            self._old_handler = None

    # -- guests -----------------------------------------------------------------------

    def guest(self, name, payload=None, vm_id=None):
        """A VM that logs its starts; defined nowhere yet."""
        log = os.path.join(self.serial_folder, f"{name}.log")
        return guests.Guest(name, payload or self.payload, self.domain_type, log, vm_id)

    def guests(self, count, prefix="vm"):
        return guests.numbered_guests(count, self.payload, self.domain_type,
                                      self.serial_folder, prefix)

    def xml_file(self, *wanted):
        """Writes the guests' XML to a file: one <domain>, or several in <domains>."""
        text = wanted[0].xml() if len(wanted) == 1 else guests.domains_xml(wanted)
        handle, path = tempfile.mkstemp(suffix=".xml", dir=self.folder)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def wait_started(self, guest, times=1, timeout_s=30.0):
        wait_until(lambda: guest.starts() >= times,
                   f"start number {times} of {guest.name}", timeout_s)

    # -- what runs where --------------------------------------------------------------

    def domains(self, index):
        """The UUIDs of the active domains of one host, as its libvirt lists them."""
        return set(self.hosts[index].domains())

    def where(self, vm_id):
        """The indices of all hosts that list this VM: more than one is a disaster."""
        return [index for index in range(len(self.hosts)) if vm_id in self.domains(index)]

    def qemu_pid(self, index, vm_id):
        """The QEMU process of a VM on a host, or None; asks the kernel, not libvirt."""
        for pid in self.hosts[index].qemu_pids():
            if vm_id in processes.arguments(pid):
                return pid
        return None

    # -- faults -----------------------------------------------------------------------

    def kill_libvirtd(self, index):
        """SIGKILL for one host's libvirtd; its domains live on."""
        pid = self.hosts[index].daemon_pid()
        if pid is None:
            raise RuntimeError(f"no libvirtd runs on h{index + 1}")
        kill(pid)

    def restart_libvirtd(self, index):
        """Starts a libvirtd that was killed; it finds its domains again."""
        self.hosts[index].start()

    def power_off(self, index):
        """Every process of the host dies at once, as in a power cut; the folder stays."""
        for pid in self.hosts[index].pids():
            processes.send([pid], signal.SIGKILL)
        wait_until(lambda: not self.hosts[index].pids(), f"the end of h{index + 1}", 10.0)


def kill(pid, timeout_s=10.0):
    """SIGKILL by pid, and waits until the process is gone."""
    processes.send([pid], signal.SIGKILL)
    if processes.wait_gone([pid], timeout_s):
        raise Timeout(f"process {pid} survived SIGKILL")
