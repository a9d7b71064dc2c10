"""TreeSHAP by XGBoost and LightGBM themselves, folded back to raw columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from ekiben.errors import ExplainError
from ekiben.explainers._columns import Rows, dense, feature_owners, fold, matching_owners
from ekiben.explainers._context import Context, Matrix, Transform
from ekiben.explainers._header import read_array, read_header, write_header
from ekiben.explainers._outputs import described, measured_units, picked
from ekiben.explanations import Attribution, Explanation, Units

TOLERANCE = 1e-3  # XGBoost adds leaves up in 32 bits
LINK_TOLERANCE = 1e-5
N_CHECKED = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """Path-dependent TreeSHAP on the margin [1]_: exact, with the training rows in each leaf as the background.

    Where columns go together its numbers differ from those of an interventional method; `method` says which came.

    References
    ----------
    .. [1] Lundberg, Erion, Lee, "Consistent Individualized Feature Attribution for Tree Ensembles", 2018.
    """

    method: ClassVar[str] = "trees"

    context: Context
    transform: Transform
    estimator: Any
    owners: Rows
    units: Units

    @classmethod
    def fit(cls, context: Context) -> Trees:
        """Find which column moves each feature, and prove on the reference that contributions add up."""
        reference = context.reference_rows(cls.method)
        transform, estimator = context.adapter.steps(context.live)
        head = reference.iloc[:N_CHECKED]
        parts, margins = _parts(context, estimator, dense(transform, head))
        _refuse_gaps(parts, margins)
        units = measured_units(context, margins, context.scores(head), tolerance=LINK_TOLERANCE)
        owners = feature_owners(transform, reference, context.schema)
        return cls(context=context, transform=transform, estimator=estimator, owners=owners, units=units)

    def explain(self, frame: pd.DataFrame, *, seed: int = 0) -> list[Explanation]:  # noqa: ARG002 -- draws nothing
        """Explain each row, exactly up to 32-bit rounding."""
        started = perf_counter()
        matrix = dense(self.transform, self.context.rows(frame))
        parts, margins = _parts(self.context, self.estimator, matrix)
        outputs = picked(margins)
        chosen = parts[np.arange(len(parts)), outputs]
        folded = [fold(row[:-1], self.owners, self.context.names) for row in chosen]
        elapsed_ms = (perf_counter() - started) * 1e3 / max(len(matrix), 1)
        return [
            Attribution.of(
                method="tree-path-dependent",
                output=described(self.context, self.units, int(output), margins.shape[1]),
                units=self.units,
                base_value=float(row[-1]),
                value=float(margin[output]),
                contributions=contributions,
                elapsed_ms=elapsed_ms,
            )
            for output, margin, row, contributions in zip(outputs, margins, chosen, folded, strict=True)
        ]

    def save(self, folder: Path) -> None:
        """Write the owner of each feature; the trees are the model's."""
        write_header(folder, self.method, units=self.units)
        np.save(folder / "owners.npy", self.owners, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Trees:
        """Read what `save` wrote; no reference is needed."""
        transform, estimator = context.adapter.steps(context.live)
        owners = read_array(folder / "owners.npy")
        return cls(
            context=context,
            transform=transform,
            estimator=estimator,
            owners=matching_owners(owners, getattr(estimator, "n_features_in_", len(owners))),
            units=read_header(folder)["units"],
        )


def _parts(context: Context, estimator: Any, matrix: Matrix) -> tuple[Matrix, Matrix]:
    """Break margins down: contributions (n_rows, n_outputs, n_features + 1), and margins (n_rows, n_outputs)."""
    parts = context.adapter.contributions(estimator, matrix)
    if parts is None:
        raise ExplainError(
            "The method 'trees' takes a model whose last step is XGBoost's or LightGBM's, and of a kind that its library "
            f"can break down. Got {type(estimator).__name__}. Explain it with the method 'sampling'."
        )
    margins = np.asarray(context.adapter.margin(estimator, matrix), dtype=np.float64)
    return context.own(np.asarray(parts, dtype=np.float64)), context.own(margins)


def _refuse_gaps(parts: Matrix, margins: Matrix) -> None:
    gap = np.abs(parts.sum(axis=-1) - margins)
    if (gap > TOLERANCE * np.maximum(1.0, np.abs(margins))).any():
        raise ExplainError(
            f"Contributions must add up to the margin within {TOLERANCE:g}. Got a gap of {gap.max():.3g}. "
            "Explain this model with the method 'sampling'."
        )
