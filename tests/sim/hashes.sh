#!/bin/sh
# The same events on every machine, compiler and level of optimisation: hashes of some seeds are
# committed. A change of behaviour changes them; `hashes.sh --accept` writes them anew.
set -eu
cd "$(dirname "$0")"
bin=${VMS_BIN_DIR:-../../build/dev/bin}
now=$("$bin/vms-sim" --seeds 1..24 --hash --no-shrink | grep hash)
if [ "${1:-}" = --accept ]; then
  echo "$now" > hashes.txt
  exit 0
fi
echo "$now" | diff hashes.txt - || {
  echo "events differ from those that hashes.txt knows; if the code is to behave differently: tests/sim/hashes.sh --accept"
  exit 1
}
