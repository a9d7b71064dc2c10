"""On which scale a model is asked: its own answers, their log-odds, or what lies below its links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ekiben.compiling import NO_ANSWER, Grown, Plan, Table
from ekiben.errors import ExplainError
from ekiben.explainers._context import Context, Matrix
from ekiben.explainers._outputs import apart, explains, measured_units, softmax, units_of_scores
from ekiben.explanations import Units
from ekiben.models import numbers
from ekiben.tables import as_columns

if TYPE_CHECKING:
    import pandas as pd

Columns: TypeAlias = Sequence[Sequence[Any]]
By: TypeAlias = Literal["scores", "sums", "partings", "logits"]
Link: TypeAlias = Literal["identity", "logistic", "softmax", "exponential"]

N_TRIED = 500
TOLERANCE = 1e-5  # trees add leaves up in 32 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A scale, and what a model is asked for to answer on it: `scores`, their `logits`, or the `sums` of its plan.

    Sums that a softmax follows are `partings`, without what all classes share; but for those of leaves, which `trees` tells too.
    """

    context: Context
    units: Units
    by: By

    @classmethod
    def of(cls, context: Context, units: Units | None, reference: pd.DataFrame) -> Scale:
        """Find how a model answers on a scale; None for its own.

        Raises
        ------
        ExplainError
            If it does not.
        """
        own = units_of_scores(context)
        if units in (None, own):
            return cls(context=context, units=own, by="scores")
        below, by = _of_sums(context, reference.iloc[:N_TRIED])
        made: dict[Units, By] = {"log-odds": "logits"} if own == "probability" else {}
        if below is not None:
            made |= {below: by, **({"margin": by} if below == "log-odds" else {})}
        if units in made:
            return cls(context=context, units=units, by=made[units])
        known = [repr(each) for each in sorted({own, *made} - {"indicator"})] or ["none: it gives labels alone"]
        raise ExplainError(
            f"The 'units' must be a scale on which the model answers: {', '.join(known)}. Got {units!r}. "
            "Leave the 'units' out, or ask another method."
        )

    @property
    def asks_below(self) -> bool:
        """Whether it asks the plan below its links."""
        return self.by in ("sums", "partings")

    def explains(self, output: int, n_outputs: int) -> dict[str, Any]:
        """Give what an attribution on this scale says of what it explains."""
        centred = self.by == "partings" and n_outputs > 1
        return explains(self.context, self.units, output, n_outputs, centred=centred)

    def of_columns(self, columns: Columns, n_rows: int) -> Matrix | None:
        """Answer columns of plain values by the plan: (n_rows, n_outputs); None where it has no answer, and the model may have."""
        plan = _plan(self.context) if self.asks_below else self.context.plan
        if plan is None:
            return None
        try:
            if self.asks_below:
                sums = plan.sums(self.context.which).block(Table(columns, n_rows))
                return apart(sums) if self.by == "partings" else sums
            answered = plan.answers_by_column(columns, n_rows)[self.context.which]
        except NO_ANSWER:
            return None
        return self._scaled(numbers(answered, replace(self.context.output, classes=self.context.classes)))

    def of_frame(self, frame: pd.DataFrame) -> Matrix:
        """Answer rows."""
        found = self.of_columns(as_columns(frame), len(frame))
        return self.of_model(frame) if found is None else found

    def of_model(self, frame: pd.DataFrame) -> Matrix:
        """Answer rows by the model itself.

        Raises
        ------
        ExplainError
            If only the plan knows the scale.
        """
        if self.asks_below:
            raise ExplainError(
                f"The plan of the model must have an answer, to explain in {self.units!r}. It has none for such rows. "
                "Leave the 'units' out."
            )
        return self._scaled(self.context.scores(frame))

    def _scaled(self, scores: Matrix) -> Matrix:
        return scores if self.by == "scores" else logits(scores)


def logits(chances: Matrix) -> Matrix:
    """Give the log-odds of chances.

    Raises
    ------
    ExplainError
        If one of them is 0 or 1.

    >>> logits(np.array([0.5])).tolist()
    [0.0]
    """
    if not ((chances > 0) & (chances < 1)).all():
        raise ExplainError(
            "Log-odds need probabilities above 0 and below 1. The model answers with one of the two. "
            "Explain it with the units 'probability'."
        )
    return np.asarray(np.log(chances) - np.log1p(-chances))


def _plan(context: Context) -> Plan | None:
    return context.plan or context.translated


def _of_sums(context: Context, reference: pd.DataFrame) -> tuple[Units | None, By]:
    """Tell the scale of the sums of a plan, and how to ask for it; None where there are none, or they say something else."""
    plan = _plan(context)
    by: By = "sums"
    if plan is None:
        return None, by
    try:
        sums, scores = plan.sums(context.which), context.scores(reference)
        margins = sums.block(Table(as_columns(reference), len(reference)))
        shifted = margins.shape[1] > 1 and not isinstance(sums, Grown)
        if shifted and measured_link(context, margins, scores, tolerance=TOLERANCE) == "softmax":
            margins, by = apart(margins), "partings"
        found = measured_units(context, margins, scores, tolerance=TOLERANCE)
    except (ExplainError, *NO_ANSWER):
        return None, by
    return ("margin" if found == "target" else found), by


def measured_link(context: Context, margins: Matrix, scores: Matrix, *, tolerance: float) -> Link | None:
    """Find what a model makes of its margins, by its answers; None where that is something else."""
    tried: dict[Link, Any] = {"identity": lambda: margins}
    if context.classes and margins.shape[1] == 1:
        tried = {"logistic": lambda: np.column_stack([1 - expit(margins[:, 0]), expit(margins[:, 0])])}
    elif context.classes:
        tried["softmax"] = lambda: softmax(margins)
    else:
        tried["exponential"] = lambda: np.exp(margins)
    with np.errstate(over="ignore"):
        fits = (name for name, made in tried.items() if _is_close(made(), scores, tolerance))
        return next(fits, None)


def _is_close(made: Matrix, scores: Matrix, tolerance: float) -> bool:
    return made.shape == scores.shape and np.allclose(made, scores, rtol=tolerance, atol=tolerance)


def expit(margins: Matrix) -> Matrix:
    """Give the logistic function of margins.

    >>> expit(np.array([0.0])).tolist()
    [0.5]
    """
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-margins)))
