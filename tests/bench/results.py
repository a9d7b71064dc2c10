"""Everything that a run measured, as plain records that are kept as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured: how often, for how long each time, and by how many clients at once."""

    rounds: int
    seconds: float
    clients: tuple[int, ...] = (1, 16, 64)


@dataclass(kw_only=True)
class Results:
    """What was measured; each list fills as the run goes on."""

    about: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: list[dict[str, Any]] = field(default_factory=list)  # who could not take part, and why
    starts: list[dict[str, Any]] = field(default_factory=list)
    agreement: list[dict[str, Any]] = field(default_factory=list)
    loads: list[dict[str, Any]] = field(default_factory=list)
    neighbours: list[dict[str, Any]] = field(default_factory=list)
    inside: list[dict[str, Any]] = field(default_factory=list)

    def keep(self, path: Path) -> None:
        """Write all of it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Results:
    """Read what `Results.keep` wrote."""
    return Results(**json.loads(path.read_text(encoding="utf-8")))
