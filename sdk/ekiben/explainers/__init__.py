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
from ekiben.schema import Output

__all__ = [
    "EXACT",
    "GROUP",
    "METHODS",
    "UNITS",
    "Adapter",
    "Context",
    "Explainer",
    "Later",
    "Method",
    "adjusted",
    "choose",
    "draws_rounds",
    "in_units",
    "is_exact",
    "load",
    "method",
    "refuse_unknown_units",
    "requirements",
    "scales_of",
    "takes_units",
]

GROUP = "ekiben.explainers"
METHODS = {
    "linear": "ekiben.explainers.linear:Linear",
    "additive": "ekiben.explainers.additive:Additive",
    "trees": "ekiben.explainers.trees:Trees",
    "trees-interventional": "ekiben.explainers.trees:Interventional",
    "sampling": "ekiben.explainers.sampling:Sampling",
    "kernel-alibi": "ekiben.explainers.kernel_alibi:AlibiKernel",
    "anchor": "ekiben.explainers.anchor:Anchors",
    "anchor-alibi": "ekiben.explainers.anchor_alibi:AlibiAnchors",
    "counterfactual": "ekiben.explainers.counterfactual:Counterfactuals",
    "examples": "ekiben.explainers.examples:NearRows",
}
EXACT = ("linear", "trees", "trees-interventional", "additive")
UNITS = ("log-odds", "margin", "probability", "target")
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
'examples', 'kernel-alibi', 'linear', 'sampling', 'trees', 'trees-interventional'. Got 'anchors'. Did you mean 'anchor'?
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

    `settings` are those of the method's own `fit`; of 'auto' the `units` alone. Why an exact method did not fit is added to `reasons`.

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
    if settings and set(settings) != {"units"}:
        raise SpecError(
            "The 'settings' are of one method, but for the 'units'. Got others with explainer='auto'. Name the method."
        )
    *exact, last = EXACT_FIRST
    for candidate in exact:
        try:
            return cast(Explainer, _set(candidate, method(candidate).fit, settings, context))
        except (ExplainError, UnsupportedModelError) as reason:
            if reasons is not None:
                reasons.append(f"{candidate}: {reason}")
    return cast(Explainer, _set(last, method(last).fit, settings, context))


def in_units(name: str | None, packed: str, context: Context, settings: Mapping[str, Any]) -> Explainer:
    """Fit the method `name` on a scale, or where none is named the packed one; where that cannot explain on it, sampling.

    `settings` are those of the method, `units` among them.

    Raises
    ------
    SpecError
        If there is no such method, scale or setting.
    ExplainError
        If no method can explain this model on it.
    """
    refuse_unknown_units(settings["units"])
    candidates = [name] if name is not None else [packed, *(["sampling"] if packed != "sampling" else [])]
    *first, last = candidates
    for candidate in first:
        try:
            return _scaled(candidate, context, settings)
        except (ExplainError, UnsupportedModelError):
            continue  # the last one says what it cannot do
    return _scaled(last, context, settings)


def _scaled(name: str, context: Context, settings: Mapping[str, Any]) -> Explainer:
    if not takes_units(name):
        raise ExplainError(f"The method {name!r} explains on no other scale. Leave the 'units' out, or name a method.")
    return choose(name, context, settings=settings)


def takes_units(name: str) -> bool:
    """Tell whether a method explains on the scale that is asked for.

    >>> takes_units("sampling"), takes_units("anchor")
    (True, False)
    """
    return "units" in signature(method(name).fit).parameters


def scales_of(output: Output) -> tuple[str, ...]:
    """Name the scales that a model's answers may have, as far as their parts say.

    >>> scales_of(Output(parts=("value",)))
    ('target', 'margin')
    """
    if "scores" in output.parts:
        return "probability", "log-odds", "margin"
    return ("target", "margin") if "value" in output.parts else ("margin",)


def refuse_unknown_units(units: Any) -> None:
    """Refuse a scale that no method knows.

    >>> refuse_unknown_units("logodds")
    Traceback (most recent call last):
    ekiben.errors.SpecError: The 'units' must be one of 'log-odds', 'margin', 'probability', 'target'. Got 'logodds'. \
Did you mean 'log-odds'?
    """
    if units not in UNITS:
        raise SpecError(
            f"The 'units' must be one of {', '.join(map(repr, UNITS))}. Got {units!r}.{nearest(str(units), UNITS)}"
        )


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
    if "units" in given_by_name:
        refuse_unknown_units(given_by_name["units"])
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
