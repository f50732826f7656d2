"""Proves that check_source.py finds what it is for, and nothing else."""

import pathlib
import tempfile
import unittest

import check_source


def problems(check, name, text):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        path = root / name
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
        return check(root)


class Includes(unittest.TestCase):
    def check(self, name, line):
        return problems(check_source.check_includes, name, line + "\n")

    def test_arrows_point_one_way(self):
        for name, header in (
            ("schema/base/a.h", "schema/ids.h"),
            ("schema/a.h", "batcher/plan.h"),
            ("batcher/a.cc", "runner/store.h"),
            ("runner/a.cc", "hostagent/lanes.h"),
            ("hostagent/a.cc", "runner/store.h"),
            ("hostagent/libvirt/a.cc", "batcher/plan.h"),
            ("runner/ctl/a.cc", "runner/store.h"),
            ("runner/a.cc", "store.h"),
        ):
            self.assertEqual(len(self.check(name, f'#include "{header}"')), 1, (name, header))

    def test_allowed_arrows(self):
        for name, header in (
            ("schema/a.cc", "schema/base/error.h"),
            ("runner/a.cc", "batcher/plan.h"),
            ("runner/api/a.cc", "runner/store.h"),
            ("tests/sim/a.cc", "hostagent/lanes.h"),
        ):
            self.assertEqual(self.check(name, f'#include "{header}"'), [], (name, header))

    def test_libraries_stay_behind_their_seams(self):
        for name, header in (
            ("runner/store.h", "SQLiteCpp/Database.h"),
            ("runner/engine.cc", "sqlite3.h"),
            ("runner/engine.h", "boost/beast/http.hpp"),
            ("hostagent/agent.cc", "libvirt/libvirt.h"),
            ("hostagent/libvirt/pool.cc", "xenctrl.h"),
            ("runner/engine.cc", "spdlog/spdlog.h"),
            ("batcher/window.cc", "boost/asio/post.hpp"),
            ("batcher/window.cc", "mutex"),
        ):
            self.assertEqual(len(self.check(name, f"#include <{header}>")), 1, (name, header))
        for name, header in (
            ("runner/sqlite_store.cc", "SQLiteCpp/Database.h"),
            ("hostagent/libvirt/pool.cc", "libvirt/libvirt.h"),
            ("runner/api/http_server.cc", "boost/beast/http.hpp"),
        ):
            self.assertEqual(self.check(name, f"#include <{header}>"), [], (name, header))


class Calls(unittest.TestCase):
    def check(self, line, name="runner/a.cc"):
        return problems(check_source.check_calls, name, line + "\n")

    def test_banned(self):
        for line in (
            "auto t = std::chrono::steady_clock::now();",
            "auto t = system_clock::now();",
            "std::random_device device;",
            "int x = rand();",
            "srand(1);",
            "std::this_thread::sleep_for(1s);",
            "sleep(1);",
            "::usleep(10);",
            "auto t = time(nullptr);",
            "auto t = std::time(0);",
            "std::uniform_int_distribution<int> d;",
            "std::shuffle(a, b, g);",
            "co_spawn(x, y, asio::detached);",
            'log("fine"); auto t = steady_clock::now();',
            "int n = 1'000; auto t = steady_clock::now();",
        ):
            self.assertEqual(len(self.check(line)), 1, line)

    def test_allowed(self):
        for line in (
            "// steady_clock::now is banned",
            "/* rand() */ int x = 0;",
            'check("sleep_for(1)");',
            'auto s = R"(time(nullptr))";',
            "co_await clock.sleepFor(d);",
            "auto t = clock.now();",
            "auto x = rng.operand(1);",
            "auto t = spec.time(0);",
            "int brand(); int y = x.rand();",
        ):
            self.assertEqual(self.check(line), [], line)

    def test_the_adapter_may(self):
        self.assertEqual(self.check("::clock_gettime(id, &t);", "schema/base/asio_clock.cc"), [])

    def test_the_place_is_told(self):
        found = self.check("/*\n\n*/ x;\n  rand();")
        self.assertTrue(found[0].startswith("runner/a.cc:4: 'rand('"), found)


if __name__ == "__main__":
    unittest.main()
