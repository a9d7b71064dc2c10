"""Tables over HTTP: Arrow and Parquet, sound and hostile, in this process."""

import datetime as dt
import decimal
import io
import json
import struct
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekiben import arrow, protocol
from ekiben.arrow import FILE, KINDS, PARQUET, STREAM, values
from ekiben.dataplane import Hooks
from ekiben.dialects import JSON, Refusal, Request
from ekiben.dialects.rows import Rows
from ekiben.dialects.tables import Tables, wanted
from ekiben.errors import SchemaError
from ekiben.schema import Column, Output
from ekiben.spec import Limits
from planes import asked_in, contract_of, plane_of

MARK = "k3pt-0ut"
COLUMNS = {
    "age": Column(name="age", kind="integer", dtype="int64", nullable=False),
    "income": Column(name="income", kind="number", dtype="float64", nullable=True),
    "owner": Column(name="owner", kind="boolean", dtype="bool", nullable=False),
    "job": Column(name="job", kind="text", dtype="object", nullable=True),
    "size": Column(name="size", kind="category", dtype="category", nullable=False, categories=("s", "m")),
    "since": Column(name="since", kind="datetime", dtype="datetime64[ns]", nullable=True, missing="nat"),
    "place": Column(name="place", kind="list", dtype="object", nullable=False, items="number", length=2, holder="list"),
}
READ = {
    "age": [30, 41],
    "income": [1200.5, None],
    "owner": [True, False],
    "job": ["maître", None],
    "size": ["m", "s"],
    "since": ["2026-11-22T10:00:00.000000001", None],
    "place": [[0.5, 1.0], [2.0, 3.5]],
}
PLAIN = {
    "age": pa.array([30, 41]),
    "income": pa.array([1200.5, None]),
    "owner": pa.array([True, False]),
    "job": pa.array(["maître", None]),
    "size": pa.array(["m", "s"]).dictionary_encode(),
    "since": pa.array([1795341600000000001, None], pa.timestamp("ns")),
    "place": pa.array([[0.5, 1.0], [2.0, 3.5]]),
}
VALUES = (Output(parts=("value",)),)
# Each column in every type of Arrow that can bring the same values.
SPELT = {
    "age": [
        *(pa.array([30, 41], each) for each in (pa.int8(), pa.uint16(), pa.uint64(), pa.int32())),
        pa.array([30.0, 41.0]),
        pa.array([decimal.Decimal(30), decimal.Decimal(41)], pa.decimal128(9, 0)),
        pa.array([30, 41]).dictionary_encode(),
    ],
    "income": [
        pa.array([1200.5, None], pa.float32()),
        pa.array([1200.5, float("nan")]),
        pa.array([1200.5, None], pa.float32()).dictionary_encode(),
        pa.array([decimal.Decimal("1200.5"), None], pa.decimal256(40, 4)),
    ],
    "job": [pa.array(["maître", None], each) for each in (pa.large_string(), pa.string_view())]
    + [pa.array(["maître", None]).dictionary_encode(), pa.array(["x", "maître", None])[1:]],
    "since": [pa.array(["2026-11-22T10:00:00.000000001", None])],
    "place": [
        pa.array([[0.5, 1.0], [2.0, 3.5]], each)
        for each in (pa.list_(pa.float64(), 2), pa.large_list(pa.float32()), pa.list_(pa.float16()))
    ]
    + [pa.array([[9.0], [0.5, 1.0], [2.0, 3.5]])[1:]],
}


def dialect_of(*columns, unit=None, **limits):
    told = contract_of(columns or COLUMNS.values(), VALUES, unit=unit, **limits)
    return Rows(*told, told[0].limits.max_rows, tables=Tables(*told))


def bytes_of(table, kind=STREAM, **options):
    sink = io.BytesIO()
    if kind == PARQUET:
        pq.write_table(table, sink, **options)
    else:
        make = pa.ipc.new_stream if kind == STREAM else pa.ipc.new_file
        with make(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
            writer.write_table(table)
    return sink.getvalue()


def read(dialect, body, kind=STREAM):
    return dialect.read(Request(body=body, headers={"content-type": kind}))


# ── what is read


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_is_the_same_rows(kind):
    assert read(dialect_of(), bytes_of(pa.table(PLAIN), kind), kind).columns == READ


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("kind", [STREAM, FILE])
def test_what_is_packed_is_unpacked(kind, codec):
    assert read(dialect_of(), bytes_of(pa.table(PLAIN), kind, compression=codec), kind).columns == READ


@pytest.mark.parametrize("codec", ["snappy", "zstd", "gzip", "none"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_parquet_of_every_codec_is_read(codec, version):
    table = bytes_of(pa.table(PLAIN), PARQUET, compression=codec, data_page_version=version)
    assert read(dialect_of(), table, PARQUET).columns == READ


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "number"), [(name, i) for name in SPELT for i in range(len(SPELT[name]))])
def test_the_contract_takes_every_type_that_holds_its_values(name, number, kind):
    array = SPELT[name][number]
    if kind == PARQUET and pa.types.is_string_view(array.type):
        array = array.cast(pa.string())
    found = read(dialect_of(), bytes_of(pa.table(PLAIN | {name: array}), kind), kind)
    assert found.columns == READ
    assert [*map(type, found.columns["place"][0])] == [float, float]


@pytest.mark.parametrize("index", [[541, 1128], ["a", "b"], [[1, 1], ["a", "b"]]])
@pytest.mark.parametrize("kind", [PARQUET, STREAM])
def test_the_index_of_a_frame_is_no_column(index, kind):
    frame = pd.DataFrame({"age": [30, 41], "job": ["cook", None]}, index=index)
    found = read(dialect_of(COLUMNS["age"], COLUMNS["job"]), bytes_of(pa.Table.from_pandas(frame), kind), kind)
    assert found.columns == {"age": [30, 41], "job": ["cook", None]}


def test_parquet_is_known_by_its_older_name_too():
    assert read(dialect_of(), bytes_of(pa.table(PLAIN), PARQUET), "application/x-parquet").columns == READ


def test_a_table_in_pieces_is_one():
    halves = pa.concat_tables([pa.table(PLAIN).slice(0, 1), pa.table(PLAIN).slice(1, 1)])
    assert read(dialect_of(), bytes_of(halves)).columns == READ


@pytest.mark.parametrize(
    ("column", "array", "expected"),
    [
        ("datetime64[ns, UTC]", pa.array([1_000], pa.timestamp("ms", "Europe/Paris")), "1970-01-01T00:00:01Z"),
        ("datetime64[ns]", pa.array([1], pa.date32()), "1970-01-02"),
        ("datetime64[ns]", pa.array([86_400_000], pa.date64()), "1970-01-02"),
        ("datetime64[s]", pa.array([1], pa.timestamp("s")), "1970-01-01T00:00:01"),
    ],
)
def test_dates_come_as_they_would_in_json(column, array, expected):
    day = Column(name="day", kind="datetime", dtype=column, nullable=False)
    assert read(dialect_of(day), bytes_of(pa.table({"day": array}))).columns == {"day": [expected]}


@pytest.mark.parametrize("count", [2**62, -(2**62), 2**40])
def test_a_date_beyond_the_calendar_is_refused(count):
    with pytest.raises(SchemaError, match="Got a date out of range in row 0"):
        read(dialect_of(COLUMNS["since"]), bytes_of(pa.table({"since": pa.array([count], pa.timestamp("s"))})))


def test_the_unit_is_a_text_beside_the_columns_or_a_column():
    unit = dialect_of(unit="customer_id")
    beside = pa.table(PLAIN).replace_schema_metadata({"customer_id": "c-7"})
    within = pa.table({**PLAIN, "customer_id": ["c-7", "c-7"]})
    for kind in KINDS:
        for table in (beside, within):
            found = read(unit, bytes_of(table, kind), kind)
            assert ({*found.units}, found.columns) == ({"c-7"}, READ)


def test_an_alias_and_columns_too_many_are_as_in_json():
    column = Column(name="Loan (€)", kind="number", dtype="float64", nullable=False, alias="loan")
    told, contract = contract_of([column], VALUES)
    table = bytes_of(pa.table({"loan": [1.5], MARK: [object.__doc__]}))
    with pytest.raises(SchemaError, match="Got another") as refused:
        read(Rows(told, contract, 10, tables=Tables(told, contract)), table)
    assert MARK not in str(refused.value)
    assert read(dialect_of(column), bytes_of(pa.table({"loan": [1.5]}))).columns == {"Loan (€)": [1.5]}


MISFITS = {
    "age": (pa.array([30.5, 1]), pa.array(["30", "41"]), pa.array([None, 1]), pa.array([True, False])),
    "income": (pa.array([float("inf"), 1]), pa.array([True, False]), pa.array([MARK, MARK])),
    "owner": (pa.array([0, 1]), pa.array([None, True])),
    "job": (pa.array([1, 2]), pa.array([b"a", b"b"]), pa.array([{"a": 1}, None]), pa.array([1, 2], pa.duration("s"))),
    "size": (pa.array(["xl", "s"]), pa.array([1, 2]), pa.array([None, "s"])),
    "since": (pa.array([1, 2]), pa.array([1, 2], pa.timestamp("ns", "UTC")), pa.array([1, 2], pa.time64("us"))),
    "place": (pa.array([[1.0], [1.0, 2.0]]), pa.array([[1.0, None], [1.0, 2.0]]), pa.array([["a", "b"], ["a", "b"]])),
}


@pytest.mark.parametrize(("name", "number"), [(name, i) for name in MISFITS for i in range(len(MISFITS[name]))])
def test_what_does_not_fit_is_refused_by_its_column(name, number):
    with pytest.raises(SchemaError) as refused:
        read(dialect_of(), bytes_of(pa.table(PLAIN | {name: MISFITS[name][number]})))
    assert {fault.column for fault in refused.value.faults} == {name}
    assert MARK not in str(refused.value)


def test_the_faults_are_those_of_json():
    wrong = PLAIN | {"age": pa.array([30, None]), "size": pa.array(["s", "xl"])}
    rows = [{**{name: READ[name][i] for name in READ}, "age": [30, None][i], "size": ["s", "xl"][i]} for i in range(2)]
    said = []
    for body, kind in ((bytes_of(pa.table(wrong)), STREAM), (json.dumps({"rows": rows}).encode(), JSON)):
        with pytest.raises(SchemaError) as refused:
            read(dialect_of(), body, kind)
        said.append((str(refused.value), refused.value.faults))
    assert said[0] == said[1]


numbers = st.floats(allow_nan=False, allow_infinity=False)
tables = st.lists(
    st.fixed_dictionaries(
        {
            "age": st.integers(-(2**63), 2**63 - 1),
            "income": st.none() | numbers,
            "owner": st.booleans(),
            "job": st.none() | st.text(st.characters(codec="utf-8"), max_size=5),
            "size": st.sampled_from(["s", "m"]),
            "since": st.none() | st.datetimes(*map(dt.datetime.fromisoformat, ("1700-01-01", "2200-01-01"))),
            "place": st.lists(numbers, min_size=2, max_size=2),
        }
    ),
    min_size=1,
    max_size=5,
)
TYPES = {name: array.type for name, array in PLAIN.items()} | {"size": pa.string()}


@given(tables)
def test_the_same_rows_are_read_by_every_kind_of_body(rows):
    table = pa.Table.from_pylist(rows, schema=pa.schema(TYPES))
    told = [{**row, "since": row["since"] and row["since"].isoformat()} for row in rows]
    expected = read(dialect_of(), json.dumps({"rows": told}).encode(), JSON).columns
    for kind in KINDS:
        found = read(dialect_of(), bytes_of(table, kind), kind).columns
        since = [
            (a and pd.Timestamp(a)) == (b and pd.Timestamp(b))
            for a, b in zip(found.pop("since"), expected["since"], strict=True)
        ]
        assert all(since)
        assert found == {name: cells for name, cells in expected.items() if name != "since"}


# ── what is too large, or nothing at all


def refusal_of(body, kind=STREAM, **limits):
    with pytest.raises((Refusal, SchemaError)) as refused:
        read(dialect_of(COLUMNS["income"], COLUMNS["job"], **limits), body, kind)
    return getattr(refused.value, "code", "invalid_request")


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_rows_are_refused(kind):
    table = pa.table({"income": [1.0] * 11, "job": ["a"] * 11})
    assert refusal_of(bytes_of(table, kind), kind, max_rows=10) == "too_many_rows"
    assert refusal_of(bytes_of(table.slice(0, 0), kind), kind, max_rows=10) == "invalid_request"


def zeros(n):
    return pa.table({"income": np.zeros(n), "job": pa.nulls(n, pa.string())})


BOMBS = {
    "zstd": lambda: (bytes_of(zeros(2_000_000), STREAM, compression="zstd"), STREAM),
    "lz4": lambda: (bytes_of(zeros(2_000_000), FILE, compression="lz4"), FILE),
    "pages": lambda: (bytes_of(zeros(2_000_000), PARQUET, compression="zstd"), PARQUET),
    "pages_without_dictionary": lambda: (
        bytes_of(zeros(2_000_000), PARQUET, compression="gzip", use_dictionary=False),
        PARQUET,
    ),
    "items": lambda: (bytes_of(pa.table({"income": [1.0], "job": [[0] * 5_000_000]}), PARQUET), PARQUET),
    "one_text_of_many_rows": lambda: (
        bytes_of(
            pa.table({"income": [1.0] * 1000, "job": pa.DictionaryArray.from_arrays([0] * 1000, ["a" * 500_000])})
        ),
        STREAM,
    ),
    "one_page_of_many_rows": lambda: (
        bytes_of(
            pa.table({"income": [1.0] * 1000, "job": ["a" * 500_000] * 1000}),
            PARQUET,
            dictionary_pagesize_limit=1 << 30,
        ),
        PARQUET,
    ),
    "views_of_one_text": lambda: (bytes_of(views_of_one_text()), STREAM),
    "texts_as_differences": lambda: (
        bytes_of(
            pa.table({"income": [1.0] * 1000, "job": ["a" * 100_000 + str(i) for i in range(1000)]}),
            PARQUET,
            use_dictionary=False,
            column_encoding={"job": "DELTA_BYTE_ARRAY", "income": "PLAIN"},
        ),
        PARQUET,
    ),
}


def views_of_one_text():
    text = b"a" * 500_000
    view = struct.pack("<i4sii", len(text), text[:4], 0, 0)
    job = pa.Array.from_buffers(pa.string_view(), 1000, [None, pa.py_buffer(view * 1000), pa.py_buffer(text)])
    return pa.table({"income": [1.0] * 1000, "job": job})


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_unpacked(name):
    body, kind = BOMBS[name]()
    assert len(body) < 1_000_000
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    most = pool.max_memory() or 0
    # as many rows as it likes: what it takes is what it is refused for
    assert refusal_of(body, kind, max_rows=10**9, max_body_mb=4) in ("too_large", "invalid_request")
    assert pa.total_allocated_bytes() - before < 1_000_000
    assert (pool.max_memory() or 0) - max(most, before) < 8_000_000


def lying(body, say):
    """Change every length that stands before a packed buffer."""
    return body.replace(struct.pack("<q", 16_000), struct.pack("<q", say))


@pytest.mark.parametrize("say", [2**62, -(2**62), 1, 0, -1])
def test_a_length_that_lies_is_refused(say):
    table = pa.table({"income": np.arange(2000.0), "job": ["a"] * 2000})
    body = lying(bytes_of(table, STREAM, compression="zstd"), say)
    assert refusal_of(body, max_rows=5000) in ("too_large", "invalid_request")


BROKEN = {
    "nothing": b"",
    "a_word": b"k3pt-0ut",
    "magic_alone": b"ARROW1\0\0",
    "magic_twice": b"ARROW1\0\0ARROW1",
    "parquet_magic": b"PAR1PAR1",
    "a_huge_footer": b"PAR1\xff\xff\xff\x7fPAR1",
    "a_huge_header": b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    "json": b'{"rows": []}',
    "end_of_stream": b"\xff\xff\xff\xff\0\0\0\0",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_what_is_no_table_is_refused(body, kind):
    assert refusal_of(body, kind) == "invalid_request"


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_another_kind_is_refused(kind):
    table = pa.table({"income": [1.0], "job": ["a"]})
    for other in KINDS:
        if other != kind:
            assert refusal_of(bytes_of(table, kind), other) == "invalid_request"


ODD = {
    "the_same_name_twice": lambda: pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["income", "income"]),
    "ten_thousand_columns": lambda: pa.table({f"c{i}": [1.0] for i in range(10_000)}),
    "a_struct": lambda: pa.table({"income": [{MARK: 1}], "job": ["a"]}),
    "runs": lambda: pa.table({"income": pa.RunEndEncodedArray.from_arrays([1], [1.0]), "job": ["a"]}),
    "an_extension": lambda: pa.table({"income": pa.array([b"a" * 16], pa.uuid()), "job": ["a"]}),
    "a_list_of_nothing": lambda: pa.table({"income": pa.array([[None] * 9]), "job": ["a"]}),
    "a_map": lambda: pa.table({"income": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())), "job": ["a"]}),
    "decimals_without_end": lambda: pa.table({"income": pa.array([None], pa.decimal128(9, -2_000_000)), "job": ["a"]}),
    "no_columns": lambda: pa.table({}),
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_an_odd_table_is_refused_without_its_own_words(make):
    with pytest.raises((SchemaError, Refusal)) as refused:
        read(dialect_of(COLUMNS["income"], COLUMNS["job"]), bytes_of(make()))
    assert MARK not in str(refused.value)
    assert "c9999" not in str(refused.value)


def test_no_extension_runs_anything(tmp_path):
    canary = tmp_path / "canary"
    field = pa.field(
        "income",
        pa.float64(),
        metadata={
            "ARROW:extension:name": "arrow.py_extension_type",
            "ARROW:extension:metadata": f"cposix\nsystem\n(S'touch {canary}'\ntR.",
        },
    )
    table = pa.Table.from_arrays([pa.array([1.0]), pa.array(["a"])], schema=pa.schema([field, ("job", pa.string())]))
    for kind in KINDS:
        assert read(dialect_of(COLUMNS["income"], COLUMNS["job"]), bytes_of(table, kind), kind).columns["income"] == [
            1.0
        ]
    assert not canary.exists()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150)
@given(st.data())
def test_any_bytes_are_read_or_refused(kind, data):
    packed = {"compression": "zstd"} if data.draw(st.booleans()) else {}
    whole = bytearray(bytes_of(pa.table(PLAIN), kind, **packed))
    for _ in range(data.draw(st.integers(0, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(whole)) | st.just(len(whole)))
    try:
        read(dialect_of(max_body_mb=0.1), bytes(whole[:end]), kind)
    except (SchemaError, Refusal):
        return


@pytest.mark.parametrize("end", [b"\x00", b"\x16", b"\xff"])
def test_a_footer_that_is_broken_anywhere_is_read_or_refused(end):
    body = bytes_of(pa.table({"income": [1.5], "job": ["a"]}), PARQUET)
    for at in range(len(body) - 4):
        with suppress(SchemaError, Refusal):
            read(dialect_of(COLUMNS["income"], COLUMNS["job"]), body[:at] + end + body[at + 1 :], PARQUET)


# ── what is answered


@pytest.mark.parametrize(
    ("accept", "otherwise", "expected"),
    [
        (None, JSON, JSON),
        ("*/*", STREAM, STREAM),
        ("text/html", PARQUET, PARQUET),
        (STREAM, JSON, STREAM),
        (f"{JSON}, {STREAM}", STREAM, JSON),
        (f"{JSON};q=0.5, {FILE}", JSON, FILE),
        (f"{STREAM};q=0, */*", JSON, JSON),
        (f"{STREAM.upper()} ; q=x, {PARQUET};q=0.1", JSON, PARQUET),
        ("application/*;q=0.2", FILE, FILE),
        ("application/x-parquet", JSON, PARQUET),
        (";;,q=,", JSON, JSON),
    ],
)
def test_an_answer_is_of_the_kind_that_is_accepted(accept, otherwise, expected):
    headers = {} if accept is None else {"accept": accept}
    assert wanted(Request(body=b"", headers=headers), otherwise) == expected


PREDICTIONS = [
    [{"label": "bad", "scores": {"bad": 0.75, "good": 0.25}}, {"label": "good", "scores": {"bad": 0.25, "good": 0.75}}],
    [{"value": 7.0}, {"value": -0.0}],
    [{"rent": {"value": 7.0}, "kind": {"label": 1, "scores": {"1": 1.0}}}],
    [{"label": True, "why": {"code": [1, "a"]}}, {"label": False, "why": None}],
    [{"value": 1.0, "by": "a"}, {"value": 2.0}],
    [{"value": 2**70}, {"value": 0.5}, {"value": None}],
    [{"label": 1}, {"label": "a"}],
    [{"value": None}],
    [{"x": 1}, {"x": {"label": 1}}],
]


@pytest.mark.parametrize("predictions", PREDICTIONS)
def test_the_columns_of_an_answer_are_its_rows_flat_and_survive_as_a_table(predictions):
    columns = protocol.columns(predictions)
    rows = [protocol.flat(each) for each in predictions]
    assert columns == {name: [row.get(name) for row in rows] for row in rows for name in row}
    opened = arrow.opened(arrow.written(columns, STREAM, {}), STREAM, lambda _name: True)
    found = arrow.read(opened)
    assert found == columns
    assert [[*map(type, cells)] for cells in found.values()] == [
        [float if {*map(type, cells)} == {int, float} and type(cell) is int else type(cell) for cell in cells]
        for cells in columns.values()
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": float("nan")}])
def test_what_is_not_finite_is_no_answer(value):
    with pytest.raises(SchemaError, match="finite"):
        arrow.written({"value": [value]}, STREAM, {})


@given(
    st.lists(st.none() | st.booleans() | st.integers() | numbers | st.text(st.characters(codec="utf-8")), max_size=6)
)
def test_whatever_json_holds_a_table_holds(cells):
    found = arrow.read(arrow.opened(arrow.written({"x": cells}, STREAM, {}), STREAM, lambda _name: True))["x"]
    assert found == cells


# ── served


@pytest.fixture
def served(champion, challenger):
    plane = plane_of({"champion": champion, "challenger": challenger}, limits=Limits(max_rows=500))
    yield plane
    plane.close()


def body_of(rows, kind, **texts):
    if kind == JSON:
        return json.dumps({"rows": json.loads(rows.to_json(orient="records", double_precision=15)), **texts}).encode()
    table = pa.Table.from_pandas(rows, preserve_index=False)
    return bytes_of(table.replace_schema_metadata(texts), kind)


def opened(answer):
    table = arrow.opened(answer.body, answer.headers["content-type"], lambda _name: True)
    return arrow.read(table), table.texts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 200])
def test_the_answer_is_that_of_json(served, people, kind, n):
    rows = people[0].head(n)
    plain = asked_in(served, "/predict", body_of(rows, JSON), {"content-type": JSON}).json
    answer = asked_in(served, "/predict", body_of(rows, kind), {"content-type": kind, "accept": "*/*"})
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    columns, texts = opened(answer)
    assert columns == protocol.columns(plain["predictions"])
    assert texts == {name: answer.headers[f"x-ekiben-{name}"] for name in ("id", "arm", "model")}
    as_json = asked_in(served, "/predict", body_of(rows, kind), {"content-type": kind, "accept": JSON})
    assert as_json.json["predictions"] == plain["predictions"]


def test_json_is_answered_by_a_table_where_that_is_accepted(served, people):
    rows = people[0].head(3)
    answer = asked_in(served, "/predict", body_of(rows, JSON), {"content-type": JSON, "accept": STREAM})
    assert len(opened(answer)[0]["label"]) == 3


def test_the_unit_of_a_table_chooses_the_arm(champion, challenger, people):
    from ekiben import routing

    route = routing.Route({"champion": 0.5, "challenger": 0.5})
    plane = plane_of({"champion": champion, "challenger": challenger}, route=route)
    arms = set()
    for unit in (f"c-{i}" for i in range(8)):
        body = body_of(people[0].head(2), STREAM, customer_id=unit)
        answer = asked_in(plane, "/predict", body, {"content-type": STREAM})
        assert answer.headers["x-ekiben-arm"] == routing.choose(route, unit).arm
        arms.add(answer.headers["x-ekiben-arm"])
    assert len(arms) == 2
    plane.close()


@pytest.mark.parametrize("kind", KINDS)
def test_invocations_take_a_table_and_answer_in_json(served, people, kind):
    rows = people[0].head(3)
    answer = asked_in(served, "/invocations", body_of(rows, kind), {"content-type": kind})
    plain = asked_in(served, "/predict", body_of(rows, JSON), {"content-type": JSON}).json["predictions"]
    assert answer.json["predictions"] == [protocol.flat(each) for each in plain]
    as_table = asked_in(served, "/invocations", body_of(rows, kind), {"content-type": kind, "accept": PARQUET})
    assert opened(as_table)[0] == protocol.columns(plain)


def test_explanations_are_asked_in_json(served, people):
    answer = asked_in(served, "/explain", body_of(people[0].head(1), STREAM), {"content-type": STREAM})
    assert (answer.status, answer.json["error"]["code"]) == (415, "unsupported_media_type")


def test_a_refusal_of_a_table_is_json_with_every_fault(served, people):
    rows = people[0].head(3).assign(age=[1, 2.5, 2]).drop(columns="job")
    answer = asked_in(served, "/predict", body_of(rows, PARQUET), {"content-type": PARQUET})
    assert (answer.status, answer.headers["content-type"]) == (400, JSON)
    assert {(field["column"], field.get("row")) for field in answer.json["error"]["fields"]} == {
        ("job", None),
        ("age", 1),
    }


def test_a_table_is_counted_and_its_new_texts_too(served, people):
    rows = people[0].head(3).assign(job=["new", "fixed", "new"])
    assert asked_in(served, "/predict", body_of(rows, STREAM), {"content-type": STREAM}).status == 200
    assert ("predict", "champion", "ok") in {each[:3] for each in served.seen}
    assert served.unseen == [("champion", "job", 2)]


def test_a_hook_sees_the_rows_of_a_table(champion, people):
    seen = []

    class Own(Hooks):
        def unit_of(self, request, body):
            seen.append((body["rows"], body["channel"]))
            return "c-7"

        def postprocess(self, predictions):
            return [{**each, "why": [1, "a"]} for each in predictions]

    plane = plane_of({"champion": champion}, hooks=Own())
    rows = people[0].head(2)
    answer = asked_in(plane, "/predict", body_of(rows, STREAM, channel="shop"), {"content-type": STREAM})
    assert seen == [(json.loads(rows.to_json(orient="records", double_precision=15)), "shop")]
    assert opened(answer)[0]["why"] == [[1, "a"], [1, "a"]]
    plane.close()


def test_the_contract_tells_what_bodies_are_taken_and_how_large(served):
    told = asked_in(served, "/schema", b"", {}, method="GET").json
    assert told["bodies"] == [JSON, *KINDS]
    assert told["limits"]["max_rows"] == 500


def test_without_pyarrow_tables_are_refused_and_json_is_answered(served, people, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(arrow, "is_here", lambda: False)
    rows = people[0].head(1)
    body = b"ARROW1"
    for path in ("/predict", "/invocations"):
        answer = asked_in(served, path, body, {"content-type": STREAM})
        assert (answer.status, answer.json["error"]["code"]) == (415, "unsupported_media_type")
        assert "pyarrow" in answer.json["error"]["message"]
    answer = asked_in(served, "/predict", body_of(rows, JSON), {"content-type": JSON, "accept": STREAM})
    assert answer.json["predictions"]
    assert served.schema()["bodies"] == [JSON]


def test_nothing_of_arrow_is_loaded_until_a_table_comes():
    told = "import sys; import ekiben.front, ekiben.client; assert 'pyarrow' not in sys.modules"
    subprocess.run([sys.executable, "-c", told], check=True, env={"PYTHONPATH": "sdk"})


def test_tables_need_no_pandas():
    told = (
        "import sys; from ekiben import arrow\n"
        "for kind in arrow.KINDS:\n"
        "    body = arrow.written({'a': ['x', None], 'b': [1, 2], 'c': [True, None]}, kind, {'d': 'e'})\n"
        "    arrow.read(arrow.opened(body, kind, lambda name: True))\n"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", told], check=True, env={"PYTHONPATH": "sdk"})


def test_types_are_named_without_their_insides():
    assert values.word_for(pa.struct({MARK: pa.int8()})) == "struct"
