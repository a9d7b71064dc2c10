"""A rule with its intervals, and rows beside each other with what differs marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ekiben.fitting import short, width
from ekiben.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE = 0.3  # inches
WIDEST = 26  # characters of a cell
CHARACTER, BOLD, SMALL, TITLE = 0.078, 0.089, 0.071, 0.098  # inches
CONDITION, HERE = 56, 24  # characters of a condition, and of the row's value beside it
BOTH = 68  # characters of the two


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share that was measured, with its 95 % interval."""

    name: str
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of a table: its text, the colour of the mark before it or "", and whether it is bold."""

    text: str = ""
    mark: str = ""
    bold: bool = False


def rule(
    lines: Sequence[tuple[str, str]], *, title: str, shares: Sequence[Share], threshold: float, ax: Axes | None = None
) -> Figure:
    """Draw conditions, each with the row's value, above what was measured of them.

    Parameters
    ----------
    lines
        Of each condition: its text, and the row's value or "".
    shares, threshold
        What was measured, and the precision that was searched for.

    Examples
    --------
    >>> held = Share(name="precision", share=0.97, low=0.95, high=0.98)
    >>> drawn = rule([("income > 105", "112")], title="'good'", shares=[held], threshold=0.95)
    >>> [text.get_text() for text in drawn.axes[0].texts][:2]
    ['income > 105', 'this row: 112']
    """
    with style.styled():
        from ekiben.plots import figures

        n_lines, n_shares = len(lines), len(shares)
        axes = figures.axes(ax, 7.6, 0.95 + LINE * (n_lines + 1.6 * n_shares))
        across = axes.get_yaxis_transform()
        for place, (condition, value) in enumerate(lines):
            y = place - n_lines - 0.2
            here = short(value, HERE)
            told = short(condition, min(CONDITION, BOTH - width(here)))
            axes.text(0.0, y, told, transform=across, va="center", family="monospace")
            axes.text(1.0, y, f"this row: {here}" if here else "", transform=across, va="center", ha="right")
        for place, each in enumerate(shares):
            y = 1.6 * place + 0.6
            axes.plot([0, 1], [y, y], color=style.SOFT, linewidth=4, alpha=0.25, solid_capstyle="round")
            axes.plot([each.low, each.high], [y, y], color=style.DOWN, linewidth=4, solid_capstyle="round", zorder=3)
            axes.plot([each.share], [y], "o", color=style.DOWN, markersize=9, zorder=4)
            told = f"{each.share:.1%} ({each.low:.1%} to {each.high:.1%})"
            axes.annotate(told, (1, y), xytext=(0, 7), textcoords="offset points", ha="right", va="bottom", fontsize=9)
        axes.plot([threshold] * 2, [0.25, 0.95], color=style.UP, linewidth=2, zorder=5)
        axes.set_yticks([1.6 * place + 0.6 for place in range(n_shares)], [each.name for each in shares])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(1.6 * n_shares + 0.1, -n_lines - 0.7)
        axes.xaxis.set_major_formatter(lambda at, _: f"{at:.0%}")
        axes.set_xlabel(f"share of rows; orange: the {threshold:.0%} asked for")
        axes.set_title(short(title, 70), pad=8)
        return figures.of(axes)


def table(
    head: Sequence[str], rows: Sequence[Sequence[Cell]], *, title: str, note: str = "", ax: Axes | None = None
) -> Figure:
    """Draw rows of cells, and a note below them; a mark is a bar of colour before the text.

    >>> drawn = table(
    ...     ["", "now", "then"], [[Cell(text="income"), Cell(text="80"), Cell(text="112", mark="#000000")]], title="t"
    ... )
    >>> len(drawn.axes[0].patches)
    1
    """
    with style.styled():
        from matplotlib.patches import Rectangle

        from ekiben.plots import figures

        cells = [[Cell(text=name) for name in head], *rows]
        widths = [0.3 + max(map(_inches, column)) for column in zip(*cells, strict=True)]
        title = short(title, 90)
        whole = max(sum(widths), 4.0, SMALL * width(note) + 0.3, TITLE * width(title))
        axes = figures.axes(ax, whole, LINE * (len(rows) + 1) + 0.6)
        starts = [sum(widths[:place]) for place in range(len(widths))]
        for start, name in zip(starts, head, strict=True):
            axes.text(start + 0.1, 0, short(name, WIDEST), va="center", fontsize=9)
        for y, row in enumerate(rows, start=1):
            axes.axhline(y - 0.5, color=style.SOFT, linewidth=0.6, alpha=0.5)
            for start, cell in zip(starts, row, strict=True):
                if cell.mark:
                    axes.add_patch(Rectangle((start, y - 0.36), 0.045, 0.72, color=cell.mark, linewidth=0))
                weight = "bold" if cell.bold else "normal"
                axes.text(start + 0.1, y, short(cell.text, WIDEST), va="center", fontweight=weight)
        axes.set_xlim(0, whole)
        if note:
            axes.text(0.1, len(rows) + 1, note, va="center", fontsize=9)
        axes.set_ylim(len(rows) + (1.6 if note else 0.6), -0.6)
        axes.set_axis_off()
        axes.set_title(title, pad=6)
        return figures.of(axes)


def _inches(cell: Cell) -> float:
    return (BOLD if cell.bold else CHARACTER) * width(short(cell.text, WIDEST))
