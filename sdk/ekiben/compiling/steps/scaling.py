"""Steps that shift, scale and cut off each number by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ekiben.compiling.translating import Flow, NoPlan, Scope, numeric, on


def standard(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Subtract the mean and divide by the deviation, both in the bits of what reaches it."""
    shift = step.mean_ if step.with_mean else None
    scale = step.scale_ if step.with_std else None
    if flow.narrow:
        shift, scale = _rounded(shift), _rounded(scale)
    return scaled(numeric(flow, step, wide=True), shift, scale, step)


def robust(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Subtract the median and divide by the range."""
    shift = step.center_ if step.with_centering else None
    return scaled(numeric(flow, step, wide=True), shift, step.scale_ if step.with_scaling else None, step)


def max_abs(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Divide by the largest."""
    clips = getattr(step, "clip", False)
    if clips and flow.wide:
        raise NoPlan("MaxAbsScaler cuts off numbers of texts")
    made = scaled(numeric(flow, step, wide=True), None, step.scale_, step)
    return clipped(made, -1.0, 1.0) if clips else made


def min_max(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Multiply, add, and keep within the range where it says so."""
    scale, add, nothing = step.scale_.tolist(), step.min_.tolist(), [0.0] * flow.width
    if numeric(flow, step).narrow:
        times = _each(flow, "stretch", scale=scale, add=nothing)
        made = _each(times, "stretch", scale=[1.0] * flow.width, add=add)
    else:
        made = on(flow, "stretch", scale=scale, add=add)
    low, high = step.feature_range
    return clipped(made, float(low), float(high)) if step.clip else made


def scaled(flow: Flow, shift: Any, scale: Any, step: Any) -> Flow:
    """Subtract and divide; a sparse matrix is multiplied by what is left of 1."""
    if shift is not None and flow.sparse:
        raise NoPlan(f"{type(step).__name__} moves the zeros of a sparse matrix")
    if scale is not None and flow.sparse:
        return multiplied(flow, 1.0 / np.asarray(scale, dtype=np.float64))
    if not flow.narrow and (shift is not None or scale is not None):
        return on(flow, "scale", shift=_listed(shift, 0.0, flow), scale=_listed(scale, 1.0, flow))
    for name, each in (("shift", shift), ("scale", scale)):
        if each is not None:
            given = {"shift": [0.0] * flow.width, "scale": [1.0] * flow.width, name: _listed(each, 0.0, flow)}
            flow = _each(flow, "scale", **given)
    return flow


def multiplied(flow: Flow, by: Any) -> Flow:
    """Multiply each number of a sparse matrix; those of texts by their node itself."""
    factors = [float(each) for each in by]
    if flow.doc["op"] != "texts":
        return on(flow, "stretch", scale=factors, add=[0.0] * flow.width)
    if "factor" in flow.doc:
        raise NoPlan("numbers of texts are scaled twice")
    return replace(flow, doc={**flow.doc, "factor": factors})


def clipped(flow: Flow, low: float, high: float) -> Flow:
    """Keep numbers within two others."""
    return replace(flow, doc={"op": "clip", "of": flow.doc, "low": low, "high": high})


def normalizer(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Divide each row by its norm."""
    if flow.narrow:
        raise NoPlan("Normalizer computes in 32 bits")
    if flow.doc["op"] == "texts" and flow.wide:
        raise NoPlan("Normalizer divides numbers of texts")
    return on(numeric(flow, step), "norm", kind=step.norm, sparse=flow.sparse)


def binarizer(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Give 1 for what is above a threshold."""
    threshold = np.float32(step.threshold) if flow.narrow else step.threshold  # compared in the bits of the numbers
    made = on(numeric(flow, step), "exceeds", threshold=float(threshold))
    return replace(made, dtype="float32") if flow.narrow else made


def _each(flow: Flow, op: str, **settings: Any) -> Flow:
    """Put a node on a flow and round what it makes where the model computes in 32 bits."""
    made = on(flow, op, **settings)
    return replace(on(made, "round"), dtype=flow.dtype) if flow.narrow else made


def _rounded(numbers: Any) -> Any:
    return None if numbers is None else np.asarray(numbers, dtype=np.float32)


def _listed(numbers: Any, default: float, flow: Flow) -> Sequence[float]:
    return [default] * flow.width if numbers is None else [float(each) for each in numbers]
