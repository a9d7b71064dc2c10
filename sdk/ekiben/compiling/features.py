"""scikit-learn's fitted transformers as nodes of a plan: each is named in one table, and what is not in it is asked itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ekiben.compiling.native import ask_transform, pandas_out
from ekiben.compiling.steps import categories, missing, reducing, scaling, shaping, texts
from ekiben.compiling.translating import MADE, NUMERIC, Flow, NoPlan, Scope, Translator, is_of, joined_dtype, on, told


def features(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Translate one fitted transformer, or a pipeline of them; one without a node is asked itself.

    Raises
    ------
    NoPlan
        If there is no node for it, or for the way it was set, and it cannot be asked by itself.
    """
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return flow
    before = len(scope.shared), len(scope.native)
    try:
        return _translated(step, flow, scope)
    except NoPlan as reason:
        del scope.shared[before[0] :], scope.native[before[1] :]
        return ask_transform(step, flow, scope, reason)


def _translated(step: Any, flow: Flow, scope: Scope) -> Flow:
    told(flow)
    name = type(step).__name__
    if not is_of(step, "sklearn") or name not in TRANSFORMERS:
        raise NoPlan(f"{name} has no plan")
    made = TRANSFORMERS[name](step, flow, scope)
    return replace(made, frame=made.frame or pandas_out(step))


# ── what holds others ───────────────────────────────────────────────────────────────────────────────────────────────


def _pipeline(step: Any, flow: Flow, scope: Scope) -> Flow:
    for _, inner in step.steps:
        flow = features(inner, flow, scope)
    return flow


def _column_transformer(step: Any, flow: Flow, scope: Scope) -> Flow:
    if flow.sparse:
        raise NoPlan("ColumnTransformer picks from a sparse matrix")
    places = step._transformer_to_input_indices  # noqa: SLF001 -- the only word on what was selected
    n_columns = len(getattr(step, "feature_names_in_", ())) or step.n_features_in_
    parts = []
    for name, inner, given in step.transformers_:
        if isinstance(inner, str) and inner == "drop":
            continue
        chosen = _indices(places[name], n_columns)
        if chosen:
            picked = replace(picked_columns(flow, chosen, scope), flat=isinstance(given, str | int))
            parts.append(features(inner, picked, scope))
    return joined(parts, step, sparse=step.sparse_output_)


def _indices(chosen: Any, n_columns: int) -> list[int]:
    if isinstance(chosen, slice):
        return list(range(*chosen.indices(n_columns)))
    listed = np.asarray(chosen)
    return np.nonzero(listed)[0].tolist() if listed.dtype == bool else [int(i) for i in listed.tolist()]


def picked_columns(flow: Flow, places: Sequence[int], scope: Scope) -> Flow:
    """Give some columns of what reaches a step."""
    if flow.names is not None:
        return replace(scope.columns([flow.names[i] for i in places]), frame=flow.frame)
    told = tuple(flow.facts[i] for i in places)
    shared = scope.share(flow)
    if not flow.raw:
        made = on(shared, "select", width=len(places), keep=list(places))
        return replace(made, told=told, frame=flow.frame, dtype=flow.dtype)
    raw = any(column.kind not in NUMERIC for column in told)
    doc = {"op": "pick" if raw else "numbers", "of": shared.doc, "keep": list(places)}
    dtype = joined_dtype([column.dtype for column in told]) if flow.frame and not raw else "object"
    if dtype == "float32":
        raise NoPlan("numbers of 32 bits are picked from a frame")
    return Flow(doc=doc, width=len(places), raw=raw, told=told, dtype=dtype, frame=flow.frame)


def _feature_union(step: Any, flow: Flow, scope: Scope) -> Flow:
    weights = step.transformer_weights or {}
    shared = flow if flow.names else scope.share(flow)
    parts = []
    for name, inner in step.transformer_list:
        if isinstance(inner, str) and inner == "drop":
            continue
        made = features(inner, shared, scope)
        if name in weights:
            if made.raw or made.narrow or made.wide:
                raise NoPlan("FeatureUnion weighs texts or numbers of 32 bits")
            weighed = on(made, "stretch", scale=[float(weights[name])] * made.width, add=[0.0] * made.width)
            made = replace(weighed, frame=made.frame)
        parts.append(made)
    return joined(parts, step, sparse=any(part.sparse for part in parts))


def joined(parts: Sequence[Flow], step: Any, *, sparse: bool = False) -> Flow:
    """Put what several steps make side by side."""
    if not parts:
        raise NoPlan(f"nothing passes through {type(step).__name__}")
    for part in parts:
        told(part)
    frame = pandas_out(step) and all(part.frame for part in parts)
    if any(part.raw for part in parts):
        if sparse or any(part.wide or part.narrow for part in parts):
            raise NoPlan(f"texts pass through {type(step).__name__} beside a sparse matrix")
        return _beside(parts, frame=frame)
    if len(parts) == 1:
        return replace(parts[0], sparse=sparse, frame=frame, flat=False, names=None)
    return Flow(
        doc={"op": "join", "parts": [part.doc for part in parts]},
        width=sum(part.width for part in parts),
        told=tuple(column for part in parts for column in part.facts),
        dtype=joined_dtype([part.dtype for part in parts]),
        sparse=sparse,
        wide=any(part.wide for part in parts),
        frame=frame,
    )


def _beside(parts: Sequence[Flow], *, frame: bool) -> Flow:
    """Put values of any kind beside numbers; without a frame they are objects of one matrix."""
    told = [column for part in parts for column in _objects(part, frame=frame)]
    doc = {"op": "beside", "parts": [part.doc for part in parts]} if len(parts) > 1 else parts[0].doc
    return Flow(doc=doc, width=len(told), raw=True, told=tuple(told), dtype="object", frame=frame)


def _objects(part: Flow, *, frame: bool) -> Sequence[Any]:
    if part.sparse:
        raise NoPlan("texts pass beside a sparse matrix")
    if frame or part.raw:
        return part.facts
    return [replace(MADE, kind=column.kind, dtype="object", missing=column.missing) for column in part.facts]


TRANSFORMERS: dict[str, Translator] = {
    # what holds others
    "ColumnTransformer": _column_transformer,
    "FeatureUnion": _feature_union,
    "Pipeline": _pipeline,
    # missing values
    "MissingIndicator": missing.indicator,
    "SimpleImputer": missing.simple_imputer,
    # categories
    "KBinsDiscretizer": categories.bins,
    "OneHotEncoder": categories.one_hot,
    "OrdinalEncoder": categories.ordinal,
    "TargetEncoder": categories.target,
    # scale
    "Binarizer": scaling.binarizer,
    "MaxAbsScaler": scaling.max_abs,
    "MinMaxScaler": scaling.min_max,
    "Normalizer": scaling.normalizer,
    "RobustScaler": scaling.robust,
    "StandardScaler": scaling.standard,
    # shape
    "FunctionTransformer": shaping.function,
    "PolynomialFeatures": shaping.polynomial,
    "PowerTransformer": shaping.power,
    "QuantileTransformer": shaping.quantile,
    "SplineTransformer": shaping.spline,
    # fewer numbers
    "FactorAnalysis": reducing.factors,
    "FastICA": reducing.ica,
    "GaussianRandomProjection": reducing.turned,
    "IncrementalPCA": reducing.pca,
    "KMeans": reducing.distances,
    "LinearDiscriminantAnalysis": reducing.discriminant,
    "MiniBatchKMeans": reducing.distances,
    "PCA": reducing.pca,
    "RBFSampler": reducing.waves,
    "TruncatedSVD": reducing.turned,
    **dict.fromkeys(
        (
            "GenericUnivariateSelect", "RFE", "RFECV", "SelectFdr", "SelectFpr", "SelectFromModel", "SelectFwe",
            "SelectKBest", "SelectPercentile", "SequentialFeatureSelector", "VarianceThreshold",
        ),
        reducing.selector,
    ),
    # texts
    "CountVectorizer": texts.counts,
    "HashingVectorizer": texts.hashes,
    "TfidfTransformer": texts.weights,
    "TfidfVectorizer": texts.counts,
}  # fmt: skip
