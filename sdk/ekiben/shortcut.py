"""The quick lane: what fits by its types is routed and answered at once; whatever is odd is left to the data plane."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cached_property, partial
from operator import attrgetter, contains, itemgetter
from time import perf_counter, time_ns
from typing import Any, cast

import msgspec

from ekiben import codecs, protocol, routing
from ekiben.batching import Batcher
from ekiben.compiling import Plan, Row
from ekiben.dataplane import DataPlane, cookie_of, n_rows
from ekiben.dataplane.arms import HOOKS, Explain
from ekiben.dialects import JSON
from ekiben.explaining.answering import QUICK_MS, Found
from ekiben.observing import new_id
from ekiben.reading import Reader, reader
from ekiben.recording.writing import Fields, packed

INLINE_US = 2000.0  # a plan that takes longer is asked in a thread, so that the others do not wait
LONG_US = 200.0  # what takes longer lets others go first: that costs who waits some 0.1 ms
MOST_TOGETHER = 256  # rows of several requests that a model is asked about at once
Headers = list[tuple[bytes, bytes]]
Keep = Callable[[Fields], None]
_encode = msgspec.json.Encoder().encode


def _quick(plan: Plan | None) -> Plan | None:
    """Give a plan that may answer on the event loop: no step of it is somebody else's, and a row takes little."""
    return None if plan is None or plan.native or plan.row_us >= INLINE_US else plan


def cost_us(plan: Plan, n_rows: int) -> float:
    """Estimate what a plan takes for some rows: each as one, or, for many, as one more of a large batch."""
    return min(n_rows * plan.row_us, 16 * plan.row_us + n_rows * plan.many_us)


def long_s(plan: Plan, n_rows: int) -> float:
    """Estimate how many seconds a plan takes for some rows; 0 where nobody would notice.

    >>> from types import SimpleNamespace
    >>> plan = SimpleNamespace(row_us=50.0, many_us=5.0)
    >>> long_s(plan, 1), long_s(plan, 10)
    (0.0, 0.0005)
    """
    us = plan.row_us if n_rows == 1 else cost_us(plan, n_rows)
    return us * 1e-6 if us > LONG_US else 0.0


class Arm:
    """What the quick lane knows of one arm: how to ask it, and every byte of an answer that never changes."""

    def __init__(self, plane: DataPlane, name: str, read: Reader, *, compiled: bool) -> None:
        package = plane.packages[name]
        self.names = names = package.schema.names
        self.name, self.model = name, str(plane.spec.arms[name])
        self.plan = _quick(package.plan) if compiled else None
        self.plan_for = package.plan_for
        self.row_s = 0.0 if self.plan is None else long_s(self.plan, 1)
        self.values = _picker(read.fields(names))
        self.takes_all = names == read.names
        self.propensity = plane.spec.route.share(name)
        known = plane.known_texts[name]
        self.texts = [(column, names.index(column), known[column] | {None}) for column in known]
        self.of_texts = _getter([place for _, place, _ in self.texts])
        self.seen = [seen for *_, seen in self.texts]
        told = [(protocol.ARM, name), (protocol.MODEL, self.model)]
        self.headers = [(b"content-type", JSON.encode()), *((key.encode(), value.encode()) for key, value in told)]
        head = codecs.encode({"id": "", "arm": name, "model": self.model})
        self.head, self.tail = head[:7], head[7:-1]  # {"id":" and ","arm":"…","model":"…"
        self.explain: Explain | None = None  # by the plan, once somebody asks why
        self.why = (b"", b"")  # what an answer and a record say of explanations by the plan
        self.why_us = QUICK_MS * 1e3  # what explaining one row took last; before, the most that it may take


def _picker(fields: tuple[str, ...]) -> Callable[[Any], Sequence[Any]]:
    """Give what takes the values of some attributes as a tuple, whatever their number."""
    if len(fields) == 1:
        return lambda row: (getattr(row, fields[0]),)
    return cast("Callable[[Any], Sequence[Any]]", attrgetter(*fields)) if fields else lambda _row: ()


def _getter(places: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Give what takes some values of a row, whatever their number."""
    if len(places) == 1:
        return lambda row: (row[places[0]],)
    return itemgetter(*places) if places else lambda _row: ()


class Asked(msgspec.Struct, gc=False):
    """A request that fits: its id, the arm that answers, its body, who asks, the cookie of somebody new, and when it came."""

    id: str
    arm: Arm
    body: Any
    unit: str
    cookie: str | None
    began: float


class Outcome(msgspec.Struct, gc=False):
    """What came of a request: the answer's parts as ASGI sends them, and what is told of it."""

    id: str
    status: int
    headers: Headers
    body: bytes
    code: str = "ok"
    arm: str = ""
    model: str = ""
    rows: int = 0


class Lane:
    """The quick lane of one endpoint of a data plane.

    Parameters
    ----------
    plane
        Whose requests these are.
    read
        The reader of its bodies.
    part
        What an answer holds: `predictions` or `explanations`.
    """

    def __init__(self, plane: DataPlane, read: Reader, *, part: str) -> None:
        self.plane, self._read, self._part = plane, read, f',"{part}":'.encode()
        self._keep: Keep | None = None if plane.keeper is None else plane.keeper.keep
        self._append = None if plane.keeper is None else plane.keeper.append
        self._staged: list[bytes] = []  # records of answers that are held
        self._all = _picker(read.fields(read.names))
        weights = plane.spec.route.weights
        compiled = part == "predictions"
        self.arms = {arm: Arm(plane, arm, read, compiled=compiled) for arm in weights if weights[arm] > 0}
        self._only = next(iter(self.arms.values())) if len(self.arms) == 1 else None
        self._choose = routing.chooser(plane.spec.route, self.arms)
        unit = plane.spec.unit
        self._source = None if unit is None else unit.source
        self._unit_name = "" if unit is None else unit.name
        self._header = self._unit_name.encode()
        self._most_explained = plane.spec.limits.explain_rows

    @property
    def gathers(self) -> bool:
        """Whether the records of several answers may be written together."""
        return self._append is not None

    @property
    def syncs(self) -> bool:
        """Whether a record waits for the disk, which takes as long for one as for many."""
        return self.plane.keeper is not None and self.plane.keeper.syncs

    def commit(self) -> None:
        """Record what is held, by one write.

        Raises
        ------
        RecordsError
            If it cannot be recorded, any of it.
        """
        staged, self._staged = self._staged, []
        if staged and self._append is not None:
            self._append(staged, time_ns())

    def _stage(self, record: Fields) -> None:
        self._staged.append(packed(record))

    def admit(self, body: bytes, headers: Mapping[bytes, bytes], cookies: Mapping[str, str]) -> Asked | None:
        """Read a body and choose who answers it; None for what the data plane must look at."""
        read = self._read.read(body)
        if read is None:
            return None
        if self._read.asks_why(read) and not self._may_explain(read, headers):
            return None
        asked_id, cookie, unit = new_id(), None, ""
        if self._source == "field":
            if (named := self._read.unit_of(read)) is None:
                return None
            unit = named
        elif self._source == "header":
            unit = headers.get(self._header, b"").decode("latin-1")
        elif self._source == "cookie" and not (unit := cookies.get(self._unit_name, "")):
            unit = new_id()
            cookie = cookie_of(self._unit_name, unit)
        arm = self._only or self._choose(unit or asked_id)
        return Asked(asked_id, arm, read, unit, cookie, perf_counter())

    def is_quick(self, asked: Asked) -> bool:
        """Tell whether the arm's plan answers it in so little time that nobody is kept waiting."""
        plan, n = asked.arm.plan, len(asked.body.rows)
        if plan is None or n == 1:
            return plan is not None
        us = cost_us(plan, n) + (n * asked.arm.why_us if self.asks_why(asked) else 0.0)
        return asked.arm.plan_for(n) is not None and us < INLINE_US

    def in_turn(self, n_rows: int) -> str | None:
        """Name the arm that is asked for so many rows in a thread, as they take long; None where they do not, or several arms may be asked."""
        arm = self._only
        if arm is None or arm.plan is None or n_rows <= 1:
            return None
        return None if arm.plan_for(n_rows) is not None and cost_us(arm.plan, n_rows) < INLINE_US else arm.name

    def long_s(self, asked: Asked) -> float:
        """Tell how many seconds the arm's plan takes for it; 0 where nobody would notice."""
        arm, n = asked.arm, len(asked.body.rows)
        return arm.row_s if n == 1 or arm.plan is None else long_s(arm.plan, n)

    def asks_why(self, asked: Asked) -> bool:
        """Tell whether a request wants its predictions explained too."""
        return self._read.asks_why(asked.body)

    def _may_explain(self, body: Any, headers: Mapping[bytes, bytes]) -> bool:
        """Tell whether every arm explains at once, as few rows as these, to the key that is shown."""
        few = len(body.rows) <= self._most_explained
        return few and self._explain_at_once and self.plane.may_explain(headers.get(b"authorization"))

    @cached_property
    def _explain_at_once(self) -> bool:
        return all(
            arm.plan is not None and self.plane.explains_at_once(name) and self.plane.tells_all(name)
            for name, arm in self.arms.items()
        )

    def planned(self, asked: Asked, *, held: bool = False) -> Outcome | None:
        """Answer by the arm's plan; None where it has no answer. What is held is recorded by `commit`."""
        arm, why = asked.arm, self._read.asks_why(asked.body)
        rows: Sequence[Sequence[Any]] = list(map(arm.values, asked.body.rows))
        if why:
            rows = list(map(Row.of, rows))  # who explains knows what who predicts has worked out
        try:
            found = arm.plan.predictions(rows)  # type: ignore[union-attr]
            encoded = _encode(found)
            if b"null" in encoded:  # what is not finite is written so
                encoded = codecs.encode(found)
            more, recorded = b"", encoded
            if why:
                made, seconds = (arm.explain or self._explainer(arm))(rows)
                arm.why_us = seconds * 1e6 / len(rows)
                explanations, said, kept = self._why(arm, made, seconds * 1e3)
                more = b',"explanations":' + explanations + said
                recorded = _with(encoded, found, kept) if kept else encoded
        except Exception:  # noqa: BLE001 -- whatever a plan cannot do, the model itself answers or is refused
            return None
        if arm.texts and not (len(rows) == 1 and all(map(contains, arm.seen, arm.of_texts(rows[0])))):
            self._count_unseen(arm, rows)
        if self._keep is not None:
            self._record(self._stage if held else self._keep, asked, rows, recorded, "predict")
        if self.plane.is_watched:
            self.plane.watch(self._read.columns(asked.body))
        return self._outcome(asked, encoded, len(rows), more)

    def explained(self, asked: Asked) -> Outcome:
        """Explain by the arm's plan.

        Raises
        ------
        Refusal, RecordsError
            If there is no explanation, a number in it is not finite, or it cannot be recorded.
        """
        rows = list(map(asked.arm.values, asked.body.rows))
        return self._told(asked, rows, self.plane.beside(asked.arm.name, rows, at_once=True))

    def explained_by_row(self, asked: Asked) -> Generator[None, None, Outcome]:
        """Explain as `explained` does, and let others go first between two rows."""
        rows = list(map(asked.arm.values, asked.body.rows))
        found = yield from self.plane.row_by_row(asked.arm.name, rows)
        return self._told(asked, rows, found)

    def _told(self, asked: Asked, rows: Sequence[Sequence[Any]], found: Found) -> Outcome:
        self._explainer(asked.arm)
        explanations, said, kept = self._why(asked.arm, found.explanations, found.elapsed_ms)
        if self._keep is not None and kept:
            how = b"[" + b",".join([b"{" + kept + b"}"] * len(rows)) + b"]"
            self._record(self._keep, asked, rows, how, "explain")
        return self._outcome(asked, explanations, len(rows), said)

    def _explainer(self, arm: Arm) -> Explain:
        """Give what explains an arm's rows, and write what is the same of every explanation, up to the milliseconds that it took."""
        if arm.explain is None:
            untimed = self.plane.untimed(arm.name)
            audit = self.plane.why(untimed)
            # all but the time, which is the last: without its 0.0 and what closes it
            arm.why = b"," + _encode(untimed.told())[1:-4], _encode(audit[0])[1:-5] if audit else b""
            arm.explain = self.plane.explainer(arm.name)
        return arm.explain

    def _why(self, arm: Arm, made: Sequence[dict[str, Any]], elapsed_ms: float) -> tuple[bytes, bytes, bytes]:
        """Write what an arm's plan explained: the explanations, what an answer says of them, and what the record of each keeps."""
        (said, kept), ms = arm.why, _encode(round(elapsed_ms, 3))
        return self.plane.encoded_of(made, made), said + ms, kept + ms + b"}" if kept else b""

    def _record(self, keep: Keep, asked: Asked, rows: Sequence[Sequence[Any]], encoded: bytes, of: str) -> None:
        arm = asked.arm
        kept = rows if arm.takes_all else list(map(self._all, asked.body.rows))
        us = (perf_counter() - asked.began) * 1e6
        keep((asked.id, time_ns(), of, arm.name, asked.unit or None, arm.propensity, us, kept, encoded))

    def columns(self, asked: Asked) -> dict[str, list[Any]]:
        """Give the columns of a request, as the data plane takes them."""
        return self._read.columns(asked.body)

    def computed(self, asked: Asked, found: list[dict[str, Any]]) -> Outcome:
        """Answer with what the data plane computed for the columns of a request.

        Raises
        ------
        Refusal, RecordsError
            If a number in it is not finite, or the decision cannot be recorded.
        """
        encoded = self.plane.encoded(found)
        if self._keep is not None:
            self._record(self._keep, asked, list(map(asked.arm.values, asked.body.rows)), encoded, "predict")
        return self._outcome(asked, encoded, len(asked.body.rows))

    def count_unseen(self, asked: Asked) -> None:
        """Count the texts that the arm takes and has never seen."""
        if asked.arm.texts:
            self._count_unseen(asked.arm, [asked.arm.values(row) for row in asked.body.rows])

    def _count_unseen(self, arm: Arm, rows: Sequence[Sequence[Any]]) -> None:
        for column, i, seen in arm.texts:
            n = sum(row[i] not in seen for row in rows)
            if n:
                self.plane.tell_unseen(arm.name, column, n)

    def _outcome(self, asked: Asked, encoded: bytes, n_rows: int, more: bytes = b"") -> Outcome:
        arm, asked_id = asked.arm, asked.id.encode()
        body = b"".join((arm.head, asked_id, arm.tail, self._part, encoded, more, b"}"))
        headers = [*arm.headers, (b"content-length", b"%d" % len(body)), (b"x-ekiben-id", asked_id)]
        if asked.cookie is not None:
            headers.append((b"set-cookie", asked.cookie.encode("latin-1")))
        return Outcome(asked.id, 200, headers, body, "ok", arm.name, arm.model, n_rows)


def _with(encoded: bytes, predictions: Sequence[Mapping[str, Any]], kept: bytes) -> bytes:
    """Put into each prediction how its explanation was made, for its record."""
    each = [encoded[1:-2]] if len(predictions) == 1 else [_encode(one)[:-1] for one in predictions]
    return b"[" + b",".join([one + b"," + kept + b"}" for one in each]) + b"]"


def lane(plane: DataPlane, *, part: str, max_rows: int) -> Lane | None:
    """Make the quick lane of an endpoint; None where a hook or the contract leaves everything to the data plane."""
    unit = plane.spec.unit
    if plane.hooks.changed(HOOKS):
        return None
    field = unit.name if unit is not None and unit.source == "field" else None
    read = reader(plane.contract.signature.inputs, max_rows=max_rows, unit=field, explains=part == "predictions")
    return None if read is None else Lane(plane, read, part=part)


Together = Batcher[dict[str, list[Any]], list[dict[str, Any]]]


def batchers(plane: DataPlane) -> dict[str, Together]:
    """Make what asks each arm about several requests at once, but for those that need not or must not be asked so."""
    if plane.hooks.changed(HOOKS):
        return {}
    weights, packages = plane.spec.route.weights, plane.packages
    return {
        arm: Batcher(partial(plane.batch, arm), most=MOST_TOGETHER, name=f"ekiben-{arm}", pace=plane.paces.get(arm))
        for arm in weights
        if weights[arm] > 0 and _quick(packages[arm].plan) is None and packages[arm].is_row_by_row
    }


def quick_plan(plane: DataPlane, arm: str, n_rows: int) -> Plan | None:
    """Give an arm's plan where it takes so little time for some rows that nobody is kept waiting; None where it does not."""
    package = plane.packages[arm]
    plan = None if plane.hooks.changed(HOOKS) else _quick(package.plan)
    if plan is None or package.plan_for(n_rows) is None or cost_us(plan, n_rows) >= INLINE_US:
        return None
    return plan


def at_once(plane: DataPlane, arm: str, columns: Mapping[str, list[Any]]) -> list[dict[str, Any]] | None:
    """Answer columns by an arm's plan, where that takes little time; None where it does not, or the plan has no answer."""
    plan = quick_plan(plane, arm, n_rows(columns))
    return None if plan is None else by_plan(plane, arm, plan, columns)


def by_plan(plane: DataPlane, arm: str, plan: Plan, columns: Mapping[str, list[Any]]) -> list[dict[str, Any]] | None:
    """Answer columns by an arm's plan; None where it has no answer: the model itself may take seconds to be built."""
    names = plane.packages[arm].schema.names
    try:
        return plan.predictions(list(zip(*(columns[name] for name in names), strict=True)))
    except Exception:  # noqa: BLE001 -- whatever a plan cannot do, the model itself answers or is refused
        return None
