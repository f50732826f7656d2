#!/usr/bin/env python3
"""Whatever is wrong is said in one line that names the thing; and it changes nothing."""

import os
import sys
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))
import e2e  # noqa: E402
import verdict  # noqa: E402
import vmshosts  # noqa: E402
from quickstart_cluster import QuickstartCluster  # noqa: E402

FAILED, USAGE, DENIED, UNREACHABLE = 1, 2, 4, 5
WAIT_S = 120.0 * e2e.FACTOR
DOMAIN = ("<domain type='qemu'><name>{name}</name><uuid>{id}</uuid><memory unit='MiB'>{mib}"
          "</memory><vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os></domain>")


def domain(name, vm_id, mib=16):
    return DOMAIN.format(name=name, id=vm_id, mib=mib)


class Refusals:
    """Runs vmsctl commands that must fail, and collects everything that is wrong with them."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.wrong = []

    def expect(self, status, says, *words):
        """The command ends with `status` and one line of errors that contains all of `says`."""
        result = self.cluster.vmsctl(*words, check=False)
        shown = " ".join(word if len(word) < 60 else "..." for word in words)
        text = result.stderr
        if result.returncode != status:
            self.wrong.append(f"`{shown}` ended with {result.returncode}, not {status}: {text}")
        elif not text.startswith("vmsctl: ") or text.count("\n") != 1 or len(text) > 1000:
            self.wrong.append(f"`{shown}`: not one line that begins with vmsctl: {text!r}")
        else:
            self.wrong += [f"`{shown}` does not say '{part}': {text}"
                           for part in says if part not in text]

    def file(self, name, text):
        path = os.path.join(self.cluster.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def done(self):
        assert not self.wrong, "\n".join(self.wrong)


def hostile_documents(_rng):
    with QuickstartCluster(vms=0) as cluster:
        refused = Refusals(cluster)
        one, two = str(uuid.uuid4()), str(uuid.uuid4())
        good = domain("good", one)
        documents = {
            "doctype": ("<!DOCTYPE d SYSTEM 'file:///etc/passwd'>" + good, "DOCTYPE"),
            "entity": ("<!DOCTYPE d [<!ENTITY a 'b'><!ENTITY c '&a;&a;'>]>"
                       + good.replace("good", "&c;"), "DOCTYPE"),
            "truncated": (good[:len(good) // 2], "line 1"),
            "empty": ("", "empty.xml"),
            "not-xml": ("\x00\x01\x02 rubbish", "not-xml.xml"),
            "no-name": (good.replace("<name>good</name>", ""), "name"),
            "bad-uuid": (good.replace(one, "not-a-uuid"), "not-a-uuid"),
            "bad-memory": (good.replace(">16<", ">-16<"), "memory"),
            "same-name-twice": (f"<domains>{good}{domain('good', two)}</domains>", "good"),
            "same-uuid-twice": (f"<domains>{good}{domain('other', one)}</domains>", one),
            "deep": ("<a>" * 5000 + "</a>" * 5000, "deep.xml"),
        }
        for name, (text, says) in documents.items():
            path = refused.file(f"{name}.xml", text)
            refused.expect(FAILED, [f"{name}.xml", says], "vm", "define", path)
        huge = refused.file("huge.xml", good.replace("</domain>",
                                                     f"<!--{'x' * 17_000_000}--></domain>"))
        refused.expect(USAGE, ["huge.xml", "larger"], "vm", "define", huge)
        refused.expect(USAGE, ["nowhere.xml", "No such file"], "vm", "define", "/nowhere.xml")
        assert cluster.rows("vm", "list") == [], "something of it was defined"

        cluster.vmsctl("vm", "define", refused.file("good.xml", good))
        refused.expect(FAILED, [one, "good"], "vm", "define",
                       refused.file("renamed.xml", domain("renamed", one)))
        refused.expect(FAILED, ["good", one], "vm", "define",
                       refused.file("again.xml", domain("good", two)))
        cluster.vmsctl("vm", "define", refused.file("good.xml", good))
        assert [row["vm_id"] for row in cluster.rows("vm", "list")] == [one]
        refused.done()

        status, answer = cluster.http("POST", "/v1/requests", b'{"vms":["good"],"frobnicate":1}')
        assert status == 400 and "frobnicate" in answer["detail"], (status, answer)
        status, answer = cluster.http("POST", "/v1/requests", b'{"vms":["good"],"vms":["good"]}')
        assert status == 400 and "vms" in answer["detail"], (status, answer)
        status, answer = cluster.http("POST", "/v1/requests", b'{"vms":')
        assert status == 400 and answer["error_class"] == "invalid", (status, answer)
        assert cluster.rows("request", "list") == []


def wrong_words(_rng):
    with QuickstartCluster(vms=0) as cluster:
        refused = Refusals(cluster)
        cluster.vmsctl("vm", "define", refused.file("a.xml", domain("a", str(uuid.uuid4()))))
        refused.expect(FAILED, ["'nosuch'", "vmsctl vm list"], "run", "nosuch")
        refused.expect(FAILED, ["'nosuch'", "vmsctl vm list"], "run", "a", "nosuch")
        refused.expect(FAILED, ["'nowhere'", "vmsctl host list"], "run", "a", "--host", "nowhere")
        refused.expect(FAILED, ["'nosuch'"], "stop", "nosuch", "--force")
        refused.expect(FAILED, ["'nosuch'"], "vm", "show", "nosuch")
        refused.expect(FAILED, ["nosuch"], "request", "show", "nosuch")
        refused.expect(USAGE, ["--all"], "run")
        refused.expect(USAGE, ["--frob"], "run", "a", "--frob")
        refused.expect(USAGE, ["1000"], "run", "a", "--priority", "1000")
        refused.expect(USAGE, ["--deadline", "soon"], "run", "a", "--deadline", "soon")
        refused.expect(USAGE, ["no command is named", "--help"])
        token = refused.file("wrong.token", "vms_000000000000_" + 64 * "0" + "\n")
        refused.expect(DENIED, ["token"], "--token", token, "vm", "list")
        refused.expect(USAGE, ["/nowhere.token"], "--token", "/nowhere.token", "vm", "list")
        viewer = cluster.vmsctl("token", "create", "--role", "viewer").stdout.split()
        path = refused.file("viewer.token",
                            next(word for word in viewer if word.startswith("vms_")) + "\n")
        cluster.vmsctl("--token", path, "vm", "list")
        refused.expect(DENIED, ["viewer", "operator"], "--token", path, "run", "a")
        assert cluster.rows("request", "list") == [], "a refused command left a request"
        cluster.kill_engine()
        refused.expect(UNREACHABLE, [cluster.state.server], "vm", "list")
        refused.expect(UNREACHABLE, [cluster.state.server], "run", "a", "--wait")
        cluster.restart_engine()
        for name in ("h1", "h2"):
            cluster.wait_host_state(name, "ready", WAIT_S)
        refused.done()


def larger_than_any_host(_rng):
    with QuickstartCluster(vms=0) as cluster:
        refused = Refusals(cluster)
        guests = cluster.define(cluster.guests(3))
        huge = domain("huge", str(uuid.uuid4()), mib=900_000_000)
        cluster.vmsctl("vm", "define", refused.file("huge.xml", huge))
        dry = cluster.vmsctl("run", "huge", "--dry-run", check=False)
        assert dry.returncode == FAILED and "largest allowed host, h" in dry.stdout, dry
        cluster.vmsctl("run", "--all", "--wait", "--timeout", f"{int(WAIT_S)}s", check=False)
        request = verdict.assert_counts_add_up(verdict.only_request(cluster))
        assert (request["running"], request["failed"]) == (3, 1), request
        failure = request["failures"][0]
        assert failure["vm_name"] == "huge" and "largest allowed host, h" in failure["error"], \
            failure
        verdict.assert_each_runs_once(cluster, guests)


def runs_already_outside_our_control(_rng):
    """Somebody started the same VM by hand: it is never touched, and never doubled."""
    with QuickstartCluster(vms=0) as cluster:
        guests = cluster.define(cluster.guests(4))
        taken = guests[0]
        foreign = os.path.join(cluster.folder, "foreign.xml")
        with open(foreign, "w", encoding="utf-8") as file:
            file.write(taken.xml().replace(f"<name>{taken.name}<", "<name>stranger<"))
        libvirt = cluster.host("h1").libvirt
        libvirt.virsh("create", foreign)
        cluster.wait_started(taken)
        vmshosts.wait_until(lambda: "stranger" in cluster.host_row("h1")["foreign_domains"],
                            "the engine's knowledge of the stranger", WAIT_S)
        client = cluster.client("run", "--all", "--wait", "--timeout", f"{int(2 * WAIT_S)}s")

        def rest_is_up():
            rows = cluster.rows("request", "list")
            return rows and rows[0]["running"] == 3 and rows[0]["held"] == 1 and rows[0]

        request = vmshosts.wait_until(rest_is_up, "three of four up, one held", WAIT_S)
        failure = request["failures"][0]
        assert failure["error_class"] == "foreign", failure
        assert taken.name in failure["error"] and "h1" in failure["error"], failure
        assert "stranger" in libvirt.virsh("list", "--name").split(), "it was touched"
        assert taken.starts() == 1, f"it was started beside the stranger: {taken.starts()}"
        refused = Refusals(cluster)
        cluster.vmsctl("stop", taken.name, "--force", check=False)
        assert "stranger" in libvirt.virsh("list", "--name").split(), "our stop reached it"
        refused.done()
        # That stop cancelled the held run; another request waits in its place.
        client.wait(WAIT_S, status=FAILED)
        client = cluster.client("run", taken.name, "--wait", "--timeout", f"{int(2 * WAIT_S)}s")
        vmshosts.wait_until(
            lambda: any(row["state"] == "held" for row in cluster.rows("vm", "list")),
            "the VM being held again", WAIT_S)
        libvirt.virsh("destroy", "stranger")
        client.wait(WAIT_S)
        verdict.wait_executed([taken], 2)
        assert len(cluster.where(taken.vm_id)) == 1, cluster.where(taken.vm_id)


if __name__ == "__main__":
    e2e.main(hostile_documents, wrong_words, larger_than_any_host,
             runs_already_outside_our_control, limit_s=600)
