#!/bin/sh
# A seed gives the same events, whichever process runs it and whatever ran before it there.
set -eu
sim="$VMS_BIN_DIR/vms-sim"
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
"$sim" --seeds 201..212 --jobs 1 --hash | grep hash > "$here/one"
"$sim" --seeds 201..212 --jobs 3 --hash | grep hash | sort -k2n > "$here/three"
"$sim" --seed 212 --hash | grep hash > "$here/alone"
diff "$here/one" "$here/three" || { echo "the same seeds gave other events in other processes"; exit 1; }
tail -n 1 "$here/one" | diff - "$here/alone" || { echo "seed 212 depends on what ran before it"; exit 1; }
[ "$(cut -d' ' -f4 "$here/one" | sort -u | wc -l)" -eq 12 ] || { echo "seeds give equal events"; exit 1; }
