#!/usr/bin/env python3
"""The configuration reference is what the programs print, and the examples say what it says."""

import os
import re
import subprocess
import tomllib
import unittest

BIN = os.environ.get("VMS_BIN_DIR", "build/dev/bin")
SOURCE = os.environ.get("VMS_SOURCE_DIR", ".")
# Keys without a default, and what an example must therefore make up.
REQUIRED = "required"


def reference(program):
    done = subprocess.run([os.path.join(BIN, program), "--config-reference"], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(text):
    """key -> (type, default, allowed)"""
    found = {}
    for line in text.splitlines():
        if match := re.match(r"\| `([^`]+)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \|", line):
            key, kind, default, allowed = (part.strip() for part in match.groups())
            found[key] = (kind, default.strip("`"), allowed)
    return found


def lookup(config, key):
    for part in key.split("."):
        config = config[part]
    return config


class ConfigReference(unittest.TestCase):
    programs = ("vmsrunnerd", "vmshostd")

    def test_the_committed_page_is_what_the_program_prints(self):
        for program in self.programs:
            with self.subTest(program):
                page = f"docs/operations/{program}-configuration.md"
                with open(os.path.join(SOURCE, page), encoding="utf-8") as file:
                    self.assertEqual(reference(program), file.read(),
                                     f"write it anew: {program} --config-reference > {page}")

    def test_the_examples_hold_every_key_with_its_default(self):
        for program in self.programs:
            example = os.path.join(SOURCE, f"config/{program}.example.toml")
            with open(example, "rb") as file:
                config = tomllib.load(file)
            keys = rows(reference(program))
            self.assertGreater(len(keys), 20)
            for key, (_kind, default, allowed) in keys.items():
                with self.subTest(program=program, key=key):
                    value = lookup(config, key)
                    if allowed == REQUIRED:
                        self.assertTrue(value)
                    else:
                        self.assertEqual(value, tomllib.loads(f"value = {default}")["value"])

    def test_the_examples_are_valid(self):
        for program in self.programs:
            with self.subTest(program):
                done = subprocess.run(
                    [os.path.join(BIN, program), "--check-config", "--config",
                     os.path.join(SOURCE, f"config/{program}.example.toml")],
                    capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("is valid", done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
