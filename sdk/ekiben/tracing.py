"""A span for each request, where somebody configured OpenTelemetry; nothing is imported or paid where nobody did."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

SERVER_ERROR = 500


class Spans:
    """Start and end a span of kind SERVER for each request, below the caller's own.

    Parameters
    ----------
    provider
        What makes tracers: OpenTelemetry's SDK, configured with an exporter.
    """

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = provider.get_tracer("ekiben")
        self._kind, self._failed = trace.SpanKind.SERVER, trace.StatusCode.ERROR
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, path: str, headers: Mapping[bytes, bytes]) -> Span:
        """Start the span of a request to a path of ours."""
        carried = {name: headers.get(name.encode(), b"").decode("latin-1") for name in self._propagator.fields}
        asked = {"http.request.method": "POST", "http.route": path}
        context = self._propagator.extract(carried)
        return self._tracer.start_span(f"POST {path}", context=context, kind=self._kind, attributes=asked)

    def end(self, span: Span, *, status: int, **told: str | int) -> None:
        """End a span, with what came of the request as `ekiben.…`."""
        span.set_attribute("http.response.status_code", status)
        span.set_attributes({f"ekiben.{name}": value for name, value in told.items() if value != ""})
        if status >= SERVER_ERROR:
            span.set_status(self._failed)
        span.end()


def trace_id(span: Span) -> str:
    """Give the id of a span's trace as `traceparent` spells it."""
    return f"{span.get_span_context().trace_id:032x}"


def found(provider: Any = None) -> Spans | None:
    """Find what makes spans: the given provider, or the one that this process has set globally; None for none."""
    if provider is None:
        provider = _global()
    return None if provider is None else Spans(provider)


def _global() -> Any:
    """Give OpenTelemetry's provider when it is the SDK's: then somebody has set it."""
    api, sdk = sys.modules.get("opentelemetry.trace"), sys.modules.get("opentelemetry.sdk.trace")
    if api is None or sdk is None:
        return None
    provider = api.get_tracer_provider()
    return provider if isinstance(provider, sdk.TracerProvider) else None
