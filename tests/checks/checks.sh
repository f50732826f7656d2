# Checks of the source text, sourced by ./run-tests. Each prints what is wrong and returns 0
# (passed), 77 (skipped, its last line says why) or anything else (failed).

run_check() { # NAME COMMAND...
  local name=check.$1 output status
  shift
  wanted "$name" || return
  output=$("$@" 2>&1 9>&-)
  status=$?
  if ((status == 77)); then
    record "$name" skipped "${output##*$'\n'}"
    return
  fi
  [[ -z $output ]] || printf '%s\n' "$output"
  if ((status == 0)); then record "$name" passed; else record "$name" failed; fi
}

sources() { # lists every C++ file of ours, NUL-terminated
  find schema batcher runner hostagent tests \( -name '*.h' -o -name '*.cc' \) -print0
}

check_format() {
  sources | xargs -0 -r clang-format-14 --dry-run -Werror && return
  echo "correct it with: clang-format-14 -i FILE"
  return 1
}

# clang-tidy takes long per file, so that only changed ones are looked at, within a time limit.
check_tidy() { # BUILD_DIRECTORY
  local base files limit_s=240
  if ! git rev-parse --verify -q HEAD >/dev/null; then
    echo "not a git checkout, so that changed files are not known"
    return 77
  fi
  base=$(git merge-base HEAD "${VMS_BASE:-origin/main}" 2>/dev/null)
  if [[ -z $base || $base == "$(git rev-parse HEAD)" ]]; then
    base=$(git rev-parse -q --verify HEAD~5 || git rev-list --max-parents=0 HEAD | tail -n 1)
  fi
  if [[ ! -f $1/compile_commands.json ]]; then
    echo "$1 is not configured"
    return 77
  fi
  # Only files that the build compiles have flags to be read with.
  mapfile -t files < <(git diff --name-only --diff-filter=d "$base" -- '*.cc' |
    while read -r file; do
      ! grep -qF "\"file\": \"$PWD/$file\"" "$1/compile_commands.json" || echo "$file"
    done)
  if ((${#files[@]} == 0)); then
    echo "no C++ file changed since ${base:0:12}"
    return 77
  fi
  printf '%s\0' "${files[@]}" |
    timeout --foreground "$limit_s" xargs -0 -n 1 -P "$jobs" clang-tidy-14 --quiet -p "$1"
  local status=("${PIPESTATUS[@]}")
  if ((status[1] == 124)); then
    echo "stopped after $limit_s s: not all of ${#files[@]} changed files were looked at"
    return 0
  fi
  return "${status[1]}"
}
