"""Read and write `ekiben.toml`, which says what one bento serves."""

from __future__ import annotations

import json
import keyword
import math
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from ekiben.errors import NotFoundError, SpecError, nearest
from ekiben.refs import ModelRef, parse
from ekiben.routing import ByArm, Route, faults_of_arm, faults_of_route, is_text, shown

FORMAT = 1
FILE = "ekiben.toml"

Source: TypeAlias = Literal["field", "header", "cookie"]
Rule: TypeAlias = Callable[[str, object], Iterator[str]]

_SOURCES: tuple[Source, ...] = ("field", "header", "cookie")
_SERVICE = re.compile(r"[a-z]([a-z0-9_]{0,61}[a-z0-9])?")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # what HTTP allows as the name of a header or cookie
_BARE = re.compile(r"[A-Za-z0-9_-]{1,80}")  # a key that TOML takes without quotes
_METHOD = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_MOST = 10**9


# ── the rules: each yields what is wrong with the value of one dotted key ──


def _amount(key: str, value: object) -> Iterator[str]:
    if type(value) not in (int, float) or not 0 < cast("float", value) <= _MOST:
        yield f"{key} must be a number above 0, at most {_MOST:,}. Got {shown(value)}."


def _count(key: str, value: object) -> Iterator[str]:
    if type(value) is not int or not 1 <= value <= _MOST:
        yield f"{key} must be a whole number from 1 to {_MOST:,}. Got {shown(value)}."


def _share(key: str, value: object) -> Iterator[str]:
    if type(value) not in (int, float) or not 0 <= cast("float", value) <= 1:
        yield f"{key} must be a number from 0 to 1. Got {shown(value)}."


def _flag(key: str, value: object) -> Iterator[str]:
    if type(value) is not bool:
        yield f"{key} must be true or false. Got {shown(value)}."


def _one_of(*words: str) -> Rule:
    def faults(key: str, value: object) -> Iterator[str]:
        if value not in words:
            yield f"{key} must be {' or '.join(map(repr, words))}. Got {shown(value)}.{nearest(str(value), words)}"

    return faults


def _columns(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, list | tuple) or not all(is_text(name) and name for name in value):
        yield f"{key} must be a list of columns, such as ['name', 'street']. Got {shown(value)}."
    elif len({*value}) < len(value):
        yield f"{key} must name each column once. Got one twice."


def _ramp(key: str, value: object) -> Iterator[str]:
    steps: list[Any] = [*value] if isinstance(value, list | tuple) else [None]
    if any(type(each) is not int or not 0 < each < 100 for each in steps) or steps != sorted({*steps}):
        yield f"{key} must rise, in whole per cent from 1 to 99, such as [5, 25, 50]. Got {shown(value)}."


def _command(key: str, value: object) -> Iterator[str]:
    if not is_text(value) or not cast("str", value).strip():
        yield f"{key} must be a command, such as 'python train.py'. Got {shown(value)}."


def _reasons(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, Mapping) or not all(is_text(name) and name for name in value):
        yield f"{key} must be a table: a name = the reason. Got {shown(value)}."
        return
    for name, reason in value.items():
        if not is_text(reason) or not cast("str", reason).strip():
            yield f"{_dotted(key, name)} must be the reason, such as 'bought, contract 17'. Got {shown(reason)}."


def _methods(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, list | tuple) or not all(
        isinstance(name, str) and _METHOD.fullmatch(name) for name in value
    ):
        yield f"{key} must be a list of methods, such as ['sampling']. Got {shown(value)}."
    elif len({*value}) < len(value):
        yield f"{key} must name each method once. Got one twice."


def _maybe(rule: Rule) -> Rule:
    """Take nothing as well."""
    return lambda key, value: iter(()) if value is None else rule(key, value)


def _format(key: str, value: object) -> Iterator[str]:
    if type(value) is not int or value != FORMAT:
        yield f"{key} must be {FORMAT}. Got {shown(value)}."


def _service(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, str) or not _SERVICE.fullmatch(value):
        yield (
            f"{key} must be lower case letters, digits and '_', a letter first, no '_' last, "
            f"63 characters at most. Got {shown(value)}."
        )
    elif keyword.iskeyword(value):
        yield f"{key} must not be a word of Python's own. Got {shown(value)}."


def _unit(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{key} must be text, such as 'customer_id' or 'header:x-customer-id'. Got {shown(value)}."
        return
    source, name = _parts(value)
    yield from _faults_of_unit(key, source, name)


def _arms(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, Mapping) or not value:
        yield f"{key} must name at least one arm and its model. Got {shown(value)}."
        return
    for arm, ref in value.items():
        yield from faults_of_arm(key, arm)
        yield from _ref(_dotted(key, arm), ref)


def _ref(key: str, value: object) -> Iterator[str]:
    try:
        parse(cast("str", value))
    except SpecError as fault:
        yield f"{key}: {fault}"


def _route(key: str, value: object) -> Iterator[str]:
    yield from _table(_ROUTE)(key, value)
    if not isinstance(value, Mapping):
        return
    given = faults_of_route(value.get("weights"), value.get("shadows", ()), value.get("salt", ""))
    for fault in given:
        if "weights" in value or not fault.startswith("weights"):
            yield f"{key}.{fault}"
    if "weights" not in value:
        yield f"{key}.weights must be set. Got nothing. Add a line such as: weights = {{ champion = 1 }}"


def _anything(_key: str, _value: object) -> Iterator[str]:
    return iter(())


def _table(rules: Mapping[str, Rule]) -> Rule:
    def faults(key: str, value: object) -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield f"{key} must be a table. Got {shown(value)}."
            return
        for name, inner in value.items():
            if name in rules:
                yield from rules[name](_dotted(key, name), inner)
            else:
                yield f"{_dotted(key, name)} must be one of {sorted(rules)}.{nearest(name, rules)}"

    return faults


_BUDGETS: Mapping[str, Rule] = {"predict_p99_ms": _amount, "explain_ms": _amount}
_LIMITS: Mapping[str, Rule] = {
    "max_rows": _count,
    "max_body_mb": _amount,
    "explain_rows": _count,
    "explain_columns": _maybe(_count),
    "concurrency": _count,
    "wait_ms": _amount,
    "explain_per_s": _maybe(_amount),
}
_EXPLAIN: Mapping[str, Rule] = {
    "show_reference": _flag,
    "methods": _methods,
    "processes": _count,
    "waiting": _count,
    "longest_s": _amount,
    "memory_mb": _amount,
    "nearest": _maybe(_share),
    "keep_s": _amount,
    "keep_tickets": _count,
    "keep_mb": _amount,
}
_LOG: Mapping[str, Rule] = {"access": _share}
_RECORDS: Mapping[str, Rule] = {
    "to": _one_of("file", "postgres", "off"),
    "hash": _columns,
    "drop": _columns,
    "when_full": _one_of("refuse", "answer"),
    "sync": _flag,
    "keep_days": _amount,
    "keep_mb": _amount,
}
_CONTAINERS: Mapping[str, Rule] = {"allow_licences": _reasons, "allow_leaks": _reasons}
_ROUTE: Mapping[str, Rule] = dict.fromkeys(("weights", "shadows", "salt"), _anything)  # `faults_of_route` judges them
_SPEC: Mapping[str, Rule] = {
    "format": _format,
    "name": _service,
    "unit": _unit,
    "ramp": _ramp,
    "workers": _count,
    "threads": _count,
    "timeout_s": _amount,
    "tables": _flag,
    "gpu": _flag,
    "remake": _command,
    "arms": _arms,
    "route": _route,
    "budgets": _table(_BUDGETS),
    "limits": _table(_LIMITS),
    "log": _table(_LOG),
    "records": _table(_RECORDS),
    "explain": _table(_EXPLAIN),
    "containers": _table(_CONTAINERS),
}


# ── the values ──


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
        _refuse("Unit", _faults_of_unit("unit", self.source, self.name))
        if self.source == "header":
            object.__setattr__(self, "name", self.name.lower())

    def __str__(self) -> str:
        plain = self.source == "field" and ":" not in self.name
        return self.name if plain else f"{self.source}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """How long an answer and an explanation may take, in milliseconds.

    >>> Budgets(predict_p99_ms=20).explain_ms
    1000
    """

    predict_p99_ms: float = 50
    explain_ms: float = 1000

    def __post_init__(self) -> None:
        _refuse("Budgets", _table(_BUDGETS)("budgets", _as_table(self)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one request may ask (rows, megabytes of body, rows to explain, columns of each explanation), and how many may ask at once.

    `concurrency` counts the requests of one endpoint that one worker has taken and not yet answered. `wait_ms` is how many
    milliseconds a request may be expected to take behind others, where its caller sends no deadline of its own.
    `explain_columns` is how many columns an explanation may tell; None for all that the contract has.
    `explain_per_s` is how many explanations one worker takes in a second; None for as many as come.

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

    def __post_init__(self) -> None:
        _refuse("Limits", _table(_LIMITS)("limits", _as_table(self)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Which share of the good answers, from 0 to 1, is told in the access log; refusals always are.

    >>> Log(access=0.01).access
    0.01
    """

    access: float = 1.0

    def __post_init__(self) -> None:
        _refuse("Log", _table(_LOG)("log", _as_table(self)))


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
        _refuse("Records", _table(_RECORDS)("records", _as_table(self)))
        object.__setattr__(self, "hash", tuple(self.hash))
        object.__setattr__(self, "drop", tuple(self.drop))


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
        _refuse("Explain", _table(_EXPLAIN)("explain", _as_table(self)))
        object.__setattr__(self, "methods", tuple(self.methods))


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
        _refuse("Containers", _table(_CONTAINERS)("containers", _as_table(self)))
        object.__setattr__(self, "allow_licences", ByArm(self.allow_licences))
        object.__setattr__(self, "allow_leaks", ByArm(self.allow_leaks))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """Say what one bento serves.

    Parameters
    ----------
    name
        The service's name, which becomes the bento's.
    arms
        The model of each arm.
    route
        Which arms answer and which watch; each is one of `arms`.
    unit
        Who sticks to an arm. Without it each request is its own unit.
    budgets, limits, log, records, explain, containers
        How long an answer may take; how much may be asked; what the access log tells; what is kept of each decision; what
        explanations may tell, and who explains; what an image may hold.
    ramp
        Per cent of the pods that a new version of the service has, one step after the other; none leaves it to the route.
    workers, threads
        Processes, and threads in each.
    timeout_s
        After how many seconds a request is given up.
    tables
        Whether the bento brings pyarrow, so that it takes Arrow and Parquet.
    gpu
        Whether the bento brings xgboost with its code for graphics cards; by default without.
    remake
        The command that makes these models again, shown when one is missing.

    Raises
    ------
    SpecError
        If the parts do not fit together; the message lists every fault.

    Examples
    --------
    >>> champion = parse("models:/credit_risk/1")
    >>> spec = ServiceSpec(name="credit_risk", arms={"champion": champion}, route=Route({"champion": 1}))
    >>> spec.limits.max_rows
    1000
    """

    name: str
    arms: Mapping[str, ModelRef]
    route: Route
    unit: Unit | None = None
    budgets: Budgets = field(default_factory=Budgets)
    limits: Limits = field(default_factory=Limits)
    log: Log = field(default_factory=Log)
    records: Records = field(default_factory=Records)
    explain: Explain = field(default_factory=Explain)
    containers: Containers = field(default_factory=Containers)
    ramp: tuple[int, ...] = ()
    workers: int = 1
    threads: int = 4
    timeout_s: float = 30
    tables: bool = False
    gpu: bool = False
    remake: str | None = None

    def __post_init__(self) -> None:
        _refuse("ServiceSpec", _faults_of_kinds(self))
        _refuse("ServiceSpec", _faults(_document(self)))
        object.__setattr__(self, "arms", ByArm(self.arms))
        object.__setattr__(self, "ramp", tuple(self.ramp))

    @property
    def requirements(self) -> tuple[str, ...]:
        """What the service needs beside ekiben and its models."""
        told = {"asyncpg": self.records.to == "postgres", "pyarrow": self.tables}
        return tuple(name for name, is_needed in told.items() if is_needed)


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
    _refuse("Unit", _unit("unit", text))
    source, name = _parts(text)
    return Unit(source=cast("Source", source), name=name)


# ── text in, text out ──


def read(path: str | Path) -> ServiceSpec:
    """Read the spec of a bento's folder, or of a file.

    Raises
    ------
    NotFoundError
        If there is no such file.
    SpecError
        If the file says what cannot be; the message lists every fault.

    Examples
    --------
    >>> read("bentos/nowhere")
    Traceback (most recent call last):
    ...
    ekiben.errors.NotFoundError: A bento's folder must have a file ekiben.toml. Got 'bentos/nowhere', which has none. \
To make one, run: ekiben scaffold bentos/nowhere
    """
    given = Path(path)
    file = given if given.suffix == ".toml" and not given.is_dir() else given / FILE
    if not file.is_file():
        folder = file.parent
        raise NotFoundError(
            f"A bento's folder must have a file {file.name}. Got {str(folder)!r}, which has none. "
            f"To make one, run: ekiben scaffold {shlex.quote(str(folder))}"
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{file} must be text in UTF-8. Got {error}. Save it again as UTF-8.") from error
    return loads(text, source=str(file))


def loads(text: str, *, source: str = FILE) -> ServiceSpec:
    """Read a spec from TOML.

    Parameters
    ----------
    text
        What `ekiben.toml` holds.
    source
        The file to name in an error.

    Raises
    ------
    SpecError
        If the text says what cannot be; the message lists every fault.

    Examples
    --------
    >>> spec = loads('''
    ... format = 1
    ... name = "credit_risk"
    ... [arms]
    ... champion = "models:/credit_risk/1"
    ... ''')
    >>> str(spec.route)
    'champion 100 %'
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{source} must be TOML. Got: {error}.") from error
    _refuse_the_future(source, document.get("format"))
    _refuse(source, _faults(document))
    return _spec(document)


def dumps(spec: ServiceSpec) -> str:
    """Write a spec as commented TOML, from which `loads` makes an equal one.

    >>> champion = parse("models:/credit_risk/1")
    >>> print(dumps(ServiceSpec(name="credit_risk", arms={"champion": champion}, route=Route({"champion": 1}))))
    # What this bento serves. After a change, run: ekiben check
    format = 1
    name = "credit_risk"
    # unit = "customer_id"          # who sticks to an arm: a field, "header:<name>" or "cookie:<name>"
    <BLANKLINE>
    [arms]                          # the model of each arm
    champion = "models:/credit_risk/1"
    <BLANKLINE>
    [route]
    weights = { champion = 1 }      # relative: an arm answers its weight / their sum
    shadows = []                    # arms that see each request and never answer
    <BLANKLINE>
    [budgets]
    predict_p99_ms = 50             # what 99 of 100 answers should take; `check` measures
    explain_ms = 1000               # what a caller waits for an explanation
    <BLANKLINE>
    """
    blocks = (
        *(_head(spec), _arms_block(spec), _route_block(spec), _budgets_block(spec)),
        *(_limits_block(spec), _log_block(spec), _records_block(spec), _explain_block(spec)),
        _containers_block(spec),
    )
    return "\n".join("\n".join(lines) + "\n" for lines in blocks if lines)


def rerouted(spec: ServiceSpec, text: str, *, source: str) -> ServiceSpec:
    r"""Give a spec the route of another file, which holds the table `[route]` alone.

    Raises
    ------
    SpecError
        If the text holds anything else, or a route that does not fit the arms.

    Examples
    --------
    >>> both = {arm: parse(f"models:/risk/{i}") for i, arm in enumerate(("old", "new"), 1)}
    >>> spec = ServiceSpec(name="risk", arms=both, route=Route({"old": 1}))
    >>> str(rerouted(spec, "[route]\nweights = { old = 3, new = 1 }", source="route.toml").route)
    'old 75 % · new 25 %'
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{source} must be TOML. Got: {error}.") from error
    _refuse(source, _faults_of_rerouting(document, spec))
    return replace(spec, route=_route_of(document))


def _faults_of_rerouting(document: Mapping[str, object], spec: ServiceSpec) -> Iterator[str]:
    yield from _table({"route": _route})("", document)
    if "route" not in document:
        yield "route must be set. Got nothing. Add a table: [route]"
    yield from _faults_between(spec.arms, _inner(document, "route"))


def route_text(spec: ServiceSpec) -> str:
    """Write the table `[route]` of a spec alone, as `rerouted` reads it."""
    return "\n".join(_route_block(spec)) + "\n"


# ── faults ──


def _refuse(source: str, faults: Iterable[str]) -> None:
    found = sorted(set(faults))
    if len(found) == 1:
        raise SpecError(f"{source}: {found[0]}")
    if found:
        raise SpecError("\n- ".join([f"{source} has {len(found)} faults:", *found]))


def _refuse_the_future(source: str, given: object) -> None:
    # Alone, before any other fault: a newer format may well hold keys that this one does not know.
    if type(given) is int and given > FORMAT:
        raise SpecError(
            f"{source} must have format {FORMAT}. Got {shown(given)}: it was written by a newer ekiben. "
            "To read it, run: pip install --upgrade ekiben"
        )


def _faults(document: Mapping[str, object]) -> Iterator[str]:
    yield from _table(_SPEC)("", document)
    for key, example in (("format", FORMAT), ("name", '"credit_risk"')):
        if key not in document:
            yield f"{key} must be set. Got nothing. Add a line: {key} = {example}"
    if "arms" not in document:
        yield "arms must name at least one arm and its model. Got nothing. Add a table: [arms]"
    arms = _inner(document, "arms")
    if len(arms) > 1 and "route" not in document:
        yield f"route must be set when there are several arms. Got arms: {_names(arms)}. Add a table: [route]"
    yield from _faults_between(arms, _inner(document, "route"))


def _faults_between(arms: Mapping[str, object], route: Mapping[str, object]) -> Iterator[str]:
    """Say where the route and the arms do not fit each other."""
    for arm in _inner(route, "weights"):
        yield from _unknown(_dotted("route.weights", arm), arm, arms)
    shadows = route.get("shadows")
    named = [arm for arm in shadows if isinstance(arm, str)] if isinstance(shadows, list | tuple) else []
    for arm in named:
        yield from _unknown("route.shadows", arm, arms)


def _unknown(key: str, arm: str, arms: Mapping[str, object]) -> Iterator[str]:
    if arm not in arms:
        yield f"{key} must be an arm of [arms]: {_names(arms)}. Got {shown(arm)}.{nearest(arm, arms)}"


def _faults_of_kinds(spec: ServiceSpec) -> Iterator[str]:
    kinds: dict[str, Any] = {"arms": Mapping, "route": Route, "unit": Unit | None, "budgets": Budgets}
    kinds |= {"limits": Limits, "log": Log, "records": Records, "explain": Explain, "containers": Containers}
    for key, kind in kinds.items():
        value = getattr(spec, key)
        if not isinstance(value, kind):
            wanted = getattr(kind, "__name__", "Unit or None")
            yield f"{key} must be of type {wanted}. Got {shown(value)}."
    arms: Any = spec.arms
    for arm, ref in arms.items() if isinstance(arms, Mapping) else ():
        if not isinstance(ref, ModelRef):
            yield f"{_dotted('arms', arm)} must be of type ModelRef. Got {shown(ref)}. Make it by ekiben.refs.parse."


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


def _inner(document: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = document.get(key)
    return value if isinstance(value, Mapping) else {}


def _dotted(key: str, name: object) -> str:
    text = str(name)
    text = text if _BARE.fullmatch(text) else shown(text)
    return f"{key}.{text}" if key else text


def _names(arms: Iterable[object]) -> str:
    return ", ".join(sorted(str(arm) for arm in arms)) or "none"


# ── between a document, as TOML has it, and a spec ──


def _spec(document: Mapping[str, Any]) -> ServiceSpec:
    rest = {
        key: document[key] for key in ("ramp", "workers", "threads", "timeout_s", "tables", "remake") if key in document
    }
    return ServiceSpec(
        name=document["name"],
        arms={arm: parse(ref) for arm, ref in document["arms"].items()},
        route=_route_of(document),
        unit=parse_unit(document["unit"]) if "unit" in document else None,
        budgets=Budgets(**document.get("budgets", {})),
        limits=Limits(**document.get("limits", {})),
        log=Log(**document.get("log", {})),
        records=Records(**document.get("records", {})),
        explain=Explain(**document.get("explain", {})),
        containers=Containers(**document.get("containers", {})),
        **rest,
    )


def _route_of(document: Mapping[str, Any]) -> Route:
    if "route" not in document:  # then there is one arm
        return Route(dict.fromkeys(document["arms"], 1.0))
    return Route(**document["route"])


def _document(spec: ServiceSpec) -> dict[str, object]:
    document = _as_table(spec) | {
        "format": FORMAT,
        "arms": {arm: str(ref) for arm, ref in spec.arms.items()},
        "route": _as_table(spec.route),
        "unit": None if spec.unit is None else str(spec.unit),
        "budgets": _as_table(spec.budgets),
        "limits": _as_table(spec.limits),
        "log": _as_table(spec.log),
        "records": _as_table(spec.records),
        "explain": _as_table(spec.explain),
        "containers": _as_table(spec.containers),
    }
    return {key: value for key, value in document.items() if value is not None}


def _as_table(value: Any) -> dict[str, object]:
    return {each.name: getattr(value, each.name) for each in fields(value)}


# ── the text of each block ──


def _head(spec: ServiceSpec) -> list[str]:
    unit = "# unit = " + _toml("customer_id") if spec.unit is None else "unit = " + _toml(str(spec.unit))
    lines = [
        "# What this bento serves. After a change, run: ekiben check",
        f"format = {FORMAT}",
        f"name = {_toml(spec.name)}",
        _noted(unit, 'who sticks to an arm: a field, "header:<name>" or "cookie:<name>"'),
    ]
    if spec.remake is not None:
        lines.append(_noted(f"remake = {_toml(spec.remake)}", "makes these models again"))
    notes = {"ramp": "per cent of the pods that a new version has, step by step"}
    notes |= {"workers": "processes", "threads": "in each process", "timeout_s": "seconds"}
    return lines + _changed(spec, notes | {"tables": "the bento brings pyarrow, and takes Arrow and Parquet"})


def _arms_block(spec: ServiceSpec) -> list[str]:
    return [
        _noted("[arms]", "the model of each arm"),
        *(f"{arm} = {_toml(str(spec.arms[arm]))}" for arm in _order(spec)),
    ]


def _route_block(spec: ServiceSpec) -> list[str]:
    weights = ", ".join(
        f"{arm} = {_toml(spec.route.weights[arm])}" for arm in _order(spec) if arm in spec.route.weights
    )
    shadows = ", ".join(_toml(arm) for arm in spec.route.shadows)
    lines = [
        "[route]",
        _noted(f"weights = {{ {weights} }}", "relative: an arm answers its weight / their sum"),
        _noted(f"shadows = [{shadows}]", "arms that see each request and never answer"),
    ]
    return lines + _changed(spec.route, {"salt": "change it to deal the units anew"})


def _budgets_block(spec: ServiceSpec) -> list[str]:
    return [
        "[budgets]",
        _noted(
            f"predict_p99_ms = {_toml(spec.budgets.predict_p99_ms)}",
            "what 99 of 100 answers should take; `check` measures",
        ),
        _noted(f"explain_ms = {_toml(spec.budgets.explain_ms)}", "what a caller waits for an explanation"),
    ]


def _limits_block(spec: ServiceSpec) -> list[str]:
    notes = {"max_rows": "of one request", "max_body_mb": "of one request", "explain_rows": "explained by one request"}
    notes |= {
        "explain_columns": "told by one explanation",
        "concurrency": "requests of one endpoint at once, in each process",
        "wait_ms": "behind others, where the caller names no deadline",
        "explain_per_s": "explanations a second, in each process",
    }
    lines = _changed(spec.limits, notes)
    return ["[limits]", *lines] if lines else []


def _log_block(spec: ServiceSpec) -> list[str]:
    lines = _changed(spec.log, {"access": "share of good answers that the access log tells; refusals always"})
    return ["[log]", *lines] if lines else []


def _records_block(spec: ServiceSpec) -> list[str]:
    notes = {
        "to": "each decision is written to a `file` before its answer leaves, and sent on to `postgres`; or `off`",
        "hash": "columns of which a keyed hash is kept",
        "drop": "columns of which nothing is kept",
        "when_full": "a request whose record cannot be written is refused, or answered",
        "sync": "a record outlives the machine too",
        "keep_days": "then records are deleted",
        "keep_mb": "then the oldest are deleted",
    }
    lines = _changed(spec.records, notes)
    return ["[records]", *lines] if lines else []


def _explain_block(spec: ServiceSpec) -> list[str]:
    notes = {
        "show_reference": "rows of the reference may leave the service, as examples",
        "methods": "may be asked for beside the packed one",
        "processes": "that explain, beside each worker",
        "waiting": "explanations that may wait for them",
        "longest_s": "then an explanation is given up, and its process ended",
        "memory_mb": "then its process is ended",
        "nearest": "how far a row that was explained may be, to stand in for another",
        "keep_s": "then a result is deleted",
        "keep_tickets": "then the oldest is deleted",
        "keep_mb": "then the oldest is deleted",
    }
    lines = _changed(spec.explain, notes)
    return ["[explain]", *lines] if lines else []


def _containers_block(spec: ServiceSpec) -> list[str]:
    notes = {
        "allow_licences": "distributions that may be in the image under the licence that they have, and why",
        "allow_leaks": "places in the image that may hold what looks like a leak, and why",
    }
    lines = []
    for name, note in notes.items():
        if reasons := getattr(spec.containers, name):
            lines += ["", _noted(f"[containers.{name}]", note)]
            lines += [f"{_key(each)} = {_toml(reason)}" for each, reason in reasons.items()]
    return lines[1:]


def _changed(value: Any, notes: Mapping[str, str]) -> list[str]:
    """Write the keys whose values are not the defaults."""
    defaults = {each.name: each.default for each in fields(value)}
    changed = ((name, getattr(value, name)) for name in notes if getattr(value, name) != defaults[name])
    return [_noted(f"{name} = {_toml(each)}", notes[name]) for name, each in changed]


def _order(spec: ServiceSpec) -> list[str]:
    """Put the arm that answers most first."""
    return sorted(spec.arms, key=lambda arm: (-spec.route.weights.get(arm, 0.0), arm))


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _toml(name)


def _noted(line: str, note: str) -> str:
    return f"{line:<31} # {note}"


def _toml(value: str | float | tuple[str | float, ...]) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        # JSON's text is TOML's but for one character, which TOML wants escaped
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    whole = math.floor(value) == value and abs(value) < 2**53
    return str(int(value)) if whole else repr(value)
