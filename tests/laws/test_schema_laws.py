import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ekiben import codecs, dtypes, tables
from ekiben.compatibility import union
from ekiben.errors import SchemaError, SpecError
from ekiben.explainers._store import read_frame, write_frame
from ekiben.schema import Column, Output, Schema, Signature, from_json, to_json
from ekiben.tables import conform, learn
from ekiben.values import value_faults

MARK = "marker-4711"  # what a fault must never repeat
texts = st.text(st.characters(codec="utf-8"), max_size=8)
letters = st.characters(
    codec="utf-8", exclude_categories=["Cc"], include_characters="\t\n"
)  # no other control characters
names = st.text(letters, min_size=1, max_size=8)
bits = {"int8": 8, "int32": 32, "int64": 64}


def at(year):
    return datetime.fromisoformat(f"{year:04}-01-01")


cells = {
    **{dtype: st.integers(-(2 ** (bits[dtype] - 1)), 2 ** (bits[dtype] - 1) - 1) for dtype in bits},
    "uint8": st.integers(0, 255),
    "Int64": st.integers(-(2**53), 2**53) | st.none(),
    "float64": st.floats(allow_nan=True, allow_infinity=False),
    "float32": st.floats(width=32, allow_nan=True, allow_infinity=False),
    "bool": st.booleans(),
    "boolean": st.booleans() | st.none(),
    "object": texts | st.none(),
    "string": texts | st.none(),
    "category": texts,
    "uint64": st.integers(0, 2**64 - 1),
    "int64[pyarrow]": st.integers(-(2**63), 2**63 - 1) | st.none(),
    "double[pyarrow]": st.floats(allow_nan=False, allow_infinity=False) | st.none(),
    "bool[pyarrow]": st.booleans() | st.none(),
    "string[pyarrow]": texts | st.none(),
    "datetime64[ns]": st.datetimes(at(1700), at(2200)) | st.none(),
    "datetime64[s]": st.datetimes().map(lambda at: at.replace(microsecond=0)) | st.none(),
    "datetime64[us, UTC]": st.datetimes(at(3), at(9997), timezones=st.just(UTC)) | st.none(),
    "timestamp[us][pyarrow]": st.datetimes() | st.none(),
    "dates": st.dates() | st.none(),
    "times": st.datetimes() | st.none(),
    "grades": st.integers(-(2**31), 2**31) | st.none(),
    "answers": st.booleans() | st.none(),
    "lists": st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2) | st.none(),
    "tuples": st.tuples(texts, texts) | st.none(),
    "arrays": st.tuples(st.integers(-128, 127), st.integers(-128, 127)).map(lambda v: np.array(v, dtype="int8")),
}


def series(values, dtype):
    if dtype in ("grades", "answers"):
        return pd.Series(pd.Categorical(values))
    if dtype in ("dates", "times", "lists", "tuples", "arrays"):
        return pd.Series(dtypes.objects(values), dtype=object)
    if dtype.startswith("timestamp"):
        return pd.Series(pd.array(values, dtype=dtype))
    return pd.Series(values, dtype=dtype)


def nothing(values):
    return all(
        value is None or value != value for value in values if not isinstance(value, np.ndarray | list)
    ) and not any(isinstance(value, np.ndarray | list) for value in values)


@st.composite
def frames(draw):
    n_rows = draw(st.integers(1, 6))
    columns = {}
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        dtype = draw(st.sampled_from(sorted(cells)))
        values = draw(st.lists(cells[dtype], min_size=n_rows, max_size=n_rows).filter(lambda v: not nothing(v)))
        columns[name] = series(values, dtype)
    return pd.DataFrame(columns)


@given(frames())
def test_what_was_learnt_from_fits_unchanged(frame):
    pd.testing.assert_frame_equal(conform(frame, learn(frame)), frame)


@given(frames(), st.randoms(use_true_random=False))
def test_the_order_of_columns_does_not_matter(frame, random):
    shuffled = random.sample(list(frame.columns), frame.shape[1])
    pd.testing.assert_frame_equal(conform(frame[shuffled], learn(frame)), frame)


@given(frames())
def test_to_fit_twice_is_to_fit_once(frame):
    contract = learn(frame)
    once = conform(pd.DataFrame(tables.as_rows(frame), dtype=object), contract)
    pd.testing.assert_frame_equal(conform(once, contract), once)


@given(frames())
def test_rows_of_json_bring_the_same_frame_back(frame):
    contract = learn(frame)
    read = codecs.decode(codecs.encode(tables.as_rows(frame)))
    pd.testing.assert_frame_equal(tables.as_frame(codecs.columns_of(read, contract), contract), frame)


@given(frames(), st.lists(texts, min_size=2, max_size=3, unique=True))
def test_a_signature_comes_back_from_json_text(frame, classes):
    signature = Signature(
        inputs=learn(frame), task="classification", outputs=(Output(parts=("label",), classes=tuple(classes)),)
    )
    assert from_json(json.loads(json.dumps(to_json(signature)))) == signature


@given(frames(), st.data())
def test_a_fault_names_its_column_and_row_and_never_the_value(frame, data):
    contract = learn(frame)
    name = data.draw(st.sampled_from(list(frame.columns)))
    row = data.draw(st.integers(0, len(frame) - 1))
    misfit = data.draw(st.sampled_from([[MARK], {MARK: 1}, (MARK,), MARK.encode(), [MARK, {}]]))
    spoilt = frame.astype({name: object})
    spoilt[name] = [misfit if i == row else value for i, value in enumerate(spoilt[name])]
    with pytest.raises(SchemaError) as caught:
        conform(spoilt, contract)
    assert MARK not in f"{caught.value} {caught.value.faults}"
    assert (name, row) in [(fault.column, fault.row) for fault in caught.value.faults]


@given(frames(), st.data())
def test_a_missing_value_fits_exactly_where_the_contract_says_so(frame, data):
    contract = learn(frame)
    name = data.draw(st.sampled_from(list(frame.columns)))
    spoilt = frame.astype({name: object})
    spoilt.loc[0, name] = data.draw(st.sampled_from([None, np.nan, pd.NA]))
    assert fits(spoilt, contract) == contract[name].nullable


@given(frames(), frames())
def test_a_frame_fits_exactly_where_its_rows_do(reference, sent):
    names = list(reference.columns)[: sent.shape[1]]
    contract = learn(reference[names])
    named = sent.iloc[:, : len(names)].set_axis(names, axis=1)
    # a date is written as a text, which a column of texts takes from JSON and, being a date, not from a frame
    dated = [column.name for column in learn(named).columns if column.kind == "datetime"]
    assume(not any(contract[name].kind in ("text", "category") for name in dated))
    try:
        codecs.columns_of(codecs.decode(codecs.encode(tables.as_rows(named))), contract)
        taken = True
    except SchemaError:
        taken = False
    assert taken == fits(named, contract)


@given(frames())
def test_an_explainer_s_file_brings_the_same_frame_back(frame):
    with tempfile.TemporaryDirectory() as folder:
        write_frame(frame, Path(folder) / "frame.json")
        pd.testing.assert_frame_equal(read_frame(Path(folder) / "frame.json"), frame)


@given(frames(), frames())
def test_a_column_fits_as_a_whole_exactly_where_each_of_its_values_does(reference, sent):
    names = list(reference.columns)[: sent.shape[1]]
    contract = learn(reference[names])
    named = sent.iloc[:, : len(names)].set_axis(names, axis=1)
    assert fits(named, contract) == fits(named.astype(object), contract)


def fits(frame, contract):
    try:
        conform(frame, contract)
    except SchemaError:
        return False
    return True


numeric = st.builds(
    Column,
    name=st.just("x"),
    kind=st.just("number"),
    dtype=st.sampled_from(["int8", "uint8", "int64", "float32", "float64"]),
    nullable=st.booleans(),
)
textual = st.builds(
    Column,
    name=st.just("x"),
    kind=st.just("text"),
    dtype=st.just("object"),
    nullable=st.booleans(),
    categories=st.none() | st.sets(st.sampled_from("abc"), min_size=1).map(lambda seen: tuple(sorted(seen))),
    unseen=st.sampled_from(["accept", "refuse"]),
)
values = st.none() | st.sampled_from("abcd") | st.sampled_from([0, 5, -5, 200, 300, 1e30, 1e300, 2**40])


@given(st.tuples(numeric, numeric) | st.tuples(textual, textual), values)
def test_what_a_union_takes_every_arm_takes(arms, value):
    try:
        joined = union(*(Schema(columns=(arm,)) for arm in arms))["x"]
    except SpecError:
        return
    if not value_faults(joined, [(0, value)]):
        assert [value_faults(arm, [(0, value)]) for arm in arms] == [[], []]
