#!/bin/bash
# Says which kind of virtualization works here, by really booting the payload with KVM.
# /dev/kvm may exist and be unusable, or so slow that a kernel never comes up.
#
# Usage: probe-kvm.sh ROM | probe-kvm.sh KERNEL INITRD
# Prints one line, "kvm: WHY" or "qemu: WHY" (software emulation), and exits 0 either way.
set -uo pipefail

usage() {
  echo "usage: probe-kvm.sh ROM | probe-kvm.sh KERNEL INITRD" >&2
  exit 2
}
emulator=qemu-system-x86_64
case $# in
  1) boot=(-m 16 -bios "$1") ;;
  2) boot=(-m 128 -kernel "$1" -initrd "$2" -append "console=ttyS0 quiet panic=-1") ;;
  *) usage ;;
esac
time_out_s=3
polls=60 # every 0.05 s

if [ ! -e /dev/kvm ]; then
  echo "qemu: there is no /dev/kvm on this machine"
  exit 0
fi
if [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; then
  echo "qemu: /dev/kvm may not be opened by this user"
  exit 0
fi

folder=$(mktemp -d)
pid=
finish() {
  if [ -n "$pid" ]; then
    kill -KILL "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
  fi
  rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

id=$(cat /proc/sys/kernel/random/uuid)
"$emulator" -machine pc,accel=kvm "${boot[@]}" -uuid "$id" -nodefaults -no-reboot \
  -display none -serial file:"$folder/serial" </dev/null >"$folder/errors" 2>&1 &
pid=$!

for ((i = 0; i < polls; i++)); do
  if grep -qs "VMSRUNNER-GUEST UP $id" "$folder/serial"; then
    echo "kvm: a guest booted with KVM and answered"
    exit 0
  fi
  if ! kill -0 "$pid" 2>/dev/null; then
    echo "qemu: QEMU cannot use KVM here: $(tail -n 1 "$folder/errors")"
    exit 0
  fi
  sleep 0.05
done
echo "qemu: a guest booted with KVM did not answer in $time_out_s s"
