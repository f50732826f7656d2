#!/usr/bin/env python3
"""One private libvirt "host": a libvirtd in mount and uts namespaces of its own.

    libvirt_host.py start NAME DIR [--slot N]    libvirt_host.py stop NAME DIR

DIR gets `libvirtd.pid` (the libvirtd itself), `libvirt-uri` (one line for `virsh -c`),
`libvirtd.log` and `libvirt/`, which the daemon sees as its /etc, /run, /var/lib,
/var/cache and /var/log libvirt folders. The folders stay in DIR, so a libvirtd that
was killed and is started again finds its running QEMUs. Several hosts on one machine
see only their own domains, and can migrate between each other (tcp://127.0.0.1).

`start` returns when the daemon answers, and does nothing when it runs already.
`stop` destroys every domain of this host, ends the daemon, and fails if any process of
the host is left. NAME becomes the host name; SLOT (0..159) chooses the migration ports.
"""

import argparse
import concurrent.futures
import fcntl
import hashlib
import os
import subprocess
import sys
import time
import urllib.parse
import uuid

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import daemon  # noqa: E402
import processes  # noqa: E402

# Folder under DIR/libvirt -> where libvirtd looks for it. The paths are compiled in.
PRIVATE_FOLDERS = {
    "etc": "/etc/libvirt",
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}
MADE_BY_US = "trusted.vmsrunner_demo"  # marks an empty mount point that we had to make
SLOTS = 160
PORTS_PER_SLOT = 64
SOCKET_PATH_MAX = 107  # sizeof(sockaddr_un.sun_path) - 1
START_TIMEOUT_S = 30.0
# --propagation private: nothing that is mounted here is seen outside.
LAUNCH = """hostname "$1"; shift
while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 1; shift 2; done
exec libvirtd -p /run/libvirt/libvirtd.pid"""

# libvirtd refuses to start without this user and group, whatever qemu.conf says. Only
# libvirt-daemon-system creates them, so the daemon is shown files that have them.
LIBVIRT_USER = "libvirt-qemu"
ACCOUNTS = {
    "passwd": f"{LIBVIRT_USER}:x:64055:64055::/nonexistent:/usr/sbin/nologin",
    "group": f"{LIBVIRT_USER}:x:64055:",
}

QEMU_CONF = """user = "root"
group = "root"
stdio_handler = "file"
security_driver = "none"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
cgroup_controllers = []
seccomp_sandbox = 0
hugetlbfs_mount = []
capability_filters = [ "cpu-unavailable-features" ]
migration_port_min = {port_min}
migration_port_max = {port_max}
"""

LIBVIRTD_CONF = """host_uuid = "{host_uuid}"
unix_sock_dir = "/run/libvirt"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:stderr"
min_workers = 32
max_workers = 32
prio_workers = 8
max_client_requests = 64
max_clients = 500
max_anonymous_clients = 200
"""


class HostError(Exception):
    """Says what is wrong and what to do about it."""


class LibvirtHost:
    """The libvirt host that lives in one folder. Not for use by two threads at once."""

    def __init__(self, name, directory, slot=None):
        self.name = name
        self.directory = os.path.realpath(directory)
        digest = hashlib.sha256(self.directory.encode()).hexdigest()
        self.slot = int(digest, 16) % SLOTS if slot is None else slot % SLOTS
        self.private = os.path.join(self.directory, "libvirt")
        self.pid_file = os.path.join(self.directory, "libvirtd.pid")
        self.log = os.path.join(self.directory, "libvirtd.log")
        # For folders whose name is too long for a socket address.
        self.link = os.path.join("/tmp", f"vms-libvirt-{digest[:16]}")

    # -- identity ---------------------------------------------------------------------

    def socket_folder(self):
        folder = os.path.join(self.private, "run")
        longest = os.path.join(folder, "libvirt-admin-sock")
        return folder if len(os.fsencode(longest)) <= SOCKET_PATH_MAX else self.link

    @property
    def uri(self):
        socket = os.path.join(self.socket_folder(), "libvirt-sock")
        return "qemu+unix:///system?socket=" + urllib.parse.quote(socket)

    def pids(self):
        """Every process that lives in this host's namespace: libvirtd and its QEMUs."""
        try:
            ours = os.stat(os.path.join(self.private, "lib"))
        except OSError:
            return []
        found = []
        for pid in processes.each_pid():
            try:
                seen = os.stat(f"/proc/{pid}/root/var/lib/libvirt")
            except OSError:
                continue
            same = (seen.st_dev, seen.st_ino) == (ours.st_dev, ours.st_ino)
            if same and processes.is_alive(pid):
                found.append(pid)
        return found

    def qemu_pids(self):
        return [pid for pid in self.pids() if self._program(pid).startswith("qemu-system")]

    def daemon_pid(self):
        """The pid of this host's running libvirtd, or None.

        A killed libvirtd may leave children that it had forked and that look like it until
        they notice; only the pid file tells them from a daemon.
        """
        pid = processes.read_pid(self.pid_file)
        return pid if pid in self.pids() and self._program(pid) == "libvirtd" else None

    @staticmethod
    def _program(pid):
        words = processes.arguments(pid)
        return os.path.basename(words[0]) if words else ""

    # -- talking to it ----------------------------------------------------------------

    def virsh(self, *words, timeout_s=30.0):
        """Runs one virsh command; returns its output or raises HostError."""
        try:
            result = subprocess.run(
                ["virsh", "-q", "-c", self.uri, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise HostError(f"libvirt of {self.name} gave no answer in {timeout_s:.0f} s") from error
        if result.returncode != 0:
            raise HostError(f"libvirt of {self.name}: {result.stderr.strip()}")
        return result.stdout

    def domains(self):
        """The UUIDs of all domains that are active on this host."""
        return self.virsh("list", "--uuid").split()

    # -- start ------------------------------------------------------------------------

    def start(self):
        self._check_place()
        if self.daemon_pid():
            self._wait_ready(START_TIMEOUT_S)
            return
        self._write_configuration()
        with MountPoints():
            self._launch()
            self._wait_ready(START_TIMEOUT_S)

    def _check_place(self):
        if os.geteuid() != 0:
            raise HostError("a private libvirt needs root: run it as root or with sudo")
        for target in PRIVATE_FOLDERS.values():
            if os.path.commonpath([self.directory, target]) == target:
                raise HostError(f"{self.directory} lies in {target}, which the private libvirt "
                                "hides: choose a folder elsewhere")
        if any(ord(char) < 32 for char in self.directory):
            raise HostError("the folder's name has control characters: choose another name")

    def _write_configuration(self):
        for folder in PRIVATE_FOLDERS:
            os.makedirs(os.path.join(self.private, folder), exist_ok=True)
        id_file = os.path.join(self.directory, "libvirt", "host-uuid")
        if not os.path.exists(id_file):
            daemon.write_atomically(id_file, f"{uuid.uuid4()}\n")
        with open(id_file, encoding="ascii") as file:
            host_uuid = file.read().strip()
        port_min = 49152 + self.slot * PORTS_PER_SLOT
        etc = os.path.join(self.private, "etc")
        daemon.write_atomically(
            os.path.join(etc, "qemu.conf"),
            QEMU_CONF.format(port_min=port_min, port_max=port_min + PORTS_PER_SLOT - 1),
        )
        daemon.write_atomically(os.path.join(etc, "libvirtd.conf"),
                                LIBVIRTD_CONF.format(host_uuid=host_uuid))
        for name, account in ACCOUNTS.items():
            with open(f"/etc/{name}", encoding="utf-8", errors="surrogateescape") as file:
                lines = file.read().splitlines()
            if not any(line.startswith(f"{LIBVIRT_USER}:") for line in lines):
                lines.append(account)
            daemon.write_atomically(os.path.join(self.private, name), "\n".join(lines) + "\n")
        if self.socket_folder() == self.link:
            self._make_link()
        daemon.write_atomically(os.path.join(self.directory, "libvirt-uri"), self.uri + "\n")

    def _make_link(self):
        target = os.path.join(self.private, "run")
        try:
            os.symlink(target, self.link)
        except FileExistsError:
            if not os.path.islink(self.link) or os.readlink(self.link) != target:
                raise HostError(f"{self.link} is in the way: remove it, or choose a folder with "
                                "a shorter name") from None

    def _launch(self):
        mounts = []
        for folder, target in PRIVATE_FOLDERS.items():
            mounts += [os.path.join(self.private, folder), target]
        for name in ACCOUNTS:
            mounts += [os.path.join(self.private, name), f"/etc/{name}"]
        command = ["unshare", "-m", "-u", "--propagation", "private", "bash", "-c", LAUNCH,
                   "libvirtd", self.name, *mounts, "--"]
        try:
            daemon.spawn(command, self.log, self.pid_file)
        except RuntimeError as error:
            raise HostError(str(error)) from error

    def _wait_ready(self, timeout_s):
        deadline = time.monotonic() + timeout_s
        reason = ""
        while time.monotonic() < deadline:
            pid = processes.read_pid(self.pid_file)
            if pid is None or not processes.is_alive(pid):
                break
            try:
                self.virsh("uri", timeout_s=5.0)
                return
            except HostError as error:
                reason = str(error)
            time.sleep(0.03)
        raise HostError(f"libvirtd of {self.name} did not come up ({reason or 'it ended'}); "
                        f"{self.log} ends with: {self._log_tail()}")

    def _log_tail(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return " | ".join(line.strip() for line in file.readlines()[-5:])
        except OSError as error:
            return str(error)

    # -- stop -------------------------------------------------------------------------

    def stop(self):
        """Ends every domain, the daemon and whatever else lives in this host."""
        self.destroy_all()
        self._end_all()
        for path in (self.pid_file,):
            if os.path.exists(path):
                os.unlink(path)
        if os.path.islink(self.link):
            os.unlink(self.link)
        MountPoints.remove_unused()

    def _end_all(self):
        """Until two looks in a row find nothing: a dying libvirtd may just have forked."""
        empty_looks = 0
        while empty_looks < 2:
            pids = self.pids()
            empty_looks = 0 if pids else empty_looks + 1
            left = processes.end(pids)
            if left:
                raise HostError(f"processes {left} of libvirt host {self.name} survived SIGKILL")

    def destroy_all(self):
        """Destroys the domains through libvirt; stop() takes care of what refuses."""
        if not self.daemon_pid():
            return
        try:
            domains = self.domains()
        except HostError:
            return
        with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(self._destroy, domains))

    def _destroy(self, domain):
        try:
            self.virsh("destroy", domain)
        except HostError:
            pass  # gone meanwhile, or the daemon hangs: stop() ends the process


class MountPoints:
    """The libvirt folders that the private ones are mounted over.

    A machine without libvirt-daemon-system lacks some. While any host runs they exist,
    empty and marked as ours; the last host to stop removes them. A lock on /run keeps
    one host from removing what another is about to mount over.
    """

    def __enter__(self):
        self._lock = os.open("/run", os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for path in PRIVATE_FOLDERS.values():
            if os.path.isdir(path):
                continue
            os.makedirs(path)
            try:
                os.setxattr(path, MADE_BY_US, b"1")
            except OSError:
                pass  # no such attributes here: the empty folder stays
        return self

    def __exit__(self, *_exception):
        os.close(self._lock)

    @staticmethod
    def remove_unused():
        lock = os.open("/run", os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for path in PRIVATE_FOLDERS.values():
                if MountPoints._is_ours(path) and not MountPoints._is_mounted(path):
                    try:
                        os.rmdir(path)
                    except OSError:
                        pass  # somebody uses it now
        finally:
            os.close(lock)

    @staticmethod
    def _is_ours(path):
        try:
            return os.getxattr(path, MADE_BY_US) == b"1"
        except OSError:
            return False

    @staticmethod
    def _is_mounted(path):
        """Whether any process has something mounted there (rmdir would unmount it)."""
        needle = f" {path} "
        for pid in processes.each_pid():
            try:
                with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="replace") as file:
                    if needle in file.read():
                        return True
            except OSError:
                continue
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("start", "stop"))
    parser.add_argument("name")
    parser.add_argument("directory")
    parser.add_argument("--slot", type=int)
    options = parser.parse_args()
    host = LibvirtHost(options.name, options.directory, options.slot)
    try:
        if options.action == "start":
            host.start()
            print(f"{host.name} up: {host.uri} pid {host.daemon_pid()}")
        else:
            host.stop()
            print(f"{host.name} stopped")
    except HostError as error:
        sys.exit(f"libvirt-host: {error}")


if __name__ == "__main__":
    main()
