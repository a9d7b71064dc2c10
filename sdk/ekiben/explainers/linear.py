"""Exact Shapley values of models that are linear behind their preprocessing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from operator import mul
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ekiben.compiling import Node, Row, Table, finite, finite_row
from ekiben.errors import ExplainError
from ekiben.explainers._columns import Folding, Rows, dense, feature_owners, matching_owners, named, refuse_wide
from ekiben.explainers._context import Context, Matrix
from ekiben.explainers._header import read_array, read_header, write_header
from ekiben.explainers._outputs import explains, measured_units, refuse_other_ranks, softmax
from ekiben.explainers.linked import Linked, in_units
from ekiben.explanations import Explanation, Units, from_json
from ekiben.explanations.attribution import gap, template
from ekiben.tables import as_columns, as_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

TOLERANCE = 1e-9
FEW = 8  # rows whose features are made one by one


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
    by_plan: ClassVar[bool] = True

    context: Context
    features: Callable[[pd.DataFrame], Matrix]
    weights: Matrix
    intercepts: Matrix
    owners: Rows
    means: Matrix
    units: Units
    centred: bool
    below: Node | None = None
    sums: Sums = field(init=False)
    said: list[dict[str, Any]] = field(init=False)  # of each output, what travels but for the numbers
    names: list[str] = field(init=False)  # of the raw columns

    def __post_init__(self) -> None:
        """Prepare to weigh one row after the other, and what is said of each output."""
        object.__setattr__(self, "names", self.context.names)
        fold = Folding(self.owners, self.names)
        object.__setattr__(self, "sums", Sums(self.weights, self.intercepts, self.means, fold))
        n_outputs = len(self.weights)
        said = [template(method="linear-interventional", **self._said(each, n_outputs)) for each in range(n_outputs)]
        object.__setattr__(self, "said", said)

    @classmethod
    def fit(cls, context: Context, *, units: Units | None = None) -> Linear | Linked:
        """Find which column moves each feature, and prove on the reference that the model is linear in them.

        `units` is the scale: by default that of the sum; else `probability`, `margin`, or the `target` behind a link.
        """
        made: Linear | Linked = in_units(cls._fitted(context), units, name=cls.method)
        return made

    @classmethod
    def _fitted(cls, context: Context) -> Linear:
        reference = context.reference_rows(cls.method)
        transform, estimator = context.adapter.steps(context.live)
        if not (hasattr(estimator, "coef_") and hasattr(estimator, "intercept_")):
            raise ExplainError(_refusal(estimator, "has no coefficients"))
        refuse_wide(transform, reference, cls.method)
        matrix = dense(transform, reference)
        margins = asked(estimator, matrix)
        _refuse_curved(estimator, matrix, margins)
        margins = context.own(margins)
        units, centred = _scale(context, estimator, reference, margins)
        owners = feature_owners(transform, reference, context.schema, context.known)
        weights, intercepts = _own(context, *_weights(estimator), centred=centred)
        return cls(
            context=context,
            features=partial(dense, transform),
            weights=weights,
            intercepts=intercepts,
            owners=owners,
            means=matrix.mean(axis=0),
            units=units,
            centred=centred,
        )

    def explain(self, frame: pd.DataFrame, *, seed: int = 0) -> list[Explanation]:  # noqa: ARG002 -- draws nothing
        """Explain each row, exactly."""
        started = perf_counter()
        return list(map(from_json, self._told(self.features(self.context.rows(frame)).tolist(), started)))

    @property
    def quick(self) -> bool:
        """Whether an explanation needs the plan alone."""
        return self.below is not None

    def explain_columns(self, columns: Sequence[Sequence[Any]], _n_rows: int) -> list[Explanation] | None:
        """Explain rows that come as columns of plain values, without a frame; None where the model has no plan."""
        if self.below is None:
            return None
        return list(map(from_json, self.documents(list(zip(*columns, strict=True)))))

    def documents(self, rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
        """Explain rows of plain values by the plan, and give what travels of the explanations."""
        started, below = perf_counter(), self.below
        assert below is not None
        if len(rows) <= FEW:
            return self._told([below.row(Row.of(row)) for row in rows], started)
        columns = list(zip(*rows, strict=True))
        return self._told(below.block(Table(columns, len(rows))).tolist(), started)

    def _told(self, rows: Sequence[Sequence[float]], started: float) -> list[dict[str, Any]]:
        told = [self.sums.of(row) for row in rows]
        finite_row([value for _, value, _ in told])  # a number that a step lost makes no sum, and no answer
        elapsed_ms = (perf_counter() - started) * 1e3 / max(len(rows), 1)
        bases, said, names = self.sums.bases, self.said, self.names
        return [
            {
                **said[output],
                "base_value": bases[output],
                "value": value,
                "contributions": dict(zip(names, amounts, strict=True)),
                "faithfulness_error": gap(bases[output], value, amounts),
                "elapsed_ms": elapsed_ms,
            }
            for output, value, amounts in told
        ]

    def says(self, columns: Sequence[Sequence[Any]], n_rows: int) -> tuple[Matrix, Matrix]:
        """Tell what each column adds to the bases: (n_rows, n_columns, n_outputs), and the bases: (n_outputs,)."""
        if self.below is not None:
            features = self.below.block(Table(columns, n_rows))
        else:
            features = self.features(as_frame(dict(zip(self.context.names, columns, strict=True)), self.context.schema))
        fold = Folding(self.owners, self.context.names)
        moved = finite((features - self.means)[:, None] * self.weights)
        told = [[list(fold(parts).values()) for parts in row] for row in moved.tolist()]
        return np.array(told).transpose(0, 2, 1), np.array(self.sums.bases)

    def _said(self, output: int, n_outputs: int) -> dict[str, Any]:
        return explains(self.context, self.units, output, n_outputs, centred=self.centred)

    def save(self, folder: Path) -> None:
        """Write the owner and the mean of each feature; the coefficients are the model's."""
        write_header(folder, self.method, units=self.units, centred=self.centred)
        np.save(folder / "owners.npy", self.owners, allow_pickle=False)
        np.save(folder / "means.npy", self.means, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Linear | Linked:
        """Read what `save` wrote; no reference is needed."""
        made: Linear | Linked = Linked.load(cls._loaded(folder, context), folder)
        return made

    @classmethod
    def _loaded(cls, folder: Path, context: Context) -> Linear:
        header = read_header(folder)
        found = _of_plan(context) or _of_model(context)
        weights, intercepts = _own(context, found.weights, found.intercepts, centred=header["centred"])
        return cls(
            context=context,
            features=found.features,
            weights=weights,
            intercepts=intercepts,
            owners=matching_owners(read_array(folder / "owners.npy"), weights.shape[1]),
            means=read_array(folder / "means.npy"),
            units=header["units"],
            centred=header["centred"],
            below=found.below,
        )


class Sums:
    """The weighed sums of a linear model, of one row after the other: proved equal to the estimator's own when fitted."""

    def __init__(self, weights: Matrix, intercepts: Matrix, means: Matrix, fold: Folding) -> None:
        self.n_outputs = len(weights)
        self.bases: list[float] = (
            (weights * means).sum(axis=1) + intercepts
        ).tolist()  # not `@`: BLAS adds by its threads
        self._weights: list[list[float]] = weights.tolist()
        self._intercepts: list[float] = intercepts.tolist()
        starts = [fold.summed((-each * means).tolist()) for each in weights]
        known = zip(self._weights, starts, self._intercepts, strict=True)
        self._weighings = [fold.weighing(*each) for each in known]

    def of(self, row: Sequence[float]) -> tuple[int, float, list[float]]:
        """Give the explained output, its sum for a row, and what each raw column added to its base."""
        output = 0
        if self.n_outputs > 1:
            known = zip(self._intercepts, self._weights, strict=True)
            sums = [intercept + sum(map(mul, weights, row)) for intercept, weights in known]
            output = max(range(self.n_outputs), key=sums.__getitem__)
        return (output, *self._weighings[output](row))


class _Form(NamedTuple):
    """What is linear in a model: its features, of a frame and by a node of the plan, and how they are weighed."""

    features: Callable[[pd.DataFrame], Matrix]
    weights: Matrix
    intercepts: Matrix
    below: Node | None = None


def _of_plan(context: Context) -> _Form | None:
    """Take features and coefficients from the plan, which needs no library."""
    node = None if context.plan is None else context.plan.linear
    if node is None:
        return None
    below = node.of

    def features(frame: pd.DataFrame) -> Matrix:
        found: Matrix = below.block(Table(as_columns(frame), len(frame)))
        return found

    return _Form(features, node.coef, node.intercept, below)


def _of_model(context: Context) -> _Form:
    transform, estimator = context.adapter.steps(context.live)
    return _Form(partial(dense, transform), *_weights(estimator))


def _own(context: Context, weights: Matrix, intercepts: Matrix, *, centred: bool) -> tuple[Matrix, Matrix]:
    """Keep the weights of the explained output, and centre those of logits that are known up to a shift only."""
    weights, intercepts = context.own(weights.T).T, context.own(intercepts[None])[0]
    return (weights - weights.mean(axis=0), intercepts - intercepts.mean()) if centred else (weights, intercepts)


def _weights(estimator: Any) -> tuple[Matrix, Matrix]:
    """Take coefficients of shape (n_outputs, n_features), and intercepts of shape (n_outputs,)."""
    weights = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
    return weights, np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64), weights.shape[:1])


def asked(estimator: Any, matrix: Matrix) -> Matrix:
    """Ask the estimator itself for its scores before any link, of shape (n_rows, n_outputs)."""
    ask = getattr(estimator, "decision_function", None) or estimator.predict
    names = getattr(estimator, "feature_names_in_", None)
    data: Any = matrix
    if names is not None:
        import pandas as pd

        data = pd.DataFrame(matrix, columns=names)
    return np.asarray(ask(data), dtype=np.float64).reshape(len(matrix), -1)


def _refuse_curved(estimator: Any, matrix: Matrix, margins: Matrix) -> None:
    weights, intercepts = _weights(estimator)
    known = weights.shape == (margins.shape[1], matrix.shape[1])
    if not known or not np.allclose(matrix @ weights.T + intercepts, margins, rtol=TOLERANCE, atol=TOLERANCE):
        raise ExplainError(_refusal(estimator, "answers otherwise than its coefficients do"))


def _refusal(estimator: Any, reason: str) -> str:
    return (
        "The method 'linear' takes a model whose last step is linear in its features. "
        f"Got {named(estimator)}, which {reason}. Explain it with the method 'sampling'."
    )


def _scale(context: Context, estimator: Any, reference: pd.DataFrame, margins: Matrix) -> tuple[Units, bool]:
    """Find the units, and whether logits are known up to a shift only and so must be centred."""
    scores = context.scores(reference)
    if context.classes and not hasattr(estimator, "predict_proba"):
        refuse_other_ranks(margins, scores)  # of machines for pairs of classes there are as many margins as pairs
        return "margin", False
    units = measured_units(context, margins, scores, tolerance=TOLERANCE)
    several = margins.shape[1] > 1
    return units, several and np.allclose(softmax(margins), scores, rtol=0, atol=TOLERANCE)
