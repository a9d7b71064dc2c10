"""What explains a model as a whole, on the raw columns: importance, curves, interactions, surrogates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from ekiben.errors import SpecError, nearest
from ekiben.explainers._settings import at_least
from ekiben.explainers.whole.ale import accumulated_effects
from ekiben.explainers.whole.asking import Table
from ekiben.explainers.whole.curves import partial_dependence, surface
from ekiben.explainers.whole.grids import Grid, given, grid
from ekiben.explainers.whole.importance import importance
from ekiben.explainers.whole.interactions import interactions
from ekiben.explainers.whole.surrogates import surrogate
from ekiben.overviews import Curve as Curve
from ekiben.overviews import CurveKind, Form, Importance, Interactions, Surface, Surrogate
from ekiben.progress import Progress, shown
from ekiben.schema import Label

if TYPE_CHECKING:
    import pandas as pd

N_VALUES = 20
N_VALUES_OF_MAP = 10
STRONGEST = 5
N_PAIR_ROWS = 60
ASKED_FOR_STRONGEST = 3  # shuffles, to find the columns worth pairing


class Whole:
    """What a package tells of its model as a whole; each by its plan where there is one."""

    def _table(self, X: pd.DataFrame | None, output: str | None) -> Table:
        """Give rows that fit the contract, or the sample of the reference, with the model to ask about them."""
        raise NotImplementedError

    def importance(
        self,
        X: pd.DataFrame | None = None,
        y: Any = None,
        *,
        scoring: str | None = None,
        n_repeats: int = 10,
        output: str | None = None,
        seed: int = 0,
        progress: Progress | bool | None = None,
    ) -> Importance:
        """Tell how much the model leans on each column: how much worse it gets when the column is shuffled.

        Parameters
        ----------
        X
            Rows of shape (n_rows, n_columns); by default the sample of the reference.
        y
            Their labels or values, for the loss of a score. Without them, how far the model's answers move is told.
        scoring
            `log_loss`, `accuracy`, `balanced_accuracy` or `roc_auc`; `r2`, `mae` or `rmse`. By default the first that fits
            of `log_loss`, `accuracy` and `r2`.
        n_repeats
            How many times each column is shuffled, at least 2.
        output
            Which of several outputs, by name; by default the first.
        seed
            Seeds the shuffles: the same as those of scikit-learn's `permutation_importance`.
        progress
            Called with a few words before each step; False keeps them from being shown.

        Raises
        ------
        SchemaError
            If the rows do not fit the contract.
        SpecError
            If the labels, the score or a number cannot be used.
        """
        at_least("n_repeats", n_repeats, 2)
        table = self._table(X, output)
        target = None if y is None else _target(table, X, y)
        if y is None and scoring is not None:
            raise SpecError(f"A 'scoring' needs the labels: importance(X, y, scoring={scoring!r}). Got none.")
        with shown(progress) as say:
            return importance(table, target, scoring, n_repeats=n_repeats, seed=seed, say=say)

    def curve(
        self,
        column: str,
        X: pd.DataFrame | None = None,
        *,
        kind: CurveKind = "partial-dependence",
        grid: int | Sequence[Any] = N_VALUES,
        n_lines: int = 30,
        output: str | None = None,
        seed: int = 0,
    ) -> Curve:
        """Tell what the model answers as one column takes other values.

        Parameters
        ----------
        column
            The column.
        X
            Rows of shape (n_rows, n_columns); by default the sample of the reference.
        kind
            `partial-dependence`, with single rows as lines; `ale` where columns go together, since it moves no row far.
        grid
            At how many values of the rows at most, or of a partial dependence the values themselves.
        n_lines
            How many single rows a partial dependence tells beside the average.
        output
            Which of several outputs, by name; by default the first.
        seed
            Chooses the single rows.

        Raises
        ------
        SchemaError
            If the rows do not fit the contract.
        SpecError
            If there is no such column or kind, or the values are none of the column.
        """
        if kind not in get_args(CurveKind):
            known = ", ".join(map(repr, get_args(CurveKind)))
            raise SpecError(
                f"The 'kind' must be one of {known}. Got {kind!r}.{nearest(str(kind), get_args(CurveKind))}"
            )
        table = self._table(X, output)
        place = _place(table, column)
        if kind == "ale":
            if not isinstance(grid, int):
                raise SpecError("An 'ale' chooses its values among the rows: give their number, grid=20. Got a list.")
            return accumulated_effects(table, place, at_least("grid", grid, 2))
        among = np.arange(table.n_rows)
        table, values = _values(table, place, grid)
        return partial_dependence(table, values, among, n_lines=at_least("n_lines", n_lines, 0), seed=seed)

    def surface(
        self,
        first: str,
        second: str,
        X: pd.DataFrame | None = None,
        *,
        grid: int = N_VALUES_OF_MAP,
        label: Label | None = None,
        output: str | None = None,
        progress: Progress | bool | None = None,
    ) -> Surface:
        """Tell what the model answers on average as two columns take other values together.

        Parameters
        ----------
        first, second
            The columns.
        X
            Rows of shape (n_rows, n_columns); by default the sample of the reference.
        grid
            At how many values of each column at most.
        label
            Which of more than two classes; by default the first.
        output
            Which of several outputs, by name; by default the first.
        progress
            Called with a few words before each step; False keeps them from being shown.

        Raises
        ------
        SchemaError
            If the rows do not fit the contract.
        SpecError
            If there is no such column or class, or the columns are the same.
        """
        table = self._table(X, output)
        places = _place(table, first), _place(table, second)
        if first == second:
            raise SpecError(f"The two columns must differ. Got {first!r} twice.")
        if label is not None and label not in table.labels:
            raise SpecError(f"The 'label' must be one of {list(table.labels)}. Got {label!r}.")
        number = table.labels.index(label) if label is not None else 0
        (_, rows), (_, columns) = (_values(table, place, at_least("grid", grid, 2)) for place in places)
        with shown(progress) as say:
            return surface(table, rows, columns, number, say)

    def interactions(
        self,
        X: pd.DataFrame | None = None,
        *,
        columns: Sequence[str] | None = None,
        n_rows: int = N_PAIR_ROWS,
        output: str | None = None,
        seed: int = 0,
        progress: Progress | bool | None = None,
    ) -> Interactions:
        """Tell which pairs of columns the model reads together, by Friedman's H statistic.

        Parameters
        ----------
        X
            Rows of shape (n_rows, n_columns); by default the sample of the reference.
        columns
            The columns to pair; by default the five that move the answers most.
        n_rows
            How many of the rows are drawn. Each pair costs their square.
        output
            Which of several outputs, by name; by default the first.
        seed
            Draws the rows.
        progress
            Called with a few words before each step; False keeps them from being shown.

        Raises
        ------
        SchemaError
            If the rows do not fit the contract.
        SpecError
            If there is no such column, or there are fewer than two.
        """
        table = self._table(X, output)
        drawn = np.sort(np.random.default_rng(seed).permutation(table.n_rows)[: at_least("n_rows", n_rows, 2)])
        few = Table(table.context, table.frame.iloc[drawn])
        with shown(progress) as say:
            if columns is None:
                leaning = importance(table, None, None, n_repeats=ASKED_FOR_STRONGEST, seed=seed, say=say)
                columns = leaning.columns[:STRONGEST]
            places = list(dict.fromkeys(_place(table, each) for each in columns))
            if len(places) < 2:
                raise SpecError(f"Interactions are of two 'columns' and more. Got {list(columns)}.")
            return interactions(few, places, say)

    def surrogate(
        self,
        form: Form = "tree",
        X: pd.DataFrame | None = None,
        *,
        depth: int = 3,
        n_columns: int = 6,
        output: str | None = None,
        seed: int = 0,
    ) -> Surrogate:
        """Fit a simple model to the answers of this one, and tell how well it imitates them.

        Parameters
        ----------
        form
            `tree`, or `linear` for a sum of few columns.
        X
            Rows of shape (n_rows, n_columns); by default the sample of the reference. A third of them is kept to measure.
        depth
            How deep a tree is at most, from 1 to 8.
        n_columns
            How many columns a linear model takes at most.
        output
            Which of several outputs, by name; by default the first.
        seed
            Chooses the rows that measure.

        Raises
        ------
        SchemaError
            If the rows do not fit the contract.
        SpecError
            If there is no such form, or there are too few rows.
        """
        if form not in get_args(Form):
            raise SpecError(f"The 'form' must be 'tree' or 'linear'. Got {form!r}.{nearest(str(form), get_args(Form))}")
        if type(depth) is not int or not 1 <= depth <= 8:
            raise SpecError(f"The 'depth' must be a whole number from 1 to 8. Got {depth!r}.")
        at_least("n_columns", n_columns, 1)
        return surrogate(self._table(X, output), form, depth=depth, n_columns=n_columns, seed=seed)


def _place(table: Table, column: str) -> int:
    if column not in table.names:
        raise SpecError(f"The model has no column {column!r}.{nearest(str(column), table.names)}")
    return table.names.index(column)


def _values(table: Table, place: int, wanted: int | Sequence[Any]) -> tuple[Table, Grid]:
    """Choose values among the rows, or put those that were given below them."""
    if isinstance(wanted, int):
        return table, grid(table, place, at_least("grid", wanted, 2))
    if isinstance(wanted, str) or not hasattr(wanted, "__len__") or not len(wanted):
        raise SpecError(f"The 'grid' must be a number of values, or a list of them. Got {wanted!r}.")
    wider = table.with_values(table.names[place], wanted)
    return wider, given(wider, place, len(wanted))


def _target(table: Table, X: Any, y: Any) -> Any:
    """Take the labels of the rows, or say why they are none."""
    if X is None:
        raise SpecError("The 'y' must come with its rows: importance(X_test, y_test). Got labels alone.")
    truth = np.asarray(y)
    if truth.ndim != 1 or len(truth) != table.n_rows:
        raise SpecError(f"The 'y' must have one label for each row. Got shape {truth.shape} for {table.n_rows} rows.")
    classes = table.context.classes
    unknown = sorted({str(label) for label in truth.tolist() if classes and label not in classes})
    if unknown:
        raise SpecError(f"The 'y' must hold labels that the model knows: {list(classes)}. Got others: {len(unknown)}.")
    if not classes and (truth.dtype.kind not in "biuf" or not np.isfinite(truth.astype(np.float64)).all()):
        raise SpecError("The 'y' of a model of values must be finite numbers. Got others.")
    return truth
