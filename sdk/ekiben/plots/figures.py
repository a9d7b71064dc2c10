"""Figures that draw themselves in a notebook, without pyplot and its backends; matplotlib is imported with this module."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ekiben.plots import style

__all__ = ["Axes", "Drawn", "Figure", "axes", "figure", "of"]


class Drawn(Figure):
    """A matplotlib figure as any other; a notebook shows it as SVG whose text has the page's own colour."""

    def _repr_html_(self) -> str:
        texts = [ax.get_title(loc) for ax in self.axes for loc in ("left", "center", "right")]
        return style.svg(self, next(filter(None, texts), "A picture"))


def figure(width: float, height: float) -> Figure:
    """Make a figure, in inches.

    >>> figure(4, 3).get_size_inches().tolist()
    [4.0, 3.0]
    """
    return Drawn(figsize=(width, height), layout="constrained")


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Give the axes to draw on: those given, or those of a figure of its own, in inches."""
    return figure(width, height).add_subplot() if ax is None else ax


def of(drawn: Axes) -> Figure:
    """Give the figure that holds some axes, whichever part of it they are in."""
    found = drawn.get_figure(root=True)
    assert found is not None
    return found
