"""Steps that make numbers of categories."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ekiben.compiling.nodes import Doc
from ekiben.compiling.translating import Flow, NoPlan, Scope, is_half
from ekiben.values import is_missing

EXACT = 2**53  # below it an integer is the same in 64 bits of a float, and no other one is rounded to it


def one_hot(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Give a number to each category, those that are rare together, without those that were dropped."""
    tables, others, refused, start = [], [], [], 0
    for i, categories in enumerate(step.categories_):
        listed = _known(categories, flow, i)
        places, other, width = _places(step, i, len(listed), start)
        tables.append([listed, places])
        others.append(other)
        refused.append(step.handle_unknown == "error")
        start += width
    doc = {"op": "onehot", "of": flow.doc, "tables": tables, "others": others, "refused": refused, "width": start}
    return Flow(doc=doc, width=_some(start, step), sparse=bool(step.sparse_output), dtype=np.dtype(step.dtype).name)


def _some(width: int, step: Any) -> int:
    if not width:
        raise NoPlan(f"nothing is left of {type(step).__name__}")
    return width


def _places(step: Any, column: int, n_categories: int, start: int) -> tuple[list[int], int | None, int]:
    """Tell the place of each category among the numbers, the place of those that are not known, and how many there are."""
    joined = _grouped(step, column)
    codes = list(range(n_categories)) if joined is None else joined
    dropped = step._drop_idx_after_grouping  # noqa: SLF001 -- the public ones are before the rare were joined
    gone = None if dropped is None or dropped[column] is None else int(dropped[column])
    n_codes = max(codes) + 1
    place = [-1 if code == gone else start + code - (gone is not None and code > gone) for code in range(n_codes)]
    takes = joined is not None and step.handle_unknown in ("infrequent_if_exist", "warn")
    return [place[code] for code in codes], place[-1] if takes else None, n_codes - (gone is not None)


def _grouped(step: Any, column: int) -> list[int] | None:
    """Give the number of each category after the rare were joined, which are the last; None where none were."""
    mappings = getattr(step, "_default_to_infrequent_mappings", None)
    return None if mappings is None or mappings[column] is None else [int(each) for each in mappings[column]]


def _known(categories: Any, flow: Flow, column: int) -> list[Any]:
    """List categories as JSON holds them, None for a missing one, and see that it is missing as the model knows it."""
    contract = flow.facts[column]
    if contract.kind in ("datetime", "list"):
        raise NoPlan(f"{contract.name!r} holds dates or lists")
    if is_half(contract.dtype):
        raise NoPlan("there are numbers of 16 bits")
    values = [each.item() if hasattr(each, "item") else each for each in categories]
    gaps = [value for value in values if is_missing(value)]
    if len(gaps) > 1:
        raise NoPlan("an encoder tells several kinds of missing values apart")
    if gaps and contract.nullable and (gaps[0] is None) != (contract.missing == "none"):
        raise NoPlan("an encoder knows another kind of missing value")
    if gaps and type(gaps[0]).__name__ == "NAType":
        raise NoPlan("pandas.NA reaches an encoder")
    told = [None if is_missing(value) else value for value in values]
    if strange := {type(value).__name__ for value in told} - {"str", "int", "float", "bool", "NoneType"}:
        raise NoPlan(f"a category is of the type {min(strange)}")
    if any(isinstance(value, int | float) and abs(value) >= EXACT for value in told):
        raise NoPlan("a category is an integer of more than 53 bits")
    return told


def ordinal(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Give each category its number."""
    tables, others = [], []
    unknown = step.unknown_value if step.handle_unknown == "use_encoded_value" else None
    for i, categories in enumerate(step.categories_):
        listed = _known(categories, flow, i)
        tables.append([listed, [[_told(code)] for code in _codes(step, i, listed)]])
        others.append(None if unknown is None else [_told(float(unknown))])
    doc = {"op": "lookup", "of": flow.doc, "tables": tables, "others": others}
    return Flow(doc=doc, width=len(tables), dtype=np.dtype(step.dtype).name)


def _codes(step: Any, column: int, listed: Sequence[Any]) -> Iterator[float]:
    """Give the number of each category: of rare ones their common one, of a missing one what the encoder was told."""
    joined = _grouped(step, column)
    gap = step._missing_indices.get(column)  # noqa: SLF001 -- no public word on it
    for i in range(len(listed)):
        code = i if joined is None or i == gap else joined[i]
        yield float(step.encoded_missing_value) if code == gap else float(code)


def _told(number: float) -> float | None:
    """Give a number as JSON holds it."""
    return None if math.isnan(number) else number


def target(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Give each category the target's mean in it, one a class."""
    n_classes = len(step.classes_) if step.target_type_ == "multiclass" else 1
    mean = np.atleast_1d(step.target_mean_).astype(float).tolist()
    tables = []
    for i, categories in enumerate(step.categories_):
        means = step.encodings_[i * n_classes : (i + 1) * n_classes]
        rows = np.column_stack([np.asarray(each, dtype=float) for each in means]).tolist()
        tables.append([_known(categories, flow, i), rows])
    doc = {"op": "lookup", "of": flow.doc, "tables": tables, "others": [mean] * len(tables)}
    return Flow(doc=doc, width=len(tables) * n_classes)


def bins(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Give the number of the bin that a number falls into, or one number a bin."""
    if flow.raw or flow.sparse:
        raise NoPlan("KBinsDiscretizer takes dense numbers")
    if step.dtype not in (None, np.float64):
        raise NoPlan("KBinsDiscretizer rounds to another type")
    dtype = "float32" if flow.narrow else "float64"
    edges = [edges[1:-1].tolist() for edges in step.bin_edges_]
    made = {"op": "bins", "of": flow.doc, "edges": edges}
    if step.encode == "ordinal":
        return Flow(doc=made, width=flow.width, dtype=dtype)
    tables, start = [], 0
    for n_bins in (int(each) for each in step.n_bins_):
        tables.append([[float(i) for i in range(n_bins)], list(range(start, start + n_bins))])
        start += n_bins
    nowhere: Doc = {"others": [None] * len(tables), "refused": [True] * len(tables)}
    doc = {"op": "onehot", "of": made, "tables": tables, **nowhere, "width": start}
    return Flow(doc=doc, width=start, dtype=dtype, sparse=step.encode == "onehot")
