"""What one bento serves, whole: the parts, and what must hold between them."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ekiben.errors import SpecError, nearest
from ekiben.refs import ModelRef, parse
from ekiben.routing import ByArm, Route, faults_of_arm, faults_of_route, shown
from ekiben.schema import Schema
from ekiben.spec import parts, rules
from ekiben.spec.parts import Budgets, Containers, Explain, Limits, Log, Records, Unit, as_table
from ekiben.spec.rules import Rule

FORMAT = 1
_SERVICE = re.compile(r"[a-z]([a-z0-9_]{0,61}[a-z0-9])?")


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
        rules.refuse("ServiceSpec", _faults_of_kinds(self))
        rules.refuse("ServiceSpec", faults(document(self)))
        object.__setattr__(self, "arms", ByArm(self.arms))
        object.__setattr__(self, "ramp", tuple(self.ramp))

    @property
    def requirements(self) -> tuple[str, ...]:
        """What the service needs beside ekiben and its models."""
        told = {"asyncpg": self.records.to == "postgres", "pyarrow": self.tables}
        return tuple(name for name, is_needed in told.items() if is_needed)

    def hidden(self, inputs: Schema) -> tuple[str, ...]:
        """Name the columns that no file of the service may hold in clear: the private ones, and what the records hash or drop.

        >>> from ekiben.schema import Column
        >>> age = Column(name="age", kind="integer", dtype="int64", nullable=False, private=True)
        >>> served = ServiceSpec(name="risk", arms={"a": parse("models:/risk/1")}, route=Route({"a": 1}))
        >>> served.hidden(Schema(columns=(age,)))
        ('age',)
        """
        told = {*self.records.hash, *self.records.drop}
        return tuple(each.name for each in inputs.columns if each.private or each.name in told)


def _faults_of_kinds(spec: ServiceSpec) -> Iterator[str]:
    kinds: dict[str, Any] = {"arms": Mapping, "route": Route, "unit": Unit | None, **parts.TABLES}
    for key, kind in kinds.items():
        value = getattr(spec, key)
        if not isinstance(value, kind):
            wanted = getattr(kind, "__name__", "Unit or None")
            yield f"{key} must be of type {wanted}. Got {shown(value)}.{_made(key, kind)}"
    arms: Any = spec.arms
    for arm, ref in arms.items() if isinstance(arms, Mapping) else ():
        if not isinstance(ref, ModelRef):
            yield f"{rules.dotted('arms', arm)} must be of type ModelRef. Got {shown(ref)}. Make it by ekiben.refs.parse."


def _made(key: str, kind: Any) -> str:
    """Say how a value of a kind is made."""
    if kind is Route:
        return " Make one by ek.canary, ek.split, ek.shadow or ek.only."
    module = "ek" if key in ("budgets", "limits") else "ekiben.spec"
    return f" Make one: {module}.{kind.__name__}(…)." if key in parts.TABLES else ""


def document(spec: ServiceSpec) -> dict[str, object]:
    """Give a spec as the document that TOML has."""
    told = as_table(spec) | {
        "format": FORMAT,
        "arms": {arm: str(ref) for arm, ref in spec.arms.items()},
        "route": as_table(spec.route),
        "unit": None if spec.unit is None else str(spec.unit),
        **{key: as_table(getattr(spec, key)) for key in parts.TABLES},
    }
    return {key: value for key, value in told.items() if value is not None}


def _format(key: str, value: object) -> Iterator[str]:
    if type(value) is not int or value != FORMAT:
        yield f"{key} must be {FORMAT}. Got {shown(value)}."


def _service(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, str) or not _SERVICE.fullmatch(value):
        yield (
            f"{key} must be lower case letters, digits and '_', a letter first, no '_' last, "
            f"63 characters at most. Got {shown(value)}."
        )
    elif keyword.iskeyword(value) or keyword.iskeyword(value.title()):  # the class of the service is called so
        yield f"{key} must not be a word of Python's own. Got {shown(value)}."


def _arms(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, Mapping) or not value:
        yield f"{key} must name at least one arm and its model. Got {shown(value)}."
        return
    for arm, ref in value.items():
        yield from faults_of_arm(arm, rules.dotted(key, arm))
        yield from _ref(rules.dotted(key, arm), ref)


def _ref(key: str, value: object) -> Iterator[str]:
    try:
        parse(cast("str", value))
    except SpecError as fault:
        yield f"{key}: {fault}"


def _anything(_key: str, _value: object) -> Iterator[str]:
    return iter(())


_ROUTE: Mapping[str, Rule] = dict.fromkeys(("weights", "shadows", "salt"), _anything)  # `faults_of_route` judges them


def _route(key: str, value: object) -> Iterator[str]:
    yield from rules.table(_ROUTE)(key, value)
    if not isinstance(value, Mapping):
        return
    given = faults_of_route(value.get("weights"), value.get("shadows", ()), value.get("salt", ""))
    for fault in given:
        if "weights" in value or not fault.startswith("weights"):
            yield f"{key}.{fault}"
    if "weights" not in value:
        yield f"{key}.weights must be set. Got nothing. Add a line such as: weights = {{ champion = 1 }}"


_SPEC: Mapping[str, Rule] = {
    "format": _format,
    "name": _service,
    "unit": parts.unit_text,
    "ramp": rules.ramp,
    "workers": rules.count,
    "threads": rules.count,
    "timeout_s": rules.amount,
    "tables": rules.flag,
    "gpu": rules.flag,
    "remake": rules.command,
    "arms": _arms,
    "route": _route,
    "budgets": rules.table(parts.BUDGETS),
    "limits": rules.table(parts.LIMITS),
    "log": rules.table(parts.LOG),
    "records": rules.table(parts.RECORDS),
    "explain": rules.table(parts.EXPLAIN),
    "containers": rules.table(parts.CONTAINERS),
}


def faults(document: Mapping[str, object]) -> Iterator[str]:
    """Yield what is wrong with a document, and between its parts."""
    yield from rules.table(_SPEC)("", document)
    for key, example in (("format", FORMAT), ("name", '"credit_risk"')):
        if key not in document:
            yield f"{key} must be set. Got nothing. Add a line: {key} = {example}"
    if "arms" not in document:
        yield "arms must name at least one arm and its model. Got nothing. Add a table: [arms]"
    arms = _inner(document, "arms")
    if len(arms) > 1 and "route" not in document:
        yield f"route must be set when there are several arms. Got arms: {_names(arms)}. Add a table: [route]"
    yield from _faults_between(arms, _inner(document, "route"))


def faults_of_rerouting(document: Mapping[str, object], spec: ServiceSpec) -> Iterator[str]:
    """Yield what is wrong with a document that gives a spec another route."""
    yield from rules.table({"route": _route})("", document)
    if "route" not in document:
        yield "route must be set. Got nothing. Add a table: [route]"
    yield from _faults_between(spec.arms, _inner(document, "route"))


def _faults_between(arms: Mapping[str, object], route: Mapping[str, object]) -> Iterator[str]:
    """Say where the route and the arms do not fit each other."""
    for arm in _inner(route, "weights"):
        yield from _unknown(rules.dotted("route.weights", arm), arm, arms)
    shadows = route.get("shadows")
    named = [arm for arm in shadows if isinstance(arm, str)] if isinstance(shadows, list | tuple) else []
    for arm in named:
        yield from _unknown("route.shadows", arm, arms)


def _unknown(key: str, arm: str, arms: Mapping[str, object]) -> Iterator[str]:
    if arm not in arms:
        yield f"{key} must be an arm of [arms]: {_names(arms)}. Got {shown(arm)}.{nearest(arm, map(str, arms))}"


def _inner(document: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = document.get(key)
    return value if isinstance(value, Mapping) else {}


def _names(arms: Iterable[object]) -> str:
    return ", ".join(sorted(str(arm) for arm in arms)) or "none"
