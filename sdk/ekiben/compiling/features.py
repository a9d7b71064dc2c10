"""scikit-learn's fitted transformers as nodes of a plan."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ekiben.compiling.translating import Flow, NoPlan, Scope, Translator, is_of, numeric, on
from ekiben.values import is_missing


def features(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Translate one fitted transformer, or a pipeline of them.

    Raises
    ------
    NoPlan
        If there is no node for it, or for the way it was set.
    """
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return flow
    name = type(step).__name__
    if not is_of(step, "sklearn") or name not in TRANSFORMERS:
        raise NoPlan(f"{name} has no plan")
    return TRANSFORMERS[name](step, flow, scope)


# ── what holds others ───────────────────────────────────────────────────────────────────────────────────────────────


def _pipeline(step: Any, flow: Flow, scope: Scope) -> Flow:
    for _, inner in step.steps:
        flow = features(inner, flow, scope)
    return flow


def _column_transformer(step: Any, flow: Flow, scope: Scope) -> Flow:
    places: Mapping[str, Any] = step._transformer_to_input_indices  # noqa: SLF001 -- the only word on what was selected
    n_columns = len(getattr(step, "feature_names_in_", ())) or step.n_features_in_
    parts = []
    for name, inner, _ in step.transformers_:
        if isinstance(inner, str) and inner == "drop":
            continue
        chosen = _indices(places[name], n_columns)
        if chosen:
            parts.append(features(inner, picked(flow, chosen, scope), scope))
    return _joined(parts, step)


def _indices(chosen: Any, n_columns: int) -> list[int]:
    if isinstance(chosen, slice):
        return list(range(*chosen.indices(n_columns)))
    listed = np.asarray(chosen)
    return np.nonzero(listed)[0].tolist() if listed.dtype == bool else [int(i) for i in listed.tolist()]


def picked(flow: Flow, places: Sequence[int], scope: Scope) -> Flow:
    """Give some columns of what reaches a step."""
    if flow.names is not None:
        return scope.columns([flow.names[i] for i in places])
    if flow.raw:
        raise NoPlan("columns are picked after texts were changed")
    return Flow(doc={"op": "select", "of": scope.share(flow).doc, "keep": list(places)}, width=len(places))


def _feature_union(step: Any, flow: Flow, scope: Scope) -> Flow:
    weights = step.transformer_weights or {}
    shared = scope.share(flow)
    parts = []
    for name, inner in step.transformer_list:
        if isinstance(inner, str) and inner == "drop":
            continue
        made = features(inner, flow if flow.names else shared, scope)
        if name in weights:
            made = on(made, "stretch", scale=[float(weights[name])] * made.width, add=[0.0] * made.width)
        parts.append(made)
    return _joined(parts, step)


def _joined(parts: Sequence[Flow], step: Any) -> Flow:
    if any(part.raw for part in parts):
        raise NoPlan(f"texts pass through {type(step).__name__} as they are")
    if not parts:
        raise NoPlan(f"nothing passes through {type(step).__name__}")
    if len(parts) == 1:
        return parts[0]
    return Flow(doc={"op": "join", "parts": [part.doc for part in parts]}, width=sum(part.width for part in parts))


# ── numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _scaler(step: Any, flow: Flow, scope: Scope) -> Flow:
    shift = getattr(step, "mean_", None) if type(step).__name__ == "StandardScaler" else getattr(step, "center_", None)
    centred = step.with_mean if type(step).__name__ == "StandardScaler" else step.with_centering
    scaled = step.with_std if type(step).__name__ == "StandardScaler" else step.with_scaling
    return _scaled(numeric(flow, step), shift if centred else None, step.scale_ if scaled else None)


def _max_abs(step: Any, flow: Flow, scope: Scope) -> Flow:
    if getattr(step, "clip", False):
        raise NoPlan("MaxAbsScaler clips")
    return _scaled(numeric(flow, step), None, step.scale_)


def _scaled(flow: Flow, shift: Any, scale: Any) -> Flow:
    if shift is None and scale is None:
        return flow
    shifts = [0.0] * flow.width if shift is None else [float(each) for each in shift]
    scales = [1.0] * flow.width if scale is None else [float(each) for each in scale]
    return on(flow, "scale", shift=shifts, scale=scales)


def _min_max(step: Any, flow: Flow, scope: Scope) -> Flow:
    low, high = step.feature_range if step.clip else (None, None)
    made = on(numeric(flow, step), "stretch", scale=step.scale_.tolist(), add=step.min_.tolist())
    return made if low is None else Flow(doc={**made.doc, "low": float(low), "high": float(high)}, width=made.width)


# ── missing values ──────────────────────────────────────────────────────────────────────────────────────────────────


def _imputer(step: Any, flow: Flow, scope: Scope) -> Flow:
    told = step.indicator_.features_.tolist() if step.add_indicator else []
    missing = step.missing_values
    if flow.raw:
        return _imputed_texts(step, flow, scope, told)
    fill = [float(each) for each in step.statistics_]
    keep = [i for i, each in enumerate(fill) if not math.isnan(each)]
    if missing is not None and not isinstance(missing, int | float):
        raise NoPlan("SimpleImputer looks for another kind of value")
    marker = None if missing is None or is_missing(missing) else float(missing)
    if marker is not None and told:
        raise NoPlan("SimpleImputer tells of a number that stands for a gap")
    doc = {"op": "impute", "of": flow.doc, "fill": [0.0 if math.isnan(each) else each for each in fill]}
    more = {"missing": marker, "keep": keep, "told": told}
    return Flow(doc={**doc, **more}, width=len(keep) + len(told))


def _imputed_texts(step: Any, flow: Flow, scope: Scope, told: list[int]) -> Flow:
    if told or flow.names is None:
        raise NoPlan("SimpleImputer tells where texts are missing")
    markers = {scope.column(name).missing for name in flow.names if scope.column(name).nullable}
    wanted = {"none"} if step.missing_values is None else {"nan", "na"}
    if markers - wanted:
        raise NoPlan("SimpleImputer looks for another kind of missing value")
    if any(is_missing(each) for each in step.statistics_):
        raise NoPlan("SimpleImputer drops a column of texts")
    return Flow(
        doc={"op": "fill", "of": flow.doc, "fill": [_plain(each) for each in step.statistics_]},
        width=flow.width,
        names=flow.names,
        raw=True,
    )


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


# ── categories ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _one_hot(step: Any, flow: Flow, scope: Scope) -> Flow:
    tables, others, refused, start = [], [], [], 0
    for i, categories in enumerate(step.categories_):
        values, places, other, width = _places(step, i, list(categories), start)
        tables.append([_known(values, flow, i, scope), places])
        others.append(other)
        refused.append(step.handle_unknown == "error")
        start += width
    doc = {"op": "onehot", "of": flow.doc, "tables": tables, "others": others, "refused": refused, "width": start}
    return Flow(doc=doc, width=start)


def _places(step: Any, column: int, categories: list[Any], start: int) -> tuple[list[Any], list[int], int | None, int]:
    """Tell the place of each category among the numbers, the place of those that are not known, and how many there are."""
    rare = getattr(step, "infrequent_categories_", {column: None})[column]
    common = [i for i, each in enumerate(categories) if rare is None or not any(_same(each, other) for other in rare)]
    number = {i: n for n, i in enumerate(common)}
    raw = [number.get(i, len(common)) for i in range(len(categories))]  # the last one is of all that are infrequent
    n_places = len(common) + (rare is not None)
    gone = None if step.drop_idx_ is None or step.drop_idx_[column] is None else raw[int(step.drop_idx_[column])]
    place = {n: -1 if n == gone else start + n - (gone is not None and n > gone) for n in range(n_places)}
    joins = rare is not None and step.handle_unknown in ("infrequent_if_exist", "warn")
    others = place[len(common)] if joins else None
    return [_plain(each) for each in categories], [place[n] for n in raw], others, n_places - (gone is not None)


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) or (is_missing(a) and is_missing(b))


def _known(values: list[Any], flow: Flow, column: int, scope: Scope) -> list[Any]:
    """See that a missing value is known as the model knows it: NaN and None are two categories to an encoder."""
    gaps = [value for value in values if is_missing(value)]
    if len(gaps) > 1:
        raise NoPlan("an encoder tells several kinds of missing values apart")
    if flow.raw and flow.names is not None:
        contract = scope.column(flow.names[column])
        if contract.nullable and contract.missing == "na":
            raise NoPlan("pandas.NA reaches an encoder")
        if gaps and contract.nullable and (gaps[0] is None) != (contract.missing == "none"):
            raise NoPlan("an encoder knows another kind of missing value")
    return [None if is_missing(value) else value for value in values]


def _ordinal(step: Any, flow: Flow, scope: Scope) -> Flow:
    tables, others = [], []
    for i, categories in enumerate(step.categories_):
        listed = [_plain(each) for each in categories]
        codes = list(_codes(step, listed))
        if any(map(math.isnan, codes)) and not flow.raw:
            raise NoPlan("OrdinalEncoder gives NaN for NaN")
        tables.append([_known(listed, flow, i, scope), [[code] for code in codes]])
        known = step.handle_unknown == "use_encoded_value"
        others.append([float(step.unknown_value)] if known and step.unknown_value is not None else None)
    return Flow(doc={"op": "lookup", "of": flow.doc, "tables": tables, "others": others}, width=len(tables))


def _codes(step: Any, categories: list[Any]) -> Iterator[float]:
    if getattr(step, "_infrequent_enabled", False):
        raise NoPlan("OrdinalEncoder joins infrequent categories")
    for i, each in enumerate(categories):
        gap = is_missing(each)
        yield float(step.encoded_missing_value) if gap else float(i)


TRANSFORMERS: dict[str, Translator] = {
    "ColumnTransformer": _column_transformer,
    "FeatureUnion": _feature_union,
    "MaxAbsScaler": _max_abs,
    "MinMaxScaler": _min_max,
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
    "Pipeline": _pipeline,
    "RobustScaler": _scaler,
    "SimpleImputer": _imputer,
    "StandardScaler": _scaler,
}
