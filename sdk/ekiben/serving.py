"""From a spec to a BentoML service: `service.py` needs nothing else."""

# No `from __future__ import annotations` here: BentoML reads the annotations of the endpoints at run time.

import inspect
import os
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import anyio
import anyio.to_thread
import bentoml
import pandas as pd
from bentoml.exceptions import BentoMLException
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ekiben import codecs, contract, protocol, spec, storing
from ekiben.contract import Contract
from ekiben.dataplane import Answer, DataPlane, Request, refuse
from ekiben.errors import EkibenError
from ekiben.schema import Column
from ekiben.spec import ServiceSpec

__all__ = ["Front", "ModelService", "Request", "Served", "config", "read_spec"]

# A request of few rows gains nothing from more threads inside a model: the workers are what runs side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")

LATENCY_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REQUIREMENTS = "requirements.txt"


class ServiceError(EkibenError, BentoMLException):
    """A service that cannot start, as one line that BentoML's commands show."""


class Served:
    """A spec with the folder that it was read from, and the contract beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spec: ServiceSpec = spec.read(folder)
        self.contract: Contract = contract.read(folder)
        self.name = self.spec.name


def read_spec(service_file: str) -> Served:
    """Read `ekiben.toml` and `contract.json` beside a `service.py`, and see that the models are here.

    Parameters
    ----------
    service_file
        The service's `__file__`.

    Raises
    ------
    ServiceError
        If the spec is broken, disagrees with the contract, or a model is not in BentoML's store.
    """
    folder = Path(service_file).resolve().parent
    try:
        served = Served(folder)
    except EkibenError as reason:
        raise ServiceError(str(reason)) from None
    for arm, ref in served.spec.arms.items():
        _check_pin(served, arm, str(ref))
    return served


def _check_pin(served: Served, arm: str, ref: str) -> None:
    pin = served.contract.pins.get(arm)
    where = served.folder.name
    if pin is None or pin.ref != ref:
        promised = "no such arm" if pin is None else pin.ref
        raise ServiceError(
            f"ekiben.toml and contract.json must agree. The arm {arm!r} is {ref} in one and {promised} in the other. Run: ekiben pin {where}"
        )
    if not storing.holds(pin.tag):
        remake = served.spec.remake or f"ekiben pin {where}"
        raise ServiceError(
            f"The models of a service must be in BentoML's store. {pin.tag} of the arm {arm!r} ({ref}) is not. Run: {remake}"
        )


def config(served: Served) -> dict[str, Any]:
    """Give `@bentoml.service` what the spec says: workers, threads, the timeout, and the image's packages."""
    settings = served.spec
    made: dict[str, Any] = {
        "workers": settings.workers,
        "threads": settings.threads,
        "traffic": {"timeout": settings.timeout_s + 5},  # ours is first, and says more
        "metrics": {"enabled": True},
        "logging": {"access": {"request_content_type": False}},  # a sender's own text has no place in a log
    }
    requirements = served.folder / REQUIREMENTS
    if requirements.is_file() and "BENTOML_CONTAINERIZED" not in os.environ:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        image = bentoml.images.Image(python_version=python, lock_python_packages=False)
        lines = [line for line in requirements.read_text().splitlines() if line and not line.startswith("#")]
        made["image"] = image.python_packages(*lines).build_include("wheels")
    return made


class ModelService:
    """The base of a service: `class CreditRisk(ModelService, spec=SPEC)` under `@bentoml.service`.

    Override `preprocess`, `postprocess` or `unit_of`; the rest is in the spec.
    """

    served: ClassVar[Served]
    plane: DataPlane
    live: ClassVar["ModelService | None"] = None  # the one of this process, once its models are loaded

    def __init_subclass__(cls, spec: Served, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        cls.served = spec
        for arm in spec.spec.arms:
            setattr(cls, f"model_{arm}", bentoml.models.BentoModel(spec.contract.pins[arm].tag))
        for endpoint in (_predict(spec), _explain(spec)):
            endpoint.func.__module__ = cls.__module__
            setattr(cls, endpoint.name, endpoint)

    def __init__(self) -> None:
        packages = {arm: storing.get(pin.tag) for arm, pin in self.served.contract.pins.items()}
        for package in packages.values():
            _ = package.explainer  # loaded now, so that no request waits for it
        self.plane = DataPlane(self.served.spec, self.served.contract, packages, self, _meter().observe)
        ModelService.live = self

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def finish_shadows(self) -> None:
        """Let the shadows finish before the process ends."""
        self.plane.close()

    def __is_ready__(self) -> bool:
        return ModelService.live is not None

    def preprocess(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Change the rows before the model sees them; they fit the contract, and must still."""
        return frame

    def postprocess(self, predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Change the predictions before they leave."""
        return predictions

    def unit_of(self, request: Request, body: Mapping[str, Any]) -> str | None:  # noqa: ARG002 -- for who overrides it
        """Tell who sticks to an arm; None leaves it to the spec's `unit`."""
        return None

    def changed(self) -> list[str]:
        """Name the hooks that this service has of its own and that change what the models answer."""
        hooks = ("preprocess", "postprocess")
        return [name for name in hooks if getattr(type(self), name) is not getattr(ModelService, name)]


# ── the typed endpoints ─────────────────────────────────────────────────────────────────────────────────────────

PYTHON_TYPES = {"number": float, "integer": int, "boolean": bool, "text": str}


def _row_model(served: Served) -> Any:
    """Make a pydantic model of one row, its real column names as aliases of safe ones."""
    fields: dict[str, Any] = {
        f"column_{i}": (_annotation(column), Field(default=..., alias=column.name, description=column.describe()))
        for i, column in enumerate(served.contract.signature.inputs.columns)
    }
    settings = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=(), json_schema_extra=_nullable)
    return create_model(f"{_camel(served.name)}Row", __config__=settings, **fields)


def _annotation(column: Column) -> Any:
    kind = PYTHON_TYPES[column.kind]
    return kind | None if column.nullable else kind


def _nullable(document: dict[str, Any]) -> None:
    """Say `nullable` where OpenAPI 3.0 knows no null type."""
    for name, entry in document.get("properties", {}).items():
        if "anyOf" in entry:
            kinds = [kind for kind in entry.pop("anyOf") if kind != {"type": "null"}]
            document["properties"][name] = {**entry, **kinds[0], "nullable": True}


def _camel(name: str) -> str:
    return "".join(part.title() for part in name.split("_"))


def _input_model(served: Served, name: str, max_rows: int) -> Any:
    rows: Any = list[_row_model(served)]  # type: ignore[misc]
    described = Field(min_length=1, max_length=max_rows, description="Rows to answer.")
    fields: dict[str, Any] = {"rows": (rows, described)}
    unit = served.spec.unit
    if unit is not None and unit.source == "field" and unit.name.isidentifier():
        fields[unit.name] = (str | int | None, Field(default=None, description="Keeps this unit on the same arm."))
    return create_model(f"{_camel(served.name)}{name}", __base__=bentoml.IODescriptor, **fields)


def _output_model(served: Served, name: str, field: str) -> Any:
    fields: dict[str, Any] = dict.fromkeys(("id", "arm", "model"), (str, ...))
    fields[field] = (list[dict[str, Any]], ...)
    return create_model(f"{_camel(served.name)}{name}", __base__=bentoml.IODescriptor, **fields)


def _predict(served: Served) -> Any:
    takes = _input_model(served, "PredictRequest", served.spec.limits.max_rows)
    gives = _output_model(served, "PredictResponse", "predictions")

    def predict(self: ModelService, rows: Any, **unit: Any) -> Any:
        """Answer each row."""
        return _through(self.plane.predict, rows, unit)

    return bentoml.api(predict, input_spec=takes, output_spec=gives)


def _explain(served: Served) -> Any:
    takes = _input_model(served, "ExplainRequest", served.spec.limits.explain_rows)
    gives = _output_model(served, "ExplainResponse", "explanations")

    def explain(self: ModelService, rows: Any, **unit: Any) -> Any:
        """Explain the answer for each row on its own columns."""
        return _through(self.plane.explain, rows, unit)

    return bentoml.api(explain, input_spec=takes, output_spec=gives)


def _through(act: Callable[[Request], Answer], rows: Sequence[Any], unit: Mapping[str, Any]) -> Any:
    """Take the rows of a typed call through the data plane."""
    plain = [row.model_dump(by_alias=True) if isinstance(row, BaseModel) else row for row in rows]
    body = {"rows": plain, **{key: value for key, value in unit.items() if value is not None}}
    answer = act(Request(body=codecs.encode(body)))
    document = codecs.decode(answer.body)
    if answer.status != HTTPStatus.OK:
        raise BentoMLException(document["error"]["message"], error_code=HTTPStatus(answer.status))
    return document


# ── the front ───────────────────────────────────────────────────────────────────────────────────────────────────

ASKED_BY_POST = ("/predict", "/explain")
ASKED_BY_GET = ("/schema", "/card", "/routing", "/docs.json", "/")
BENTOMLS_OWN = ("/livez", "/readyz", "/healthz", "/metrics", "/schema.json")
JSON = "application/json"


class Front:
    """Read requests as bytes before BentoML does, and answer every path in one shape: `Service.add_asgi_middleware(Front)`.

    Without it BentoML's typed endpoints still answer, with its own words for what it refuses.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand what is BentoML's on to it."""
        if scope["type"] != "http" or _is_bentomls(scope):
            await self.app(scope, receive, send)
            return
        response = await self._response(HttpRequest(scope, receive))
        await response(scope, receive, send)

    async def _response(self, http: HttpRequest) -> Response:
        path, live = http.scope["path"], ModelService.live
        if refused := _misplaced(path, http.method):
            return _as_response(refused)
        if live is None:
            says = "The models are being loaded. Come back in a second."
            return _as_response(refuse(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", says, headers={"retry-after": "1"}))
        if path in ASKED_BY_GET:
            return PAGES[path](live)
        return _as_response(await self._asked(live, path, http))

    async def _asked(self, live: ModelService, path: str, http: HttpRequest) -> Answer:
        """Answer in a thread, so that a slow model does not hold the others up."""
        request = await _read(http, live.served.spec.limits.max_body_mb)
        if isinstance(request, Answer):
            return request
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(live.served.spec.threads)
        act = live.plane.predict if path == "/predict" else live.plane.explain
        with anyio.move_on_after(live.served.spec.timeout_s):
            return await anyio.to_thread.run_sync(act, request, limiter=self._limiter, abandon_on_cancel=True)
        says = f"An answer must be there within {live.served.spec.timeout_s:g} s. It was not. Send fewer rows."
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


def _described(live: ModelService) -> Response:
    says = inspect.getdoc(type(live)) or ""
    plane = live.plane
    return _json_page(protocol.openapi(plane.spec, plane.contract, version=version("ekiben"), description=says))


SWAGGER = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title>
<link rel="stylesheet" href="./static_content/swagger-ui.css">
<link rel="icon" href="./static_content/favicon-light-32x32.png"></head>
<body><div id="swagger-ui"></div>
<script src="./static_content/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({{url: "./docs.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null}})</script>
</body></html>
"""

PAGES: dict[str, Callable[[ModelService], Response]] = {
    "/": lambda live: HTMLResponse(SWAGGER.format(name=live.served.name)),
    "/docs.json": _described,
    "/schema": lambda live: _json_page(live.plane.schema()),
    "/card": lambda live: _json_page(live.plane.card()),
    "/routing": lambda live: _json_page(live.plane.routing()),
}


# ── counters ────────────────────────────────────────────────────────────────────────────────────────────────────


class _Meter:
    """Counters and latencies by arm in the same `/metrics` as BentoML's, summed over the workers."""

    def __init__(self) -> None:
        # Only now: BentoML sets where the workers share their counters after this module may have been imported.
        from prometheus_client import Counter, Histogram

        self._answers = Counter("ekiben_answers_total", "Answers and refusals", ["endpoint", "arm", "code"])
        self._seconds = Histogram(
            "ekiben_seconds", "Time in the data plane", ["endpoint", "arm"], buckets=LATENCY_BUCKETS_S
        )

    def observe(self, endpoint: str, arm: str, answer: Answer, seconds: float) -> None:
        self._answers.labels(endpoint, arm, answer.code).inc()
        self._seconds.labels(endpoint, arm).observe(seconds)


@cache
def _meter() -> _Meter:
    return _Meter()
