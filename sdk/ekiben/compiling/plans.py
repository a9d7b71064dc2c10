"""A compiled model: what it answers to rows of plain values, without the library that fitted it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling import building
from ekiben.compiling.building import Building
from ekiben.compiling.costs import UNMEASURED, Costs
from ekiben.compiling.nodes import Doc, Node, Row, Table, Values, links, numbers
from ekiben.compiling.nodes.columns import Select, Shared
from ekiben.compiling.nodes.links import Linear
from ekiben.compiling.nodes.neighbours import Neighbours
from ekiben.compiling.nodes.sides import Sides
from ekiben.compiling.nodes.trees import Trees
from ekiben.compiling.nodes.voting import chooser, chosen
from ekiben.errors import IntegrityError, PlanError
from ekiben.models import Answers
from ekiben.schema import Output, Schema

if TYPE_CHECKING:
    from ekiben.models import Array


NO_ANSWER = (PlanError, ArithmeticError, ValueError)  # of a plan: the model has one, or says why not
AT_ONCE = 8192  # rows whose numbers stay near


LINKS = (links.Power, links.Sigmoid, links.SignedSquare, links.SoftPlus, links.Softmax, numbers.Round, numbers.Stretch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """The numbers of a node that an output follows from: those at `keep`, divided by `by`, before any link."""

    node: Node
    keep: tuple[int, ...]
    by: float

    def block(self, table: Table) -> Array:
        """Give them for many rows: shape (n_rows, n_numbers)."""
        with np.errstate(all="ignore"):
            found: Array = np.asarray(self.node.block(table), dtype=np.float64)[:, self.keep] / self.by
        return found


@dataclass(frozen=True, slots=True)
class Choosing:
    """Sums of weighed features, and the rule by which they choose a label."""

    node: Linear
    rule: Mapping[str, Any]

    def sums(self, columns: Sequence[Sequence[Any]], n_rows: int) -> Array:
        """Add up the features of columns of plain values: shape (n_rows, n_sums).

        Raises
        ------
        PlanError
            If there is no finite sum for one of the rows.
        """
        with np.errstate(all="ignore"):
            return self.node.sums(Table(columns, n_rows))

    def numbers(self, sums: Array) -> Array:
        """Choose the numbers of the labels of many rows."""
        return chosen(self.rule, sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown(Sums):
    """Trees at the end of a plan."""

    node: Trees

    @property
    def players(self) -> Array:
        """Of which feature each number that the trees look at is: of one that splits by categories cut there are several."""
        below = self.node.of
        found: Array = below.players if isinstance(below, Sides) else np.arange(below.width)
        return found

    @property
    def leaves(self) -> Array:
        """What each leaf adds to the numbers: shape (n_leaves, n_numbers)."""
        forest = self.node.forest
        if self.node.leaves is not None:
            told = self.node.leaves[forest.leaf_weight.astype(np.intp)]
        else:
            told = np.zeros((len(forest.leaf_weight), forest.n_targets))
            told[np.arange(len(told)), forest.leaf_target] = forest.leaf_weight
        found: Array = told[:, self.keep] / self.by
        return found

    def numbers(self, features: Array) -> Array:
        """Add up the leaves for features of shape (n_rows, n_features)."""
        found: Array = self.node.apply(features)[:, self.keep] / self.by
        return found

    def met(self, row: Row) -> tuple[Sequence[float], list[float]]:
        """Give the features of one row, and add up the leaves for them."""
        features, summed = self.node.met(row)
        if len(self.keep) == 1:  # nearly every model
            return features, [summed[self.keep[0]] / self.by]
        return features, self._kept(summed)

    def one(self, features: Sequence[float]) -> list[float]:
        """Add up the leaves for the features of one row."""
        return self._kept(self.node.summed(features))

    def _kept(self, summed: Sequence[float]) -> list[float]:
        return [summed[i] / self.by for i in self.keep]


class Plan:
    """A model as a plan: the same answers from plain values, within what its certificate says.

    Parameters
    ----------
    document
        What `plan.json` holds, its trees and arrays read.
    contract
        The columns that it takes.
    outputs
        What it answers.
    costs
        What rows cost.
    model
        Gives the live model, for steps that are asked themselves; never called for a plan without any.

    Raises
    ------
    IntegrityError
        If the document is not one that ekiben wrote for this contract.
    """

    def __init__(
        self,
        document: Doc,
        contract: Schema,
        outputs: Sequence[Output],
        costs: Costs = UNMEASURED,
        model: Callable[[], Any] | None = None,
    ) -> None:
        self.document, self.costs, self.names = document, costs, contract.names
        try:
            built = Building(contract=contract, model=_nothing if model is None else model)
            for each in document["shared"]:
                built.shared.append(built.node(each))
            self.heads = [_Head(told, output, built) for told, output in zip(document["outputs"], outputs, strict=True)]
        except (KeyError, ValueError, TypeError, IndexError, AttributeError, RecursionError) as reason:
            raise IntegrityError(
                f"The plan of a package must fit its contract. It does not: {type(reason).__name__}. Pack the model again."
            ) from reason
        self._shares = bool(document["shared"])
        self._named = len(outputs) > 1 or bool(outputs[0].name)
        self._only = self.heads[0].predict if len(self.heads) == 1 and not self._named and not self._shares else None

    @property
    def native(self) -> tuple[str, ...]:
        """The classes of steps that are asked themselves: they need their library, and may do anything."""
        return tuple(self.document.get("native", ()))

    @property
    def row_us(self) -> float:
        """What one row costs, in microseconds."""
        return self.costs.row_us

    @property
    def many_us(self) -> float:
        """What one more row costs in a large table, in microseconds."""
        return self.costs.many_us

    @property
    def linear(self) -> Linear | None:
        """The node that weighs the features, where the answers are linear in them; of several outputs it has a row for each."""
        node = self.heads[0].core
        while isinstance(node, Select | Shared):
            node = node.of
        return node if isinstance(node, Linear) else None

    @property
    def choosing(self) -> Choosing | None:
        """How the first output's label is chosen by sums of weighed features; None where it follows from anything else."""
        head = self.heads[0]
        if head.label is None or "of" in head.label or not isinstance(head.core, Linear):
            return None
        return Choosing(head.core, head.label)

    def sums(self, which: int = 0) -> Sums:
        """Give the numbers that an output follows from by nothing but links: margins, the sums of leaves, or the core's own."""
        node, keep, by = self.heads[which].core, None, 1.0
        while True:
            if isinstance(node, Select) and keep is None:
                keep = tuple(node.keep)
            elif isinstance(node, numbers.Scale) and len(set(node.pairs)) == 1 and node.pairs[0][0] == 0:
                by *= node.pairs[0][1]
            elif not isinstance(node, (Shared, *LINKS)):
                break
            node = node.of
        kept = tuple(range(node.width)) if keep is None else keep
        return Grown(node=node, keep=kept, by=by) if isinstance(node, Trees) else Sums(node=node, keep=kept, by=by)

    def predictions(self, rows: Sequence[Values]) -> list[dict[str, Any]]:
        """Answer rows as the body of an answer holds them.

        Parameters
        ----------
        rows
            For each row its values in the contract's order, as JSON gives them; None for a missing one.

        Raises
        ------
        PlanError
            If there is no finite answer for one of them; the model itself is to be asked.
        """
        if len(rows) <= self.costs.few:
            only = self._only
            if only is not None:
                return list(map(only, rows))
            return [self._prediction(row) for row in rows]
        return self._records(self.answers_by_column(list(zip(*rows, strict=True)), len(rows)), len(rows))

    def _prediction(self, values: Values) -> dict[str, Any]:
        row = Row.of(values)
        if not self._named:
            return self.heads[0].predict(row)
        return {head.output.name: head.predict(row) for head in self.heads}

    def answers(self, columns: Sequence[Sequence[Any]], n_rows: int) -> tuple[Answers, ...]:
        """Answer columns, in the contract's order, to the same bits as `predictions` answers so many rows.

        Raises
        ------
        PlanError
            If there is no finite answer for one of the rows.
        """
        if n_rows <= self.costs.few:
            return self.answers_by_row(list(zip(*columns, strict=True)))
        return self.answers_by_column(columns, n_rows)

    def answers_by_column(self, columns: Sequence[Sequence[Any]], n_rows: int) -> tuple[Answers, ...]:
        """Answer columns of many rows at once.

        Raises
        ------
        PlanError
            If there is no finite answer for one of the rows.
        """
        starts = range(0, max(n_rows, 1), AT_ONCE)
        found = [
            self._answered([column[i : i + AT_ONCE] for column in columns] if len(starts) > 1 else columns, n)
            for i in starts
            for n in [min(AT_ONCE, n_rows - i)]
        ]
        return found[0] if len(found) == 1 else tuple(map(_joined, zip(*found, strict=True)))

    def _answered(self, columns: Sequence[Sequence[Any]], n_rows: int) -> tuple[Answers, ...]:
        table = Table(columns, n_rows)
        with np.errstate(all="ignore"):
            return tuple(head.answer(table) for head in self.heads)

    def label_numbers(self, columns: Sequence[Sequence[Any]], n_rows: int) -> Array:
        """Choose for each of many rows the number of the first output's label, and nothing else: scores cost the most.

        Raises
        ------
        PlanError
            If there is no finite answer for one of the rows.
        """
        with np.errstate(all="ignore"):
            return self.heads[0].numbers(Table(columns, n_rows))

    def answers_by_row(self, rows: Sequence[Values]) -> tuple[Answers, ...]:
        """Answer row by row, in the shape in which many rows are answered."""
        found = []
        for values in rows:
            row = Row.of(values)
            found.append([head.parts(row) for head in self.heads])
        return tuple(
            Answers(
                labels=_array([parts[i][0] for parts in found], head.labels) if head.label else None,
                scores=np.array([parts[i][1] for parts in found]) if head.scores else None,
                values=np.array([parts[i][2] for parts in found]) if head.value else None,
            )
            for i, head in enumerate(self.heads)
        )

    def _records(self, answers: Sequence[Answers], n_rows: int) -> list[dict[str, Any]]:
        columns = [head.records(answer) for head, answer in zip(self.heads, answers, strict=True)]
        if not self._named:
            return columns[0]
        names = [head.output.name for head in self.heads]
        return [dict(zip(names, [column[i] for column in columns], strict=True)) for i in range(n_rows)]


class _Head:
    """One output: its core, how the label follows from it, and the nodes that make scores and the value of it."""

    def __init__(self, told: Mapping[str, Any], output: Output, built: Building) -> None:
        self.output, self.labels = output, tuple(output.classes)
        self.core = built.node(told["core"])
        self.label: Mapping[str, Any] | None = told.get("label") if "label" in output.parts else None
        self.scores = _on(told, "scores", output, built)
        self.value = _on(told, "value", output, built)
        self._listed = _array(self.labels, self.labels)
        self._names = [str(label) for label in output.classes]
        self._chosen = chooser(self.label) if self.label else None
        self._ask = self._asked()
        self._seen = built.node(self.label["of"]) if self.label and "of" in self.label else None
        if (self.label is None) != ("label" not in output.parts):
            raise KeyError("label")
        if output.parts == ("label", "scores") and self._seen is None:
            self.predict = self._classify  # type: ignore[method-assign]

    def _asked(self) -> Callable[[Table], Array]:
        """Give what answers many rows by numbers from which their labels follow."""
        if isinstance(self.core, Linear):
            return self.core.sums
        is_largest = isinstance(self.core, Neighbours) and self.label == {"rule": "largest"}
        return self.core.signs if is_largest or _is_by_signs(self.label) else self.core.block

    def parts(self, values: Values) -> tuple[Any, Sequence[float] | None, float | None]:
        """Give label, scores and value of one row."""
        core = self.core.row(values)
        scores = None if self.scores is None else self.scores.row(core)
        value = None if self.value is None else self.value.row(core)[0]
        told = [*(() if scores is None else scores), *(() if value is None else (value,))]
        for number in told or core:
            if number - number != 0:
                raise PlanError("A plan must answer with finite numbers. It did not.")
        if self._chosen is None:
            return None, scores, value
        return self.labels[self._chosen(core if self._seen is None else self._seen.row(core))], scores, value

    def predict(self, values: Values) -> dict[str, Any]:
        """Answer one row as the body of an answer holds it."""
        label, scores, value = self.parts(values)
        found: dict[str, Any] = {} if self.label is None else {"label": label}
        if scores is not None:
            found["scores"] = dict(zip(self._names, scores, strict=True))
        if value is not None:
            found["value"] = value
        return found

    def _classify(self, values: Values) -> dict[str, Any]:
        """Do what `predict` does where there are a label and scores: nearly every classifier."""
        core = self.core.row(values)
        scores = self.scores.row(core)  # type: ignore[union-attr]
        total = sum(scores)
        if total - total != 0:
            raise PlanError("A plan must answer with finite numbers. It did not.")
        label = self.labels[self._chosen(core)]  # type: ignore[misc]
        return {"label": label, "scores": dict(zip(self._names, scores, strict=True))}

    def answer(self, table: Table) -> Answers:
        """Answer many rows."""
        core = self.core.block(table)
        beside = Table(core, table.n_rows)
        scores = None if self.scores is None else self.scores.block(beside)
        value = None if self.value is None else self.value.block(beside)[:, 0]
        if not all(
            np.isfinite(part).all()
            for part in (core if scores is None and value is None else None, scores, value)
            if part is not None
        ):
            raise PlanError("A plan must answer with finite numbers. It did not.")
        labels = None
        if self.label is not None:
            seen = core if self._seen is None else self._seen.block(beside)
            labels = self._listed[chosen(self.label, seen)]
        return Answers(labels=labels, scores=scores, values=value)

    def numbers(self, table: Table) -> Array:
        """Choose the numbers of the labels of many rows; without labels those of the largest scores."""
        core: Any = self._ask(table)
        if not np.isfinite(core).all():
            raise PlanError("A plan must answer with finite numbers. It did not.")
        if self.label is None:
            told = core if self.scores is None else self.scores.block(Table(core, table.n_rows))
            return np.asarray(told.argmax(axis=1))
        return chosen(self.label, core if self._seen is None else self._seen.block(Table(core, table.n_rows)))

    def records(self, answer: Answers) -> list[dict[str, Any]]:
        """Turn answers to many rows into what the body of an answer holds."""
        found: dict[str, list[Any]] = {}
        if answer.labels is not None:
            found["label"] = answer.labels.tolist()
        if answer.scores is not None:
            found["scores"] = [dict(zip(self._names, row, strict=True)) for row in answer.scores.tolist()]
        if answer.values is not None:
            found["value"] = answer.values.tolist()
        ordered = [found[part] for part in self.output.parts]
        return [dict(zip(self.output.parts, row, strict=True)) for row in zip(*ordered, strict=True)]


def _is_by_signs(label: Mapping[str, Any] | None) -> bool:
    """Tell whether a label follows from nothing but the signs of the core's numbers."""
    made = {} if label is None else label.get("of", {})
    if made.get("of", {}).get("op") != "core":
        return False
    if made["op"] == "duels":
        return True
    shifts = [*made.get("add", [1.0]), made.get("low") or 0.0]
    return (
        made["op"] == "stretch" and label is not None and label["rule"] == "above" and not any((label["at"], *shifts))
    )


def _on(told: Mapping[str, Any], part: str, output: Output, built: Building) -> Node | None:
    """Build the node that makes a part of an answer; one that is the core itself is the core."""
    if part not in output.parts:
        return None
    return built.node(told[part])


def _array(labels: Sequence[Any], classes: Sequence[Any]) -> Array:
    """Hold labels as a model does: numbers as numbers, texts as objects."""
    texts = any(isinstance(label, str) for label in classes)
    return np.array(labels, dtype=object) if texts else np.array(labels)


def _joined(parts: Sequence[Answers]) -> Answers:
    """Put answers to rows that follow each other one behind the other."""
    told = {part: [getattr(each, part) for each in parts] for part in ("labels", "scores", "values")}
    return Answers(**{part: None if each[0] is None else np.concatenate(each) for part, each in told.items()})


def _nothing() -> Any:
    raise PlanError("A step of the model must be at hand to be asked. None was given.")


def load(
    folder: Path,
    contract: Schema,
    outputs: Sequence[Output],
    costs: Costs = UNMEASURED,
    model: Callable[[], Any] | None = None,
) -> Plan:
    """Read a plan from its folder; nothing is built but nodes and trees that were looked at."""
    return Plan(building.read(folder), contract, outputs, costs, model)
