"""The bytes of a file in each way that they may be read: as they are, as text of another width, and unwrapped."""

from __future__ import annotations

import base64
import binascii
import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from urllib.parse import unquote_to_bytes

MOST_WRAPPED = 3  # one in another
MOST_BYTES = 8 << 20  # of what one wrapping holds
MOST_TRIED = 200  # places of a chunk that may begin something compressed
_LINES = re.compile(rb"(?:\\r|\\n|[\r\n])+[ \t]*")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){20,}|(?:\\x[0-9a-fA-F]{2}){20,}")
_PERCENT = re.compile(rb"%[0-9A-Fa-f]{2}")
_ESCAPED = re.compile(rb"\\u00([0-7][0-9a-fA-F])")
_PRINTED = re.compile(rb"[\x20-\x7e\t]{8,}")
_PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]|BZh[1-9]1AY|\xfd7zXZ\x00")


def of(chunk: bytes) -> Iterator[bytes]:
    r"""Give bytes as they are, and what they say when they are read otherwise.

    Text of two or four bytes a letter, what JSON and source code escape, what stands between bytes that are no text; and
    base64, hexadecimal digits, per cent signs, gzip, zlib, bzip2 and xz, also one in another.

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
        for unwrap in (_base64, _hexadecimal, _percent, _inflated):
            if inner := b"\n".join(unwrap(chunk)):
                yield from _read(inner, left - 1)


def _base64(chunk: bytes) -> Iterator[bytes]:
    for match in _BASE64.finditer(_LINES.sub(b"", chunk)):
        letters = match[0].rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        for start in range(4):  # a word before it, or the border of a chunk, moves where it begins
            part = letters[start:]
            whole = len(part) // 4 * 4
            yield base64.b64decode(part[:whole] + _rest(part[whole:]))


def _rest(text: bytes) -> bytes:
    return text + b"=" * (4 - len(text)) if len(text) > 1 else b""


def _hexadecimal(chunk: bytes) -> Iterator[bytes]:
    for match in _HEX.finditer(_LINES.sub(b"", chunk)):
        digits = match[0].replace(b"\\x", b"")
        for start in (0, 1):
            yield binascii.unhexlify(digits[start : len(digits) - (len(digits) - start) % 2])


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
