#!/usr/bin/env python3
"""Certificates of running daemons: renewed, replaced by another authority, revoked, expired, misused.

Real programs over real TLS; the hosts are simulated, so that it needs neither root nor libvirt.
"""

import json
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
import uuid

BIN = os.environ.get("VMS_BIN_DIR", "build/dev/bin")
FACTOR = 5 if os.environ.get("VMS_SANITIZE") else 1
LIMIT_S = 30 * FACTOR


def wait_until(condition, what):
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {LIMIT_S} s for {what}")


def run(*argv, status=0):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == status, f"{argv} ended with {done.returncode}: {done.stderr}"
    return done


class Daemon:
    """One program with its log."""

    def __init__(self, program, config, log):
        self.log = log
        with open(log, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen([os.path.join(BIN, program), "--config", config],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def mark(self):
        """A place in the log: what follows is new."""
        return os.path.getsize(self.log)

    def text(self, since=0):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            file.seek(since)
            return file.read()

    def wait(self, *parts, since=0):
        """Waits for a line with all `parts`; returns it."""
        def found():
            assert self.process.poll() is None, f"it ended:\n{self.text()}"
            for line in self.text(since).splitlines():
                if all(part in line for part in parts):
                    return line
            return None
        try:
            return wait_until(found, f"a line with {parts}")
        except AssertionError as error:
            raise AssertionError(f"{error}; the log is\n{self.text(since)}") from None

    def hang_up(self):
        """SIGHUP, and waits until it has been dealt with; returns what it logged."""
        since = self.mark()
        self.process.send_signal(signal.SIGHUP)
        self.wait("SIGHUP:", "read again", since=since)
        return self.text(since)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Certificates(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="vms-certificates-")
        self.addCleanup(run, "rm", "-rf", self.folder)
        self.daemons = []
        self.addCleanup(lambda: [daemon.stop() for daemon in reversed(self.daemons)])
        self.pki = self.path("pki")
        self.ctl("pki", "init", self.pki)
        self.ctl("pki", "issue", self.pki, "--server", "127.0.0.1")
        # What the daemons read; the authority's own folder is elsewhere, as in real life.
        os.mkdir(self.path("tls"))
        self.put(self.pki, "ca.crt", "ca.crl")
        self.put_pair(self.pki, "127.0.0.1", "engine")

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def tls(self, name):
        return self.path("tls", name)

    def ctl(self, *arguments, status=0):
        return run(os.path.join(BIN, "vmsctl"), *arguments, status=status)

    def write(self, path, text):
        with open(path + ".part", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(path + ".part", path)

    def put(self, pki, *names):
        for name in names:
            with open(os.path.join(pki, name), encoding="utf-8") as file:
                self.write(self.tls(name), file.read())

    def put_pair(self, pki, name, as_name):
        for kind in ("crt", "key"):
            with open(os.path.join(pki, f"{name}.{kind}"), encoding="utf-8") as file:
                self.write(self.tls(f"{as_name}.{kind}"), file.read())

    def issue_host(self, host, pki=None, *options):
        self.ctl("pki", "issue", pki or self.pki, "--host", host, *options)
        self.put_pair(pki or self.pki, host, host)

    def engine_config(self, certificate="engine"):
        pair = f'certificate = "{self.tls(certificate)}.crt"\nkey = "{self.tls(certificate)}.key"\n'
        self.write(self.path("engine.toml"), f"""[engine]
state_dir = "{self.path("engine")}"
[api]
listen = "127.0.0.1:0"
port_file = "{self.path("api.port")}"
{pair}
[agents]
listen = "127.0.0.1:0"
port_file = "{self.path("agents.port")}"
client_ca = "{self.tls("ca.crt")}"
crl = "{self.tls("ca.crl")}"
{pair}""")
        return self.path("engine.toml")

    def start_engine(self, certificate="engine"):
        config = self.engine_config(certificate)
        run(os.path.join(BIN, "vmsrunnerd"), "--config", config, "--create-admin-token",
            self.path("token"))
        engine = Daemon("vmsrunnerd", config, self.path("engine.log"))
        self.daemons.append(engine)
        engine.wait(" is up: ")
        return engine

    def port(self, name):
        with open(self.path(f"{name}.port"), encoding="ascii") as file:
            return file.read().strip()

    def start_agent(self, host, certificate=None):
        os.makedirs(self.path(host), exist_ok=True)
        for name in ("boot", "hardware"):
            self.write(self.path(host, name), f"{uuid.uuid4()}\n")
        config = self.path(host, "agent.toml")
        self.write(config, f"""[agent]
host = "{host}"
state_dir = "{self.path(host, "state")}"
engine = "{self.port("agents")}"
certificate = "{self.tls(certificate or host)}.crt"
key = "{self.tls(certificate or host)}.key"
ca = "{self.tls("ca.crt")}"
crl = "{self.tls("ca.crl")}"
boot_id_file = "{self.path(host, "boot")}"
hardware_uuid_file = "{self.path(host, "hardware")}"
[hypervisor]
type = "simulated"
""")
        agent = Daemon("vmshostd", config, self.path(host, "log"))
        self.daemons.append(agent)
        return agent

    def host(self, name):
        """The engine's view, or nothing."""
        done = subprocess.run([os.path.join(BIN, "vmsctl"), "--server",
                               f"https://{self.port('api')}", "--token", self.path("token"),
                               "--ca", self.tls("ca.crt"), "--output", "json", "host", "list"],
                              capture_output=True, text=True, timeout=LIMIT_S, check=False)
        if done.returncode != 0:
            return None
        return {row["host"]: row for row in json.loads(done.stdout)}.get(name)

    def wait_ready(self, *hosts):
        for name in hosts:
            wait_until(lambda name=name: (self.host(name) or {}).get("state") == "ready",
                       f"host {name} to be ready")

    def server_serial(self, port, **pair):
        """The serial of the certificate that a listener shows to a new connection."""
        context = ssl.create_default_context(cafile=self.tls("ca.crt"))
        if pair:
            context.load_cert_chain(**pair)
        address, number = self.port(port).rsplit(":", 1)
        with socket.create_connection((address, int(number)), timeout=LIMIT_S) as plain:
            with context.wrap_socket(plain, server_hostname=address) as connection:
                return connection.getpeercert()["serialNumber"].lower()

    def serial(self, file):
        return json.loads(self.ctl("pki", "show", file, "--output", "json").stdout)[0]["serial"]

    def openssl_certificate(self, name, subject, days):
        """A host's certificate that 'vmsctl pki issue' would not make."""
        extensions = self.path("ext")
        self.write(extensions, "basicConstraints=critical,CA:FALSE\n"
                               "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n")
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", subject, "-keyout", self.tls(f"{name}.key"), "-out",
            self.path("csr"))
        run("openssl", "x509", "-req", "-in", self.path("csr"), "-CA", f"{self.pki}/ca.crt",
            "-CAkey", f"{self.pki}/ca.key", "-CAcreateserial", "-days", str(days), "-extfile",
            extensions, "-out", self.tls(f"{name}.crt"))

    # -- rotation ---------------------------------------------------------------------

    def test_renewal_leaves_sessions_alone_and_serves_new_ones(self):
        self.issue_host("h1")
        self.issue_host("h2")
        engine = self.start_engine()
        agent = self.start_agent("h1")
        self.wait_ready("h1")
        before, agent_before = engine.mark(), agent.mark()
        self.ctl("pki", "issue", self.pki, "--server", "127.0.0.1", "--renew")
        self.put_pair(self.pki, "127.0.0.1", "engine")
        self.issue_host("h1", None, "--renew")
        engine.hang_up()
        agent.hang_up()
        renewed = self.serial(self.tls("engine.crt"))
        self.assertEqual(self.server_serial("api"), renewed)
        self.assertEqual(self.server_serial("agents", certfile=self.tls("h2.crt"),
                                            keyfile=self.tls("h2.key")), renewed)
        self.start_agent("h2")
        self.wait_ready("h1", "h2")
        self.assertNotIn("h1", engine.text(before))
        self.assertNotIn("session", agent.text(agent_before))

    def test_a_broken_or_expired_file_leaves_the_old_one_in_use(self):
        self.issue_host("h1")
        engine = self.start_engine()
        old = self.server_serial("api")
        self.write(self.tls("engine.crt"), "no certificate\n")
        log = engine.hang_up()
        for whose in ("the agents' listener's", "the API's"):
            self.assertIn(f"{whose} certificates stay as they were: {self.tls('engine.crt')}", log)
        self.assertEqual(self.server_serial("api"), old)
        self.openssl_certificate("engine", "/CN=127.0.0.1", -1)
        self.assertIn("expired on 20", engine.hang_up())
        self.assertEqual(self.server_serial("api"), old)
        self.write(self.tls("ca.crl"), "no list\n")
        self.put_pair(self.pki, "127.0.0.1", "engine")
        self.assertIn(f"revocation list {self.tls('ca.crl')}", engine.hang_up())
        self.put(self.pki, "ca.crl")

        agent = self.start_agent("h1")
        self.wait_ready("h1")
        self.write(self.tls("h1.key"), "no key\n")
        self.assertIn("the certificates stay as they were", agent.hang_up())
        since = agent.mark()
        # A new dial, which the engine forces by going away.
        engine.stop()
        agent.wait("dialing with the certificates read before", "h1.key", since=since)

    def test_another_authority_takes_over_step_by_step(self):
        self.issue_host("h1")
        self.issue_host("h2")
        engine = self.start_engine()
        agents = {name: self.start_agent(name) for name in ("h1", "h2")}
        self.wait_ready("h1", "h2")
        new = self.path("pki2")
        self.ctl("pki", "init", new)
        # 1. Everybody trusts both.
        for name in ("ca.crt", "ca.crl"):
            self.write(self.tls(name), run("cat", f"{self.pki}/{name}", f"{new}/{name}").stdout)
        before = engine.mark()
        engine.hang_up()
        # 2. New certificates, one after the other.
        self.ctl("pki", "issue", new, "--server", "127.0.0.1")
        self.put_pair(new, "127.0.0.1", "engine")
        engine.hang_up()
        self.issue_host("h1", new)
        agents["h1"].hang_up()
        self.assertNotIn("was cut", engine.text(before))
        self.wait_ready("h1", "h2")
        # 3. The old one goes: h1 comes back with its new certificate, h2 was forgotten.
        since = engine.mark()
        self.put(new, "ca.crt", "ca.crl")
        engine.hang_up()
        for name in ("h1", "h2"):
            engine.wait(f"connection to {name} ", "was cut: certificate of", since=since)
        engine.wait("certificate of 'h2' refused", "refused connection", since=since)
        self.wait_ready("h1")
        self.assertNotEqual(self.host("h2")["state"], "ready")
        self.issue_host("h2", new)
        self.wait_ready("h2")

    # -- refusal ----------------------------------------------------------------------

    def test_a_revoked_host_is_cut_and_refused(self):
        for name in ("h1", "h2"):
            self.issue_host(name)
        engine = self.start_engine()
        agent = self.start_agent("h1")
        self.start_agent("h2")
        self.wait_ready("h1", "h2")
        since = engine.mark()
        self.ctl("pki", "revoke", self.pki, "--host", "h1")
        self.put(self.pki, "ca.crl")
        engine.hang_up()
        engine.wait("connection to h1 ", "was cut: certificate of 'h1' refused: certificate revoked",
                    since=since)
        engine.wait("refused connection from", "certificate of 'h1' refused: certificate revoked",
                    since=since)
        agent.wait("refused our certificate", "it was revoked")
        self.assertNotIn("connection to h2", engine.text(since))
        self.assertEqual(self.host("h2")["state"], "ready")
        # Another certificate of the same host is another matter.
        self.issue_host("h1", None, "--replace")
        self.wait_ready("h1")

    def test_an_older_certificate_is_revoked_with_the_newest(self):
        self.issue_host("h1")
        self.put_pair(self.pki, "h1", "stolen")
        self.issue_host("h1", None, "--renew")
        self.ctl("pki", "revoke", self.pki, "--host", "h1")
        self.put(self.pki, "ca.crl")
        engine = self.start_engine()
        agent = self.start_agent("h1", "stolen")
        engine.wait("refused connection from", "certificate revoked")
        agent.wait("it was revoked")

    def test_a_revoked_engine_gets_no_agent(self):
        self.issue_host("h1")
        self.ctl("pki", "revoke", self.pki, "--server", "127.0.0.1")
        self.put(self.pki, "ca.crl")
        self.start_engine()
        self.start_agent("h1").wait("we refuse the engine at", "'127.0.0.1' refused: "
                                    "certificate revoked")

    def test_a_reload_tells_what_needs_a_restart(self):
        engine = self.start_engine()
        with open(self.engine_config(), "a", encoding="utf-8") as file:
            file.write("[hosts]\nheartbeat = \"2s\"\n[log]\nlevel = \"debug\"\n")
        self.assertIn("read again; hosts.heartbeat changed and needs a restart", engine.hang_up())

    def test_an_expired_host_is_told_file_date_and_next_step(self):
        self.openssl_certificate("old", "/CN=h1", -1)
        engine = self.start_engine()
        agent = self.start_agent("h1", "old")
        engine.wait("certificate of 'h1' refused: certificate has expired on 20", "vmsctl pki issue")
        agent.wait(f"refused our certificate {self.tls('old.crt')} (good until 20",
                   "it has expired", "vmsctl pki issue")
        agent.wait(f"certificate {self.tls('old.crt')} of 'h1' expired on 20",
                   "vmsctl pki issue DIR --host h1 --renew")

    def test_certificates_are_good_for_one_end_only(self):
        self.issue_host("h1")
        engine = self.start_engine()
        self.start_agent("h2", "engine")
        engine.wait("refused connection from", "certificate of '127.0.0.1' refused", "purpose",
                    "hosts need one issued with --host")
        engine.stop()
        self.daemons.remove(engine)
        os.unlink(self.path("token"))
        self.start_engine("h1")
        agent = self.start_agent("h1")
        agent.wait("we refuse the engine at", "purpose", "servers one with --server")

    def test_a_name_that_is_no_host_id_gets_no_session(self):
        engine = self.start_engine()
        for number, subject in enumerate(("/CN=Not_A_Host", "/CN=h1/CN=h2", "/O=nobody")):
            self.openssl_certificate("odd", subject, 10)
            since = engine.mark()
            agent = self.start_agent(f"x{number}", "odd")
            wait_until(lambda since=since: any(
                text in engine.text(since) for text in
                ("names no valid host", "more than one common name", "no common name")), subject)
            agent.stop()
        done = self.ctl("pki", "issue", self.pki, "--host", "Not_A_Host", status=2)
        self.assertIn("cannot name a host", done.stderr)

    def test_a_check_warns_of_what_will_expire(self):
        self.ctl("pki", "issue", self.pki, "--server", "127.0.0.1", "--renew", "--days", "12")
        self.put_pair(self.pki, "127.0.0.1", "engine")
        done = run(os.path.join(BIN, "vmsrunnerd"), "--config", self.engine_config(),
                   "--check-config")
        self.assertRegex(done.stderr, r"warning: certificate \S+engine.crt of '127.0.0.1' expires "
                                      r"on 20\S+, in 11 days; renew it with 'vmsctl pki issue DIR "
                                      r"--server 127.0.0.1 --renew'")
        self.start_engine().wait("warning", "expires on")


if __name__ == "__main__":
    unittest.main(verbosity=2)
