"""Builds the defects of a catalogue into copies of production sources.

usage: mutate.py CATALOGUE SOURCE_DIR OUT_DIR

Writes OUT_DIR/<file> for every file that the catalogue changes, and OUT_DIR/mutation_table.cc. In
the copies each defect sleeps behind a comparison with the one that vms-sim chose. docs/testing.md
describes the catalogue's format.
"""

import pathlib
import re
import sys


class Mutation:
    def __init__(self, name):
        self.name = name
        self.about = {}
        self.hunks = []  # (file, line in the catalogue, old lines, new lines)


def parse(path):
    mutations, hunk, file = [], None, None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        place = f"{path}:{number}"
        if not line.strip() or line.startswith("#"):
            hunk = None
            continue
        sign, rest = line[0], line[1:]
        if sign in "-+":
            if file is None:
                sys.exit(f"{place}: a change before any 'file' line")
            if hunk is None or (sign == "-" and hunk[3]):
                hunk = (file, place, [], [])
                mutations[-1].hunks.append(hunk)
            hunk[2 if sign == "-" else 3].append(rest)
            continue
        hunk = None
        key, _, value = line.partition(" ")
        value = value.strip()
        if key == "mutation":
            mutations.append(Mutation(value))
            file = None
        elif key in ("rule", "what", "search"):
            mutations[-1].about[key] = value
        elif key == "file":
            file = value
        else:
            sys.exit(f"{place}: '{key}' is none of mutation, rule, what, search, file")
    for mutation in mutations:
        for key in ("rule", "what", "search"):
            if key not in mutation.about:
                sys.exit(f"{path}: mutation {mutation.name} has no '{key}' line")
        if not mutation.hunks:
            sys.exit(f"{path}: mutation {mutation.name} changes nothing")
    return mutations


def find_once(text, wanted, place, file):
    """Index of the only run of lines that reads like `wanted`, indentation apart."""
    want = [line.strip() for line in wanted]
    found = [i for i in range(len(text) - len(want) + 1)
             if [line.strip() for line in text[i:i + len(want)]] == want]
    if len(found) != 1:
        sys.exit(f"{place}: these lines occur {len(found)} times in {file}, not once; the code has "
                 "changed, so change the defect with it:\n  " + "\n  ".join(wanted))
    return found[0]


def mutate(file, source, hunks):
    text = source.read_text(encoding="utf-8").splitlines()
    edits = {}
    for number, (_, place, old, new) in hunks:
        begin = find_once(text, old, place, file)
        for line in range(begin, begin + len(old)):
            if line in edits:
                sys.exit(f"{place}: another mutation changes line {line + 1} of {file}, too")
            edits[line] = []
        chosen = f"(::vms::sim::chosen_mutation == {number})"
        edits[begin] = [re.sub(r"\bmutated\b", chosen, line) for line in new]
    # So that messages and debuggers show the places in the source.
    lines = ["namespace vms::sim {", "extern int chosen_mutation;", "}", f'#line 1 "{source}"']
    for index, line in enumerate(text):
        if index not in edits:
            lines.append(line)
            continue
        lines += edits[index]
        lines.append(f'#line {index + 2} "{source}"')
    return "\n".join(lines) + "\n"


def table(mutations):
    rows = ",\n".join(
        '    {"%s", "%s", "%s", "%s"}' % (m.name, m.about["rule"], m.about["what"],
                                          m.about["search"]) for m in mutations)
    return ('#include "tests/sim/mutation.h"\n\nnamespace vms::sim {\n\nint chosen_mutation = 0;\n\n'
            "const std::vector<Mutation>& mutations() {\n"
            f"  static const std::vector<Mutation> all = {{\n{rows}}};\n  return all;\n}}\n\n"
            "void choose(const Mutation* mutation) {\n"
            "  chosen_mutation = mutation == nullptr ? 0 : "
            "static_cast<int>(mutation - mutations().data()) + 1;\n}\n\n}  // namespace vms::sim\n")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def main(catalogue, source_dir, out_dir):
    mutations = parse(pathlib.Path(catalogue))
    names = [mutation.name for mutation in mutations]
    if len(set(names)) != len(names):
        sys.exit(f"{catalogue}: two mutations have the same name")
    by_file = {}
    for number, mutation in enumerate(mutations, 1):
        for hunk in mutation.hunks:
            by_file.setdefault(hunk[0], []).append((number, hunk))
    for file, hunks in by_file.items():
        source = pathlib.Path(source_dir) / file
        write(pathlib.Path(out_dir) / file, mutate(file, source, hunks))
    write(pathlib.Path(out_dir) / "mutation_table.cc", table(mutations))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
