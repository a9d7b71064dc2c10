"""What tests of explainers share: a model as an explainer meets it, and explanations without the time they took."""

from dataclasses import replace

from ekiben import models, tables
from ekiben.explainers import Context


def context_of(model, X, **rest):
    return Context(model=model, adapter=models.find(model), schema=tables.learn(X), reference=X, **rest)


def timeless(explanations):
    return [replace(one, elapsed_ms=0.0) for one in explanations]
