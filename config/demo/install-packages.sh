#!/bin/bash
# Installs the packages of a list (one name per line, # comments) that are missing. A second
# word on a line names a command: where it exists, from whichever source, the package is not needed.
# Usage: install-packages.sh FILE      Says nothing when there is nothing to do.
set -euo pipefail

if [ $# -ne 1 ] || [ ! -r "$1" ]; then
  echo "usage: install-packages.sh FILE" >&2
  exit 2
fi
missing=()
while read -r name command; do
  [ -z "$command" ] || ! command -v "$command" >/dev/null || continue
  status=$(dpkg-query -W -f='${Status}' "$name" 2>/dev/null || true)
  [ "$status" = "install ok installed" ] || missing+=("$name")
done < <(sed 's/#.*//; /^[[:space:]]*$/d' "$1")
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "install-packages: this is no Debian: install the equivalents of ${missing[*]}" >&2
  exit 1
fi
echo "installing ${#missing[@]} packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; } \
  </dev/null >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "install-packages: apt-get failed: see above" >&2
  exit 1
fi
