"""Ask a live model what it takes: its outputs, and what it does without a value and with a text that it has never seen."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from ekiben import learning, models, tables
from ekiben.errors import SpecError, UnsupportedModelError
from ekiben.models import Adapter, Answers
from ekiben.packages import ask
from ekiben.refs import ModelRef
from ekiben.schema import Column, Output, Schema, Signature

if TYPE_CHECKING:
    import pandas as pd

UNSEEN = "ekiben: an unseen text"


Asked: TypeAlias = Callable[[Mapping[str, list[Any]]], bool]


def sign(model: Any, adapter: Adapter, reference: pd.DataFrame, name: str, contract: Schema | None) -> Signature:
    """Give the contract and the outputs of a live model, having asked it about the reference."""
    ModelRef(name=name, version=1)  # refuses a name that no registry takes
    task = adapter.task(model)
    _has_the_fitted_columns(_fitted_columns(adapter, model, reference), reference)
    learnt = learning.hold(tables.learn(reference), contract)
    outputs = _outputs(model, adapter, reference, learnt)
    asked = partial(_takes, model, adapter, outputs, learnt, reference)
    seen = {name: next(iter(reference[name].dropna()), None) for name in learnt.names}
    for column in learnt.columns:
        _can_keep(column, asked, seen[column.name])
    columns = tuple(_with_policy(asked, column, seen[column.name]) for column in _with_gaps(asked, learnt))
    return Signature(inputs=replace(learnt, columns=columns), task=task, outputs=outputs)


def _fitted_columns(adapter: Adapter, model: Any, reference: pd.DataFrame) -> tuple[str, ...] | None:
    if hasattr(adapter, "columns"):
        return adapter.columns(model, reference)
    names = getattr(model, "feature_names_in_", None)  # another's adapter that cannot tell
    return None if names is None else tuple(names)


def _has_the_fitted_columns(fitted: tuple[str, ...] | None, reference: pd.DataFrame) -> None:
    """Refuse a column that the model never saw: it would become part of what callers must send."""
    if fitted is None:
        return
    more, fewer = sorted(set(reference.columns) - set(fitted)), sorted(set(fitted) - set(reference.columns))
    if more or fewer:
        told = [f"{more} more"] * bool(more) + [f"{fewer} missing"] * bool(fewer)
        raise SpecError(
            f"The 'reference' must hold the columns that the model was fitted on. Got {' and '.join(told)}. "
            "Pass the very frame that the model was fitted on, without the target."
        )


def _outputs(model: Any, adapter: Adapter, reference: pd.DataFrame, learnt: Schema) -> tuple[Output, ...]:
    """Let the model answer a few reference rows, so that a mismatch is found here and not when it is served."""
    few = tables.as_frame({name: reference[name].head(5) for name in learnt.names}, learnt)
    with answering():
        outputs = adapter.outputs(model, few)
        _answers_each(ask(adapter, model, few), len(few))
    try:
        _answers_each(ask(adapter, model, few.head(1)), 1)
    except Exception as reason:
        raise SpecError(
            f"The model must answer a row by itself, as a service is asked. It answers {len(few)} rows together, and of one "
            f"there came {type(reason).__name__}: {reason}. Replace the step that takes no single row."
        ) from reason
    return outputs


def _answers_each(answers: tuple[Answers, ...], n_rows: int) -> None:
    """See that each row was answered: what takes texts takes a frame for the names of its columns."""
    for answered in answers:
        parts = (answered.labels, answered.scores, answered.values)
        n = next((len(part) for part in parts if part is not None), n_rows)
        if n != n_rows:
            raise UnsupportedModelError(
                f"The model must give an answer for each row. Got {n} for {n_rows} rows of the 'reference'. "
                "Let a step that takes texts be the first, or stand in a ColumnTransformer, by the name of its column."
            )


@contextmanager
def answering() -> Iterator[None]:
    """Say in words of the product what a model raises at rows of the reference."""
    try:
        yield
    except UnsupportedModelError:
        raise
    except Exception as reason:
        raise SpecError(
            f"The model must answer the 'reference' rows. Got {type(reason).__name__}: {reason}. "
            "Pass the very frame that the model was fitted on, without the target."
        ) from reason


def _with_gaps(takes: Asked, learnt: Schema) -> tuple[Column, ...]:
    """Ask the model what it does without a value: of all columns at once, and one by one where that fails."""
    unsure = [column.name for column in learnt.columns if not column.nullable and "nullable" not in column.declared]
    every = {name: [None if name == other else ... for other in unsure] for name in unsure}
    free = set(unsure) if not unsure or takes(every) else {name for name in unsure if takes({name: [None]})}
    return tuple(replace(column, nullable=column.nullable or column.name in free) for column in learnt.columns)


def _with_policy(takes: Asked, column: Column, seen: Any) -> Column:
    """Ask the model what it does with a text that it has never seen."""
    if column.kind != "text" or "unseen" in column.declared:
        return column
    strict = column.dtype == "category" or not _takes_unseen(takes, column, seen)
    return replace(column, unseen="refuse" if strict else "accept")


def unseen_texts(column: Column, seen: Any) -> list[str]:
    """Give texts that were not seen: one of no form at all, and where one that was seen has digits, one of its form.

    >>> zips = Column(name="zip", kind="text", dtype="object", nullable=False, categories=("z95814", "z95825"))
    >>> unseen_texts(zips, "z95814")
    ['ekiben: an unseen text', 'z06925']
    """
    alike = (re.sub(r"\d", partial(_turned, by=by), seen) for by in range(1, 10)) if isinstance(seen, str) else ()
    known = {*(column.categories or ()), seen}
    return [UNSEEN, *[text for text in alike if text not in known][:1]]


def _turned(digit: re.Match[str], by: int) -> str:
    return str((int(digit[0]) + by) % 10)


def _takes_unseen(takes: Asked, column: Column, seen: Any) -> bool:
    return any(takes({column.name: [text]}) for text in unseen_texts(column, seen))


def _can_keep(column: Column, takes: Asked, seen: Any) -> None:
    """Refuse a declared policy that the model has no answer for."""
    if "nullable" in column.declared and column.nullable and not takes({column.name: [None]}):
        raise SpecError(
            f"The model must answer a missing value in {column.name!r}, which the 'contract' allows. It fails on one. "
            f"Fit it on rows that lack one, or declare: contract.edit({column.name!r}, nullable=False)"
        )
    if "unseen" in column.declared and column.unseen == "accept" and not _takes_unseen(takes, column, seen):
        raise SpecError(
            f"The model must answer an unseen text in {column.name!r}, which the 'contract' accepts. It fails on one. "
            f'Use an encoder that ignores unknown ones, or declare: contract.edit({column.name!r}, unseen="refuse")'
        )


def _takes(
    model: Any,
    adapter: Adapter,
    outputs: tuple[Output, ...],
    learnt: Schema,
    reference: pd.DataFrame,
    probes: Mapping[str, list[Any]],
) -> bool:
    """Tell whether the model has finite answers for its first row with these values; an ellipsis is the row's own."""
    n_rows = len(next(iter(probes.values())))
    first = {name: reference[name].iloc[0] for name in learnt.names}
    rows: dict[str, Any] = {}
    for name in learnt.names:
        own = reference[name].iloc[[0] * n_rows]
        rows[name] = [first[name] if each is ... else each for each in probes[name]] if name in probes else own
    parts = tuple({part for output in outputs for part in models.explained(output)})
    try:
        with quiet():
            answers = adapter.answers(model, tables.as_frame(rows, learnt), parts)
    except Exception:  # noqa: BLE001 -- whatever a model raises at such a value, it does not take it
        return False
    return all(_is_finite(answered) for answered in answers)


def _is_finite(answered: Answers) -> bool:
    import numpy as np

    labels = np.asarray(answered.labels) if answered.labels is not None else None
    numbers = (answered.scores, answered.values, labels if labels is not None and labels.dtype.kind == "f" else None)
    return all(np.isfinite(part).all() for part in numbers if part is not None)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a library's warnings about probes out of the notebook; for one thread only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
