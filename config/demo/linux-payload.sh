#!/bin/bash
# Makes the Linux demonstration guest: DIR/vmlinuz and DIR/initrd.gz, from the packages
# linux-image-cloud-amd64 (its kernel) and busybox-static, which are unpacked into DIR and
# not installed. The guest prints the same line as the ROM (make-payload.py) to ttyS0, and
# it powers off when its ACPI power button is pressed, so a graceful stop works.
#
# Usage: linux-payload.sh DIR      Does nothing when DIR is complete. Needs root's apt lists.
set -euo pipefail

if [ $# -ne 1 ] || [ "${1#-}" != "$1" ]; then
  echo "usage: linux-payload.sh DIR" >&2
  exit 2
fi
here=$(dirname "$(readlink -f "$0")")
mkdir -p "$1"
cd "$1"
if [ -s vmlinuz ] && [ -s initrd.gz ] && [ initrd.gz -nt "$here/linux-payload.sh" ] &&
  [ initrd.gz -nt "$here/make-initrd.py" ]; then
  exit 0
fi

unpacked=$(mktemp -d "$PWD/unpack.XXXXXX")
trap 'rm -rf "$unpacked"' EXIT
cd "$unpacked"

# The meta package is only a dependency on the current kernel's package.
kernel_package() {
  apt-cache depends linux-image-cloud-amd64 2>/dev/null |
    sed -n 's/^ *Depends: *\(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1
}
package=$(kernel_package)
if [ -z "$package" ]; then
  apt-get update -q >&2
  package=$(kernel_package)
fi
if [ -z "$package" ]; then
  echo "linux-payload: apt knows no linux-image-cloud-amd64: check /etc/apt/sources.list" >&2
  exit 1
fi
fetch() { apt-get download -q "$package" busybox-static >fetch.log 2>&1; }
# Old lists name files that the mirror no longer has.
fetch || { apt-get update -q >&2 && fetch; } || {
  echo "linux-payload: cannot download $package and busybox-static:" >&2
  cat fetch.log >&2
  exit 1
}
for deb in ./*.deb; do
  dpkg-deb -x "$deb" root
done
modules=(root/lib/modules/*/kernel/drivers)
python3 "$here/make-initrd.py" initrd.gz "$(find root -path '*/bin/busybox' -type f | head -n 1)" \
  "${modules[0]}/acpi/button.ko" "${modules[0]}/input/evdev.ko"
kernel=(root/boot/vmlinuz-*)
mv "${kernel[0]}" ../vmlinuz
mv initrd.gz ../initrd.gz
