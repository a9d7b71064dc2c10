"""Kinds of model: how each is asked, saved and loaded.

To add one, write an object with the methods of `Adapter` and name it in `ADAPTERS`, or register it as an entry point
in the group `ekiben.models` under the name of the library's top module.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from ekiben import distributions
from ekiben.errors import UnsupportedModelError
from ekiben.schema import PARTS, Output, Part, Task

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    Array: TypeAlias = npt.NDArray[Any]

# the library's top module → where its adapter is; nothing of a library is imported before one of its models comes
ADAPTERS = {
    "lightgbm": "ekiben.models.lightgbm:ADAPTER",
    "pickled": "ekiben.models.pickled:ADAPTER",
    "pyfunc": "ekiben.models.pyfunc:ADAPTER",
    "python": "ekiben.models.python:ADAPTER",
    "sklearn": "ekiben.models.sklearn:ADAPTER",
    "xgboost": "ekiben.models.xgboost:ADAPTER",
}
PICKLED = "pickled"  # for what the user named; no library
NO_LIBRARIES = (PICKLED, "pyfunc", "python")  # kinds that are not found by a class's module


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a model answered for one output: labels and values of shape (n_rows,), scores of (n_rows, n_classes)."""

    labels: Array | None = None
    scores: Array | None = None
    values: Array | None = None


class Adapter(Protocol):
    """What ekiben needs to know of one library's models; a frame always comes in the contract's order and dtypes."""

    library: str

    def task(self, model: Any) -> Task:
        """Tell what the model does; `UnsupportedModelError` when it is something else or not fitted."""

    def outputs(self, model: Any, frame: pd.DataFrame) -> tuple[Output, ...]:
        """Tell what the model answers, where needed by asking it about a few rows."""

    def answers(self, model: Any, frame: pd.DataFrame, parts: Sequence[Part] = PARTS) -> tuple[Answers, ...]:
        """Answer rows, for each output in the order of `outputs`; what is not of `parts` may be left out."""

    def columns(self, model: Any, frame: pd.DataFrame) -> tuple[str, ...] | None:
        """Name the columns that the model was fitted on, as `frame` spells them; None if the model does not know."""

    def steps(self, model: Any) -> tuple[Callable[[pd.DataFrame], Array], Any]:
        """Take the model apart into preprocessing (frame → dense float matrix) and its final estimator."""

    def contributions(self, estimator: Any, matrix: Array) -> Array | None:
        """Give exact additive contributions of shape (n_rows, n_outputs, n_features + 1), the last one the base value."""

    def margin(self, estimator: Any, matrix: Array) -> Array:
        """Give the sums that `contributions` explain, of shape (n_rows, n_outputs)."""

    def save(self, model: Any, folder: Path, *, trust: Sequence[str] = ()) -> None:
        """Write the model into `folder`, without pickle and with the same bytes for the same model.

        Types of the modules that `trust` names may be written beside those that the adapter knows.
        """

    def load(self, folder: Path, *, trust: Sequence[str] = ()) -> Any:
        """Read the model back; nothing but known types, and those of the modules that `trust` names, is built."""

    def requirements(self, model: Any) -> tuple[str, ...]:
        """Name the distributions that a service needs beside ekiben to answer with this model."""


def numbers(answers: Answers, output: Output) -> Array:
    """Give what can be explained of an output's answers: scores, or the value, or 1 where a class is the label.

    Returns
    -------
    An array of shape (n_rows, n_classes), or (n_rows, 1) for a value.

    Examples
    --------
    >>> import numpy as np
    >>> numbers(Answers(labels=np.array(["b", "a"])), Output(parts=("label",), classes=("a", "b")))
    array([[0., 1.],
           [1., 0.]])
    """
    import numpy as np

    if answers.scores is not None:
        return np.asarray(answers.scores, dtype=np.float64)
    if answers.values is not None:
        return np.asarray(answers.values, dtype=np.float64).reshape(-1, 1)
    labels = np.asarray(answers.labels, dtype=object)
    return np.column_stack([(labels == label).astype(np.float64) for label in output.classes])


def explained(output: Output) -> tuple[Part, ...]:
    """Tell which part of an output is explained: its numbers where it has any.

    >>> explained(Output(parts=("label", "scores"), classes=("a", "b")))
    ('scores',)
    """
    return next(((part,) for part in ("scores", "value") if part in output.parts), ("label",))


def find(model: Any) -> Adapter:
    """Find the adapter of a model through the modules of its class and its bases; what is left is a function.

    Raises
    ------
    UnsupportedModelError
        If no adapter knows any of them, and it neither predicts nor can be called.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> find(Ridge()).library
    'sklearn'
    """
    for kind in type(model).__mro__:
        library = _library(kind)
        if library in _targets():
            return named(library)
    if callable(model) or callable(getattr(model, "predict", None)):
        return named("python")
    if type(model).__module__ == "builtins":
        raise UnsupportedModelError(
            f"What is packed must be a fitted model. Got {type(model).__name__}. Pass the model itself."
        )
    raise UnsupportedModelError(
        f"No adapter for {type(model).__name__}. Known libraries: {_known()}. "
        "Or pack a function of a frame that asks it: def score(frame): … "
        f"To add a library, register an entry point in the group 'ekiben.models'. {by_pickle(model)}"
    )


def chosen(model: Any, *, trust: Sequence[str] = (), allow_pickle: Sequence[str] = ()) -> Adapter:
    """Find the adapter of a model; one whose class the user named is pickled when no other adapter can write it."""
    if class_of(model) not in allow_pickle:
        return find(model)
    try:
        adapter = find(model)
        if adapter.library in NO_LIBRARIES:  # of what no library knows, the user's word says the form
            return named(PICKLED)
        adapter.task(model)
        with tempfile.TemporaryDirectory(prefix="ekiben-") as folder:
            adapter.save(model, Path(folder), trust=trust)
    except UnsupportedModelError:
        return named(PICKLED)
    return adapter


def class_of(model: Any) -> str:
    """Name a model's class with its module, as the notebook knows it."""
    module = type(model).__module__
    if module.startswith(distributions.CODE):
        module = module.partition(".")[2]
    return f"{'__main__' if module == 'notebook' else module}.{type(model).__qualname__}"


def by_pickle(model: Any) -> str:
    """Say the last way out: a pickle, which is loaded only where it is trusted."""
    return f"To keep it as a pickle, loaded only where it is trusted: pack(…, allow_pickle=[{class_of(model)!r}])."


def bare(model: Any) -> Any:
    """Give what of a model may hold code of the user's; None where its adapter writes a library's own format, which holds none."""
    try:
        return getattr(find(model), "bare", lambda _: None)(model)
    except UnsupportedModelError:
        return model


def foreign(adapter: Adapter, folder: Path) -> list[str]:
    """Name the types in a model's files beyond those that its adapter builds without asking; none is built."""
    look = getattr(adapter, "foreign", None)
    return sorted(look(folder)) if look else []


def _library(kind: type) -> str:
    """Name the library of a class; one that an adapter made itself is of its kind."""
    own = kind.__module__.removeprefix(f"{__name__}.")
    if own != kind.__module__:
        return own
    top = own.partition(".")[0]
    return "" if top in NO_LIBRARIES else top


def _known() -> str:
    return ", ".join(sorted(_targets().keys() - set(NO_LIBRARIES)))


@cache
def _targets() -> dict[str, str]:
    return ADAPTERS | {point.name: point.value for point in entry_points(group="ekiben.models")}


def knows(library: str) -> bool:
    """Tell whether an adapter is registered under a library's name.

    >>> knows("sklearn"), knows("prophet")
    (True, False)
    """
    return library in _targets()


@cache
def named(library: str) -> Adapter:
    """Load the adapter that is registered under a library's name."""
    try:
        module, _, attribute = _targets()[library].partition(":")
    except KeyError:
        raise UnsupportedModelError(f"No adapter for {library!r}. Known libraries: {_known()}.") from None
    return cast(Adapter, getattr(importlib.import_module(module), attribute))
