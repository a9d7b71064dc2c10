"""The live model's own steps as nodes: nothing of it is loaded before one of them is asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben import models, tables
from ekiben.compiling.nodes import Doc, Node, Table, Values, bounded
from ekiben.errors import EkibenError, PlanError
from ekiben.schema import Schema
from ekiben.values import is_missing

if TYPE_CHECKING:
    from ekiben.models import Array

Model = Callable[[], Any]


class NativeStep(Node):
    """What steps of the model make, one after the other: of the frame of some columns, or of numbers."""

    def __init__(self, of: Node | None, doc: Doc, places: Sequence[int], contract: Schema | None, model: Model) -> None:
        self.of, self.width, self.raw = of, int(doc["width"]), bool(doc["raw"])
        self._doc, self.places, self._contract, self._model = doc, tuple(places), contract, model

    @cached_property
    def _steps(self) -> list[Any]:
        whole = self._model()
        return [reached(whole, path) for path in self._doc["paths"]]

    def row(self, values: Values) -> Sequence[Any]:
        found = self.block(Table([[value] for value in values], 1))
        return [column[0] for column in found] if self.raw else found[0].tolist()

    def block(self, table: Table) -> Any:
        given = self._given(table)
        with asked():
            found = transformed(self._steps, given, self._doc)
            return _columns(found, self.width) if self.raw else _numbers(found, self.width)

    def _given(self, table: Table) -> Any:
        if self._contract is not None:
            columns = [table.columns[place] for place in self.places]
            return tables.as_frame(
                {name: list(column) for name, column in zip(self._contract.names, columns, strict=True)},
                self._contract,
            )
        assert self.of is not None
        return named(self.of.block(table), self._doc["called"])


class NativeHead(Node):
    """What the model's last step answers: the number of the label, the scores and the value, as far as it has them."""

    def __init__(self, of: Node, doc: Doc, model: Model) -> None:
        self.of, self.width, self._doc, self._model = of, int(doc["width"]), doc, model
        self._number = {label: float(i) for i, label in enumerate(doc["classes"])}

    @cached_property
    def _last(self) -> Any:
        return reached(self._model(), self._doc["path"])

    def row(self, values: Values) -> Sequence[float]:
        made: list[float] = self._answered(np.array([self.of.row(values)], dtype=np.float64))[0].tolist()
        return made

    def block(self, table: Table) -> Array:
        return self._answered(self.of.block(table))

    def _answered(self, matrix: Array) -> Array:
        import pandas as pd

        frame = pd.DataFrame(matrix, columns=self._doc["called"])
        with asked():
            (found,) = models.find(self._last).answers(self._last, frame, self._doc["parts"])
            parts: list[Any] = []
            if found.labels is not None:
                parts.append([self._number[_plain(label)] for label in found.labels.tolist()])
            parts += [] if found.scores is None else list(np.asarray(found.scores, dtype=np.float64).T)
            parts += [] if found.values is None else [np.asarray(found.values, dtype=np.float64)]
            made: Array = np.column_stack(parts)
        return made


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label


class asked:  # noqa: N801 -- read as a word: with asked()
    """Say that a plan has no answer, whatever a step of the model raises."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, EkibenError):
            raise PlanError(f"A step of the model must answer. It raised {type(error).__name__}.") from error


def named(matrix: Array, names: Sequence[str] | None) -> Any:
    """Give a matrix, or the frame of it where it has names."""
    import pandas as pd

    return matrix if names is None else pd.DataFrame(matrix, columns=list(names))


def transformed(steps: Sequence[Any], given: Any, doc: Doc) -> Any:
    """Let each step transform what the one before it made."""
    found = given.iloc[:, 0] if doc.get("flat") else given
    for step in steps:
        found = step.transform(found)
    return found


def _numbers(found: Any, width: int) -> Array:
    dense = found.toarray() if hasattr(found, "toarray") else found
    made = np.asarray(dense, dtype=np.float64)
    if made.shape[1:] != (width,):
        raise PlanError(f"A step of the model must give {width} numbers a row. It gave {made.shape[1:]}.")
    return bounded(made)


def _columns(found: Any, width: int) -> list[list[Any]]:
    if len(found.columns) != width:
        raise PlanError(f"A step of the model must give {width} columns. It gave {len(found.columns)}.")
    return [[_value(value) for value in found[name].tolist()] for name in found.columns]


def _value(value: Any) -> Any:
    if is_missing(value):
        return None
    if value in (math.inf, -math.inf):
        raise PlanError("A number must be finite where the model takes no other. Got one that is not.")
    return value


def reached(model: Any, path: Sequence[str]) -> Any:
    """Go to a step by the names under which it stands; a search stands for the best it found.

    Raises
    ------
    PlanError
        If there is no such step.
    """
    for name in path:
        found = dict(steps_of(model))
        if name not in found:
            raise PlanError(f"The model must have a step {name!r}. It has none.")
        model = found[name]
    return getattr(model, "best_estimator_", model)


STEPS = ("steps", "transformers_", "transformer_list")
FITTED = ("regressor_", "estimator_", "estimator", "final_estimator_")  # one, by the name of its attribute
SEVERAL = ("estimators_", "calibrated_classifiers_")


def steps_of(model: Any) -> Iterator[tuple[str, Any]]:
    """Give the named steps of a pipeline, a transformer of columns or a union, or the models that a committee holds."""
    model = getattr(model, "best_estimator_", model)
    for holder in STEPS:
        held = getattr(model, holder, None)
        if isinstance(held, list):
            yield from ((str(each[0]), each[1]) for each in held if isinstance(each, tuple) and len(each) > 1)
            return
    yield from ((holder, getattr(model, holder)) for holder in FITTED if hasattr(model, holder))
    for holder in SEVERAL:
        held = getattr(model, holder, None)
        if isinstance(held, list):
            yield from ((f"{holder}[{i}]", each) for i, each in enumerate(held))
