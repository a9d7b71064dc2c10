"""Kinds of model: how each is asked, saved and loaded.

To add one, write an object with the methods of `Adapter` and name it in `ADAPTERS`, or register it as an entry point
in the group `ekiben.models` under the name of the library's top module.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from ekiben.errors import UnsupportedModelError
from ekiben.schema import Label, Task

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    Array: TypeAlias = npt.NDArray[Any]

# the library's top module → where its adapter is; nothing of a library is imported before one of its models comes
ADAPTERS = {
    "sklearn": "ekiben.models.sklearn:ADAPTER",
    "xgboost": "ekiben.models.xgboost:ADAPTER",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a model answered: labels and scores of shape (n_rows, n_classes), or values of shape (n_rows,)."""

    labels: Array | None = None
    scores: Array | None = None
    values: Array | None = None


class Adapter(Protocol):
    """What ekiben needs to know of one library's models; a frame always comes in the contract's order and dtypes."""

    library: str

    def task(self, model: Any) -> Task:
        """Tell what the model does; `UnsupportedModelError` when it is something else."""

    def classes(self, model: Any) -> tuple[Label, ...]:
        """Give a classifier's labels in the order of its scores."""

    def answers(self, model: Any, frame: pd.DataFrame) -> Answers:
        """Predict: labels with scores, or values."""

    def scores(self, model: Any, frame: pd.DataFrame) -> Array:
        """Give probabilities of shape (n_rows, n_classes), or values of shape (n_rows, 1)."""

    def steps(self, model: Any) -> tuple[Callable[[pd.DataFrame], Array], Any]:
        """Take the model apart into preprocessing (frame → dense float matrix) and its final estimator."""

    def contributions(self, estimator: Any, matrix: Array) -> Array | None:
        """Give exact additive contributions of shape (n_rows, n_outputs, n_features + 1), the last one the base value."""

    def margin(self, estimator: Any, matrix: Array) -> Array:
        """Give the sums that `contributions` explain, of shape (n_rows, n_outputs)."""

    def save(self, model: Any, folder: Path) -> None:
        """Write the model into `folder`, without pickle and with the same bytes for the same model."""

    def load(self, folder: Path) -> Any:
        """Read the model back; nothing but known types is built."""

    def requirements(self, model: Any) -> tuple[str, ...]:
        """Name the distributions that a service needs beside ekiben to answer with this model."""


def find(model: Any) -> Adapter:
    """Find the adapter of a model through the modules of its class and its bases.

    Raises
    ------
    UnsupportedModelError
        If no adapter knows any of them.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> find(Ridge()).library
    'sklearn'
    """
    for kind in type(model).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in _targets():
            return named(library)
    known = ", ".join(sorted(_targets()))
    raise UnsupportedModelError(
        f"No adapter for {type(model).__name__}. Known libraries: {known}. "
        "To add one, register an entry point in the group 'ekiben.models'."
    )


@cache
def _targets() -> dict[str, str]:
    return ADAPTERS | {point.name: point.value for point in entry_points(group="ekiben.models")}


@cache
def named(library: str) -> Adapter:
    """Load the adapter that is registered under a library's name."""
    try:
        module, _, attribute = _targets()[library].partition(":")
    except KeyError:
        known = ", ".join(sorted(_targets()))
        raise UnsupportedModelError(f"No adapter for {library!r}. Known libraries: {known}.") from None
    return cast(Adapter, getattr(importlib.import_module(module), attribute))
