"""Reference rows as plain values, with what the model answers to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ekiben.errors import IntegrityError
from ekiben.explainers._context import Context
from ekiben.explainers.alternatives.asking import Asking
from ekiben.explainers.alternatives.space import Space
from ekiben.explainers.alternatives.wanted import Answered

FILE = "reference.json"


@dataclass(frozen=True)
class Reference:
    """The rows that an explainer keeps, by column: what JSON can hold, so that a plan needs no frame to answer them."""

    context: Context
    columns: Mapping[str, list[Any]]

    @classmethod
    def fit(cls, method: str, context: Context) -> Reference:
        """Take the reference of a model."""
        from ekiben.tables import as_rows

        rows = as_rows(context.reference_rows(method))
        return cls(context, {name: [row[name] for row in rows] for name in context.names})

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    @cached_property
    def space(self) -> Space:
        """The rows as points."""
        return Space.of(self.context.schema, list(self.columns.values()))

    @cached_property
    def answered(self) -> Answered:
        """What the model answers to them."""
        return Asking(self.context).many(list(self.columns.values()), self.n_rows)

    def row(self, i: int) -> dict[str, Any]:
        """Give one row."""
        return {name: values[i] for name, values in self.columns.items()}

    def save(self, folder: Path) -> None:
        """Write the rows."""
        (folder / FILE).write_text(json.dumps(self.columns, allow_nan=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, context: Context) -> Reference:
        """Read what `save` wrote."""
        columns = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if list(columns) != context.names or len({*map(len, columns.values())}) != 1:
            raise IntegrityError(
                "A saved explainer must fit its model. It speaks of other columns. Pack the model again."
            )
        made = cls(context, columns)
        _ = made.space  # what is no reference is known now
        return made
