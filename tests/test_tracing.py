"""A span for each request, where OpenTelemetry was configured; nothing where it was not."""

import asyncio
import json
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from asking import ask
from ekiben import tracing
from ekiben.front import Front
from planes import plane_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def spans(champion, monkeypatch):
    """Give the spans that a service made, and the ids of its requests in the log."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    plane = plane_of({"champion": champion})
    monkeypatch.setattr(Front, "live", plane)
    monkeypatch.setattr(Front, "tracers", provider)
    yield exporter.get_finished_spans
    plane.close()


def asked(people_row, **headers):
    body = json.dumps({"rows": [people_row]}).encode()
    named = {"content-type": "application/json", **headers}
    return asyncio.run(ask(Front(None), "POST", "/predict", body, headers=named))


@pytest.fixture
def row(champion):
    return champion.examples[0]["row"]


def test_a_request_is_a_server_span_below_its_caller_s(spans, row):
    answer = asked(row, traceparent=f"00-{TRACE}-{PARENT}-01")
    (span,) = spans()
    assert (span.name, span.kind) == ("POST /predict", SpanKind.SERVER)
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    told = {key: span.attributes[f"ekiben.{key}"] for key in ("id", "arm", "code", "endpoint", "rows")}
    assert told == {"id": answer.json["id"], "arm": "champion", "code": "ok", "endpoint": "predict", "rows": 1}
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["ekiben.model"] == answer.headers["x-ekiben-model"]


def test_a_request_without_a_caller_s_trace_begins_one(spans, row):
    asked(row)
    (span,) = spans()
    assert span.parent is None


def test_a_refusal_is_a_span_that_repeats_nothing_and_is_no_error_of_the_server(spans):
    asked({"age": "k3pt-0ut"})
    (span,) = spans()
    assert span.attributes["ekiben.code"] == "invalid_request"
    assert span.status.status_code == StatusCode.UNSET
    assert "k3pt-0ut" not in span.to_json()


def test_an_answer_of_5xx_is_an_error(spans):
    made = tracing.Spans(Front.tracers)
    made.end(made.begin("/predict", {}), status=504, code="timeout")
    (span,) = spans()
    assert span.status.status_code == StatusCode.ERROR


def test_nothing_is_imported_where_nobody_configured_it():
    story = (
        "import sys; from ekiben import front, tracing; "
        "print(tracing.found() is None, any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", story], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["True", "False"]


def test_a_provider_that_the_process_has_set_is_found():
    story = (
        "from opentelemetry import trace; from opentelemetry.sdk.trace import TracerProvider; from ekiben import tracing; "
        "print(tracing.found()); trace.set_tracer_provider(TracerProvider()); print(tracing.found() is None)"
    )
    told = subprocess.run([sys.executable, "-c", story], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["None", "False"]
