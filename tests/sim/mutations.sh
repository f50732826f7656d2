#!/bin/sh
# Every built-in defect must be caught by some seed of a small range.
set -eu
failed=0
for name in $("$VMS_BIN_DIR/vms-sim" --list-mutations); do
  if "$VMS_BIN_DIR/vms-sim" --seeds 1..60 --mutation "$name" --no-shrink > /dev/null; then
    echo "mutation $name was not caught"
    failed=1
  fi
done
exit $failed
