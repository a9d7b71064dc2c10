"""How pictures look: colours that everybody tells apart, no background, and text that is read on light and on dark."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

from ekiben import drawing
from ekiben._optional import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UP, DOWN = drawing.UP, drawing.DOWN
INK = "#777777"  # contrast of 4.4 on white and on black alike; an inline SVG has the page's own colour in its place
SOFT = "#999999"  # lines that hold nothing
GREY = "#8c8c8c"  # marks that have no place on a scale: categories, missing values

# Told apart by each kind of colour-blindness (CIELAB distance of 27 and more), with a contrast of 3 on white and on black.
SEQUENCE = (DOWN, UP, "#c9728f", "#7f42fa")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))  # beside the colours, for who sees none

RC: dict[str, Any] = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "savefig.bbox": "tight",
    "figure.dpi": 110,
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": SOFT,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "text.parse_math": False,  # a dollar in a column's name is a dollar
    "svg.fonttype": "none",
    "svg.hashsalt": "ekiben",
}
FONTS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


@contextmanager
def styled() -> Iterator[None]:
    """Draw in this style within the block; what others draw stays as it is.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> with styled():
    ...     import matplotlib
    ...
    ...     matplotlib.rcParams["text.color"] == INK
    True
    """
    with require("matplotlib", to="draw a picture").rc_context(RC):
        yield


def svg(drawn: Figure, title: str) -> str:
    """Write a figure as SVG for a page: text stays text, in the page's colour, and a title tells what it shows.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> text = svg(Figure(figsize=(2, 1)), "Nothing & more")
    >>> text[:40], "Nothing &amp; more</title>" in text
    ('<svg role="img" xmlns:xlink="http://www.', True)
    """
    out = StringIO()
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the page's own fonts have it
        drawn.savefig(
            out, format="svg", dpi=220, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = text.replace(INK, "currentColor").replace("'DejaVu Sans'", FONTS)
    head, _, body = text.partition(">")
    head = head.replace("<svg ", '<svg role="img" ', 1)
    return f'{head} style="max-width:100%;height:auto"><title>{escape(title)}</title>{body}'
