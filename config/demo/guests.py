"""The demonstration VMs: their domain XML, and the proof that they ran.

Every guest prints `VMSRUNNER-GUEST UP <uuid>` once per start to a serial log that is
opened in append mode, so the log counts the starts of that VM, on whatever host.
"""

import os
import re
import uuid
from xml.sax.saxutils import escape, quoteattr

UP_LINE = re.compile(rb"VMSRUNNER-GUEST UP ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\r?\n")
LINUX_MEMORY_MIB = 128
ROM_MEMORY_MIB = 16


def counted(count, one):
    """"1 VM", "2 VMs"."""
    return f"{count} {one}" + ("" if count == 1 else "s")


class Payload:
    """What a guest boots: the project's ROM, or a Linux kernel with an initramfs."""

    def __init__(self, rom=None, kernel=None, initrd=None):
        self.rom = rom
        self.kernel = kernel
        self.initrd = initrd

    @property
    def memory_mib(self):
        return LINUX_MEMORY_MIB if self.kernel else ROM_MEMORY_MIB

    def os_xml(self):
        lines = ["<type arch='x86_64' machine='pc'>hvm</type>"]
        if self.kernel:
            lines += [
                f"<kernel>{escape(self.kernel)}</kernel>",
                f"<initrd>{escape(self.initrd)}</initrd>",
                "<cmdline>console=ttyS0 quiet panic=-1</cmdline>",
            ]
        else:
            lines.append(f"<loader type='rom'>{escape(self.rom)}</loader>")
        return "".join(lines)


class Guest:
    """One VM to define. `domain_type` is `kvm` or `qemu`."""

    def __init__(self, name, payload, domain_type, serial_log, vm_id=None):
        self.name = name
        self.payload = payload
        self.domain_type = domain_type
        self.serial_log = serial_log
        self.vm_id = vm_id or str(uuid.uuid4())

    def xml(self):
        # ACPI is what carries a graceful shutdown; the ROM has nobody to listen to it.
        features = "<features><acpi/></features>" if self.payload.kernel else ""
        return f"""<domain type='{self.domain_type}'>
  <name>{escape(self.name)}</name>
  <uuid>{self.vm_id}</uuid>
  <memory unit='MiB'>{self.payload.memory_mib}</memory>
  <vcpu>1</vcpu>
  <os>{self.payload.os_xml()}</os>
  {features}
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <serial type='file'>
      <source path={quoteattr(self.serial_log)} append='on'/>
    </serial>
  </devices>
</domain>
"""

    def starts(self):
        """How often this VM's guest has executed so far, by its own word."""
        return starts_in(self.serial_log, self.vm_id)


def starts_in(serial_log, vm_id):
    """Counts the start lines of one VM; a line with another VM's id counts for nothing."""
    try:
        with open(serial_log, "rb") as file:
            lines = UP_LINE.findall(file.read())
    except FileNotFoundError:
        return 0
    return lines.count(vm_id.encode())


def numbered_guests(count, payload, domain_type, serial_folder, prefix="vm"):
    width = max(2, len(str(count)))
    guests = []
    for number in range(1, count + 1):
        name = f"{prefix}-{number:0{width}d}"
        log = os.path.join(serial_folder, f"{name}.log")
        guests.append(Guest(name, payload, domain_type, log))
    return guests


def broken_guest(domain_type, serial_folder, missing_folder):
    """A VM that the hypervisor cannot start: its firmware file does not exist."""
    payload = Payload(rom=os.path.join(missing_folder, "no-such-firmware.rom"))
    return Guest("broken", payload, domain_type, os.path.join(serial_folder, "broken.log"))


def domains_xml(guests):
    """One document with all of them, for a single `vmsctl vm define`."""
    return "<domains>\n" + "".join(guest.xml() for guest in guests) + "</domains>\n"
