#!/usr/bin/env python3
"""What `./quickstart` does once the packages are there. Options are checked by the caller."""

import signal

for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, signal.SIG_DFL)  # quietly, until there is something to end

import argparse
import contextlib
import json
import os
import shlex
import shutil
import sys
import tempfile
import time

import build
import cluster as clusters
import control
import demo
import guests
import killable
import libvirt_host

EXPECTED = (build.BuildError, clusters.ClusterError, control.ControlError, demo.DemoError,
            libvirt_host.HostError)
BEGAN = time.monotonic()


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repository", required=True)
    parser.add_argument("--vms", type=int, default=24)
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep")
    parser.add_argument("--detach", action="store_true")
    parser.add_argument("--with-failure", action="store_true")
    parser.add_argument("--linux", action="store_true")
    parser.add_argument("--stop")
    parser.add_argument("--restart-engine")
    parser.add_argument("--restart-agent", nargs=2)
    return parser.parse_args()


class Quickstart:
    def __init__(self, options):
        self.options = options
        # With --json only the object goes to stdout.
        self.out = sys.stderr if options.json else sys.stdout

    def say(self, text):
        print(f"[{time.monotonic() - BEGAN:6.1f} s] {text}", file=self.out, flush=True)

    def run(self):
        """The whole demonstration; returns the exit status. Leaves nothing but by request."""
        options = self.options
        folder = options.keep or tempfile.mkdtemp(prefix="vmsrunner-")
        os.makedirs(folder, exist_ok=True)
        cluster = clusters.Cluster(folder, self.say)
        leave = False
        try:
            programs = build.programs_folder(options.repository, self.say)
            memory = guests.LINUX_MEMORY_MIB if options.linux else guests.ROM_MEMORY_MIB
            settings = demo.host_settings(options.vms, options.hosts, memory)
            cluster.create(programs, options.hosts, settings)
            job = demo.Demo(cluster, options, self.say, self.out)
            job.prepare()
            cluster.start()
            self.say(f"the engine is up, with {guests.counted(options.hosts, 'host')}")
            figures = job.run()
            executed = figures.pop("executed", figures["vms"])
            success = figures["running"] == executed == figures["vms"]
            self.advertise(cluster)
            if options.json:
                print(json.dumps(figures), flush=True)
            if options.detach:
                killable.hold()
                leave = True
                self.say(f"everything stays up; to end it: ./quickstart --stop {shlex.quote(folder)}")
            elif not options.once:
                self.stay(cluster)
            killable.hold()
            return 0 if success else 1
        finally:
            if not leave:
                self.clean_up(cluster, folder)

    def advertise(self, cluster):
        token = control.token_of(cluster.token)
        self.say(f"there is no dashboard yet; the API is at {cluster.server}/v1, token: {token}")
        words = [cluster.program("vmsctl"), "--context", cluster.context, "vm", "list"]
        self.say(f"command line: {shlex.join(words)}")

    def stay(self, cluster):
        """Until a signal; tells when a daemon ends, for those who try that."""
        self.say("everything stays up until Ctrl-C")
        known = set()
        with contextlib.suppress(killable.Interrupted):
            while True:
                demo.report_deaths(cluster, self.say, known)
                time.sleep(1)

    def clean_up(self, cluster, folder):
        with contextlib.suppress(OSError):
            self.say("stopping everything")
        try:
            cluster.stop()
        finally:
            if not self.options.keep:
                shutil.rmtree(folder, ignore_errors=True)

    def existing(self, folder):
        cluster = clusters.Cluster(folder, self.say)
        cluster.load()
        return cluster

    def stop(self):
        cluster = self.existing(self.options.stop)
        killable.hold()
        cluster.stop()
        self.say(f"nothing of {cluster.folder} runs any more")
        return 0

    def restart_engine(self):
        cluster = self.existing(self.options.restart_engine)
        cluster.start_engine()
        self.say(f"the engine answers at {cluster.server}")
        return 0

    def restart_agent(self):
        folder, name = self.options.restart_agent
        cluster = self.existing(folder)
        cluster.start_host(cluster.host(name))
        cluster.wait_hosts([name], control.CONNECTED_STATES)
        row = next(row for row in cluster.ctl().hosts() if row["host"] == name)
        why = "" if row["state"] in control.READY_STATES else f"; the host is {row['state']}"
        if why and row["alarm"]:
            why += f": {row['alarm']}"
        self.say(f"the agent of {name} is back{why}")
        return 0


def main():
    # Started without an output: nobody listens, and that must not stop the work.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")
    options = parse()
    killable.install()
    quickstart = Quickstart(options)
    try:
        if options.stop:
            status = quickstart.stop()
        elif options.restart_engine:
            status = quickstart.restart_engine()
        elif options.restart_agent:
            status = quickstart.restart_agent()
        else:
            status = quickstart.run()
    except killable.Interrupted as interrupted:
        status = interrupted.exit_status
    except BrokenPipeError:
        # Nobody reads any more; keep the interpreter from complaining about that at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:
        print(f"quickstart: {error}: check the disk, and where the output goes", file=sys.stderr)
        status = 1
    except EXPECTED as error:
        print(f"quickstart: {error}", file=sys.stderr)
        status = 1
    killable.hold()
    sys.exit(status)


if __name__ == "__main__":
    main()
