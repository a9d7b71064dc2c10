"""Shapley values of what a link makes of a sum of what single columns say: a probability of log-odds, for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, pi
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from ekiben.errors import ExplainError
from ekiben.explainers._context import Context, Matrix
from ekiben.explainers._header import read_array, read_header, write_header
from ekiben.explainers._outputs import explains, picked, softmax
from ekiben.explainers._scales import Link, expit, logits, measured_link
from ekiben.explainers.shapley.paths import n_points, rule
from ekiben.explanations import Attribution, Explanation, Units
from ekiben.tables import as_columns

if TYPE_CHECKING:
    import pandas as pd

Columns: TypeAlias = Sequence[Sequence[Any]]
Cube: TypeAlias = npt.NDArray[np.float64]  # (n_rows, n_columns, n_outputs)

N_BACKGROUND = 100
N_ORDERS = 16  # and their reverses, for each background row
N_CHECKED = 500
TOLERANCE = 1e-9
MOST_NUMBERS = 2_000_000  # complex ones at once
MOST_EXACT = 100_000_000  # complex ones for a row: where there are more, orders are drawn
DIGITS = 31.0  # exp(-31) is what is left out


class Summing(Protocol):
    """A fitted method whose margins are sums of what single columns say."""

    method: str

    @property
    def context(self) -> Context:
        """What it was fitted to."""

    @property
    def units(self) -> Units:
        """The scale of the margins."""

    def says(self, columns: Columns, n_rows: int) -> tuple[Cube, Matrix]:
        """Tell what each column says, and what is added to that: (n_rows, n_columns, n_outputs) and (n_outputs,)."""

    def save(self, folder: Path) -> None:
        """Write what was fitted."""


def in_units(own: Any, units: Units | None, *, name: str) -> Any:
    """Give a fitted method on another scale: the same values by another name, or Shapley values behind the link.

    Raises
    ------
    ExplainError
        If the method cannot explain on it.
    """
    if units in (None, own.units):
        return own
    if units == "margin":
        return Linked.of(own, "identity", units)
    reference = own.context.reference_rows(name).iloc[:N_CHECKED]
    parts, start = own.says(as_columns(reference), len(reference))
    link = measured_link(own.context, parts.sum(axis=1) + start, own.context.scores(reference), tolerance=TOLERANCE)
    gives: dict[Link | None, tuple[Units, ...]] = {
        "identity": () if own.context.classes else ("target",),
        "logistic": ("probability",),
        "softmax": ("probability", "log-odds"),
        "exponential": ("target",),
    }
    if units not in gives.get(link, ()):
        raise ExplainError(
            f"The method {name!r} explains this model in {own.units!r}, and not in {units!r}. "
            "Leave the 'units' out, or explain it with the method 'sampling'."
        )
    if link == "softmax" and len(start) == 2:  # of two, that is the logistic function of what parts them
        link = "logistic" if units == "probability" else "identity"
    return Linked.of(own, cast(Link, link), cast(Units, units))


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """Interventional Shapley values of g(a sum of what single columns say), against rows of the reference.

    For a logistic function and for e to a power they are exact. A power is a product of what the columns say, whose Shapley
    values are integrals over u in [0, 1] of a product of (x_i u + z_i (1 - u)), as those of a path through a tree are; and
    the logistic function is a sum of such products, one for each wave of

        1 / (1 + exp(-s)) = 1/2 + integral over w from 0 on of sin(w s) / sinh(pi w),

    which equal steps integrate to some 13 digits. Other links are walked through in random orders and their reverses.
    A standard error tells how far a value may lie from that of the whole reference.
    """

    own: Summing
    link: Link
    units: Units
    background: Cube
    is_whole: bool

    @classmethod
    def of(cls, own: Summing, link: Link, units: Units) -> Linked:
        """Draw background rows, and keep what their columns say."""
        reference = own.context.reference_rows(own.method)
        drawn = np.sort(np.random.default_rng(0).permutation(len(reference))[:N_BACKGROUND])
        if link == "identity":
            drawn = np.arange(len(reference))
        parts, _ = _says(own, units, as_columns(reference.iloc[drawn]), len(drawn))
        if link == "identity":  # of a sum the mean row tells all
            parts = parts.mean(axis=0, keepdims=True)
        return cls(own=own, link=link, units=units, background=parts, is_whole=len(drawn) == len(reference))

    @property
    def method(self) -> str:
        """The name it is chosen and loaded by."""
        return self.own.method

    @property
    def context(self) -> Context:
        """What it was fitted to."""
        return self.own.context

    @property
    def quick(self) -> bool:
        """Whether an explanation needs the plan alone."""
        return bool(getattr(self.own, "quick", False))

    @property
    def exact(self) -> bool:
        """Whether nothing is drawn but the background."""
        return self.link != "softmax"

    def explain(self, frame: pd.DataFrame, *, seed: int = 0) -> list[Explanation]:
        """Explain each row: the probability of its class (the second of two), or the value."""
        return self.explain_columns(as_columns(self.context.rows(frame)), len(frame), seed=seed)

    def explain_columns(self, columns: Columns, n_rows: int, *, seed: int = 0) -> list[Explanation]:
        """Explain rows that come as columns of plain values."""
        started = perf_counter()
        parts, start = _says(self.own, self.units, columns, n_rows)
        asked_ms = (perf_counter() - started) * 1e3 / max(n_rows, 1)
        return [self._explain(each, start, seed, asked_ms) for each in parts]

    def _explain(self, parts: Matrix, start: Matrix, seed: int, asked_ms: float) -> Attribution:
        """Explain one row; `asked_ms` is what it took to ask what its columns say."""
        started = perf_counter()
        output = int(picked(parts.sum(axis=0, keepdims=True) + start)[0])
        made = self._answers(output)
        own, begun = parts[:, output], float(start[output])
        drawn = self.link == "softmax" or self._costs(own, begun) > MOST_EXACT
        each = self._walked(parts, start, output, seed) if drawn else self._broken(own, begun, output)
        bases = made(self.background.sum(axis=1) + start)
        n = len(each)
        errors = None
        if n > 1 and (drawn or not self.is_whole):
            errors = self._named(each.std(axis=0, ddof=1) / np.sqrt(n))
        return Attribution.of(
            method="permutation-sampling" if drawn else f"{self.method}-interventional",
            **explains(self.context, self.units, output, parts.shape[1]),
            base_value=float(bases.mean()),
            value=float(made(parts.sum(axis=0, keepdims=True) + start)[0]),
            contributions=self._named(each.mean(axis=0)),
            standard_errors=errors,
            elapsed_ms=asked_ms + (perf_counter() - started) * 1e3,
        )

    def _named(self, values: Matrix) -> dict[str, float]:
        return dict(zip(self.context.names, values.tolist(), strict=True))

    def _answers(self, output: int) -> Any:
        """Give the function that turns margins of shape (…, n_outputs) into the number that is explained."""
        if self.link == "softmax":
            return lambda margins: self._of_softmax(margins, output)
        known: dict[Link, Any] = {"identity": lambda m: m, "logistic": expit, "exponential": np.exp}
        made = known[self.link]
        return lambda margins: made(margins[..., output])

    def _of_softmax(self, margins: Matrix, output: int) -> Matrix:
        flat = softmax(margins.reshape(-1, margins.shape[-1]))[:, output].reshape(margins.shape[:-1])
        return logits(flat) if self.units == "log-odds" else flat

    def _costs(self, parts: Matrix, start: float) -> float:
        """Count the numbers that a row takes to be broken down exactly."""
        n = len(parts)
        waves = steepest(parts, self.background[:, :, 0], start) * 2 if self.link == "logistic" else 1
        return len(self.background) * n * n_points(n) * waves

    def _broken(self, parts: Matrix, start: float, output: int) -> Matrix:
        """Break one number down against each background row: (n_background, n_columns)."""
        background = self.background[:, :, output]
        if self.link == "identity":
            return parts - background
        if self.link == "exponential":
            made = _products(np.exp(parts)[None, None], np.exp(background)[:, None])[:, 0]
            return np.asarray(np.exp(start) * made.real)
        return logistic_parts(parts, background, start)

    def _walked(self, parts: Matrix, start: Matrix, output: int, seed: int) -> Matrix:
        """Switch columns from each background row to the explained one, in random orders and their reverses."""
        n_rows, n_columns, _ = self.background.shape
        straight = np.broadcast_to(np.arange(n_columns), (n_rows, N_ORDERS, n_columns))
        orders = np.random.default_rng(seed).permuted(straight, axis=2)
        orders = np.concatenate([orders, orders[..., ::-1]], axis=1)
        moves = (parts - self.background)[np.arange(n_rows)[:, None, None], orders]
        begun = np.broadcast_to(
            (self.background.sum(axis=1) + start)[:, None, None], (*orders.shape[:2], 1, len(start))
        )
        margins = np.concatenate([begun, begun + np.cumsum(moves, axis=2)], axis=2)
        gains = np.diff(self._answers(output)(margins), axis=2)
        added = np.empty_like(gains)
        np.put_along_axis(added, orders, gains, axis=2)
        return np.asarray(added.mean(axis=1))

    def save(self, folder: Path) -> None:
        """Write the method on its own scale, and beside it what the background says."""
        self.own.save(folder)
        header = {key: value for key, value in read_header(folder).items() if key not in ("format", "method")}
        behind = {"link": self.link, "units": self.units, "is_whole": self.is_whole}
        write_header(folder, self.method, **header, behind=behind)
        np.save(folder / "says-of-background.npy", self.background, allow_pickle=False)

    @classmethod
    def load(cls, own: Any, folder: Path) -> Any:
        """Read what `save` wrote; a method that lies there on its own scale is given as it is."""
        behind = read_header(folder).get("behind")
        if behind is None:
            return own
        return cls(own=own, background=read_array(folder / "says-of-background.npy"), **behind)


def _says(own: Summing, units: Units, columns: Columns, n_rows: int) -> tuple[Cube, Matrix]:
    """Tell what each column says; of two classes, for a probability or log-odds, to the second and against the first."""
    parts, start = own.says(columns, n_rows)
    if len(start) == 2 and units in ("probability", "log-odds"):
        return parts[:, :, 1:] - parts[:, :, :1], start[1:] - start[:1]
    return parts, start


def logistic_parts(parts: Matrix, background: Matrix, start: float) -> Matrix:
    """Give Shapley values of the logistic function of start + the sum of parts, against each background row.

    Parameters
    ----------
    parts
        What each column says: shape (n_columns,).
    background
        The same of other rows: shape (n_rows, n_columns).
    start
        What is added to that.

    Returns
    -------
    An array of shape (n_rows, n_columns).

    Examples
    --------
    >>> logistic_parts(np.array([1.0]), np.array([[0.0]]), 0.0).round(6).tolist()
    [[0.231059]]
    """
    step = 2 * pi / (steepest(parts, background, start) + DIGITS)  # what repeats after 2 pi / step is small there
    waves = step * np.arange(1, ceil(DIGITS / pi / step) + 1)
    weights = step * np.exp(1j * waves * start) / np.sinh(pi * waves)
    found = (parts - background) * step / (2 * pi)  # of the wave 0
    size = max(1, MOST_NUMBERS // (len(waves) * len(parts) * len(rule(len(parts))[0])))
    risen = np.exp(1j * waves[:, None] * parts)[None]
    for first in range(0, len(background), size):
        some = background[first : first + size]
        made = _products(risen, np.exp(1j * waves[:, None] * some[:, None]))
        found[first : first + size] += np.einsum("w,rwc->rc", weights, made).imag
    return np.asarray(found)


def steepest(parts: Matrix, background: Matrix, start: float) -> float:
    """Tell how far from 0 a sum of a row's columns and those of others can be."""
    low, high = (each(parts, background).sum(axis=1) + start for each in (np.minimum, np.maximum))
    return float(max(np.abs(low).max(), np.abs(high).max()))


def _products(explained: Any, others: Any) -> Any:
    """Give Shapley values of products of what columns say, (…, n_columns) for both: for each what it adds."""
    n = others.shape[-1]
    total = np.zeros(np.broadcast_shapes(explained.shape, others.shape), dtype=np.result_type(explained, others))
    for point, weight in zip(*rule(n), strict=True):
        each = explained * point + others * (1 - point)
        before, behind = np.ones_like(each), np.ones_like(each)
        np.cumprod(each[..., :-1], axis=-1, out=before[..., 1:])
        behind[..., :-1] = np.cumprod(each[..., :0:-1], axis=-1)[..., ::-1]
        total += weight * before * behind
    return total * (explained - others)
