"""JSON is read strictly, and what does not fit is told by row and column."""

import re

import pytest

from ekiben import codecs
from ekiben.errors import SchemaError
from ekiben.protocol import MAX_FIELDS
from ekiben.reading import reader
from ekiben.schema import Column, Schema
from ekiben.values import missing_column

CONTRACT = Schema(
    columns=(
        Column(name="age", kind="integer", dtype="int64", nullable=False),
        Column(name="job", kind="text", dtype="object", nullable=True),
    )
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e999]",
        b"[-1e999]",
        b"[" + b"9" * 5000 + b"]",
        b"[01]",
        b"[.5]",
        b"[+1]",
        b"[1,]",
        b"{'a': 1}",
        b"{a: 1}",
        b"// no\n1",
        b"[1] [2]",
        b"[1",
        b'"\x00"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b"\xef\xbb\xbf[1]",
        "[1]".encode("utf-16"),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_not_json_is_refused(body):
    with pytest.raises(SchemaError, match=r"^The body must be JSON\. Got something else( at byte \d+)?\.$"):
        codecs.decode(body)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 50_000 + b"]" * 50_000])
def test_a_body_that_is_nested_too_deeply_is_refused(body):
    with pytest.raises(SchemaError, match="The body must be JSON"):
        codecs.decode(body)


def test_where_json_ends_is_told():
    with pytest.raises(SchemaError, match=re.escape("Got something else at byte 8.")):
        codecs.decode(b'{"a": 1 oh}')


def test_the_last_of_two_equal_keys_counts_as_everywhere_in_python():
    assert codecs.decode(b'{"a":1,"a":2}') == {"a": 2}


def test_a_huge_integer_is_read_exactly_so_that_the_contract_can_refuse_it():
    rows = codecs.decode(b'[{"age":18446744073709551617,"job":null},{"age":' + b"9" * 400 + b',"job":null}]')
    assert rows[0]["age"] == 2**64 + 1
    with pytest.raises(SchemaError) as caught:
        codecs.columns_of(rows, CONTRACT)
    assert [fault.got for fault in caught.value.faults] == ["a number out of range"] * 2


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("wrap", [lambda n: n, lambda n: [n], lambda n: {"a": {"b": (1, n)}}])
def test_a_number_that_json_cannot_hold_is_not_written(number, wrap):
    with pytest.raises(SchemaError, match=re.escape("An answer must hold finite numbers. Got one that is not.")):
        codecs.encode(wrap(number))


def test_rows_become_columns_in_the_order_of_the_contract():
    rows = [{"job": "a", "age": 1}, {"age": 2, "job": None}]
    assert list(codecs.columns_of(rows, CONTRACT).items()) == [("age", [1, 2]), ("job", ["a", None])]


@pytest.mark.parametrize(
    ("row", "got"),
    [([1], "a list"), ("a", "a text"), (1, "a number"), (1.5, "a number"), (True, "a boolean"), (None, "null")],
)
def test_a_row_that_is_no_object_is_refused_by_its_type(row, got):
    with pytest.raises(SchemaError) as caught:
        codecs.columns_of([{"age": 1, "job": None}, row], CONTRACT)
    assert str(caught.value) == f"A row must be an object. Got {got} in row 1."
    assert (caught.value.faults[0].row, caught.value.faults[0].got) == (1, got)


def test_every_fault_is_told_at_once_by_row_and_column():
    rows = [{"age": "x", "job": "a"}, {"job": 7}, {"age": 1, "job": "a", "secret-4711": 1}, {"age": None, "job": None}]
    with pytest.raises(SchemaError) as caught:
        codecs.columns_of(rows, CONTRACT)
    assert str(caught.value).splitlines() == [
        "The column 'age' is missing in row 1.",
        "A row must hold the contract's columns alone. Got another in row 2. GET /schema lists them.",
        "The column 'age' must hold an integer. Got a text in row 0.",
        "The column 'age' must hold an integer. Got a missing value in row 3.",
        "The column 'job' must hold a text or null. Got an integer in row 1.",
    ]


def test_of_many_faults_the_first_are_told_and_all_are_counted(monkeypatch):
    wide = Schema(
        columns=tuple(Column(name=f"x{i}", kind="number", dtype="float64", nullable=False) for i in range(50))
    )
    made = []
    monkeypatch.setattr(
        codecs, "missing_column", lambda *given, **named: made.append(given) or missing_column(*given, **named)
    )
    with pytest.raises(
        SchemaError, match=re.escape("The column 'x19' is missing in row 0.\n… and 99980 more.")
    ) as told:
        codecs.columns_of([{}] * 2000, wide)
    assert len(made) == len(told.value.faults) == codecs.MOST_TOLD == MAX_FIELDS
    with pytest.raises(SchemaError, match=re.escape("in row 19.\n… and 1980 more.")) as told:
        codecs.held({f"x{i}": [0.5] * 2000 if i else [None] * 2000 for i in range(50)}, wide)
    assert [fault.row for fault in told.value.faults] == [*range(codecs.MOST_TOLD)]
    named = Schema(columns=(Column(name="age", kind="integer", dtype="int64", nullable=False, alias="years"),))
    with pytest.raises(SchemaError, match=re.escape("Got both in row 19.\n… and 1980 more.")) as told:
        codecs.columns_of([{"age": 1, "years": 1}] * 2000, named)
    assert len(told.value.faults) == codecs.MOST_TOLD


def test_a_row_may_carry_the_unit_beside_the_columns():
    rows = [{"age": 1, "job": None, "customer_id": "c-1"}]
    assert codecs.columns_of(rows, CONTRACT, ignore="customer_id") == {"age": [1], "job": [None]}


def test_an_integer_may_come_as_a_float_without_a_fraction():
    assert codecs.columns_of([{"age": 30.0, "job": None}], CONTRACT)["age"] == [30.0]
    with pytest.raises(SchemaError, match=re.escape("Got a number with a fraction in row 0.")):
        codecs.columns_of([{"age": 30.5, "job": None}], CONTRACT)


NAMED = Schema(
    columns=(
        Column(name="Loan amount (€)", alias="loan_amount", kind="number", dtype="float64", nullable=False),
        Column(name="since", kind="datetime", dtype="datetime64[ns]", nullable=True),
    )
)


@pytest.mark.parametrize("name", ["Loan amount (€)", "loan_amount"])
def test_a_column_comes_by_its_name_or_by_its_alias(name):
    assert codecs.columns_of([{name: 1.5, "since": "2026-11-22"}], NAMED) == {
        "Loan amount (€)": [1.5],
        "since": ["2026-11-22"],
    }


def test_a_column_that_comes_by_both_names_is_at_fault():
    with pytest.raises(SchemaError) as caught:
        codecs.columns_of([{"loan_amount": 1, "Loan amount (€)": 1, "since": None}], NAMED)
    assert [(fault.row, fault.column, fault.got) for fault in caught.value.faults] == [(0, "Loan amount (€)", "both")]


def test_a_fault_of_an_alias_names_the_column():
    with pytest.raises(SchemaError) as caught:
        codecs.columns_of([{"loan_amount": "1", "since": None}, {"since": None}], NAMED)
    assert [(fault.row, fault.column) for fault in caught.value.faults] == [
        (1, "Loan amount (€)"),
        (0, "Loan amount (€)"),
    ]


def test_a_field_too_many_is_ignored_where_the_contract_says_so():
    row = {"loan_amount": 1.5, "since": None, "more": {"any": "thing"}}
    assert codecs.columns_of([row], NAMED.ignoring_extra()) == {"Loan amount (€)": [1.5], "since": [None]}
    with pytest.raises(SchemaError, match="A row must hold the contract's columns alone"):
        codecs.columns_of([row], NAMED)


def test_categories_that_are_unsigned_integers_of_64_bits_are_left_to_the_slow_path():
    known = Column(name="id", kind="category", dtype="category", categories=(1, 2**63), nullable=False, unseen="refuse")
    assert reader(Schema(columns=(known,)), max_rows=1) is None
    assert codecs.columns_of([{"id": 2**63}], Schema(columns=(known,))) == {"id": [2**63]}
