"""The bytes of a file in each way that they may be read: as they are, as text of another width, and unwrapped."""

from __future__ import annotations

import base64
import binascii
import bz2
import codecs
import html
import lzma
import re
import string
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from urllib.parse import unquote_to_bytes

import numpy as np
import numpy.typing as npt

from ekiben.containers.leaks import digits, folding

MOST_WRAPPED = 3  # one in another
MOST_BYTES = 8 << 20  # of what one wrapping holds
MOST_TOGETHER = 32 << 20  # bytes of what lies in wrappings of one kind
MOST_READ = 128 << 20  # bytes of all views of a chunk
NEAR = 256  # bytes around what is joined
FEWEST = 12  # letters, each of its own, that a run of base 85 has at least, and twice as many as one of base 64
MOST_TRIED = 200  # places of a chunk that may begin something compressed
ALPHANUMERIC = (string.digits + string.ascii_uppercase + string.ascii_lowercase).encode()
SMALL = string.ascii_lowercase.encode()
LETTERS_85 = bytes.maketrans(ALPHANUMERIC + b"!#$%&()*+-;<=>?@^_`{|}~", bytes(range(85)))
ASCII_85 = bytes.maketrans(bytes(range(33, 118)), bytes(range(85)))
POWERS_85 = np.array([85**4, 85**3, 85**2, 85, 1], np.uint64)
# The end of a line, with what begins the next one of a comment or a list; and what stands between two pieces of base64.
_LINES = re.compile(
    rb"(?:\\r|\\n|[\r\n])+[ \t]*(?:(?:[#*>|-]|//)[ \t]+)?|"
    rb"[\"'](?<=[A-Za-z0-9+/]{12}[\"'])[ \t]*+,?(?:\s|\\n)*+[\"'](?=[A-Za-z0-9+/]{12})"
)
_DIGESTS = re.compile(rb"sha256[:=][0-9a-f]{64}(?![0-9A-Za-z])")  # of which a lock has hundreds
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
_BASE64_BACK = re.compile(rb"={1,2}[A-Za-z0-9+/_-]{24,}")
_WORD = re.compile(rb"[A-Za-z0-9]{32,}")
_BASE32 = re.compile(rb"[A-Z2-7]{32,}|[a-z2-7]{32,}")
_BASE32_HEX = re.compile(rb"[0-9A-V]{32,}")
# A quarter of the letters of base 85 is in no base64: a run with next to none of them is none, nor is one of small letters.
_BASE85 = re.compile(rb"[0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~-]{24,}(?:\r?\n[ \t]*[0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~-]+)*")
_ASCII85 = re.compile(rb"[!-uz]{24,}(?:\r?\n[ \t]*[!-uz]+)*")
_BREAK = re.compile(rb"\r?\n[ \t]*")
_MAILED = re.compile(rb"^begin [0-7]{3} \S[^\r\n]*\r?\n((?:[ -`]{1,62}\r?\n)+)", re.MULTILINE)
_ENTITY = re.compile(rb"&#x?[0-9a-fA-F]{2,6};")
_SOFT = re.compile(rb"=(?:\r?\n|[0-9A-F]{2}(?:=[0-9A-F]{2}){3,}|(?<=\w=)(?:20|3D)(?=[A-Za-z_-]))")
_JOINED = re.compile(rb"([\"'])[ \t]*(?:\+[ \t]*)?(?:\\?\r?\n[ \t]*)?(?:\+[ \t]*)?\1")
_CONTINUED = re.compile(rb"\\\r?\n[ \t]*")
_SPACE = re.compile(rb"\s")
_PERCENT = re.compile(rb"%[0-9A-Fa-f]{2}")
_BACKSLASH = re.compile(rb"\\")
_ESCAPED = re.compile(rb"\\(?:u00(?=[0-7])|U000000(?=[0-7])|x(?=[2-7]))([0-7][0-9a-fA-F])")
_UNSEEN = re.compile(rb"\xe2\x80[\x8b-\x8f]|\xe2\x81[\xa0-\xa4]|\xc2\xad|\xef\xbb\xbf")  # letters of no width
_STYLED = re.compile(  # wide or ornate
    rb"(?:\xef[\xbc\xbd][\x80-\xbf]|\xf0\x9d[\x80-\xbf]{2})(?:[A-Za-z0-9_/+=.-]|\xef[\xbc\xbd][\x80-\xbf]|\xf0\x9d[\x80-\xbf]{2}){11,}"
)
# One letter after another, or groups of them, with the same sign between any two.
_APART = re.compile(rb"[\w/+=](?<![\w.<>\[\](){}/*+-].)([ .,|\n-])[\w/+=](?:\1[\w/+=.-]){13,}(?!\w)")
_GROUPS = re.compile(rb"[A-Z0-9](?<!\w.)[A-Z0-9]{3,4}(?:[ -][A-Z0-9]{4,5}){2,}[ -][A-Z0-9]{2,5}(?!\w)")
_SIGNS = re.compile(rb"[ .,|\n-]")
# The texts of a pickle, each after its length and before the number to call it by.
_TEXT = re.compile(rb"X([\x08-\xff][\x00-\x0f])\x00\x00|C([\x08-\xff])|^[^\n]{0,8}V([!-~]{8,})$", re.MULTILINE)
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
    yield from _at_most(MOST_READ, _read(chunk, MOST_WRAPPED))


def _at_most(n_bytes: int, parts: Iterable[bytes]) -> Iterator[bytes]:
    """Give no more once they are so many: what is packed, or overlaps, may come to a thousand times a file's size."""
    for part in parts:
        yield part
        n_bytes -= len(part)
        if n_bytes < 0:
            return


def _read(chunk: bytes, left: int) -> Iterator[bytes]:
    yield chunk
    if b"\x00" in chunk:
        for n_bytes in (2, 4):  # so many zeros less one end a text, fewer lie between its letters
            text = chunk.replace(b"\x00" * (2 * n_bytes - 1), b"\n").replace(b"\x00", b"")
            yield text[2:] if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else text
        yield b"\n".join(_PRINTED.findall(chunk))
    if b"\\" in chunk:
        yield b"\n".join(map(_unescaped, _around(_BACKSLASH, chunk)))
    if left:
        bare = _DIGESTS.sub(b" ", chunk)
        flat = _DIGESTS.sub(b" ", _LINES.sub(b"", bare))  # one may be on two lines
        for unwrap, given in (*((each, flat) for each in FLAT), *((each, bare) for each in AS_IT_IS)):
            if inner := b"\n".join(_at_most(MOST_TOGETHER, unwrap(given))):
                yield from _read(inner, left - 1)


def _unescaped(part: bytes) -> bytes:
    """Read what stands in quotes as JSON and source code write it."""
    plain = _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), part)
    return plain.replace(b'\\"', b'"').replace(b"\\/", b"/").replace(b"\\n", b"\n")


def _base64(flat: bytes) -> Iterator[bytes]:
    found = (match[0] for match in _BASE64.finditer(flat))
    back = (match[0][::-1] for match in _BASE64_BACK.finditer(flat))
    for run in chain(found, back):
        if len({*run}) < FEWEST // 2:
            continue
        letters = run.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        for start in range(4):  # a word before it, or the border of a chunk, moves where it begins
            part = letters[start:]
            whole = len(part) // 4 * 4
            yield base64.b64decode(part[:whole] + _rest(part[whole:]))


def _rest(text: bytes) -> bytes:
    return text + b"=" * (4 - len(text)) if len(text) > 1 else b""


def _base32(flat: bytes) -> Iterator[bytes]:
    words = b" ".join(word for word in _WORD.findall(flat) if len({*word}) >= FEWEST // 2)
    for pattern, read in ((_BASE32, base64.b32decode), (_BASE32_HEX, base64.b32hexdecode)):
        for match in pattern.finditer(words):
            for start in range(8):
                part = match[0][start:].upper()
                whole = len(part) - len(part) % 8
                rest = part[whole : whole + (0, 0, 2, 2, 4, 5, 5, 7)[len(part) % 8]]  # so many letters are whole bytes
                yield read(part[:whole] + (rest.ljust(8, b"=") if rest else b""))


def _base85(chunk: bytes) -> Iterator[bytes]:
    for pattern, letters in ((_BASE85, LETTERS_85), (_ASCII85, ASCII_85)):
        for match in pattern.finditer(chunk):
            found = _BREAK.sub(b"", match[0])
            if _may_be_85(found):
                whole = found.replace(b"z", b"!!!!!") if letters is ASCII_85 else found
                digits = np.frombuffer(whole.translate(letters), np.uint8)
                yield from (_of_digits(digits[start:]) for start in range(5))  # a word before it moves where it begins


def _may_be_85(run: bytes) -> bool:
    n_signs, n_others = len(run.translate(None, ALPHANUMERIC)), len(run.translate(None, SMALL))
    return 16 * n_signs > len(run) and 2 * n_others > len(run) and len({*run}) >= FEWEST


def _of_digits(digits: npt.NDArray[np.uint8]) -> bytes:
    """Read five digits as four bytes, and what is left at the end as if it went on."""
    whole = np.pad(digits, (0, -len(digits) % 5), constant_values=84).reshape(-1, 5).astype(np.uint64)
    return (whole @ POWERS_85 & 0xFFFFFFFF).astype(">u4").tobytes()


def _mailed(chunk: bytes) -> Iterator[bytes]:
    """Read what mail carried before it had base64."""
    for match in _MAILED.finditer(chunk):
        try:
            yield b"".join(map(binascii.a2b_uu, match[1].splitlines()))
        except binascii.Error:
            continue  # it merely looks like one


def _entities(chunk: bytes) -> Iterator[bytes]:
    for part in _around(_ENTITY, chunk):
        yield _ENTITY.sub(lambda match: html.unescape(match[0].decode()).encode(errors="surrogateescape"), part)


def _soft(chunk: bytes) -> Iterator[bytes]:
    """Join what mail breaks off with an equals sign."""
    return (binascii.a2b_qp(part) for part in _around(_SOFT, chunk))


def _joined(chunk: bytes) -> Iterator[bytes]:
    """Join texts that source code writes one after another."""
    return (_JOINED.sub(b"", part) for part in _around(_JOINED, chunk))


def _around(pattern: re.Pattern[bytes], chunk: bytes) -> Iterator[bytes]:
    """Give what stands around each match in whole words, where matches are near each other as one."""
    start = end = 0
    for match in pattern.finditer(chunk):
        if match.start() > end:
            if end:
                yield _in_words(chunk, start, end)
            start = max(end, match.start() - NEAR)
        end = match.end() + NEAR
    if end:
        yield _in_words(chunk, start, end)


def _in_words(chunk: bytes, start: int, end: int) -> bytes:
    """Cut a piece out where no word is cut, or one that is longer than any: half of a path is another."""
    first = max(chunk.rfind(space, max(0, start - NEAR), start) for space in (b" ", b"\n"))
    last = _SPACE.search(chunk, end, end + NEAR)
    return chunk[start if first < 0 else first : end if last is None else last.start()]


def _percent(chunk: bytes) -> Iterator[bytes]:
    return (unquote_to_bytes(part) for part in _around(_PERCENT, chunk))


def _continued(chunk: bytes) -> Iterator[bytes]:
    """Join the lines of a shell."""
    return (_CONTINUED.sub(b"", part) for part in _around(_CONTINUED, chunk))


def _unseen(chunk: bytes) -> Iterator[bytes]:
    return (_UNSEEN.sub(b"", part) for part in _around(_UNSEEN, chunk))


def _styled(chunk: bytes) -> Iterator[bytes]:
    for match in _STYLED.finditer(chunk):
        yield unicodedata.normalize("NFKC", match[0].decode(errors="replace")).encode()


def _apart(chunk: bytes) -> Iterator[bytes]:
    return (_SIGNS.sub(b"", match[0]) for pattern in (_APART, _GROUPS) for match in pattern.finditer(chunk))


def _pickled(chunk: bytes) -> Iterator[bytes]:
    """Read the texts of a pickle of old, which a letter follows that belongs to no text."""
    for match in _TEXT.finditer(chunk):
        n_bytes = int.from_bytes(match[1] or match[2] or b"", "little")
        if match[3]:
            yield match[3]
        elif chunk[match.end() + n_bytes : match.end() + n_bytes + 1] in (b"q", b"r", b"\x94"):
            yield chunk[match.end() : match.end() + n_bytes]


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


FLAT = (_base64, _base32, digits.hexadecimal, digits.binary)  # which lines may break
AS_IT_IS = (
    *(_base85, _mailed, _percent, _entities, _soft, _joined, _continued, _inflated, _unseen, _styled, _apart, _pickled),
    *(digits.numbers, digits.escaped, digits.dumped, digits.listed, folding.folded),
)
