"""The contract of a model's data is learnt from rows, and a table fits it or is told every fault."""

import json
import re
from dataclasses import replace
from datetime import date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ekiben import dtypes, schema, tables
from ekiben.compatibility import union
from ekiben.errors import Fault, SchemaError, SpecError
from ekiben.schema import Column, Output, Schema, Signature
from ekiben.tables import conform, learn
from ekiben.values import limits, value_faults


def column(values, **settings):
    return learn(pd.DataFrame({"x": pd.Series(values, **settings)}))["x"]


def strict(**settings):
    given = {"name": "x", "kind": "integer", "dtype": "int64", "nullable": False}
    return Schema(columns=(Column(**{**given, **settings}),))


def told(frame, contract):
    with pytest.raises(SchemaError) as caught:
        conform(frame, contract)
    return caught.value


# ── learning


@pytest.mark.parametrize(
    ("values", "dtype", "kind"),
    [
        ([1.5, 2.5], "float64", "number"),
        ([1.5, 2.5], "float32", "number"),
        ([1, 2.5], "object", "number"),
        ([1, 2], "int64", "integer"),
        ([1, 2], "uint8", "integer"),
        ([1, None], "Int64", "integer"),
        ([1.5, None], "Float64", "number"),
        ([True, False], "bool", "boolean"),
        ([True, None], "boolean", "boolean"),
        ([True, None], "object", "boolean"),
        (["a", "b"], "object", "text"),
        (["a", None], "string", "text"),
        (["a", "b"], "category", "category"),
        ([3, 1], "category", "category"),
        ([True, False], "category", "category"),
        (["2026-11-22"], "datetime64[ns]", "datetime"),
        (["2026-11-22"], "datetime64[s]", "datetime"),
        (["2026-11-22T10:00:00Z"], "datetime64[ns, Europe/Madrid]", "datetime"),
        ([[1.5, 2]], "object", "list"),
        ([1, None], "int64[pyarrow]", "integer"),
        ([1.5, None], "double[pyarrow]", "number"),
        ([True, None], "bool[pyarrow]", "boolean"),
        (["a", None], "string[pyarrow]", "text"),
        ([1.5], "float16", "number"),
        ([1], "uint64", "integer"),
    ],
)
def test_a_column_s_kind_and_dtype_are_learnt(values, dtype, kind):
    found = column(values, dtype=dtype)
    assert (found.kind, found.dtype, found.nullable) == (kind, dtype, None in values)


@pytest.mark.parametrize(
    ("values", "dtype", "marker"),
    [
        ([1.0, np.nan], "float64", "nan"),
        (["a", None], "object", "none"),
        (["a", np.nan], "object", "nan"),
        ([1, None], "Int64", "na"),
        (["a", None], "string", "na"),
        (["a", None], "category", "nan"),
    ],
)
def test_how_a_missing_value_is_written_is_learnt(values, dtype, marker):
    assert column(values, dtype=dtype).missing == marker


def test_a_range_is_what_was_seen_and_no_limit():
    found = column([18, 41, 68])
    assert (found.low, found.high) == (18.0, 68.0)
    assert conform(pd.DataFrame({"x": [17, 900]}), Schema(columns=(found,)))["x"].tolist() == [17, 900]


def test_categories_are_sorted_and_those_of_a_pandas_category_keep_their_order():
    assert column(["b", "a", "b"]).categories == ("a", "b")
    assert column(pd.Categorical(["low", "high"], categories=["low", "high", "never"])).categories == (
        "low",
        "high",
        "never",
    )


def test_more_than_two_hundred_texts_are_free_text():
    assert len(column([f"t{i}" for i in range(200)]).categories) == 200
    assert column([f"t{i}" for i in range(201)]).categories is None


@pytest.mark.parametrize(
    ("values", "got"),
    [
        (pd.to_timedelta(["1s"]), "timedelta64 (timedelta64[ns])"),
        (pd.period_range("2024", periods=1, freq="Y"), "period (period[Y-DEC])"),
        ([1, "a"], "mixed-integer (object)"),
        ([[1], "a"], "mixed (object)"),
        ([{"a": 1}], "mixed (object)"),
        ([b"a"], "bytes (object)"),
        ([1 + 2j], "complex (complex128)"),
    ],
)
def test_a_column_of_another_kind_is_refused_with_what_it_holds(values, got):
    words = (
        "The column 'x' must hold numbers, booleans, texts, categories, dates or lists of one length. "
        f"Got {got}. Turn it into one of those"
    )
    with pytest.raises(SpecError, match=re.escape(words)):
        column(values)


def test_every_column_that_cannot_be_learnt_is_named_at_once():
    frame = pd.DataFrame({"when": pd.to_timedelta(["1s"]), "ok": [1], "none": [None]})
    with pytest.raises(SpecError) as caught:
        learn(frame)
    assert re.findall(r"The column '(\w+)'", str(caught.value)) == ["when", "none"]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"x": []}), "The 'reference' must have rows and columns. Got shape (0, 1)."),
        (pd.DataFrame(index=[0, 1]), "The 'reference' must have rows and columns. Got shape (2, 0)."),
        (pd.DataFrame({0: [1], "a": [2]}), "Column names must be texts. Got 0. Rename them and fit again"),
        (pd.DataFrame({"": [1]}), "Column names must be texts. Got ''."),
        (pd.DataFrame({"a\r": [1], "b": [2]}), "Column names must hold no control characters. Got 'a\\r'."),
        (
            pd.DataFrame({"n": [10**400, 3]}, dtype=object),
            "The column 'n' must hold numbers of 64 bits. Got an integer of hundreds of digits.",
        ),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "Column names must differ. Got more than one of ['a']."),
        (
            pd.DataFrame({"c": pd.Categorical([1.5])}),
            "The categories of 'c' must be texts, integers or booleans. Got floating.",
        ),
        (pd.DataFrame({"c": [None, None]}), "The column 'c' must hold a value. Got only missing ones."),
    ],
)
def test_a_reference_that_teaches_nothing_is_refused(frame, words):
    with pytest.raises(SpecError, match=re.escape(words)):
        learn(frame)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (column([18, 68]), "integer, seen 18 to 68"),
        (column([1.5, None]), "number, seen 1.5 to 1.5, may be missing"),
        (replace(column(["b", "a"]), unseen="refuse"), "text, one of 'a', 'b', others are refused"),
        (column(list("abcdefgh")), "text, one of 'a', 'b', 'c', 'd', 'e', 'f' … (8)"),
        (column([True]), "boolean"),
    ],
)
def test_a_column_says_in_words_what_it_holds(found, words):
    assert found.describe() == words


# ── fitting


def test_order_dtypes_and_index_are_brought_back():
    reference = pd.DataFrame({"n": [1.5, 2.0], "i": [1, 2], "t": ["a", "b"], "b": [True, False]})
    sent = pd.DataFrame({"b": [True], "t": ["a"], "i": [2.0], "n": [1]}, index=[7], dtype=object)
    fitted = conform(sent, learn(reference))
    assert fitted.index.tolist() == [7]
    pd.testing.assert_series_equal(fitted.dtypes, reference.dtypes)
    assert fitted.iloc[0].tolist() == [1.0, 2, "a", True]


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "string", "category", "Float32", "int8", "float32"])
def test_every_dtype_comes_back_from_plain_values(dtype):
    values = {"boolean": [True, False], "string": ["a", "b"], "category": ["a", "b"]}.get(dtype, [1, 2])
    reference = pd.DataFrame({"x": pd.Series(values, dtype=dtype)})
    sent = pd.DataFrame({"x": pd.Series(values, dtype=object)})
    pd.testing.assert_frame_equal(conform(sent, learn(reference)), reference)


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "string", "Float64", "object", "category"])
def test_a_missing_value_comes_back_as_the_model_knows_it(dtype):
    values = {"boolean": [True, None], "Int64": [1, None], "Float64": [1.5, None]}.get(dtype, ["a", None])
    reference = pd.DataFrame({"x": pd.Series(values, dtype=dtype)})
    for absent in (None, np.nan, pd.NA):
        sent = pd.DataFrame({"x": pd.Series([values[0], absent], dtype=object)})
        fitted = conform(sent, learn(reference))
        pd.testing.assert_frame_equal(fitted, reference)
        assert fitted["x"].iloc[1] is reference["x"].iloc[1] or dtype == "category"


def test_an_integer_of_hundreds_of_digits_is_no_number():
    X = pd.DataFrame({"serial": pd.Series([10**400, 1], dtype=object)})
    with pytest.raises(
        SpecError, match=re.escape("The column 'serial' must hold numbers of 64 bits. Got an integer of")
    ):
        tables.learn(X)


def test_an_integer_without_a_value_becomes_nan_when_the_model_takes_it():
    fitted = conform(pd.DataFrame({"x": [1, None]}), strict(nullable=True))
    assert fitted["x"].dtype == "float64"
    assert np.isnan(fitted["x"].iloc[1])


def test_a_boolean_without_a_value_stays_an_object():
    fitted = conform(pd.DataFrame({"x": [True, None]}), strict(kind="boolean", dtype="bool", nullable=True))
    assert fitted["x"].dtype == object
    assert fitted["x"].iloc[0] is True


def test_every_fault_is_told_at_once():
    reference = pd.DataFrame({"age": [30, 41], "job": ["a", "b"], "rate": [0.1, 0.2]})
    sent = pd.DataFrame({"Age": [30], "job": [7], "rate": [None], "more": [1]})
    error = told(sent, learn(reference))
    assert str(error).splitlines() == [
        "The column 'age' is missing. Did you mean 'Age'?",
        "The column 'Age' is not expected. Drop it: frame.drop(columns=['Age'])",
        "The column 'more' is not expected. Drop it: frame.drop(columns=['more'])",
        "The column 'job' must hold a text. Got an integer in row 0.",
        "The column 'rate' must hold a finite number. Got a missing value in row 0.",
    ]
    assert [(fault.column, fault.row) for fault in error.faults] == [
        ("age", None),
        ("Age", None),
        ("more", None),
        ("job", 0),
        ("rate", 0),
    ]


def test_of_many_faults_in_a_column_three_are_told_and_the_rest_are_counted():
    sent = pd.DataFrame({"x": ["t"] * 1500, "y": [1.0] * 1500})
    lines = str(
        told(sent, Schema(columns=(*strict().columns, *strict(name="y", kind="text", dtype="object").columns)))
    ).splitlines()
    assert lines[2] == "The column 'x' must hold an integer. Got a text in row 2. And in 1,497 more rows."
    assert len(lines) == 6


def test_of_many_faults_in_a_column_words_are_made_of_three_alone(monkeypatch):
    made = []
    monkeypatch.setattr("ekiben.values.Fault", lambda **facts: made.append(facts) or Fault(**facts))
    told(pd.DataFrame({"x": ["t"] * 1500}), strict())
    assert len(made) == 3


def test_of_many_columns_with_faults_twenty_are_told_and_the_rest_are_counted():
    contract = Schema(columns=tuple(strict(name=f"c{i}").columns[0] for i in range(30)))
    error = told(pd.DataFrame({"z": [1]}), contract)
    assert str(error).splitlines()[-1] == "… and 11 more."
    assert len(error.faults) == 31


def test_anything_but_a_frame_is_refused():
    for rows, what in (
        ([[1]], "Got list. Name its columns: pd.DataFrame(X, columns=[…])."),
        ([{"age": 1}], "Got list. Make one of the rows: pd.DataFrame(rows)."),
        (pd.Series({"age": 1}), "Got Series. One row of a frame is frame.iloc[[0]], one column frame[['name']]."),
    ):
        with pytest.raises(SchemaError, match=re.escape(f"The rows must come as a pandas DataFrame. {what}")):
            conform(rows, strict())


@pytest.mark.parametrize(
    ("dtype", "kind", "inside", "outside"),
    [
        ("int8", "integer", [-128, 127], [-129, 128]),
        ("uint8", "integer", [0, 255], [-1, 256]),
        ("int32", "integer", [-(2**31), 2**31 - 1], [2**31, -(2**31) - 1]),
        ("int64", "integer", [2**63 - 1, -(2**63)], [2**63, -(2**63) - 1, 10**400, float(2**63)]),
        ("uint64", "integer", [2**64 - 1], [2**64]),
        ("Int16", "integer", [2**15 - 1], [2**15]),
        ("float32", "number", [3.4e38, -3.4e38], [3.5e38, -3.5e38, 10**39]),
        ("float64", "number", [1.7e308, 10**300], [10**309, np.inf, -np.inf]),
        ("float16", "number", [65504], [65505]),
    ],
)
def test_a_number_beyond_its_dtype_is_refused(dtype, kind, inside, outside):
    contract = strict(kind=kind, dtype=dtype)
    # inside is given alone and as an object, so that both ways of looking at a column agree
    for given in (pd.DataFrame({"x": inside}), pd.DataFrame({"x": inside}, dtype=object)):
        assert conform(given, contract)["x"].dtype == dtype
    for value in outside:
        error = told(pd.DataFrame({"x": [inside[0], value]}, dtype=object), contract)
        assert (error.faults[0].row, error.faults[0].got) == (1, "a number out of range")


@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_infinity_is_no_number_in_a_column_of_floats(infinite):
    error = told(pd.DataFrame({"x": [1.0, infinite]}), strict(kind="number", dtype="float64"))
    assert str(error) == "The column 'x' must hold a finite number. Got a number out of range in row 1."


@pytest.mark.parametrize(
    ("kind", "dtype", "value", "got"),
    [
        ("integer", "int64", True, "a boolean"),
        ("integer", "int64", np.bool_(True), "a boolean"),
        ("integer", "int64", 1.5, "a number with a fraction"),
        ("integer", "int64", "1", "a text"),
        ("number", "float64", True, "a boolean"),
        ("number", "float64", [1.0], "a list"),
        ("number", "float64", {"a": 1}, "an object"),
        ("number", "float64", pd.Timestamp("2024-01-01"), "a Timestamp"),
        ("boolean", "bool", 1, "an integer"),
        ("boolean", "bool", 0.0, "a number"),
        ("boolean", "bool", "true", "a text"),
        ("text", "object", 1, "an integer"),
        ("text", "object", None, "a missing value"),
        ("text", "object", "\ud800", "a text with half a surrogate pair"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_its_type(kind, dtype, value, got):
    error = told(pd.DataFrame({"x": pd.Series([value], dtype=object)}), strict(kind=kind, dtype=dtype))
    assert [(fault.row, fault.got) for fault in error.faults] == [(0, got)]


@pytest.mark.parametrize(("kind", "dtype"), [("integer", "int64"), ("number", "float64")])
def test_a_column_of_booleans_is_no_column_of_numbers(kind, dtype):
    assert told(pd.DataFrame({"x": [True, False]}), strict(kind=kind, dtype=dtype)).faults[0].got == "a boolean"


def test_numpy_s_own_scalars_fit_like_plain_ones():
    sent = pd.DataFrame({"x": pd.Series([np.int32(3), np.float64(4.0)], dtype=object)})
    assert conform(sent, strict())["x"].tolist() == [3, 4]


def test_an_unseen_text_is_refused_only_where_the_contract_says_so():
    open_ = strict(kind="text", dtype="object", categories=("a", "b"))
    assert conform(pd.DataFrame({"x": ["z"]}), open_)["x"].tolist() == ["z"]
    closed = strict(kind="text", dtype="object", categories=("a", "b"), unseen="refuse")
    assert (
        str(told(pd.DataFrame({"x": ["z"]}), closed))
        == "The column 'x' must hold one of 'a', 'b'. Got another text in row 0."
    )


def test_a_fault_names_no_value():
    faults = value_faults(strict().columns[0], [(3, "secret-4711")])
    assert "4711" not in str(faults)
    assert str(faults[0]) == "The column 'x' must hold an integer. Got a text in row 3."


def test_limits_are_those_of_the_dtype():
    assert limits("uint16") == (0, 65535)
    assert limits("Int32") == (-(2**31), 2**31 - 1)
    assert limits("float32")[1] == np.finfo(np.float32).max
    assert limits("Float64")[1] == np.finfo(np.float64).max


# ── rows


def test_rows_hold_plain_values_and_none_for_what_is_missing():
    frame = pd.DataFrame({"i": pd.Series([1, None], dtype="Int64"), "f": [np.nan, 1.5], "t": ["a", None]})
    assert tables.as_rows(frame) == [{"i": 1, "f": None, "t": "a"}, {"i": None, "f": 1.5, "t": None}]


# ── side by side


def test_a_union_takes_what_both_arms_take():
    first = Schema(columns=(Column(name="x", kind="text", dtype="object", nullable=True, categories=("a", "b")),))
    second = Schema(
        columns=(
            Column(name="x", kind="text", dtype="category", nullable=False, categories=("b", "c"), unseen="refuse"),
        )
    )
    joined = union(first, second)["x"]
    assert (joined.nullable, joined.unseen, joined.categories) == (False, "refuse", ("b", "c"))


def test_a_union_of_numbers_spans_both_ranges():
    first, second = strict(low=1.0, high=5.0), strict(low=-2.0, high=3.0)
    assert (union(first, second)["x"].low, union(first, second)["x"].high) == (-2.0, 5.0)


def test_a_union_with_itself_is_itself():
    contract = learn(pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [0.5, np.nan]}))
    assert union(contract, contract) == contract


def test_contracts_that_contradict_each_other_are_refused_with_every_contradiction():
    first = learn(pd.DataFrame({"a": [1], "b": [1], "c": ["t"], "e": [[1, 2]]}))
    second = learn(pd.DataFrame({"a": ["t"], "b": [1], "d": [1], "e": [[1, 2, 3]]}))
    words = (
        "The arms of one service must take values in common. Got a contradiction: "
        "'a' is integer for one and text for the other; "
        "'e' is list of 2 integers for one and list of 3 integers for the other."
    )
    with pytest.raises(SpecError, match=re.escape(words)):
        union(first, second)


# ── there and back


def test_a_signature_comes_back_from_json():
    contract = learn(
        pd.DataFrame({"a": [1, 2], "b": pd.Categorical(["x", None]), "c": [0.5, np.nan], "d": [True, False]})
    )
    signature = Signature(
        inputs=contract, task="classification", outputs=(Output(parts=("label",), classes=("bad", "good")),)
    )
    assert schema.from_json(schema.to_json(signature)) == signature


def test_an_unknown_column_is_a_key_error():
    with pytest.raises(KeyError, match="age"):
        strict()["age"]


# ── dates, categories and lists


def dated(dtype="datetime64[ns]", **settings):
    return strict(kind="datetime", dtype=dtype, **settings)


@pytest.mark.parametrize(
    ("contract", "sent", "got"),
    [
        (dated(), "2026-11-22", None),
        (dated(), "2026-11-22T10:00:00", None),
        (dated(), "2026-11-22 10:00", None),
        (dated(), "2026-11-22T10:00:00.123456789", None),
        (dated(), "2024-02-29", None),
        (dated(), "2026-02-29", "a text that is no date"),
        (dated(), "22.11.2026", "a text that is no date"),
        (dated(), "20261122", "a text that is no date"),
        (dated(), "2026-11-22T25:00:00", "a text that is no date"),
        (dated(), 1_795_000_000_000, "an integer"),
        (dated(), 1.5, "a number"),
        (dated(), True, "a boolean"),
        (dated(), "2026-11-22T10:00:00Z", "a date with an offset"),
        (dated(), "2026-11-22T10:00:00+01:00", "a date with an offset"),
        (dated(), "2300-01-01", "a date out of range"),
        (dated(), "1600-01-01", "a date out of range"),
        (dated("datetime64[s]"), "2300-01-01", None),
        (dated("datetime64[s]"), "2300-01-01T00:00:00.5", "a finer time than the column can hold"),
        (dated("datetime64[s]"), "0000-01-01", "a text that is no date"),
        (dated("datetime64[ns, Europe/Madrid]"), "2026-11-22T10:00:00Z", None),
        (dated("datetime64[ns, Europe/Madrid]"), "2026-11-22T10:00:00-05:30", None),
        (dated("datetime64[ns, Europe/Madrid]"), "2026-11-22T10:00:00", "a date without an offset"),
        (dated("datetime64[ns, Europe/Madrid]"), "2026-11-22", "a date without an offset"),
        (dated("datetime64[ns, Europe/Madrid]"), "2026-11-22T10:00:00+25:00", "a text that is no date"),
        (dated("object", items="date"), "2026-11-22", None),
        (dated("object", items="date"), "2026-11-22T10:00:00", "a date with a time of day"),
        (dated(minimum="2020-01-01"), "2019-12-31T23:59:59", "a date before the minimum"),
        (dated(maximum="2020-01-01"), "2020-01-01T00:00:01", "a date after the maximum"),
        (dated(), None, "a missing value"),
        (dated(), [2026, 11, 22], "a list"),
    ],
)
def test_a_date_is_iso_8601_text_that_the_column_can_hold(contract, sent, got):
    faults = value_faults(contract["x"], [(0, sent)])
    assert [fault.got for fault in faults] == ([] if got is None else [got])


def test_a_fault_of_a_date_does_not_repeat_it():
    error = told(pd.DataFrame({"x": ["2026-99-11"]}), dated())
    assert str(error) == (
        "The column 'x' must hold a date and time without an offset, such as 2026-11-22T10:00:00. "
        "Got a text that is no date in row 0."
    )


def test_a_moment_comes_back_in_the_very_time_zone():
    reference = pd.DataFrame({"x": pd.to_datetime(["2026-07-01T10:00:00Z"]).tz_convert("Europe/Madrid")})
    fitted = conform(pd.DataFrame({"x": ["2026-07-01T06:00:00-04:00"]}), learn(reference))
    pd.testing.assert_frame_equal(fitted, reference)


def test_python_s_own_dates_come_back_as_what_they_were():
    day, at, stamp = date(2026, 11, 22), datetime.fromisoformat("2026-11-22T10:00:00"), pd.Timestamp("2026-11-22")
    reference = pd.DataFrame({"d": [day], "t": [at], "s": [stamp]}, dtype=object)
    back = conform(pd.DataFrame(tables.as_rows(reference)), learn(reference))
    assert [type(value) for value in back.iloc[0]] == [date, datetime, pd.Timestamp]
    assert back.iloc[0].tolist() == [day, at, stamp]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            [date(2026, 1, 1), pd.Timestamp("2026-01-01")],
            "must hold one kind of them, without an offset. Got Timestamp and",
        ),
        (
            [pd.Timestamp("2026-01-01T00:00Z")],
            "Got dates with an offset in 'x'. Convert it: pd.to_datetime(X['x'], utc=",
        ),
        ([[1], [1, 2]], "The lists of 'x' must have one length. Got 1 to 2 items."),
        ([[], []], "The lists of 'x' must have one length. Got empty ones."),
        ([[1], (1,)], "The lists of 'x' must be held in one way. Got list, tuple. Make all of them lists."),
        ([[1, "a"]], "The lists of 'x' must hold numbers, integers or texts. Got mixed-integer."),
        ([[1.0, np.inf]], "Got a list with a number out of range in row 0."),
    ],
)
def test_dates_and_lists_that_are_of_several_kinds_are_refused_with_the_way_out(values, words):
    with pytest.raises(SpecError, match=re.escape(words)):
        learn(pd.DataFrame({"x": pd.Series(values, dtype=object)}))


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        ([1.5, 2], None),
        ((1.5, 2), None),
        (np.array([1.5, 2]), None),
        ([1.5], "a list of 1"),
        ([1.5, "a"], "a list with a text"),
        ([1.5, None], "a list with a missing value"),
        ([1.5, True], "a list with a boolean"),
        ([1.5, 1e39], "a list with a number out of range"),
        ([1.5, 10**400], "a list with a number out of range"),
        ("ab", "a text"),
        ({"a": 1}, "an object"),
    ],
)
def test_a_list_has_its_length_and_its_kind_of_items(sent, got):
    column = strict(kind="list", dtype="object", length=2, items="number", holder="float32")["x"]
    assert [fault.got for fault in value_faults(column, [(3, sent)])] == ([] if got is None else [got])


@pytest.mark.parametrize(
    ("categories", "fits", "others"),
    [
        ((3, 1), [3, 1, 1.0], [2, True, "1", 1.5]),
        ((True, False), [True, False], [1, 0, "true"]),
        (("b", "a"), ["a"], ["c", 1, None]),
    ],
)
def test_a_category_takes_its_own_values_alone(categories, fits, others):
    contract = learn(pd.DataFrame({"x": pd.Categorical(categories, categories=categories, ordered=True)}))
    for value in fits:
        back = conform(pd.DataFrame({"x": [value]}, dtype=object), contract)["x"]
        assert (back.cat.categories.tolist(), back.cat.ordered) == (list(categories), True)
    for value in others:
        assert told(pd.DataFrame({"x": [value]}, dtype=object), contract).faults[0].expected.startswith("one of ")


def test_a_column_of_an_older_package_that_calls_a_category_a_text_still_works():
    old = strict(kind="text", dtype="category", categories=("b", "a"), unseen="refuse")
    assert conform(pd.DataFrame({"x": ["a"]}), old)["x"].cat.codes.tolist() == [1]
    assert told(pd.DataFrame({"x": ["z"]}), old).faults[0].got == "another text"


# ── what an author declares

NAMED = learn(pd.DataFrame({"age": [30, 41], "Loan amount (€)": [1.5, None], "job": ["a", "b"]}))


def test_a_name_that_no_program_can_spell_has_an_alias_that_is_nobody_else_s():
    frame = pd.DataFrame([[1] * 7], columns=["a b", "a-b", "a_b", "€", "2nd", "größe", "Größe (m)"])
    assert [column.alias for column in learn(frame)] == [
        "a_b_2",
        "a_b_3",
        None,
        "column_3",
        "column_2nd",
        None,
        "grosse_m",
    ]


def test_a_frame_may_bring_a_column_by_its_alias_and_never_by_both():
    sent = pd.DataFrame({"age": [30], "loan_amount": [2.0], "job": ["a"]})
    assert list(conform(sent, NAMED)) == ["age", "Loan amount (€)", "job"]
    both = sent.assign(**{"Loan amount (€)": 2.0})
    assert str(told(both, NAMED)) == (
        "The column 'Loan amount (€)' must come by its name or by its alias 'loan_amount'. Got both."
    )


def test_a_declared_limit_is_one_and_is_told():
    limited = NAMED.edit("age", minimum=18, maximum=120)
    sent = pd.DataFrame({"age": [17, 18, 120, 121], "Loan amount (€)": 1.0, "job": "a"})
    assert [(fault.row, fault.got) for fault in told(sent, limited).faults] == [
        (0, "a number below the minimum"),
        (3, "a number above the maximum"),
    ]
    assert limited["age"].describe() == "integer, from 18 to 120, seen 30 to 41"
    assert limited.edit("age", minimum=None)["age"].describe() == "integer, at most 120, seen 30 to 41"


def test_a_column_too_many_is_ignored_where_the_contract_says_so():
    sent = pd.DataFrame({"age": [30], "loan_amount": [2.0], "job": ["a"], "more": [1]})
    assert list(conform(sent, NAMED.ignoring_extra())) == list(NAMED.names)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("Age", {"minimum": 0}, "The contract has no column 'Age'. Did you mean 'age'?"),
        ("job", {"minimum": 0}, "A 'minimum' needs a column of numbers or dates. Got 0 for 'job', a text."),
        ("age", {"minimum": "0"}, "The 'minimum' of 'age' must be a finite number. Got '0'."),
        ("age", {"maximum": float("nan")}, "The 'maximum' of 'age' must be a finite number. Got nan."),
        ("age", {"minimum": 2, "maximum": 1}, "The 'minimum' of 'age' must not lie above its 'maximum'. Got 2 and 1."),
        ("age", {"nullable": "no"}, "The 'nullable' of 'age' must be True or False. Got 'no'."),
        ("age", {"private": None}, "The 'private' of 'age' must be True or False. Got None."),
        ("age", {"unseen": "refuse"}, "An 'unseen' needs a column of at most 200 texts. Got 'refuse' for 'age'"),
        ("job", {"unseen": "warn"}, "The 'unseen' of 'job' must be 'accept' or 'refuse'. Got 'warn'."),
        ("job", {"alias": "age"}, "The 'alias' of 'job' must be its own. Got 'age', which names 'age' already."),
        ("job", {"alias": "loan_amount"}, "Got 'loan_amount', which names 'Loan amount (€)' already."),
        ("job", {"alias": ""}, "The 'alias' of 'job' must be another name. Got ''."),
    ],
)
def test_what_a_column_cannot_hold_to_is_refused(name, changes, words):
    with pytest.raises(SpecError, match=re.escape(words)):
        NAMED.edit(name, **changes)


def test_a_category_cannot_be_declared_to_take_others():
    graded = learn(pd.DataFrame({"grade": pd.Categorical(["a"])}))
    with pytest.raises(SpecError, match=re.escape("A category takes its own values alone. Got unseen='accept'")):
        graded.edit("grade", unseen="accept")


def test_a_limit_of_a_date_speaks_as_the_column_does():
    zoned = learn(pd.DataFrame({"at": pd.to_datetime(["2026-01-01T00:00Z"])}))
    assert zoned.edit("at", minimum="2020-01-01T00:00:00Z")["at"].minimum == "2020-01-01T00:00:00Z"
    with pytest.raises(SpecError, match=re.escape("must be a date such as 2026-11-22T10:00:00Z, with its offset. Got")):
        zoned.edit("at", minimum="2020-01-01")


def test_a_contract_shows_itself_in_a_notebook_and_in_a_shell():
    shown = NAMED.edit("age", minimum=18)
    page = shown._repr_html_()
    assert "<th>limits</th>" in page
    assert "<td>at least 18</td>" in page
    assert str(shown).splitlines()[1].split("  ")[:2] == ["Loan amount (€)", "loan_amount"]


def test_what_was_declared_comes_back_from_json():
    declared = NAMED.edit("age", minimum=18, nullable=True).edit("job", unseen="refuse", private=True).ignoring_extra()
    signature = Signature(inputs=declared, task="regression", outputs=(Output(parts=("value",)),))
    assert schema.from_json(json.loads(json.dumps(schema.to_json(signature)))) == signature


def test_a_private_column_says_so_and_stays_private_beside_an_arm_that_forgot():
    declared = NAMED.edit("job", private=True)
    assert declared["job"].describe().endswith("never recorded in clear")
    assert "never recorded in clear" in str(declared)
    for arms in ((declared, NAMED), (NAMED, declared)):
        assert [column.private for column in union(*arms)] == [name == "job" for name in NAMED.names]
    assert not declared.edit("job", private=False)["job"].private


@pytest.mark.parametrize(
    ("arrow", "comes"),
    [
        (pa.list_(pa.int64()), False),
        (pa.map_(pa.string(), pa.int64()), False),
        (pa.decimal128(5, 2), False),
        (pa.timestamp("us", "UTC"), True),
        (pa.dictionary(pa.int32(), pa.string()), True),
    ],
    ids=str,
)
def test_an_arrow_dtype_is_taken_only_where_its_name_brings_it_back(arrow, comes):
    assert dtypes.comes_back(pd.ArrowDtype(arrow)) is comes


@pytest.mark.parametrize("dtype", ["int64", "Int64", "int64[pyarrow]"])
def test_the_smallest_integer_of_its_dtype_is_learnt(dtype):
    (column,) = learn(pd.DataFrame({"x": pd.Series([-(2**63), 0], dtype=dtype)})).columns
    assert (column.low, column.high) == (-(2.0**63), 0.0)
