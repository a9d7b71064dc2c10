"""The ASGI front of a service: it reads requests as bytes before BentoML does, and shows the pages."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from importlib.metadata import version
from time import perf_counter
from typing import Any, ClassVar

from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ekiben import codecs, protocol, shortcut, ticketing, tracing
from ekiben.dataplane import DataPlane
from ekiben.dialects import JSON, Answer, Dialect, open_inference, refuse
from ekiben.dialects.invocations import Invocations
from ekiben.dialects.open_inference import OpenInference
from ekiben.draining import Drain
from ekiben.endpoints import Endpoint
from ekiben.explaining.tickets import owner_of
from ekiben.keys import Keys, token_of
from ekiben.observing import AccessLog, Line, new_id
from ekiben.pacing import Passes
from ekiben.shortcut import Headers, Lane
from ekiben.ticketing import Explained

logger = logging.getLogger("ekiben")
V2, SERVICE = "/v2", "{service}"  # the name stands in the paths of the Open Inference Protocol
# Where Vertex asks, when it runs this container: what predicts, and what tells whether it can.
VERTEX = tuple(os.environ[name] for name in ("AIP_PREDICT_ROUTE", "AIP_HEALTH_ROUTE") if name in os.environ)
VERTEX = VERTEX if len(VERTEX) == 2 else ()
# What the page at `/` is made of. Other paths there are nobody's: BentoML would keep counters by each that a caller makes up.
FILES = tuple(
    f"/static_content/{name}" for name in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-light-32x32.png")
)
BENTOMLS_OWN = ("/livez", "/readyz", "/healthz", "/metrics", "/schema.json", *FILES)


class Front:
    """Read requests as bytes before BentoML does, and answer every path in one shape: `ekiben.serving.front(Service)`.

    Without it BentoML's typed endpoints still answer, with its own words for what it refuses.
    """

    live: ClassVar[DataPlane | None] = None  # the one of this process, once its models are loaded

    is_mounted: ClassVar[bool] = False
    stands_first: ClassVar[bool] = False  # before BentoML's own stack, and not among its middlewares

    # What makes spans, where somebody configured it elsewhere than as OpenTelemetry's global provider.
    tracers: ClassVar[Any] = None

    keys: ClassVar[Keys | None] = None  # who may ask; None lets everybody

    drain: ClassVar[Drain] = Drain(0)  # whether this process is about to end

    def __init__(self, app: ASGIApp) -> None:
        Front.is_mounted = True
        self.app = app
        self._opened: _Opened | None = None
        self._former: list[_Opened] = []  # of another route, with requests that they may still answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand what is BentoML's on to it."""
        if scope["type"] != "http":
            await self.app(scope, receive, self._through_life(send) if scope["type"] == "lifespan" else send)
            return
        if Front.drain.has_begun:
            send = Front.drain.closing(send)
        if (barred := _barred(scope)) is not None:
            await self._show(scope, receive, send, barred)
        elif Front.drain.has_begun and self._asks_readiness(scope):
            await self._show(scope, receive, send, _leaving(scope["path"]))
        elif scope["path"].startswith(ticketing.PATH) and (live := Front.live) is not None:
            asked = live, scope["method"], scope["path"], dict(scope["headers"]), _owner
            await self._show(scope, receive, send, await asyncio.to_thread(ticketing.answered, *asked))
        elif scope["method"] == "POST" and (endpoint := self._endpoints().get(scope["path"])) is not None:
            await endpoint(scope, receive, send)
        elif _is_bentomls(scope):
            if scope["path"] == "/metrics" and self._opened is not None:
                for each in (*self._former, self._opened):
                    each.log.settle()  # the counters that are shown count all that was answered
            await self.app(scope, receive, send)
        else:
            await self._show(scope, receive, send)

    def endpoint_at_once(self, path: bytes) -> Endpoint | None:
        """Give the endpoint that may answer a whole request to a path at once; None for every other path."""
        if Front.drain.has_begun or not self._endpoints() or self._opened is None:
            return None
        return self._opened.at_once.get(path)

    def _endpoints(self) -> Mapping[str, Endpoint]:
        """Give the endpoints of the data plane that lives by their paths; none while the models are being loaded."""
        live, opened = Front.live, self._opened
        if live is None:
            return {}
        if opened is None or opened.plane is not live:
            if opened is not None:
                self._former.append(opened)
                asyncio.get_running_loop().call_later(opened.plane.spec.timeout_s + 1, self._close, opened)
            opened = self._opened = _Opened(live)
        return opened.endpoints

    def _close(self, former: _Opened) -> None:
        if former in self._former:
            self._former.remove(former)
            former.close()

    async def _show(self, scope: Scope, receive: Receive, send: Send, barred: Answer | None = None) -> None:
        """Show a page, or refuse."""
        began, path = perf_counter(), scope["path"]
        try:
            found = barred or self._page(path, scope["method"])
        except Exception as failure:  # noqa: BLE001 -- a page that fails is told in the one shape
            logger.error("%s failed: %s", scope["method"], type(failure).__name__)
            says = "The service failed. Its log says why."
            found = refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", says)
        response, code = (_as_response(found), found.code) if isinstance(found, Answer) else (found, "ok")
        response.headers.setdefault(protocol.ID, new_id())
        await response(scope, receive, send)
        if self._endpoints() and (opened := self._opened) is not None:
            ms = round((perf_counter() - began) * 1000, 3)
            told, name = response.headers[protocol.ID], opened.names.get(path, "")
            name = "ticket" if path.startswith(ticketing.PATH) else name
            opened.log.tell(Line(datetime.now(UTC), told, name, "", "", response.status_code, code, ms, 0, ""))

    def _page(self, path: str, method: str) -> Response | Answer:
        """Make a page, or refuse in the shape that those who ask for such a path read."""
        of_v2 = path.startswith(V2)
        endpoints, live = self._endpoints(), Front.live
        if live is None or self._opened is None:
            known = of_v2 or path.startswith(ticketing.PATH) or path in (*ASKED_BY_POST, *PAGES, *BENTOMLS_OWN, *VERTEX)
            says = "The models are being loaded. Come back in a second."
            loading = refuse(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", says, headers={"retry-after": "1"})
            refused = (known and _misplaced(path, method, ASKED_BY_POST, () if of_v2 else PAGES)) or loading
            found: Response | Answer = refused if known else _nowhere()
        else:
            pages = self._opened.pages
            found = _misplaced(path, method, endpoints, pages, model=live.spec.name) or pages[path](live)
        return open_inference.as_error(found) if of_v2 and isinstance(found, Answer) else found

    def _asks_readiness(self, scope: Scope) -> bool:
        ready = READY if self._opened is None else self._opened.ready
        return scope["path"] in ready and scope["method"] in ("GET", "HEAD")

    def _through_life(self, send: Send) -> Send:
        """Hear of the end early, once the service lives, and write what is still to be told once it has ended."""

        async def told(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                Front.drain.stand_before(asyncio.get_running_loop())
            if message["type"].startswith("lifespan.shutdown") and self._opened is not None:
                for each in [*self._former, self._opened]:
                    each.close()
                self._former, self._opened = [], None
            await send(message)

        return told


class _Opened:
    """The endpoints and pages of one data plane, and what they share: the log, what asks models together, and the time."""

    def __init__(self, plane: DataPlane) -> None:
        self.plane, self.spans = plane, tracing.found(Front.tracers)
        self.log, self.batchers = AccessLog(plane.spec.log.access, count=self._count), shortcut.batchers(plane)
        self.share, self.passes = ticketing.shared(plane), Passes()
        self.endpoints = {self._path(path): make(self) for path, make in ASKED_BY_POST.items()}
        self.pages = {self._path(path): make for path, make in PAGES.items()}
        if VERTEX:
            predict, health = VERTEX
            self.endpoints.setdefault(predict, self.endpoints["/invocations"])
            self.pages.setdefault(health, PAGES["/ping"])
        self.at_once = {path.encode(): each for path, each in self.endpoints.items() if each.most_at_once}
        self.ready = {self._path(path) for path in READY}
        self._counted = {endpoint.name for endpoint in self.endpoints.values()}
        # What the log calls a path: a sender's own text has no place in it.
        self.names = {path: path.strip("/") for path in (*BENTOMLS_OWN, *self.pages)} | {"/": "page"}
        self.names |= {path: endpoint.name for path, endpoint in self.endpoints.items()}

    def _path(self, path: str) -> str:
        return path.replace(SERVICE, self.plane.spec.name)

    def _count(self, name: str, arm: str, code: str, seconds: Sequence[float]) -> None:
        """Count what was asked of an endpoint, or refused there; pages are none."""
        if name in self._counted:
            self.plane.observe(name, arm, code, seconds)

    def close(self) -> None:
        for each in self.batchers.values():
            each.close()
        self.log.close()


def _predict(opened: _Opened) -> Endpoint:
    plane = opened.plane
    lane = shortcut.lane(plane, part="predictions", max_rows=plane.spec.limits.max_rows)
    return _asked(opened, "predict", plane.rows, lane)


def _explain(opened: _Opened) -> Endpoint:
    plane = opened.plane
    lane = shortcut.lane(plane, part="explanations", max_rows=plane.spec.limits.explain_rows)
    return Explained(plane, "explain", opened.log, opened.spans, lane=lane, share=opened.share, owner=_owner)


def _infer(opened: _Opened) -> Endpoint:
    return _asked(opened, "infer", OpenInference(opened.plane.spec, opened.plane.contract))


def _invocations(opened: _Opened) -> Endpoint:
    return _asked(opened, "invocations", Invocations(opened.plane.spec, opened.plane.contract))


def _asked(opened: _Opened, name: str, dialect: Dialect, lane: Lane | None = None) -> Endpoint:
    plane, log, spans = opened.plane, opened.log, opened.spans
    shared: dict[str, Any] = {"batchers": opened.batchers, "share": opened.share, "passes": opened.passes}
    return Endpoint(plane, name, log, spans, dialect=dialect, lane=lane, **shared)


# What is asked by POST, by path: another protocol is another line.
ASKED_BY_POST: dict[str, Callable[[_Opened], Endpoint]] = {
    "/predict": _predict,
    "/explain": _explain,
    f"{V2}/models/{SERVICE}/infer": _infer,
    "/invocations": _invocations,
    "/score": _invocations,  # where Azure ML asks
}


# What balancers and platforms ask to know whether a process takes requests; each model of Open Inference has its own.
READY = ("/readyz", "/ping", "/health", f"{V2}/health/ready", f"{V2}/models/{SERVICE}/ready", *VERTEX[1:])

# What they ask without a key.
PROBES = {"/livez", "/readyz", "/healthz", "/health", "/ping", f"{V2}/health/live", f"{V2}/health/ready", *VERTEX[1:]}


def _owner(headers: Mapping[bytes, bytes]) -> str:
    """Tell whose a ticket is: the key's that was shown, where keys are asked for."""
    return owner_of(None if Front.keys is None else token_of(headers.get(b"authorization")))


NARROW = 'Bearer error="insufficient_scope"'


def why_not(name: str, named: Headers) -> str | None:
    """Tell why a request may not have what is called so; None where it may, or where there are no keys."""
    if Front.keys is None:
        return None
    shown = [value for header, value in named if header == b"authorization"]  # of two, nobody knows which is meant
    return Front.keys.judge(shown[0] if len(shown) == 1 else None, "explain" if name == "explain" else "read")


def _barred(scope: Scope) -> Answer | None:
    """Refuse who shows no key for what is asked."""
    path = scope["path"]
    if path in PROBES and scope["method"] in ("GET", "HEAD"):
        return None
    why = why_not("explain" if path.startswith(ticketing.PATH) else path[1:], scope["headers"])
    if why is None:
        return None
    if why == "forbidden":
        says, told = "The key must be for this. It is for something else.", {"www-authenticate": NARROW}
        refused = refuse(HTTPStatus.FORBIDDEN, "forbidden", says, headers=told)
    else:
        says = "A key must come as `Authorization: Bearer <token>`. Got none that is known."
        refused = refuse(HTTPStatus.UNAUTHORIZED, "unauthorized", says, headers={"www-authenticate": "Bearer"})
    return open_inference.as_error(refused) if path.startswith(V2) else refused


def _leaving(path: str) -> Answer:
    """Tell a balancer to ask another process."""
    says = "The service is about to end. Ask another."
    refused = refuse(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", says, headers={"retry-after": "1"})
    return open_inference.as_error(refused) if path.startswith(V2) else refused


def _is_bentomls(scope: Scope) -> bool:
    """Tell BentoML's own paths, which are asked by GET."""
    return scope["path"] in BENTOMLS_OWN and scope["method"] in ("GET", "HEAD")


def _misplaced(
    path: str, method: str, by_post: Container[str], pages: Container[str], *, model: str = ""
) -> Answer | None:
    """Refuse a path that is not there, or a method that it does not take."""
    is_asked, is_shown = path in by_post, path in pages or path in BENTOMLS_OWN
    if not is_asked and not is_shown:
        return _nowhere(model if path.startswith(f"{V2}/models/") else "")
    allowed = "POST" if is_asked else "GET"
    if method == allowed or (is_shown and method == "HEAD"):
        return None
    says = f"This path must be asked by {allowed}. Got another method."
    return refuse(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", says, headers={"allow": allowed})


def _nowhere(model: str = "") -> Answer:
    """Say that a path is not there; a client of Open Inference, which makes paths of names, what the name must be."""
    here = f"The model must be {model!r}, without a version: the route says who answers. " if model else ""
    return refuse(HTTPStatus.NOT_FOUND, "not_found", f"{here}No such path. GET /docs.json lists them all.")


def _as_response(answer: Answer) -> Response:
    return Response(answer.body, status_code=answer.status, headers=dict(answer.headers))


def _json_page(document: dict[str, Any]) -> Response:
    return Response(codecs.encode(document), media_type=JSON)


def _described(live: DataPlane) -> Response:
    from ekiben import openapi  # no start waits for it

    offered = {package.method for package in live.packages.values()} | {*live.spec.explain.methods}
    told = {"version": version("ekiben"), "description": live.description}
    return _json_page(openapi.document(live.spec, live.contract, offered, **told))


SWAGGER = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title>
<link rel="stylesheet" href="./static_content/swagger-ui.css">
<link rel="icon" href="./static_content/favicon-light-32x32.png"></head>
<body><div id="swagger-ui"></div>
<script src="./static_content/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({{url: "./docs.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null}})</script>
</body></html>
"""

PAGES: dict[str, Callable[[DataPlane], Response]] = {
    "/": lambda live: HTMLResponse(SWAGGER.format(name=live.spec.name)),
    "/docs.json": _described,
    "/schema": lambda live: _json_page(live.schema()),
    "/card": lambda live: _json_page(live.card()),
    "/routing": lambda live: _json_page(live.routing()),
    "/ping": lambda _live: Response(b"\n", media_type=JSON),
    "/health": lambda _live: Response(b"\n", media_type=JSON),
    "/version": lambda _live: Response(version("ekiben"), media_type="text/plain"),
    V2: lambda _live: _json_page(
        {"name": "ekiben", "version": version("ekiben"), "extensions": ["binary_tensor_data"]}
    ),
    f"{V2}/health/live": lambda _live: _json_page({"live": True}),
    f"{V2}/health/ready": lambda _live: _json_page({"ready": True}),
    f"{V2}/models/{SERVICE}": lambda live: _json_page(OpenInference(live.spec, live.contract).metadata()),
    f"{V2}/models/{SERVICE}/ready": lambda live: _json_page({"name": live.spec.name, "ready": True}),
}
