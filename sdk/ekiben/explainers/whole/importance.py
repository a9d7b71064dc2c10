"""How much worse a model gets when the cells of one column are shuffled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ekiben.errors import SpecError, nearest
from ekiben.explainers._columns import Rows
from ekiben.explainers._context import Context
from ekiben.explainers.whole.asking import Table, parts
from ekiben.models import Answers
from ekiben.models.measuring import metrics
from ekiben.overviews import Importance
from ekiben.progress import Progress

LOSSES = ("log_loss", "mae", "rmse")  # less of them is better
Judge = Callable[[Answers], float]


def importance(
    table: Table, target: Any, scoring: str | None, *, n_repeats: int, seed: int, say: Progress
) -> Importance:
    """Shuffle each column some times: by the loss of a score where there are labels, else by the change of the answers."""
    before = table.answers(table.alone(), labels=target is not None)
    measure, judge = _change(table, before) if target is None else _loss(table.context, target, scoring, before)
    baseline = None if target is None else judge(before)
    orders = np.concatenate(list(_orders(table.n_rows, n_repeats, seed)))
    found = {}
    for place, name in enumerate(table.names):
        say(f"shuffling {name}, {place + 1} of {len(table.names)}")
        patched = np.tile(table.alone(), (n_repeats, 1))
        patched[:, place] = orders
        after = parts(table.answers(patched, labels=target is not None), n_repeats)
        each = list(map(judge, after))
        found[name] = tuple(each if baseline is None else (_worse(measure, baseline, score) for score in each))
    ordered = sorted(found, key=lambda name: -sum(found[name]))
    return Importance(
        output=table.output,
        measure=measure,
        columns=tuple(ordered),
        each=tuple(found[name] for name in ordered),
        baseline=baseline,
        n_rows=table.n_rows,
    )


def _orders(n_rows: int, n_repeats: int, seed: int) -> Iterator[Rows]:
    """Shuffle rows as scikit-learn's `permutation_importance` of the same seed does, so that figures can be compared."""
    first = np.random.RandomState(seed).randint(np.iinfo(np.int32).max + 1)
    draws = np.random.RandomState(first)
    order, shuffle = np.arange(n_rows), np.arange(n_rows)
    for _ in range(n_repeats):
        draws.shuffle(shuffle)
        order = order[shuffle]
        yield order


def _change(table: Table, before: Answers) -> tuple[str, Judge]:
    """Judge by the mean distance between answers: of several classes half the sum, so that 1 is the most."""
    own = table.numbers(before)
    share = 1.0 if own.shape[1] == 1 else 0.5
    return "change", lambda after: float(share * np.abs(table.numbers(after) - own).sum(axis=1).mean())


def _loss(context: Context, target: Any, scoring: str | None, before: Answers) -> tuple[str, Judge]:
    truth = np.asarray(target)
    output = replace(context.output, classes=context.classes)
    known = metrics(truth, before, output)
    measure = scoring or next(name for name in ("log_loss", "accuracy", "r2") if name in known)
    if measure not in known:
        raise SpecError(
            f"The 'scoring' must be one of {', '.join(map(repr, known))}. Got {scoring!r}.{nearest(measure, known)}"
        )
    everything = np.arange(len(truth))
    if not np.isfinite(known[measure](everything)):
        raise SpecError(f"The rows must be able to tell {measure!r}. They are of one class, or one value. Give others.")
    return measure, lambda after: metrics(truth, after, output)[measure](everything)


def _worse(measure: str, baseline: float, score: float) -> float:
    return score - baseline if measure in LOSSES else baseline - score
