"""Letters that are written as their numbers: in digits of base 2, 8, 10 or 16, as code, lists, dumps and bytes hold them."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

FEWEST = 12  # letters in a row
# From one number to the next: signs, and what turns a number into a letter, as `chr(` or `[char]`.
_APART = rb"(?>[^\w\"'<>]{1,8})(?>(?:\[?[A-Za-z.]{1,20}(?:[(\]]{1,2}|(?=\d)))?)"
_LETTERS = (
    (10, rb"(?:0?(?:3[2-9]|[4-9]\d)|1[01]\d|12[0-6]|1[03])(?:\.0)?(?!\w)"),
    (8, rb"(?:0o?)?(?:0?[4-7][0-7]|1[0-7][0-7])(?!\w)"),
    (16, rb"0[xX][2-7][0-9a-fA-F](?!\w)"),
    (2, rb"(?:0b)?0?[01]{6,7}(?!\w)"),
)


def _row(first: bytes, more: bytes | None = None, fewest: int = FEWEST) -> re.Pattern[bytes]:
    """Make a pattern of one after another that begins with bytes of few kinds, which is looked for quickly."""
    return re.compile(rb"%b(?:%b){%d,}" % (first, more or first, fewest - 1))


_NUMBERED = _row(rb"\d[\da-fA-FoxX.]{1,8}", _APART + rb"\d[\da-fA-FoxX.]{1,8}")
_ROWS = tuple((base, _row(rb"(?<![\d.])" + letter, _APART + letter)) for base, letter in _LETTERS)
_BINARY = re.compile(rb"[01]{%d,}" % (7 * FEWEST))
_HEX = re.compile(
    rb"[0-9a-fA-F]{40,}|\\x[0-9a-fA-F]{2}(?:\\x[0-9a-fA-F]{2}){19,}|"
    rb"[0-9a-fA-F]{2}[ ,:;-]{1,2}(?:(?:0x)?[0-9a-fA-F]{2}[ ,:;-]{1,2}){14,}(?:(?:0x)?[0-9a-fA-F]{2})?"
)
_NO_DIGITS = re.compile(rb"\\x|0x|[ ,:;-]")
_DUMPED = re.compile(rb"^[0-9a-fA-F]{4,10}:?[ \t]+((?:[0-9a-fA-F]{2,4}[ \t]{1,2}){2,16})", re.MULTILINE)
_ESCAPED_8 = _row(rb"\\[0-7]{3}", fewest=16)
_ESCAPED_16 = _row(rb"\\(?:u\{0{0,4}|x\{|0{1,4})[2-7][0-9a-fA-F][} ]?")
_NUMBERS = re.compile(rb"\d+")
_POINT = re.compile(rb"\.0")
_SIGN = re.compile(rb"0[obxX]")
_NUMBERS_16 = re.compile(rb"[0-9a-fA-F]{2}(?![0-9a-fA-F])")
_WIDE = (_row(rb"[\x20-\x7e]\x00{7}"), _row(rb"\x00{7}[\x20-\x7e]"))
_PICKLED = _row(rb"K[\x20-\x7e]")


def hexadecimal(flat: bytes) -> Iterator[bytes]:
    """Read digits of base 16, from behind too."""
    for match in _HEX.finditer(flat):
        digits = _NO_DIGITS.sub(b"", match[0])
        if len({*digits}) < 4:
            continue
        for each in (digits, digits[1:], digits[::-1], digits[-2::-1]):
            yield binascii.unhexlify(each[: len(each) // 2 * 2])


def numbers(chunk: bytes) -> Iterator[bytes]:
    r"""Read numbers that each are a letter, whatever stands between them.

    >>> [*numbers(b"chr(97)+" * 11 + b"chr(98)")], [*numbers(b"0141 " * 11 + b"0142")]
    ([b'aaaaaaaaaaab'], [b'aaaaaaaaaaab'])
    """
    for numbered in _NUMBERED.finditer(chunk):
        for base, pattern in _ROWS:
            for match in pattern.finditer(numbered[0]):
                if base == 16:
                    yield binascii.unhexlify(b"".join(_NUMBERS_16.findall(match[0])))
                else:
                    plain = _SIGN.sub(b"", _POINT.sub(b"", match[0]))
                    yield bytes(int(each, base) & 127 for each in _NUMBERS.findall(plain))


def binary(flat: bytes) -> Iterator[bytes]:
    """Read digits of base 2 that stand together, of seven or eight a letter."""
    for match in _BINARY.finditer(flat):
        if len({*match[0]}) == 1:
            continue
        for n_digits in (8, 7):
            for start in range(n_digits):  # a digit before it moves where it begins
                ends = range(start, len(match[0]) - n_digits + 1, n_digits)
                yield bytes(int(match[0][at : at + n_digits], 2) for at in ends)


def escaped(chunk: bytes) -> Iterator[bytes]:
    """Read what source code escapes by octal digits, or by hexadecimal ones as JavaScript and styles do."""
    if b"\\" not in chunk:
        return
    for match in _ESCAPED_8.finditer(chunk):
        yield bytes(int(each, 8) & 255 for each in match[0].split(b"\\")[1:])
    for match in _ESCAPED_16.finditer(chunk):
        yield binascii.unhexlify(b"".join(_NUMBERS_16.findall(match[0])))


def dumped(chunk: bytes) -> Iterator[bytes]:
    """Read the lines of xxd and hexdump."""
    if found := _DUMPED.findall(chunk):
        digits = b"".join(b"".join(found).split())
        yield binascii.unhexlify(digits[: len(digits) // 2 * 2])


def listed(chunk: bytes) -> Iterator[bytes]:
    """Read a list of numbers as arrays of eight bytes each and pickles hold it."""
    if b"\x00" in chunk:
        yield from (match[0].replace(b"\x00", b"") for pattern in _WIDE for match in pattern.finditer(chunk))
    yield from (match[0][1::2] for match in _PICKLED.finditer(chunk))
