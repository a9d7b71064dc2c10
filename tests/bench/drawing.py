"""Draw what a request costs, by model and contender."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures import Figures
from bench.goals import ratio
from bench.reporting import number
from bench.results import Results

# Okabe and Ito's blue and orange are told apart by everybody; size and place say the same once more.
PAPER, INK, QUIET, RULE = "#fbfaf7", "#23272e", "#6b7280", "#e4e2dc"
OURS, FLOOR, THEIRS = "#0072b2", "#d55e00", "#8a94a3"
COLOURS, MARKS = {"ekiben": OURS, "null": FLOOR}, {"ekiben": "o", "null": "D"}
LEAST, MOST = 20, 600_000  # of the axis
SHOWN = ("ekiben", "null", "fastapi", "bentoml", "litserve", "mlflow", "mlserver", "ray")


def draw(results: Results, target: Path) -> None:
    """Write the picture, as SVG or PNG by its name; the same figures give the same bytes."""
    figures, contenders = Figures(results), results.about["contenders"]
    cases = [case for case in results.about["cases"] if any(figures.cpu_us(case["key"], key) for key in SHOWN)]
    n_high, n_wide = (len(cases) + 1) // 2, min(2, len(cases))
    with mpl.rc_context({"font.family": "DejaVu Sans", "svg.hashsalt": "ekiben", "svg.fonttype": "path"}):
        figure = Figure(figsize=(10.5 if n_wide > 1 else 8.5, 3.3 * n_high + 1.0), facecolor=PAPER)
        axes = list(figure.subplots(n_high, n_wide, squeeze=False, sharex=True).flat)
        for axis, case in zip(axes, cases, strict=False):
            panel(axis, figures, case, contenders)
        for axis in axes[len(cases) :]:
            axis.remove()
        finish(figure)
        target.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if target.suffix == ".svg" else None
        figure.savefig(target, facecolor=PAPER, metadata=metadata, dpi=150)


def panel(axis: Axes, figures: Figures, case: dict[str, Any], contenders: Sequence[dict[str, Any]]) -> None:
    """Draw one model: a dot for each contender, the floor and ekiben first, then the cheapest."""
    costs = {each["key"]: figures.cpu_us(case["key"], each["key"]) for each in contenders if each["key"] in SHOWN}
    there = {key: cost for key, cost in costs.items() if cost is not None}
    order = sorted(there, key=lambda key: (key not in ("ekiben", "null"), key == "ekiben", there[key]))
    titles = {each["key"]: each["title"] for each in contenders}
    for place, key in enumerate(order):
        dot(axis, place, there[key], key, says=said(there[key], None if key in MARKS else there.get("ekiben")))
    axis.set_yticks(range(len(order)), [titles[key] for key in order])
    for label, key in zip(axis.get_yticklabels(), order, strict=True):
        label.set(color=OURS if key == "ekiben" else INK, fontweight="bold" if key == "ekiben" else "normal")
    if "null" in there:
        axis.axvline(there["null"], color=FLOOR, linewidth=0.9, linestyle=(0, (1, 3)), zorder=1)
    axis.set(xscale="log", ylim=(len(order) - 0.4, -0.6))
    axis.set_title(f"{case['key'].upper()}  {short(case['title'])}", loc="left", fontsize=10.5, color=INK, pad=8)
    quieten(axis)


def dot(axis: Axes, place: int, cost: float, key: str, *, says: str) -> None:
    """Draw one contender, with its figure."""
    shade, weight = COLOURS.get(key, THEIRS), "bold" if key == "ekiben" else "normal"
    size, width = (9, 2.4) if key == "ekiben" else (7, 1.4)
    axis.hlines(place, LEAST, cost, color=shade, alpha=0.9 if key == "ekiben" else 0.45, linewidth=width, zorder=2)
    axis.plot(cost, place, MARKS.get(key, "o"), color=shade, markersize=size, zorder=3)
    beside = {"textcoords": "offset points", "va": "center", "fontsize": 9, "color": INK, "fontweight": weight}
    axis.annotate(says, (cost, place), (9, 0), **beside)


def said(cost: float, ours: float | None) -> str:
    """Write a cost, and how many times ours it is.

    >>> said(5000.0, 50.0), said(50.0, None)
    ('5,000   100 ×', '50')
    """
    return f"{number(cost)}   {ratio(cost / ours)} ×" if ours else number(cost)


def short(title: str, most: int = 52) -> str:
    """Cut a title at a comma where it is too long.

    >>> short("trees, many of them, on real data", 20)
    'trees, many of them'
    """
    while len(title) > most and "," in title:
        title = title.rpartition(",")[0]
    return title


def quieten(axis: Axes) -> None:
    """Leave of the frame what helps to read."""
    axis.set_facecolor(PAPER)
    axis.grid(axis="x", which="major", color=RULE, linewidth=0.8, zorder=0)
    axis.tick_params(axis="both", length=0, labelsize=9.5)
    axis.tick_params(axis="x", which="both", labelcolor=QUIET, labelbottom=True, length=0)
    for side in axis.spines.values():
        side.set_visible(False)


def finish(figure: Figure) -> None:
    """Say what is drawn."""
    figure.get_axes()[0].set_xlim(LEAST, MOST)
    for axis in figure.get_axes():
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    inch = 1 / figure.get_figheight()
    title = {"va": "top", "fontsize": 15, "fontweight": "bold", "color": INK}
    figure.text(0.015, 1 - 0.12 * inch, "What one row costs over HTTP", **title)
    says = (
        "CPU microseconds a request, all processes of the server, 16 clients. Logarithmic; less is better; × ekiben’s."
    )
    figure.text(0.015, 1 - 0.62 * inch, says, fontsize=10, color=QUIET)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.7 * inch), h_pad=2.0, w_pad=2.5)
