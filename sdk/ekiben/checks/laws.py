# ruff: noqa: D401 -- a law is a statement, not a command
"""The laws that a model and its service keep: one function and one sentence each.

A law looks at a `Subject` and returns how many things it tried and what it found broken. To add one, write a function
with a sentence as its docstring and put it into `LAWS`, or into `HTTP_LAWS` when it needs a running service.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ekiben import codecs, routing, tables
from ekiben.client import Client
from ekiben.errors import ExplainError, Fault, RequestError, SchemaError
from ekiben.explanations import Attribution
from ekiben.packages import Package
from ekiben.pinning import Contract
from ekiben.probing import unseen_texts
from ekiben.spec import ServiceSpec
from ekiben.values import misfit

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.explainers.anchor import Remeasured

TOLERANCE = 1e-6  # on scores; a label may never change
ROWS = 40
EXPLAINED_ROWS = 3
MOST_TRIES = 5000  # requests without a unit, to meet an arm


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An arm under the law: its package, and the running service it is part of, if there is one."""

    arm: str
    package: Package
    spec: ServiceSpec | None = None
    client: Client | None = None
    promised: Contract | None = None

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Real rows: the examples, and some of the reference."""
        import pandas as pd

        return pd.concat([self.package.example_frame, self.package.sample.head(ROWS)], ignore_index=True)

    @cached_property
    def askable(self) -> pd.DataFrame:
        """The rows that the service takes too: another arm may take fewer texts, and no missing value."""
        if self.promised is None:
            return self.rows
        known = [self.promised.signature.inputs[name] for name in self.package.schema.names]
        fits = [
            all(misfit(column, row[column.name]) is None for column in known) for row in tables.as_records(self.rows)
        ]
        return self.rows[fits]

    def whole(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Give rows that hold the columns of the other arms too, from the service's own example."""
        if self.promised is None:
            return frame
        absent = [name for name in self.promised.signature.inputs.names if name not in frame.columns]
        return frame.assign(**{name: _repeated(self.promised.row[name], frame) for name in absent})

    def over_http(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Ask the service until this arm answers."""
        assert self.client is not None
        frame = self.whole(frame)
        assert self.spec is not None
        unit = routing.unit_for(self.spec.route, self.arm, prefix="check") if self.spec.unit else None
        tries = min(MOST_TRIES, math.ceil(12 / self.spec.route.share(self.arm)))  # fewer than one in 100,000 miss
        for _ in range(1 if unit else tries):
            answered = self.client.predict(frame, unit=unit)
            if answered.attrs["arm"] == self.arm:
                return answered
        raise RequestError(f"The arm {self.arm!r} must answer its own unit. Another did.", status=200, code="wrong_arm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a law tried, and what it found broken; `note` says why nothing was tried."""

    tried: int
    faults: tuple[str, ...] = ()
    note: str = ""


Law = Callable[[Subject], Evidence]


def _repeated(value: Any, frame: pd.DataFrame) -> pd.Series[Any]:
    import pandas as pd

    return pd.Series([value] * len(frame), index=frame.index, dtype=object)


def examples_answer_as_recorded(subject: Subject) -> Evidence:
    """The examples answer as recorded."""
    import pandas as pd

    recorded = pd.DataFrame([example["answer"] for example in subject.package.examples])
    return _equal(subject.package.predict(subject.package.example_frame), recorded)


def a_batch_equals_its_rows(subject: Subject) -> Evidence:
    """A batch equals its rows one by one."""
    import pandas as pd

    rows = subject.rows.head(ROWS // 2)
    alone = pd.concat([subject.package.predict(rows.iloc[[i]]) for i in range(len(rows))])
    return _equal(subject.package.predict(rows), alone)


def order_does_not_matter(subject: Subject) -> Evidence:
    """The order of rows and of columns does not matter."""
    turned = subject.rows.iloc[::-1, ::-1]
    return _equal(subject.package.predict(turned).iloc[::-1], subject.package.predict(subject.rows))


def a_missing_column_is_refused_by_name(subject: Subject) -> Evidence:
    """A missing column is refused by name."""
    faults = []
    for name in subject.package.schema.names:
        told = _refused(subject.package, subject.rows.drop(columns=name).head(1))
        if told is None:
            faults.append(f"answered without {name!r}")
        elif name not in [fault.column for fault in told]:
            faults.append(f"refused without naming {name!r}")
    return Evidence(tried=len(subject.package.schema.columns), faults=tuple(faults))


def an_unknown_category_is_handled_as_the_contract_says(subject: Subject) -> Evidence:
    """An unknown category is handled as the contract says."""
    columns = [column for column in subject.package.schema.columns if column.kind in ("text", "category")]
    faults = []
    for column in columns:
        row = subject.rows.head(1).astype({column.name: object})
        outcomes = set()
        for text in unseen_texts(column, row[column.name].iloc[0]):
            row[column.name] = text
            outcomes.add(_outcome(subject.package, row))
        if outcomes - {"unanswerable"} != {"refused" if column.is_closed else "answered"}:
            faults.append(
                f"{column.name!r} must {'refuse' if column.is_closed else 'take'} a text that it has not seen"
            )
    return Evidence(tried=len(columns), faults=tuple(faults), note="" if columns else "no column of texts")


def a_missing_value_is_answered_or_refused(subject: Subject) -> Evidence:
    """A missing value is answered or refused as the contract says."""
    faults = []
    for column in subject.package.schema.columns:
        row = subject.rows.head(1).astype({column.name: object})
        row[column.name] = None
        if (_refused(subject.package, row) is None) != column.nullable:
            faults.append(f"{column.name!r} must {'take' if column.nullable else 'refuse'} a missing value")
    return Evidence(tried=len(subject.package.schema.columns), faults=tuple(faults))


def json_changes_nothing(subject: Subject) -> Evidence:
    """JSON there and back changes nothing."""
    contract = subject.package.schema
    read = codecs.decode(codecs.encode(tables.as_rows(subject.rows)))
    back = tables.as_frame(codecs.columns_of(read, contract), contract)
    return _equal(subject.package.predict(back), subject.package.predict(subject.rows))


def attributions_sum_to_the_output(subject: Subject) -> Evidence:
    """Attributions sum to the output minus the base value."""
    faults, tried = [], 0
    try:
        explained = subject.package.explain(subject.rows.head(EXPLAINED_ROWS))
    except ExplainError as refusal:
        return Evidence(tried=0, note=str(refusal).partition(".")[0])
    for explanation in explained:
        if isinstance(explanation, Attribution):
            tried += 1
            missed = abs(explanation.value - explanation.base_value - sum(explanation.contributions.values()))
            if missed > 1e-4 * max(1.0, abs(explanation.value)):
                faults.append(f"missed by {missed:.3g} in {explanation.units}")
    return Evidence(tried=tried, faults=tuple(faults), note="" if tried else "the method gives rules, not sums")


def the_same_seed_explains_the_same(subject: Subject) -> Evidence:
    """The same seed explains the same."""
    rows = subject.rows.head(EXPLAINED_ROWS)
    try:
        first, second = (list(map(_timeless, subject.package.explain(rows, seed=7))) for _ in range(2))
    except ExplainError as refusal:
        return Evidence(tried=0, note=str(refusal).partition(".")[0])
    faults = [f"row {i} differs" for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    return Evidence(tried=len(rows), faults=tuple(faults))


def rules_hold_as_often_as_they_say(subject: Subject) -> Evidence:
    """A rule holds for its row, and as often as it says."""
    measure: Callable[[Any], list[Remeasured]] | None = getattr(subject.package.explainer, "remeasured", None)
    if measure is None:
        return Evidence(tried=0, note="the method gives no rules")
    try:
        found = measure(subject.rows.head(EXPLAINED_ROWS))
    except ExplainError as refusal:
        return Evidence(tried=0, note=str(refusal).partition(".")[0])
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


def http_answers_what_the_notebook_answers(subject: Subject) -> Evidence:
    """Over HTTP comes what the notebook answers."""
    assert subject.client is not None
    changed = subject.client.card()["hooks"]
    if changed:
        return Evidence(tried=0, note=f"service.py has its own {', '.join(changed)}")
    rows = subject.askable
    if not len(rows):
        return Evidence(tried=0, note="no example of this arm fits what every arm takes")
    return _equal(subject.over_http(rows), subject.package.predict(rows))


def http_refuses_by_row_and_column(subject: Subject) -> Evidence:
    """Over HTTP what does not fit is refused by row and column, and never fails."""
    faults, tried = [], 0
    for column, frame in _misfits(subject):
        tried += 1
        try:
            subject.over_http(frame)
            faults.append(f"answered a wrong {column!r}")
        except RequestError as told:
            if told.status != 400:
                faults.append(f"status {told.status} for a wrong {column!r}")
            elif (1, column) not in [(fault.row, fault.column) for fault in told.faults]:
                faults.append(f"refused a wrong {column!r} without its row and name")
    return Evidence(tried=tried, faults=tuple(faults))


LAWS: tuple[Law, ...] = (
    examples_answer_as_recorded,
    a_batch_equals_its_rows,
    order_does_not_matter,
    a_missing_column_is_refused_by_name,
    an_unknown_category_is_handled_as_the_contract_says,
    a_missing_value_is_answered_or_refused,
    json_changes_nothing,
    attributions_sum_to_the_output,
    the_same_seed_explains_the_same,
    rules_hold_as_often_as_they_say,
)
HTTP_LAWS: tuple[Law, ...] = (http_answers_what_the_notebook_answers, http_refuses_by_row_and_column)


def sentence(law: Law) -> str:
    """Give the law in words.

    >>> sentence(json_changes_nothing)
    'JSON there and back changes nothing.'
    """
    return (law.__doc__ or law.__name__).strip().partition("\n")[0]


def _misfits(subject: Subject) -> Iterator[tuple[str, pd.DataFrame]]:
    """Give two rows for each column, of which the second holds an object where a value belongs."""
    for name in subject.package.schema.names if len(subject.askable) else ():
        rows = subject.askable.iloc[[0, -1]].astype({name: object})
        rows[name] = [rows[name].iloc[0], {"an": "object"}]
        yield name, rows


def _refused(package: Package, frame: pd.DataFrame) -> tuple[Fault, ...] | None:
    try:
        package.predict(frame)
    except SchemaError as told:
        return told.faults
    return None


def _outcome(package: Package, frame: pd.DataFrame) -> str:
    try:
        return "answered" if _refused(package, frame) is None else "refused"
    except (ValueError, ArithmeticError):  # a 422 over HTTP
        return "unanswerable"


def _timeless(explanation: Any) -> Any:
    from dataclasses import replace

    return replace(explanation, elapsed_ms=0.0)


def _equal(got: pd.DataFrame, wanted: pd.DataFrame) -> Evidence:
    """Compare answers: labels to the letter, numbers within the tolerance."""
    import numpy as np

    faults = []
    if list(got.columns) != list(wanted.columns):
        return Evidence(tried=len(wanted), faults=(f"columns {list(got.columns)} instead of {list(wanted.columns)}",))
    for name in wanted.columns:
        if not np.issubdtype(np.asarray(wanted[name].tolist()).dtype, np.floating):  # a label, to the letter
            changed = int((got[name].to_numpy() != wanted[name].to_numpy()).sum())
            faults += [f"{changed} of {len(wanted)} labels differ"] if changed else []
            continue
        a, b = got[name].to_numpy(dtype=float), wanted[name].to_numpy(dtype=float)
        scale = np.maximum(1.0, np.abs(b))  # a regressor's values may be large
        worst = float(np.max(np.abs(a - b) / scale, initial=0.0))
        if not worst <= TOLERANCE:
            faults.append(f"{name} differs by up to {worst:.3g}")
    return Evidence(tried=len(wanted), faults=tuple(faults))
