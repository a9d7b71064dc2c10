"""The bytes of a file in each way that they may be read: as they are, as text of another width, and unwrapped."""

from __future__ import annotations

import base64
import binascii
import bz2
import html
import lzma
import re
import string
import zlib
from collections.abc import Callable, Iterator
from urllib.parse import unquote_to_bytes

import numpy as np
import numpy.typing as npt

MOST_WRAPPED = 3  # one in another
MOST_BYTES = 8 << 20  # of what one wrapping holds
NEAR = 256  # bytes around what is joined
MOST_TRIED = 200  # places of a chunk that may begin something compressed
ALPHANUMERIC = (string.digits + string.ascii_uppercase + string.ascii_lowercase).encode()
LETTERS_85 = bytes.maketrans(ALPHANUMERIC + b"!#$%&()*+-;<=>?@^_`{|}~", bytes(range(85)))
ASCII_85 = bytes.maketrans(bytes(range(33, 118)), bytes(range(85)))
POWERS_85 = np.array([85**4, 85**3, 85**2, 85, 1], np.uint64)
_LINES = re.compile(rb"(?:\\r|\\n|[\r\n])+[ \t]*")
_DIGESTS = re.compile(rb"sha256[:=][0-9a-f]{64}(?![0-9A-Za-z])")  # of which a lock has hundreds
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
_BASE32 = re.compile(rb"[A-Z2-7]{32,}")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){20,}|(?:\\x[0-9a-fA-F]{2}){20,}|(?:(?:0x)?[0-9a-fA-F]{2}[ ,:;-]{1,2}){20,}")
_NO_DIGITS = re.compile(rb"\\x|0x|[ ,:;-]")
# A quarter of the letters of base 85 is in no base64: a run with next to none of them is none.
_BASE85 = re.compile(rb"[0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~-]{40,}")
_ASCII85 = re.compile(rb"[!-uz]{40,}")
_DECIMAL = re.compile(rb"(?:(?:9|1[03]|3[2-9]|[4-9]\d|1[01]\d|12[0-6])[ ]?,\s*){20,}\d{0,3}")
_MAILED = re.compile(rb"^begin [0-7]{3} \S[^\r\n]*\r?\n((?:[ -`]{1,62}\r?\n)+)", re.MULTILINE)
_OCTAL = re.compile(rb"(?:\\[0-7]{3}){20,}")
_ENTITIES = re.compile(rb"(?:&#x?[0-9a-fA-F]{2,6};){8,}")
_SOFT = re.compile(rb"=\r?\n")
_JOINED = re.compile(rb"([\"'])[ \t]*(?:\+[ \t]*)?(?:\\?\r?\n[ \t]*)?(?:\+[ \t]*)?\1")
_PERCENT = re.compile(rb"%[0-9A-Fa-f]{2}")
_ESCAPED = re.compile(rb"\\(?:u00|U000000)([0-7][0-9a-fA-F])")
_PRINTED = re.compile(rb"[\x20-\x7e\t]{8,}")
_PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]|BZh[1-9]1AY|\xfd7zXZ\x00")


def of(chunk: bytes) -> Iterator[bytes]:
    r"""Give bytes as they are, and what they say when they are read otherwise.

    Text of two or four bytes a letter, what JSON and source code escape or join, what stands between bytes that are no text;
    and base64, base32, base85, uuencode, hexadecimal, decimal and octal digits, per cent signs, entities of HTML, broken lines of
    mail, gzip, zlib, bzip2 and xz, also one in another.

    Examples
    --------
    >>> wrapped = base64.b64encode(zlib.compress(b"a word that was wrapped twice"))
    >>> any(b"wrapped twice" in view for view in of(b"data: " + wrapped))
    True
    """
    yield from _read(chunk, MOST_WRAPPED)


def _read(chunk: bytes, left: int) -> Iterator[bytes]:
    yield chunk
    if b"\x00" in chunk:
        for n_bytes in (2, 4):  # so many zeros less one end a text, fewer lie between its letters
            yield chunk.replace(b"\x00" * (2 * n_bytes - 1), b"\n").replace(b"\x00", b"")
        yield b"\n".join(_PRINTED.findall(chunk))
    if b"\\" in chunk:  # as JSON and source code write what stands in quotes
        plain = _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), chunk)
        yield plain.replace(b'\\"', b'"').replace(b"\\/", b"/").replace(b"\\n", b"\n")
    if left:
        flat = _DIGESTS.sub(b" ", _LINES.sub(b"", chunk))
        for unwrap, given in (*((each, flat) for each in FLAT), *((each, chunk) for each in AS_IT_IS)):
            if inner := b"\n".join(unwrap(given)):
                yield from _read(inner, left - 1)


def _base64(flat: bytes) -> Iterator[bytes]:
    for match in _BASE64.finditer(flat):
        letters = match[0].rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        for start in range(4):  # a word before it, or the border of a chunk, moves where it begins
            part = letters[start:]
            whole = len(part) // 4 * 4
            yield base64.b64decode(part[:whole] + _rest(part[whole:]))


def _rest(text: bytes) -> bytes:
    return text + b"=" * (4 - len(text)) if len(text) > 1 else b""


def _hexadecimal(flat: bytes) -> Iterator[bytes]:
    for match in _HEX.finditer(flat):
        digits = _NO_DIGITS.sub(b"", match[0])
        for start in (0, 1):
            yield binascii.unhexlify(digits[start : len(digits) - (len(digits) - start) % 2])


def _base32(flat: bytes) -> Iterator[bytes]:
    for match in _BASE32.finditer(flat):
        for start in range(8):
            part = match[0][start:]
            whole = len(part) - len(part) % 8
            rest = part[whole : whole + (0, 0, 2, 2, 4, 5, 5, 7)[len(part) % 8]]  # so many letters are whole bytes
            yield base64.b32decode(part[:whole] + (rest.ljust(8, b"=") if rest else b""))


def _base85(flat: bytes) -> Iterator[bytes]:
    for pattern, letters in ((_BASE85, LETTERS_85), (_ASCII85, ASCII_85)):
        for match in pattern.finditer(flat):
            found = match[0].replace(b"z", b"!!!!!") if letters is ASCII_85 else match[0]
            if 16 * len(found.translate(None, ALPHANUMERIC)) > len(found):
                digits = np.frombuffer(found.translate(letters), np.uint8)
                yield from (_of_digits(digits[start:]) for start in range(5))  # a word before it moves where it begins


def _of_digits(digits: npt.NDArray[np.uint8]) -> bytes:
    """Read five digits as four bytes, and what is left at the end as if it went on."""
    whole = np.pad(digits, (0, -len(digits) % 5), constant_values=84).reshape(-1, 5).astype(np.uint64)
    return (whole @ POWERS_85 & 0xFFFFFFFF).astype(">u4").tobytes()


def _decimal(flat: bytes) -> Iterator[bytes]:
    for match in _DECIMAL.finditer(flat):
        yield bytes(int(each) & 255 for each in match[0].split(b",") if each.strip())


def _mailed(chunk: bytes) -> Iterator[bytes]:
    """Read what mail carried before it had base64."""
    for match in _MAILED.finditer(chunk):
        try:
            yield b"".join(map(binascii.a2b_uu, match[1].splitlines()))
        except binascii.Error:
            continue  # it merely looks like one


def _octal(chunk: bytes) -> Iterator[bytes]:
    for match in _OCTAL.finditer(chunk):
        yield bytes(int(each, 8) & 255 for each in match[0].split(b"\\")[1:])


def _entities(chunk: bytes) -> Iterator[bytes]:
    for match in _ENTITIES.finditer(chunk):
        yield html.unescape(match[0].decode("latin-1")).encode(errors="surrogateescape")


def _soft(chunk: bytes) -> Iterator[bytes]:
    """Join what mail breaks off with an equals sign."""
    return (binascii.a2b_qp(part) for part in _around(_SOFT, chunk))


def _joined(chunk: bytes) -> Iterator[bytes]:
    """Join texts that source code writes one after another."""
    return (_JOINED.sub(b"", part) for part in _around(_JOINED, chunk))


def _around(pattern: re.Pattern[bytes], chunk: bytes) -> Iterator[bytes]:
    """Give what stands around each match, where matches are near each other as one."""
    start = end = 0
    for match in pattern.finditer(chunk):
        if match.start() > end:
            if end:
                yield chunk[start:end]
            start = max(end, match.start() - NEAR)
        end = match.end() + NEAR
    if end:
        yield chunk[start:end]


def _percent(chunk: bytes) -> Iterator[bytes]:
    if _PERCENT.search(chunk):
        yield unquote_to_bytes(chunk)


def _inflated(chunk: bytes) -> Iterator[bytes]:
    for tried, match in enumerate(_PACKED.finditer(chunk)):
        if tried >= MOST_TRIED:
            return
        try:
            yield _opener(match[0])(chunk[match.start() :])
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
            continue  # it merely looks like one


def _opener(magic: bytes) -> Callable[[bytes], bytes]:
    if magic.startswith(b"BZh"):
        return lambda data: bz2.BZ2Decompressor().decompress(data, MOST_BYTES)
    if magic.startswith(b"\xfd"):
        return lambda data: lzma.LZMADecompressor().decompress(data, MOST_BYTES)
    return lambda data: zlib.decompressobj(47).decompress(data, MOST_BYTES)  # of gzip or zlib, as its head says


FLAT = (_base64, _base32, _base85, _hexadecimal, _decimal)  # which lines may break
AS_IT_IS = (_mailed, _octal, _percent, _entities, _soft, _joined, _inflated)
