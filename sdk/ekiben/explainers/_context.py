"""What every explainer is given, and what it must offer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ekiben.compiling import NoPlan, Plan, translate
from ekiben.errors import ExplainError, SchemaError
from ekiben.explanations import Explanation
from ekiben.models import Answers, explained, numbers
from ekiben.schema import Output, Part, Schema, Signature

if TYPE_CHECKING:
    import pandas as pd

Matrix: TypeAlias = npt.NDArray[np.float64]
Transform: TypeAlias = "Callable[[pd.DataFrame], Any]"


class Adapter(Protocol):
    """What an explainer asks of the adapter of a kind of model."""

    def outputs(self, model: Any, frame: pd.DataFrame) -> tuple[Output, ...]:
        """Tell what the model answers, where needed by asking it about a few rows."""

    def answers(self, model: Any, frame: pd.DataFrame, parts: Sequence[Part] = ...) -> tuple[Answers, ...]:
        """Answer rows, for each output."""

    def steps(self, model: Any) -> tuple[Transform, Any]:
        """Split a model into its preprocessing and its fitted final estimator."""

    def contributions(self, estimator: Any, matrix: Any) -> Matrix | None:
        """Break margins down: (n_rows, n_outputs, n_features + 1), the bias last; None if the estimator cannot."""

    def margin(self, estimator: Any, matrix: Any) -> Matrix:
        """Score rows on the scale of the contributions: (n_rows, n_outputs)."""


@dataclass(frozen=True, slots=True)
class Later:
    """A model that is built when somebody asks for it."""

    build: Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Context:
    """A model as an explainer meets it.

    `reference` holds rows that are typical of the model's inputs. It is needed to fit; a loaded explainer has what it
    needs in its own folder. Where it is a sample, `known` holds all rows, for what is too rare for a sample. Of several
    outputs, the one whose number is `which` is explained. `model` may be `Later`, for a method that a `plan` spares it.
    """

    model: Any
    adapter: Adapter
    schema: Schema
    reference: pd.DataFrame | None = None
    known: pd.DataFrame | None = None
    outputs: tuple[Output, ...] = ()
    which: int = 0
    plan: Plan | None = None
    classes: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Ask once what the model answers, and for labels that nobody listed look at the reference."""
        if not self.outputs:
            few = self.reference_rows("auto").head(5)
            object.__setattr__(self, "outputs", self.adapter.outputs(self.live, few))
        valued = explained(self.output) == ("value",)
        object.__setattr__(self, "classes", () if valued else self.output.classes or self._seen())

    @property
    def live(self) -> Any:
        """The model itself."""
        return self.model.build() if isinstance(self.model, Later) else self.model

    @cached_property
    def translated(self) -> Plan | None:
        """The plan of the model made anew, with what its files do not hold; None where it has none."""
        signature = Signature(inputs=self.schema, task="other", outputs=self.outputs)
        try:
            return Plan(
                translate(self.live, signature, self.reference), self.schema, self.outputs, model=lambda: self.live
            )
        except NoPlan:
            return None

    @property
    def output(self) -> Output:
        """The output that is explained."""
        return self.outputs[self.which]

    def _seen(self) -> tuple[Any, ...]:
        if self.reference is None:
            return ()
        labels = self.adapter.answers(self.live, self.reference, ("label",))[self.which].labels
        return tuple(sorted(set(np.asarray(labels, dtype=object).tolist()), key=str))

    def own(self, sums: Matrix) -> Matrix:
        """Of sums of shape (n_rows, n_outputs, …) keep those of the explained output, where each output has one."""
        several = len(self.outputs) > 1 and sums.shape[1] == len(self.outputs)
        return sums[:, [self.which]] if several else sums

    @property
    def names(self) -> list[str]:
        """The raw columns, in order."""
        return list(self.schema.names)

    def scores(self, frame: pd.DataFrame) -> Matrix:
        """Score rows: (n_rows, n_classes), or (n_rows, 1) for a value."""
        answered = self.adapter.answers(self.live, frame, explained(self.output))[self.which]
        return numbers(answered, replace(self.output, classes=self.classes))

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Take the raw columns of a table, in order."""
        if list(frame.columns) == self.names:
            return frame
        missing = sorted(set(self.names) - set(frame.columns))
        if missing:
            raise SchemaError(f"Missing columns: {missing}. Got: {list(frame.columns)}.")
        return frame[self.names]

    def reference_rows(self, method: str) -> pd.DataFrame:
        """Take the reference, which must be there to fit."""
        if self.reference is None or not len(self.reference):
            raise ExplainError(f"To fit the method {method!r}, reference rows must be given. Got none.")
        return self.rows(self.reference).reset_index(drop=True)


class Explainer(Protocol):
    """A fitted method that explains rows of one model."""

    @property
    def method(self) -> str:
        """The name it is chosen and loaded by."""

    def explain(self, frame: pd.DataFrame, *, seed: int = 0) -> list[Explanation]:
        """Explain each row. The same seed gives the same explanation, whatever rows come beside it."""

    def save(self, folder: Path) -> None:
        """Write what was fitted as JSON and .npy files only."""


class Method(Protocol):
    """A way to explain: the class of an explainer."""

    def fit(self, context: Context) -> Explainer:
        """Fit to a model and its reference; raise ExplainError when the method cannot explain this model."""

    def load(self, folder: Path, context: Context) -> Explainer:
        """Read what `save` wrote."""
