"""Kinds of model: how each is asked, saved and loaded.

To add one, write an object with the methods of `Adapter` and name it in `ADAPTERS`, or register it as an entry point
in the group `ekiben.models` under the name of the library's top module.
"""

from __future__ import annotations

import importlib
import inspect
import tempfile
from collections.abc import Callable, Sequence
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
    "pickled": "ekiben.models.pickled:ADAPTER",
    "sklearn": "ekiben.models.sklearn:ADAPTER",
    "xgboost": "ekiben.models.xgboost:ADAPTER",
}
PICKLED = "pickled"  # for what the user named; no library


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
    known = ", ".join(sorted(_targets().keys() - {PICKLED}))
    raise UnsupportedModelError(
        f"No adapter for {type(model).__name__}. Known libraries: {known}. "
        f"To add one, register an entry point in the group 'ekiben.models'. {by_pickle(model)}"
    )


def chosen(model: Any, *, allow_pickle: Sequence[str] = ()) -> Adapter:
    """Find the adapter of a model; one whose class the user named is pickled when no other adapter can write it."""
    if class_of(model) not in allow_pickle:
        return find(model)
    try:
        adapter = find(model)
        adapter.task(model)
        with tempfile.TemporaryDirectory(prefix="ekiben-") as folder:
            adapter.save(model, Path(folder))
    except UnsupportedModelError:
        return named(PICKLED)
    return adapter


def class_of(model: Any) -> str:
    """Name a model's class with its module."""
    return f"{type(model).__module__}.{type(model).__qualname__}"


def by_pickle(model: Any) -> str:
    """Say the last way out: a pickle, which is loaded only where it is trusted."""
    return f"To keep it as a pickle, loaded only where it is trusted: pack(…, allow_pickle=[{class_of(model)!r}])."


def save(adapter: Adapter, model: Any, folder: Path, *, trust: Sequence[str] = ()) -> None:
    """Write a model; an adapter that takes no `trust` writes built-in types alone."""
    if trust and _takes_trust(adapter.save):
        adapter.save(model, folder, trust=trust)  # type: ignore[call-arg]
    else:
        adapter.save(model, folder)


def load(adapter: Adapter, folder: Path, *, trust: Sequence[str] = ()) -> Any:
    """Read a model back whose package is trusted with these types."""
    if trust and _takes_trust(adapter.load):
        return adapter.load(folder, trust=trust)  # type: ignore[call-arg]
    return adapter.load(folder)


def foreign(adapter: Adapter, folder: Path) -> list[str]:
    """Name the types in a model's files beyond those that its adapter builds without asking; none is built."""
    look = getattr(adapter, "foreign", None)
    return sorted(look(folder)) if look else []


def _takes_trust(method: Callable[..., Any]) -> bool:
    return "trust" in inspect.signature(method).parameters


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
