"""Exact Shapley values of trees, on raw columns: path-dependent, or interventional."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ekiben.compiling import NO_ANSWER, Grown, Row
from ekiben.compiling.translating import is_of
from ekiben.errors import ExplainError, IntegrityError, UnsupportedModelError
from ekiben.explainers._columns import Folding, Rows, dense, feature_owners, matching_owners, named, refuse_wide
from ekiben.explainers._context import Context, Matrix, Transform
from ekiben.explainers._header import read_array, read_header, write_header
from ekiben.explainers._outputs import explains, measured_units, picked
from ekiben.explainers.shapley import Broken, Prepared, features_of
from ekiben.explanations import Explanation, Units, from_json
from ekiben.explanations.attribution import gap, template
from ekiben.models.lightgbm import Boosted
from ekiben.tables import as_columns, as_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

TOLERANCE = 1e-3  # XGBoost adds leaves up in 32 bits
LINK_TOLERANCE = 1e-5
N_CHECKED = 500
N_TRIED = 50  # by the tables, one after the other
N_BACKGROUND = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """Path-dependent TreeSHAP on the sum of the leaves [1]_: exact, with the training rows in each leaf as the background.

    What is asked of the trees is prepared when the model is packed, so that a row costs less than the model's own answer;
    trees that no plan holds are asked by their own library, where it can. Binary classifiers are explained in log-odds of
    the second class, forests in its probability, others by the score of the predicted class, regressors by the target or
    the margin below their link. Where columns go together the numbers differ from those of an interventional method;
    `method` says which came.

    References
    ----------
    .. [1] Lundberg, Erion, Lee, "Consistent Individualized Feature Attribution for Tree Ensembles", 2018.
    """

    method: ClassVar[str] = "trees"
    by_plan: ClassVar[bool] = True
    named: ClassVar[str] = "tree-path-dependent"
    says: ClassVar[dict[str, bool]] = {}
    beyond: ClassVar[bool] = True  # whether rows that a plan has no answer for may be explained by the model's library

    context: Context
    engine: Prepared | Library
    owners: Rows
    units: Units
    fold: Folding = field(init=False)
    said: dict[int, dict[str, Any]] = field(init=False, default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Prepare to add features up to columns."""
        object.__setattr__(self, "fold", Folding(self._owned(), self.context.names))

    def _owned(self) -> Rows:
        """Say of which column each part is that the engine tells: of that of its feature."""
        return self.owners

    @classmethod
    def fit(cls, context: Context, *, units: Units | None = None) -> Trees:
        """Find which column moves each feature, prepare the trees, and prove on the reference that contributions add up.

        `units` may name the scale of the sum of the leaves, or call it a `margin`; on another scale leaves do not add up.
        """
        reference = context.reference_rows(cls.method)
        grown = _grown(context)
        fit = cls._fit_library if grown is None else partial(cls._fit_grown, grown)
        engine, owners, own = fit(context, reference)
        return cls(context=context, engine=engine, owners=owners, units=_named_units(cls.method, own, units))

    @classmethod
    def _fit_library(cls, context: Context, reference: pd.DataFrame) -> tuple[Library, Rows, Units]:
        transform, estimator = context.adapter.steps(context.live)
        try:
            refuse_wide(transform, reference, cls.method)
        except UnsupportedModelError:  # what takes texts is no tree
            raise ExplainError(_no_trees(cls.method, estimator)) from None
        engine, head = cls._asked(context, transform, estimator), reference.iloc[:N_CHECKED]
        _refuse_gaps(engine.broken(head))
        units = measured_units(context, engine.margins(head), context.scores(head), tolerance=LINK_TOLERANCE)
        return engine, feature_owners(transform, reference, context.schema, context.known), units

    @classmethod
    def _fit_grown(cls, grown: Grown, context: Context, reference: pd.DataFrame) -> tuple[Prepared, Rows, Units]:
        """Prepare the trees of a plan, whose features are those of the plan: they may lie within what wraps a pipeline."""
        reference, known = _met(grown, reference), None if context.known is None else _met(grown, context.known)
        n_features, head = int(grown.players.max()) + 1, reference.iloc[:N_CHECKED]

        def transform(frame: pd.DataFrame) -> Matrix:
            return features_of(grown, as_columns(frame), len(frame))[:, :n_features]

        refuse_wide(transform, reference, cls.method)
        margins = grown.numbers(features_of(grown, as_columns(head), len(head)))
        units = measured_units(context, margins, context.scores(head), tolerance=LINK_TOLERANCE)
        second = units == "probability" and margins.shape[1] == 2  # the first is what is missing to 1
        owners = feature_owners(transform, reference, context.schema, known)
        players, background = cls._players(grown, owners, len(context.names)), cls._background(grown, reference)
        engine = Prepared.of(grown, players, [1] if second else list(range(margins.shape[1])), background)
        _refuse_gaps(engine.broken(head.iloc[:N_TRIED]))
        return engine, owners, units

    @classmethod
    def _players(cls, grown: Grown, owners: Rows, n_columns: int) -> list[int]:  # noqa: ARG003 -- as above
        """Say of which player each number is that the trees look at: of its feature."""
        found: list[int] = grown.players.tolist()
        return found

    @classmethod
    def _background(cls, grown: Grown, reference: pd.DataFrame) -> Matrix | None:  # noqa: ARG003 -- another method has one
        return None

    @classmethod
    def _asked(cls, context: Context, transform: Transform, estimator: Any) -> Library:
        return Library(context=context, transform=transform, estimator=estimator)

    @property
    def quick(self) -> bool:
        """Whether an explanation needs the plan alone."""
        return self.context.plan is not None and isinstance(self.engine, Prepared)

    def explain(self, frame: pd.DataFrame, *, seed: int = 0) -> list[Explanation]:  # noqa: ARG002 -- draws nothing
        """Explain each row, exactly up to 32-bit rounding."""
        started, rows = perf_counter(), self.context.rows(frame)
        try:
            found = self.engine.broken(rows)
        except NO_ANSWER:
            found = self._by_library(rows)
        return list(map(from_json, self._told(found, started)))

    def _by_library(self, rows: pd.DataFrame) -> list[Broken]:
        """Let its library break down each row that the plan has no answer for, and the model has one.

        Such are rows with a number that 32 bits cannot hold, or an infinite one that a step made.

        Raises
        ------
        PlanError, ArithmeticError, ValueError
            If the model has none either, or its library does not tell.
        """
        found: list[Broken] = []
        for i in range(len(rows)):
            row = rows.iloc[[i]]
            try:
                found += self.engine.broken(row)
            except NO_ANSWER as reason:
                found += self._of_library(row, reason)
        return found

    def _of_library(self, row: pd.DataFrame, reason: Exception) -> list[Broken]:
        if not isinstance(self.engine, Prepared):
            raise reason
        try:
            transform, estimator = self.context.adapter.steps(self.context.live)
            self.context.adapter.answers(self.context.live, row)  # what the model refuses is not explained
        except (ImportError, *NO_ANSWER):  # ImportError in an image of plans alone
            raise reason from None
        if not (self.beyond and _breaks_down(estimator)):
            raise ExplainError(
                f"The method {self.method!r} takes rows that a plan answers. The model alone answers this one. {reason} "
                "Explain it with the method 'sampling'."
            ) from None
        try:
            found = Library(context=self.context, transform=transform, estimator=estimator).broken(row)
        except NO_ANSWER:
            raise reason from None
        if len(found[0].parts) != len(self.owners):
            raise reason
        _refuse_gaps(found)
        return found

    def explain_columns(self, columns: Sequence[Sequence[Any]], _n_rows: int) -> list[Explanation] | None:
        """Explain rows that come as columns of plain values, without a frame; None where the library is asked."""
        if not isinstance(self.engine, Prepared):
            return None
        try:
            return list(map(from_json, self.documents(list(zip(*columns, strict=True)))))
        except NO_ANSWER:
            return self.explain(as_frame(dict(zip(self.context.names, columns, strict=True)), self.context.schema))

    def documents(self, rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
        """Explain rows of plain values by the plan alone, and give what travels of the explanations."""
        started = perf_counter()
        assert isinstance(self.engine, Prepared)
        return self._told(self.engine.of_rows(rows), started)

    def _told(self, found: list[Broken], started: float) -> list[dict[str, Any]]:
        told = list(map(self._document, found))
        elapsed_ms = (perf_counter() - started) * 1e3 / max(len(found), 1)
        for document in told:
            document["elapsed_ms"] = elapsed_ms
        return told

    def _document(self, broken: Broken) -> dict[str, Any]:
        margins, output, base, parts = broken
        told = (self.said.get(output) or self._said(output, len(margins))).copy()
        told["base_value"], told["value"] = base, margins[output]
        contributions = told["contributions"] = self.fold(parts)
        told["faithfulness_error"] = gap(base, margins[output], contributions.values())
        return told

    def _said(self, output: int, n_outputs: int) -> dict[str, Any]:
        """Give what travels of an output but for the numbers, and remember it."""
        told = explains(self.context, self.units, output, n_outputs)
        known = self.said[output] = template(method=self.named, **told)
        return known

    def save(self, folder: Path) -> None:
        """Write the owner of each feature, and what was prepared; the trees are the model's."""
        prepared = {**self.engine.settings, **self.says} if isinstance(self.engine, Prepared) else None
        write_header(folder, self.method, units=self.units, prepared=prepared)
        np.save(folder / "owners.npy", self.owners, allow_pickle=False)
        if isinstance(self.engine, Prepared):
            self.engine.save(folder)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Trees:
        """Read what `save` wrote; no reference is needed."""
        header = read_header(folder)
        owners = read_array(folder / "owners.npy")
        engine: Prepared | Library
        if header.get("prepared") is None:
            transform, estimator = context.adapter.steps(context.live)
            engine = cls._asked(context, transform, estimator)
            owners = matching_owners(owners, getattr(estimator, "n_features_in_", len(owners)))
        else:
            grown = _grown(context) if context.plan is None else context.plan.sums(context.which)
            if not isinstance(grown, Grown):
                raise ExplainError(
                    "The trees of a packed model must have a plan to be explained by. They have none here."
                )
            owners = matching_owners(owners, int(grown.players.max()) + 1)
            players = cls._players(grown, owners, len(context.names))
            engine = Prepared.load(folder, grown, players, header["prepared"])
        return cls(context=context, engine=engine, owners=owners, units=header["units"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Interventional(Trees):
    """Interventional TreeSHAP on the sum of the leaves [1]_: exact, with rows of the reference as the background.

    It asks what the trees would say if columns came from other rows, also where no such row was ever seen: so a column
    that the trees do not look at adds nothing, whatever goes together with it. All that encoders made of a column comes
    from other rows together. For trees of few splits on a path.

    References
    ----------
    .. [1] Lundberg et al., "From local explanations to global understanding with explainable AI for trees", 2020.
    """

    method: ClassVar[str] = "trees-interventional"
    named: ClassVar[str] = "tree-interventional"
    says: ClassVar[dict[str, bool]] = {"by_column": True}
    beyond: ClassVar[bool] = False  # the libraries' values are path-dependent

    @classmethod
    def _players(cls, grown: Grown, owners: Rows, n_columns: int) -> list[int]:
        """Let each column be a player with all features that are made of it, and what no column moves one behind them."""
        found: list[int] = np.where(owners < 0, n_columns, owners)[grown.players].tolist()
        return found

    def _owned(self) -> Rows:
        """Say of which column each player is."""
        n_columns = len(self.context.names)
        owned = np.where(self.owners < 0, n_columns, self.owners)
        return np.array([i if i < n_columns else -1 for i in range(int(owned.max()) + 1)], dtype=np.int64)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Trees:
        """Read what `save` wrote; no reference is needed."""
        if not (read_header(folder).get("prepared") or {}).get("by_column"):
            raise IntegrityError("Interventional values must be those of columns. These are of features. Pack again.")
        return super(Interventional, cls).load(folder, context)  # the class has slots: it is another than this one

    @classmethod
    def _background(cls, grown: Grown, reference: pd.DataFrame) -> Matrix | None:
        drawn = np.sort(np.random.default_rng(0).permutation(len(reference))[:N_BACKGROUND])
        return features_of(grown, as_columns(reference.iloc[drawn]), len(drawn))

    @classmethod
    def _asked(cls, context: Context, transform: Transform, estimator: Any) -> Library:  # noqa: ARG003 -- none does it
        raise ExplainError(
            "The method 'trees-interventional' takes trees that a plan can hold. "
            f"Got {named(estimator)}, of which no plan holds trees. Explain it with the method 'sampling'."
        )


def _named_units(method: str, own: Units, wanted: Units | None) -> Units:
    if wanted in (None, own):
        return own
    if wanted == "margin" and own != "probability":
        return "margin"
    raise ExplainError(
        f"The method {method!r} explains what leaves add up to: here {own!r}. Got the units {wanted!r}. "
        "Leave the 'units' out, or explain it with the method 'sampling'."
    )


def _grown(context: Context) -> Grown | None:
    """Find the trees of a model, with the weights of their training rows; None where no plan holds them."""
    plan = context.translated
    grown = None if plan is None else plan.sums(context.which)
    if not isinstance(grown, Grown):
        return None
    covers = (grown.node.forest.cover, grown.node.forest.leaf_cover)
    return grown if all(cover is not None and np.isfinite(cover).all() for cover in covers) else None


def _met(grown: Grown, rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows that the trees of a plan meet: not those of which a step makes an infinite number, say, which it leaves to the model."""
    try:
        grown.numbers(features_of(grown, as_columns(rows), len(rows)))
    except NO_ANSWER:
        kept = rows[[_is_met(grown, values) for values in zip(*as_columns(rows), strict=True)]]
        if not len(kept):
            raise
        return kept
    return rows


def _is_met(grown: Grown, values: Sequence[Any]) -> bool:
    try:
        grown.met(Row.of(values))
    except NO_ANSWER:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Trees that their own library breaks down: XGBoost's or LightGBM's."""

    context: Context
    transform: Transform
    estimator: Any

    def margins(self, frame: pd.DataFrame) -> Matrix:
        """Give the sums of the leaves: shape (n_rows, n_outputs)."""
        return self._margins(dense(self.transform, frame))

    def _margins(self, matrix: Matrix) -> Matrix:
        found = np.asarray(self.context.adapter.margin(self.estimator, matrix), dtype=np.float64)
        return self.context.own(found)

    def broken(self, frame: pd.DataFrame) -> list[Broken]:
        """Break the sums of each row down.

        Raises
        ------
        ValueError
            If the model refuses a row: its library may break down more than it answers.
        """
        matrix = dense(self.transform, frame)
        if np.abs(matrix).max(initial=0.0, where=matrix == matrix) > np.finfo(np.float32).max:
            self.context.adapter.answers(self.context.live, frame)
        parts = self.context.adapter.contributions(self.estimator, matrix)
        if parts is None:
            raise ExplainError(_no_trees(Trees.method, self.estimator))
        own, margins = self.context.own(np.asarray(parts, dtype=np.float64)), self._margins(matrix)
        chosen = picked(margins)
        told = own[np.arange(len(own)), chosen].tolist()
        return [
            Broken(margins=row, output=output, base=base, parts=parts)
            for row, (*parts, base), output in zip(margins.tolist(), told, chosen.tolist(), strict=True)
        ]


def _breaks_down(estimator: Any) -> bool:
    """Tell whether the library of a model's last step breaks its trees down itself."""
    return isinstance(estimator, Boosted) or any(is_of(estimator, name) for name in ("lightgbm", "xgboost"))


def _no_trees(method: str, estimator: Any) -> str:
    return (
        f"The method {method!r} takes a model whose last step is made of trees that a plan can hold, or of a kind "
        f"that XGBoost or LightGBM breaks down itself. Got {named(estimator)}. Explain it with the method 'sampling'."
    )


def _refuse_gaps(found: list[Broken]) -> None:
    """See that contributions add up to the sum of the leaves."""
    for each in found:
        value = each.margins[each.output]
        gap = abs(each.base + sum(each.parts) - value)
        if not gap <= TOLERANCE * max(1.0, abs(value)):
            raise ExplainError(
                f"Contributions must add up to the margin within {TOLERANCE:g}. Got a gap of {gap:.3g}. "
                "Explain this model with the method 'sampling'."
            )
