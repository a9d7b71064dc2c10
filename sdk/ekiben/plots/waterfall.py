"""What each column added, as bars of which each begins where the last one ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ekiben.digits import digits
from ekiben.fitting import short
from ekiben.plots import style
from ekiben.plots.texts import LONGEST, number, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Step = tuple[str, float, float | None]  # a column, what it added, and the standard error of that
WIDTH, ROW, AROUND = 7.6, 0.36, 1.15  # inches
THICK = 0.62
SIZE, LETTER, GAP = 9, 0.64, 5  # of an amount: points, how wide a letter is at most of them, and points behind its bar


def waterfall(
    steps: Sequence[Step], *, base_value: float, value: float, output: str, units: str, ax: Axes | None = None
) -> Figure:
    """Draw steps from a base value to a value, in their order.

    Parameters
    ----------
    steps
        Of each: its label, what it added, and the standard error of that or None.
    base_value, value
        Where the first begins, and where the last ends.
    output, units
        What is explained, and the scale of all numbers.
    ax
        Axes to draw on; by default those of a figure of its own.

    Examples
    --------
    >>> drawn = waterfall(
    ...     [("age", 2.0, None), ("income", -0.5, 0.1)], base_value=1, value=2.5, output="rent", units="target"
    ... )
    >>> [(bar.get_x(), bar.get_width()) for bar in drawn.axes[0].patches]
    [(1.0, 2.0), (3.0, -0.5)]
    """
    with style.styled():
        from matplotlib.ticker import MaxNLocator

        from ekiben.plots import figures

        axes = figures.axes(ax, WIDTH, AROUND + ROW * max(len(steps), 1))
        at, places = float(base_value), range(len(steps))
        written: list[tuple[float, str]] = []  # of each step: where its amount begins, and what it says
        for place, (_, amount, error) in enumerate(steps):
            axes.barh(place, amount, THICK, left=at, color=style.UP if amount >= 0 else style.DOWN, zorder=3)
            if error is not None:
                axes.errorbar(at + amount, place, xerr=error, color=style.INK, capsize=3, linewidth=1.2, zorder=4)
            end = at + amount
            if place + 1 < len(steps):
                axes.plot([end, end], [place - THICK / 2, place + 1 + THICK / 2], color=style.SOFT, lw=0.8, zorder=2)
            written.append((max(at, end + (error or 0.0)), _amount(amount, error)))
            at = end
        axes.set_yticks(places, [short(label, LONGEST) for label, _, _ in steps])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_ylim(max(len(steps), 1) - 0.4, -1.1)
        axes.use_sticky_edges = False
        axes.margins(x=0.2)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        for place, (begins, told) in enumerate(written):
            axes.annotate(
                told, (begins, place), (GAP, 0), textcoords="offset points", va="center", fontsize=SIZE, zorder=5
            )
        _ends(axes, base_value, value, written)
        errors = ", whiskers ± 1 standard error" if any(error is not None for *_, error in steps) else ""
        axes.set_xlabel(f"{scale(output, units)}{errors}")
        axes.set_title(f"{short(output, LONGEST)} = {number(value)}", pad=10)
        return figures.of(axes)


def _amount(amount: float, error: float | None) -> str:
    """Say what a step added, and how far that may be off."""
    return number(amount, "+") + ("" if error is None else f" ± {digits(error, 2)}")


def _ends(axes: Axes, base_value: float, value: float, written: Sequence[tuple[float, str]]) -> None:
    """Mark where the steps begin and where they end; the two words part where the two lie close together."""
    is_right = value >= base_value
    for at, told, side, dashes in (
        (base_value, f"base {number(base_value)}", "right" if is_right else "left", (0, (4, 3))),
        (value, f"value {number(value)}", "left" if is_right else "right", "-"),
    ):
        down = _beside(axes, at, written)
        axes.plot([at] * len(down), down, color=style.SOFT, linestyle=dashes, linewidth=1.0, zorder=1)
        shift = 4 if side == "left" else -4
        axes.annotate(
            told, (at, -0.75), xytext=(shift, 0), textcoords="offset points", ha=side, va="center", fontsize=SIZE
        )


def _beside(axes: Axes, at: float, written: Sequence[tuple[float, str]]) -> list[float]:
    """Give the heights of a line down the picture that leaves out the rows whose amount it would strike through."""
    low, high = axes.get_ylim()
    points = 72 / axes.figure.dpi
    line = axes.transData.transform((at, 0))[0] * points
    down = [high]
    for place, (begins, told) in enumerate(written):
        starts = axes.transData.transform((begins, place))[0] * points + GAP
        if starts - 2 < line < starts + LETTER * SIZE * len(told) + 2:
            down += [place - 0.5, math.nan, place + 0.5]
    return [*down, low]
