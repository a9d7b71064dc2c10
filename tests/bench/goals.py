"""What we want of the figures: each goal beside what was measured, never asserted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.figures import Figures

OTHERS = ("bentoml", "litserve", "mlflow", "mlserver", "ray")


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One ratio, and how large it may or must be."""

    says: str
    measured: float | None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def wanted(self) -> str:
        """Say the goal."""
        return f"≤ {ratio(self.at_most)}" if self.at_most is not None else f"≥ {ratio(self.at_least)}"

    @property
    def is_met(self) -> bool | None:
        """Tell whether it is met; None when nothing was measured."""
        if self.measured is None:
            return None
        return self.measured <= self.at_most if self.at_most is not None else self.measured >= (self.at_least or 0)


def goals(figures: Figures) -> Iterator[Goal]:
    """Give all goals, in the order in which they are shown."""
    yield from by_cpu(figures, "a", fastapi=1 / 50, others=1 / 100, null=0.5)
    yield from by_cpu(figures, "b", fastapi=1 / 8, others=1 / 20, null=0.3)
    cost = figures.cpu_us
    yield Goal(
        says="D: CPU a request, to plain BentoML's", measured=over(cost("d", "ekiben"), cost("d", "bentoml")), at_most=1
    )
    yield Goal(
        says="A: one row in one process, the model's time to ours", measured=figures.speedup("a", 1), at_least=500
    )
    yield Goal(
        says="B: one row in one process, the model's time to ours", measured=figures.speedup("b", 1), at_least=15
    )
    arms = over(cost("a", "ekiben_arms"), cost("a", "ekiben"))
    yield Goal(
        says="A: CPU a request with two arms, a unit and metrics by arm, to one arm's", measured=arms, at_most=1.1
    )
    recorded = over(cost("a", "ekiben"), cost("a", "ekiben_unrecorded"))
    yield Goal(
        says="A: CPU a request whose decision is recorded, to one whose is not", measured=recorded, at_most=1 / 0.9
    )
    started = over(figures.start_cpu_s("a", "ekiben"), figures.start_cpu_s("a", "bentoml"))
    yield Goal(says="A: CPU from start to first answer, to plain BentoML's", measured=started, at_most=1 / 3)


def by_cpu(figures: Figures, case: str, *, fastapi: float, others: float, null: float) -> Iterator[Goal]:
    """Give the goals of what one request costs."""
    ours, name = figures.cpu_us(case, "ekiben"), case.upper()
    theirs = [cost for other in OTHERS if (cost := figures.cpu_us(case, other)) is not None]
    yield Goal(
        says=f"{name}: CPU a request, to FastAPI's",
        measured=over(ours, figures.cpu_us(case, "fastapi")),
        at_most=fastapi,
    )
    yield Goal(
        says=f"{name}: CPU a request, to the cheapest other peer's",
        measured=over(ours, min(theirs, default=None)),
        at_most=others,
    )
    floor = over(figures.cpu_us(case, "null"), ours)
    yield Goal(says=f"{name}: the null server's CPU to ours", measured=floor, at_least=null)


def over(part: float | None, whole: float | None) -> float | None:
    """Divide, when both were measured."""
    return part / whole if part is not None and whole else None


def ratio(value: float | None) -> str:
    """Write a ratio as people say it.

    >>> ratio(0.02), ratio(0.5), ratio(1.1), ratio(640.2), ratio(None)
    ('1/50', '0.50', '1.10', '640', '–')
    """
    if value is None:
        return "–"
    if value < 0.4:
        return f"1/{1 / value:.0f}" if 1 / value >= 9.95 else f"1/{1 / value:.1f}".removesuffix(".0")
    return f"{value:.2f}" if value < 9.95 else f"{value:.0f}"
