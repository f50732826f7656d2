"""Turns ctest's JUnit file into lines for ./run-tests: "passed N", "skipped N", "failed NAME"."""

import sys
import xml.etree.ElementTree as ElementTree


def main() -> int:
    path, preset = sys.argv[1:]
    passed = skipped = 0
    try:
        cases = ElementTree.parse(path).getroot().findall("testcase")
    except (OSError, ElementTree.ParseError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    for case in cases:
        status = case.get("status")
        note = case.find("skipped")
        message = note.get("message", "") if note is not None else ""
        if status == "run":
            passed += 1
        elif status == "disabled" or (status == "notrun" and message.startswith("SKIP_")):
            skipped += 1
        else:  # failed, timed out, or its program does not exist
            print(f"failed {case.get('name')}[{preset}]")
    print(f"passed {passed}")
    print(f"skipped {skipped}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
