"""How much an Arrow stream will take, read from the headers of its messages before Arrow looks at one."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, error, iter_unpack
from typing import Any

VALUE_BYTES = 8  # what a value takes at most, once it is a number
SCHEMA, DICTIONARY, BATCH = 1, 2, 3  # what a message may be
TIMESTAMP, UNION = 10, 14  # types that bring a text or a list of their own
# At least so many bytes of a header are a field's, or a text's beside the columns.
FIELD_BYTES, TEXT_BYTES, ENTRY_BYTES = 16, 12, 4
DEEPEST = 64  # levels of a type, as in Arrow itself

_I64, _I32, _U32, _U16, _U8 = Struct("<q"), Struct("<i"), Struct("<I"), Struct("<H"), Struct("<B")


def of_stream(body: memoryview) -> tuple[int, int]:
    """Give the number of rows in an Arrow stream, and of bytes that its columns and dictionaries take.

    Raises
    ------
    ValueError
        If its headers are not sound, or point to one thing from many places.
    """
    n_rows = n_bytes = 0
    try:
        for message, data in _messages(body):
            kind = message.byte(1)
            _refuse_shared(message, message.texts(4))
            if kind == SCHEMA:
                schema = message.table(2)
                _refuse_shared(message, _weights(schema, 1, 2))
                continue
            if kind not in (DICTIONARY, BATCH):
                raise ValueError(kind)
            batch = message.table(2) if kind == BATCH else message.table(2).table(1)
            n_rows += not_negative(batch.long(0)) if kind == BATCH else 0
            # values that take no bytes, as those of Arrow's null, are values all the same
            n_values = sum(not_negative(length) for length, _ in batch.pairs(1))
            n_bytes += max(sum(_unpacked(batch, data)), VALUE_BYTES * n_values)
    except error as broken:
        raise ValueError from broken
    return n_rows, n_bytes


def not_negative(number: Any) -> int:
    """Give a whole number, or refuse what is none."""
    if type(number) is not int or number < 0:
        raise ValueError(number)
    return number


def _messages(body: memoryview) -> Iterator[tuple[_Flat, memoryview]]:
    """Part a stream into the header and the body of each message."""
    at = 0
    while at < len(body):
        (size,) = _I32.unpack_from(body, at)
        at += _I32.size
        if size == -1:  # the mark before a length, which old writers leave out
            (size,) = _I32.unpack_from(body, at)
            at += _I32.size
        if size == 0:
            return
        message = _Flat(bytes(_part(body, at, size)))
        at += size
        data = _part(body, at, message.long(3))
        at += len(data)
        yield message, data


def _part(body: memoryview, start: int, size: int) -> memoryview:
    end = start + not_negative(size)
    if end > len(body):
        raise ValueError(end)
    return body[start:end]


def _refuse_shared(message: _Flat, weights: Iterator[int]) -> None:
    """Refuse a header whose parts weigh more than it: one of them is pointed to again and again, and would be copied each time."""
    left = message.size
    for weight in weights:
        left -= weight
        if left < 0:
            raise ValueError(left)


def _weights(table: _Flat, children: int, texts: int, depth: int = 0) -> Iterator[int]:
    """Go through a schema or a field, and say of each part what it takes in a header at least."""
    if depth > DEEPEST:
        raise ValueError(depth)
    yield from table.texts(texts)
    yield ENTRY_BYTES * table.length(children)
    for field in table.tables(children):
        yield FIELD_BYTES + field.length(0)
        if field.byte(2) in (TIMESTAMP, UNION):
            yield field.table(3).length(1)
        yield from _weights(field, 5, 6, depth + 1)


def _unpacked(batch: _Flat, body: memoryview) -> Iterator[int]:
    """Give the size of each buffer of a batch; before one that is compressed stands how large it was."""
    is_compressed = batch.has(3)
    for start, length in batch.pairs(2):
        if not is_compressed or length < _I64.size:
            yield not_negative(length)
            continue
        (told,) = _I64.unpack_from(body, not_negative(start))
        yield length if told == -1 else not_negative(told)


class _Flat:
    """A table of a flatbuffer: its fields by their number."""

    def __init__(self, data: bytes, at: int | None = None) -> None:
        self._data, self.size = data, len(data)
        self._at = self._number(_U32, 0) if at is None else at
        self._fields = self._at - self._number(_I32, self._at)

    def _number(self, form: Struct, at: int) -> int:
        found: int = form.unpack_from(self._data, not_negative(at))[0]
        return found

    def _place(self, field: int) -> int:
        """Give where a field stands; 0 where it is left out."""
        entry = 4 + 2 * field
        if entry + 2 > self._number(_U16, self._fields):
            return 0
        offset = self._number(_U16, self._fields + entry)
        return self._at + offset if offset else 0

    def _pointed(self, field: int) -> int:
        """Give where stands what a field points to; 0 where it is left out."""
        at = self._place(field)
        return at + self._number(_U32, at) if at else 0

    def has(self, field: int) -> bool:
        return self._place(field) > 0

    def byte(self, field: int) -> int:
        at = self._place(field)
        return self._number(_U8, at) if at else 0

    def long(self, field: int) -> int:
        at = self._place(field)
        return self._number(_I64, at) if at else 0

    def length(self, field: int) -> int:
        """Give how many items a text or a vector has."""
        at = self._pointed(field)
        return self._number(_U32, at) if at else 0

    def table(self, field: int) -> _Flat:
        return _Flat(self._data, self._pointed(field))

    def tables(self, field: int) -> Iterator[_Flat]:
        """Go through a vector of tables."""
        start = self._pointed(field) + 4
        for at in range(start, start + ENTRY_BYTES * self.length(field), ENTRY_BYTES):
            yield _Flat(self._data, at + self._number(_U32, at))

    def texts(self, field: int) -> Iterator[int]:
        """Go through a vector of texts beside the columns, and say of each what it takes at least."""
        yield ENTRY_BYTES * self.length(field)
        for pair in self.tables(field):
            yield TEXT_BYTES + pair.length(0) + pair.length(1)

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """Go through a vector of pairs of 64 bits."""
        start = self._pointed(field) + 4
        yield from iter_unpack("<qq", self._data[start : start + 16 * self.length(field)])
