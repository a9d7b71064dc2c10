"""Steps without a node: the live step itself is asked, inside a plan whose other steps are compiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben import tables
from ekiben.compiling.nodes import Doc
from ekiben.compiling.nodes.native import reached, steps_of, transformed
from ekiben.compiling.translating import MADE, NUMERIC, ROUNDED, SMALL, Flow, Head, NoPlan, Scope, is_of, picked
from ekiben.dtypes import name_of
from ekiben.schema import Column, Kind, Schema

if TYPE_CHECKING:
    import pandas as pd

OURS = (
    "beside", "columns", "core", "join", "native", "native_head", "numbers", "pick", "raw", "round", "select", "shared",
)  # fmt: skip


def ask_transform(step: Any, flow: Flow, scope: Scope, reason: NoPlan) -> Flow:
    """Ask a step itself, on the frame of its columns or on a matrix; `reason` is why it has no node.

    Raises
    ------
    NoPlan
        The reason, where the step cannot be asked alone.
    """
    path = path_of(scope.model, step)
    if path is None or not hasattr(step, "transform"):
        raise reason
    doc = _asked(step, flow, path, reason)
    made = _tried(doc, flow, scope, reason)
    scope.native.append(type(step).__name__)
    return made


def _asked(step: Any, flow: Flow, path: list[str], reason: NoPlan) -> Doc:
    if flow.doc["op"] == "native":
        return {**flow.doc, "paths": [*flow.doc["paths"], path]}
    doc: Doc = {"op": "native", "paths": [path]}
    if flow.names is not None and flow.frame:
        return {**doc, "names": list(flow.names), "flat": flow.flat}
    names = getattr(step, "feature_names_in_", None)
    if flow.raw or flow.sparse or flow.wide or flow.dtype != "float64" or (flow.frame and names is None):
        raise reason
    if any(
        np.asarray(each).dtype.kind in "iu" and (np.abs(each) >= 2**53).any()
        for each in getattr(step, "categories_", ())
    ):
        raise reason  # which integer it is, 64 bits of a float do not tell
    return {
        **doc,
        "of": flow.doc,
        "called": [str(name) for name in names] if flow.frame and names is not None else None,
    }


def _tried(doc: Doc, flow: Flow, scope: Scope, reason: NoPlan) -> Flow:
    """Let the step answer one row, to see how wide its answer is and what it holds."""
    try:
        if "names" in doc:
            given = example(Schema(columns=tuple(scope.column(name) for name in doc["names"])), scope.seen)
        else:
            given = _matrix(doc, flow.width)
        found = transformed([reached(scope.model, path) for path in doc["paths"]], given, doc)
    except Exception:  # noqa: BLE001 -- whatever a step raises, it was not made for a row of its own
        raise reason from None
    return _told(doc, found) or Flow(doc=doc, width=0, untold=str(reason))


def _matrix(doc: Doc, width: int) -> Any:
    import pandas as pd

    ones = np.ones((1, width))
    return ones if doc["called"] is None else pd.DataFrame(ones, columns=doc["called"])


def _told(doc: Doc, found: Any) -> Flow | None:
    """Say what a step's answer holds; None where only a step that takes it can tell."""
    if hasattr(found, "tocsr") and getattr(found, "ndim", 2) == 2:
        width = int(found.shape[1])
        return Flow(doc={**doc, "width": width, "raw": False}, width=width, sparse=True)
    if hasattr(found, "dtypes") and hasattr(found, "columns"):
        return _told_frame(doc, found)
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind not in "fiub":
        return None
    if found.dtype.kind == "f" and found.dtype.itemsize != 8:
        return None
    width = int(found.shape[1])
    told = None if found.dtype.itemsize == 8 else (replace(MADE, dtype=found.dtype.name),) * width
    return Flow(doc={**doc, "width": width, "raw": False}, width=width, told=told)


def _told_frame(doc: Doc, found: pd.DataFrame) -> Flow | None:
    told = [_column(str(name), found[name]) for name in found.columns]
    known = tuple(column for column in told if column is not None)
    raw = any(column.kind not in NUMERIC for column in known)
    narrow = all(column.dtype in (*SMALL, *ROUNDED) for column in known) and any(
        column.dtype in ROUNDED for column in known
    )
    if len(known) < len(told) or narrow:
        return None
    made = {**doc, "width": len(known), "raw": raw}
    return Flow(doc=made, width=len(known), raw=raw, told=known, dtype="object" if raw else "float64", frame=True)


def _column(name: str, values: pd.Series[Any]) -> Column | None:
    """Say what a column of a step's frame holds; how it is missing there nobody knows."""
    dtype = name_of(values.dtype)
    if isinstance(values.dtype, np.dtype) and (dtype in ("float64", "float32") or values.dtype.kind in "iub"):
        kinds: dict[str, Kind] = {"f": "number", "b": "boolean"}
        return replace(MADE, name=name, kind=kinds.get(values.dtype.kind, "integer"), dtype=dtype)
    if getattr(values.dtype, "kind", "O") in "fiubMm":
        return None
    return replace(MADE, name=name, kind="text", dtype=dtype, missing="na")


def example(schema: Schema, seen: Mapping[str, Any]) -> pd.DataFrame:
    """Make a frame of one row that fits a contract: texts of which it lists none are those that were seen."""
    return tables.as_frame({column.name: [_value(column, seen)] for column in schema.columns}, schema)


def _value(column: Column, seen: Mapping[str, Any]) -> Any:
    if column.categories:
        return column.categories[0]
    empty: dict[str, Any] = {"text": seen.get(column.name, "text"), "boolean": False, "number": 1.0, "integer": 1}
    if column.low is not None:
        return int(column.low) if column.kind == "integer" else column.low
    return empty.get(column.kind)


def path_of(model: Any, step: Any) -> list[str] | None:
    """Find the names under which a step stands in a model.

    >>> path_of({}, 1) is None
    True
    """
    for name, inner in steps_of(model):
        if inner is step:
            return [name]
        below = path_of(inner, step)
        if below is not None:
            return [name, *below]
    return None


def pandas_out(step: Any) -> bool:
    """Tell whether a step gives frames."""
    return getattr(step, "_sklearn_output_config", {}).get("transform") == "pandas"


# ── the last step ───────────────────────────────────────────────────────────────────────────────────────────────────


def ask_head(model: Any, flow: Flow, scope: Scope, reason: NoPlan) -> list[Head]:
    """Ask the last step itself for what its adapter answers; `reason` is why it has no node.

    Raises
    ------
    NoPlan
        The reason, where nothing before it is compiled, or it answers several outputs.
    """
    path = path_of(scope.model, model)
    outputs = scope.outputs
    if path is None or len(outputs) != 1 or outputs[0].name or not _is_last(scope.model, model):
        raise reason
    if flow.raw or flow.wide or flow.narrow or flow.names is not None:
        raise reason
    if flow.sparse and not is_of(model, "sklearn"):
        raise reason
    parts, classes = outputs[0].parts, outputs[0].classes
    if ("label" in parts) != bool(classes):
        raise reason
    names = getattr(model, "feature_names_in_", None)
    called = None if names is None else [str(name) for name in names]
    n_scores = len(classes) if "scores" in parts else 0
    width = ("label" in parts) + n_scores + ("value" in parts)
    doc: Doc = {"op": "native_head", "of": flow.doc, "path": path, "called": called, "parts": list(parts)}
    core = Flow(doc={**doc, "classes": list(classes), "width": width}, width=width)
    scope.native.append(type(model).__name__)
    return [_head(core, n_scores, parts)]


def _head(core: Flow, n_scores: int, parts: Sequence[str]) -> Head:
    start = int("label" in parts)
    here = Flow(doc={"op": "core", "width": core.width}, width=core.width)
    return Head(
        core=core,
        label={"rule": "number"} if start else None,
        scores=picked(here, range(start, start + n_scores)).doc if n_scores else None,
        value=picked(here, [start + n_scores]).doc if "value" in parts else None,
    )


def _is_last(whole: Any, model: Any) -> bool:
    whole = getattr(whole, "best_estimator_", whole)
    if whole is model:
        return True
    return hasattr(whole, "steps") and _is_last(whole.steps[-1][1], model)


def gains(document: Doc) -> bool:
    """Tell whether a document holds a node that computes, beside those that only ask and pass on."""
    return any(op not in OURS for op in _ops([document["shared"], document["outputs"]]))


def _ops(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("op"), str):
            yield part["op"]
        for name, inner in part.items():
            if name not in ("scores", "value", "label"):
                yield from _ops(inner)
    elif isinstance(part, list | tuple):
        for inner in part:
            yield from _ops(inner)
