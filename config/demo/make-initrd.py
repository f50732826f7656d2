#!/usr/bin/env python3
"""Packs the Linux demonstration guest's initramfs (newc format, gzip).

Usage: make-initrd.py OUTPUT BUSYBOX MODULE...

It holds a static busybox, kernel modules that are loaded in the given order, and an
init that prints the start line and then waits for the power button.
"""

import gzip
import os
import sys

INIT = """#!/bin/sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
export PATH=/bin
for module in {modules}; do insmod "/modules/$module"; done
# Listening before speaking: whoever reads the line may press the button at once.
acpid -l /dev/null -p /acpid.pid
printf 'VMSRUNNER-GUEST UP %s\\n' "$(cat /sys/class/dmi/id/product_uuid)" >/dev/ttyS0
while :; do sleep 3600; done
"""
# busybox acpid runs this script when the power button is pressed.
POWER_BUTTON = "#!/bin/sh\nexec /bin/busybox poweroff -f\n"

FILE, FOLDER, SYMLINK, DEVICE = 0o100000, 0o040000, 0o120000, 0o020000


class Archive:
    """A cpio archive in the newc format, all owned by root and without dates."""

    def __init__(self):
        self.data = bytearray()
        self.inode = 0

    def add(self, name, kind, mode, content=b"", device=(0, 0)):
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = [self.inode, kind | mode, 0, 0, 1, 0, len(content), 0, 0, *device,
                  len(encoded), 0]
        self.data += b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        self._pad()
        self.data += content
        self._pad()

    def _pad(self):
        self.data += b"\0" * (-len(self.data) % 4)

    def finish(self):
        self.add("TRAILER!!!", 0, 0)
        return bytes(self.data)


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: make-initrd.py OUTPUT BUSYBOX MODULE...")
    output, busybox, modules = sys.argv[1], sys.argv[2], sys.argv[3:]
    archive = Archive()
    for folder in ("bin", "dev", "etc", "etc/acpi", "etc/acpi/PWRF", "modules"):
        archive.add(folder, FOLDER, 0o755)
    archive.add("dev/console", DEVICE, 0o600, device=(5, 1))
    with open(busybox, "rb") as file:
        archive.add("bin/busybox", FILE, 0o755, file.read())
    archive.add("bin/sh", SYMLINK, 0o777, b"busybox")
    for module in modules:
        with open(module, "rb") as file:
            archive.add(f"modules/{os.path.basename(module)}", FILE, 0o644, file.read())
    names = " ".join(os.path.basename(module) for module in modules)
    archive.add("init", FILE, 0o755, INIT.format(modules=names).encode())
    archive.add("etc/acpi/PWRF/00000080", FILE, 0o755, POWER_BUTTON.encode())
    with open(output, "wb") as file:
        file.write(gzip.compress(archive.finish(), 6, mtime=0))


if __name__ == "__main__":
    main()
