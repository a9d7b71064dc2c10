"""The endpoints of explanations: `/explain`, which keeps to its time, and the tickets of what comes later."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import cached_property
from http import HTTPStatus
from time import perf_counter
from typing import Any, TypeVar, cast

from starlette.types import Receive, Scope

from ekiben import codecs, paging, shortcut
from ekiben.dataplane import DataPlane, Unplanned, n_rows
from ekiben.dialects import JSON, Answer, Refusal, Request, Routed, refuse
from ekiben.endpoints import DEADLINE, Endpoint, as_outcome, cookies_of, is_plain
from ekiben.errors import SpecError
from ekiben.explaining import refusals, rungs, wishes
from ekiben.explaining.answering import Begun, Found
from ekiben.explaining.apart import Broken
from ekiben.explaining.messages import Done
from ekiben.explaining.tickets import Seen, Tickets
from ekiben.explaining.wishes import PLAIN, Wish
from ekiben.pacing import RECENT_S, Rate, Share
from ekiben.protocol import ARM, ID, MODEL
from ekiben.shortcut import Asked, Lane, Outcome
from ekiben.shortcut import Headers as Sent
from ekiben.waiting import FEW, SAFELY, Until, deadline_s

logger = logging.getLogger("ekiben")
PATH = "/explain/"
LONGEST_RETRY_S = 10
QUIET_PASSES = 2  # of the loop, after which nobody waits: one takes a new connection up, the next reads from it
MOST_BEFORE = 50  # requests that an explanation lets go first
T = TypeVar("T")
Headers = Mapping[bytes, bytes]
Owner = Callable[[Headers], str]


class Explained(Endpoint):
    """Answer `POST /explain`: at once by a plan, within the time by another process, or with a ticket.

    Parameters
    ----------
    plane, rest
        As of every endpoint.
    owner
        Tells whose a ticket is, by the headers of a request.
    """

    def __init__(self, plane: DataPlane, *rest: Any, owner: Owner, **settings: Any) -> None:
        super().__init__(plane, *rest, **settings)
        self._owner = owner
        per_s = plane.spec.limits.explain_per_s
        self._rate = None if per_s is None else Rate(per_s)
        self._patience_s, self._line = min(self._patience_s, plane.spec.budgets.explain_ms / 1000), asyncio.Lock()
        self._n_coming = 0  # that have their bodies, and are on their way to a process
        self._turned = (0.0, 0)  # when the last turn was over, and how many requests had come

    def at_once(self, named: Sent, headers: Headers, body: bytes, *, held: bool = False) -> Outcome | None:  # noqa: ARG002 -- holds none
        """Explain by the plan where that takes no time, and refuse without a look at the body where nothing else can be."""
        lane, explaining = self._lane, self.plane.explaining
        self._share.n_come += 1
        if (refused := self.hopeless(headers)) is not None:
            return refused
        if explaining is not None and self._all_apart:
            return self._handed_on(None if explaining.pool.takes(self._n_coming) else self._refused(self._no_room))
        if lane is None or DEADLINE in headers or not is_plain(headers) or paging.may_want(headers.get(b"accept")):
            return None
        try:
            asked = lane.admit(body, headers, cookies_of(named) if self._by_cookie else {})
        except Exception as failure:  # noqa: BLE001 -- whatever fails is told in the one shape
            return self._failed(failure)
        if asked is None or not self.plane.explains_at_once(asked.arm.name):
            return None
        if not self._share.has_room(n := len(asked.body.rows)):
            return self._handed_on(self._in_vain(self._patience_s, n), n)
        if (refused := self._too_fast()) is not None:
            return refused
        if (outcome := self._by_plan(lane, asked)) is None and self._rate is not None:
            self._rate.give_back()  # it comes the usual way
        return outcome

    def hopeless(self, headers: Headers) -> Outcome | None:  # noqa: ARG002 -- a deadline is when a ticket is due
        """Refuse what is one too many."""
        return self._crowded() if self.n_asked >= self._most else None

    def _handed_on(self, refused: Outcome | None, n_rows: int = 1) -> Outcome | None:
        """Count what is left to the usual way until that has begun with it: others come in the same pass of the loop."""
        if refused is None:
            self._share.joined(n_rows)
            self._n_coming += 1
            asyncio.get_running_loop().call_soon(self._begins, n_rows)
        return refused

    def _begins(self, n_rows: int) -> None:
        self._share.left(n_rows)
        self._n_coming -= 1

    @cached_property
    def _all_apart(self) -> bool:
        """Whether other processes explain every arm that is asked at all."""
        weights = self.plane.spec.route.weights
        return not any(self.plane.is_here(arm, PLAIN) for arm in weights if weights[arm] > 0)

    @cached_property
    def _no_room(self) -> Answer:
        return self.plane.refused(self.name, refusals.full())

    def _too_fast(self) -> Outcome | None:
        """Refuse a request where there were too many in this second; each that is let in is counted."""
        if self._rate is None or not (waits_s := self._rate.waits_s()):
            return None
        return self._refused(_too_fast(self.plane.spec.limits.explain_per_s or 0.0, waits_s))

    async def _outcome(self, scope: Scope, headers: Headers, receive: Receive, began: float) -> Outcome:
        if (refused := self._too_fast()) is not None:
            return refused
        try:
            wish = _wish(scope, headers)
        except (Refusal, SpecError) as reason:
            return self._refused(_wrong(self.plane, reason))
        if not scope.get("query_string") and not paging.may_want(headers.get(b"accept")):
            return await super()._outcome(scope, headers, receive, began)
        until = Until(began, self._timeout_s, None, receive)
        body = await self._body(until)
        return self._refused(body) if isinstance(body, Answer) else await self._in_time(scope, body, until, wish)

    def _waits(self, headers: Headers) -> tuple[float, float | None] | Answer:
        """Read within how long the answer is wanted: a deadline says here when a ticket is due, and gives nothing up."""
        found = deadline_s(headers[DEADLINE]) if DEADLINE in headers else self._patience_s
        return found if isinstance(found, Answer) else (self._timeout_s, min(found, self._patience_s))

    async def _quickly(self, lane: Lane, asked: Asked, until: Until) -> Outcome | None:
        """Explain by the plan, in this thread, when it is its turn; None leaves it to the slower way."""
        if not self.plane.explains_at_once(asked.arm.name):
            return None
        n = len(asked.body.rows)
        if (refused := self._in_vain(until.patience_s, n)) is not None:
            return refused
        found = await until.done(self._in_line(self._by_plan_in_turn(lane, asked), n))
        return self._refused(found, asked) if isinstance(found, Answer) else found

    async def _by_plan_in_turn(self, lane: Lane, asked: Asked) -> Outcome | None:
        async with self._turn(n := len(asked.body.rows)):
            if not self._share.is_long(n):
                return self._by_plan(lane, asked)
            steps = lane.explained_by_row(asked)
            try:
                while (outcome := self._stepped(steps, asked)) is None:
                    await self._rested(self._share.n_come)
            except Unplanned:
                return None
            return outcome

    def _stepped(self, steps: Generator[None, None, Outcome], asked: Asked) -> Outcome | None:
        """Explain one more row; None while there are others."""
        began = perf_counter()
        try:
            return next(steps)
        except StopIteration as done:
            return cast("Outcome", done.value)
        except Unplanned:
            raise
        except Exception as failure:  # noqa: BLE001 -- told by the data plane, as its own way tells it
            return self._refused(self.plane.refused(self.name, failure), asked)
        finally:
            self._took(perf_counter() - began)

    def _by_plan(self, lane: Lane, asked: Asked) -> Outcome | None:
        """Explain by the plan alone; None leaves it to the slower way."""
        began = perf_counter()
        try:
            return lane.explained(asked)
        except Unplanned:
            return None
        except Exception as failure:  # noqa: BLE001 -- told by the data plane, as its own way tells it
            return self._refused(self.plane.refused(self.name, failure), asked)
        finally:
            self._took(perf_counter() - began, len(asked.body.rows))

    def _took(self, seconds: float, n_rows: int = 1) -> None:
        """Take note of what was explained, until the loop has seen what else has come."""
        if not self._share.spent_s:
            asyncio.get_running_loop().call_soon(self._share.passed)
        self._share.took(seconds, n_rows)

    def _in_vain(self, patience_s: float, n_rows: int) -> Outcome | None:
        """Refuse rows that would come too late behind those that wait, or with too many; None lets them wait."""
        share = self._share
        if share.n_waiting < FEW or (self.n_asked < self._most and share.expected_s(n_rows) <= SAFELY * patience_s):
            return None
        part = self.plane.spec.limits.explain_share if share.is_shared else None
        return self._refused(_too_much(part, share.expected_s()))

    @asynccontextmanager
    async def _turn(self, n_rows: int) -> AsyncIterator[None]:
        """Wait until explanations may take more of this thread's time, each behind those that came before."""
        share = self._share
        came = perf_counter(), share.n_come
        async with self._line:
            since_s, n_come = max(came, self._turned)
            await self._rested(n_come)
            yield
            self._turned = perf_counter(), share.n_come
            share.turned(self._turned[0] - since_s, n_rows)

    def _in_line(self, turn: Coroutine[Any, Any, T], n_rows: int) -> asyncio.Future[T]:
        """Let a turn come, and count it as one that waits from now on until it is over, or given up."""
        self._share.joined(n_rows)
        work = asyncio.ensure_future(turn)
        work.add_done_callback(lambda _done: self._share.left(n_rows))
        return work

    async def _rested(self, n_come: int) -> None:
        """Wait until explanations may take more of the time, and let go first what comes from such a count on."""
        share, n_quiet, most = self._share, 0, n_come + MOST_BEFORE
        while waits_s := share.waits_s():  # noqa: ASYNC110 -- time passes by itself
            await asyncio.sleep(min(waits_s, RECENT_S))
        while n_quiet < QUIET_PASSES and share.n_come < most:
            n_come = share.n_come
            await asyncio.sleep(0)
            n_quiet = n_quiet + 1 if share.n_come == n_come else 0

    async def _slowly(self, scope: Scope, body: bytes, until: Until) -> Outcome:
        return await self._in_time(scope, body, until, _wish(scope, dict(scope["headers"])))

    async def _in_time(self, scope: Scope, body: bytes, until: Until, wish: Wish) -> Outcome:
        """Read a request, begin what its time allows, and answer with it or with a ticket."""
        named = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        request = Request(body=body, headers=named, cookies=cookies_of(scope["headers"]))
        routed: Routed | None = None
        try:
            with self._coming():
                read = await self._read(request, self.plane.admit_to_explain, until)
            if isinstance(read, Answer):
                return self._refused(read)
            routed = read
            language = paging.wanted(dict(scope["headers"]))
            wait_s = self.plane.spec.budgets.explain_ms / 1000 if wish.wait_s is None else wish.wait_s
            by = min(until.left_s, wait_s - (self._timeout_s - until.left_s))
            is_here, n = self.plane.is_here(routed.choice.arm, wish), n_rows(routed.columns)
            if is_here and (refused := self._in_vain(min(by, self._patience_s), n)) is not None:
                return refused
            begin = (
                self._in_line(self._begun_in_turn(routed, wish, by), n) if is_here else self._begun(routed, wish, by)
            )
            begun = await until.done(asyncio.ensure_future(begin))
            if isinstance(begun, Answer):
                return self._refused(begun)
            answer = await self._answered(routed, begun, until, by, self._owner(dict(scope["headers"])))
            if language is not None and answer.status == HTTPStatus.OK:
                work = self._in_thread(paging.page, self.plane, answer, language, routed)
                answer = await until.done(work)
        except Exception as failure:  # noqa: BLE001 -- told by the data plane, as its own way tells it
            answer = _wrong(self.plane, failure)
        return self._refused(answer) if routed is None else _sent(self.plane, answer, routed)

    async def _begun(self, routed: Routed, wish: Wish, left_s: float) -> Found | Begun:
        if not self.plane.hooks.changed(("preprocess",)):
            return self.plane.begin(routed, wish, left_s)  # another process does it
        with self._coming():
            return await self._begun_in_thread(routed, wish, left_s)

    async def _begun_in_thread(self, routed: Routed, wish: Wish, left_s: float) -> Found | Begun:
        """Begin in a thread, which cannot be stopped: what it began for a caller who has left is ended."""
        work = self._in_thread(self.plane.begin, routed, wish, left_s)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            work.add_done_callback(_unwanted)
            raise

    @contextmanager
    def _coming(self) -> Iterator[None]:
        """Count a request as one that is on its way to a process."""
        self._n_coming += 1
        try:
            yield
        finally:
            self._n_coming -= 1

    async def _begun_in_turn(self, routed: Routed, wish: Wish, left_s: float) -> Found | Begun:
        async with self._turn(n := n_rows(routed.columns)):
            begun: Found | Begun
            if n > 1 and self._share.is_long(n):
                begun = await self._begun_in_thread(routed, wish, left_s)
            elif (found := self._begun_here(routed, wish, left_s)) is None:
                return await self._begun_in_thread(routed, wish, left_s)
            else:
                begun = found
            if isinstance(begun, Found):
                self._took(begun.elapsed_ms / 1e3, len(begun.explanations))
            return begun

    def _begun_here(self, routed: Routed, wish: Wish, left_s: float) -> Found | Begun | None:
        """Explain by the plan; None where that has no answer, and more may be asked than the plan."""
        try:
            return self.plane.begin(routed, wish, left_s, at_once=True)
        except Unplanned:
            return None

    async def _answered(self, routed: Routed, begun: Found | Begun, until: Until, left_s: float, owner: str) -> Answer:
        if isinstance(begun, Found):
            return self.plane.explained(routed, begun)
        if begun.is_later:
            return await self._nearest(routed, begun, until) or _later(self.plane, routed, begun, owner)
        work = asyncio.wrap_future(begun.job.future)
        done = await until.sooner(left_s).done(asyncio.shield(work))
        if isinstance(done, Done):
            return self.plane.explained(routed, begun.of.found(begun, done))
        work.add_done_callback(_heard)
        if done.code == "timeout":
            return await self._nearest(routed, begun, until) or _later(self.plane, routed, begun, owner)
        begun.job.cancel()
        return done  # type: ignore[no-any-return]

    async def _nearest(self, routed: Routed, begun: Begun, until: Until) -> Answer | None:
        """Answer with what explains the nearest row, where one is near enough and the model answers this one, and end the work."""
        if not begun.of.knows_nearby:
            return None
        found = await self._in_thread(begun.of.nearest, begun)  # many rows are compared with many
        if found is None:
            return None
        try:
            refused = await self._unanswered(begun, until)
        except Exception:
            begun.job.cancel()
            raise
        if refused is not None and refused.code in ("timeout", "too_many_requests"):
            return None  # nobody knows yet
        begun.job.cancel()
        if refused is not None:
            return refused
        begun.of.counted.explained(begun.arm, found.method, "cached", found.elapsed_ms / 1e3)
        return self.plane.explained(routed, found)

    async def _unanswered(self, begun: Begun, until: Until) -> Answer | None:
        """Ask the model whether it answers rows that it has not been asked about; what it refuses is raised.

        Raises
        ------
        Refusal
            If it has no answer for one of them.
        """
        arm, columns = begun.arm, begun.columns
        if shortcut.at_once(self.plane, arm, columns) is not None:
            return None
        until = until.sooner(begun.of.budget_s)
        work = self._in_turn(arm, n_rows(columns), until, self.plane.check_answered, arm, columns)
        refused: Answer | None = work if isinstance(work, Answer) else await until.done(work)
        return refused


def shared(plane: DataPlane) -> Share:
    """Make what explanations by the plan may take of this thread's time, by what a row of the slowest arm took when it was tried."""
    quick = {} if plane.explaining is None else plane.explaining.quick
    return Share(plane.spec.limits.explain_share, row_s=max(quick.values(), default=0.0) / 1e3)


def _heard(work: asyncio.Future[Done]) -> None:
    """Take note of a failure that nobody waits for any more."""
    if not work.cancelled():
        work.exception()


def _unwanted(work: asyncio.Future[Found | Begun]) -> None:
    """End what was begun, and nobody waits for any more."""
    if not work.cancelled() and work.exception() is None and isinstance(begun := work.result(), Begun):
        begun.job.cancel()


def _sent(plane: DataPlane, answer: Answer, routed: Routed) -> Outcome:
    told = replace(answer, headers={**answer.headers, **routed.headers}, rows=n_rows(routed.columns))
    return as_outcome(plane, told, routed.id, routed.choice.arm)


def _wish(scope: Scope, headers: Headers) -> Wish:
    """Read what is wanted; a deadline in the headers is a wait that the query did not name."""
    wish = wishes.read(scope.get("query_string", b"").decode("latin-1"))
    asked_ms = headers.get(DEADLINE)
    if asked_ms is None or wish.wait_s is not None:
        return wish
    found = deadline_s(asked_ms)
    if isinstance(found, Answer):
        says = codecs.decode(found.body)["error"]["message"]
        raise Refusal(HTTPStatus.BAD_REQUEST, found.code, says)
    return replace(wish, wait_s=found)


def _wrong(plane: DataPlane, failure: Exception) -> Answer:
    if isinstance(failure, Broken):
        failure = refusals.broken(failure)
    if isinstance(failure, SpecError):
        return refuse(HTTPStatus.BAD_REQUEST, "invalid_query", str(failure))
    return plane.refused("explain", failure)


def _too_fast(per_s: float, waits_s: float) -> Answer:
    says = f"At most {per_s:g} explanations a second are begun here. There were more. Come back later."
    told = {"retry-after": str(max(1, math.ceil(waits_s)))}
    return refuse(HTTPStatus.TOO_MANY_REQUESTS, "too_many_explanations", says, headers=told)


def _too_much(share: float | None, waits_s: float) -> Answer:
    says = "An explanation must be there in time. It would not be, after those before it. Come back later."
    if share is not None:
        says = f"At most {share:.0%} of this process's time is for explanations while it is asked for predictions. More are asked for. Come back later."
    return refuse(HTTPStatus.TOO_MANY_REQUESTS, "too_many_explanations", says, headers={"retry-after": _retry(waits_s)})


# ── what comes later ──


def _later(plane: DataPlane, routed: Routed, begun: Begun, owner: str) -> Answer:
    """Give a ticket for work that is under way."""
    explaining, job = begun.of, begun.job
    tickets = explaining.tickets
    if tickets is None:
        job.cancel()
        raise refusals.late(explaining.budget_s)
    expected_s = explaining.expected_s(begun)
    try:
        ticket = tickets.open(owner, job.cancel, expected_s=expected_s, of=(routed.id, routed.choice.arm, routed.model))
    except OSError:
        job.cancel()
        raise refusals.unkept() from None
    explaining.counted.ticket("given")
    explaining.counted.explained(begun.arm, begun.choice.method, "later", perf_counter() - begun.began)
    job.future.add_done_callback(lambda _done: _settle(plane, routed, begun, tickets, ticket))
    document: dict[str, Any] = {"id": routed.id, "arm": routed.choice.arm, "model": routed.model}
    document |= {"rung": "later", "why": _why(begun)}
    document |= {"ticket": ticket, "status": "running", "poll": f"{PATH}{ticket}", "progress": None}
    told = {"content-type": JSON, "location": f"{PATH}{ticket}", "retry-after": _retry(expected_s)}
    n = n_rows(routed.columns)
    return Answer(status=HTTPStatus.ACCEPTED, body=codecs.encode(document), headers=told, choice=routed.choice, rows=n)


def _why(begun: Begun) -> str:
    """Say why it comes later; of another scale nobody knows yet which method has it."""
    if begun.is_later or begun.wish.units is not None:
        return begun.choice.why
    return rungs.said(begun.choice.method, "late")


def _settle(plane: DataPlane, routed: Routed, begun: Begun, tickets: Tickets, ticket: str) -> None:
    """Write what came of a ticket: an answer, or why there is none."""
    explaining, future = begun.of, begun.job.future
    if begun.job.is_cancelled or future.cancelled():
        return
    try:
        answer = plane.explained(routed, explaining.found(begun, future.result()))
        state = "done"
    except Exception as failure:  # noqa: BLE001 -- told by the data plane, as its own way tells it
        answer, state = _wrong(plane, failure), "failed"
    try:
        tickets.settle(ticket, state, answer.status, answer.body)  # type: ignore[arg-type]
    except OSError as reason:
        logger.error("the result of a ticket could not be kept: %s", type(reason).__name__)
        state = "failed"
    explaining.counted.ticket(state)


def answered(plane: DataPlane, method: str, path: str, headers: Headers, owner: Owner) -> Answer:
    """Answer `GET /explain/{ticket}` and `DELETE /explain/{ticket}`."""
    try:
        return _answered(plane, method, path, headers, owner)
    except OSError:
        return plane.refused("ticket", refusals.unkept())
    except Exception as failure:  # noqa: BLE001 -- whatever fails is told in the one shape
        return plane.refused("ticket", failure)


def _answered(plane: DataPlane, method: str, path: str, headers: Headers, owner: Owner) -> Answer:
    if method not in ("GET", "HEAD", "DELETE"):
        says = "A ticket must be asked for by GET, or cancelled by DELETE. Got another method."
        return refuse(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", says, headers={"allow": "GET, DELETE"})
    explaining = plane.explaining
    tickets = None if explaining is None else explaining.tickets
    if explaining is None or tickets is None:
        return _unknown()
    ticket = path.removeprefix(PATH)
    if method == "DELETE":
        seen = tickets.look(ticket, owner(headers))
        if seen.state in ("running", "done", "failed"):
            seen = tickets.cancel(ticket, owner(headers))
            explaining.counted.ticket("cancelled")
        return _cancelled(ticket) if seen.state == "cancelled" else _shown(ticket, seen)
    return _seen(plane, _shown(ticket, tickets.look(ticket, owner(headers))), headers)


def _seen(plane: DataPlane, answer: Answer, headers: Headers) -> Answer:
    """Write what was explained as a page, where one is wanted."""
    if answer.status != HTTPStatus.OK or not paging.may_want(headers.get(b"accept")):
        return answer
    language = paging.wanted(headers)
    return answer if language is None else paging.page(plane, answer, language)


def _shown(ticket: str, seen: Seen) -> Answer:
    head = seen.head
    if head is None:
        return _unknown()
    if seen.state in ("done", "failed"):
        code = "ok" if seen.state == "done" else str(codecs.decode(seen.body)["error"]["code"])
        return Answer(status=head.status, body=seen.body, headers={"content-type": JSON, **_who(seen)}, code=code)
    if seen.state == "cancelled":
        says = "The work of a ticket must not be cancelled before it is fetched. It was."
        return refuse(HTTPStatus.GONE, "cancelled", says)
    if seen.state == "lost":
        says = "The process that has this ticket's work, or its result in memory, must live until it is fetched. It ended before. Ask again."
        return refuse(HTTPStatus.GONE, "lost", says)
    document: dict[str, Any] = {"id": head.id, "arm": head.arm, "model": head.model, "rung": "later"}
    document |= {"ticket": ticket, "status": "running", "poll": f"{PATH}{ticket}", "progress": seen.progress}
    left_s = head.expected_s * (1 - (seen.progress or 0.0))
    told = {"content-type": JSON, "retry-after": _retry(left_s), **_who(seen)}
    return Answer(status=HTTPStatus.ACCEPTED, body=codecs.encode(document), headers=told)


def _who(seen: Seen) -> dict[str, str]:
    head = seen.head
    return {} if head is None else {ID: head.id, ARM: head.arm, MODEL: head.model}


def _cancelled(ticket: str) -> Answer:
    body = codecs.encode({"ticket": ticket, "status": "cancelled"})
    return Answer(status=HTTPStatus.OK, body=body, headers={"content-type": JSON})


def _unknown() -> Answer:
    says = "There must be such a ticket, and the key that it was given to. There is none, or its time is over."
    return refuse(HTTPStatus.NOT_FOUND, "unknown_ticket", says)


def _retry(seconds: float) -> str:
    return str(min(LONGEST_RETRY_S, max(1, math.ceil(seconds))))
