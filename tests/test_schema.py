"""The contract of a model's data is learnt from rows, and a table fits it or is told every fault."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ekiben import schema, tables
from ekiben.compatibility import union
from ekiben.errors import SchemaError, SpecError
from ekiben.schema import Column, Schema, Signature
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


def test_of_many_columns_with_faults_twenty_are_told_and_the_rest_are_counted():
    contract = Schema(columns=tuple(strict(name=f"c{i}").columns[0] for i in range(30)))
    error = told(pd.DataFrame({"z": [1]}), contract)
    assert str(error).splitlines()[-1] == "… and 11 more."
    assert len(error.faults) == 31


def test_anything_but_a_frame_is_refused():
    with pytest.raises(SchemaError, match=re.escape("The rows must come as a pandas DataFrame. Got list.")):
        conform([[1]], strict())


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
    signature = Signature(inputs=contract, task="classification", classes=("bad", "good"))
    assert schema.from_json(schema.to_json(signature)) == signature


def test_an_unknown_column_is_a_key_error():
    with pytest.raises(KeyError, match="age"):
        strict()["age"]
