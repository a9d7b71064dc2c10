"""Tables whose headers point to one thing many times, or promise what takes no bytes, are refused before they are read."""

import base64
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import bombs
from ekiben import arrow
from ekiben.arrow import FILE, PARQUET, STREAM
from ekiben.dialects import Refusal
from ekiben.errors import SchemaError

MOST = 4_000_000
TABLE = pa.table({"income": pa.array([1.5, None]), "job": pa.array(["a", "b"])})
FIELDS = (b"income", bombs.DOUBLE), (b"job", bombs.UTF8)


class TooLarge(Exception):
    """What `allow` raises."""


def opened(body, kind=STREAM):
    def allow(_n_rows, n_bytes):
        if n_bytes > MOST:
            raise TooLarge

    return arrow.read(arrow.opened(body, kind, lambda name: True, allow))


def refused(body, kind=STREAM):
    with pytest.raises((SchemaError, Refusal, TooLarge)):
        opened(body, kind)


def of(schema):
    return schema + bombs.behind_schema(arrow.packed(TABLE, STREAM))


# ── Arrow


def test_a_header_that_is_written_by_hand_is_read():
    plain = {"income": [1.5, None], "job": ["a", "b"]}
    assert opened(of(bombs.schema(*FIELDS))) == plain
    assert opened(of(bombs.schema(*FIELDS, texts=(1, b"v")))) == plain
    assert opened(of(bombs.schema(*FIELDS, texts=(1, b"v"), of_message=True))) == plain


@pytest.mark.parametrize("of_message", [False, True])
def test_a_text_that_a_header_points_to_many_times_is_refused(of_message):
    # a megabyte of it became gigabytes
    refused(of(bombs.schema(*FIELDS, texts=(100, b"v" * 1000), of_message=of_message)))


def test_a_file_of_parquet_that_holds_such_a_header_is_refused():
    pages = bombs.page(1, struct.pack("<i", 7))
    sound = [bombs.chunk(1, len(pages))]
    for n, reads in ((1, True), (100, False)):
        told = base64.b64encode(bombs.schema((b"a", bombs.NULL), texts=(n, b"v" * 1000)))
        body = bombs.parquet(pages, sound, n_rows=1, texts=[(b"ARROW:schema", told)])
        if reads:
            assert opened(body, PARQUET) == {"a": [7]}
        else:
            refused(body, PARQUET)


def test_types_that_point_to_one_type_at_every_level_are_refused():
    # of 22 levels there were four million fields
    body = bombs.schema(levels=12)
    body = struct.pack("<ii", -1, len(body) - 8 + 80_000) + body[8:] + bytes(80_000)  # so that Arrow takes so many
    assert len(pa.ipc.read_schema(pa.py_buffer(body))) == 1
    with pytest.raises(SchemaError, match="whole and sound"):
        opened(body)


def lists(kind):
    n = 10_000_000
    items = pa.nulls(n) if kind == "null" else pa.Array.from_buffers(pa.bool_(), n, [None, pa.py_buffer(bytes(n // 8))])
    ends = pa.array([0, n], type=pa.int32())
    return pa.table({"a": pa.ListArray.from_arrays(ends, items)})


NOTHING = {
    "lists": lambda: lists("null"),
    "lists_of_bits": lambda: lists("bits"),
    "lists_of_one_length": lambda: pa.table({"a": pa.FixedSizeListArray.from_arrays(pa.nulls(5_000_000), 2_500_000)}),
    "a_dictionary": lambda: pa.table({"a": pa.DictionaryArray.from_arrays(np.int8([0, 0]), pa.nulls(9_000_000))}),
}


@pytest.mark.parametrize("kind", [STREAM, FILE])
@pytest.mark.parametrize("make", NOTHING.values(), ids=NOTHING)
def test_values_that_take_no_bytes_are_counted(make, kind):
    body = arrow.packed(make(), kind)
    assert len(body) < 1_300_000
    with pytest.raises(TooLarge):
        opened(body, kind)


# ── Parquet

PAGE = bombs.page(2, struct.pack("<ii", 7, 8))
WHOLE = bombs.parquet(PAGE, [bombs.chunk(2, len(PAGE))], n_rows=2)


def test_a_file_that_is_written_by_hand_is_read():
    assert opened(WHOLE, PARQUET) == {"a": [7, 8]}


def test_groups_within_groups_are_refused():
    # of some ten thousand levels pyarrow ended the process
    for depth, reads in ((3, True), (100, False)):
        groups = [bombs.element(b"a", children=1)] * depth
        elements = [bombs.element(b"r", children=1), *groups, bombs.element(b"a", kind=1)]
        body = bombs.parquet(PAGE, [bombs.chunk(2, len(PAGE))], n_rows=2, elements=elements)
        if reads:
            arrow.opened(body, PARQUET, lambda name: False)
        else:
            refused(body, PARQUET)


def test_columns_that_lie_over_one_another_are_refused():
    # the pages of one were looked at for each of them
    refused(bombs.parquet(PAGE, *[[bombs.chunk(2, len(PAGE))]] * 8, n_rows=2), PARQUET)


MANY = bombs.page(1 << 30, b"")
HIDDEN = {
    "behind_the_end": bombs.parquet(PAGE + MANY, [bombs.chunk(2 + (1 << 30), len(PAGE))], n_rows=2),
    "behind_a_page_that_is_too_long": bombs.parquet(
        bombs.page(2, struct.pack("<ii", 7, 8) + bytes(9)), [bombs.chunk(2, len(PAGE))], n_rows=2
    ),
    "by_a_size_that_is_told_twice": bombs.parquet(
        PAGE + MANY, [bombs.chunk(2, len(PAGE + MANY), also=[(7, bombs.i64(len(PAGE)))])], n_rows=2
    ),
    "before_the_data": bombs.parquet(
        PAGE + PAGE, [bombs.chunk(2, len(PAGE), at=4 + len(PAGE), also=[(11, bombs.i32(4))])], n_rows=2
    ),
}


@pytest.mark.parametrize("body", HIDDEN.values(), ids=HIDDEN)
def test_pages_that_no_header_tells_of_are_refused(body):
    refused(body, PARQUET)


def test_numbers_that_are_longer_than_their_kind_are_refused():
    own = bombs.record((1, bombs.i32(2)), (2, bombs.i32(0)), (3, bombs.i32(3)), (4, bombs.i32(3)))
    size = (5, bombs.varint((1 << 33) + 16))  # 8, to those who keep 32 bits
    body = bombs.record((1, bombs.i32(0)), (2, bombs.i32(8)), (3, size), (5, (12, own))) + struct.pack("<ii", 7, 8)
    refused(bombs.parquet(body, [bombs.chunk(2, len(body))], n_rows=2), PARQUET)


@pytest.mark.parametrize("odd", [(9, b"\x05"), (12, b"\0"), (8, b"\x01a"), (1, b"")])
def test_what_is_of_another_kind_than_it_should_be_is_refused(odd):
    length, data = (2, bombs.i32(8)), struct.pack("<ii", 7, 8)
    own = (1, bombs.i32(2)), (2, odd), (3, bombs.i32(3)), (4, bombs.i32(3))
    header = length, (3, bombs.i32(8)), (5, (12, bombs.record(*own)))
    for page in (bombs.record((1, odd), *header), bombs.record((1, bombs.i32(0)), *header)):
        refused(bombs.parquet(page + data, [bombs.chunk(2, len(page + data))], n_rows=2), PARQUET)
    told = bombs.record((1, bombs.text(b"ARROW:schema")), (2, odd))
    refused(bombs.parquet(PAGE, [bombs.chunk(2, len(PAGE))], n_rows=2, beside=[told]), PARQUET)


def test_texts_as_lengths_and_differences_are_refused():
    # three megabytes of lengths became four hundred
    sink = pa.BufferOutputStream()
    table = pa.table({"a": ["x", "y"]})
    pa.parquet.write_table(table, sink, use_dictionary=False, column_encoding={"a": "DELTA_LENGTH_BYTE_ARRAY"})
    with pytest.raises(SchemaError, match="plain or in dictionaries"):
        opened(sink.getvalue().to_pybytes(), PARQUET)


def test_a_footer_of_megabytes_is_refused():
    elements = [bombs.element(b"r", children=1), bombs.element(b"a", kind=1)]
    texts = [(b"k", b"v" * 1_000_000)]
    body = bombs.parquet(PAGE, [bombs.chunk(2, len(PAGE))], n_rows=2, elements=elements, texts=texts)
    refused(body, PARQUET)
