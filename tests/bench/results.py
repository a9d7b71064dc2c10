"""Everything that a run measured, as plain records that are kept as JSON."""

from __future__ import annotations

import json
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


@dataclass(kw_only=True)
class Stressed(Kept):
    """What became of the promises under attack, load and faults: a record for each contender."""

    attacks: list[dict[str, Any]] = field(default_factory=list)
    kills: list[dict[str, Any]] = field(default_factory=list)
    overloads: list[dict[str, Any]] = field(default_factory=list)
    restarts: list[dict[str, Any]] = field(default_factory=list)
    doors: list[dict[str, Any]] = field(default_factory=list)


OfKept = TypeVar("OfKept", bound=Kept)


def read(path: Path, kind: type[OfKept] = Results) -> OfKept:
    """Read what `keep` wrote."""
    return kind(**json.loads(path.read_text(encoding="utf-8")))
