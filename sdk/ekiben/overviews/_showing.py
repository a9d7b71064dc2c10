"""How values that speak of a whole model show themselves: as aligned text, and drawn in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from ekiben.digits import digits
from ekiben.errors import MissingExtraError

if TYPE_CHECKING:
    from ekiben.plots.figures import Axes, Figure


class Shown:
    """A value that a notebook draws with matplotlib, and without it as text."""

    __slots__ = ()

    @property
    def title(self) -> str:
        """Say in a few words what it shows."""
        raise NotImplementedError

    def plot(self, *, ax: Axes | None = None) -> Figure:
        """Draw it on axes of matplotlib."""
        raise NotImplementedError

    def svg(self) -> str:
        """Draw it as SVG for a page.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        from ekiben.plots import style

        with style.styled():
            return style.svg(self.plot(), self.title)

    def _repr_html_(self) -> str:
        try:
            return self.svg()
        except MissingExtraError:
            return preformatted(str(self))


def preformatted(text: str) -> str:
    """Put text into a page as it is."""
    return f'<pre style="color:inherit;background:transparent;overflow-x:auto">{escape(text)}</pre>'


def number(value: float) -> str:
    """Write a number with three digits that count."""
    return digits(value or 0.0, 3)


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align cells below their heads.

    >>> print(text_table(("a", "b"), [("1", "20")]))
    a  b
    1  20
    """
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    told = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in told)


def plain(item: Any) -> Any:
    """Write a value as JSON knows it; numbers keep six digits that count, which is more than their error leaves sure."""
    if is_dataclass(item) and not isinstance(item, type):
        return {each.name: plain(getattr(item, each.name)) for each in fields(item)}
    if isinstance(item, Mapping):
        return {key: plain(each) for key, each in item.items()}
    if isinstance(item, list | tuple):
        return [plain(each) for each in item]
    return float(format(item, ".6g")) if isinstance(item, float) else item
