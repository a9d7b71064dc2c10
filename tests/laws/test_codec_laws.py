import json
import math
from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from ekiben import codecs
from ekiben.errors import SchemaError
from ekiben.schema import Column, Schema

MARK = "marker-4711"  # what an error must never repeat
CONTRACT = Schema(
    columns=(
        Column(name="i", kind="integer", dtype="int32", nullable=False),
        Column(name="n", kind="number", dtype="float64", nullable=True),
        Column(name="b", kind="boolean", dtype="bool", nullable=False),
        Column(name="t", kind="text", dtype="object", nullable=True, categories=("a",), unseen="refuse"),
    )
)
texts = st.text(st.characters(codec="utf-8"), max_size=10)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
marked = st.sampled_from([MARK, [MARK], {MARK: MARK}, 4711.4711, -(4711**30), 47114711.5])
values = scalars | marked
rows = st.dictionaries(st.sampled_from(["i", "n", "b", "t", MARK]), values)
fitting = st.fixed_dictionaries(
    {
        "i": st.integers(-(2**31), 2**31 - 1),
        "n": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "b": st.booleans(),
        "t": st.sampled_from([None, "a"]),
    }
)


@given(documents)
def test_what_is_written_is_read_back(document):
    assert codecs.decode(codecs.encode(document)) == document


@given(documents)
def test_python_s_own_json_reads_the_same(document):
    assert json.loads(codecs.encode(document)) == document


@given(st.binary(max_size=60))
@example(b"[" * 60)
@example(b"\x00")
def test_any_bytes_are_json_or_refused(body):
    with suppress(SchemaError):
        codecs.decode(body)


@given(st.floats(), documents)
def test_a_number_is_written_exactly_when_it_is_finite(number, document):
    try:
        codecs.encode([document, {"x": [number]}])
        written = True
    except SchemaError:
        written = False
    assert written == math.isfinite(number)


@given(st.lists(fitting, max_size=5))
def test_rows_that_fit_become_columns(sent):
    columns = codecs.columns_of(sent, CONTRACT)
    assert [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)] == sent


@given(st.lists(rows | values, min_size=1, max_size=4))
def test_an_error_repeats_nothing_that_was_sent(sent):
    told = faults(sent)
    assert "4711" not in str(told)
    assert all(fault.row is not None and 0 <= fault.row < len(sent) for fault in told)


@given(st.lists(fitting, min_size=1, max_size=4), st.data())
def test_the_row_and_column_of_one_wrong_value_are_told(sent, data):
    row, name = data.draw(st.integers(0, len(sent) - 1)), data.draw(st.sampled_from(CONTRACT.names))
    spoilt = [{**each, name: [each[name]]} if i == row else each for i, each in enumerate(sent)]
    assert [(fault.row, fault.column, fault.got) for fault in faults(spoilt)] == [(row, name, "a list")]


def faults(sent):
    try:
        codecs.columns_of(sent, CONTRACT)
    except SchemaError as error:
        return error.faults
    return ()
