"""The ASGI front of a service: it reads requests as bytes before BentoML does, and shows the pages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from time import perf_counter
from typing import Any, ClassVar

from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ekiben import codecs, protocol, shortcut, tracing
from ekiben.dataplane import JSON, Answer, DataPlane, refuse
from ekiben.endpoints import Endpoint
from ekiben.observing import AccessLog, Line, new_id
from ekiben.tracing import Spans

logger = logging.getLogger("ekiben")
BENTOMLS_OWN = ("/livez", "/readyz", "/healthz", "/metrics", "/schema.json")


class Front:
    """Read requests as bytes before BentoML does, and answer every path in one shape: `ekiben.serving.front(Service)`.

    Without it BentoML's typed endpoints still answer, with its own words for what it refuses.
    """

    live: ClassVar[DataPlane | None] = None  # the one of this process, once its models are loaded

    is_mounted: ClassVar[bool] = False
    stands_first: ClassVar[bool] = False  # before BentoML's own stack, and not among its middlewares

    # What makes spans, where somebody configured it elsewhere than as OpenTelemetry's global provider.
    tracers: ClassVar[Any] = None

    def __init__(self, app: ASGIApp) -> None:
        Front.is_mounted = True
        self.app = app
        self._opened: _Opened | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand what is BentoML's on to it."""
        if scope["type"] != "http":
            await self.app(scope, receive, self._closing(send) if scope["type"] == "lifespan" else send)
        elif scope["method"] == "POST" and (endpoint := self._endpoints().get(scope["path"])) is not None:
            await endpoint(scope, receive, send)
        elif _is_bentomls(scope):
            if scope["path"] == "/metrics" and self._opened is not None:
                self._opened.log.settle()  # the counters that are shown count all that was answered
            await self.app(scope, receive, send)
        else:
            await self._show(scope, receive, send)

    def _endpoints(self) -> Mapping[str, Endpoint]:
        """Give the endpoints of the data plane that lives by their paths; none while the models are being loaded."""
        live, opened = Front.live, self._opened
        if live is None:
            return {}
        if opened is None or opened.plane is not live:
            opened = self._opened = _Opened(live)
        return opened.endpoints

    async def _show(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Show a page, or refuse."""
        began, path = perf_counter(), scope["path"]
        try:
            found = _page(Front.live, path, scope["method"])
        except Exception as failure:  # noqa: BLE001 -- a page that fails is told in the one shape
            logger.error("%s failed: %s", scope["method"], type(failure).__name__)
            says = "The service failed. Its log says why."
            found = refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", says)
        response, code = (_as_response(found), found.code) if isinstance(found, Answer) else (found, "ok")
        response.headers[protocol.ID] = new_id()
        await response(scope, receive, send)
        if self._endpoints() and (opened := self._opened) is not None:
            ms = round((perf_counter() - began) * 1000, 3)
            told, name = response.headers[protocol.ID], NAMES.get(path, "")
            opened.log.tell(Line(datetime.now(UTC), told, name, "", "", response.status_code, code, ms, 0, ""))

    def _closing(self, send: Send) -> Send:
        """Write what is still to be told, once the service has ended."""

        async def closing(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown") and self._opened is not None:
                self._opened.close()
                self._opened = None
            await send(message)

        return closing


class _Opened:
    """The endpoints of one data plane, and the log that they share."""

    def __init__(self, plane: DataPlane) -> None:
        self.plane = plane
        self.log = AccessLog(plane.spec.log.access, count=self._count)
        spans = tracing.found(Front.tracers)
        self.endpoints = {path: make(plane, self.log, spans) for path, make in ASKED_BY_POST.items()}

    def _count(self, name: str, arm: str, code: str, seconds: Sequence[float]) -> None:
        """Count what was asked of an endpoint, or refused there; pages are none."""
        if f"/{name}" in self.endpoints:
            self.plane.observe(name, arm, code, seconds)

    def close(self) -> None:
        for endpoint in self.endpoints.values():
            endpoint.close()
        self.log.close()


def _predict(plane: DataPlane, log: AccessLog, spans: Spans | None) -> Endpoint:
    lane = shortcut.lane(plane, part="predictions", max_rows=plane.spec.limits.max_rows)
    return Endpoint(plane, "predict", partial(plane.respond, "predict"), lane, log, spans)


def _explain(plane: DataPlane, log: AccessLog, spans: Spans | None) -> Endpoint:
    lane = shortcut.lane(plane, part="explanations", max_rows=plane.spec.limits.explain_rows)
    return Endpoint(plane, "explain", partial(plane.respond, "explain"), lane, log, spans)


# What is asked by POST, by path: another protocol is another line.
ASKED_BY_POST: dict[str, Callable[[DataPlane, AccessLog, Spans | None], Endpoint]] = {
    "/predict": _predict,
    "/explain": _explain,
}


def _is_bentomls(scope: Scope) -> bool:
    """Tell BentoML's own paths, which are asked by GET."""
    own = scope["path"] in BENTOMLS_OWN or scope["path"].startswith("/static_content/")
    return own and scope["method"] in ("GET", "HEAD")


def _page(live: DataPlane | None, path: str, method: str) -> Response | Answer:
    if refused := _misplaced(path, method):
        return refused
    if live is None:
        says = "The models are being loaded. Come back in a second."
        return refuse(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", says, headers={"retry-after": "1"})
    return PAGES[path](live)


def _misplaced(path: str, method: str) -> Answer | None:
    """Refuse a path that is not there, or a method that it does not take."""
    by_post, by_get = path in ASKED_BY_POST, path in PAGES or path in BENTOMLS_OWN
    if not by_post and not by_get:
        return refuse(HTTPStatus.NOT_FOUND, "not_found", "No such path. GET /docs.json lists them all.")
    allowed = "POST" if by_post else "GET"
    if method == allowed or (by_get and method == "HEAD"):
        return None
    says = f"This path must be asked by {allowed}. Got another method."
    return refuse(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", says, headers={"allow": allowed})


def _as_response(answer: Answer) -> Response:
    return Response(answer.body, status_code=answer.status, headers=dict(answer.headers))


def _json_page(document: dict[str, Any]) -> Response:
    return Response(codecs.encode(document), media_type=JSON)


def _described(live: DataPlane) -> Response:
    described = protocol.openapi(live.spec, live.contract, version=version("ekiben"), description=live.description)
    return _json_page(described)


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
}
# What the log calls a path: a sender's own text has no place in it.
NAMES = {"/": "page", **{path: path.strip("/") for path in (*ASKED_BY_POST, *BENTOMLS_OWN, *PAGES) if path != "/"}}
