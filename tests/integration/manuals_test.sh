#!/bin/sh
# Each program's manual page is one that groff has nothing to say about, and has its sections.
command -v groff >/dev/null || { echo "groff is not installed (package groff-base)"; exit 77; }
failed=0
for page in vmsctl.1 vmsrunnerd.8 vmshostd.8; do
  text=$("$VMS_BIN_DIR/${page%.*}" --man) || { echo "$page: the program failed"; failed=1; continue; }
  warnings=$(printf '%s\n' "$text" | groff -man -ww -Tutf8 2>&1 >/dev/null)
  [ -z "$warnings" ] || { echo "$page: $warnings"; failed=1; }
  for section in NAME SYNOPSIS OPTIONS 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
    printf '%s\n' "$text" | grep -qx "\.SH $section" || { echo "$page: no $section"; failed=1; }
  done
done
exit $failed
