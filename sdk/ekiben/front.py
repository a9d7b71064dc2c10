"""The ASGI front of a service: it reads requests as bytes before BentoML does, and shows the pages."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, ClassVar

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ekiben import codecs, protocol
from ekiben.dataplane import JSON, Answer, DataPlane, Request, refuse

logger = logging.getLogger("ekiben")
ASKED_BY_POST = ("/predict", "/explain")
ASKED_BY_GET = ("/schema", "/card", "/routing", "/docs.json", "/")
BENTOMLS_OWN = ("/livez", "/readyz", "/healthz", "/metrics", "/schema.json")


class Front:
    """Read requests as bytes before BentoML does, and answer every path in one shape: `Service.add_asgi_middleware(Front)`.

    Without it BentoML's typed endpoints still answer, with its own words for what it refuses.
    """

    live: ClassVar[DataPlane | None] = None  # the one of this process, once its models are loaded

    is_mounted: ClassVar[bool] = False

    def __init__(self, app: ASGIApp) -> None:
        Front.is_mounted = True
        self.app = app
        self._limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand what is BentoML's on to it."""
        if scope["type"] != "http" or _is_bentomls(scope):
            await self.app(scope, receive, send)
            return
        try:
            response = await self._response(HttpRequest(scope, receive))
        except Exception as failure:  # noqa: BLE001 -- a page that fails is told in the one shape
            logger.error("%s failed: %s", scope["method"], type(failure).__name__)
            says = "The service failed. Its log says why."
            response = _as_response(refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", says))
        await response(scope, receive, send)

    async def _response(self, http: HttpRequest) -> Response:
        path, live = http.scope["path"], Front.live
        if refused := _misplaced(path, http.method):
            return _as_response(refused)
        if live is None:
            says = "The models are being loaded. Come back in a second."
            return _as_response(refuse(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", says, headers={"retry-after": "1"}))
        if path in ASKED_BY_GET:
            return PAGES[path](live)
        return _as_response(await self._asked(live, path, http))

    async def _asked(self, live: DataPlane, path: str, http: HttpRequest) -> Answer:
        """Answer in a thread, so that a slow model does not hold the others up."""
        request: Request | Answer = refuse(
            HTTPStatus.REQUEST_TIMEOUT, "slow_body", f"A body must arrive within {live.spec.timeout_s:g} s. It did not."
        )
        with anyio.move_on_after(live.spec.timeout_s):
            request = await _read(http, live.spec.limits.max_body_mb)
        if isinstance(request, Answer):
            return request
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(live.spec.threads)
        act = live.predict if path == "/predict" else live.explain
        with anyio.move_on_after(live.spec.timeout_s):
            return await anyio.to_thread.run_sync(act, request, limiter=self._limiter, abandon_on_cancel=True)
        says = f"An answer must be there within {live.spec.timeout_s:g} s. It was not. Send fewer rows."
        return refuse(HTTPStatus.GATEWAY_TIMEOUT, "timeout", says)


def _is_bentomls(scope: Scope) -> bool:
    """Tell BentoML's own paths, which are asked by GET."""
    own = scope["path"] in BENTOMLS_OWN or scope["path"].startswith("/static_content/")
    return own and scope["method"] in ("GET", "HEAD")


def _misplaced(path: str, method: str) -> Answer | None:
    """Refuse a path that is not there, or a method that it does not take."""
    by_post, by_get = path in ASKED_BY_POST, path in (*ASKED_BY_GET, *BENTOMLS_OWN)
    if not by_post and not by_get:
        return refuse(HTTPStatus.NOT_FOUND, "not_found", "No such path. GET /docs.json lists them all.")
    allowed = "POST" if by_post else "GET"
    if method == allowed or (by_get and method == "HEAD"):
        return None
    says = f"This path must be asked by {allowed}. Got another method."
    return refuse(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", says, headers={"allow": allowed})


async def _read(http: HttpRequest, max_mb: float) -> Request | Answer:
    """Read the body up to the limit; give the refusal itself when it is larger."""
    parts, size = [], 0
    try:
        async for part in http.stream():
            size += len(part)
            parts.append(part if size <= max_mb * 1_000_000 else b"")  # read on, so that the refusal arrives
            if size > 4 * max_mb * 1_000_000:
                break
    except ClientDisconnect:
        return refuse(HTTPStatus.BAD_REQUEST, "disconnected", "The body must arrive whole. It did not.")
    if size > max_mb * 1_000_000:
        says = f"A body may hold {max_mb:g} MB here. Got more. Split it."
        return refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", says)
    headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in http.scope["headers"]}
    return Request(body=b"".join(parts), headers=headers, cookies=http.cookies)


def _as_response(answer: Answer) -> Response:
    headers = {protocol.ID: uuid.uuid4().hex, **answer.headers}
    return Response(answer.body, status_code=answer.status, headers=headers)


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
