"""Models that keep rows, and answer by how alike a row is to them: support vectors, kernel ridge, Gaussian processes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from ekiben.compiling.nodes import Doc
from ekiben.compiling.translating import (
    Flow,
    Head,
    NoPlan,
    Scope,
    chain,
    doubles,
    each_number,
    joined,
    numeric,
    picked,
)

LARGEST_KEPT = 2_000_000  # numbers of kept rows, above which a plan is slower than the model


def alike(model: Any, flow: Flow, kernel: Doc, vectors: Any, coef: Any, intercept: Any) -> Flow:
    """Weigh how alike a row is to the kept ones: `coef` has shape (n_numbers, n_vectors)."""
    kept = kept_rows(vectors, model)
    doc = {"op": "alike", "of": numeric(flow, model).doc, "kernel": kernel, "vectors": kept}
    return Flow(doc={**doc, "coef": np.asarray(coef), "intercept": np.asarray(intercept)}, width=len(intercept))


def kept_rows(vectors: Any, model: Any) -> Any:
    """Give the kept rows as a dense array."""
    kept = np.asarray(_dense(vectors), dtype=np.float64)
    if kept.size > LARGEST_KEPT:
        raise NoPlan(f"{type(model).__name__} keeps too many rows")
    return kept


def _dense(matrix: Any) -> Any:
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix


# ── support vectors ─────────────────────────────────────────────────────────────────────────────────────────────────


def _kernel(model: Any, gamma: float) -> Doc:
    name = model.kernel
    if name == "linear":
        return {"kernel": "linear"}
    if name in ("rbf", "laplacian"):
        return {"kernel": name, "gamma": gamma}
    if name in ("poly", "polynomial"):
        return {"kernel": "poly", "gamma": gamma, "add": float(model.coef0), "degree": model.degree}
    if name == "sigmoid":
        return {"kernel": name, "gamma": gamma, "add": float(model.coef0)}
    raise NoPlan(f"{type(model).__name__} has a kernel of its own")


def support_regressor(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with the weighed sum: SVR, NuSVR."""
    kernel = _kernel(model, float(model._gamma))  # noqa: SLF001 -- the number that 'scale' became
    core = alike(model, flow, kernel, model.support_vectors_, _dense(model.dual_coef_), model.intercept_)
    return [Head(core=core, value=chain(1))]


def support_classifier(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer by duels, one a pair of classes: SVC, NuSVC."""
    kernel = _kernel(model, float(model._gamma))  # noqa: SLF001 -- the number that 'scale' became
    coef = _duelling(np.asarray(_dense(model._dual_coef_)), model.n_support_)
    margins = alike(model, flow, kernel, model.support_vectors_, coef, model._intercept_)
    n_classes = len(model.classes_)
    return [
        Head(
            core=margins,
            label=_voted(model, n_classes),
            scores=_coupled(model, margins.width, n_classes) if hasattr(model, "predict_proba") else None,
            decision=_decision(model, margins.width, n_classes),
        )
    ]


def _duelling(dual: Any, n_support: Any) -> Any:
    """Give each duel the weights of its two classes' vectors, and 0 for those of others."""
    ends = list(pairwise([0, *np.cumsum(n_support).tolist()]))
    rows = []
    for i, (start, end) in enumerate(ends):
        for j in range(i + 1, len(ends)):
            row = np.zeros(dual.shape[1])
            row[start:end] = dual[j - 1, start:end]
            row[slice(*ends[j])] = dual[i, slice(*ends[j])]
            rows.append(row)
    return np.array(rows)


def _voted(model: Any, n_classes: int) -> Mapping[str, Any]:
    if n_classes == 2:
        return {"rule": "above", "at": 0.0, "strict": False, "of": _turned(1)}
    if model.break_ties:
        return {"rule": "largest", "of": _shaped(n_classes)}
    return {"rule": "largest", "of": {"op": "duels", "of": chain(_n_duels(n_classes)), "n_classes": n_classes}}


def _n_duels(n_classes: int) -> int:
    return n_classes * (n_classes - 1) // 2


def _turned(width: int) -> Doc:
    """Turn the sign of the margins: libsvm gives what is above 0 to the first class, the library to the second."""
    return {"op": "stretch", "of": chain(width), "scale": [-1.0] * width, "add": [0.0] * width}


def _shaped(n_classes: int) -> Doc:
    """Give one number a class: its votes, and between equal ones its margins."""
    turned = _turned(_n_duels(n_classes))
    said = {"op": "join", "parts": [{"op": "exceeds", "of": turned, "threshold": 0.0}, turned]}
    return {"op": "confidence", "of": said, "n_classes": n_classes}


def _decision(model: Any, n_duels: int, n_classes: int) -> Doc | None:
    if n_classes == 2:
        return _turned(1)
    if model.decision_function_shape == "ovr":
        return _shaped(n_classes)
    return chain(n_duels) if n_duels == n_classes else None


def _coupled(model: Any, n_duels: int, n_classes: int) -> Doc:
    slopes, offsets = model._probA.tolist(), model._probB.tolist()  # noqa: SLF001 -- their public names are going
    return {
        "op": "coupled",
        "of": chain(n_duels),
        "slopes": slopes,
        "offsets": offsets,
        "n_classes": n_classes,
    }


# ── ridge and label propagation ─────────────────────────────────────────────────────────────────────────────────────


def ridge(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with the weighed sum, one an output: KernelRidge."""
    gamma = 1.0 / flow.width if model.gamma is None else float(model.gamma)
    if model.kernel == "precomputed" or model.kernel_params:
        raise NoPlan("KernelRidge has a kernel of its own")
    dual = np.asarray(model.dual_coef_, dtype=np.float64).reshape(len(model.dual_coef_), -1).T
    core = alike(model, doubles(flow, model), _kernel(model, gamma), model.X_fit_, dual, np.zeros(len(dual)))
    return [Head(core=each, value=chain(1)) for each in each_number(core, scope)]


def label_propagation(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with the labels that reach a row: LabelPropagation, LabelSpreading by their rbf kernel."""
    if model.kernel != "rbf":
        raise NoPlan(f"{type(model).__name__} takes other rows than the model would where several are as near")
    known = np.asarray(model.label_distributions_, dtype=np.float64).T
    kernel = {"kernel": "rbf", "gamma": float(model.gamma)}
    core = alike(model, doubles(flow, model), kernel, model.X_, known, np.zeros(len(known)))
    shares = Flow(doc={"op": "shares", "of": core.doc, "strict": True}, width=core.width)
    return [Head(core=shares, label={"rule": "largest"}, scores=chain(core.width))]


# ── Gaussian processes ──────────────────────────────────────────────────────────────────────────────────────────────


def _gaussian(kernel: Any) -> Doc:
    """Translate a kernel of kernels."""
    name = type(kernel).__name__
    if name in ("Sum", "Product"):
        return {"kernel": name.lower(), "parts": [_gaussian(kernel.k1), _gaussian(kernel.k2)]}
    if name == "Exponentiation":
        return {"kernel": "exponent", "of": _gaussian(kernel.kernel), "power": float(kernel.exponent)}
    simple = {
        "ConstantKernel": lambda: {"kernel": "constant", "value": float(kernel.constant_value)},
        "WhiteKernel": lambda: {"kernel": "white", "level": float(kernel.noise_level)},
        "RBF": lambda: {"kernel": "rbf", "gamma": 0.5, "scale": _scale(kernel)},
        "Matern": lambda: {"kernel": "matern", "nu": _nu(kernel), "scale": _scale(kernel)},
        "DotProduct": lambda: {"kernel": "dot", "add": float(kernel.sigma_0) ** 2},
        "RationalQuadratic": lambda: {
            "kernel": "quadratic",
            "alpha": float(kernel.alpha),
            "length": float(kernel.length_scale),
        },
    }
    if name not in simple:
        raise NoPlan(f"the kernel {name} has no plan")
    return simple[name]()


def _scale(kernel: Any) -> list[float]:
    return [float(each) for each in np.ravel(kernel.length_scale)]


def _nu(kernel: Any) -> float:
    if kernel.nu not in (0.5, 1.5, 2.5):
        raise NoPlan("a Matern kernel of this nu has no plan")
    return float(kernel.nu)


def gaussian_regressor(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with the mean of the process."""
    alpha = np.asarray(model.alpha_, dtype=np.float64).reshape(len(model.alpha_), -1).T
    core = alike(model, flow, _gaussian(model.kernel_), model.X_train_, alpha, np.zeros(len(alpha)))
    scale = np.broadcast_to(model._y_train_std, (core.width,)).tolist()  # noqa: SLF001 -- no public word on it
    add = np.broadcast_to(model._y_train_mean, (core.width,)).tolist()  # noqa: SLF001
    doc = {"op": "stretch", "of": core.doc, "scale": scale, "add": add}
    return [Head(core=each, value=chain(1)) for each in each_number(Flow(doc=doc, width=core.width), scope)]


def gaussian_classifier(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with the chances of two classes, or of each against the rest."""
    base, n_classes = model.base_estimator_, len(model.classes_)
    if n_classes == 2:
        return [_two_classes(_latent(base, flow))]
    if model.multi_class == "one_vs_one":
        raise NoPlan("GaussianProcessClassifier lets pairs of classes vote")
    shared = scope.share(numeric(flow, model))
    found = joined([_latent(each, shared) for each in base.estimators_])
    told = Flow(doc=chain(found.width), width=found.width)
    chances = picked(told, range(1, found.width, 2))
    label = {"rule": "largest", "of": chances.doc}
    return [Head(core=found, label=label, scores={"op": "shares", "of": chances.doc})]


def _latent(model: Any, flow: Flow) -> Flow:
    """Give the latent mean and the chance of the second class."""
    vectors = kept_rows(model.X_train_, model)
    if len(vectors) > LARGEST_SPREAD:
        raise NoPlan("GaussianProcessClassifier keeps too many rows")
    coef = model.y_train_ - model.pi_
    spread = np.linalg.solve(model.L_, np.diag(model.W_sr_))
    doc = {"op": "laplace", "of": numeric(flow, model).doc, "kernel": _gaussian(model.kernel_), "vectors": vectors}
    return Flow(doc={**doc, "coef": coef, "spread": spread}, width=2)


LARGEST_SPREAD = 1000


def _two_classes(core: Flow) -> Head:
    chance = {"op": "select", "of": chain(2), "keep": [1]}
    label = {"rule": "above", "at": 0.0, "strict": True}
    return Head(core=core, label=label, scores={"op": "pair", "of": chance})
