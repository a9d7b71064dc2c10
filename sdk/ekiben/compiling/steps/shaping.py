"""Steps that bend numbers, or make more of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ekiben.compiling.translating import Flow, NoPlan, Scope, doubles, numeric, on, whole

UFUNCS = (
    "abs", "absolute", "arcsinh", "arctan", "cbrt", "ceil", "cos", "degrees", "exp", "exp2", "expm1", "fabs", "floor", "log",
    "log10", "log1p", "log2", "negative", "radians", "reciprocal", "rint", "sign", "sin", "sqrt", "square", "tan", "tanh",
)  # fmt: skip
WHOLE = ("cbrt", "cos", "exp", "exp2", "expm1", "fabs", "log", "log10", "log1p", "log2", "sin", "sqrt", "tan", "tanh")
LARGEST = 50_000  # numbers that a polynomial may make of a row


def power(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Bend each number by Yeo and Johnson, or by Box and Cox, and scale what comes of it."""
    doubles(flow, step)
    op = {"yeo-johnson": "yeo_johnson", "box-cox": "box_cox"}[step.method]
    made = on(flow, op, by=[float(each) for each in step.lambdas_])
    if not step.standardize:
        return made
    scaler = step._scaler  # noqa: SLF001 -- no public word on it
    return on(made, "scale", shift=scaler.mean_.tolist(), scale=scaler.scale_.tolist())


def quantile(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Give where a number stands among the quantiles, or what stands there in the normal distribution."""
    if doubles(flow, step).sparse:
        raise NoPlan("QuantileTransformer leaves the zeros of a sparse matrix")
    normal = step.output_distribution == "normal"
    return on(
        flow, "quantiles", quantiles=step.quantiles_.T.copy(), references=step.references_.tolist(), normal=normal
    )


def polynomial(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Multiply numbers with each other, each product on the one before."""
    if doubles(flow, step).sparse:
        raise NoPlan("PolynomialFeatures multiplies a sparse matrix")
    if step.n_output_features_ > LARGEST:
        raise NoPlan("PolynomialFeatures makes too many numbers")
    factors: list[list[int]] = []
    known: dict[tuple[int, ...], int] = {}
    keep = [_product(tuple(powers), known, factors) for powers in step.powers_.tolist()]
    return on(flow, "products", width=len(keep), factors=factors, keep=keep)


def _product(powers: tuple[int, ...], known: dict[tuple[int, ...], int], factors: list[list[int]]) -> int:
    """Give a product its number, having made the one without its first factor."""
    if powers in known:
        return known[powers]
    first = next((i for i, power in enumerate(powers) if power), None)
    if first is None:
        factors.append([-1, -1])
    else:
        rest = tuple(power - (i == first) for i, power in enumerate(powers))
        factors.append([_product(rest, known, factors) if any(rest) else -1, first])
    known[powers] = len(factors) - 1
    return known[powers]


def spline(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Give the splines of each number; what is beyond the knots goes on as the values and slopes at the ends say."""
    if doubles(flow, step).sparse or step.sparse_output:
        raise NoPlan("SplineTransformer makes a sparse matrix")
    if getattr(step, "handle_missing", "error") != "error":
        raise NoPlan("SplineTransformer takes missing values")
    if step.degree < 1 + (step.extrapolation == "linear"):  # its ends depend on which column is the first
        raise NoPlan(f"SplineTransformer of degree {step.degree}")
    knots = np.stack([each.t for each in step.bsplines_])
    first, last = step.degree, knots.shape[1] - step.degree - 1
    if (knots[:, first] >= knots[:, last]).any():
        raise NoPlan("SplineTransformer knows one value of a column")
    n_splines = int(step.bsplines_[0].c.shape[1])
    known = np.array([np.arange(n_splines) < first, np.arange(n_splines) >= n_splines - first])  # none else goes on
    ends = [
        [spline(t[at], nu=nu) * side for at, side in zip((first, last), known, strict=True) for nu in (0, 1)]
        for spline, t in zip(step.bsplines_, knots, strict=True)
    ]
    made = on(
        flow, "splines", width=flow.width * (n_splines - (not step.include_bias)), knots=knots, ends=np.array(ends)
    )
    told = {
        "degree": int(step.degree),
        "outside": step.extrapolation,
        "n_splines": n_splines,
        "bias": step.include_bias,
    }
    return replace(made, doc={**made.doc, **told})


def _passed_on(step: Any, flow: Flow) -> Flow:
    """Pass on what comes; a step that validates it takes numbers alone, and counts of words are never missing."""
    return whole(numeric(flow, step)) if step.validate and not flow.wide else flow


def function(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Call a function of numpy's, or none."""
    if step.func is None:
        return _passed_on(step, flow)
    name = getattr(step.func, "__name__", "")
    if type(step.func).__name__ != "ufunc" or name not in UFUNCS or step.kw_args:
        raise NoPlan("FunctionTransformer calls a function of its own")
    if flow.sparse:
        raise NoPlan("a function of numpy's takes a sparse matrix")
    kinds = {column.dtype for column in flow.facts} if flow.dtype != "int8" else {"int8"}
    doubles(flow, step)
    if not kinds <= ({"float64", "int64", "int32"} if name in WHOLE else {"float64"}):
        raise NoPlan(f"{name} of numbers that are not of 64 bits")
    made = on(flow, "ufunc", name=getattr(np, name).__name__, finite=bool(step.validate))
    return replace(made, frame=flow.frame)
