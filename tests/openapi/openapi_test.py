"""schema/openapi.yaml in the hands of public tools: `openapi_test.py lint|client`.

lint: @redocly/cli finds nothing wrong. client: openapi-typescript generates types from it, and
client.ts, checked against them by tsc, drives a real engine and agent.

The tools of package-lock.json are installed below the build folder; exit status 77, with the
reason, when npm is missing or cannot reach its registry.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e", "lib"))
import small_cluster  # noqa: E402

SPEC = os.path.join(small_cluster.REPOSITORY, "schema", "openapi.yaml")
WORK = os.path.join(os.path.dirname(os.path.realpath(small_cluster.BIN)), "openapi")
PACKAGE = ("package.json", "package-lock.json", ".npmrc")
SOURCES = ("client.ts", "lint.yaml", "tsconfig.json")
UNREACHABLE = re.compile(
    r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH"
    r"|ERR_SOCKET_TIMEOUT|EIDLETIMEOUT)\b")


def skip(reason):
    print(f"skipped: {reason}", flush=True)
    sys.exit(77)


def install():
    """The tools of the lock file, once for each of its versions."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            skip(f"{tool} not found: install what .ci/packages-test.txt names")
    digest = hashlib.sha256()
    for name in PACKAGE:
        with open(os.path.join(HERE, name), "rb") as file:
            digest.update(file.read())
        shutil.copy(os.path.join(HERE, name), WORK)
    stamp = os.path.join(WORK, "installed")
    if os.path.exists(stamp):
        with open(stamp, encoding="ascii") as file:
            if file.read() == digest.hexdigest():
                return
        os.remove(stamp)
    result = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=60000"], cwd=WORK,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        if UNREACHABLE.search(result.stderr):
            skip("npm cannot reach its registry: " + result.stderr.strip().splitlines()[-1])
        raise AssertionError(f"npm ci failed: {result.stderr.strip()}")
    with open(stamp, "w", encoding="ascii") as file:
        file.write(digest.hexdigest())


def run(*words, **environment):
    print("+ " + " ".join(os.path.basename(word) for word in words), flush=True)
    subprocess.run(words, cwd=WORK, stdin=subprocess.DEVNULL, check=True,
                   env={**os.environ, "REDOCLY_TELEMETRY": "off", "NO_COLOR": "1",
                        "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", **environment})


def tool(name):
    return os.path.join(WORK, "node_modules", ".bin", name)


def lint():
    run(tool("redocly"), "lint", "--config", "lint.yaml", SPEC)


def client():
    # A field with a default may be left out of a request.
    run(tool("openapi-typescript"), SPEC, "--default-non-nullable=false", "--output", "api.ts")
    run(tool("tsc"))
    with small_cluster.SmallCluster() as cluster:
        run("node", os.path.join("out", "client.js"), SERVER=cluster.server, TOKEN=cluster.token,
            NODE_EXTRA_CA_CERTS=cluster.ca)


def main():
    os.makedirs(WORK, exist_ok=True)
    # The two tests share the tools.
    with open(os.path.join(WORK, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        install()
        for name in SOURCES:
            shutil.copy(os.path.join(HERE, name), WORK)
        {"lint": lint, "client": client}[sys.argv[1]]()


main()
