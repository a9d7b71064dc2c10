"""Bytes in, bytes out: what a service answers, whatever web framework carries it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack
from copy import copy
from dataclasses import asdict, replace
from http import HTTPStatus
from typing import Any

import msgspec

from ekiben import arrow, codecs, protocol, routing, schema
from ekiben.dataplane import units
from ekiben.dataplane.arms import Arms, Escaped, HookError, Hooks, Unplanned, contained, n_rows, rows_of
from ekiben.dataplane.shadows import MAX_WATCHED, Watcher
from ekiben.dataplane.units import cookie_of
from ekiben.dialects import JSON, Answer, Dialect, Refusal, Request, Routed, bounded, refuse
from ekiben.dialects.rows import Rows
from ekiben.dialects.tables import Tables
from ekiben.errors import RecordsError, SchemaError, place_of
from ekiben.explaining import refusals
from ekiben.explaining.answering import Explaining, Found
from ekiben.explaining.apart import Broken
from ekiben.explaining.wishes import PLAIN
from ekiben.observing import Count, new_id
from ekiben.pacing import Pace
from ekiben.packages import Package
from ekiben.pinning import Contract
from ekiben.recording.keeping import Keeper
from ekiben.routing import Route
from ekiben.spec import ServiceSpec

__all__ = ["MAX_WATCHED", "DataPlane", "Hooks", "Unplanned", "cookie_of", "n_rows"]

_encode = msgspec.json.Encoder().encode

Unseen = Callable[[str, str, int], None]


class DataPlane(Arms):
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
    paces
        How long the models of some arms were measured to take.
    explaining
        What explains within a time, slow methods in a process of their own; None explains here, whatever it takes.
    may_explain
        Tells by the key that a request shows whether `/predict` may explain as well.
    """

    def __init__(  # noqa: PLR0913 -- all that a process serves with
        self,
        spec: ServiceSpec,
        contract: Contract,
        packages: Mapping[str, Package],
        hooks: Hooks,
        observe: Count,
        description: str = "",
        unseen: Unseen = lambda _arm, _column, _n: None,
        keeper: Keeper | None = None,
        paces: Mapping[str, Pace] | None = None,
        explaining: Explaining | None = None,
        may_explain: Callable[[bytes | None], bool] = lambda _shown: True,
    ) -> None:
        super().__init__(spec, packages, hooks, explaining)
        self.contract, self.description, self.keeper = contract, description, keeper
        self.observe, self.tell_unseen, self.may_explain = observe, unseen, may_explain
        self.paces = paces or {}
        shows_rows = "unit_of" in Hooks.changed(hooks, ("unit_of",))
        self.rows = Rows(
            spec, contract, spec.limits.max_rows, tables=Tables(spec, contract), explains=True, shows_rows=shows_rows
        )
        self._explained = Rows(spec, contract, spec.limits.explain_rows)
        self._watcher = Watcher(self._watch) if spec.route.shadows else None

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

    def rerouted(self, route: Route) -> DataPlane:
        """Give another that answers by another route, with the same models; this one finishes what it has begun."""
        made = copy(self)
        made.spec = replace(self.spec, route=route)
        made._watcher = Watcher(made._watch) if route.shadows else None  # noqa: SLF001 -- its own
        return made

    def finish(self) -> None:
        """Let the shadows finish what waits for them."""
        if self._watcher is not None:
            self._watcher.close()

    def close(self) -> None:
        """Let the shadows finish what waits for them, and end the explaining processes and the records, whatever one of them does."""
        with ExitStack() as last_first:
            if self.keeper is not None:
                last_first.callback(self.keeper.close)
            last_first.callback(self.finish)
            if self.explaining is not None:
                last_first.callback(self.explaining.close)

    # ── for who has read and routed a request itself ──

    def admit(self, request: Request, dialect: Dialect | None = None) -> Routed:
        """Read a request for predictions, by default in ekiben's own JSON, and choose who answers it.

        Raises
        ------
        Refusal, SchemaError
            If it cannot be answered as it is.
        """
        routed = self._routed(request, new_id(), dialect or self.rows)
        if routed.explains:
            self._check_beside(request, routed)
        self._count_unseen(routed)
        return routed

    def _check_beside(self, request: Request, routed: Routed) -> None:
        """Refuse explanations beside predictions that are not for this key, or not as quick as they are."""
        shown = request.headers.get("authorization")
        if not self.may_explain(None if shown is None else shown.encode("latin-1")):
            says = "The key must be for explanations. It is for something else."
            raise Refusal(HTTPStatus.FORBIDDEN, "forbidden", says)
        bounded(n_rows(routed.columns), self.spec.limits.explain_rows)
        self._refuse_wide(routed.choice.arm, PLAIN)
        if not self.explains_at_once(routed.choice.arm):
            says = "`explain` in /predict is for an arm that its plan explains at once. This one takes longer: ask POST /explain."
            raise Refusal(HTTPStatus.BAD_REQUEST, "not_at_once", says)

    def answered(self, routed: Routed, predictions: list[dict[str, Any]], dialect: Dialect | None = None) -> Answer:
        """Answer a request that was admitted with what was computed for it, and keep the decision.

        Raises
        ------
        Refusal
            If a number is not finite, or the decision cannot be recorded.
        """
        recorded = predictions
        if routed.explains:
            arm = routed.choice.arm
            explained = self.beside(arm, rows_of(routed.columns, self.packages[arm]))
            routed = replace(routed, beside={"explanations": explained.explanations, **explained.told()})
            recorded = [each | why for each, why in zip(predictions, self.why(explained), strict=False)] or predictions
        try:
            body, told = (dialect or self.rows).write(routed, predictions)
        except SchemaError:
            raise _not_finite() from None
        if self.keeper is not None:
            self._keep(self.keeper, routed, "predict", self.encoded(recorded))
        n = n_rows(routed.columns)
        return Answer(status=HTTPStatus.OK, body=body, headers={**told, **routed.headers}, choice=routed.choice, rows=n)

    def admit_to_explain(self, request: Request) -> Routed:
        """Read a request for explanations, and choose whose answers are explained.

        Raises
        ------
        Refusal, SchemaError
            If it cannot be explained as it is.
        """
        return self._routed(request, new_id(), self._explained)

    def explained(self, routed: Routed, found: Found) -> Answer:
        """Answer with what explains, and keep how it was made.

        Raises
        ------
        Refusal, RecordsError
            If a number in it is not finite, or it cannot be recorded.
        """
        found = self._shown(routed.choice.arm, found)
        said = {"id": routed.id, "arm": routed.choice.arm, "model": routed.model}
        body = self.encoded_of(found.explanations, {**said, "explanations": found.explanations, **found.told()})
        self.keep_explained(routed, found)
        headers, n = {"content-type": JSON, **routed.headers}, n_rows(routed.columns)
        return Answer(status=HTTPStatus.OK, body=body, headers=headers, choice=routed.choice, rows=n)

    def check_answered(self, arm: str, columns: Mapping[str, list[Any]]) -> None:
        """See that a model has an answer for columns as it takes them, which no hook changes any more.

        Raises
        ------
        Refusal
            If it has none, or a number in it is not finite.
        """
        package = self.packages[arm]
        with contained(), self._answering(package):
            found = package.predictions(columns)
        self.encoded(found)

    def keep_explained(self, routed: Routed, found: Found) -> None:
        """Record an explanation before it leaves: what it takes to make it again, and not the explanation itself."""
        if self.keeper is None or self.explaining is None:
            return
        self._keep(self.keeper, routed, "explain", self.encoded(self.explaining.audit(found)))

    def _keep(self, keeper: Keeper, routed: Routed, endpoint: str, outputs: bytes) -> None:
        choice, rows = routed.choice, list(zip(*routed.columns.values(), strict=True))
        unit = None if choice.unit == routed.id else choice.unit
        us = (time.perf_counter() - routed.began) * 1e6
        keeper.keep((routed.id, time.time_ns(), endpoint, choice.arm, unit, choice.propensity, us, rows, outputs))

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

    def encoded_of(self, explanations: Sequence[Mapping[str, Any]], document: Any) -> bytes:
        """Write a document that holds explanations as JSON.

        Raises
        ------
        Refusal
            If a number in it is not finite.
        """
        encoded = _encode(document)
        n_gaps = sum([list(each.values()).count(None) for each in explanations])
        return encoded if encoded.count(b"null") == n_gaps else self.encoded(document)  # what is not finite is null

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
            self._error(f"{endpoint} was refused: {failure}")
            says = "A decision must be recorded before its answer leaves. It cannot be now. Come back in a second."
            return refuse(HTTPStatus.SERVICE_UNAVAILABLE, "not_recorded", says, headers={"retry-after": "1"})
        self._error(f"{endpoint} failed: {failure if isinstance(failure, HookError | Escaped) else place_of(failure)}")
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
            answer = self._predicted(request, routed) if is_predict else self._explanation(routed)
        except Exception as failure:  # noqa: BLE001 -- whatever fails is told without what was sent
            answer = self.refused(endpoint, failure)
        headers = {protocol.ID: request_id, **(routed.headers if routed else {}), **answer.headers}
        n = n_rows(routed.columns) if routed else 0
        return replace(answer, headers=headers, choice=routed.choice if routed else None, rows=n)

    def _routed(self, request: Request, request_id: str, dialect: Dialect) -> Routed:
        """Read the rows, and choose who answers them."""
        read = dialect.read(request)
        with contained():
            own = self.hooks.unit_of(request, read.body)
        unit, cookie = (own, {}) if own is not None else units.asking(self.spec.unit, request, read)
        choice = routing.choose(self.spec.route, unit or request_id)
        model = str(self.spec.arms[choice.arm])
        return Routed(
            id=request_id,
            columns=read.columns,
            choice=choice,
            model=model,
            headers={protocol.ARM: choice.arm, protocol.MODEL: model, **cookie},
            wants=read.wants,
            explains=read.explains,
        )

    def _predicted(self, request: Request, routed: Routed) -> Answer:
        if routed.explains:
            self._check_beside(request, routed)
        self._count_unseen(routed)
        found = self.predictions(routed.choice.arm, routed.columns)
        answer = self.answered(routed, found)
        self.watch(routed.columns)
        return answer

    def _explanation(self, routed: Routed) -> Answer:
        """Explain, and wait as long as a request may take."""
        begun = self.begin(routed, PLAIN, self.spec.timeout_s)
        if isinstance(begun, Found):
            return self.explained(routed, begun)
        try:
            done = begun.job.future.result(self.spec.timeout_s)
        except Broken as reason:
            raise refusals.broken(reason) from None
        except (TimeoutError, CancelledError):
            begun.job.cancel()
            raise refusals.late(self.spec.timeout_s) from None
        return self.explained(routed, begun.of.found(begun, done))

    def _count_unseen(self, routed: Routed) -> None:
        """Count the texts that the arm takes and has never seen: the first sign that the world has moved."""
        for name, seen in self.known_texts[routed.choice.arm].items():
            n = sum(value is not None and value not in seen for value in routed.columns[name])
            if n:
                self.tell_unseen(routed.choice.arm, name, n)

    def _watch(self, columns: dict[str, list[Any]]) -> None:
        """Let every shadow answer; what it says or raises reaches nobody but the counters."""
        for arm in self.spec.route.shadows:
            began = time.perf_counter()
            package = self.packages[arm]
            try:
                with contained():
                    self._predictions(package, self._asked(columns, package))
                code = "ok"
            except Exception as reason:  # noqa: BLE001 -- a shadow may fail in any way
                self._warning(
                    f"the shadow {arm} failed: {reason if isinstance(reason, Escaped) else type(reason).__name__}"
                )
                code = "internal"
            self.observe("shadow", arm, code, [time.perf_counter() - began])


def _not_finite() -> Refusal:
    message = "The model must answer with finite numbers. It did not for these rows."
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "unanswerable", message)
