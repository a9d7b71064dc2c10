"""What columns added to many answers: a point an answer, or a bar of the means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from ekiben.fitting import short
from ekiben.plots import style
from ekiben.plots.texts import LONGEST, number, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, ROW, AROUND = 7.6, 0.42, 1.2  # inches
LEAST = 2.4  # inches of height: the key beside has words of its own
N_BINS = 90  # points in one of them lie above each other
HALF = 0.38  # of a row, that points may reach from its middle
MOST_DRAWN = 300  # points of a column; more become pixels, so that a page stays small
TAILS = (5, 95)  # percentiles that get the ends of the colours: a few far values leave the others apart
MIDDLE = "#a3a3a3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One column: its label, what it added to each answer, and its value in each row, where that is known."""

    label: str
    amounts: Sequence[float]
    values: Sequence[Any] = ()


def swarm(columns: Sequence[Moved], *, output: str, units: str, ax: Axes | None = None) -> Figure:
    """Draw a point for each answer in the row of each column, in the colour of the column's value.

    Numbers and dates go from blue to orange, texts and lists are grey, and missing values are hollow.

    Examples
    --------
    >>> drawn = swarm([Moved(label="age", amounts=[0.2, -0.1], values=[60, 20])], output="rent", units="target")
    >>> [list(map(float, each.get_offsets()[:, 0])) for each in drawn.axes[0].collections]
    [[0.2, -0.1]]
    """
    with style.styled():
        from ekiben.plots import figures

        axes = figures.axes(ax, WIDTH, max(AROUND + ROW * len(columns), LEAST))
        axes.axvline(0, color=style.SOFT, linewidth=1.0, zorder=1)
        told = [_points(axes, place, each) for place, each in enumerate(columns)]
        _labels(axes, columns, output, units)
        axes.set_title(f"{_counted(columns)} of {short(output, LONGEST)}", pad=10)
        if any(told):
            _key(axes)
        return figures.of(axes)


def means(columns: Sequence[Moved], *, output: str, units: str, ax: Axes | None = None) -> Figure:
    """Draw for each column the mean of what it added, whichever way.

    >>> drawn = means([Moved(label="age", amounts=[0.3, -0.1])], output="rent", units="target")
    >>> [round(float(bar.get_width()), 6) for bar in drawn.axes[0].patches]
    [0.2]
    """
    with style.styled():
        from ekiben.plots import figures

        axes = figures.axes(ax, WIDTH, AROUND + 0.34 * len(columns))
        sizes = [sum(map(abs, each.amounts)) / len(each.amounts) for each in columns]
        axes.barh(range(len(columns)), sizes, 0.62, color=style.DOWN, zorder=3)
        for place, size in enumerate(sizes):
            axes.annotate(
                number(size), (size, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9
            )
        _labels(axes, columns, output, units)
        axes.set_xlim(0, (max(sizes, default=0.0) or 1.0) * 1.14)
        axes.set_xlabel(f"mean |contribution| to {scale(output, units)}")
        axes.set_title(f"{_counted(columns)} of {short(output, LONGEST)}", pad=10)
        return figures.of(axes)


def _counted(columns: Sequence[Moved]) -> str:
    n = len(columns[0].amounts) if columns else 0
    return f"{n:,} explanation{'' if n == 1 else 's'}"


def _labels(axes: Axes, columns: Sequence[Moved], output: str, units: str) -> None:
    axes.set_yticks(range(len(columns)), [short(each.label, 36) for each in columns])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(max(len(columns), 1) - 0.4, -0.6)
    axes.set_xlabel(f"contribution to {scale(output, units)}")


def _points(axes: Axes, place: int, column: Moved) -> bool:
    """Draw the points of one column, and tell whether some of them have a colour."""
    import numpy as np

    x = np.asarray(column.amounts, dtype=float)
    y = place + _spread(column.amounts)
    size = 22 if len(x) <= 200 else 12
    scale, missing = scaled(column.values or [""] * len(x))
    has = ~missing & ~np.isnan(scale)
    for chosen, settings in (
        (~missing & np.isnan(scale), {"color": style.GREY}),
        (has, {"c": scale[has], "cmap": _colours(), "vmin": 0, "vmax": 1}),
        (missing, {"facecolors": "none", "edgecolors": style.GREY, "linewidths": 1.0}),
    ):
        if chosen.any():
            axes.scatter(
                x[chosen], y[chosen], s=size, zorder=3, rasterized=len(x) > MOST_DRAWN, **{"linewidths": 0, **settings}
            )
    return bool(has.any())


def scaled(values: Sequence[Any]) -> Any:
    """Give the place of each value on its column's scale, from 0 to 1 or NaN for one that has none, and which are missing.

    >>> [part.tolist() for part in scaled([1, 3, None])]
    [[0.0, 1.0, nan], [False, False, True]]
    """
    import numpy as np

    missing = np.array([value is None or value != value for value in values], dtype=bool)
    numbers = np.array([_as_number(value) for value in values], dtype=float)
    known = numbers[~np.isnan(numbers)]
    if len(known) + missing.sum() < len(values) or not len(known):
        return np.full(len(values), np.nan), missing
    low, high = np.percentile(known, TAILS)
    low, high = (low, high) if high > low else (known.min(), known.max())
    if high <= low:
        return np.where(np.isnan(numbers), np.nan, 0.5), missing
    return np.clip((numbers - low) / (high - low), 0, 1), missing


def _as_number(value: Any) -> float:
    """Give a number, a truth or a moment as a number; NaN for anything else."""
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp() if len(value) >= len("2024-01-01") else float("nan")
        except (ValueError, OverflowError):
            return float("nan")
    if isinstance(value, datetime):
        return value.timestamp()
    return float(value.toordinal()) if isinstance(value, date) else float("nan")


def _spread(amounts: Sequence[float]) -> Any:
    """Lay points that are alike beside each other, the same way each time."""
    import numpy as np

    x = np.asarray(amounts, dtype=float)
    width = float(np.ptp(x)) or 1.0
    bins = np.floor((x - x.min()) / width * N_BINS).astype(int)
    order = np.argsort(bins, kind="stable")
    turns = np.zeros(len(x))
    _, starts, sizes = np.unique(bins[order], return_index=True, return_counts=True)
    for start, size in zip(starts, sizes, strict=True):
        nth = np.arange(size)
        turns[order[start : start + size]] = (nth + 1) // 2 * np.where(nth % 2, 1, -1)
    reach = float(np.abs(turns).max()) or 1.0
    return turns * min(HALF / reach, 0.11)


def _colours() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ekiben", [style.DOWN, MIDDLE, style.UP])


def _key(axes: Axes) -> None:
    from matplotlib.cm import ScalarMappable

    bar = axes.figure.colorbar(ScalarMappable(cmap=_colours()), ax=axes, ticks=[0, 1], aspect=30, pad=0.02)
    bar.ax.set_yticklabels(["low", "high"])
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
    bar.set_label("value of the column", labelpad=-8)
