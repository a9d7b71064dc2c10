"""Models that answer every row alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from ekiben.compiling.translating import Flow, Head, NoPlan, Scope, chain


def constant(numbers: Any) -> Flow:
    """Give the same numbers to every row."""
    listed = [float(each) for each in numbers]
    return Flow(doc={"op": "constant", "numbers": listed}, width=len(listed))


def classifier(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with the commonest class, or with the one that was named."""
    strategy = model._strategy if hasattr(model, "_strategy") else model.strategy  # noqa: SLF001 -- as it was checked
    if strategy not in ("most_frequent", "prior", "constant"):
        raise NoPlan("DummyClassifier draws by chance")
    several = isinstance(model.classes_, list)
    classes = model.classes_ if several else [model.classes_]
    priors = model.class_prior_ if several else [model.class_prior_]
    named = np.ravel(model.constant) if strategy == "constant" else [None] * len(classes)
    return [_one(*each, strategy) for each in zip(classes, priors, named, strict=True)]


def _one(classes: Any, prior: Any, named: Any, strategy: str) -> Head:
    chosen = classes == named if strategy == "constant" else np.arange(len(classes)) == np.argmax(prior)
    shares = prior if strategy == "prior" else chosen
    return Head(core=constant(shares), label={"rule": "largest"}, scores=chain(len(classes)))


def regressor(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with the constant of each output."""
    return [Head(core=constant([each]), value=chain(1)) for each in np.ravel(model.constant_)]
