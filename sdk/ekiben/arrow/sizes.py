"""How much a table will take, read from its own headers before a byte of it is unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, error, iter_unpack
from typing import Any

from ekiben._optional import require
from ekiben.errors import SchemaError

VALUE_BYTES = 8  # what a value takes at most, once it is a number
DELTA_BYTE_ARRAY = 7  # each text as what it adds to the one before: a few bytes become gigabytes
DEEPEST = 16  # levels of a header
LONGEST = 63  # bits of a number in one

_I64, _I32, _U32, _U16 = Struct("<q"), Struct("<i"), Struct("<I"), Struct("<H")


def of_stream(body: memoryview) -> tuple[int, int]:
    """Give the number of rows in an Arrow stream, and of bytes that its columns and dictionaries take.

    Raises
    ------
    ValueError
        If its headers are not sound.
    """
    ipc = require("pyarrow.ipc", to="read Arrow")
    n_rows = n_bytes = 0
    try:
        for message in ipc.MessageReader.open_stream(body):
            header = _Flat(bytes(message.metadata)).table(2) if message.type in BATCHES else None
            if header is None:
                continue
            is_dictionary = message.type == "dictionary"
            batch = header.table(1) if is_dictionary else header
            n_rows += 0 if is_dictionary else _not_negative(batch.long(0))
            n_bytes += sum(_unpacked(batch, memoryview(message.body)))
    except error as broken:
        raise ValueError from broken
    return n_rows, n_bytes


BATCHES = ("dictionary", "record batch")


def _unpacked(batch: _Flat, body: memoryview) -> Iterator[int]:
    """Give the size of each buffer of a batch; before one that is compressed stands how large it was."""
    is_compressed = batch.has(3)
    for start, length in batch.pairs(2):
        if not is_compressed or length < _I64.size:
            yield _not_negative(length)
            continue
        (told,) = _I64.unpack_from(body, _not_negative(start))
        yield length if told == -1 else _not_negative(told)


def _not_negative(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(number)
    return number


class _Flat:
    """A table of a flatbuffer: its fields by their number."""

    def __init__(self, data: bytes, at: int | None = None) -> None:
        self._data = data
        self._at = self._number(_U32, 0) if at is None else at
        self._fields = self._at - self._number(_I32, self._at)

    def _number(self, form: Struct, at: int) -> int:
        found: int = form.unpack_from(self._data, _not_negative(at))[0]
        return found

    def _place(self, field: int) -> int:
        """Give where a field stands; 0 where it is left out."""
        entry = 4 + 2 * field
        if entry + 2 > self._number(_U16, self._fields):
            return 0
        offset = self._number(_U16, self._fields + entry)
        return self._at + offset if offset else 0

    def has(self, field: int) -> bool:
        return self._place(field) > 0

    def long(self, field: int) -> int:
        at = self._place(field)
        return self._number(_I64, at) if at else 0

    def table(self, field: int) -> _Flat:
        at = self._place(field)
        return _Flat(self._data, at + self._number(_U32, at))

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """Go through a vector of pairs of 64 bits."""
        if not (at := self._place(field)):
            return
        at += self._number(_U32, at)
        n, start = self._number(_U32, at), at + 4
        yield from iter_unpack("<qq", self._data[start : start + 16 * n])


# ── Parquet ─────────────────────────────────────────────────────────────────────────────────────────────────────────

# What the fields of Parquet's own definition in Thrift are numbered.
SCHEMA, ROWS, GROUPS = 2, 3, 4
COLUMNS, GROUP_ROWS = 1, 3
CHUNK = 3
TYPE, PATH, LENGTH, DATA_AT, DICTIONARY_AT = 1, 3, 7, 9, 11
CONVERTED, LOGICAL = 6, 10
BYTE_ARRAY, DECIMAL = 6, 5


class Footer:
    """What a file of Parquet says of itself: read here, because pyarrow's own words on a broken one end the process.

    Parameters
    ----------
    body
        The file.

    Raises
    ------
    ValueError, LookupError
        If it is not sound.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        if len(body) < 12 or not body.startswith(b"PAR1") or not body.endswith(b"PAR1"):
            raise ValueError("no magic")
        (length,) = _U32.unpack_from(body, len(body) - 8)
        told = _Thrift(body, _not_negative(len(body) - 8 - length)).struct()
        self._rows, self._schema = _not_negative(told[ROWS]), _structs(told[SCHEMA])
        self._groups = [(_not_negative(group[GROUP_ROWS]), _chunks(group)) for group in _structs(told[GROUPS])]

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return max(self._rows, sum(n for n, _ in self._groups))

    def n_bytes(self) -> int:
        """Give the number of bytes that its columns take: the header of every page is asked, as the footer may say anything.

        Raises
        ------
        SchemaError
            If texts are packed in a way whose size no header tells.
        """
        found = 0
        for _, chunks in self._groups:
            for chunk in chunks:
                start = min(chunk[DATA_AT], chunk.get(DICTIONARY_AT) or chunk[DATA_AT])
                found += sum(_pages(self._body, start, chunk[LENGTH]))
        return found

    def texts(self) -> list[str]:
        """Name the columns that hold texts or bytes of any length."""
        leaves = [leaf for leaf in self._schema if TYPE in leaf]
        firsts = self._groups[0][1] if self._groups else []
        return [
            b".".join(chunk[PATH]).decode()
            for leaf, chunk in zip(leaves, firsts, strict=True)
            if leaf[TYPE] == BYTE_ARRAY and not _is_decimal(leaf)
        ]


def _chunks(group: dict[int, Any]) -> list[dict[int, Any]]:
    chunks = _structs([column[CHUNK] for column in _structs(group[COLUMNS])])
    for chunk in chunks:
        for number in (DATA_AT, LENGTH):
            _not_negative(chunk[number])
        _not_negative(chunk.get(DICTIONARY_AT, 0))
        if not isinstance(chunk[PATH], list) or not all(isinstance(part, bytes) for part in chunk[PATH]):
            raise ValueError(PATH)
    return chunks


def _is_decimal(leaf: dict[int, Any]) -> bool:
    (logical,) = _structs([leaf.get(LOGICAL, {})])
    return leaf.get(CONVERTED) == DECIMAL or DECIMAL in logical


def _structs(found: Any) -> list[dict[int, Any]]:
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError(found)
    return found


def _pages(body: bytes, start: int, length: int) -> Iterator[int]:
    """Give the size of each page of a column."""
    at, end = start, start + length
    if end > len(body):
        raise ValueError(end)
    while at < end:
        header = _Thrift(body, at)
        page = header.struct()
        (data,) = _structs([next((page[number] for number in (5, 8) if number in page), {})])
        if data.get(2 if 5 in page else 4) == DELTA_BYTE_ARRAY:
            raise SchemaError("Parquet must hold its texts plain or in dictionaries. Got DELTA_BYTE_ARRAY.")
        yield max(_not_negative(page[2]), VALUE_BYTES * _not_negative(data.get(1, 0)))
        at = header.at + _not_negative(page[3])


class _Thrift:
    """A reader of Thrift's compact protocol, from some byte on."""

    def __init__(self, body: bytes, at: int) -> None:
        self._body, self.at = body, at

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Read the fields of a struct by their numbers; what they are called stands in Parquet's own definition."""
        if depth > DEEPEST:
            raise ValueError(depth)
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._integer()
        if kind == 7:
            return self._skip(8)
        if kind == 8:
            size = self._varint()
            start = self.at
            self._skip(size)
            return self._body[start : self.at]
        if kind in (9, 10):
            head = self._byte()
            n = self._varint() if head >> 4 == 15 else head >> 4
            return [self._item(head & 15, depth) for _ in range(n)]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(kind)  # a map, which no page has

    def _item(self, kind: int, depth: int) -> Any:
        return self._byte() if kind in (1, 2) else self._value(kind, depth + 1)

    def _byte(self) -> int:
        self.at += 1
        return self._body[self.at - 1]

    def _skip(self, n: int) -> None:
        self.at += n
        if self.at > len(self._body):
            raise ValueError(self.at)

    def _varint(self) -> int:
        found = shift = 0
        while (byte := self._byte()) & 128:
            found |= (byte & 127) << shift
            shift += 7
            if shift > LONGEST:
                raise ValueError(shift)
        return found | byte << shift

    def _integer(self) -> int:
        packed = self._varint()
        return packed >> 1 if packed % 2 == 0 else -(packed >> 1) - 1
