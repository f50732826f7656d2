"""Checks of the source text: `check_source.py includes` and `check_source.py calls`.

Prints FILE:LINE: what is wrong, and what to do. Exit status 1 when something is.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("schema", "batcher", "runner", "hostagent", "tests")

# Which folders a file may include from; the longest prefix of its own path decides.
LAYERS = {
    "schema/base/": ("schema/base/",),
    "schema/": ("schema/",),
    "batcher/": ("batcher/", "schema/"),
    "runner/ctl/": ("runner/ctl/", "schema/"),
    "runner/": ("runner/", "batcher/", "schema/"),
    "hostagent/": ("hostagent/", "schema/"),
    "tests/": ("tests/", "runner/", "batcher/", "hostagent/", "schema/"),
}

# Libraries that stay behind a seam: include pattern -> where it may appear.
CONFINED = [
    (r"sqlite3\.h|SQLiteCpp/", r"(schema/base|runner|hostagent)/([a-z_]+/)?sqlite_\w+\.(cc|h)"),
    (r"boost/beast|boost/asio/ssl|openssl/",
     r"(schema|runner|hostagent)/([a-z_]+/)?[a-z_]+\.cc|(runner|schema)/([a-z_]+/)?[a-z_]*(tls|http|websocket)\w*\.h"),
    (r"libvirt/", r"hostagent/libvirt/\w+\.(cc|h)"),
    (r"xen\w*\.h|xen/", r"hostagent/xen/\w+\.cc"),
    (r"spdlog/", r"schema/base/log\.cc"),
    (r"toml\+\+/", r"schema/base/\w+\.cc"),
    (r"pugixml\.hpp", r"(schema|hostagent/libvirt|runner/ctl)/\w+\.cc"),
    (r"CLI/", r"(runner|hostagent)/([a-z_]+/)?\w+\.cc|schema/base/cli_text\.cc"),
    (r"prometheus/", r"runner/([a-z_]+/)?\w+\.cc"),
]

# batcher decides; it neither waits nor asks.
IMPURE = r"boost/asio|schema/base/(clock|transport|task_group|asio_\w+|blocking_executor|files)\.h|thread|mutex|fstream"

# What makes a run irreproducible or loses errors -> the adapters that may use it, and the way out.
# libvirt's blocking calls run on threads of their own; the two kinds of programs for people report
# how long they really took.
REAL_TIME = r"hostagent/libvirt/\w+\.cc|tests/integration/libvirt_daemon_fixture\.cc|tests/sim/vms_sim\.cc|tests/bench/\w+\.cc"

BANNED = [
    (r"\b(steady|system|high_resolution)_clock::now\b", REAL_TIME, "ask a vms::Clock"),
    (r"\bclock_gettime\s*\(|\bgettimeofday\s*\(", r"schema/base/asio_clock\.cc|" + REAL_TIME,
     "ask a vms::Clock"),
    (r"(?<![\w.>:])(std::|::)?time\s*\(\s*(nullptr|NULL|0|&)", r"", "ask a vms::Clock"),
    (r"\bsleep_(for|until)\b|(?<![\w.>])(::)?u?sleep\s*\(|\bnanosleep\s*\(",
     r"schema/base/sqlite_(copy|db)\.cc|" + REAL_TIME, "wait on a vms::Clock"),
    (r"\brandom_device\b|(?<![\w.>])(std::|::)?s?rand\s*\(|\bgetrandom\s*\(",
     r"schema/base/rng\.cc|runner/api/token\.cc", "draw from a vms::Rng"),
    (r"\buniform_(int|real)_distribution\b|\bstd::(shuffle|sample)\b", r"",
     "draw from a vms::Rng: the standard's results differ between libraries"),
    (r"\basio::detached\b", r"", "spawn through a vms::TaskGroup"),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def sources(root):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".h", ".cc") and path.is_file():
                yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")


def layer_of(name):
    return max((layer for layer in LAYERS if name.startswith(layer)), key=len)


def check_includes(root):
    problems = []
    for name, text in sources(root):
        allowed = LAYERS[layer_of(name)]
        for number, line in enumerate(text.splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quote, header = match.groups()
            place = f"{name}:{number}: "
            if quote == '"' and not header.startswith(allowed):
                problems.append(f"{place}must not include \"{header}\"; allowed from here: "
                                f"{', '.join(allowed)} (paths start at the repository's root)")
            if name.startswith("batcher/") and re.match(rf"({IMPURE})", header):
                problems.append(f"{place}batcher is pure and must not include {header}; "
                                "let the caller hand in the value")
            if name.startswith("tests/") or quote == '"':
                continue
            for pattern, where in CONFINED:
                if re.match(pattern, header) and not re.fullmatch(where, name):
                    problems.append(f"{place}{header} stays behind its seam, in files like {where}")
    return problems


def without_comments_and_strings(text):
    """Blanks both out, line by line, so that places stay true."""
    token = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"(?P<mark>[^\s()\\]{0,16})\(.*?\)(?P=mark)"'
        r'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)
    digits = re.compile(r"(?<=[0-9a-fA-F])'(?=[0-9a-fA-F])")  # 1'000 opens no character
    return token.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), digits.sub("_", text))


def check_calls(root):
    problems = []
    for name, text in sources(root):
        code = without_comments_and_strings(text)
        for number, line in enumerate(code.splitlines(), 1):
            for pattern, allowed, advice in BANNED:
                match = re.search(pattern, line)
                if match and not (allowed and re.fullmatch(allowed, name)):
                    problems.append(f"{name}:{number}: '{match.group().strip()}' is banned here; {advice}")
    return problems


def main():
    checks = {"includes": check_includes, "calls": check_calls}
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in checks:
        print("usage: check_source.py includes|calls [ROOT]", file=sys.stderr)
        return 2
    root = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else ROOT
    problems = checks[sys.argv[1]](root)
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
