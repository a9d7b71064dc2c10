"""Everything that a run measured, as plain records that are kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured: how often, for how long each time, and by how many clients at once."""

    rounds: int
    seconds: float
    clients: tuple[int, ...] = (1, 16, 64)


@dataclass(kw_only=True)
class Kept:
    """What every run keeps; each list fills as the run goes on."""

    about: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: list[dict[str, Any]] = field(default_factory=list)  # who could not take part, and why

    def keep(self, path: Path) -> None:
        """Write all of it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


@dataclass(kw_only=True)
class Results(Kept):
    """What a row cost."""

    starts: list[dict[str, Any]] = field(default_factory=list)
    agreement: list[dict[str, Any]] = field(default_factory=list)
    loads: list[dict[str, Any]] = field(default_factory=list)
    neighbours: list[dict[str, Any]] = field(default_factory=list)
    inside: list[dict[str, Any]] = field(default_factory=list)


SCENARIOS = ("attacks", "kills", "overloads", "restarts", "doors")


@dataclass(kw_only=True)
class Stressed(Kept):
    """What became of the promises under attack, load and faults: a record for each contender."""

    attacks: list[dict[str, Any]] = field(default_factory=list)
    kills: list[dict[str, Any]] = field(default_factory=list)
    overloads: list[dict[str, Any]] = field(default_factory=list)
    restarts: list[dict[str, Any]] = field(default_factory=list)
    doors: list[dict[str, Any]] = field(default_factory=list)


def joined(runs: Sequence[Stressed]) -> Stressed:
    """Make one of several runs of other contenders, or other scenarios, on one machine; what they share is the last one's."""
    whole = Stressed(
        about={**runs[-1].about, "contenders": [], "runs": sum(each.about.get("runs", 1) for each in runs)}
    )
    for each in runs:
        known = [told["key"] for told in whole.about["contenders"]]
        whole.about["contenders"] += [told for told in each.about["contenders"] if told["key"] not in known]
        whole.versions |= each.versions
        whole.missing += [told for told in each.missing if told not in whole.missing]
        for name in SCENARIOS:
            getattr(whole, name).extend(getattr(each, name))
    return whole


OfKept = TypeVar("OfKept", bound=Kept)


def read(path: Path, kind: type[OfKept] = Results) -> OfKept:
    """Read what `keep` wrote."""
    return kind(**json.loads(path.read_text(encoding="utf-8")))
