#!/usr/bin/env python3
"""`cmake --install` puts everything where a machine looks for it, and nothing else anywhere."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = os.path.dirname(os.environ.get("VMS_BIN_DIR", "build/dev/bin"))
PROGRAMS = ("vmsrunnerd", "vmshostd", "vmsctl")
EXPECTED = [f"bin/{program}" for program in PROGRAMS] + [
    "lib/systemd/system/vmsrunnerd.service",
    "lib/systemd/system/vmshostd.service",
    "lib/sysusers.d/vmsrunner.conf",
    "lib/tmpfiles.d/vmsrunner.conf",
    "share/vmsrunner/openapi.yaml",
    "share/doc/VmsRunner/README.md",
    "share/doc/VmsRunner/docs/operations/install.md",
    "share/doc/VmsRunner/docs/operations/vmsrunnerd-configuration.md",
    "share/doc/VmsRunner/examples/vmsrunnerd.example.toml",
    "share/doc/VmsRunner/examples/vmshostd.example.toml",
]
# What else may be there; man pages and completions only if they were built.
ALLOWED = ("share/doc/VmsRunner/docs/", "share/man/man", "share/bash-completion/completions/")


class Install(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="vms-install-")
        self.addCleanup(shutil.rmtree, self.root)

    def install(self, prefix):
        """Returns what was installed, relative to `prefix`."""
        done = subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix],
                              env={**os.environ, "DESTDIR": self.root}, capture_output=True,
                              text=True, timeout=300, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        found = []
        for folder, _folders, files in os.walk(self.root):
            found += [os.path.relpath(os.path.join(folder, file), self.root) for file in files]
        base = prefix.strip("/") + "/"
        self.assertEqual([path for path in found if not path.startswith(base)], [],
                         f"installed outside {prefix}")
        return [path.removeprefix(base) for path in found]

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as file:
            return file.read()

    def test_files_and_programs(self):
        found = self.install("/opt/vms")
        self.assertEqual([path for path in EXPECTED if path not in found], [], "missing")
        self.assertEqual([path for path in found
                          if path not in EXPECTED and not path.startswith(ALLOWED)], [],
                         "nobody asked for")
        for program in PROGRAMS:
            path = os.path.join(self.root, "opt/vms/bin", program)
            done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60,
                                  check=True)
            self.assertRegex(done.stdout, rf"^{program} \d+\.\d+\.\d+")

    def test_units_name_the_prefix(self):
        self.install("/opt/vms")
        for program in PROGRAMS[:2]:
            unit = self.read(f"opt/vms/lib/systemd/system/{program}.service")
            self.assertIn(f"ExecStart=/opt/vms/bin/{program} --config "
                          f"/opt/vms/etc/vmsrunner/{program}.toml\n", unit)
            self.assertNotIn("@", unit)

    def test_below_usr_the_configuration_is_in_etc(self):
        self.install("/usr")
        for program in PROGRAMS[:2]:
            unit = self.read(f"usr/lib/systemd/system/{program}.service")
            self.assertIn(f"ExecStart=/usr/bin/{program} --config /etc/vmsrunner/{program}.toml\n",
                          unit)
        self.assertIn("d /etc/vmsrunner ", self.read("usr/lib/tmpfiles.d/vmsrunner.conf"))


if __name__ == "__main__":
    if not os.path.exists(os.path.join(BUILD, "cmake_install.cmake")):
        print(f"{BUILD} is no build directory")
        sys.exit(77)
    unittest.main(verbosity=2)
