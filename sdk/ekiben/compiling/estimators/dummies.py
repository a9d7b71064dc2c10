"""Models that answer every row alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from ekiben.compiling.translating import Flow, Head, NoPlan, Scope, chain


def constant(numbers: Any, flow: Flow) -> Flow:
    """Give the same numbers to every row that no step before refuses; what is too wide is not made for that."""
    listed = [float(each) for each in numbers]
    untouched = flow.names is not None or flow.wide
    of = {} if untouched else {"of": flow.doc}
    return Flow(doc={"op": "constant", "numbers": listed, **of}, width=len(listed))


def classifier(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with the commonest class, or with the one that was named."""
    strategy = model._strategy if hasattr(model, "_strategy") else model.strategy  # noqa: SLF001 -- as it was checked
    if strategy not in ("most_frequent", "prior", "constant"):
        raise NoPlan("DummyClassifier draws by chance")
    several = isinstance(model.classes_, list)
    classes = model.classes_ if several else [model.classes_]
    priors = model.class_prior_ if several else [model.class_prior_]
    named = np.ravel(model.constant) if strategy == "constant" else [None] * len(classes)
    shared = scope.share(flow) if several else flow
    return [_one(*each, strategy, shared) for each in zip(classes, priors, named, strict=True)]


def _one(classes: Any, prior: Any, named: Any, strategy: str, flow: Flow) -> Head:
    chosen = classes == named if strategy == "constant" else np.arange(len(classes)) == np.argmax(prior)
    shares = prior if strategy == "prior" else chosen
    return Head(core=constant(shares, flow), label={"rule": "largest"}, scores=chain(len(classes)))


def regressor(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with the constant of each output."""
    constants = np.ravel(model.constant_)
    shared = scope.share(flow) if len(constants) > 1 else flow
    return [Head(core=constant([each], shared), value=chain(1)) for each in constants]
