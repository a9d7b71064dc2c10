"""One endpoint of the front: who is let in, until when, by which way a request is answered, and what is told of it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from time import perf_counter
from typing import Any, Protocol

import anyio
import anyio.to_thread
from starlette.types import Receive, Scope, Send

from ekiben import shortcut
from ekiben.arrow import KINDS
from ekiben.batching import Batcher
from ekiben.dataplane import DataPlane, n_rows
from ekiben.dialects import JSON, Answer, Dialect, Request, Routed, media_type, refuse
from ekiben.dialects.tables import names_one
from ekiben.observing import AccessLog, Line, new_id, trace_of
from ekiben.pacing import KEPT, Passes, Share, Turns
from ekiben.protocol import ID
from ekiben.shortcut import Asked, Headers, Lane, Outcome, Together
from ekiben.tracing import Spans, trace_id
from ekiben.waiting import Arriving, Patience, Until, deadline_s, too_large, too_many

logger = logging.getLogger("ekiben")
DEADLINE = b"x-ekiben-deadline-ms"
ENCODING, AS_IT_IS = b"content-encoding", b"identity"
READ_AS_JSON = (None, JSON.encode(), b"application/json; charset=utf-8")
ANSWERED_IN_JSON = (None, b"*/*", JSON.encode())  # others are looked at for a table's kind
BUSY_ARM = 0.75  # of the slots, where there are several arms: a model that hangs must leave some to the others
HELD_S = 0.0005  # for which answers are held, where their records do not wait for the disk
ALONE = 15  # requests that are then answered one by one, after an answer that was held and had no company
ESCAPED = re.compile(r"\\(?:([0-3][0-7]{2})|(.))", re.DOTALL)  # a character of a cookie's text in quotes
SMALL_BYTES = 8192  # a body of so many is read at once; a larger one in a thread, so that the others do not wait

Columns = dict[str, list[Any]]


class Connection(Protocol):
    """Where an answer goes."""

    def send(self, endpoint: Endpoint, outcome: Outcome, headers: Mapping[bytes, bytes], began: float, /) -> None:
        """Send the answer to a request that began then, and tell of it."""


Held = tuple[Connection, Outcome, Mapping[bytes, bytes], float]


class Endpoint:
    """Answer the requests to one path that is asked by POST.

    Parameters
    ----------
    plane
        What answers.
    name
        The endpoint, as metrics and the log call it.
    log, spans
        Where each request is told.
    dialect
        How it spells rows and predictions; None for an endpoint of explanations.
    lane
        The quick lane before it; None for none.
    batchers
        What asks an arm about several requests at once, by the arm; shared by all endpoints.
    share
        What explanations may take of this thread's time, beside predictions; shared by all endpoints.
    passes
        What plans that take long may do in one pass of the loop; shared by all endpoints.
    """

    def __init__(
        self,
        plane: DataPlane,
        name: str,
        log: AccessLog,
        spans: Spans | None = None,
        *,
        dialect: Dialect | None = None,
        lane: Lane | None = None,
        batchers: Mapping[str, Together] | None = None,
        share: Share | None = None,
        passes: Passes | None = None,
    ) -> None:
        self.plane, self.name, self._log, self._spans = plane, name, log, spans
        self._dialect, self._lane, self._batchers = dialect, lane, batchers or {}
        self._share, self._passes = share or Share(plane.spec.limits.explain_share), passes or Passes()
        self._timeout_s = plane.spec.timeout_s
        self._most_bytes = int(plane.spec.limits.max_body_mb * 1_000_000)
        self._most, self.n_asked = plane.spec.limits.concurrency, 0
        self._arriving = Arriving(self._most * self._most_bytes)
        unit = plane.spec.unit
        self._by_cookie = unit is not None and unit.source == "cookie"
        arms = [arm for arm, weight in plane.spec.route.weights.items() if weight > 0]
        self._most_of_arm = self._most if len(arms) < 2 else max(1, int(self._most * BUSY_ARM))
        self._only = self._batchers.get(arms[0]) if dialect is not None and len(arms) == 1 else None
        self._patience_s = plane.spec.limits.wait_ms / 1000
        self._turns = Turns(plane.spec.threads, plane.paces)
        # of one arm: what was given up goes on, and so many may be asked beside it
        self._most_at_work = 2 * plane.spec.threads
        # what is read and written does not wait behind models, nor is it counted among what they have to do
        self._asking, self._reading = (anyio.CapacityLimiter(plane.spec.threads) for _ in range(2))
        self._has_plans = lane is not None and any(arm.plan for arm in lane.arms.values())
        self._gathers = lane is not None and self._has_plans and lane.gathers
        self._syncs = lane is not None and lane.syncs
        self._held: list[Held] = []
        self._row_bytes = 0.0  # the most that a row of the last bodies took: a few long rows are not taken for many
        self._n_alone = 0  # requests that are answered one by one, before one is held again
        self.most_at_once = min(SMALL_BYTES, self._most_bytes) if spans is None else 0  # bytes of a body for `at_once`

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began, headers = perf_counter(), dict(scope["headers"])
        self._share.n_come += 1
        span = None if self._spans is None else self._spans.begin(scope["path"], headers)
        if self.n_asked >= self._most:
            outcome = self._crowded()
        elif headers.get(ENCODING, AS_IT_IS).lower() != AS_IT_IS:
            outcome = self._refused(_encoded())
        else:
            self.n_asked += 1
            if self._dialect is not None:
                self._share.others_at = began
            try:
                outcome = await self._outcome(scope, headers, receive, began)
            except Exception as failure:  # noqa: BLE001 -- whatever fails is told in the one shape
                outcome = self._failed(failure)
            finally:
                self.n_asked -= 1
        await send({"type": "http.response.start", "status": outcome.status, "headers": outcome.headers})
        await send({"type": "http.response.body", "body": outcome.body})
        self.tell(outcome, headers, perf_counter() - began, span)

    def at_once(
        self, named: Headers, headers: Mapping[bytes, bytes], body: bytes, *, held: bool = False
    ) -> Outcome | None:
        """Answer or refuse a whole request without waiting; None, with nothing done, leaves it to `__call__`.

        What is held must be handed to `hold`, which records it.
        """
        lane = self._lane
        if self.n_asked >= self._most:
            return self._crowded()
        if lane is None or not self._has_plans or not is_plain(headers) or not _has_time(headers.get(DEADLINE)):
            return self.hopeless(headers)
        try:
            asked = lane.admit(body, headers, cookies_of(named) if self._by_cookie else _NONE)
            if asked is None or not lane.is_quick(asked):
                return None
            share, passes = self._share, self._passes
            if not (long_s := lane.long_s(asked)):
                passes.brief_at = asked.began
            elif not passes.has_room(long_s):
                return None
            elif self._held and not self._syncs:
                self.release()
            share.others_at = asked.began
            share.n_come += 1
            return lane.planned(asked, held=held)
        except Exception as failure:  # noqa: BLE001 -- whatever fails is told in the one shape
            return self._failed(failure)

    def holds_next(self) -> bool:
        """Tell whether the answer to the request that comes now is held, so that one write records it with others; asked once for each."""
        if not self._n_alone:
            return self._gathers
        self._n_alone -= 1
        return False

    def hold(self, to: Connection, outcome: Outcome, headers: Mapping[bytes, bytes], began: float) -> None:
        """Send an answer once its record is written, with those of all that come in the same pass of the loop."""
        if not self._held:
            asyncio.get_running_loop().call_soon(self.release)
        self._held.append((to, outcome, headers, began))
        if began - self._held[0][3] > HELD_S and not self._syncs:
            self.release()

    def release(self) -> None:
        """Write the records of the answers that are held, and send them; where that cannot be, refuse them all."""
        held, self._held = self._held, []
        if len(held) == 1 and not self._syncs:
            self._n_alone = ALONE
        try:
            if self._lane is not None:
                self._lane.commit()
        except Exception as failure:  # noqa: BLE001 -- whatever fails is told in the one shape
            held = [each if each[1].code != "ok" else (each[0], self._failed(failure), *each[2:]) for each in held]
        for to, outcome, headers, began in held:
            try:
                to.send(self, outcome, headers, began)
            except Exception as failure:  # noqa: BLE001 -- those behind it are sent all the same
                logger.error("an answer could not be sent: %s", type(failure).__name__)

    def tell(self, outcome: Outcome, headers: Mapping[bytes, bytes], taken: float, span: Any = None) -> None:
        """Write a request's line, by which it is counted too, and end its span."""
        parent = headers.get(b"traceparent")
        trace = trace_id(span) if span is not None else "" if parent is None else trace_of(parent)
        self._log.tell(
            Line(
                datetime.now(UTC),
                outcome.id,
                self.name,
                outcome.arm,
                outcome.model,
                outcome.status,
                outcome.code,
                round(taken * 1000, 3),
                outcome.rows,
                trace,
            )
        )
        if span is not None and self._spans is not None:
            facts = {"id": outcome.id, "endpoint": self.name, "arm": outcome.arm, "model": outcome.model}
            self._spans.end(span, status=outcome.status, code=outcome.code, rows=outcome.rows, **facts)

    # ── a request's way ──

    async def _outcome(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, began: float) -> Outcome:
        waits = self._waits(headers)
        if isinstance(waits, Answer):
            return self._refused(waits)
        until = Until(began, *waits, receive)
        if (barred := self._barred(headers, until)) is not None:
            return self._refused(barred)
        body = await self._body(until)
        if isinstance(body, Answer):
            return self._refused(body)
        if DEADLINE in headers and until.left_s <= 0:
            return self._refused(until.late())
        lane = self._lane
        if lane is not None and is_plain(headers):
            asked = lane.admit(body, headers, cookies_of(scope["headers"]) if self._by_cookie else _NONE)
            if asked is not None:
                self._row_bytes = max(len(body) / len(asked.body.rows), KEPT * self._row_bytes)
                if lane.is_quick(asked):
                    if (late := await self._others_first(lane.long_s(asked), until)) is not None:
                        return self._refused(late, asked)
                    outcome = lane.planned(asked)
                else:
                    outcome = await self._quickly(lane, asked, until)
                if outcome is not None:
                    return outcome
        return await self._slowly(scope, body, until)

    async def _body(self, until: Until) -> bytes | Answer:
        """Read the body. One that is on its way is none of those that are answered at once: its sender may take all the time there is."""
        self.n_asked -= 1
        try:
            body = await until.body(self._most_bytes, self._arriving)
        finally:
            self.n_asked += 1
        return body if self.n_asked <= self._most or isinstance(body, Answer) else _too_many(self._most)

    def hopeless(self, headers: Mapping[bytes, bytes]) -> Outcome | None:
        """Refuse by its head what is one too many, or would wait in vain for the only model; None lets it come the usual way."""
        if self.n_asked >= self._most:
            return self._crowded()
        waits = self._waits(headers)
        barred = waits if isinstance(waits, Answer) else self._barred(headers, Patience(perf_counter(), *waits))
        return None if barred is None else self._refused(barred)

    def _waits(self, headers: Mapping[bytes, bytes]) -> tuple[float, float | None] | Answer:
        """Read how long a request is waited for, and within how long its answer is wanted where its caller has not said it."""
        if (asked_ms := headers.get(DEADLINE)) is None:
            return self._timeout_s, self._patience_s
        found = deadline_s(asked_ms)
        return found if isinstance(found, Answer) else (min(self._timeout_s, found), None)

    def _barred(self, headers: Mapping[bytes, bytes], until: Patience) -> Answer | None:
        """Refuse, before its body costs anything, what is too large, too late, or would be."""
        told = headers.get(b"content-length", b"")
        length = int(told[:20]) if told.isdigit() else 0
        if length > self._most_bytes:
            return too_large(self._most_bytes)
        if DEADLINE in headers and until.left_s <= 0:
            return until.late()
        if (only := self._only) is not None:
            return until.in_vain(only.expected_s(), only.n_unanswered)
        return self._too_long_a_line(length, until) if self._row_bytes else None

    def _too_long_a_line(self, n_bytes: int, until: Patience) -> Answer | None:
        """Refuse what would wait in vain for a thread, by the rows that so many bytes hold: to read them takes as long as a small plan."""
        lane, turns, n_rows = self._lane, self._turns, int(n_bytes / self._row_bytes)
        arm = None if lane is None else lane.in_turn(n_rows)
        return None if arm is None else until.in_vain(turns.expected_s(arm, n_rows), turns.n_unanswered)

    async def _others_first(self, long_s: float, until: Until) -> Answer | None:
        """Let others go first, where a plan takes long, and refuse what is late by then.

        Who waits for that alone is not one of those that are answered at once.
        """
        if not long_s:
            self._passes.brief_at = perf_counter()
        elif not self._passes.has_room(long_s):
            self.n_asked -= 1
            try:
                await self._passes.turn(long_s)
            finally:
                self.n_asked += 1
            return until.late() if until.left_s <= 0 else None
        return None

    async def _quickly(self, lane: Lane, asked: Asked, until: Until) -> Outcome | None:
        """Answer what fits by its types and is not answered at once; None leaves it to the data plane."""
        arm, n = asked.arm, len(asked.body.rows)
        if arm.plan is not None and arm.plan_for(n) is not None:
            if lane.asks_why(asked):  # its turn would be measured as if all of it were the plan's
                work: asyncio.Future[Any] | Answer = _in_thread(self._asking, lane.planned, asked)
            else:
                work = self._in_turn(arm.name, n, until, lane.planned, asked)
            found = work if isinstance(work, Answer) else await until.done(work)
            return self._refused(found, asked) if isinstance(found, Answer) else found
        each = self._batchers.get(arm.name)
        if (arm.plan is None and each is None) or lane.asks_why(asked):
            return None
        columns = lane.columns(asked)
        lane.count_unseen(asked)
        if each is not None:
            asking = self._together(each, columns, until)
        else:  # so many rows are the model's own
            asking = self._in_turn(arm.name, n, until, self.plane.predictions, arm.name, columns)
        return await self._computed(lane, asked, columns, asking, until)

    async def _computed(
        self, lane: Lane, asked: Asked, columns: Columns, work: asyncio.Future[Any] | Answer, until: Until
    ) -> Outcome:
        try:
            found = work if isinstance(work, Answer) else await until.done(work)
            if isinstance(found, Answer):
                return self._refused(found, asked)
            outcome = lane.computed(asked, found)
            self.plane.watch(columns)
            return outcome
        except Exception as failure:  # noqa: BLE001 -- told by the data plane, as its own way tells it
            return self._refused(self.plane.refused(self.name, failure), asked)

    async def _slowly(self, scope: Scope, body: bytes, until: Until) -> Outcome:
        named = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        request = Request(body=body, headers=named, cookies=cookies_of(scope["headers"]))
        return await self._in_steps(request, self._dialect or self.plane.rows, until)

    async def _in_steps(self, request: Request, dialect: Dialect, until: Until) -> Outcome:
        """Read a request, ask its arm in the way that is right for it, and write what came."""
        routed: Routed | None = None
        try:
            admitted: Routed | Answer = await self._admitted(request, dialect, until)
            if isinstance(admitted, Answer):
                return self._refused(admitted)
            routed = admitted
            found = await self._found(routed, until)
            if not isinstance(found, Answer):
                if routed.explains or (isinstance(routed.wants, str) and routed.wants in KINDS):
                    found = await self._in_thread(self.plane.answered, routed, found, dialect)
                else:
                    found = self.plane.answered(routed, found, dialect)
                self.plane.watch(routed.columns)
        except Exception as failure:  # noqa: BLE001 -- told by the data plane, as its own way tells it
            found = self.plane.refused(self.name, failure)
        if routed is None:
            return self._refused(found)
        if found.code != "ok":
            found = dialect.refused(found)
        told = replace(found, headers={**found.headers, **routed.headers}, rows=n_rows(routed.columns))
        return as_outcome(self.plane, told, routed.id, routed.choice.arm)

    async def _admitted(self, request: Request, dialect: Dialect, until: Until) -> Routed | Answer:
        return await self._read(request, partial(self.plane.admit, dialect=dialect), until)

    async def _read(self, request: Request, admit: Callable[[Request], Routed], until: Until) -> Routed | Answer:
        """Read a request and choose its arm: at once where it is small, so that no thread is waited for."""
        is_small = len(request.body) <= SMALL_BYTES and media_type(request) not in KINDS  # a table may be packed
        if is_small and not self.plane.hooks.changed(("unit_of",)):
            return admit(request)
        found: Routed | Answer = await until.done(self._in_thread(admit, request))
        return found

    async def _found(self, routed: Routed, until: Until) -> Any:
        """Give the predictions for a request, or the answer that refuses it."""
        arm, columns = routed.choice.arm, routed.columns
        if (plan := shortcut.quick_plan(self.plane, arm, n := n_rows(columns))) is not None:
            if (late := await self._others_first(shortcut.long_s(plan, n), until)) is not None:
                return late
            if (found := shortcut.by_plan(self.plane, arm, plan, columns)) is not None:
                return found
        if each := self._batchers.get(arm):
            work = self._together(each, columns, until)
        else:
            work = self._in_turn(arm, n, until, self.plane.predictions, arm, columns)
        return work if isinstance(work, Answer) else await until.done(work)

    def _together(self, batcher: Batcher[Columns, Any], columns: Columns, until: Until) -> asyncio.Future[Any] | Answer:
        """Ask a model together with what waits for it; refuse when that is too much."""
        if batcher.n_unanswered >= self._most_of_arm:
            return _too_many(self._most_of_arm)
        n = n_rows(columns)
        return until.in_vain(batcher.expected_s(n), batcher.n_unanswered) or batcher.ask(columns, n)

    def _in_turn(
        self, arm: str, n_asked: int, until: Until, act: Callable[..., Any], *given: Any
    ) -> asyncio.Future[Any] | Answer:
        """Do in a thread what takes long; refuse when too much waits for a thread, or goes on in one that was given up."""
        turns = self._turns
        if turns.n_at_work(arm) >= self._most_at_work:
            return _too_many(self._most_at_work)
        if (refused := until.in_vain(turns.expected_s(arm, n_asked), turns.n_unanswered)) is not None:
            return refused
        work = _in_thread(self._asking, turns.timed(arm, n_asked, act), *given)
        work.add_done_callback(turns.take(arm, n_asked))
        return work

    def _in_thread(self, act: Callable[..., Any], *given: Any) -> asyncio.Future[Any]:
        """Do in a thread what asks no model."""
        return _in_thread(self._reading, act, *given)

    def _failed(self, failure: Exception) -> Outcome:
        return self._refused(self.plane.refused(self.name, failure))

    def _crowded(self) -> Outcome:
        """Refuse one more than are answered at once."""
        return self._refused(_too_many(self._most))

    def _refused(self, answer: Answer, asked: Asked | None = None) -> Outcome:
        answer = answer if self._dialect is None else self._dialect.refused(answer)
        if asked is None:
            return as_outcome(self.plane, answer, new_id())
        if asked.cookie is not None:
            answer = replace(answer, headers={**answer.headers, "set-cookie": asked.cookie})
        return as_outcome(self.plane, answer, asked.id, asked.arm.name)


def _in_thread(limiter: anyio.CapacityLimiter, act: Callable[..., Any], *given: Any) -> asyncio.Future[Any]:
    return asyncio.ensure_future(anyio.to_thread.run_sync(act, *given, limiter=limiter, abandon_on_cancel=True))


def _too_many(most: int) -> Answer:
    return too_many(f"At most {most} requests are answered here at once. They are. Come back in a second.")


def _encoded() -> Answer:
    says = "A body must come as it is: `Content-Encoding` must be left out, or identity. Got another."
    told = {"accept-encoding": AS_IT_IS.decode()}
    return refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", says, headers=told)


_NONE: Mapping[str, str] = {}


def is_plain(headers: Mapping[bytes, bytes]) -> bool:
    """Tell a request in JSON that wants JSON."""
    accept = headers.get(b"accept")
    return headers.get(b"content-type") in READ_AS_JSON and (accept in ANSWERED_IN_JSON or not names_one(accept))


def _has_time(asked_ms: bytes | None) -> bool:
    """Tell whether a caller waits at all, by what its deadline says; none says that it does."""
    found = 1.0 if asked_ms is None else deadline_s(asked_ms)
    return isinstance(found, float) and found > 0


def cookies_of(named: Headers) -> dict[str, str]:
    """Read the cookies of a request; of those of one name the last counts.

    >>> cookies_of([(b"cookie", b'theme=dark; visitor="anna"')])
    {'theme': 'dark', 'visitor': 'anna'}
    """
    pairs = [pair for name, value in named if name == b"cookie" for pair in value.decode("latin-1").split(";")]
    found = [pair.partition("=")[::2] if "=" in pair else ("", pair) for pair in pairs]
    return {name.strip(): _unquoted(text.strip()) for name, text in found if name.strip() or text.strip()}


def _unquoted(text: str) -> str:
    """Read a cookie's text, which may stand in quotes; Python's own way takes seconds for 60 kB of backslashes."""
    if len(text) < 2 or not text.startswith('"') or not text.endswith('"'):
        return text
    return ESCAPED.sub(lambda found: chr(int(found[1], 8)) if found[1] else found[2], text[1:-1])


def as_outcome(plane: DataPlane, answer: Answer, request_id: str, arm: str = "") -> Outcome:
    """Put an answer of the data plane, or a refusal, into the form that is sent."""
    arm = arm if answer.choice is None else answer.choice.arm
    model = str(plane.spec.arms[arm]) if arm else ""
    named = {ID: request_id, **({"x-ekiben-arm": arm, "x-ekiben-model": model} if arm else {}), **answer.headers}
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
    headers.append((b"content-length", b"%d" % len(answer.body)))
    return Outcome(request_id, int(answer.status), headers, answer.body, answer.code, arm, model, answer.rows)
