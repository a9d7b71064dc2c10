"""The parts of a spec: who sticks to an arm, and each table of `ekiben.toml` but the arms and the route."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, cast

from ekiben.errors import nearest
from ekiben.routing import ByArm, shown
from ekiben.spec import rules
from ekiben.spec.rules import Rule

Source: TypeAlias = Literal["field", "header", "cookie"]

_SOURCES: tuple[Source, ...] = ("field", "header", "cookie")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # what HTTP allows as the name of a header or cookie


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Who sticks to an arm: the value of a request's field, header or cookie.

    Parameters
    ----------
    source
        Where the value is: `field`, `header` or `cookie`.
    name
        What it is called there. A header's name is kept in lower case.

    Examples
    --------
    >>> str(Unit(source="header", name="X-Customer-Id"))
    'header:x-customer-id'
    """

    source: Source
    name: str

    def __post_init__(self) -> None:
        rules.refuse("Unit", _faults_of_unit("unit", self.source, self.name))
        if self.source == "header":
            object.__setattr__(self, "name", self.name.lower())

    def __str__(self) -> str:
        plain = self.source == "field" and ":" not in self.name
        return self.name if plain else f"{self.source}:{self.name}"


def parse_unit(text: str) -> Unit:
    """Read who sticks to an arm.

    Parameters
    ----------
    text
        `customer_id` is a field, `header:x-customer-id` a header, `cookie:session` a cookie. A field whose name
        has a colon is written `field:a:b`.

    Raises
    ------
    SpecError
        If the source is unknown or the name cannot be one of its kind.

    Examples
    --------
    >>> parse_unit("cookie:session")
    Unit(source='cookie', name='session')
    """
    rules.refuse("Unit", unit_text("unit", text))
    source, name = _parts(text)
    return Unit(source=cast("Source", source), name=name)


def unit_text(key: str, value: object) -> Iterator[str]:
    """Take who sticks to an arm, as `parse_unit` reads it."""
    if not isinstance(value, str):
        yield f"{key} must be text, such as 'customer_id' or 'header:x-customer-id'. Got {shown(value)}."
        return
    source, name = _parts(value)
    yield from _faults_of_unit(key, source, name)


def _faults_of_unit(key: str, source: str, name: object) -> Iterator[str]:
    if source not in _SOURCES:
        yield f"{key} must come from one of {list(_SOURCES)}. Got {shown(source)}.{nearest(str(source), _SOURCES)}"
    elif source == "field" and not _is_field(name):
        yield f"{key} must name a field by printable text, with no space around it. Got {shown(name)}."
    elif source == "field" and name == "rows":
        yield f"{key} must not be 'rows', where a request's rows are. Got 'rows'."
    elif source != "field" and not (isinstance(name, str) and _TOKEN.fullmatch(name)):
        yield f"{key} must name a {source} by letters, digits and '-' or '_', as HTTP allows. Got {shown(name)}."


def _is_field(name: object) -> bool:
    return isinstance(name, str) and name != "" and name == name.strip() and name.isprintable()


def _parts(unit: str) -> tuple[str, str]:
    source, colon, name = unit.partition(":")
    return (source, name) if colon else ("field", unit)


BUDGETS: Mapping[str, Rule] = {"predict_p99_ms": rules.amount, "explain_ms": rules.amount}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """How long an answer and an explanation may take, in milliseconds.

    >>> Budgets(predict_p99_ms=20).explain_ms
    1000
    """

    predict_p99_ms: float = 50
    explain_ms: float = 1000

    def __post_init__(self) -> None:
        rules.refuse("Budgets", rules.table(BUDGETS)("budgets", as_table(self)))


LIMITS: Mapping[str, Rule] = {
    "max_rows": rules.count,
    "max_body_mb": rules.amount,
    "explain_rows": rules.count,
    "explain_columns": rules.maybe(rules.count),
    "concurrency": rules.count,
    "wait_ms": rules.amount,
    "explain_per_s": rules.maybe(rules.amount),
    "explain_share": rules.part,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one request may ask (rows, megabytes of body, rows to explain, columns of each explanation), and how many may ask at once.

    `concurrency` counts the requests of one endpoint that one worker has taken and not yet answered. `wait_ms` is how many
    milliseconds a request may be expected to take behind others, where its caller sends no deadline of its own.
    `explain_columns` is how many columns an explanation may tell; None for all that the contract has.
    `explain_per_s` is how many explanations one worker takes in a second; None for as many as come. `explain_share` is what
    those that it makes itself may take of its time, from 0 to 1, while it is asked for predictions.

    >>> Limits(max_rows=100).max_body_mb
    4
    """

    max_rows: int = 1000
    max_body_mb: float = 4
    explain_rows: int = 10
    explain_columns: int | None = None
    concurrency: int = 64
    wait_ms: float = 1000
    explain_per_s: float | None = None
    explain_share: float = 0.25

    def __post_init__(self) -> None:
        rules.refuse("Limits", rules.table(LIMITS)("limits", as_table(self)))


LOG: Mapping[str, Rule] = {"access": rules.share}


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Which share of the good answers, from 0 to 1, is told in the access log; refusals always are.

    >>> Log(access=0.01).access
    0.01
    """

    access: float = 1.0

    def __post_init__(self) -> None:
        rules.refuse("Log", rules.table(LOG)("log", as_table(self)))


RECORDS: Mapping[str, Rule] = {
    "to": rules.one_of("file", "postgres", "off"),
    "hash": rules.columns,
    "drop": rules.columns,
    "when_full": rules.one_of("refuse", "answer"),
    "sync": rules.flag,
    "keep_days": rules.amount,
    "keep_mb": rules.amount,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What is kept of each decision, and where.

    Parameters
    ----------
    to
        `file`: a segment for each process, in a folder of the service's own; `postgres`: from there on into a database, whose
        address is the environment's; or `off`.
    hash, drop
        Columns, or the unit, of which a keyed hash is kept, or nothing.
    when_full
        What happens when a record cannot be written: the request is refused (`refuse`), or answered and counted (`answer`).
    sync
        Whether a record outlives the machine as well as the process.
    keep_days, keep_mb
        How old records become, and how many megabytes of whole segments are kept.

    Examples
    --------
    >>> Records(drop=("name",), keep_days=7).when_full
    'refuse'
    """

    to: str = "file"
    hash: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    when_full: str = "refuse"
    sync: bool = False
    keep_days: float = 30
    keep_mb: float = 1000

    def __post_init__(self) -> None:
        rules.refuse("Records", rules.table(RECORDS)("records", as_table(self)))
        object.__setattr__(self, "hash", tuple(self.hash))
        object.__setattr__(self, "drop", tuple(self.drop))


EXPLAIN: Mapping[str, Rule] = {
    "show_reference": rules.flag,
    "methods": rules.methods,
    "processes": rules.count,
    "waiting": rules.count,
    "longest_s": rules.amount,
    "memory_mb": rules.amount,
    "nearest": rules.maybe(rules.share),
    "keep_s": rules.amount,
    "keep_tickets": rules.count,
    "keep_mb": rules.amount,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explain:
    """What explanations may tell, who explains what a plan cannot, and what is kept for those who come back.

    Parameters
    ----------
    show_reference
        Whether rows of the reference may leave the service, as the method `examples` gives them; without the columns that
        the records hash or drop.
    methods
        What may be asked for beside the packed method.
    processes, waiting
        Explaining processes beside each worker, and how many explanations may wait for them.
    longest_s, memory_mb
        How long an explanation may take, and how much memory its process; then the process is ended.
    nearest
        How far the nearest row that was explained may be, from 0 to 1, to stand in when time is short; None for never.
    keep_s, keep_tickets, keep_mb
        How long a result is kept for its ticket, how many tickets there may be, and how many megabytes of results.

    Examples
    --------
    >>> Explain(methods=("sampling",)).processes
    1
    """

    show_reference: bool = False
    methods: tuple[str, ...] = ()
    processes: int = 1
    waiting: int = 16
    longest_s: float = 60
    memory_mb: float = 2000
    nearest: float | None = None
    keep_s: float = 3600
    keep_tickets: int = 1000
    keep_mb: float = 50

    def __post_init__(self) -> None:
        rules.refuse("Explain", rules.table(EXPLAIN)("explain", as_table(self)))
        object.__setattr__(self, "methods", tuple(self.methods))


CONTAINERS: Mapping[str, Rule] = {"allow_licences": rules.reasons, "allow_leaks": rules.reasons}


@dataclass(frozen=True, slots=True, kw_only=True)
class Containers:
    """What an image of the service may hold that would be refused otherwise, each with the reason.

    Parameters
    ----------
    allow_licences
        Distributions, or packages of Debian, that may stand under the licence that they have.
    allow_leaks
        Patterns of places that may hold what looks like a leak.

    Examples
    --------
    >>> Containers(allow_licences={"alibi": "bought, contract 17"}).allow_licences["alibi"]
    'bought, contract 17'
    """

    allow_licences: Mapping[str, str] = field(default_factory=dict)
    allow_leaks: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rules.refuse("Containers", rules.table(CONTAINERS)("containers", as_table(self)))
        object.__setattr__(self, "allow_licences", ByArm(self.allow_licences))
        object.__setattr__(self, "allow_leaks", ByArm(self.allow_leaks))


TABLES: Mapping[str, type[Any]] = {
    "budgets": Budgets,
    "limits": Limits,
    "log": Log,
    "records": Records,
    "explain": Explain,
    "containers": Containers,
}


def as_table(value: Any) -> dict[str, object]:
    """Give a part as the table that TOML has."""
    return {each.name: getattr(value, each.name) for each in fields(value)}
