"""Bytes in, bytes out: what a service answers, whatever web framework carries it."""

from __future__ import annotations

import logging
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben import arrow, codecs, explanations, packages, protocol, routing, schema, tables
from ekiben.dialects import JSON, Answer, Dialect, Read, Refusal, Request, Routed, refuse
from ekiben.dialects.rows import Rows
from ekiben.dialects.tables import Tables
from ekiben.errors import ExplainError, Fault, RecordsError, SchemaError
from ekiben.explanations import Explanation
from ekiben.observing import Count, new_id
from ekiben.packages import Package
from ekiben.pinning import Contract
from ekiben.recording.keeping import Keeper
from ekiben.spec import ServiceSpec

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("ekiben")
QUICK_METHODS = ("linear", "trees")  # exact and within milliseconds; the others wait for one of a few slots
MAX_WATCHED = 256  # requests that may wait for a shadow; more are dropped and counted


class Hooks:
    """What the author of a service may override; as it stands, it changes nothing."""

    def preprocess(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Change the rows before the model sees them; they fit the contract, and must still."""
        return frame

    def postprocess(self, predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Change the predictions before they leave."""
        return predictions

    def unit_of(self, request: Request, body: Mapping[str, Any]) -> str | None:  # noqa: ARG002 -- for who overrides it
        """Tell who sticks to an arm; None leaves it to the spec's `unit`."""
        return None

    def changed(self, hooks: Sequence[str] = ("preprocess", "postprocess")) -> list[str]:
        """Name the hooks that somebody overrode; by default those that change what the models answer."""
        return [name for name in hooks if getattr(getattr(self, name), "__func__", None) is not getattr(Hooks, name)]


Columns = Mapping[str, list[Any]]
Compute = Callable[[Package, Any], dict[str, Any]]
Unseen = Callable[[str, str, int], None]


class DataPlane:
    """The arms of one service in one process, and how a request becomes an answer.

    Parameters
    ----------
    spec, contract
        What is served, and what was promised.
    packages
        The package of each arm.
    hooks
        The service's own `preprocess`, `postprocess` and `unit_of`.
    observe
        Called after requests with the endpoint, the arm ("" for none), the code, and the seconds that each took.
    description
        What the service says of itself.
    unseen
        Called with the arm, the column and how many of its texts the arm takes and has never seen.
    keeper
        What keeps each decision before its answer leaves; None keeps none.
    """

    def __init__(
        self,
        spec: ServiceSpec,
        contract: Contract,
        packages: Mapping[str, Package],
        hooks: Hooks,
        observe: Count,
        description: str = "",
        unseen: Unseen = lambda _arm, _column, _n: None,
        keeper: Keeper | None = None,
    ) -> None:
        self.spec, self.contract, self.packages, self.hooks = spec, contract, packages, hooks
        self.description, self.keeper = description, keeper
        self.observe, self.tell_unseen = observe, unseen
        self.known_texts = {arm: _seen(package) for arm, package in packages.items()}
        self._prepares = "preprocess" in hooks.changed()
        shows_rows = "unit_of" in Hooks.changed(hooks, ("unit_of",))
        self.rows = Rows(spec, contract, spec.limits.max_rows, tables=Tables(spec, contract), shows_rows=shows_rows)
        self._explained = Rows(spec, contract, spec.limits.explain_rows)
        self._slow_slots = threading.BoundedSemaphore(max(1, spec.threads // 2))
        self._watcher = _Watcher(self._watch) if spec.route.shadows else None

    def predict(self, request: Request) -> Answer:
        """Answer `POST /predict`, and count it."""
        return self._counted("predict", request)

    def explain(self, request: Request) -> Answer:
        """Answer `POST /explain`, and count it."""
        return self._counted("explain", request)

    def schema(self) -> dict[str, Any]:
        """Tell the contract: what `GET /schema` shows."""
        return {
            "name": self.spec.name,
            **schema.to_json(self.contract.signature),
            **({"takers": self.contract.takers} if self.contract.takers else {}),
            "unit": str(self.spec.unit) if self.spec.unit else None,
            "bodies": [JSON, *(arrow.KINDS if arrow.is_here() else ())],
            "limits": asdict(self.spec.limits),
            "example": {
                "row": self.contract.row,
                "answer": protocol.predictions([self.contract.answer], self.contract.signature)[0],
            },
        }

    def card(self) -> dict[str, Any]:
        """Tell what each arm is: what `GET /card` shows."""
        shown = (
            "class",
            "owner",
            "metrics",
            "findings",
            "explainer",
            "n_reference",
            "balance",
            "data_digest",
            "digest",
            "provenance",
        )
        arms = {
            arm: {"model": str(self.spec.arms[arm]), **{key: package.manifest[key] for key in shown}}
            for arm, package in self.packages.items()
        }
        return {"name": self.spec.name, "hooks": self.hooks.changed(), "arms": arms}

    def routing(self) -> dict[str, Any]:
        """Tell which arm answers how often: what `GET /routing` shows."""
        route = self.spec.route
        return {
            "weights": dict(route.weights),
            "shadows": list(route.shadows),
            "salt": route.salt,
            "unit": str(self.spec.unit) if self.spec.unit else None,
            "models": {arm: str(ref) for arm, ref in self.spec.arms.items()},
        }

    def close(self) -> None:
        """Let the shadows finish what waits for them, and end the records."""
        if self._watcher is not None:
            self._watcher.close()
        if self.keeper is not None:
            self.keeper.close()

    # ── for who has read and routed a request itself ──

    def admit(self, request: Request, dialect: Dialect | None = None) -> Routed:
        """Read a request for predictions, by default in ekiben's own JSON, and choose who answers it.

        Raises
        ------
        Refusal, SchemaError
            If it cannot be answered as it is.
        """
        routed = self._routed(request, new_id(), dialect or self.rows)
        self._count_unseen(routed)
        return routed

    def answered(self, routed: Routed, predictions: list[dict[str, Any]], dialect: Dialect | None = None) -> Answer:
        """Answer a request that was admitted with what was computed for it, and keep the decision.

        Raises
        ------
        Refusal
            If a number is not finite, or the decision cannot be recorded.
        """
        try:
            body, told = (dialect or self.rows).write(routed, predictions)
        except SchemaError:
            raise _not_finite() from None
        if self.keeper is not None:
            choice = routed.choice
            self.keeper.keep(
                routed.id,
                "predict",
                choice.arm,
                None if choice.unit == routed.id else choice.unit,
                choice.propensity,
                time.perf_counter() - routed.began,
                list(zip(*routed.columns.values(), strict=True)),
                self.encoded(predictions),
            )
        n = n_rows(routed.columns)
        return Answer(status=HTTPStatus.OK, body=body, headers={**told, **routed.headers}, choice=routed.choice, rows=n)

    def predictions(self, arm: str, columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
        """Answer columns that fit the contract, as the body's `predictions`.

        Raises
        ------
        Refusal
            If the model has no answer for them.
        """
        package = self.packages[arm]
        found = self._computed(self._predictions, package, columns)["predictions"]
        return self.hooks.postprocess(found)

    def batch(self, arm: str, asked: Sequence[Mapping[str, list[Any]]]) -> list[list[dict[str, Any]]]:
        """Answer the columns of several requests by asking the model once."""
        joined = {name: [value for columns in asked for value in columns[name]] for name in asked[0]}
        found = iter(self.predictions(arm, joined))
        return [list(islice(found, n_rows(columns))) for columns in asked]

    def explanations(self, arm: str, columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
        """Explain the answers for columns that fit the contract, as the body's `explanations`.

        Raises
        ------
        Refusal
            If they cannot be explained, or not now.
        """
        package = self.packages[arm]
        found: list[dict[str, Any]] = self._computed(self._explanations, package, columns)["explanations"]
        return found

    def explains_at_once(self, arm: str) -> bool:
        """Tell whether an explanation takes microseconds: it needs the plan alone, and draws nothing."""
        package = self.packages[arm]
        return not self.hooks.changed() and package.method in QUICK_METHODS and package.explains_by_plan

    def encoded(self, document: Any) -> bytes:
        """Write an answer as JSON.

        Raises
        ------
        Refusal
            If a number in it is not finite.
        """
        try:
            return codecs.encode(document)
        except SchemaError:
            raise _not_finite() from None

    @property
    def is_watched(self) -> bool:
        """Whether shadows see what is asked."""
        return self._watcher is not None

    def watch(self, columns: Mapping[str, list[Any]]) -> None:
        """Let the shadows see a request, or count that they are too slow for it."""
        if self._watcher is not None and not self._watcher.submit(columns):
            for arm in self.spec.route.shadows:
                self.observe("shadow", arm, "dropped", [0.0])

    def refused(self, endpoint: str, failure: Exception) -> Answer:
        """Tell whatever was raised as the answer to a request; what was sent is repeated neither there nor in the log."""
        if isinstance(failure, Refusal):
            return refuse(failure.status, failure.code, str(failure), headers=failure.headers)
        if isinstance(failure, SchemaError):
            return refuse(HTTPStatus.BAD_REQUEST, "invalid_request", str(failure), faults=failure.faults)
        if isinstance(failure, RecordsError):
            logger.error("%s was refused: %s", endpoint, failure)
            says = "A decision must be recorded before its answer leaves. It cannot be now. Come back in a second."
            return refuse(HTTPStatus.SERVICE_UNAVAILABLE, "not_recorded", says, headers={"retry-after": "1"})
        logger.error("%s failed: %s", endpoint, _where(failure))
        return refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "The service failed. Its log says why.")

    # ── a request's way ──

    def _counted(self, endpoint: str, request: Request) -> Answer:
        began = time.perf_counter()
        answer = self.respond(endpoint, request)
        arm = answer.choice.arm if answer.choice else ""
        self.observe(endpoint, arm, answer.code, [time.perf_counter() - began])
        return answer

    def respond(self, endpoint: str, request: Request) -> Answer:
        """Answer a request to `predict` or `explain` for who counts it."""
        request_id, routed, is_predict = new_id(), None, endpoint == "predict"
        try:
            routed = self._routed(request, request_id, self.rows if is_predict else self._explained)
            answer = self._predicted(routed) if is_predict else self._explanation(routed)
        except Exception as failure:  # noqa: BLE001 -- whatever fails is told without what was sent
            answer = self.refused(endpoint, failure)
        headers = {protocol.ID: request_id, **(routed.headers if routed else {}), **answer.headers}
        n = n_rows(routed.columns) if routed else 0
        return replace(answer, headers=headers, choice=routed.choice if routed else None, rows=n)

    def _routed(self, request: Request, request_id: str, dialect: Dialect) -> Routed:
        """Read the rows, and choose who answers them."""
        read = dialect.read(request)
        unit, cookie = self._unit(request, read)
        choice = routing.choose(self.spec.route, unit or request_id)
        model = str(self.spec.arms[choice.arm])
        return Routed(
            id=request_id,
            columns=read.columns,
            choice=choice,
            model=model,
            headers={protocol.ARM: choice.arm, protocol.MODEL: model, **cookie},
            wants=read.wants,
        )

    def _predicted(self, routed: Routed) -> Answer:
        self._count_unseen(routed)
        found = self.predictions(routed.choice.arm, routed.columns)
        answer = self.answered(routed, found)
        self.watch(routed.columns)
        return answer

    def _explanation(self, routed: Routed) -> Answer:
        found = self.explanations(routed.choice.arm, routed.columns)
        document = {"id": routed.id, "arm": routed.choice.arm, "model": routed.model, "explanations": found}
        return Answer(status=HTTPStatus.OK, body=self.encoded(document), headers={"content-type": JSON})

    def _count_unseen(self, routed: Routed) -> None:
        """Count the texts that the arm takes and has never seen: the first sign that the world has moved."""
        for name, seen in self.known_texts[routed.choice.arm].items():
            n = sum(value is not None and value not in seen for value in routed.columns[name])
            if n:
                self.tell_unseen(routed.choice.arm, name, n)

    def _asked(self, columns: Columns, package: Package) -> Columns | pd.DataFrame:
        """Give columns as they are; or where the service has a hook of its own the frame that it makes, in the model's order."""
        if not self._prepares:
            return columns
        return self.hooks.preprocess(tables.as_frame(columns, package.schema))[list(package.schema.names)]

    def _unit(self, request: Request, read: Read) -> tuple[str | None, dict[str, str]]:
        """Tell who asks, and the cookie that is to be set for somebody new."""
        own = self.hooks.unit_of(request, read.body)
        unit = self.spec.unit
        if own is not None or unit is None:
            return own, {}
        if unit.source == "header":
            return request.headers.get(unit.name), {}
        if unit.source == "cookie":
            known = request.cookies.get(unit.name)
            fresh = known or new_id()
            return fresh, {} if known else {"set-cookie": cookie_of(unit.name, fresh)}
        return _named_unit(unit.name, read.units), {}

    def _computed(self, compute: Compute, package: Package, columns: Columns) -> dict[str, Any]:
        rows = self._asked(columns, package)
        try:
            return compute(package, rows)
        except (ValueError, ArithmeticError) as reason:
            logger.warning("%s could not answer rows that fit its contract: %s", package.ref, type(reason).__name__)
            message = "The model must have an answer for rows that fit the contract. It has none for these."
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "unanswerable", message) from reason

    def _predictions(self, package: Package, rows: Columns | pd.DataFrame) -> dict[str, Any]:
        if isinstance(rows, Mapping):
            return {"predictions": package.predictions(rows)}
        answered = packages.table(package.answers(rows), package.signature, rows.index)
        return {"predictions": protocol.predictions(tables.as_records(answered), package.signature)}

    def _explanations(self, package: Package, rows: Columns | pd.DataFrame) -> dict[str, Any]:
        slow = package.method not in QUICK_METHODS
        if slow and not self._slow_slots.acquire(blocking=False):
            message = "Every slot for slow explanations is taken. Come back in a second."
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "busy", message, headers={"retry-after": "1"})
        try:
            if isinstance(rows, Mapping):
                found: Iterable[Explanation] = package.explanations(rows)
            else:
                found = package.explainer.explain(rows)
        except ExplainError as reason:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "unexplainable", str(reason)) from reason
        finally:
            if slow:
                self._slow_slots.release()
        return {"explanations": [explanations.to_json(each) for each in found]}

    def _watch(self, columns: dict[str, list[Any]]) -> None:
        """Let every shadow answer; what it says or raises reaches nobody but the counters."""
        for arm in self.spec.route.shadows:
            began = time.perf_counter()
            package = self.packages[arm]
            try:
                self._predictions(package, self._asked(columns, package))
                code = "ok"
            except Exception as reason:  # noqa: BLE001 -- a shadow may fail in any way
                logger.warning("the shadow %s failed: %s", arm, type(reason).__name__)
                code = "internal"
            self.observe("shadow", arm, code, [time.perf_counter() - began])


def _named_unit(name: str, sent: Sequence[Any]) -> str | None:
    """Give the one unit that a request names; None when it names none."""
    if any(isinstance(value, bool) or not isinstance(value, str | int) for value in sent):
        message = f"The unit {name!r} must be a text or an integer. Got something else."
        raise SchemaError.of([Fault(message=message, column=name)])
    units = {str(value) for value in sent}
    if len(units) > 1:
        message = f"A request serves one unit. Got {len(units)} values of {name!r}. Send one request for each."
        raise SchemaError.of([Fault(message=message, column=name)])
    return units.pop() if units else None


def _not_finite() -> Refusal:
    message = "The model must answer with finite numbers. It did not for these rows."
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "unanswerable", message)


def _seen(package: Package) -> dict[str, frozenset[Any]]:
    """Give the texts that an arm has seen in each column where it takes others too."""
    return {
        column.name: frozenset(column.categories)
        for column in package.schema.columns
        if column.categories is not None and not column.is_closed
    }


def cookie_of(name: str, unit: str) -> str:
    """Set the cookie of a new unit, for 30 days."""
    return f"{name}={unit}; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax"


def n_rows(columns: Mapping[str, list[Any]]) -> int:
    """Count the rows of columns."""
    return len(next(iter(columns.values()), ()))


def _where(failure: Exception) -> str:
    """Tell what failed and where, without the words of the error: they may hold values."""
    frames = traceback.extract_tb(failure.__traceback__)[-8:]
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    return f"{type(failure).__name__} at {places}"


class _Watcher:
    """One thread that lets the shadows see requests, and drops what they are too slow for."""

    def __init__(self, watch: Callable[[Any], None]) -> None:
        self._waiting: queue.Queue[Any] = queue.Queue(MAX_WATCHED)
        self._watch = watch
        self._thread = threading.Thread(target=self._run, daemon=True, name="ekiben-shadows")
        self._thread.start()

    def submit(self, seen: Any) -> bool:
        try:
            self._waiting.put_nowait(seen)
        except queue.Full:
            return False
        return True

    def _run(self) -> None:
        while (seen := self._waiting.get()) is not None:
            self._watch(seen)

    def close(self, timeout_s: float = 5) -> None:
        try:
            self._waiting.put(None, timeout=timeout_s)
        except queue.Full:
            logger.warning("the shadows were too slow to finish; %d requests wait", self._waiting.qsize())
            return
        self._thread.join(timeout_s)
