"""The rules of Prometheus' text format and of its names, as strict as promtool's."""

import collections
import math
import re

SAMPLE = re.compile(r'^([a-z_][a-z0-9_]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (\S+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"')
OTHER_UNITS = re.compile(
    r"_(ms|us|ns|milliseconds|microseconds|nanoseconds|minutes|hours|days|kb|kib|mb|mib|gb|gib|"
    r"kilobytes|megabytes|bits|percent|percentage)(_|$)")
PARTS = {"histogram": ("_bucket", "_sum", "_count")}


class Family:
    def __init__(self, name, kind, help_text):
        self.name, self.kind, self.help = name, kind, help_text
        self.samples = []  # (name, labels as a dict, value)


def read(page):
    """The families of a page, in their order; AssertionError names the line that is wrong."""
    assert page.endswith("\n"), "the last line has no end"
    families, helps, seen = {}, {}, set()
    current = None
    for line in page.splitlines():
        if line.startswith("# HELP "):
            name, _, text = line[7:].partition(" ")
            assert name not in helps, f"told twice: {line}"
            helps[name] = text
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            assert kind in ("counter", "gauge", "histogram"), line
            assert name in helps and name not in families, f"no help, or twice: {line}"
            current = families[name] = Family(name, kind, helps[name])
        else:
            match = SAMPLE.match(line)
            assert match and current, f"no sample: {line}"
            name, labels, value = match.groups()
            known = [current.name + part for part in PARTS.get(current.kind, ("",))]
            assert name in known, f"not of the family {current.name}: {line}"
            series = line.rpartition(" ")[0]
            assert series not in seen, f"twice: {line}"
            seen.add(series)
            current.samples.append((name, dict(LABEL.findall(labels or "")), float(value)))
    return list(families.values())


def check_name(family):
    name = family.name
    assert (family.kind == "counter") == name.endswith("_total"), f"{name} is a {family.kind}"
    assert not re.search(r"_(count|sum|bucket|info_total)$", name), f"{name} has a reserved ending"
    assert not OTHER_UNITS.search(name), f"{name} is not in a base unit"
    assert family.kind not in name.split("_"), f"{name} names its type"
    assert "__" not in name and family.help.strip(), f"{name}: '{family.help}'"


def check_histogram(family):
    rows = collections.defaultdict(lambda: {"buckets": [], "sum": None, "count": None})
    for name, labels, value in family.samples:
        bound = labels.pop("le", None)
        row = rows[tuple(sorted(labels.items()))]
        if name.endswith("_bucket"):
            row["buckets"].append((float(bound), value))
        else:
            assert bound is None, f"{name} has a bound"
            row[name.rpartition("_")[2]] = value
    for key, row in rows.items():
        bounds = [bound for bound, _ in row["buckets"]]
        counts = [count for _, count in row["buckets"]]
        assert bounds == sorted(set(bounds)) and bounds[-1] == math.inf, (family.name, key)
        assert counts == sorted(counts) and counts[-1] == row["count"], (family.name, key, row)
        assert row["sum"] is not None, (family.name, key)


def check(page):
    """AssertionError says which rule is broken, and where."""
    families = read(page)
    assert families
    for family in families:
        check_name(family)
        for name, labels, value in family.samples:
            assert not math.isnan(value), f"{name} {labels} is no number"
            assert family.kind == "gauge" or value >= 0, f"{name} {labels} is {value}"
            assert family.kind == "histogram" or not {"le", "quantile"} & set(labels), name
        if family.kind == "histogram":
            check_histogram(family)
    return len(families)
