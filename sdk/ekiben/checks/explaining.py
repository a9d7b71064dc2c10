# ruff: noqa: D401 -- a law is a statement, not a command
"""The laws that explanations keep."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben import tables
from ekiben.checks.doubling import Doubled
from ekiben.checks.subjects import TOLERANCE, Evidence, Law, Subject
from ekiben.errors import ExplainError
from ekiben.explainers.alternatives.actions import Action, broken, said_of
from ekiben.explanations import Alternative, Attribution, Counterfactual, Explanation
from ekiben.packages import Package
from ekiben.values import misfit

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.explainers.anchor import Remeasured

ROWS = 3
CLOSE = 1e-9  # of the larger number: sums of many rows are added up in another order
TINY = 1e-9  # of a column's spread
STILL = 1e-6  # of the sum of all contributions: the answer is the same
MOVED = 0.1
EQUAL = 1e-6  # tables of many trees are kept in 32 bits

Told = list[Explanation]


def attributions_sum_to_the_output(subject: Subject) -> Evidence:
    """Attributions sum to the output minus the base value."""
    return _judged(subject, _sums)


def _sums(subject: Subject, rows: pd.DataFrame) -> Evidence:
    found = _attributions(subject.package.explain(rows))
    faults = [
        f"missed by {missed:.3g} in {one.units}"
        for one in found
        if (missed := abs(one.value - one.base_value - sum(one.contributions.values())))
        > 1e-4 * max(1.0, abs(one.value))
    ]
    return Evidence(tried=len(found), faults=tuple(faults), note="" if found else NO_SUMS)


def the_same_seed_explains_the_same(subject: Subject) -> Evidence:
    """The same seed explains the same."""
    return _judged(subject, _same_seed)


def _same_seed(subject: Subject, rows: pd.DataFrame) -> Evidence:
    first, second = ([replace(one, elapsed_ms=0.0) for one in subject.package.explain(rows, seed=7)] for _ in range(2))
    faults = [f"row {i} differs" for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    return Evidence(tried=len(rows), faults=tuple(faults))


def an_explanation_is_of_its_row_alone(subject: Subject) -> Evidence:
    """An explanation does not depend on the rows beside it, nor on their order."""
    return _judged(subject, _alone)


def _alone(subject: Subject, rows: pd.DataFrame) -> Evidence:
    together = list(subject.package.explain(rows))
    turned = list(subject.package.explain(rows.iloc[::-1]))[::-1]
    alone = [subject.package.explain(rows.iloc[[i]])[0] for i in range(len(rows))]
    faults = [
        f"row {i} differs {how}"
        for how, others in (("in another order", turned), ("alone", alone))
        for i, (one, other) in enumerate(zip(together, others, strict=True))
        if not _alike(one, other)
    ]
    return Evidence(tried=2 * len(rows), faults=tuple(faults))


def _alike(one: Explanation, other: Explanation) -> bool:
    if not (isinstance(one, Attribution) and isinstance(other, Attribution)):
        return replace(one, elapsed_ms=0.0) == replace(other, elapsed_ms=0.0)
    scale = CLOSE * max(1.0, abs(one.value), abs(one.base_value))
    return one.output == other.output and bool(np.allclose(_numbers(one), _numbers(other), rtol=CLOSE, atol=scale))


def _numbers(one: Attribution) -> list[float]:
    return [one.base_value, one.value, *one.contributions.values()]


def a_constant_column_adds_nothing(subject: Subject) -> Evidence:
    """A column that holds one value in the reference adds nothing for that value."""
    sample = subject.package.sample
    constant = [str(name) for name in sample if len({*map(str, sample[name])}) == 1]
    if not constant:
        return Evidence(tried=0, note="every column varies")
    return _judged(subject, partial(_nothing, constant=constant))


def _nothing(subject: Subject, rows: pd.DataFrame, constant: Sequence[str]) -> Evidence:
    held = subject.package.sample[constant].iloc[[0] * len(rows)].set_axis(rows.index)
    found = _attributions(subject.package.explain(tables.with_columns(rows, {name: held[name] for name in constant})))
    faults = [
        f"{name!r} adds {one.contributions[name]:.3g}"
        for one in found
        for name in constant
        if abs(one.contributions[name]) > CLOSE * sum(map(abs, one.contributions.values()))
    ]
    return Evidence(tried=len(found), faults=tuple(dict.fromkeys(faults)), note="" if found else NO_SUMS)


def copies_of_a_column_share_alike(subject: Subject) -> Evidence:
    """Two copies of a column share alike in what they add."""
    if not hasattr(subject.package.explainer, "fit"):
        return Evidence(tried=0, note="the method cannot be fitted again")
    return _judged(subject, _shared)


def _shared(subject: Subject, rows: pd.DataFrame) -> Evidence:
    found = _attributions(subject.package.explain(rows))
    if not found:
        return Evidence(tried=0, note=NO_SUMS)
    name = max(found[0].contributions, key=lambda each: sum(abs(one.contributions[each]) for one in found))
    doubled = Doubled(package=subject.package, name=name)
    told = _attributions(doubled.explained(rows))
    faults = [
        f"of two copies of {name!r} one adds {one.contributions[name]:.3g}, and the other {one.contributions[doubled.copy]:.3g}"
        for one in told
        if abs(one.contributions[name] - one.contributions[doubled.copy]) > _doubt(one, name, doubled.copy)
    ]
    return Evidence(tried=len(told), faults=tuple(faults), note=f"{len(told)} tried, with {name!r} there twice")


def _doubt(one: Attribution, *names: str) -> float:
    """Tell how far numbers that are equal may lie apart: by rounding, and where they are drawn once in a million times."""
    drawn = math.hypot(*(one.standard_errors[name] for name in names)) if one.standard_errors else 0.0
    return EQUAL * max(1.0, sum(map(abs, one.contributions.values()))) + 5 * drawn


def tiny_noise_moves_no_explanation(subject: Subject) -> Evidence:
    """Noise that leaves the answer as it is leaves the explanation as it is."""
    return _judged(subject, _still)


def _still(subject: Subject, rows: pd.DataFrame) -> Evidence:
    spread = subject.package.sample.std(numeric_only=True)
    numbers = [name for name in spread.index if rows[name].dtype.kind == "f" and spread[name] > 0]
    if not numbers:
        return Evidence(tried=0, note="no column of decimal numbers")
    nudged = tables.with_columns(rows, {name: rows[name] + TINY * spread[name] for name in numbers})
    pairs = zip(
        _attributions(subject.package.explain(rows)), _attributions(subject.package.explain(nudged)), strict=True
    )
    moves = [move for one, other in pairs if (move := _move(one, other)) is not None]
    faults = [f"a contribution moved by {move:.2g} of all" for move in moves if move > MOVED]
    said = f"{len(moves)} tried, moved by at most {max(moves):.1g} of all contributions" if moves else NO_SUMS
    return Evidence(tried=len(moves), faults=tuple(faults), note=said)


def _move(one: Attribution, other: Attribution) -> float | None:
    """Tell how far a contribution moved, as a share of all; None where the answer itself did."""
    whole = sum(map(abs, one.contributions.values())) or 1.0
    if one.output != other.output or abs(one.value - other.value) > STILL * whole:
        return None
    return max(abs(amount - other.contributions[name]) for name, amount in one.contributions.items()) / whole


NO_SUMS = "the method gives no sums"


def _attributions(found: Any) -> list[Attribution]:
    return [one for one in found if isinstance(one, Attribution)]


def _judged(subject: Subject, judge: Callable[[Subject, pd.DataFrame], Evidence]) -> Evidence:
    """Let a law look at some rows; where the method refuses one of them, nothing was tried."""
    try:
        return judge(subject, subject.rows.head(ROWS))
    except ExplainError as refusal:
        return Evidence(tried=0, note=str(refusal).partition(".")[0])


def rules_hold_as_often_as_they_say(subject: Subject) -> Evidence:
    """A rule holds for its row, and as often as it says."""
    if getattr(subject.package.explainer, "remeasured", None) is None:
        return Evidence(tried=0, note="the method gives no rules")
    return _judged(subject, _measured_again)


def _measured_again(subject: Subject, rows: pd.DataFrame) -> Evidence:
    measure: Callable[[Any], list[Remeasured]] = subject.package.explainer.remeasured  # type: ignore[attr-defined]
    found = measure(rows)
    faults = [f"row {i}: {fault}" for i, each in enumerate(found) for fault in _unlike(each)]
    within = sum(each.rule.precision_interval[0] <= each.precision <= each.rule.precision_interval[1] for each in found)
    reached = sum(each.rule.reached for each in found)
    said = f"{len(found)} tried on other rows, {within} within the 95 % interval, {reached} above the threshold"
    return Evidence(tried=len(found), faults=tuple(faults), note=said)


def _unlike(found: Remeasured) -> Iterator[str]:
    """Say what of a rule is not so; a gap that comes up once in 15,000 times by chance is none."""
    if not found.holds:
        yield "the rule does not hold for the row that it explains"
    n, n_again = found.rule.n_samples, found.n_samples
    share = (found.rule.precision * n + found.precision * n_again) / (n + n_again)
    allowed = 4 * math.sqrt(share * (1 - share) * (1 / n + 1 / n_again)) + 1 / min(n, n_again)
    if abs(found.rule.precision - found.precision) > allowed:
        yield f"precision {found.rule.precision:.3f} is {found.precision:.3f} on {n_again:,} other rows"


def counterfactuals_are_answered_as_told(subject: Subject) -> Evidence:
    """Counterfactuals hold, and change nothing that must stay."""
    package = subject.package
    if package.method != "counterfactual" and (package.plan is None or not package.signature.outputs[0].classes):
        return Evidence(tried=0, note="the model has no plan, or no classes")
    return _judged(subject, _answered)


def _answered(subject: Subject, rows: pd.DataFrame) -> Evidence:
    package = subject.package
    own = getattr(package.explainer, "actions", None) if package.method == "counterfactual" else None
    said = own or said_of({}, package.schema)
    faults: list[str] = []
    tried = 0
    for one, row in zip(package.explain(rows, method="counterfactual"), tables.as_rows(rows), strict=True):
        for each in one.alternatives if isinstance(one, Counterfactual) else ():
            tried += 1
            faults += _faults_of(package, each, row, said)
    note = "" if tried else "no row has a counterfactual"
    return Evidence(tried=tried, faults=tuple(dict.fromkeys(faults)), note=note)


def _faults_of(
    package: Package, each: Alternative, row: Mapping[str, Any], said: Mapping[str, Action]
) -> Iterator[str]:
    """Say what is wrong with one alternative to a row."""
    after = {**row} | {change.column: change.after for change in each.changes}
    columns = {name: [value] for name, value in after.items()}
    answered = package.answers(tables.as_frame(columns, package.schema))[0]
    got = answered.values if answered.labels is None else answered.labels
    if got is None or (got[0] != each.answer if answered.labels is not None else _differs(got[0], each.answer)):
        yield "an alternative is answered otherwise than it is told"
    for change in each.changes:
        column = package.schema[change.column]
        if broken(said[column.name], column, change.before, change.after) or misfit(column, change.after) is not None:
            yield f"{column.name!r} is changed as it must not be"


def _differs(got: float, told: Any) -> bool:
    return bool(abs(got - told) > TOLERANCE * max(1.0, abs(got)))


LAWS: tuple[Law, ...] = (
    attributions_sum_to_the_output,
    the_same_seed_explains_the_same,
    an_explanation_is_of_its_row_alone,
    a_constant_column_adds_nothing,
    copies_of_a_column_share_alike,
    tiny_noise_moves_no_explanation,
    rules_hold_as_often_as_they_say,
    counterfactuals_are_answered_as_told,
)
