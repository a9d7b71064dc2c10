"""Exact Shapley values of models that are linear behind their preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from ekiben.errors import ExplainError
from ekiben.explainers._columns import Rows, dense, feature_owners, fold, matching_owners
from ekiben.explainers._context import Context, Matrix, Transform
from ekiben.explainers._header import read_header, write_header
from ekiben.explainers._outputs import described, label_of, measured_units, picked, softmax
from ekiben.explainers._store import read_array
from ekiben.explanations import Attribution, Explanation, Units

TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Interventional Shapley values in closed form, folded back to raw columns.

    Where every transformed feature depends on one raw column, column c adds the sum of w_j (t_j(x) - E[t_j]) over its
    features j, E being over the reference [1]_. Binary classifiers are explained in log-odds of the second class,
    others by the score of the predicted class, regressors by the target.

    References
    ----------
    .. [1] Strumbelj, Kononenko, "Explaining prediction models and individual predictions with feature
       contributions", 2014.
    """

    method: ClassVar[str] = "linear"

    context: Context
    transform: Transform
    estimator: Any
    owners: Rows
    means: Matrix
    units: Units
    centred: bool

    @classmethod
    def fit(cls, context: Context) -> Linear:
        """Find which column moves each feature, and prove on the reference that the model is linear in them."""
        reference = context.reference_rows(cls.method)
        transform, estimator = context.adapter.steps(context.model)
        if not (hasattr(estimator, "coef_") and hasattr(estimator, "intercept_")):
            raise ExplainError(_refusal(estimator, "has no coefficients"))
        matrix = dense(transform, reference)
        margins = _asked(estimator, matrix)
        _refuse_curved(estimator, matrix, margins)
        margins = context.own(margins)
        units, centred = _scale(context, estimator, reference, margins)
        owners = feature_owners(transform, reference, context.schema)
        return cls(
            context=context,
            transform=transform,
            estimator=estimator,
            owners=owners,
            means=matrix.mean(axis=0),
            units=units,
            centred=centred,
        )

    def explain(self, frame: pd.DataFrame, *, seed: int = 0) -> list[Explanation]:  # noqa: ARG002 -- draws nothing
        """Explain each row, exactly."""
        started = perf_counter()
        matrix = dense(self.transform, self.context.rows(frame))
        weights, intercepts = _weights(self.estimator)
        weights, intercepts = self.context.own(weights.T).T, self.context.own(intercepts[None])[0]
        if self.centred:
            weights, intercepts = weights - weights.mean(axis=0), intercepts - intercepts.mean()
        margins = matrix @ weights.T + intercepts  # proved equal to the estimator's own when fitted
        outputs = picked(margins)
        parts = (matrix - self.means) * weights[outputs]
        folded = [fold(row, self.owners, self.context.names) for row in parts]
        bases = weights @ self.means + intercepts
        elapsed_ms = (perf_counter() - started) * 1e3 / max(len(matrix), 1)
        return [
            Attribution.of(
                method="linear-interventional",
                output=self._said(int(output), margins.shape[1]),
                units=self.units,
                base_value=float(bases[output]),
                value=float(margin[output]),
                contributions=contributions,
                elapsed_ms=elapsed_ms,
            )
            for output, margin, contributions in zip(outputs, margins, folded, strict=True)
        ]

    def _said(self, output: int, n_outputs: int) -> str:
        if self.centred:
            return f"centred logit of {label_of(self.context, output, n_outputs)!r}"
        return described(self.context, self.units, output, n_outputs)

    def save(self, folder: Path) -> None:
        """Write the owner and the mean of each feature; the coefficients are the model's."""
        write_header(folder, self.method, units=self.units, centred=self.centred)
        np.save(folder / "owners.npy", self.owners, allow_pickle=False)
        np.save(folder / "means.npy", self.means, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Linear:
        """Read what `save` wrote; no reference is needed."""
        header = read_header(folder)
        transform, estimator = context.adapter.steps(context.model)
        owners = read_array(folder / "owners.npy")
        return cls(
            context=context,
            transform=transform,
            estimator=estimator,
            owners=matching_owners(owners, _weights(estimator)[0].shape[1]),
            means=read_array(folder / "means.npy"),
            units=header["units"],
            centred=header["centred"],
        )


def _weights(estimator: Any) -> tuple[Matrix, Matrix]:
    """Take coefficients of shape (n_outputs, n_features), and intercepts of shape (n_outputs,)."""
    weights = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
    return weights, np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64), weights.shape[:1])


def _asked(estimator: Any, matrix: Matrix) -> Matrix:
    """Ask the estimator itself for its scores before any link, of shape (n_rows, n_outputs)."""
    ask = getattr(estimator, "decision_function", None) or estimator.predict
    names = getattr(estimator, "feature_names_in_", None)
    data = matrix if names is None else pd.DataFrame(matrix, columns=names)
    return np.asarray(ask(data), dtype=np.float64).reshape(len(matrix), -1)


def _refuse_curved(estimator: Any, matrix: Matrix, margins: Matrix) -> None:
    weights, intercepts = _weights(estimator)
    known = weights.shape == (margins.shape[1], matrix.shape[1])
    if not known or not np.allclose(matrix @ weights.T + intercepts, margins, rtol=TOLERANCE, atol=TOLERANCE):
        raise ExplainError(_refusal(estimator, "answers otherwise than its coefficients do"))


def _refusal(estimator: Any, reason: str) -> str:
    return (
        "The method 'linear' takes a model whose last step is linear in its features. "
        f"Got {type(estimator).__name__}, which {reason}. Explain it with the method 'sampling'."
    )


def _scale(context: Context, estimator: Any, reference: pd.DataFrame, margins: Matrix) -> tuple[Units, bool]:
    """Find the units, and whether logits are known up to a shift only and so must be centred."""
    if context.classes and not hasattr(estimator, "predict_proba"):
        return "margin", False
    scores = context.scores(reference)
    units = measured_units(context, margins, scores, tolerance=TOLERANCE)
    several = margins.shape[1] > 1
    return units, several and np.allclose(softmax(margins), scores, rtol=0, atol=TOLERANCE)
