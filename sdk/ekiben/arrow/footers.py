"""How much a file of Parquet will take, read from its own footer and pages before a byte of it is unpacked."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from struct import Struct
from typing import Any

from ekiben.arrow.messages import VALUE_BYTES, not_negative, of_stream
from ekiben.errors import SchemaError

PLAIN, PLAIN_DICTIONARY, RLE, BIT_PACKED, DELTA_NUMBERS, RLE_DICTIONARY, SPLIT = 0, 2, 3, 4, 5, 8, 9
# Of these a header tells how large they become; of texts that are told as differences, none does.
MEASURED = {PLAIN, PLAIN_DICTIONARY, RLE, BIT_PACKED, DELTA_NUMBERS, RLE_DICTIONARY, SPLIT}
DEEPEST = 16  # levels of a header, and of a schema
LARGEST = 1_000_000  # bytes of a footer: some thousand columns
LONGEST = 63  # bits of a number in one

_U32 = Struct("<I")

# What the fields of Parquet's own definition in Thrift are numbered.
SCHEMA, ROWS, GROUPS, TEXTS = 2, 3, 4, 5
COLUMNS, GROUP_ROWS = 1, 3
CHUNK = 3
TYPE, PATH, N_VALUES, LENGTH, DATA_AT, DICTIONARY_AT = 1, 3, 5, 7, 9, 11
CHILDREN, CONVERTED, LOGICAL = 5, 6, 10
BYTE_ARRAY, DECIMAL = 6, 5
KEY, VALUE = 1, 2
# By the kind of a page, the number of its own header, and in that of its encoding; others hold no values.
DATA, DATA_2 = 0, 3
PAGES = {DATA: (5, 2), 2: (7, 2), DATA_2: (8, 4)}
ARROWS_OWN = b"ARROW:schema"  # beside the columns: a schema of Arrow, which is taken at its word


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
        if length > LARGEST:
            raise ValueError(length)
        begins = not_negative(len(body) - 8 - length)
        told = _Thrift(body, begins).struct()
        self._rows, self._schema = not_negative(told[ROWS]), _structs(told[SCHEMA])
        self._groups = [(not_negative(group[GROUP_ROWS]), _chunks(group)) for group in _structs(told[GROUPS])]
        _refuse_depth(self._schema)
        for text in _structs(told.get(TEXTS, [])):
            if text.get(KEY) == ARROWS_OWN:
                of_stream(memoryview(base64.b64decode(_bytes(text[VALUE]), validate=True)))
        if sum(chunk[LENGTH] for _, chunks in self._groups for chunk in chunks) > begins:
            raise ValueError("columns overlap")

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
        chunks = (chunk for _, chunks in self._groups for chunk in chunks)
        return sum(size for chunk in chunks for size in _pages(self._body, chunk))

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
        for number in (DATA_AT, LENGTH, N_VALUES):
            not_negative(chunk[number])
        not_negative(chunk.get(DICTIONARY_AT, 0))
        if not isinstance(chunk[PATH], list):
            raise ValueError(PATH)
        for part in chunk[PATH]:
            _bytes(part)
    return chunks


def _is_decimal(leaf: dict[int, Any]) -> bool:
    (logical,) = _structs([leaf.get(LOGICAL, {})])
    return leaf.get(CONVERTED) == DECIMAL or DECIMAL in logical


def _bytes(found: Any) -> bytes:
    if not isinstance(found, bytes):
        raise ValueError(found)
    return found


def _structs(found: Any) -> list[dict[int, Any]]:
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError(found)
    return found


def _refuse_depth(schema: list[dict[int, Any]]) -> None:
    """Refuse groups within groups, of which libraries make calls within calls."""
    open_groups = list[int]()  # how many members each still has
    for element in schema:
        while open_groups and not open_groups[-1]:
            open_groups.pop()
        if open_groups:
            open_groups[-1] -= 1
        open_groups.append(not_negative(element.get(CHILDREN, 0)))
        if len(open_groups) > DEEPEST:
            raise ValueError(len(open_groups))


def _pages(body: bytes, chunk: dict[int, Any]) -> Iterator[int]:
    """Give the size of each page of a column."""
    data_at, n_values = chunk[DATA_AT], 0
    at = min(data_at, chunk.get(DICTIONARY_AT) or data_at)
    end, has_begun = at + chunk[LENGTH], at == data_at
    if end > len(body):
        raise ValueError(end)
    while at < end:
        if at == data_at:
            has_begun, n_values = True, 0
        header = _Thrift(body, at)
        page = header.struct()
        n = _values_of(page)
        yield max(not_negative(page[2]), VALUE_BYTES * n)
        if page[1] in (DATA, DATA_2):
            n_values += n
        at = header.at + not_negative(page[3])
    if at > end or not has_begun or n_values != chunk[N_VALUES]:  # a reader would look for the rest behind the end
        raise ValueError(at)


def _values_of(page: dict[int, Any]) -> int:
    """Give how many values a page has, where its encoding tells how large they become."""
    if not_negative(page[1]) not in PAGES:
        return 0
    own, encoded = PAGES[page[1]]
    (data,) = _structs([page[own]])
    if not_negative(data.get(encoded, PLAIN)) not in MEASURED:
        raise SchemaError("Parquet must hold its texts plain or in dictionaries. Got another encoding.")
    return not_negative(data[1])


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
            if number in fields:  # which of the two counts hangs on the reader
                raise ValueError(number)
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            found = self._integer()
            if kind != 6 and not -(1 << 31) <= found < 1 << 31:  # what is longer would be cut
                raise ValueError(found)
            return found
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
