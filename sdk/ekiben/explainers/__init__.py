"""Methods that explain a prediction on the raw columns.

`linear` and `trees` are exact where they apply and refuse elsewhere; `sampling` takes any model; `anchor` gives a rule.
Another package adds a method by an entry point in the group 'ekiben.explainers'.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import cast

from ekiben.errors import ExplainError, SpecError, UnsupportedModelError, nearest
from ekiben.explainers._context import Adapter, Context, Explainer, Later, Method
from ekiben.explainers._header import read_header

__all__ = [
    "GROUP",
    "METHODS",
    "Adapter",
    "Context",
    "Explainer",
    "Later",
    "Method",
    "choose",
    "load",
    "method",
    "requirements",
]

GROUP = "ekiben.explainers"
METHODS = {
    "linear": "ekiben.explainers.linear:Linear",
    "trees": "ekiben.explainers.trees:Trees",
    "sampling": "ekiben.explainers.sampling:Sampling",
    "anchor": "ekiben.explainers.anchor:Anchors",
    "anchor-alibi": "ekiben.explainers.anchor_alibi:AlibiAnchors",
}
EXACT_FIRST = ("linear", "trees", "sampling")


def method(name: str) -> Method:
    """Look a method up by its name.

    Raises
    ------
    SpecError
        If nobody offers a method of this name.

    Examples
    --------
    >>> method("anchors")
    Traceback (most recent call last):
    ekiben.errors.SpecError: The explainer must be one of 'auto', 'anchor', 'anchor-alibi', 'linear', 'sampling', 'trees'. Got 'anchors'. \
Did you mean 'anchor'?
    """
    if name in METHODS:
        module, _, attribute = METHODS[name].partition(":")
        return cast(Method, getattr(import_module(module), attribute))
    offered = {point.name: point for point in entry_points(group=GROUP)}
    if name not in offered:
        raise SpecError(_unknown(name, offered))
    return cast(Method, offered[name].load())


def _unknown(name: str, offered: dict[str, EntryPoint]) -> str:
    known = ["auto", *sorted({*METHODS, *offered})]
    return f"The explainer must be one of {', '.join(map(repr, known))}. Got {name!r}.{nearest(name, known)}"


def choose(name: str, context: Context, *, reasons: list[str] | None = None) -> Explainer:
    """Fit the method `name`; 'auto' takes the first that fits of linear, trees and sampling.

    Why an exact method did not fit is added to `reasons`.

    Raises
    ------
    SpecError
        If nobody offers a method of this name.
    ExplainError
        If the method cannot explain this model; the message says why, and what to do.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> from ekiben import models, tables
    >>> X = pd.DataFrame({"rooms": [1.0, 2.0, 3.0]})
    >>> model = LinearRegression().fit(X, [100.0, 200.0, 300.0])
    >>> context = Context(model=model, adapter=models.find(model), schema=tables.learn(X), reference=X)
    >>> choose("auto", context).explain(X.tail(1))[0].contributions["rooms"].__round__(6)
    100.0
    """
    if name != "auto":
        return method(name).fit(context)
    *exact, last = EXACT_FIRST
    for candidate in exact:
        try:
            return method(candidate).fit(context)
        except (ExplainError, UnsupportedModelError) as reason:
            if reasons is not None:
                reasons.append(f"{candidate}: {reason}")
    return method(last).fit(context)


def requirements(name: str) -> tuple[str, ...]:
    """Name the distributions that a method needs beside ekiben to explain.

    Examples
    --------
    >>> requirements("anchor"), requirements("anchor-alibi")
    ((), ('alibi',))
    """
    return tuple(getattr(method(name), "requirements", ()))


def load(folder: Path | str, context: Context) -> Explainer:
    """Read an explainer that `save` wrote; `context.reference` may be None.

    Raises
    ------
    NotFoundError
        If the folder holds no explainer.
    IntegrityError
        If what it holds does not fit the model.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> from sklearn.dummy import DummyRegressor
    >>> from ekiben import models, tables
    >>> X = pd.DataFrame({"rooms": [1.0, 2.0, 3.0]})
    >>> model = DummyRegressor().fit(X, [100.0, 200.0, 300.0])
    >>> context = Context(model=model, adapter=models.find(model), schema=tables.learn(X), reference=X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     choose("auto", context).save(Path(folder))
    ...     load(folder, context).method
    'sampling'
    """
    return method(read_header(Path(folder))["method"]).load(Path(folder), context)
