"""Steps that look for missing values."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ekiben.compiling.translating import MADE, Flow, NoPlan, Scope, on
from ekiben.schema import Column
from ekiben.values import is_missing


def simple_imputer(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Put a number or a text where one is missing, and tell where one was."""
    told = step.indicator_.features_.tolist() if step.add_indicator else []
    if flow.sparse:
        raise NoPlan("SimpleImputer looks into a sparse matrix")
    return _texts(step, flow, told) if flow.raw else _numbers(step, flow, told)


def _numbers(step: Any, flow: Flow, told: list[int]) -> Flow:
    if any(isinstance(each, str) for each in step.statistics_):
        raise NoPlan("SimpleImputer puts texts among numbers")
    fill = [math.nan if is_missing(each) else float(each) for each in step.statistics_]
    keep = [i for i, each in enumerate(fill) if each == each]
    marker = _marker(step)
    if marker is not None and told:
        raise NoPlan("SimpleImputer tells of a number that stands for a gap")
    if marker is None and step.strategy in ("most_frequent", "constant"):
        _sees(step, flow)
    if flow.narrow:
        fill = np.asarray(fill, dtype=np.float32).tolist()
    filled = [0.0 if each != each else each for each in fill]
    width = len(keep) + len(told)
    made = on(flow, "impute", width=width, fill=filled, missing=marker, keep=keep, told=told)
    if step.strategy in ("mean", "median"):
        return replace(made, dtype="float32" if flow.narrow else "float64")
    held = [replace(flow.facts[i], nullable=False) for i in keep]  # which stay integers where they were
    return replace(made, dtype=flow.dtype, told=(*held, *[MADE] * len(told)))


def _marker(step: Any) -> float | None:
    """Give the number that stands for a gap; None where that is NaN."""
    missing = step.missing_values
    if is_missing(missing) and missing is not None:  # NaN or pandas.NA
        return None
    if not isinstance(missing, float | int):
        raise NoPlan(f"{type(step).__name__} looks for another kind of value")
    return float(missing)


def _sees(step: Any, flow: Flow) -> None:
    """See that what is missing is what the step takes for it: among objects None is not NaN, and pandas.NA is any."""
    if _is_na(step.missing_values):
        return
    for column in flow.facts:
        if column.dtype == "object" and column.nullable and column.missing != "nan":
            raise NoPlan(f"{type(step).__name__} looks for another kind of missing value")


def _texts(step: Any, flow: Flow, told: list[int]) -> Flow:
    """Fill the columns whose missing values are those that the step looks for; the others stay as they are."""
    if any(is_missing(each) for each in step.statistics_):
        raise NoPlan("SimpleImputer drops a column of texts")
    seen = [_is_sought(column, step.missing_values) for column in flow.facts]
    fill = [_plain(each) if sought else None for each, sought in zip(step.statistics_, seen, strict=True)]
    facts = tuple(
        replace(column, nullable=column.nullable and not sought)
        for column, sought in zip(flow.facts, seen, strict=True)
    )
    made = replace(
        flow, doc={"op": "fill", "of": flow.doc, "fill": fill}, names=None, told=facts, dtype="object", frame=False
    )
    if not told:
        return made
    if not all(seen[i] or not flow.facts[i].nullable for i in range(flow.width)):
        raise NoPlan("SimpleImputer tells of another kind of missing value")
    shared = {"op": "is_missing", "of": flow.doc, "keep": told, "refused": []}
    yes_or_no = Column(name="", kind="boolean", dtype="bool", nullable=False)
    return replace(
        made,
        doc={"op": "beside", "parts": [made.doc, shared]},
        width=flow.width + len(told),
        told=(*facts, *[yes_or_no] * len(told)),
    )


def _is_sought(column: Column, missing: Any) -> bool:
    """Tell whether a column's missing values are those that a step looks for."""
    if column.kind in ("datetime", "list"):
        raise NoPlan(f"{column.name!r} holds dates or lists")
    if column.dtype == "category" and not all(isinstance(each, str) for each in column.categories or ()):
        raise NoPlan("a category of numbers is looked through for gaps")
    if not is_missing(missing):  # a column without gaps may hold it all the same
        raise NoPlan("SimpleImputer looks for a text or a number among texts")
    if not column.nullable or _is_na(missing):
        return True
    if missing is None:
        return column.missing == "none"
    if column.missing == "na":
        raise NoPlan("pandas.NA is not what is looked for among texts")
    return column.missing == "nan"


def _is_na(missing: Any) -> bool:
    """Tell pandas.NA, which stands for every missing value."""
    return type(missing).__name__ == "NAType"


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def indicator(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Tell where values are missing."""
    if step.sparse is True or flow.sparse:
        raise NoPlan("MissingIndicator makes a sparse matrix")
    keep = step.features_.tolist()
    if _marker(step) is not None:
        raise NoPlan("MissingIndicator looks for a number")
    _sees(step, flow)
    if flow.raw and not all(_is_sought(column, step.missing_values) for column in flow.facts):
        raise NoPlan("MissingIndicator looks for another kind of missing value")
    strict = step.error_on_new and step.features == "missing-only"
    refused = [i for i in range(flow.width) if i not in keep] if strict else []
    doc = {"op": "is_missing", "of": flow.doc, "keep": keep, "refused": refused}
    return Flow(doc=doc, width=len(keep), dtype="int8")
