"""Read segments: whole, or on from where somebody stopped."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from io import BufferedIOBase
from pathlib import Path
from zlib import crc32

import msgspec

from ekiben.errors import IntegrityError, RecordsError
from ekiben.recording.segments import FRAME, MAGIC, PACKED, WHOLE, Header, Record, name_of

FIRST = bytes([0x90 + len(Record.__struct_fields__)])  # what a record begins with: MessagePack's array of so many
_decode: Callable[[bytes], Record] = msgspec.msgpack.Decoder(Record).decode


def read(path: Path) -> tuple[Header, Iterator[Record]]:
    """Read a segment: what it says of its records, and each of them up to one that is being written.

    Raises
    ------
    IntegrityError
        If it is no segment, or a record before its end was changed.
    """
    header, _, found = read_on(path)
    return header, (record for record, _ in found)


def read_on(path: Path, start: int = 0) -> tuple[Header, int, Generator[tuple[Record, int], None, None]]:
    """Read a segment from a byte on: its header, the byte itself, and each record with the byte at which it ends.

    A byte within the header stands for that of the first record.

    Raises
    ------
    IntegrityError
        If it is no segment, or a record was changed.
    """
    file = _opened(path)
    try:
        header = _header(path, file)
        at = file.seek(max(start, file.tell()))
    except BaseException:
        file.close()
        raise
    return header, at, _records(path, file, at)


def _opened(path: Path) -> BufferedIOBase:
    """Open a segment, which may be closed or packed between two looks at its folder."""
    name = name_of(path)
    for ending in (path.name.removeprefix(name), WHOLE, PACKED):
        found = path.with_name(f"{name}{ending}")
        with suppress(FileNotFoundError):
            return gzip.open(found) if ending == PACKED else found.open("rb")
    raise RecordsError(f"A segment must be there while it is read. {path.name} is not: it was deleted.")


def _header(path: Path, file: BufferedIOBase) -> Header:
    try:
        is_one = file.read(len(MAGIC)) == MAGIC
        told = _frame(path, file, len(MAGIC)) if is_one else None
    except (OSError, EOFError, zlib.error):
        raise _broken(path) from None
    if not is_one:
        raise IntegrityError(f"A segment of records must be one that ekiben wrote. {path.name} is not.")
    try:
        return msgspec.json.decode(told or b"", type=Header)
    except msgspec.MsgspecError:
        raise IntegrityError(f"A segment of records must begin with its header. {path.name} does not.") from None


def _records(path: Path, file: BufferedIOBase, at: int) -> Generator[tuple[Record, int], None, None]:
    with file:
        try:
            while (body := _frame(path, file, at)) is not None:
                at += FRAME.size + len(body)
                yield _decode(body), at
        except (OSError, EOFError, zlib.error):
            raise _broken(path) from None


def _frame(path: Path, file: BufferedIOBase, at: int) -> bytes | None:
    """Read what comes next; None for the end, or for one that is being written, or was never answered."""
    head = file.read(FRAME.size)
    if len(head) < FRAME.size:
        return None
    size, check = FRAME.unpack(head)
    if not size and not check and not any(file.read()):
        return None  # a machine that lost its power may leave nothing but zeros where the last records were to be
    body = file.read(size)
    if len(body) < size and not _holds_one(head + body):
        return None
    if not size or crc32(body) != check:
        raise IntegrityError(f"Every record must be as it was written. One of {path.name} is not, at byte {at:,}.")
    return body


def _holds_one(rest: bytes) -> bool:
    """Tell whether a whole record lies in what should be the beginning of one: nothing follows a torn one, so its size was changed."""
    at = rest.find(FIRST, FRAME.size)
    while at >= 0:
        size, check = FRAME.unpack_from(rest, at - FRAME.size)
        if size <= len(rest) - at and crc32(rest[at : at + size]) == check:
            return True
        at = rest.find(FIRST, at + 1)
    return False


def _broken(path: Path) -> IntegrityError:
    return IntegrityError(f"A segment must be as it was written. {path.name} is not.")
