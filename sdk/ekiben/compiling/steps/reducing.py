"""Steps that make fewer numbers of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ekiben.compiling.nodes import WIDEST
from ekiben.compiling.translating import Flow, NoPlan, Scope, numeric, on


def selector(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Keep the numbers that were selected."""
    made = _some(flow, np.flatnonzero(step.get_support()).tolist(), step)
    if made.doc["op"] != "select" or step.__sklearn_tags__().input_tags.allow_nan:
        return made
    return replace(made, doc={**made.doc, "whole": True})  # of those too that it leaves out


def _some(flow: Flow, keep: Sequence[int], step: Any) -> Flow:
    """Keep some of the numbers; those of texts are left out by their node itself."""
    if not keep:
        raise NoPlan(f"{type(step).__name__} keeps nothing")
    if flow.raw:
        raise NoPlan(f"{type(step).__name__} picks from texts")
    if flow.doc["op"] != "texts":
        made = on(flow, "select", width=len(keep), keep=list(keep))
        told = None if flow.told is None else tuple(flow.told[i] for i in keep)
        return replace(made, told=told, dtype=flow.dtype, wide=False)
    before = flow.doc.get("keep") or range(flow.doc["width"])
    factor = flow.doc.get("factor")
    doc = {**flow.doc, "keep": [int(before[i]) for i in keep]}
    if factor is not None:
        doc["factor"] = [factor[i] for i in keep]
    return replace(flow, doc=doc, width=len(keep), wide=len(keep) > WIDEST)


def pca(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Turn, shift, and scale where the components are whitened."""
    made = _turned(step, flow, step.components_, -(step.mean_.reshape(1, -1) @ step.components_.T)[0])
    if not step.whiten:
        return made
    scale = np.sqrt(step.explained_variance_)
    least = np.finfo(scale.dtype).eps
    return on(made, "scale", shift=[0.0] * made.width, scale=np.maximum(scale, least).tolist())


def turned(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Multiply by the components."""
    components = step.components_
    return _turned(step, flow, components.toarray() if hasattr(components, "toarray") else components)


def ica(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Subtract the mean where the data were whitened, and turn."""
    return _turned(step, _shifted(step, flow, step.mean_) if step.whiten else flow, step.components_)


def factors(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Turn twice, as FactorAnalysis does."""
    weighed = step.components_ / step.noise_variance_
    covariance = np.linalg.inv(np.eye(len(weighed)) + np.dot(weighed, step.components_.T))
    return _turned(step, _turned(step, _shifted(step, flow, step.mean_), weighed), covariance.T)


def discriminant(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Turn towards what parts the classes."""
    most = step._max_components  # noqa: SLF001 -- no public word on it
    if step.solver == "lsqr":
        raise NoPlan("LinearDiscriminantAnalysis by lsqr transforms nothing")
    moved = _shifted(step, flow, step.xbar_) if step.solver == "svd" else flow
    return _turned(step, moved, step.scalings_[:, :most].T)


def distances(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Measure the way to each centre."""
    _dense(step, flow)
    made = on(flow, "distances", width=len(step.cluster_centers_), centres=np.asarray(step.cluster_centers_))
    return replace(on(made, "round"), dtype="float32") if flow.narrow else made


def waves(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Give the cosines that stand for a kernel."""
    made = _turned(step, flow, step.random_weights_.T, step.random_offset_)
    scale = [(2.0 / step.n_components) ** 0.5] * made.width
    return on(on(made, "ufunc", name="cos", finite=True), "stretch", scale=scale, add=[0.0] * made.width)


def _shifted(step: Any, flow: Flow, shift: Any) -> Flow:
    _dense(step, flow)
    return on(flow, "scale", shift=[float(each) for each in shift], scale=[1.0] * flow.width)


def _dense(step: Any, flow: Flow) -> None:
    if numeric(flow, step).sparse:
        raise NoPlan(f"{type(step).__name__} takes a sparse matrix")


def _turned(step: Any, flow: Flow, components: Any, added: Any = None) -> Flow:
    """Multiply by components of shape (n_components, flow.width), and add."""
    if flow.narrow or components.dtype != np.float64:
        raise NoPlan(f"{type(step).__name__} computes in 32 bits")
    numeric(flow, step, wide=True)
    intercept = np.zeros(len(components)) if added is None else added
    doc = {"op": "project", "of": flow.doc, "coef": np.ascontiguousarray(components), "intercept": intercept}
    return Flow(doc=doc, width=len(components))
