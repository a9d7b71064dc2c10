"""A picture of a shallow tree: its conditions one below the other, a bar for what is answered in each part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ekiben import drawing
from ekiben.digits import digits
from ekiben.plots import style
from ekiben.plots.overall import WIDTH, headed, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INDENT = 0.055  # of the width of the words
LONGEST = 46  # characters of a condition at the root, and fewer the deeper it is
DEEPER = 3
WORDS = 1.35  # widths of the bars that the words take, left of them


def draw(ax: Axes | None, title: str, words: str, root: Any, labels: Sequence[Any]) -> Figure:
    """Draw a tree: a row a part, indented by its depth; leaves in full colour, what they are split from in grey."""
    with style.styled():
        from ekiben.plots import figures

        parts = list(root.walk())
        ax = figures.axes(ax, WIDTH + 1.4, 1.0 + 0.3 * len(parts))
        told = [_told(each.values, labels) for _, each in parts]
        widest = max(abs(number) for number, _ in told) or 1.0
        rows: list[int] = []
        for row, ((depth, each), (number, name)) in enumerate(zip(parts, told, strict=True)):
            left = widest * WORDS * (INDENT * depth - 1)
            ax.text(left, row, _words(each, depth), va="center", ha="left", weight="normal" if depth else "bold")
            colour = style.GREY if each.branches else drawing.UP if number < 0 else drawing.DOWN
            ax.barh(row, number, height=0.6, color=colour, alpha=0.45 if each.branches else 1.0)
            note = f"{name}{digits(number, 3)}"
            ax.annotate(note, (max(number, 0), row), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9)
            rows[depth:] = [row]
            if depth:
                _join(ax, left - widest * WORDS * INDENT * 0.75, rows[depth - 1], row, widest * WORDS * INDENT * 0.55)
        ax.axvline(0, color=style.SOFT, linewidth=0.8)
        ax.set_xlim(-widest * WORDS * 1.0, widest * 1.25)
        ax.set_ylim(len(parts) - 0.4, -0.7)
        ax.set_yticks([])
        ax.set_xticks([])
        for spine in ax.spines.values():
            spine.set_visible(False)
        headed(ax, title, words)
        return figures.of(ax)


def _join(ax: Axes, x: float, above: int, row: int, length: float) -> None:
    """Draw the elbow that leads from the part above to one of its sides."""
    ax.plot([x, x, x + length], [above + 0.35, row, row], color=style.SOFT, linewidth=0.9, solid_joinstyle="miter")


def _words(each: Any, depth: int) -> str:
    share = f"{each.share * 100:.0f} %"
    return f"{short(each.condition, LONGEST - DEEPER * depth)}  ({share})" if each.condition else "all rows"


def _told(values: Sequence[float], labels: Sequence[Any]) -> tuple[float, str]:
    """Give the number to draw, and of several classes the strongest's with its name."""
    if len(values) == 1:
        return values[0], ""
    best = max(range(len(values)), key=values.__getitem__)
    return values[best], f"{short(labels[best], 16)} "
