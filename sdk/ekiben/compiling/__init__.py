"""A fitted model as a plan that answers one row in microseconds, proved equal to the model before it serves.

`translate` turns a fitted model into a document of nodes; `certify` tries it against the model; a plan that differs is
refused, and the model serves itself.
"""

from __future__ import annotations

from typing import Any

from ekiben.compiling.building import PLAN, write
from ekiben.compiling.heads import heads
from ekiben.compiling.nodes import Doc
from ekiben.compiling.plans import UNMEASURED, Costs, Plan, load
from ekiben.compiling.translating import Head, NoPlan, Scope
from ekiben.schema import Signature

__all__ = ["PLAN", "UNMEASURED", "Costs", "NoPlan", "Plan", "load", "translate", "write"]


def translate(model: Any, signature: Signature) -> Doc:
    """Turn a fitted model into the document of a plan.

    Raises
    ------
    NoPlan
        If there is no node for one of its steps, or for the way it was set.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> from ekiben import tables
    >>> from ekiben.schema import Output
    >>> X = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0]})
    >>> model = LinearRegression().fit(X, [20, 30, 40, 60])
    >>> flat = Signature(inputs=tables.learn(X), task="regression", outputs=(Output(parts=("value",)),))
    >>> plan = Plan(translate(model, flat), flat.inputs, flat.outputs)
    >>> round(plan.predictions([(5.0,)])[0]["value"], 6)
    50.0
    """
    scope = Scope(schema=signature.inputs, heads=heads)
    found = heads(model, scope.frame(), scope)
    if len(found) != len(signature.outputs):
        raise NoPlan(f"{type(model).__name__} answers otherwise than its plan would")
    outputs = [_told(head) for head in found]
    return {"columns": list(signature.inputs.names), "shared": scope.shared, "outputs": outputs}


def _told(head: Head) -> Doc:
    told: Doc = {"core": head.core.doc}
    for part in ("label", "scores", "value"):
        if getattr(head, part) is not None:
            told[part] = getattr(head, part)
    return told
