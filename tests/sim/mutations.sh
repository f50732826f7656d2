#!/bin/sh
# Every defect of mutations.txt must be caught by some seed that its `search` line names, or by the
# scenario that it names. Prints by which checker, and where.
set -eu
SCENARIOS=$(cd "$(dirname "$0")/scenarios" && pwd)
export SCENARIOS
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
"$VMS_BIN_DIR/vms-sim" --list-mutations > "$here/list"
[ -s "$here/list" ] || { echo "vms-sim lists no mutations"; exit 1; }

cat > "$here/hunt" <<'END'
#!/bin/sh
name=$1 search=$2 rule=$3
# shellcheck disable=SC2086
case $search in
  --scenario\ *) set -- --scenario "$SCENARIOS/${search#--scenario }" ;;
  *) set -- $search --first --no-shrink ;;
esac
if "$VMS_BIN_DIR/vms-sim" --mutation "$name" "$@" > "$name.log" 2> /dev/null
then
  echo "$name was NOT CAUGHT by $search"
  exit 1
fi
found=$(sed -n -e 's/^seed \([0-9]*\): \([a-z_]*\).*/\2, seed \1/p' \
  -e "s|.*VIOLATION \([a-z_]*\):.*|\1, scenario ${search#--scenario }|p" "$name.log" | head -n 1)
[ -n "$found" ] || { echo "$name: vms-sim failed otherwise:"; cat "$name.log"; exit 1; }
printf '%-26s %-16s caught by %s\n' "$name" "$rule" "$found"
END
chmod +x "$here/hunt"
cd "$here"
tr '\t' '\n' < list | xargs -d '\n' -n 4 -P 2 ./hunt
