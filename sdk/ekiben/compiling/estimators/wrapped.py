"""Models around one model: calibrated, cut at another threshold, of a transformed target, or just fitted otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ekiben.compiling import members
from ekiben.compiling.nodes import Doc
from ekiben.compiling.translating import Flow, Head, HeadTranslator, NoPlan, Scope, chain, is_of, joined, on, picked

LARGEST = {"rule": "largest"}


def around(name: str) -> HeadTranslator:
    """Translate the model that another one holds under a name."""
    return lambda model, flow, scope: scope.heads(getattr(model, name), flow, scope)


# ── calibration ─────────────────────────────────────────────────────────────────────────────────────────────────────


def calibrated(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Average what the calibrated members answer."""
    shared, n_classes = scope.share(flow), len(model.classes_)
    parts = [_calibrated(member, shared, scope) for member in model.calibrated_classifiers_]
    core = members.summed(parts, by=len(parts))
    return [Head(core=core, label=LARGEST, scores=chain(n_classes))]


def _calibrated(member: Any, flow: Flow, scope: Scope) -> Flow:
    classes, known = [_plain(each) for each in member.classes], members.classes_of(member.estimator)
    by_decision = hasattr(member.estimator, "decision_function")
    head = members.only(member.estimator, flow, scope)
    said = members.decision(head, len(known)) if by_decision else members.scores(head, len(known))
    if member.method == "temperature":
        return _tempered(said, member.calibrators[0], by_decision=by_decision)
    if len(known) == 2 and not by_decision:
        said = picked(said, [1])
    chances = _chances(scope.share(said), member)
    if len(classes) == 2:
        return Flow(doc={"op": "pair", "of": chances.doc}, width=2)
    placed = chances
    if known != classes:
        padded = joined([chances, Flow(doc={"op": "constant", "numbers": [0.0]}, width=1)])
        placed = picked(padded, [known.index(each) if each in known else len(known) for each in classes])
    return Flow(doc={"op": "shares", "of": placed.doc}, width=len(classes))


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label


def _chances(said: Flow, member: Any) -> Flow:
    """Turn each number into a chance by its own calibrator."""
    if member.method == "isotonic":
        return joined([_isotonic(each, picked(said, [i])) for i, each in enumerate(member.calibrators)])
    scale, add = [-float(each.a_) for each in member.calibrators], [-float(each.b_) for each in member.calibrators]
    return on(on(said, "stretch", scale=scale, add=add), "sigmoid")


def _isotonic(calibrator: Any, flow: Flow) -> Flow:
    clips = calibrator.out_of_bounds == "clip"
    at, values = calibrator.X_thresholds_, calibrator.y_thresholds_
    if at.dtype != np.float64 or values.dtype != np.float64:
        raise NoPlan("an isotonic calibration computes in 32 bits")
    low, high = (float(calibrator.X_min_), float(calibrator.X_max_)) if clips else (None, None)
    return on(flow, "steps", at=at.tolist(), values=values.tolist(), low=low, high=high)


def _tempered(said: Flow, calibrator: Any, *, by_decision: bool) -> Flow:
    """Cool margins by a temperature: chances by their logarithms."""
    if not by_decision:
        raised = on(said, "stretch", scale=[1.0] * said.width, add=[1e-12] * said.width)
        said = on(raised, "ufunc", name="log", finite=False)
    elif said.width == 1:
        both: Doc = {"op": "linear", "of": said.doc, "coef": [[-1.0], [1.0]], "intercept": [0.0, 0.0]}
        said = Flow(doc=both, width=2)
    cooled = on(said, "stretch", scale=[float(calibrator.beta_)] * said.width, add=[0.0] * said.width)
    return on(cooled, "softmax")


def isotonic(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with what the rising line gives for the only number."""
    if flow.width != 1:
        raise NoPlan("IsotonicRegression takes one number")
    return [Head(core=_isotonic(model, flow), value=chain(1))]


# ── thresholds ──────────────────────────────────────────────────────────────────────────────────────────────────────


def fixed_threshold(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Take the positive class from the threshold on that was named."""
    inner = getattr(model, "estimator_", model.estimator)
    by_chance = _by_chance(model, inner)
    at = (0.5 if by_chance else 0.0) if model.threshold == "auto" else float(model.threshold)
    return _cut(model, inner, flow, scope, at, model.pos_label)


def tuned_threshold(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Take the positive class from the threshold on that was found."""
    positive = model._curve_scorer._get_pos_label()  # noqa: SLF001 -- no public word on it
    return _cut(model, model.estimator_, flow, scope, float(model.best_threshold_), positive)


def _by_chance(model: Any, inner: Any) -> bool:
    method = model.response_method
    return hasattr(inner, "predict_proba") if method == "auto" else bool(method == "predict_proba")


def _cut(model: Any, inner: Any, flow: Flow, scope: Scope, at: float, positive: Any) -> list[Head]:
    head, classes = members.only(inner, flow, scope), members.classes_of(inner)
    place = 1 if positive is None else classes.index(positive)
    scored = hasattr(model, "predict_proba") and head.scores is not None
    if _by_chance(model, inner):
        if head.scores is None:
            raise NoPlan(f"{type(inner).__name__} has no probabilities that a plan knows")
        seen: Doc = {"op": "select", "of": head.scores, "keep": [place]}
    elif head.decision is None:
        raise NoPlan(f"{type(inner).__name__} has no decision function that a plan knows")
    else:
        seen = head.decision if place == 1 else _negative(head.decision)
    label: dict[str, Any] = {"rule": "above", "at": at, "strict": False, "of": seen}
    if place == 0:  # below the threshold is the second class
        label = {"rule": "above", "at": -at, "strict": True, "of": _negative(seen)}
    return [Head(core=head.core, label=label, scores=head.scores if scored else None, decision=head.decision)]


def _negative(doc: Doc) -> Doc:
    return {"op": "stretch", "of": doc, "scale": [-1.0], "add": [0.0]}


# ── targets ─────────────────────────────────────────────────────────────────────────────────────────────────────────

# numpy's functions by the names that a plan knows
UFUNCS = (
    "cbrt", "exp", "exp2", "expm1", "log", "log10", "log1p", "log2", "negative", "reciprocal", "sqrt", "square",
)  # fmt: skip


def transformed_target(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Turn what the regressor answers back into the target."""
    heads = scope.heads(model.regressor_, flow, scope)
    back = _back(model.transformer_, len(heads))
    return [Head(core=head.core, value=back(i, _value(head))) for i, head in enumerate(heads)]


def _value(head: Head) -> Doc:
    if head.value is None:
        raise NoPlan("TransformedTargetRegressor holds a classifier")
    return head.value


def _back(transformer: Any, n_outputs: int) -> Callable[[int, Doc], Doc]:
    """Give the function that puts, for an output, the way back of a transformer on a node."""
    name = type(transformer).__name__
    if not is_of(transformer, "sklearn") or name not in BACK:
        raise NoPlan(f"{name} has no way back that a plan knows")
    return BACK[name](transformer, n_outputs)


def _by_function(transformer: Any, n_outputs: int) -> Callable[[int, Doc], Doc]:
    function = transformer.inverse_func
    if function is None:
        return lambda _, doc: doc
    name = getattr(function, "__name__", "")
    if name not in UFUNCS or getattr(np, name, None) is not function or transformer.inv_kw_args:
        raise NoPlan("a target is turned back by a function of its own")
    return lambda _, doc: {"op": "ufunc", "of": doc, "name": name, "finite": False}


def _multiplied(scale: Sequence[float] | None, add: Sequence[float] | None) -> Callable[[int, Doc], Doc]:
    def back(i: int, doc: Doc) -> Doc:
        one = 1.0 if scale is None else float(scale[i])
        return {"op": "stretch", "of": doc, "scale": [one], "add": [0.0 if add is None else float(add[i])]}

    return back


def _standard(transformer: Any, n_outputs: int) -> Callable[[int, Doc], Doc]:
    return _multiplied(
        transformer.scale_ if transformer.with_std else None, transformer.mean_ if transformer.with_mean else None
    )


def _robust(transformer: Any, n_outputs: int) -> Callable[[int, Doc], Doc]:
    return _multiplied(
        transformer.scale_ if transformer.with_scaling else None,
        transformer.center_ if transformer.with_centering else None,
    )


def _min_max(transformer: Any, n_outputs: int) -> Callable[[int, Doc], Doc]:
    return lambda i, doc: {
        "op": "scale",
        "of": doc,
        "shift": [float(transformer.min_[i])],
        "scale": [float(transformer.scale_[i])],
    }


def _max_abs(transformer: Any, n_outputs: int) -> Callable[[int, Doc], Doc]:
    return _multiplied(transformer.scale_, None)


def _quantiles(transformer: Any, n_outputs: int) -> Callable[[int, Doc], Doc]:
    """Go back from shares of the values that were seen to these."""
    if transformer.output_distribution != "uniform":
        raise NoPlan("a target is turned back from a bell curve")
    at = np.asarray(transformer.references_, dtype=np.float64).tolist()
    values = np.asarray(transformer.quantiles_, dtype=np.float64)
    return lambda i, doc: {"op": "steps", "of": doc, "at": at, "values": values[:, i].tolist(), "low": 0.0, "high": 1.0}


BACK: dict[str, Callable[[Any, int], Callable[[int, Doc], Doc]]] = {
    "FunctionTransformer": _by_function,
    "MaxAbsScaler": _max_abs,
    "MinMaxScaler": _min_max,
    "QuantileTransformer": _quantiles,
    "RobustScaler": _robust,
    "StandardScaler": _standard,
}
