"""What a changed row is to be answered: another label, a certain one, or a number within a range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ekiben.errors import ExplainError, SpecError, nearest
from ekiben.explainers._context import Context, Matrix
from ekiben.explainers._settings import is_finite
from ekiben.explanations.counterfactual import said
from ekiben.explanations.reasons import english

Labels = npt.NDArray[Any]
LEAST_GAP = 1e-12  # of a row whose scores say that it is there, and whose label does not
RANGE = "(low, high), None for an open end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a model answered to rows: scores of shape (n_rows, n_classes) or values of (n_rows, 1), and labels where it has any."""

    numbers: Matrix
    labels: Labels | None

    def told(self, row: int, classes: tuple[Any, ...], *, scored: bool) -> tuple[Any, float | None]:
        """Give the label and its score of a row, or its value."""
        if self.labels is None:
            return float(self.numbers[row, 0]), None
        label = self.labels[row]
        label = label.item() if hasattr(label, "item") else label
        return label, float(self.numbers[row, classes.index(label)]) if scored and label in classes else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A label, where it is None any other than now; or a range of the number in one column of the scores.

    Examples
    --------
    >>> Wanted(low=200.0).sentence(())
    'at least 200'
    >>> Wanted(label="good", place=1, low=0.8).sentence(("bad", "good"))
    "a probability of 'good' of at least 0.8"
    """

    label: Any = None
    place: int | None = None
    low: float | None = None
    high: float | None = None

    @property
    def is_range(self) -> bool:
        """Whether a number is wanted, and not a label."""
        return self.low is not None or self.high is not None

    def sentence(self, classes: tuple[Any, ...]) -> str:
        """Say what is wanted."""
        if not self.is_range:
            return english("wanted", "other") if self.label is None else said(self.label)
        low, high = (None if end is None else f"{end:.6g}" for end in (self.low, self.high))
        name = "least" if high is None else "most" if low is None else "between"
        told = english("wanted", name, low=low, high=high)
        return told if self.place is None else english("wanted", "chance", label=said(classes[self.place]), range=told)

    def gaps(self, answered: Answered, now: Any, classes: tuple[Any, ...]) -> Matrix:
        """Tell how far each answer is from what is wanted; 0 is there."""
        if self.is_range:
            numbers = answered.numbers[:, self.place or 0]
            below = 0.0 if self.low is None else self.low - numbers
            above = 0.0 if self.high is None else numbers - self.high
            return np.asarray(np.maximum(np.maximum(below, above), 0.0))
        assert answered.labels is not None
        there = answered.labels == self.label if self.label is not None else answered.labels != now
        return np.where(there, 0.0, np.maximum(self._behind(answered.numbers, now, classes), LEAST_GAP))

    def _behind(self, scores: Matrix, now: Any, classes: tuple[Any, ...]) -> Matrix:
        """Tell by how much the score of the wanted label is behind the best other."""
        label = now if self.label is None else self.label
        if label not in classes or len(classes) != scores.shape[1] or len(classes) == 1:
            return np.ones(len(scores))
        place = classes.index(label)
        others = np.delete(scores, place, axis=1).max(axis=1)
        ahead = scores[:, place] - others
        return np.asarray(ahead if self.label is None else -ahead)


def read_wanted(words: Any, context: Context) -> Wanted:
    """Read what a user wants of a model's answers.

    Parameters
    ----------
    words
        None for any other label; a label; a pair of ends for a value; or one label with the ends of its probability.

    Raises
    ------
    SpecError
        If the model has no such label or number.
    ExplainError
        If nothing was said, and the model gives values.
    """
    classes = context.classes
    if words is None:
        if classes:
            return Wanted()
        raise ExplainError(
            f"A counterfactual of a value needs to know which is wanted. Got none. Give it: wanted={RANGE}."
        )
    if classes and isinstance(words, Mapping):
        return _of_score(words, context)
    if isinstance(words, list | tuple):
        if classes:
            raise SpecError(
                f"A range is of a value, or of one label's probability. Got a bare one. Give it: wanted={{{classes[-1]!r}: {RANGE}}}."
            )
        low, high = _ends(words)
        return Wanted(low=low, high=high)
    if words not in classes:
        hint = nearest(str(words), map(str, classes))
        known = f"one of {list(classes)}" if classes else f"a range: wanted={RANGE}"
        raise SpecError(f"What is 'wanted' must be {known}. Got {words!r}.{hint}")
    return Wanted(label=classes[classes.index(words)])


def _of_score(words: Mapping[Any, Any], context: Context) -> Wanted:
    classes = context.classes
    texts = [str(label) for label in classes]
    if "scores" not in context.output.parts or len(words) != 1 or str(next(iter(words))) not in texts:
        raise SpecError(
            f"A wanted probability must be of one label of {texts}, of a model that has scores. Got {[*map(str, words)]}."
        )
    (label, ends), *_ = words.items()
    place = texts.index(str(label))
    low, high = _ends(ends)
    return Wanted(label=classes[place], place=place, low=low, high=high)


def _ends(ends: Any) -> tuple[float | None, float | None]:
    fits = isinstance(ends, list | tuple) and len(ends) == 2 and any(end is not None for end in ends)
    if not fits or not all(end is None or is_finite(end) for end in ends):
        raise SpecError(f"A wanted range must be {RANGE}, of finite numbers. Got {ends!r}.")
    low, high = (None if end is None else float(end) for end in ends)
    if low is not None and high is not None and low > high:
        raise SpecError(f"A wanted range must not begin above its end. Got {ends!r}.")
    return low, high


def wanted_to_json(wanted: Wanted) -> Any:
    """Give the words that `read` reads back."""
    if not wanted.is_range:
        return wanted.label
    ends = [wanted.low, wanted.high]
    return ends if wanted.place is None else {str(wanted.label): ends}
