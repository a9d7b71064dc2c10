"""Pictures of a whole model: bars, curves and heat maps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ekiben import drawing, fitting
from ekiben.digits import digits
from ekiben.moments import DAY, moment
from ekiben.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST = 36  # characters of a name
MOST_CURVES = 4
WIDTH = 6.4
TITLE = 64  # characters
ROOM = 50  # characters of all names below a picture, which has a legend or a scale beside it
APART = 0.13  # of the width, between the last number below a curve and the word for a missing one
MAP = "cividis"  # rises evenly in lightness, for every eye
STRIP = 0.07  # of the height, for the shares of rows


def short(name: Any, longest: int = LONGEST) -> str:
    """Leave out the middle of a long name, whatever it is of.

    >>> short(3), short("the total of all charges since", 20)
    ('3', 'the total o … since')
    """
    return fitting.short(str(name), longest)


def bars(
    ax: Axes | None,
    title: str,
    names: Sequence[str],
    values: Sequence[float],
    intervals: Sequence[tuple[float, float]] = (),
    *,
    notes: Sequence[str] = (),
    words: str = "",
) -> Figure:
    """Draw a horizontal bar for each name, the first on top, with intervals as whiskers and notes beside."""
    with style.styled():
        from ekiben.plots import figures

        n = len(names)
        ax = figures.axes(ax, WIDTH, 0.8 + 0.28 * max(n, 1))
        shown, places = list(values[:n]), range(n)
        raised = drawing.UP if min(shown, default=0.0) < 0 else drawing.DOWN  # two colours where there are two sides
        ax.barh(places, shown, height=0.62, color=[drawing.DOWN if value < 0 else raised for value in shown])
        for place, (low, high) in enumerate(intervals[:n]):
            ax.plot([low, high], [place, place], color=style.INK, linewidth=1.4, solid_capstyle="butt")
        ends = [max(0.0, value, *(intervals[i] if intervals else ())) for i, value in enumerate(shown)]
        told = notes or [digits(value, 3).replace("-", "−") for value in shown]
        for place, (end, note) in enumerate(zip(ends, told, strict=False)):
            ax.annotate(note, (end, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9)
        ax.set_yticks(places, [short(name) for name in names])
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(n - 0.4, -0.6)
        ax.axvline(0, color=style.SOFT, linewidth=0.8)
        ax.margins(x=0.14)
        ax.spines["left"].set_visible(False)
        ax.grid(axis="x")
        ax.set_axisbelow(True)
        headed(ax, title, words)
        return figures.of(ax)


def headed(ax: Axes, title: str, words: str) -> None:
    """Write a title, and plain words below it."""
    title = short(title, TITLE)
    ax.set_title(f"{title}\n" if words else title)
    if words:
        ax.annotate(words, (0, 1), xycoords="axes fraction", xytext=(0, 5), textcoords="offset points", fontsize=9)


def curve(ax: Axes | None, found: Any) -> Figure:
    """Draw a `Curve`: its averages, single rows in grey, the shares of rows as a strip below, a missing value apart."""
    with style.styled():
        from ekiben.plots import figures

        ax = figures.axes(ax, WIDTH, 3.4)
        there = [i for i, value in enumerate(found.grid) if value is not None]
        gaps = [i for i, value in enumerate(found.grid) if value is None]
        xs, gap_at = _places(found, there)
        strongest = sorted(range(len(found.averages)), key=lambda i: min(found.averages[i]) - max(found.averages[i]))
        drawn = sorted(strongest[:MOST_CURVES])
        shown = [
            _one_curve(ax, found, i, order, (xs, there), (gap_at, gaps))
            for i, order in zip(drawn, _looks(drawn), strict=True)
        ]
        if found.method == "ale":
            ax.axhline(0, color=style.SOFT, linewidth=0.8)
        _name_values(ax, found, xs, there, gap_at if gaps else None)
        _strip(ax, [*xs, *([gap_at] if gaps else [])], [found.shares[i] for i in (*there, *gaps)], xs)
        if found.labels:
            _name_classes(ax, shown, [short(found.labels[i], 22) for i in drawn], len(found.labels))
        ax.set_ylabel(short(found.output, 44))
        ax.grid(axis="y")
        ax.set_axisbelow(True)
        ax.set_title(short(found.title, TITLE))
        return figures.of(ax)


def _looks(drawn: Sequence[int]) -> list[int]:
    """Choose the look of each class: its own by its place among all, or the next that is free, so that curves of other columns match.

    >>> _looks([0, 1, 3]), _looks([1, 2, 3, 4]), _looks([0, 1, 4])
    ([0, 1, 3], [1, 2, 3, 0], [0, 1, 2])
    """
    taken: list[int] = []
    for i in drawn:
        taken.append(next(look for step in range(MOST_CURVES) if (look := (i + step) % MOST_CURVES) not in taken))
    return taken


def _name_classes(ax: Axes, shown: Sequence[Any], names: Sequence[str], n_classes: int) -> None:
    """Name the classes beside the curves, and say where some are not drawn: those that move least."""
    title = f"{len(shown)} of {n_classes} classes" if len(shown) < n_classes else None
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    ax.legend(shown, names, fontsize=9, title=title, title_fontsize=9, handlelength=2.6, **place)


def _places(found: Any, there: Sequence[int]) -> tuple[list[Any], Any]:
    """Give the place of each value on the line, dates as days since 1970, and that of a missing one, right of all."""
    if not found.is_ordered:
        return list(range(len(there))), len(there)
    values = [_number(found.grid[i]) for i in there]
    far = max(values, default=0.0) + 0.1 * ((max(values, default=1.0) - min(values, default=0.0)) or 1.0)
    return values, far


def _number(value: Any) -> float:
    told = moment(value) if isinstance(value, str) else None
    return float(value) if told is None else told.ns / DAY


def _one_curve(ax: Axes, found: Any, i: int, order: int, line: tuple[Any, Any], gap: tuple[Any, Any]) -> Any:
    """Draw the curve of one class, and give its line."""
    (xs, there), (gap_at, gaps) = line, gap
    colour = style.SEQUENCE[order % len(style.SEQUENCE)]
    joined = "-" if found.is_ordered else ""
    if found.lines and not found.labels:
        for each in found.lines[i]:
            ax.plot(xs, [each[k] for k in there], color=style.GREY, alpha=0.28, linewidth=0.8)
    shape: dict[str, Any] = (
        {"linestyle": style.DASHES[order % 4], "linewidth": 2.2} if joined else {"linestyle": "none"}
    )
    marker = "" if joined and len(there) > 1 else "o"
    ys = found.averages[i]
    label = short(found.labels[i], 22) if found.labels else None
    told = [ys[k] for k in there]
    (drawn,) = ax.plot(xs, told, color=colour, marker=marker, markersize=8, label=label, zorder=3, **shape)
    for k in gaps:
        ax.plot([gap_at], [ys[k]], color=colour, marker="D", markersize=7, linestyle="none", zorder=3)
    return drawn


def _name_values(ax: Axes, found: Any, xs: Sequence[Any], there: Sequence[int], gap_at: Any) -> None:
    ax.set_xlabel(short(found.column))
    if not found.is_ordered:
        names = [short(found.grid[i], 22) for i in there] + (["missing"] if gap_at is not None else [])
        steep = _is_steep(names)
        ax.set_xticks(range(len(names)), names, rotation=30 if steep else 0, ha="right" if steep else "center")
        ax.set_xlim(-0.6, len(names) - 0.4)
        return
    if there and isinstance(found.grid[there[0]], str):
        ax.xaxis_date()
        ax.tick_params(axis="x", rotation=25)
    if gap_at is not None:
        ax.annotate(
            "missing",
            (gap_at, 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -4),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=9,
        )
        edge = (xs[-1] + gap_at) / 2 if xs else gap_at
        ax.axvline(edge, color=style.SOFT, linewidth=0.8, linestyle=":")
        last = gap_at - APART * (gap_at - xs[0]) if xs else gap_at
        ax.set_xticks([tick for tick in ax.get_xticks() if not xs or xs[0] <= tick <= last])
    low = xs[0] if xs else 0.0
    high = gap_at if gap_at is not None else (xs[-1] if xs else 1.0)
    room = 0.04 * ((high - low) or 1.0)
    ax.set_xlim(low - room, high + room)


def _is_steep(names: Sequence[str]) -> bool:
    """Tell whether two names side by side would touch, so that all are turned.

    >>> _is_steep(["yes", "no"]), _is_steep(["a fixed contract of work", "another contract of work", "none"])
    (False, True)
    """
    room = ROOM / max(len(names), 1)
    return any((len(one) + len(other)) / 2 > room for one, other in itertools.pairwise(names))


def _strip(ax: Axes, places: Sequence[Any], shares: Sequence[float], xs: Sequence[Any]) -> None:
    """Draw at the foot of the picture where the rows are: the denser, the darker."""
    spans = [_span(place, i, xs) for i, place in enumerate(places)]
    dense = [share / ((high - low) or 1.0) for share, (low, high) in zip(shares, spans, strict=True)]
    most = max(dense, default=0.0) or 1.0
    for (low, high), each in zip(spans, dense, strict=True):
        alpha = 0.06 + 0.64 * (each / most) ** 0.5
        ax.axvspan(low, high, ymax=STRIP, color=style.GREY, linewidth=0, alpha=alpha)
    low, high = ax.get_ylim()
    ax.set_ylim(low - (high - low) * STRIP * 1.4, high)


def _span(place: Any, i: int, xs: Sequence[Any]) -> tuple[float, float]:
    """Give the part of the line that is nearest to a value."""
    steps = [after - before for before, after in itertools.pairwise(xs)]
    usual = min(steps) / 2 if steps else 0.3
    if i >= len(xs):  # a missing value, which stands apart
        usual = sum(steps) / 30 if len(steps) > 1 else usual
    left = steps[i - 1] / 2 if 0 < i <= len(steps) else usual
    right = steps[i] / 2 if i < len(steps) else usual
    return place - left, place + right


def heat(ax: Axes | None, found: Any) -> Figure:
    """Draw a `Surface`: the first column upwards, the second to the right, the answer as lightness."""
    with style.styled():
        from ekiben.plots import figures

        rows, columns = ([_cell(value) for value in grid] for grid in found.grids)
        ax = figures.axes(ax, WIDTH, max(3.0, 1.4 + 0.3 * len(rows)))
        drawn = ax.imshow(found.averages, cmap=MAP, aspect="auto", origin="lower", interpolation="nearest")
        steep = _is_steep(columns)
        ax.set_xticks(range(len(columns)), columns, rotation=30 if steep else 0, ha="right" if steep else "center")
        ax.set_yticks(range(len(rows)), rows)
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.set_ylabel(short(found.columns[0]))
        ax.set_xlabel(short(found.columns[1]))
        bar = ax.figure.colorbar(drawn, ax=ax, label=short(found.output, 44))
        bar.outline.set_visible(False)
        ax.set_title(short(found.title, TITLE))
        return figures.of(ax)


def _cell(value: Any) -> str:
    if value is None:
        return "missing"
    return digits(value, 4) if isinstance(value, float) else short(value, 18)
