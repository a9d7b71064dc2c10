"""Draw what a request costs, by model and contender."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures import Figures
from bench.measuring import Results
from bench.reporting import number

# Okabe and Ito's blue and orange are told apart by everybody; size and place say the same once more.
PAPER, INK, QUIET, RULE = "#fbfaf7", "#23272e", "#6b7280", "#e4e2dc"
OURS, FLOOR, THEIRS = "#0072b2", "#d55e00", "#8a94a3"
ONLY = ("ekiben", "null", "fastapi", "bentoml", "litserve", "mlflow", "mlserver", "ray")


def draw(results: Results, target: Path) -> None:
    """Write the picture, as SVG or PNG by its name; the same figures give the same bytes."""
    figures = Figures(results)
    cases = results.about["cases"]
    style = {"font.family": "DejaVu Sans", "svg.hashsalt": "ekiben", "svg.fonttype": "path"}
    with mpl.rc_context(style):
        figure = Figure(figsize=(10.5, 3.3 * ((len(cases) + 1) // 2) + 1.0), facecolor=PAPER)
        axes = figure.subplots((len(cases) + 1) // 2, min(2, len(cases)), squeeze=False, sharex=True).flat
        for axis, case in zip(axes, cases, strict=False):
            panel(axis, figures, case, results.about["contenders"])
        for axis in list(axes)[len(cases) :]:
            axis.set_visible(False)
        finish(figure)
        target.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if target.suffix == ".svg" else None
        figure.savefig(target, facecolor=PAPER, metadata=metadata, dpi=150)


def panel(axis: Axes, figures: Figures, case: dict[str, Any], contenders: Sequence[dict[str, Any]]) -> None:
    """Draw one model: a dot for each contender, ekiben and the floor first, then the cheapest."""
    costs = {each["key"]: figures.cpu_us(case["key"], each["key"]) for each in contenders if each["key"] in ONLY}
    there = {key: cost for key, cost in costs.items() if cost is not None}
    order = sorted(there, key=lambda key: (key not in ("ekiben", "null"), key == "ekiben", there[key]))
    titles = {each["key"]: each["title"] for each in contenders}
    for place, key in enumerate(order):
        dot(axis, place, there[key], key)
    axis.set_yticks(range(len(order)), [titles[key] for key in order])
    for label, key in zip(axis.get_yticklabels(), order, strict=True):
        label.set(color=colour(key) if key == "ekiben" else INK, fontweight="bold" if key == "ekiben" else "normal")
    axis.set(xscale="log", ylim=(len(order) - 0.4, -0.6))
    axis.set_title(f"{case['key'].upper()}  {short(case['title'])}", loc="left", fontsize=10.5, color=INK, pad=8)
    quieten(axis)


def dot(axis: Axes, place: int, cost: float, key: str) -> None:
    """Draw one contender, with its figure."""
    is_ours = key == "ekiben"
    axis.hlines(
        place, 1, cost, color=colour(key), alpha=0.9 if is_ours else 0.45, linewidth=2.4 if is_ours else 1.4, zorder=2
    )
    axis.plot(cost, place, "D" if key == "null" else "o", color=colour(key), markersize=9 if is_ours else 7, zorder=3)
    weight = "bold" if is_ours else "normal"
    axis.annotate(
        number(cost),
        (cost, place),
        (9, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        color=INK,
        fontweight=weight,
    )


def colour(key: str) -> str:
    return {"ekiben": OURS, "null": FLOOR}.get(key, THEIRS)


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
    figure.get_axes()[0].set_xlim(20, 100_000)
    for axis in figure.get_axes():
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    figure.suptitle(
        "What one row costs over HTTP", x=0.02, y=0.985, ha="left", fontsize=15, fontweight="bold", color=INK
    )
    says = "CPU microseconds a request of all processes of the server, 16 clients; logarithmic; less is better"
    figure.text(0.02, 0.925, says, fontsize=10, color=QUIET)
    figure.tight_layout(rect=(0, 0, 1, 0.92), h_pad=2.0, w_pad=2.5)
