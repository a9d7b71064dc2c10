"""KernelSHAP as alibi does it, on the raw columns: a reference to hold the method `sampling` against."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ekiben.compiling import Coded
from ekiben.errors import ExplainError
from ekiben.explainers._alibi import kernel_shap
from ekiben.explainers._columns import Rows, mosaic, stack
from ekiben.explainers._context import Context, Matrix
from ekiben.explainers._header import read_header, write_header
from ekiben.explainers._outputs import picked
from ekiben.explainers._scales import Columns, Scale
from ekiben.explainers._settings import at_least
from ekiben.explainers._store import read_frame, write_frame
from ekiben.explanations import Attribution, Explanation, Units
from ekiben.tables import as_columns
from ekiben.values import is_missing

if TYPE_CHECKING:
    import pandas as pd

N_BLOCKS = 5  # of background rows, explained for themselves: how they differ is the error
_GLOBAL = Lock()  # shap draws with NumPy's global generator


@dataclass(frozen=True, slots=True, kw_only=True)
class AlibiKernel:
    """KernelSHAP [1]_ by alibi: a weighed regression over coalitions of columns, against background rows of the reference.

    alibi never sees a value, only the numbers of the rows that values are taken from. Up to eleven columns all coalitions are
    asked for, and beyond that some are drawn. The background comes in blocks, each explained for itself; a standard error
    tells how far their mean may lie from the values of the whole reference.

    References
    ----------
    .. [1] Lundberg, Lee, "A Unified Approach to Interpreting Model Predictions", 2017.
    """

    method: ClassVar[str] = "kernel-alibi"
    requirements: ClassVar[tuple[str, ...]] = ("alibi", "shap", "numba")

    background: pd.DataFrame
    scale: Scale

    @classmethod
    def fit(cls, context: Context, *, n_background: int = 100, units: Units | None = None) -> AlibiKernel:
        """Draw background rows; `units` is the scale, by default the model's own."""
        at_least("n_background", n_background, 1)
        reference = context.reference_rows(cls.method)
        drawn = np.random.default_rng(0).permutation(len(reference))[:n_background]
        kept = reference.iloc[drawn].reset_index(drop=True)  # in no order: blocks are alike
        return cls(background=kept, scale=Scale.of(context, units, reference))

    @property
    def units(self) -> Units:
        """The scale of what it gives."""
        return self.scale.units

    def explain(self, frame: pd.DataFrame, *, seed: int = 0) -> list[Explanation]:
        """Explain each row: the score of its class (the second of two), or the value."""
        rows = self.scale.context.rows(frame).reset_index(drop=True)
        values = self.scale.of_frame(rows)
        outputs = np.ones(len(values), dtype=np.int64) if values.shape[1] == 2 else picked(values)
        return [
            self._explain(rows.iloc[[i]], float(values[i, output]), (int(output), values.shape[1]), seed)
            for i, output in enumerate(outputs)
        ]

    def _explain(self, row: pd.DataFrame, value: float, output: tuple[int, int], seed: int) -> Attribution:
        began, context = perf_counter(), self.scale.context
        blocks = np.array_split(np.arange(len(self.background)), min(N_BLOCKS, len(self.background)))
        found = [self._broken(_Patched(self.scale, self.background.take(of), row, output[0]), seed) for of in blocks]
        weights = np.array([len(of) for of in blocks]) / len(self.background)
        parts, bases = np.array([each[0] for each in found]), np.array([each[1] for each in found])
        errors = parts.std(axis=0, ddof=1) / np.sqrt(len(blocks)) if len(blocks) > 1 else None
        return Attribution.of(
            method="kernel-shap",
            **self.scale.explains(*output),
            base_value=float(weights @ bases),
            value=value,
            contributions=dict(zip(context.names, (weights @ parts).tolist(), strict=True)),
            standard_errors=None if errors is None else dict(zip(context.names, errors.tolist(), strict=True)),
            elapsed_ms=(perf_counter() - began) * 1e3,
        )

    def _broken(self, patched: _Patched, seed: int) -> tuple[Matrix, float]:
        """Ask alibi for the values of one row against one block of the background."""
        kernel = kernel_shap()
        with _GLOBAL:
            kept = np.random.get_state()  # noqa: NPY002 -- what shap draws with is put back
            try:
                asked = kernel(patched.asked, seed=seed % 2**32, feature_names=self.scale.context.names)
                asked.fit(patched.numbers[:-1])
                told = asked.explain(patched.numbers[-1:], silent=True, l1_reg=False).data
            finally:
                np.random.set_state(kept)  # noqa: NPY002 -- as above
        return np.asarray(told["shap_values"][0], dtype=np.float64)[0], float(np.ravel(told["expected_value"])[0])

    def save(self, folder: Path) -> None:
        """Write the background rows."""
        write_header(folder, self.method, units=self.scale.units, by=self.scale.by)
        write_frame(self.background, folder / "background.json")

    @classmethod
    def load(cls, folder: Path, context: Context) -> AlibiKernel:
        """Read what `save` wrote; no reference is needed."""
        header = read_header(folder)
        scale = Scale(context=context, units=header["units"], by=header["by"])
        return cls(background=read_frame(folder / "background.json"), scale=scale)


class _Patched:
    """Rows between a background and a row, as numbers of the rows that their values come from; the last is the row's."""

    def __init__(self, scale: Scale, background: pd.DataFrame, row: pd.DataFrame, output: int) -> None:
        self._scale, self._output = scale, output
        self._frame = stack(background.reset_index(drop=True), row)
        self._columns: Columns = as_columns(self._frame)
        self.numbers = np.column_stack([_first_places(column) for column in self._columns]).astype(np.float64)

    def asked(self, numbers: Matrix) -> Matrix:
        """Answer rows of numbers: (n_rows, 1)."""
        places: Rows = np.atleast_2d(numbers).astype(np.intp)
        coded = [Coded(values, places[:, i]) for i, values in enumerate(self._columns)]
        found = self._scale.of_columns(coded, len(places))
        if found is None:
            try:
                found = self._scale.of_model(mosaic(self._frame, places))
            except ExplainError:
                raise
            except Exception as reason:
                raise ExplainError(
                    "For KernelSHAP, the model must answer rows that mix columns of two rows. It does not: "
                    f"{type(reason).__name__}. Name another method: explainer='anchor'."
                ) from reason
        return found[:, [self._output]]


def _first_places(column: Any) -> list[int]:
    """Give each value the number of the row where it came first, so that equal ones have one number."""
    places: dict[Any, int] = {}
    return [places.setdefault(_key(value), i) for i, value in enumerate(column)]


def _key(value: Any) -> Any:
    return None if is_missing(value) else str(value) if isinstance(value, list) else value
