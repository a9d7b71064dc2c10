"""How good a model is on rows that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from ekiben._optional import require
from ekiben.models import Answers
from ekiben.schema import Label, Output

if TYPE_CHECKING:
    from ekiben.models import Array

N_RESAMPLES = 200


def measure(
    target: Any, answers: Sequence[Answers], outputs: Sequence[Output], *, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Measure answers against the truth.

    Parameters
    ----------
    target
        The true labels or values, of shape (n_rows,) or (n_rows, n_outputs).
    answers, outputs
        What the model said of the same rows, for each of its outputs.
    seed
        Seeds the bootstrap.

    Returns
    -------
    For each metric its `value` and its 95 % bootstrap interval, `low` to `high`: accuracy, balanced accuracy, ROC AUC
    (one against the rest, macro, for more than two classes) and log loss; or MAE, RMSE and R². What these rows cannot
    tell, such as the ROC AUC of one class, is left out. Of several outputs, the names are as in `price.mae`.
    """
    import numpy as np

    truth = np.asarray(target)
    columns = [truth] if len(outputs) == 1 else list(truth.T)
    told: dict[str, dict[str, float]] = {}
    for values, answered, output in zip(columns, answers, outputs, strict=True):
        prefix = f"{output.name}." if output.name else ""
        told |= {f"{prefix}{name}": found for name, found in _measured(values, answered, output, seed).items()}
    return told


def _measured(truth: Array, answers: Answers, output: Output, seed: int) -> dict[str, dict[str, float]]:
    import numpy as np

    functions = metrics(truth, answers, output)
    everything = np.arange(len(truth))
    draws = np.random.default_rng(seed).integers(0, len(truth), (N_RESAMPLES, len(truth)))
    told = {name: function for name, function in functions.items() if np.isfinite(function(everything))}
    return {name: _with_interval(function, everything, draws) for name, function in told.items()}


Metric: TypeAlias = "Callable[[Array], float]"


def metrics(truth: Array, answers: Answers, output: Output) -> dict[str, Metric]:
    """Give for each metric of one output a function of the rows that it is to be measured on.

    Examples
    --------
    >>> import numpy as np
    >>> answers = Answers(values=np.array([1.0, 2.0]))
    >>> metrics(np.array([1.0, 4.0]), answers, Output(parts=("value",)))["mae"](np.array([0, 1]))
    1.0
    """
    return _of_classes(truth, answers, output.classes) if "label" in output.parts else _of_values(truth, answers)


def _with_interval(function: Metric, everything: Array, draws: Array) -> dict[str, float]:
    import numpy as np

    resampled = [function(rows) for rows in draws]
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    found = {"value": function(everything), "low": low, "high": high}
    return {name: float(f"{number:.9g}") for name, number in found.items()}  # the last bits are the processor's own


def _of_values(truth: Array, answers: Answers) -> dict[str, Metric]:
    import numpy as np

    truth = truth.astype(np.float64)
    missed = truth - np.asarray(answers.values)

    def r2(rows: Array) -> float:
        spread = ((truth[rows] - truth[rows].mean()) ** 2).sum()
        return float(1 - (missed[rows] ** 2).sum() / spread) if spread else float("nan")

    return {
        "mae": lambda rows: float(np.abs(missed[rows]).mean()),
        "rmse": lambda rows: float(np.sqrt((missed[rows] ** 2).mean())),
        "r2": r2,
    }


def _of_classes(truth: Array, answers: Answers, classes: Sequence[Label]) -> dict[str, Metric]:
    import numpy as np

    right = np.asarray(answers.labels) == truth
    places = {label: place for place, label in enumerate(classes or dict.fromkeys(truth.tolist()))}
    codes = np.array([places[label] for label in truth.tolist()])

    def balanced(rows: Array) -> float:
        n_each, n_right = np.bincount(codes[rows]), np.bincount(codes[rows], weights=right[rows])
        return float(np.mean(n_right[n_each > 0] / n_each[n_each > 0]))

    made: dict[str, Metric] = {"accuracy": lambda rows: float(right[rows].mean()), "balanced_accuracy": balanced}
    return made if answers.scores is None else made | _of_scores(codes, np.asarray(answers.scores))


def _of_scores(codes: Array, scores: Array) -> dict[str, Metric]:
    import numpy as np

    own = np.clip(scores[np.arange(len(codes)), codes], 1e-15, 1.0)

    def auc(rows: Array) -> float:
        wanted = range(1, 2) if scores.shape[1] == 2 else range(scores.shape[1])
        found = [_auc(codes[rows] == code, scores[rows, code]) for code in wanted]
        told = [one for one in found if np.isfinite(one)]
        return float(np.mean(told)) if told else float("nan")

    return {"roc_auc": auc, "log_loss": lambda rows: float(-np.log(own[rows]).mean())}


def _auc(positive: Array, scores: Array) -> float:
    """Give the chance that a positive row scores above a negative one, ties counted half (Mann and Whitney, 1947)."""
    stats = require("scipy.stats", to="measure a model")
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    ranks = stats.rankdata(scores)
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))
