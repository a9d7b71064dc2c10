"""Models that answer by the nearest rows that they keep."""

from __future__ import annotations

from typing import Any

import numpy as np

from ekiben.compiling.estimators.kernels import kept_rows
from ekiben.compiling.translating import Flow, Head, NoPlan, Scope, chain, doubles, each_number, picked

POWERS = {"euclidean": 2.0, "l2": 2.0, "manhattan": 1.0, "l1": 1.0, "cityblock": 1.0}


def _nearest(model: Any, flow: Flow, known: Any) -> Flow:
    """Average what is known of the nearest rows; which those are is never a matter of rounding here."""
    if model.weights not in (None, "uniform", "distance"):
        raise NoPlan(f"{type(model).__name__} weighs by a function")
    metric = model.effective_metric_
    power = float(model.effective_metric_params_.get("p", 2)) if metric == "minkowski" else POWERS.get(metric)
    if power is None or model.effective_metric_params_.get("w") is not None:
        raise NoPlan(f"{type(model).__name__} measures by another metric")
    by_radius = type(model).__name__.startswith("Radius")
    doc = {
        "op": "neighbours",
        "of": doubles(flow, model).doc,
        "vectors": kept_rows(model._fit_X, model),  # noqa: SLF001 -- the kept rows
        "known": known,
        "n": None if by_radius else int(model.n_neighbors),
        "radius": float(model.radius) if by_radius else None,
        "power": power,
        "inverse": model.weights == "distance",
        "exact": model._fit_method != "brute",  # noqa: SLF001 -- what 'auto' became
    }
    return Flow(doc=doc, width=known.shape[1])


def classifier(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with the shares of the classes among the nearest rows."""
    several = isinstance(model.classes_, list)
    classes = model.classes_ if several else [model.classes_]
    held = np.asarray(model._y).reshape(len(model._y), -1)  # noqa: SLF001 -- the kept labels' numbers
    known = np.concatenate([np.eye(len(each))[held[:, i]] for i, each in enumerate(classes)], axis=1)
    core = _nearest(model, flow, known)
    if not several:
        return [Head(core=core, label={"rule": "largest"}, scores=chain(core.width))]
    shared, heads, start = scope.share(core), [], 0
    for each in classes:
        part = picked(shared, range(start, start + len(each)))
        heads.append(Head(core=part, label={"rule": "largest"}, scores=chain(part.width)))
        start += len(each)
    return heads


def regressor(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with the mean of the nearest rows' values."""
    known = np.asarray(model._y, dtype=np.float64).reshape(len(model._y), -1)  # noqa: SLF001 -- the kept values
    return [Head(core=core, value=chain(1)) for core in each_number(_nearest(model, flow, known), scope)]
