"""Neural networks."""

from __future__ import annotations

from typing import Any

import numpy as np

from ekiben.compiling.translating import Flow, Head, NoPlan, Scope, chain, each_number, numeric

BENDS = ("exp", "identity", "logistic", "relu", "softmax", "tanh")


def _layers(model: Any, flow: Flow) -> Flow:
    if model.activation not in BENDS or model.out_activation_ not in BENDS:
        raise NoPlan(f"{type(model).__name__} bends numbers in another way")
    if any(np.asarray(coef).dtype != np.float64 for coef in model.coefs_):
        raise NoPlan(f"{type(model).__name__} computes in 32 bits")
    doc = {"op": "layers", "of": numeric(flow, model).doc, "coefs": list(model.coefs_)}
    more = {"intercepts": list(model.intercepts_), "hidden": model.activation, "last": model.out_activation_}
    return Flow(doc={**doc, **more}, width=model.n_outputs_)


def classifier(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer by the last layer: chances of the classes, of the second one, or of each of several labels."""
    core = _layers(model, flow)
    if core.width > 1 and model.out_activation_ == "softmax":
        return [Head(core=core, label={"rule": "largest"}, scores=chain(core.width))]
    above = {"rule": "above", "at": 0.5, "strict": True}
    return [Head(core=each, label=above, scores=chain(1, "pair")) for each in each_number(core, scope)]


def regressor(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with the last layer."""
    return [Head(core=core, value=chain(1)) for core in each_number(_layers(model, flow), scope)]
