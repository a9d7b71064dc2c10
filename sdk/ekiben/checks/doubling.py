"""A packed model as a game in which one column is there twice, and both copies have the same say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ekiben.compiling import Grown, Node, Plan, Row, Table
from ekiben.compiling.forest import Forest
from ekiben.compiling.nodes.trees import Trees
from ekiben.errors import ExplainError
from ekiben.explainers import Context, Later
from ekiben.explainers.linear import asked
from ekiben.explanations import Explanation
from ekiben.models import Answers
from ekiben.schema import Part
from ekiben.tables import with_columns

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.compiling import Sums
    from ekiben.models import Array
    from ekiben.packages import Package

N_REFERENCE = 100  # rows that the method is fitted to again
COPY = " (copy)"


@dataclass(frozen=True, kw_only=True)
class Doubled:
    """A package's model that is asked with each of two copies of a column, and answers with the mean.

    The mean is that of what its method explains: of log-odds for scores that are explained below their link, else of the
    answers themselves. So the copies may change places at any row, and whoever keeps to Shapley's axioms gives both the same.
    """

    package: Package
    name: str

    @property
    def copy(self) -> str:
        """The name of the second copy."""
        made = self.name + COPY
        while made in self.package.schema.names:
            made += COPY
        return made

    @property
    def place(self) -> int:
        """Which column is there twice; its copy is the last."""
        return self.package.schema.names.index(self.name)

    def explained(self, rows: pd.DataFrame) -> list[Explanation]:
        """Fit the package's method to the doubled model, and explain rows.

        Raises
        ------
        ExplainError
            If the method cannot be fitted to it.
        """
        explainer: Any = self.package.explainer
        packed = getattr(explainer, "own", explainer)
        units = {} if packed is explainer else {"units": explainer.units}
        told: list[Explanation] = packed.fit(self._context(), **units).explain(self.rows(rows))
        return told

    def rows(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Give rows in which the copy holds what the column does."""
        return with_columns(rows, {self.copy: rows[self.name]})

    def _context(self) -> Context:
        package, column = self.package, self.package.schema[self.name]
        return _Context(
            model=Later(lambda: package.model),
            adapter=self,
            schema=replace(package.schema, columns=(*package.schema.columns, replace(column, name=self.copy))),
            reference=self.rows(package.sample.head(N_REFERENCE)),
            outputs=package.signature.outputs,
        )

    def _halves(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        names = list(self.package.schema.names)
        return frame[names], with_columns(frame, {self.name: frame[self.copy]})[names]

    # ── as an adapter ──

    def outputs(self, model: Any, frame: pd.DataFrame) -> Any:
        """Tell what the model answers."""
        return self.package.adapter.outputs(model, self._halves(frame)[0])

    def answers(
        self, model: Any, frame: pd.DataFrame, parts: Sequence[Part] = ("scores", "value")
    ) -> tuple[Answers, ...]:
        """Answer with the mean over both copies."""
        first, second = (self.package.adapter.answers(model, half, parts) for half in self._halves(frame))
        below = getattr(self.package.explainer, "units", None) in ("log-odds", "margin")
        return tuple(_mean(a, b, below=below) for a, b in zip(first, second, strict=True))

    def steps(self, model: Any) -> tuple[Any, Any]:
        """Put the features of both copies side by side, and weigh each half as much."""
        transform, estimator = self.package.adapter.steps(model)

        def features(frame: pd.DataFrame) -> Array:
            return np.hstack([np.asarray(transform(half), dtype=np.float64) for half in self._halves(frame)])

        return features, _halved(estimator)

    def contributions(self, estimator: Any, matrix: Array) -> None:
        """Break nothing down: a library knows its own trees alone."""

    def margin(self, estimator: Any, matrix: Array) -> Array:  # noqa: ARG002 -- as above
        """Refuse, as a library knows its own trees alone."""
        raise ExplainError("The trees have no plan, so that no column of theirs can be doubled.")

    # ── as a plan ──

    def sums(self, found: Sums) -> Sums:
        """Double what lies below a plan's links."""
        owners = getattr(self.package.explainer, "owners", None)
        if isinstance(found, Grown) and owners is not None:  # by a method that looks into the trees
            return replace(found, node=self._trees(found, np.asarray(owners)))
        return replace(found, node=_Mean(found.node, self.place))

    def _trees(self, found: Grown, owners: Array) -> Trees:
        below = _Both(found.node.of, self.place)
        if len(found.players) != len(owners):
            raise ExplainError("The trees split by categories, so that no column of theirs can be doubled.")
        forest, leaves = found.node.grown, found.node.leaves
        moved = np.flatnonzero(np.isin(forest.feature, np.flatnonzero(owners == self.place)))
        halves = [_asking(forest, moved[start::2], len(owners)) for start in (0, 1)]
        if leaves is not None:  # a leaf names its row, and each tree is a target
            return Trees(below, _beside(*halves, apart=True), leaves / 2, narrow=False)
        doubled = _beside(*halves)
        return Trees(below, replace(doubled, leaf_weight=doubled.leaf_weight / 2), None, narrow=False)


@dataclass(frozen=True, kw_only=True)
class _Context(Context):
    """A doubled model as an explainer meets it."""

    adapter: Doubled

    @cached_property
    def translated(self) -> Plan | None:
        """What stands for a plan: its sums, doubled; None where the model has none."""
        package = self.adapter.package
        plain = Context(
            model=self.model,
            adapter=package.adapter,
            schema=package.schema,
            reference=package.sample.head(N_REFERENCE),
            outputs=package.signature.outputs,
        )
        plan = plain.translated
        if plan is None:
            return None
        return cast(Plan, SimpleNamespace(sums=lambda which=0: self.adapter.sums(plan.sums(which))))


def _mean(first: Answers, second: Answers, *, below: bool) -> Answers:
    if first.scores is None and first.values is None:
        raise ExplainError("The model gives labels alone, which have no mean.")
    name = "values" if first.scores is None else "scores"
    a, b = (np.asarray(getattr(each, name), dtype=np.float64) for each in (first, second))
    made = np.sqrt(a * b) if below and min(a.min(), b.min()) > 0 else (a + b) / 2
    if below and name == "scores":
        made /= made.sum(axis=1, keepdims=True)
    return Answers(**{name: made})


def _halved(estimator: Any) -> Any:
    """Give an estimator of the features of both copies that answers with the mean of its margins."""
    coef = getattr(estimator, "coef_", None)
    if coef is None:
        return SimpleNamespace()

    def margins(matrix: Array) -> Array:
        first, second = np.split(matrix, 2, axis=1)
        made: Array = (asked(estimator, first) + asked(estimator, second)) / 2
        return made

    weights = np.atleast_2d(np.asarray(coef, dtype=np.float64)) / 2
    told = {"coef_": np.hstack([weights, weights]), "intercept_": estimator.intercept_, "decision_function": margins}
    if hasattr(estimator, "predict_proba"):
        told["predict_proba"] = estimator.predict_proba
    return SimpleNamespace(**told)


def _asking(forest: Forest, nodes: Array, n_features: int) -> Forest:
    """Let some nodes ask the second copy of their feature."""
    feature = forest.feature.copy()
    feature[nodes] += n_features
    return replace(forest, feature=feature, n_features=2 * n_features)


def _beside(first: Forest, second: Forest, *, apart: bool = False) -> Forest:
    """Put the trees of two forests of one shape into one, where `apart` with targets of their own."""
    n_nodes, n_leaves = len(first.feature), len(first.leaf_weight)
    moved = {
        f"{side}_id": getattr(second, f"{side}_id") + np.where(getattr(second, f"{side}_leaf") == 1, n_leaves, n_nodes)
        for side in ("true", "false")
    }
    n_more = first.n_targets if apart else 0
    placed = replace(second, root=second.root + n_nodes, leaf_target=second.leaf_target + n_more, **moved)
    names = ("feature", "threshold", "mode", "missing_true", "true_leaf", "true_id", "false_leaf", "false_id", "root",
             "leaf_target", "leaf_weight", "cover", "leaf_cover")  # fmt: skip
    joined = {name: np.concatenate([getattr(first, name), getattr(placed, name)]) for name in names}
    return replace(first, n_targets=first.n_targets + n_more, **joined)


class _Both(Node):
    """The features of rows with the one copy, and behind them those with the other."""

    def __init__(self, of: Node, place: int) -> None:
        self.of, self.place, self.width = of, place, 2 * of.width

    def row(self, values: Sequence[Any]) -> Sequence[float]:
        return [number for half in _halves(values, self.place) for number in self.of.row(Row.of(half))]

    def block(self, table: Table) -> Array:
        return np.hstack(_blocks(self.of, table, self.place))


class _Mean(Node):
    """The mean of a node's numbers over both copies."""

    def __init__(self, of: Node, place: int) -> None:
        self.of, self.place, self.width = of, place, of.width

    def block(self, table: Table) -> Array:
        first, second = _blocks(self.of, table, self.place)
        made: Array = (first + second) / 2
        return made


def _blocks(node: Node, table: Table, place: int) -> list[Array]:
    halves = _halves(table.columns, place)
    return [np.asarray(node.block(Table(half, table.n_rows)), dtype=np.float64) for half in halves]


def _halves(columns: Sequence[Any], place: int) -> tuple[list[Any], list[Any]]:
    """Give a model's own columns with the one copy, and with the other, which is the last."""
    *own, copy = columns
    return own, [*own[:place], copy, *own[place + 1 :]]
