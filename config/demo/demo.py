"""The main job: define VMs, start all of them with one request, prove it, show history."""

import datetime
import os
import shlex
import sys
import time

import guests
import killable
import processes

HERE = os.path.dirname(os.path.realpath(__file__))
HISTORY_ROWS_SHOWN = 20  # per host; the whole history stays a command away
WAIT_S = {"rom": (120, 2.0), "linux": (180, 10.0)}  # bound of a start: fixed part, per VM
WITNESS_S = {"rom": (30, 0.5), "linux": (60, 10.0)}


class DemoError(Exception):
    """Says what is wrong and what to do about it."""


class Demo:
    """One bulk start on a running cluster. `out` is the stream for people."""

    def __init__(self, cluster, options, say, out):
        self.cluster = cluster
        self.options = options
        self.say = say
        self.out = out
        self.kind = "linux" if options.linux else "rom"
        self.guests = []
        self.broken = []

    # -- before the daemons are up ----------------------------------------------------

    def prepare(self):
        """Makes the payload and chooses between KVM and emulation; needs no daemon."""
        payload = self._payload()
        self.domain_type = self._probe(payload)
        serial = self.cluster.serial_folder
        self.guests = guests.numbered_guests(self.options.vms, payload, self.domain_type, serial)
        if self.options.with_failure:
            self.broken = [guests.broken_guest(self.domain_type, serial,
                                               self.cluster.payload_folder)]

    def _payload(self):
        folder = self.cluster.payload_folder
        if self.options.linux:
            cache = os.path.join(self.options.repository, "build", "linux-payload")
            self.say("the Linux guest: Debian's cloud kernel and busybox")
            self._must([os.path.join(HERE, "linux-payload.sh"), cache])
            return guests.Payload(kernel=os.path.join(cache, "vmlinuz"),
                                  initrd=os.path.join(cache, "initrd.gz"))
        rom = os.path.join(folder, "guest.rom")
        self._must([sys.executable, os.path.join(HERE, "make-payload.py"), rom])
        return guests.Payload(rom=rom)

    def _probe(self, payload):
        files = [payload.kernel, payload.initrd] if payload.kernel else [payload.rom]
        answer = self._must([os.path.join(HERE, "probe-kvm.sh"), *files]).strip()
        kind, _, why = answer.partition(": ")
        self.say(f"guests run with {'KVM' if kind == 'kvm' else 'software emulation'}: {why}")
        return kind

    @staticmethod
    def _must(argv):
        status, output, errors = killable.output_of(argv)
        if status != 0:
            raise DemoError(f"`{' '.join(argv)}` failed: {errors.strip()}")
        return output

    # -- the job ----------------------------------------------------------------------

    def run(self):
        """Returns the figures of the JSON line; all zero when there is nothing to start."""
        wanted = self.guests + self.broken
        if not wanted:
            self.say("no VMs asked for: nothing is started")
            return self._figures({}, [])
        ctl = self.cluster.ctl()
        document = os.path.join(self.cluster.payload_folder, "vms.xml")
        with open(document, "w", encoding="utf-8") as file:
            file.write(guests.domains_xml(wanted))
        ctl.ask("vm", "define", document)
        self.say(f"{guests.counted(len(wanted), 'VM')} defined; starting all with one request")
        fixed, each = WAIT_S[self.kind]
        ctl.show("run", "--all", "--wait", "--timeout", f"{int(fixed + each * len(wanted))}s",
                 to=self.out)
        request = ctl.rows("request", "list")[0]
        rows = ctl.history("--request", request["request_id"],
                           "--limit", str(max(1000, 4 * len(wanted))))
        figures = self._figures(request, rows)
        figures["executed"] = self._witness()
        self._show_history(rows)
        self._show_batches(rows, figures)
        self._show_failures(rows)
        return figures

    def _figures(self, request, rows):
        begun = moments(rows, "requested_at")
        up = moments(rows, "running_at")
        milliseconds = [round((moment - min(begun)).total_seconds() * 1000) for moment in up]
        succeeded = {row["vm_id"] for row in rows if row.get("outcome") == "succeeded"
                     or row.get("state") in ("running", "ready")}
        wanted = len(self.guests) + len(self.broken)
        return {
            "vms": wanted,
            "running": request.get("running", 0) + request.get("ready", 0) or len(succeeded),
            "failed": request.get("failed", 0),
            "hosts": len(self.cluster.hosts),
            "batches": len({row["batch_id"] for row in rows if row.get("batch_id")}),
            "elapsed_ms": max(milliseconds, default=0),
            "first_running_ms": min(milliseconds, default=0),
            "history_rows": len(rows),
        }

    def _witness(self):
        """Counts the guests that executed exactly once, by their own serial logs."""
        fixed, each = WITNESS_S[self.kind]
        deadline = time.monotonic() + fixed + each * len(self.guests)
        silent = [guest for guest in self.guests if guest.starts() == 0]
        while silent and time.monotonic() < deadline:
            time.sleep(0.05)
            silent = [guest for guest in silent if guest.starts() == 0]
        counts = {guest.name: guest.starts() for guest in self.guests}
        once = [name for name, count in counts.items() if count == 1]
        self.say(f"witness: {len(once)} of {len(counts)} guests printed their start line "
                 "exactly once to their serial log")
        for name, count in counts.items():
            if count != 1:
                self.say(f"  {name} printed it {count} times: see "
                         f"{self.cluster.serial_folder}/{name}.log")
        return len(once)

    # -- what people see --------------------------------------------------------------

    def _show_history(self, rows):
        for host in self.cluster.hosts:
            count = sum(1 for row in rows if row["host"] == host.name)
            self.say(f"history of {host.name}: {guests.counted(count, 'attempt')}, newest first")
            self.out.flush()
            self.cluster.ctl().show("history", "--host", host.name, "--limit",
                                    str(HISTORY_ROWS_SHOWN), to=self.out)
            if count > HISTORY_ROWS_SHOWN:
                self.say(f"  and {count - HISTORY_ROWS_SHOWN} more: vmsctl history --host "
                         f"{host.name}")

    def _show_batches(self, rows, figures):
        sizes = {}
        for row in rows:
            if row.get("batch_id"):
                key = (row["host"], row["batch_id"])
                sizes[key] = sizes.get(key, 0) + 1
        self.say(f"{guests.counted(figures['batches'], 'bulk message')}: " + ", ".join(
            f"{guests.counted(size, 'VM')} to {host}" for (host, _), size in sorted(sizes.items())))
        elapsed = figures["elapsed_ms"] / 1000
        rate = f", {figures['running'] / elapsed:.1f} VMs/s" if elapsed else ""
        self.say(f"{figures['running']} of {guests.counted(figures['vms'], 'VM')} up; the first "
                 f"after {figures['first_running_ms']} ms, the last after "
                 f"{figures['elapsed_ms']} ms{rate}")

    def _show_failures(self, rows):
        shown = set()
        for row in rows:
            key = (row["vm_id"], row["host"])
            if row.get("error") and key not in shown:
                shown.add(key)
                self.say(f"  {row['vm_name']} on {row['host']}: {row['error_class']}: "
                         f"{row['error']}")


def moments(rows, key):
    return [datetime.datetime.fromisoformat(row[key]) for row in rows if row.get(key)]


def host_settings(vms, hosts, memory_mib):
    """Each host's share of this machine; DemoError when the VMs cannot fit."""
    with open("/proc/meminfo", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    available = int(fields["MemAvailable"].split()[0]) * 1024
    share = int(available * 0.8) // hosts
    needed = vms * memory_mib * 2**20
    if needed > share * hosts:
        raise DemoError(f"{vms} VMs of {memory_mib} MiB need {needed >> 20} MiB, and this machine "
                        f"can spare {share * hosts >> 20} MiB: ask for fewer with --vms")
    cpus = len(os.sched_getaffinity(0))
    # Room for everything on one host, so that it can take over from the others.
    return {"vcpu_ratio": max(64.0, 2.0 * vms / cpus), "cpus": cpus, "memory": share}


def report_deaths(cluster, say, known):
    """Tells of daemons that ended since the last call; `known` is kept by the caller."""
    folder = shlex.quote(cluster.folder)
    watched = {"the engine": (cluster.engine_folder + "/engine.pid",
                              f"--restart-engine {folder}")}
    for host in cluster.hosts:
        again = f"--restart-agent {folder} {host.name}"
        watched[f"the agent of {host.name}"] = (host.pid_file, again)
        watched[f"libvirtd of {host.name}"] = (host.libvirt.pid_file, again)
    for what, (pid_file, again) in watched.items():
        pid = processes.read_pid(pid_file)
        if pid and not processes.is_alive(pid) and pid not in known:
            known.add(pid)
            say(f"{what} (pid {pid}) has ended: ./quickstart {again} starts it again")
