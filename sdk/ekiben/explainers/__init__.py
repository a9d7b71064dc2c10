"""Methods that explain a prediction on the raw columns.

`linear`, `additive` and `trees` are exact where they apply and refuse elsewhere; `sampling` takes any model; `anchor`
gives a rule, `counterfactual` the smallest changes that change the answer, `examples` the reference rows most alike.
Another package adds a method by an entry point in the group 'ekiben.explainers'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from pathlib import Path
from typing import Any, cast

from ekiben.errors import ExplainError, SpecError, UnsupportedModelError, nearest
from ekiben.explainers._context import Adapter, Context, Explainer, Later, Method
from ekiben.explainers._header import read_header

__all__ = [
    "EXACT",
    "GROUP",
    "METHODS",
    "Adapter",
    "Context",
    "Explainer",
    "Later",
    "Method",
    "adjusted",
    "choose",
    "draws_rounds",
    "is_exact",
    "load",
    "method",
    "requirements",
]

GROUP = "ekiben.explainers"
METHODS = {
    "linear": "ekiben.explainers.linear:Linear",
    "additive": "ekiben.explainers.additive:Additive",
    "trees": "ekiben.explainers.trees:Trees",
    "trees-interventional": "ekiben.explainers.trees:Interventional",
    "sampling": "ekiben.explainers.sampling:Sampling",
    "anchor": "ekiben.explainers.anchor:Anchors",
    "anchor-alibi": "ekiben.explainers.anchor_alibi:AlibiAnchors",
    "counterfactual": "ekiben.explainers.counterfactual:Counterfactuals",
    "examples": "ekiben.explainers.examples:NearRows",
}
EXACT = ("linear", "trees", "trees-interventional", "additive")
EXACT_FIRST = ("linear", "trees", "additive", "sampling")


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
    ekiben.errors.SpecError: The explainer must be one of 'auto', 'additive', 'anchor', 'anchor-alibi', 'counterfactual', \
'examples', 'linear', 'sampling', 'trees', 'trees-interventional'. Got 'anchors'. Did you mean 'anchor'?
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


def choose(
    name: str, context: Context, *, settings: Mapping[str, Any] | None = None, reasons: list[str] | None = None
) -> Explainer:
    """Fit the method `name`; 'auto' takes the first that fits of linear, trees, additive and sampling.

    `settings` are those of the method's own `fit`. Why an exact method did not fit is added to `reasons`.

    Raises
    ------
    SpecError
        If nobody offers a method of this name, or it has no such setting.
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
        return cast(Explainer, _set(name, method(name).fit, settings, context))
    if settings:
        raise SpecError("The 'settings' are of one method. Got them with explainer='auto'. Name the method.")
    *exact, last = EXACT_FIRST
    for candidate in exact:
        try:
            return method(candidate).fit(context)
        except (ExplainError, UnsupportedModelError) as reason:
            if reasons is not None:
                reasons.append(f"{candidate}: {reason}")
    return method(last).fit(context)


def adjusted(explainer: Explainer, settings: Mapping[str, Any]) -> Explainer:
    """Give a fitted method with other settings; those that are left out stay as they are.

    Raises
    ------
    SpecError
        If the method has no such setting, or none that can be changed once it is fitted.
    """
    adjust = getattr(explainer, "adjusted", None)
    if adjust is None:
        raise SpecError(f"The method {explainer.method!r} has no settings to change. Got {sorted(settings)}.")
    return cast(Explainer, _set(explainer.method, adjust, settings))


def _set(name: str, make: Callable[..., Any], settings: Mapping[str, Any] | None, *given: Any) -> Any:
    given_by_name = {} if settings is None else settings
    if not isinstance(given_by_name, Mapping):
        raise SpecError(f"The 'settings' must be a table, such as {{'n': 3}}. Got {type(settings).__name__}.")
    known = sorted(key for key, each in signature(make).parameters.items() if each.kind is each.KEYWORD_ONLY)
    unknown = sorted(str(key) for key in given_by_name if key not in known)
    if unknown:
        hint = nearest(unknown[0], known)
        raise SpecError(f"The settings of the method {name!r} must be of {known}. Got {unknown}.{hint}")
    return make(*given, **given_by_name)


def requirements(name: str) -> tuple[str, ...]:
    """Name the distributions that a method needs beside ekiben to explain.

    Examples
    --------
    >>> requirements("anchor"), requirements("anchor-alibi")
    ((), ('alibi',))
    """
    return tuple(getattr(method(name), "requirements", ()))


def is_exact(name: str) -> bool:
    """Tell whether a method is exact where it applies: ekiben's own that are, or one that says `exact = True`.

    >>> is_exact("trees"), is_exact("sampling")
    (True, False)
    """
    return name in EXACT or bool(getattr(method(name), "exact", False))


def draws_rounds(explainer: object) -> bool:
    """Tell whether a method, or what it fitted, can stop after any of its rounds: it has `explain_rounds`.

    >>> draws_rounds(method("sampling")), draws_rounds(method("linear"))
    (True, False)
    """
    return callable(getattr(explainer, "explain_rounds", None))


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
    'additive'
    """
    return method(read_header(Path(folder))["method"]).load(Path(folder), context)
