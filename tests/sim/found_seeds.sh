#!/bin/sh
# Runs what is listed in seeds.txt: seeds that found a bug once.
set -eu
failed=0
while read -r line; do
  arguments=${line%%#*}
  [ -n "$arguments" ] || continue
  # shellcheck disable=SC2086
  "$VMS_BIN_DIR/vms-sim" $arguments --no-shrink < /dev/null || failed=1
done < seeds.txt
exit $failed
