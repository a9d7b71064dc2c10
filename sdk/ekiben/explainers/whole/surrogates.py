"""A simple model fitted to the answers of another, and held against them on other rows."""

from __future__ import annotations

import numpy as np

from ekiben.errors import SpecError
from ekiben.explainers._columns import Rows
from ekiben.explainers._context import Matrix
from ekiben.explainers.whole import splitting, weighing
from ekiben.explainers.whole.asking import Table
from ekiben.explainers.whole.grids import has_grid
from ekiben.overviews import Form, Surrogate

FITTED = 2 / 3  # of the rows; the others measure
LEAST_ROWS = 9
LEAF_SHARE = 0.02  # of the fitted rows, in each leaf at least


def surrogate(table: Table, form: Form, *, depth: int, n_columns: int, seed: int) -> Surrogate:
    """Fit a tree, or a sparse linear model, to what the model answers on two rows of three, and measure it on the third."""
    if table.n_rows < LEAST_ROWS:
        raise SpecError(f"A surrogate needs at least {LEAST_ROWS} rows. Got {table.n_rows}.")
    answers = table.answers(table.alone(), labels=True)
    numbers = table.numbers(answers)
    mixed = np.random.default_rng(seed).permutation(table.n_rows)
    n_fitted = round(FITTED * table.n_rows)
    fitted, tested = np.sort(mixed[:n_fitted]), np.sort(mixed[n_fitted:])
    keep = [1] if len(table.context.classes) == 2 else list(range(numbers.shape[1]))
    readable = [place for place in range(len(table.names)) if has_grid(table, place)]  # free texts are somebody's own
    codes, axes = table.codes(readable), [table.axis(place) for place in readable]
    found: splitting.Tree | weighing.Sum
    if form == "tree":
        least = max(2, round(LEAF_SHARE * n_fitted))
        found = splitting.grow(axes, codes[fitted], numbers[fitted], depth=depth, least=least)
        own = {"tree": splitting.told(found, axes, keep, n_fitted)}
    else:
        found = weighing.fit(axes, codes[fitted], numbers[fitted], n_columns=n_columns)
        own = {"intercept": tuple(found.intercept[keep].tolist()), "terms": found.terms(keep)}  # type: ignore[dict-item]
    guessed = found.predict(codes[tested])
    return Surrogate(
        form=form,
        output=table.output,
        labels=table.labels,
        r2=explained_share(numbers[tested], guessed),
        agreement=_agreement(table, answers.labels, tested, guessed),
        n_fitted=n_fitted,
        n_tested=len(tested),
        **own,  # type: ignore[arg-type]
    )


def explained_share(numbers: Matrix, guessed: Matrix) -> float:
    """Give the share of the variance of numbers that is explained: 1 where there is none and nothing is missed.

    >>> explained_share(np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]]))
    0.5
    """
    missed = float(((numbers - guessed) ** 2).sum())
    whole = float(((numbers - numbers.mean(axis=0)) ** 2).sum())
    return 1 - missed / whole if whole > 1e-12 * float((numbers**2).sum()) else float(missed <= 1e-12)


def _agreement(table: Table, labels: object, rows: Rows, guessed: Matrix) -> float | None:
    classes = table.context.classes
    if not classes or labels is None:
        return None
    own = np.asarray(labels, dtype=object)[rows]
    return float(np.mean(own == np.array(classes, dtype=object)[guessed.argmax(axis=1)]))
