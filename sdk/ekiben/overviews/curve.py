"""What a model answers as one raw column, or two, take other values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from ekiben.digits import digits
from ekiben.explanations.rule import Label
from ekiben.moments import day
from ekiben.overviews._showing import Shown, number, text_table

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.plots.figures import Axes, Figure

CurveKind = Literal["partial-dependence", "ale"]
Value: TypeAlias = str | int | float | bool | None
Numbers: TypeAlias = tuple[float, ...]

TITLES = {"partial-dependence": "Partial dependence", "ale": "Accumulated local effects"}
SHOWN_POINTS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve(Shown):
    """What a model answers as one raw column takes other values.

    Of a `partial-dependence` an average is the mean answer when the column of every row is set to that value, None for a
    missing one; `lines` are single rows of it (individual conditional expectation), and empty where none were asked for. Of
    an `ale` it is the accumulated local effect: what the column adds among rows like those that there are, 0 on average.

    Parameters
    ----------
    column, method, output
        Which column, which kind of curve, and what the numbers are.
    labels
        The classes, where there is a curve for each; empty for a single one.
    grid
        The values of the column, as JSON has them: rising where `is_ordered`, a missing one last.
    averages
        For each curve a number for each value of the grid: (n_curves, n_grid).
    shares
        The share of rows that hold a value, or lie nearest to it.
    lines
        For each curve the lines of single rows: (n_curves, n_lines, n_grid).
    n_rows
        How many rows were asked.

    Examples
    --------
    >>> Curve(
    ...     column="rooms",
    ...     method="partial-dependence",
    ...     output="target",
    ...     labels=(),
    ...     grid=(2.0, 4.0),
    ...     is_ordered=True,
    ...     averages=((20.0, 40.0),),
    ...     shares=(0.75, 0.25),
    ...     lines=(),
    ...     n_rows=4,
    ... )
    Partial dependence of rooms: target; 4 rows
    rooms  average  rows
    2      20       75 %
    4      40       25 %
    """

    kind: ClassVar[str] = "curve"

    column: str
    method: CurveKind
    output: str
    labels: tuple[Label, ...]
    grid: tuple[Value, ...]
    is_ordered: bool
    averages: tuple[Numbers, ...]
    shares: Numbers
    lines: tuple[tuple[Numbers, ...], ...]
    n_rows: int

    @property
    def title(self) -> str:
        """Say in a few words what it shows."""
        return f"{TITLES[self.method]} of {self.column}"

    @property
    def span(self) -> float:
        """How far the average moves, of the curve that moves most."""
        return max(max(each) - min(each) for each in self.averages)

    def to_frame(self) -> pd.DataFrame:
        """Make a table: a row a value of the grid, with `average`, or a column a class, and the `share` of rows."""
        import pandas as pd

        names = list(self.labels) or ["average"]
        cells: dict[Any, Any] = dict(zip(names, self.averages, strict=True))
        return pd.DataFrame({**cells, "share": self.shares}, index=pd.Index(self.grid, name=self.column))

    def plot(self, *, ax: Axes | None = None) -> Figure:
        """Draw the curve on matplotlib's axes; its own where none are given."""
        from ekiben.plots import overall

        return overall.curve(ax, self)

    def __repr__(self) -> str:
        names = [str(label) for label in self.labels] or ["average"]
        shown = list(zip(words(self.grid), zip(*self.averages, strict=True), self.shares, strict=True))
        rows = [(value, *map(number, told), f"{share:.0%}".replace("%", " %")) for value, told, share in shown]
        head = f"{self.title}: {self.output}; {self.n_rows:,} rows"
        return f"{head}\n{text_table((self.column, *names, 'rows'), rows[:SHOWN_POINTS])}"

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Curve:
        """Read the values of its fields back from JSON."""
        flat = {name: tuple(values[name]) for name in ("labels", "grid", "shares")}
        lines = tuple(tuple(map(tuple, each)) for each in values["lines"])
        return cls(**{**values, **flat, "averages": tuple(map(tuple, values["averages"])), "lines": lines})


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface(Shown):
    r"""What a model answers on average when two columns of every row are set to each pair of values.

    `averages` has a row for each value of the first column's grid: (n_first, n_second).

    Examples
    --------
    >>> Surface(
    ...     columns=("rooms", "new"),
    ...     output="target",
    ...     grids=((2.0, 4.0), (False, True)),
    ...     averages=((20.0, 25.0), (40.0, 60.0)),
    ...     n_rows=4,
    ... )
    Partial dependence of rooms and new: target; 4 rows
    rooms \ new  False  True
    2            20     25
    4            40     60
    """

    kind: ClassVar[str] = "surface"

    columns: tuple[str, str]
    output: str
    grids: tuple[tuple[Value, ...], tuple[Value, ...]]
    averages: tuple[Numbers, ...]
    n_rows: int

    @property
    def title(self) -> str:
        """Say in a few words what it shows."""
        return f"Partial dependence of {self.columns[0]} and {self.columns[1]}"

    def to_frame(self) -> pd.DataFrame:
        """Make a table: a row a value of the first column, a column a value of the second."""
        import pandas as pd

        first, second = (
            pd.Index(grid, name=name, dtype=object) for grid, name in zip(self.grids, self.columns, strict=True)
        )
        return pd.DataFrame([list(each) for each in self.averages], index=first, columns=second)

    def plot(self, *, ax: Axes | None = None) -> Figure:
        """Draw a heat map on matplotlib's axes; its own where none are given."""
        from ekiben.plots import overall

        return overall.heat(ax, self)

    def __repr__(self) -> str:
        rows = [(word, *map(number, row)) for word, row in zip(words(self.grids[0]), self.averages, strict=True)]
        head = (f"{self.columns[0]} \\ {self.columns[1]}", *words(self.grids[1]))
        return f"{self.title}: {self.output}; {self.n_rows:,} rows\n{text_table(head, rows)}"

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Surface:
        """Read the values of its fields back from JSON."""
        first, second = map(tuple, values["grids"])
        return cls(
            columns=tuple(values["columns"]),
            output=values["output"],
            grids=(first, second),
            averages=tuple(map(tuple, values["averages"])),
            n_rows=values["n_rows"],
        )


def words(grid: Sequence[Value]) -> list[str]:
    """Write the values of a grid for a reader; dates that are all of midnight without it.

    >>> words(("2024-01-01T00:00:00", None)), words(("2024-01-01T00:00:00", "2024-01-01T06:00:00"))
    (['2024-01-01', 'missing'], ['2024-01-01T00:00:00', '2024-01-01T06:00:00'])
    """
    texts = [value for value in grid if isinstance(value, str)]
    are_days = all(day(text) != text for text in texts)
    return [day(value) if are_days and isinstance(value, str) else _said(value) for value in grid]


def _said(value: Value) -> str:
    if value is None:
        return "missing"
    return digits(value, 6) if isinstance(value, float) else str(value)
