"""What is held to the laws, and what a law found."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ekiben import routing, tables
from ekiben.client import Client
from ekiben.errors import RequestError
from ekiben.packages import Package
from ekiben.pinning import Contract
from ekiben.spec import ServiceSpec
from ekiben.values import misfit

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-6  # on scores; a label may never change
ROWS = 40
MOST_TRIES = 5000  # requests without a unit, to meet an arm


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An arm under the law: its package, and the running service it is part of, if there is one."""

    arm: str
    package: Package
    spec: ServiceSpec | None = None
    client: Client | None = None
    promised: Contract | None = None

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Real rows: the examples, and some of the reference."""
        import pandas as pd

        return pd.concat([self.package.example_frame, self.package.sample.head(ROWS)], ignore_index=True)

    @cached_property
    def askable(self) -> pd.DataFrame:
        """The rows that the service takes too: another arm may take fewer texts, and no missing value."""
        if self.promised is None:
            return self.rows
        known = [self.promised.signature.inputs[name] for name in self.package.schema.names]
        fits = [
            all(misfit(column, row[column.name]) is None for column in known) for row in tables.as_records(self.rows)
        ]
        return self.rows[fits]

    def whole(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Give rows that hold the columns of the other arms too, from the service's own example."""
        if self.promised is None:
            return frame
        absent = [name for name in self.promised.signature.inputs.names if name not in frame.columns]
        return tables.with_columns(frame, {name: _repeated(self.promised.row[name], frame) for name in absent})

    def over_http(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Ask the service until this arm answers."""
        assert self.client is not None
        frame = self.whole(frame)
        assert self.spec is not None
        unit = routing.unit_for(self.spec.route, self.arm, prefix="check") if self.spec.unit else None
        tries = min(MOST_TRIES, math.ceil(12 / self.spec.route.share(self.arm)))  # fewer than one in 100,000 miss
        for _ in range(1 if unit else tries):
            answered = self.client.predict(frame, unit=unit)
            if answered.attrs["arm"] == self.arm:
                return answered
        raise RequestError(f"The arm {self.arm!r} must answer its own unit. Another did.", status=200, code="wrong_arm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a law tried, and what it found broken; `note` says why nothing was tried."""

    tried: int
    faults: tuple[str, ...] = ()
    note: str = ""


Law = Callable[[Subject], Evidence]


def _repeated(value: Any, frame: pd.DataFrame) -> pd.Series[Any]:
    import pandas as pd

    return pd.Series([value] * len(frame), index=frame.index, dtype=object)
