"""Which number of a model is explained, and in which words and units."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ekiben.errors import ExplainError
from ekiben.explainers._context import Context, Matrix
from ekiben.explanations import Units


def picked(scores: Matrix) -> npt.NDArray[np.int64]:
    """Pick the output to explain in each row: the only one, or the largest.

    >>> picked(np.array([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]))
    array([2, 0])
    """
    return np.asarray(scores.argmax(axis=1), dtype=np.int64)


def label_of(context: Context, output: int, n_outputs: int) -> Any:
    """Name the class that an output speaks of; a binary margin speaks of the second class."""
    return context.classes[1 if n_outputs == 1 and len(context.classes) > 1 else output]


def explains(context: Context, units: Units, output: int, n_outputs: int, *, centred: bool = False) -> dict[str, Any]:
    """Give what an attribution says of what it explains: its words, units, and the label."""
    label = label_of(context, output, n_outputs) if context.classes else None
    words = "centred logit" if centred else units
    return {"output": described(context, words, output, n_outputs), "units": units, "label": label}


def described(context: Context, units: str, output: int, n_outputs: int) -> str:
    """Say what is explained, as in "log-odds of 'bad'"."""
    target = repr(context.output.name) if context.output.name else "the target"
    if not context.classes:
        return target.removeprefix("the ") if units == "target" else f"{units} of {target}"
    said = f"{units} of {label_of(context, output, n_outputs)!r}"
    return f"{said} for {target}" if context.output.name else said


def units_of_scores(context: Context) -> Units:
    """Tell the scale of a model's own answers."""
    if "scores" in context.output.parts:
        return "probability"
    return "indicator" if context.classes and "value" not in context.output.parts else "target"


def softmax(margins: Matrix) -> Matrix:
    """Turn margins of shape (n_rows, n_outputs) into probabilities."""
    powers = np.exp(margins - margins.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def apart(margins: Matrix) -> Matrix:
    """Take off what all classes share, of margins of shape (…, n_classes): of two, the second's less the first's is left.

    >>> apart(np.array([[1.0, 4.0, 1.0]])).tolist(), apart(np.array([[1.0, 4.0]])).tolist()
    ([[-1.0, 2.0, -1.0]], [[3.0]])
    """
    if margins.shape[-1] == 2:
        return margins[..., 1:] - margins[..., :1]
    return np.asarray(margins - margins.mean(axis=-1, keepdims=True))


def measured_units(context: Context, margins: Matrix, scores: Matrix, *, tolerance: float) -> Units:
    """Find the scale of margins by what the model itself makes of them.

    Raises
    ------
    ExplainError
        If the margins are not one for each score, or rank rows otherwise than the scores: then they are not this model's.
    """
    refuse_other_ranks(margins, scores)
    if not context.classes:
        return "target" if np.allclose(margins, scores, rtol=tolerance, atol=tolerance) else "margin"
    if margins.shape[1] > 1:
        return "probability" if np.allclose(margins, scores, rtol=0, atol=tolerance) else "margin"
    if np.allclose(margins[:, 0], scores[:, -1], rtol=0, atol=tolerance):
        return "probability" if "scores" in context.output.parts else "margin"
    with np.errstate(over="ignore"):
        chance = 1 / (1 + np.exp(-margins[:, 0]))
    return "log-odds" if np.allclose(chance, scores[:, 1], rtol=0, atol=tolerance) else "margin"


def refuse_other_ranks(margins: Matrix, scores: Matrix) -> None:
    """Refuse margins that are not one for each score, or rank rows otherwise than the scores.

    Raises
    ------
    ExplainError
        If they are not this model's.
    """
    n_margins, n_scores = margins.shape[1], scores.shape[1]
    if n_margins != n_scores and (n_margins, n_scores) != (1, 2):
        raise ExplainError(
            f"The last step must have a margin for each of the model's {n_scores} scores. It has {n_margins}. "
            "Explain this model with the method 'sampling'."
        )
    if n_margins > 1:
        best = np.take_along_axis(scores, picked(margins)[:, None], axis=1)[:, 0]
        agree = np.allclose(best, scores.max(axis=1), atol=1e-6)
    else:
        agree = bool((np.diff(scores[np.argsort(margins[:, 0]), -1]) >= -1e-6 * np.abs(scores).max()).all())
    if not agree:
        raise ExplainError(
            "The margins of the last step must rank rows as the model's own scores do. They do not. "
            "Explain this model with the method 'sampling'."
        )
