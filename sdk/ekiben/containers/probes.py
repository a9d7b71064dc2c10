"""The smallest image there is: one program that ends at once, to find out whether an engine builds and runs here."""

from __future__ import annotations

import platform
import struct
from pathlib import Path

from ekiben.errors import BuildError

ADDRESS = 0x400000
HEADERS = 64 + 56  # of the file, and of its one segment
# machine → its number in ELF, and the instructions of `exit(0)` on Linux
PROGRAMS = {
    "x86_64": (62, bytes.fromhex("31ffb83c0000000f05")),
    "aarch64": (183, bytes.fromhex("000080d2a80b80d2010000d4")),
}
RECIPE = 'FROM scratch\nCOPY end /end\nRUN --mount=type=bind,source=kept,target=/kept ["/end"]\nUSER 1034:1034\nENTRYPOINT ["/end"]\n'


def write(folder: Path) -> None:
    """Write the context of the smallest image: its build runs the program, and so does the image."""
    (folder / "end").write_bytes(program())
    (folder / "end").chmod(0o755)
    (folder / "kept").mkdir()
    (folder / "kept" / "file").touch()
    (folder / "Containerfile").write_text(RECIPE)


def kind_of_machine(told: str | None = None) -> str:
    """Name a machine's processor as Linux does; by default this machine's.

    >>> kind_of_machine("arm64")
    'aarch64'
    """
    found = told or platform.machine()
    return {"arm64": "aarch64", "AMD64": "x86_64"}.get(found, found)


def program(machine: str | None = None) -> bytes:
    """Give a program for Linux that ends with code 0, a file of about 130 bytes.

    >>> len(program("x86_64"))
    129
    """
    name = kind_of_machine(machine)
    if name not in PROGRAMS:
        raise BuildError(f"An engine is tried with a program for {', '.join(PROGRAMS)}. This machine is {name}.")
    number, code = PROGRAMS[name]
    size = HEADERS + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = ident + struct.pack("<HHIQQQIHHHHHH", 2, number, 1, ADDRESS + HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, ADDRESS, ADDRESS, size, size, 0x1000) + code
