"""How much a model leans on each raw column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, ClassVar

from ekiben.overviews._showing import Shown, number, text_table

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.plots.figures import Axes, Figure

Interval = tuple[float, float]
SHOWN_COLUMNS = 20
STUDENT = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764}  # 97.5 % quantiles of Student's t, by degrees of freedom
Z = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance(Shown):
    """How much worse a model gets, or how much its answers move, when the cells of one column are shuffled.

    `measure` is a score, such as `roc_auc`, whose loss is told, or `change`: the mean distance, in `units`, between the
    answers before and after. `each` holds for each column the figure of each repeat; `means` and `intervals` sum them up.
    The strongest column comes first. `baseline` is the score with nothing shuffled; None for a change.

    Examples
    --------
    >>> found = Importance(
    ...     output="probability of 'bad'",
    ...     measure="change",
    ...     columns=("income", "age"),
    ...     each=((0.2, 0.22), (0.0, 0.0)),
    ...     baseline=None,
    ...     n_rows=100,
    ... )
    >>> found
    Importance: change of the probability of 'bad'; 100 rows, 2 repeats
    column  importance  95 % interval
    income  0.21        0.0829 to 0.337
    age     0           0 to 0
    """

    kind: ClassVar[str] = "importance"

    output: str
    measure: str
    columns: tuple[str, ...]
    each: tuple[tuple[float, ...], ...]
    baseline: float | None
    n_rows: int

    @property
    def n_repeats(self) -> int:
        """How many times each column was shuffled."""
        return len(self.each[0])

    @property
    def means(self) -> tuple[float, ...]:
        """The mean over the repeats, for each column."""
        return tuple(map(fmean, self.each))

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """The 95 % interval of each mean, by Student's t over the repeats."""
        return tuple(map(_interval, self.each))

    def strongest(self, n_columns: int = 5) -> tuple[str, ...]:
        """Name the columns that the model leans on most.

        Parameters
        ----------
        n_columns
            How many at most; a column that moves nothing is not among them.
        """
        moving = [name for name, mean in zip(self.columns, self.means, strict=True) if mean > 0]
        return tuple(moving[:n_columns])

    def to_frame(self) -> pd.DataFrame:
        """Make a table: a row a column, with `importance`, `low` and `high`."""
        import pandas as pd

        lows, highs = zip(*self.intervals, strict=True)
        cells = {"importance": self.means, "low": lows, "high": highs}
        return pd.DataFrame(cells, index=pd.Index(self.columns, name="column"))

    @property
    def title(self) -> str:
        """Say in a few words what was measured."""
        what = f"change of the {self.output}" if self.measure == "change" else f"loss of {self.measure} ({self.output})"
        return f"Importance: {what}"

    def plot(self, *, ax: Axes | None = None, n_columns: int = SHOWN_COLUMNS) -> Figure:
        """Draw a bar for each column, with its interval, on matplotlib's axes; its own where none are given."""
        from ekiben.plots import overall

        return overall.bars(ax, self.title, self.columns[:n_columns], self.means, self.intervals)

    def __repr__(self) -> str:
        spans = [f"{number(low)} to {number(high)}" for low, high in self.intervals]
        rows = zip(self.columns, map(number, self.means), spans, strict=True)
        head = f"{self.title}; {self.n_rows:,} rows, {self.n_repeats} repeats"
        return f"{head}\n{text_table(('column', 'importance', '95 % interval'), list(rows)[:SHOWN_COLUMNS])}"

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Importance:
        """Read the values of its fields back from JSON."""
        return cls(**{**values, "columns": tuple(values["columns"]), "each": tuple(map(tuple, values["each"]))})


def _interval(each: tuple[float, ...]) -> Interval:
    if len(each) < 2:
        return each[0], each[0]
    mean, half = fmean(each), student(len(each) - 1) * stdev(each) / sqrt(len(each))
    return mean - half, mean + half


def student(freedom: int) -> float:
    """Give the 97.5 % quantile of Student's t; beyond 4 degrees of freedom by its expansion around the normal one.

    >>> round(student(9), 2), round(student(1000), 2)
    (2.26, 1.96)
    """
    if freedom in STUDENT:
        return STUDENT[freedom]
    first = (Z**3 + Z) / (4 * freedom)
    second = (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * freedom**2)
    return Z + first + second + (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / (384 * freedom**3)
