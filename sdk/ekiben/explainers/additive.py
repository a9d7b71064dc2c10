"""Exact Shapley values of models that add up what single columns say, on some scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from ekiben.compiling import Table
from ekiben.errors import ExplainError
from ekiben.explainers._columns import Columns, patched
from ekiben.explainers._context import Context, Matrix
from ekiben.explainers._header import read_array, read_header, write_header
from ekiben.explainers._outputs import apart, explains, measured_units, picked
from ekiben.explainers._scales import measured_link
from ekiben.explainers.linked import Linked, in_units
from ekiben.explanations import Attribution, Explanation, Units
from ekiben.tables import as_columns, as_frame

if TYPE_CHECKING:
    import pandas as pd

Ask: TypeAlias = Callable[[Columns, int], Matrix]

TOLERANCE = 1e-9  # of the span of the margins
N_TRIED = 500
N_MOSAICS = 4096  # each value of up to 500 rows eight times: what two columns say together may be rare


@dataclass(frozen=True, slots=True, kw_only=True)
class Additive:
    """Interventional Shapley values of a generalised additive model [1]_: what a column says does not depend on the others.

    On its own scale (log-odds, a margin, the target) such a model is a sum of functions of one column each: naive Bayes,
    splines or bins under a linear model, a Poisson regression, linear models that are averaged or stacked. What a column
    adds is its own function's value less the mean of that over the reference. Where a softmax follows, the sums are known up
    to a shift that all classes share, and that says nothing of any: of two classes their difference is explained, the
    log-odds of the second; of more, each less the mean of all. That the model is such a sum is proved on
    rows that are patched together from the reference, and measured again on every row that is explained: one that does not
    add up is refused.

    References
    ----------
    .. [1] Hastie, Tibshirani, "Generalized Additive Models", 1990; for the values Strumbelj, Kononenko, 2014.
    """

    method: ClassVar[str] = "additive"
    by_plan: ClassVar[bool] = True

    context: Context
    ask: Ask
    ground: Sequence[Any]
    says_ground: Matrix
    means: Matrix
    span: float
    units: Units
    parts_classes: bool = False  # whether what all classes share was taken off

    @classmethod
    def fit(cls, context: Context, *, units: Units | None = None) -> Additive | Linked:
        """Find what each column says on its own, and prove that the model adds it up.

        `units` is the scale: by default that of the sum; else `probability`, `margin`, or the `target` behind a link.
        """
        made: Additive | Linked = in_units(cls._fitted(context), units, name=cls.method)
        return made

    @classmethod
    def _fitted(cls, context: Context) -> Additive:
        whole = context.reference_rows(cls.method)
        reference = whole.iloc[np.sort(np.random.default_rng(0).permutation(len(whole))[:N_TRIED])]
        columns, ask = as_columns(reference), _asking(context)
        ground = [column[0] for column in columns]
        rng = np.random.default_rng(0)
        drawn = np.stack([rng.permutation(np.arange(N_MOSAICS) % len(reference)) for _ in columns])
        mosaics = [[column[row] for row in rows] for column, rows in zip(columns, drawn.tolist(), strict=True)]
        with _mixing_rows():
            margins, says, mixed = ask(columns, len(reference)), ask(patched(ground, 1), 1)[0], ask(mosaics, N_MOSAICS)
            alone = _alone(ask, ground, columns, len(reference))
        parts = alone - says  # (n_columns, n_rows, n_margins)
        span = float(np.ptp(margins)) or 1.0
        gaps = says + parts.sum(axis=0) - margins, says + sum(map(np.take, parts, drawn, [0] * len(parts))) - mixed
        if not max(np.abs(gap).max() for gap in gaps) <= TOLERANCE * span:
            raise ExplainError(_refusal("does more than to add up what single columns say"))
        scores = context.scores(reference)
        parts_classes = (
            margins.shape[1] > 1 and measured_link(context, margins, scores, tolerance=TOLERANCE) == "softmax"
        )
        if parts_classes:
            ask, says, parts, margins = _parting(ask), apart(says), apart(parts), apart(margins)
            span = float(np.ptp(margins)) or 1.0
        units = measured_units(context, margins, scores, tolerance=TOLERANCE)
        if len(whole) > len(reference):  # the mean is that of all rows, in whatever order they came
            with _mixing_rows():
                parts = _alone(ask, ground, as_columns(whole), len(whole)) - says
        means = parts.mean(axis=1)
        told: dict[str, Any] = {"span": span, "units": units, "parts_classes": parts_classes}
        return cls(context=context, ask=ask, ground=ground, says_ground=says, means=means, **told)

    @property
    def quick(self) -> bool:
        """Whether an explanation needs the plan alone."""
        return self.context.plan is not None

    def explain(self, frame: pd.DataFrame, *, seed: int = 0) -> list[Explanation]:  # noqa: ARG002 -- draws nothing
        """Explain each row, exactly.

        Raises
        ------
        ExplainError
            If the model does not add up what the columns of one of the rows say.
        """
        return self.explain_columns(as_columns(self.context.rows(frame)), len(frame))

    def explain_columns(self, columns: Columns, n_rows: int) -> list[Explanation]:
        """Explain rows that come as columns of plain values."""
        return [self._explain([column[i] for column in columns]) for i in range(n_rows)]

    def says(self, columns: Columns, n_rows: int) -> tuple[Matrix, Matrix]:
        """Tell what each column adds to the row to stand on: (n_rows, n_columns, n_margins), and what that says.

        Raises
        ------
        ExplainError
            If the model does not add that up.
        """
        parts = np.moveaxis(_alone(self.ask, self.ground, columns, n_rows), 0, 1) - self.says_ground
        gaps = parts.sum(axis=1) + self.says_ground - self.ask(columns, n_rows)
        if not np.abs(gaps).max() <= TOLERANCE * self.span * len(columns):
            raise ExplainError(_refusal("does more than to add up what the columns of these rows say"))
        return parts, self.says_ground

    def _explain(self, row: Sequence[Any]) -> Attribution:
        started = perf_counter()
        n = len(row)
        alone = {i: [value if at in (i, n) else self.ground[i] for at in range(n + 1)] for i, value in enumerate(row)}
        found = self.ask(patched(self.ground, n + 1, alone), n + 1)
        output = int(picked(found[n:])[0])
        parts = found[:n, output] - self.says_ground[output] - self.means[:, output]
        centred = self.parts_classes and found.shape[1] > 1
        one = Attribution.of(
            method="additive-interventional",
            **explains(self.context, self.units, output, found.shape[1], centred=centred),
            base_value=float(self.says_ground[output] + self.means[:, output].sum()),
            value=float(found[n, output]),
            contributions=dict(zip(self.context.names, parts.tolist(), strict=True)),
            elapsed_ms=(perf_counter() - started) * 1e3,
        )
        if not one.faithfulness_error <= TOLERANCE * self.span * n:
            raise ExplainError(_refusal("does more than to add up what the columns of this row say"))
        return one

    def save(self, folder: Path) -> None:
        """Write a row to stand on, and what each column says on average."""
        ground = [None if value != value else value for value in self.ground]
        told: dict[str, Any] = {"span": self.span, "units": self.units, "parts_classes": self.parts_classes}
        write_header(folder, self.method, **told, ground=ground)
        np.save(folder / "says.npy", self.says_ground, allow_pickle=False)
        np.save(folder / "means.npy", self.means, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Additive | Linked:
        """Read what `save` wrote; no reference is needed."""
        made: Additive | Linked = Linked.load(cls._loaded(folder, context), folder)
        return made

    @classmethod
    def _loaded(cls, folder: Path, context: Context) -> Additive:
        header, ask = read_header(folder), _asking(context)
        parts_classes = header.get("parts_classes", False)
        return cls(
            context=context,
            ask=_parting(ask) if parts_classes else ask,
            ground=header["ground"],
            says_ground=read_array(folder / "says.npy"),
            means=read_array(folder / "means.npy"),
            span=header["span"],
            units=header["units"],
            parts_classes=parts_classes,
        )


def _asking(context: Context) -> Ask:
    """Give what answers columns with margins of shape (n_rows, n_margins): the plan below its links, or a regressor itself."""
    plan = context.plan or context.translated
    if plan is not None:
        sums = plan.sums(context.which)
        return lambda columns, n_rows: sums.block(Table(columns, n_rows))
    if context.classes:
        raise ExplainError(_refusal("has no plan, so that only its scores are known"))
    names, contract = context.names, context.schema
    return lambda columns, _: context.scores(as_frame(dict(zip(names, columns, strict=True)), contract))


def _parting(ask: Ask) -> Ask:
    return lambda columns, n_rows: apart(ask(columns, n_rows))


def _alone(ask: Ask, ground: Sequence[Any], columns: Columns, n_rows: int) -> Matrix:
    """Ask about the row to stand on with one column of each row at a time: (n_columns, n_rows, n_margins)."""
    return np.stack([ask(patched(ground, n_rows, {i: column}), n_rows) for i, column in enumerate(columns)])


@contextmanager
def _mixing_rows() -> Iterator[None]:
    try:
        yield
    except (ArithmeticError, ValueError) as reason:
        refusal = _refusal(f"has no answer for rows that mix others ({type(reason).__name__})")
        raise ExplainError(refusal) from reason


def _refusal(reason: str) -> str:
    return (
        f"The method 'additive' takes a model that adds up what single columns say. This one {reason}. "
        "Explain it with the method 'sampling'."
    )
