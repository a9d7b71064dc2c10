"""Where the texts of a picture stand: for tests that none lies on another, or on what it must not."""

from itertools import combinations, pairwise
from math import cos, radians, sin

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from ekiben.plots import style

SLACK = 1.0  # pixels in which letters may touch


def boxes(figure):
    """Give each text that is seen and its box, in pixels."""
    return [(each.get_text(), box) for each, box in _seen(figure)]


def overlaps(figure):
    """List the pairs of texts that lie on each other."""
    pairs = combinations(_seen(figure), 2)
    return [(one.get_text(), other.get_text()) for (one, a), (other, b) in pairs if _meet(one, a, other, b)]


def struck(figure):
    """List the texts that an upright line goes through."""
    found = boxes(figure)
    return [
        text
        for ax in figure.axes
        for line in ax.lines
        for (x, y), (u, v) in pairwise(line.get_transform().transform(line.get_xydata()))
        for text, box in found
        if x == u and box.x0 < x < box.x1 and min(y, v) < (box.y0 + box.y1) / 2 < max(y, v)
    ]


def lie_on(a, b):
    """Tell whether two boxes share more than a line."""
    across = min(a.x1, b.x1) - max(a.x0, b.x0)
    return across > SLACK and min(a.y1, b.y1) - max(a.y0, b.y0) > SLACK


def _seen(figure):
    with style.styled():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        unseen = {label for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for label in _beyond(axis)}
        seen = [each for each in figure.findobj(Text) if each.get_visible() and each.get_text().strip()]
        return [(each, _box(each, canvas.get_renderer())) for each in seen if each not in unseen]


def _beyond(axis):
    """Give the labels of ticks that are not drawn, since they lie beyond the ends."""
    low, high = sorted(axis.get_view_interval())
    ticks, drawn = [*axis.majorTicks, *axis.minorTicks], axis.axes.axison
    beyond = [tick for tick in ticks if not (drawn and low <= tick.get_loc() <= high)]
    return [label for tick in beyond for label in (tick.label1, tick.label2)]


def _box(text, renderer):
    """Give the box of a text, without an empty last line."""
    box = text.get_window_extent(renderer)
    empty = text.get_text().endswith("\n")
    return Bbox.from_extents(box.x0, (box.y0 + box.y1) / 2, box.x1, box.y1) if empty else box


def _meet(one, a, other, b):
    """Tell whether two texts lie on each other; of two that are turned alike, whether their lines are too near."""
    turned = radians(one.get_rotation())
    if not turned or one.get_rotation() != other.get_rotation():
        return lie_on(a, b)
    (x, y), (u, v) = (each.get_transform().transform(each.get_position()) for each in (one, other))
    apart = abs((v - y) * cos(turned) - (u - x) * sin(turned))
    return lie_on(a, b) and apart < one.get_fontsize() * one.get_figure(root=True).dpi / 72
