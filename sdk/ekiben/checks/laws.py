# ruff: noqa: D401 -- a law is a statement, not a command
"""The laws that a model and its service keep: one function and one sentence each.

A law looks at a `Subject` and returns how many things it tried and what it found broken. To add one, write a function
with a sentence as its docstring and put it into `LAWS`, or into `HTTP_LAWS` when it needs a running service.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ekiben import codecs, tables
from ekiben.checks import explaining
from ekiben.checks.subjects import ROWS, TOLERANCE, Evidence, Law, Subject
from ekiben.errors import Fault, RequestError, SchemaError
from ekiben.packages import Package
from ekiben.probing import unseen_texts

if TYPE_CHECKING:
    import pandas as pd


def examples_answer_as_recorded(subject: Subject) -> Evidence:
    """The examples answer as recorded."""
    import pandas as pd

    recorded = pd.DataFrame([example["answer"] for example in subject.package.examples])
    return _equal(subject.package.predict(subject.package.example_frame), recorded)


def a_batch_equals_its_rows(subject: Subject) -> Evidence:
    """A batch equals its rows one by one."""
    import pandas as pd

    rows = subject.rows.head(ROWS // 2)
    alone = pd.concat([subject.package.predict(rows.iloc[[i]]) for i in range(len(rows))])
    return _equal(subject.package.predict(rows), alone)


def order_does_not_matter(subject: Subject) -> Evidence:
    """The order of rows and of columns does not matter."""
    turned = subject.rows.iloc[::-1, ::-1]
    return _equal(subject.package.predict(turned).iloc[::-1], subject.package.predict(subject.rows))


def a_missing_column_is_refused_by_name(subject: Subject) -> Evidence:
    """A missing column is refused by name."""
    faults = []
    for name in subject.package.schema.names:
        told = _refused(subject.package, subject.rows.drop(columns=name).head(1))
        if told is None:
            faults.append(f"answered without {name!r}")
        elif name not in [fault.column for fault in told]:
            faults.append(f"refused without naming {name!r}")
    return Evidence(tried=len(subject.package.schema.columns), faults=tuple(faults))


def an_unknown_category_is_handled_as_the_contract_says(subject: Subject) -> Evidence:
    """An unknown category is handled as the contract says."""
    columns = [column for column in subject.package.schema.columns if column.kind in ("text", "category")]
    faults = []
    for column in columns:
        row = subject.rows.head(1).astype({column.name: object})
        outcomes = set()
        for text in unseen_texts(column, row[column.name].iloc[0]):
            row[column.name] = text
            outcomes.add(_outcome(subject.package, row))
        if outcomes - {"unanswerable"} != {"refused" if column.is_closed else "answered"}:
            faults.append(
                f"{column.name!r} must {'refuse' if column.is_closed else 'take'} a text that it has not seen"
            )
    return Evidence(tried=len(columns), faults=tuple(faults), note="" if columns else "no column of texts")


def a_missing_value_is_answered_or_refused(subject: Subject) -> Evidence:
    """A missing value is answered or refused as the contract says."""
    faults = []
    for column in subject.package.schema.columns:
        row = subject.rows.head(1).astype({column.name: object})
        row[column.name] = None
        if (_refused(subject.package, row) is None) != column.nullable:
            faults.append(f"{column.name!r} must {'take' if column.nullable else 'refuse'} a missing value")
    return Evidence(tried=len(subject.package.schema.columns), faults=tuple(faults))


def json_changes_nothing(subject: Subject) -> Evidence:
    """JSON there and back changes nothing."""
    contract = subject.package.schema
    read = codecs.decode(codecs.encode(tables.as_rows(subject.rows)))
    back = tables.as_frame(codecs.columns_of(read, contract), contract)
    return _equal(subject.package.predict(back), subject.package.predict(subject.rows))


def http_answers_what_the_notebook_answers(subject: Subject) -> Evidence:
    """Over HTTP comes what the notebook answers."""
    assert subject.client is not None
    changed, rows = subject.client.card()["hooks"], subject.askable
    if not len(rows):
        return Evidence(tried=0, note="no example of this arm fits what every arm takes")
    answered = subject.over_http(rows)
    if changed:  # answered, and that is all that can be held against it
        return Evidence(tried=0, note=f"service.py has its own {', '.join(changed)}")
    return _equal(answered, subject.package.predict(rows))


def http_refuses_by_row_and_column(subject: Subject) -> Evidence:
    """Over HTTP what does not fit is refused by row and column, and never fails."""
    faults, tried = [], 0
    for column, frame in _misfits(subject):
        tried += 1
        try:
            subject.over_http(frame)
            faults.append(f"answered a wrong {column!r}")
        except RequestError as told:
            if told.status != 400:
                faults.append(f"status {told.status} for a wrong {column!r}")
            elif (1, column) not in [(fault.row, fault.column) for fault in told.faults]:
                faults.append(f"refused a wrong {column!r} without its row and name")
    return Evidence(tried=tried, faults=tuple(faults))


LAWS: tuple[Law, ...] = (
    examples_answer_as_recorded,
    a_batch_equals_its_rows,
    order_does_not_matter,
    a_missing_column_is_refused_by_name,
    an_unknown_category_is_handled_as_the_contract_says,
    a_missing_value_is_answered_or_refused,
    json_changes_nothing,
    *explaining.LAWS,
)
HTTP_LAWS: tuple[Law, ...] = (http_answers_what_the_notebook_answers, http_refuses_by_row_and_column)


def sentence(law: Law) -> str:
    """Give the law in words.

    >>> sentence(json_changes_nothing)
    'JSON there and back changes nothing.'
    """
    return (law.__doc__ or law.__name__).strip().partition("\n")[0]


def _misfits(subject: Subject) -> Iterator[tuple[str, pd.DataFrame]]:
    """Give two rows for each column, of which the second holds an object where a value belongs."""
    for name in subject.package.schema.names if len(subject.askable) else ():
        rows = subject.askable.iloc[[0, -1]].astype({name: object})
        rows[name] = [rows[name].iloc[0], {"an": "object"}]
        yield name, rows


def _refused(package: Package, frame: pd.DataFrame) -> tuple[Fault, ...] | None:
    try:
        package.predict(frame)
    except SchemaError as told:
        return told.faults
    return None


def _outcome(package: Package, frame: pd.DataFrame) -> str:
    try:
        return "answered" if _refused(package, frame) is None else "refused"
    except (ValueError, ArithmeticError):  # a 422 over HTTP
        return "unanswerable"


def _equal(got: pd.DataFrame, wanted: pd.DataFrame) -> Evidence:
    """Compare answers: labels to the letter, numbers within the tolerance."""
    import numpy as np

    faults = []
    if list(got.columns) != list(wanted.columns):
        return Evidence(tried=len(wanted), faults=(f"columns {list(got.columns)} instead of {list(wanted.columns)}",))
    for name in wanted.columns:
        if not np.issubdtype(np.asarray(wanted[name].tolist()).dtype, np.floating):  # a label, to the letter
            changed = int((got[name].to_numpy() != wanted[name].to_numpy()).sum())
            faults += [f"{changed} of {len(wanted)} labels differ"] if changed else []
            continue
        a, b = got[name].to_numpy(dtype=float), wanted[name].to_numpy(dtype=float)
        scale = np.maximum(1.0, np.abs(b))  # a regressor's values may be large
        worst = float(np.max(np.abs(a - b) / scale, initial=0.0))
        if not worst <= TOLERANCE:
            faults.append(f"{name} differs by up to {worst:.3g}")
    return Evidence(tried=len(wanted), faults=tuple(faults))
