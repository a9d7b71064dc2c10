"""Whether a model tells missing values apart that a service cannot: pandas has several, and JSON one null."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ekiben import probing, tables
from ekiben.errors import SpecError
from ekiben.models import Adapter
from ekiben.packages import ask, table
from ekiben.schema import Column, Missing, Signature

if TYPE_CHECKING:
    import pandas as pd

TRIED_ROWS = 1000


def refuse_two_kinds(
    model: Any, adapter: Adapter, reference: pd.DataFrame, rows: pd.DataFrame, signature: Signature
) -> None:
    """Refuse a reference whose missing values are of two kinds, where the model does not answer them alike.

    Parameters
    ----------
    reference, rows
        The same rows as they were given, and as the contract holds them: with one kind of missing value a column.
    """
    found = {name: _kinds(reference[name]) for name in signature.inputs.names}
    mixed = {name: kinds for name, kinds in found.items() if len(kinds) > 1}
    if not mixed:
        return
    given = reference[list(signature.inputs.names)].set_axis(rows.index)
    concerned = given[list(mixed)].isna().any(axis=1).to_numpy()
    with probing.quiet(), probing.answering():
        there, kept = (
            table(ask(adapter, model, each), signature, each.index)
            for each in (frame[concerned].head(TRIED_ROWS) for frame in (given, rows))
        )
    if not there.equals(kept):
        told = ", ".join(f"{' and '.join(kinds)} in {name!r}" for name, kinds in sorted(mixed.items()))
        name = min(mixed)
        raise SpecError(
            f"A column must have one kind of missing value where the model tells them apart: a request has one null. "
            f"Got {told}. Use one, and fit again: X[{name!r}] = X[{name!r}].astype(object).where(X[{name!r}].notna(), None)"
        )


def doubts(model: Any, adapter: Adapter, rows: pd.DataFrame, signature: Signature) -> list[str]:
    """Tell of columns in which the reference lacks no value, and the model answers None otherwise than NaN."""
    unseen = [column for column in signature.inputs.columns if _is_unseen(column, rows[column.name])]
    if not unseen:
        return []
    try:
        with probing.quiet():
            nan, none = (_answers(model, adapter, rows, signature, unseen, kind) for kind in ("nan", "none"))
    except Exception:  # noqa: BLE001 -- whatever a model raises at a missing value, it does not answer it otherwise
        return []
    differ = [repr(column.name) for i, column in enumerate(unseen) if not nan.iloc[[i]].equals(none.iloc[[i]])]
    if not differ:
        return []
    told = f"The model answers None otherwise than NaN in {', '.join(differ)}, where the reference lacks no value."
    return [f"{told} A null becomes NaN; to make it None, let the reference hold a row with None."]


def _kinds(values: pd.Series[Any]) -> list[str]:
    """Name the kinds of missing value in a column; only one of objects holds several."""
    import pandas as pd

    if values.dtype != object:
        return []
    names = {None: "None", pd.NA: "pandas.NA", pd.NaT: "NaT"}
    absent = values[values.isna()]
    return sorted({next((told for kind, told in names.items() if value is kind), "NaN") for value in absent})


def _is_unseen(column: Column, values: pd.Series[Any]) -> bool:
    return column.nullable and column.dtype == "object" and column.kind != "list" and not values.isna().any()


def _answers(
    model: Any, adapter: Adapter, rows: pd.DataFrame, signature: Signature, unseen: list[Column], kind: Missing
) -> pd.DataFrame:
    """Ask for the first row without a value, in each of the columns in turn."""
    told = {column.name: replace(column, missing=kind) for column in unseen}
    schema = replace(
        signature.inputs, columns=tuple(told.get(column.name, column) for column in signature.inputs.columns)
    )
    cells = {name: [rows[name].iloc[0]] * len(unseen) for name in schema.names}
    for i, column in enumerate(unseen):
        cells[column.name][i] = None
    frame = tables.as_frame(cells, schema)
    return table(ask(adapter, model, frame), signature, frame.index)
