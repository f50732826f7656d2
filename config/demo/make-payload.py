#!/usr/bin/env python3
"""Writes the demonstration guest: a 64 KiB ROM that QEMU runs in place of a BIOS.

The guest prints one line to COM1 and then sleeps for ever:

    VMSRUNNER-GUEST UP 3f0e0c1a-....-............

The UUID is the one that QEMU was started with, read by the guest from the fw_cfg
device, so the line proves that *this* VM executed instructions. With a serial log in
append mode every start adds one line: two lines are two starts.

The guest needs 16 MiB and the `pc` machine. It has no ACPI, so a graceful shutdown
cannot reach it; the Linux payload (linux-payload.sh) is the one that listens.

Usage: make-payload.py FILE
"""

import os
import struct
import sys

BANNER = b"VMSRUNNER-GUEST UP "
ROM_SIZE = 64 * 1024
RESET_VECTOR = 0xFFF0  # the CPU's first instruction, 16 bytes below the end of the ROM

COM1_DATA = 0x3F8
COM1_LINE_STATUS = 0x3FD
FW_CFG_SELECT = 0x510
FW_CFG_DATA = 0x511
FW_CFG_UUID = 0x02

# A dash follows the bytes 3, 5, 7 and 9 of a UUID; byte 0 is the highest bit.
DASH_AFTER_BYTE = 0x1540


def word(value):
    return struct.pack("<H", value & 0xFFFF)


class Assembler:
    """Bytes, labels, and relative jumps that are filled in at the end."""

    def __init__(self):
        self.code = bytearray()
        self.labels = {}
        self.fixups = []

    def label(self, name):
        self.labels[name] = len(self.code)

    def emit(self, *parts):
        for part in parts:
            self.code += part if isinstance(part, bytes) else bytes([part])

    def address(self, opcode, label):
        """An opcode with the absolute 16-bit address of a label."""
        self.emit(opcode)
        self.fixups.append((len(self.code), "abs16", label))
        self.emit(word(0))

    def near(self, opcode, label):
        self.emit(opcode)
        self.fixups.append((len(self.code), "rel16", label))
        self.emit(word(0))

    def short(self, opcode, label):
        self.emit(opcode)
        self.fixups.append((len(self.code), "rel8", label))
        self.emit(0)

    def link(self):
        for at, kind, label in self.fixups:
            target = self.labels[label]
            if kind == "abs16":
                self.code[at : at + 2] = word(target)
            elif kind == "rel16":
                self.code[at : at + 2] = word(target - (at + 2))
            else:
                distance = target - (at + 1)
                if not -128 <= distance <= 127:
                    raise ValueError(f"{label} is too far for a short jump")
                self.code[at] = distance & 0xFF
        return bytes(self.code)


def program():
    """16-bit real mode, at offset 0 of the code segment."""
    a = Assembler()
    a.emit(0xFA)  # cli
    a.emit(0xFC)  # cld
    a.emit(0x31, 0xC0)  # xor ax, ax
    a.emit(0x8E, 0xD0)  # mov ss, ax
    a.emit(0xBC, word(0x7C00))  # mov sp, 0x7c00: low memory is plain RAM on `pc`

    a.address(0xBE, "banner")  # mov si, banner
    a.label("next_char")
    a.emit(0x2E, 0xAC)  # cs lodsb: DS has no useful base after a reset
    a.emit(0x84, 0xC0)  # test al, al
    a.short(0x74, "print_uuid")  # jz
    a.near(0xE8, "put_char")  # call
    a.short(0xEB, "next_char")  # jmp

    a.label("print_uuid")
    a.emit(0xBA, word(FW_CFG_SELECT))  # mov dx, select port
    a.emit(0xB8, word(FW_CFG_UUID))  # mov ax, the item
    a.emit(0xEF)  # out dx, ax
    a.emit(0xBD, word(DASH_AFTER_BYTE))  # mov bp, dashes
    a.emit(0xB9, word(16))  # mov cx, 16
    a.label("next_byte")
    a.emit(0xBA, word(FW_CFG_DATA))  # mov dx, data port
    a.emit(0xEC)  # in al, dx
    a.emit(0x88, 0xC3)  # mov bl, al
    a.emit(0xC0, 0xE8, 4)  # shr al, 4
    a.near(0xE8, "put_nibble")
    a.emit(0x88, 0xD8)  # mov al, bl
    a.near(0xE8, "put_nibble")
    a.emit(0xD1, 0xE5)  # shl bp, 1: carry = a dash follows
    a.short(0x73, "no_dash")  # jnc
    a.emit(0xB0, ord("-"))  # mov al, '-'
    a.near(0xE8, "put_char")
    a.label("no_dash")
    a.short(0xE2, "next_byte")  # loop

    for char in b"\r\n":
        a.emit(0xB0, char)  # mov al, char
        a.near(0xE8, "put_char")
    a.label("idle")
    a.emit(0xF4)  # hlt: with interrupts off nothing but a reset wakes it
    a.short(0xEB, "idle")

    a.label("put_nibble")  # al = 0..15 in its low half
    a.emit(0x24, 0x0F)  # and al, 15
    a.emit(0x3C, 0x0A)  # cmp al, 10
    a.emit(0x1C, 0x69)  # sbb al, 0x69
    a.emit(0x2F)  # das: '0'..'9', 'A'..'F'
    a.emit(0x0C, 0x20)  # or al, 0x20: lower case, digits unchanged
    # falls through
    a.label("put_char")  # al = character; keeps bx, cx, si, bp
    a.emit(0x88, 0xC4)  # mov ah, al
    a.emit(0xBA, word(COM1_LINE_STATUS))
    a.label("busy")
    a.emit(0xEC)  # in al, dx
    a.emit(0xA8, 0x20)  # test al, transmitter empty
    a.short(0x74, "busy")  # jz
    a.emit(0xBA, word(COM1_DATA))
    a.emit(0x88, 0xE0)  # mov al, ah
    a.emit(0xEE)  # out dx, al
    a.emit(0xC3)  # ret

    a.label("banner")
    a.emit(BANNER, 0)
    return a.link()


def rom_image():
    code = program()
    rom = bytearray(b"\x90" * ROM_SIZE)
    rom[: len(code)] = code
    rom[RESET_VECTOR : RESET_VECTOR + 3] = b"\xe9" + word(0 - (RESET_VECTOR + 3))  # jmp 0
    return bytes(rom)


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: make-payload.py FILE")
    target = sys.argv[1]
    partial = f"{target}.{os.getpid()}.part"
    with open(partial, "wb") as file:
        file.write(rom_image())
    os.replace(partial, target)


if __name__ == "__main__":
    main()
