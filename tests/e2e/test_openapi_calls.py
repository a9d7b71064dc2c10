"""Calls generated from the service's own OpenAPI document: no 5xx, no answer that the document does not know."""

from collections import Counter
from functools import partial

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ekiben import arrow

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="session")
def document(server):
    return schemathesis.openapi.from_url(f"{server.url}/docs.json")


@pytest.fixture(scope="session", autouse=True)
def tables(row):
    """Tell schemathesis what a table is: any number of copies of one real row."""
    for kind in arrow.KINDS:
        schemathesis.openapi.media_type(kind, st.integers(1, 20).map(partial(_table, row, kind)))


def _table(row, kind, n):
    return arrow.written({name: [value] * n for name, value in row.items()}, kind, {})


def _call_all(document, modes, n_examples):
    statuses = Counter()
    for operation in document.get_all_operations():
        if modes is schemathesis.GenerationMode.NEGATIVE and operation.ok().method != "post":
            continue  # what takes nothing cannot be asked wrongly

        @hypothesis.settings(
            max_examples=n_examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.ok().as_strategy(generation_mode=modes))
        def call(case):
            answer = case.call(timeout=120)  # the first row that no plan answers waits for its model to be built
            case.validate_response(answer, checks=CHECKS)
            asks_why = isinstance(case.body, dict) and case.body.get("explain") is True  # not every arm may
            statuses[(f"{case.path} explained" if asks_why else case.path, answer.status_code)] += 1

        call()
    return statuses


def test_calls_that_fit_the_document_are_answered(document):
    statuses = _call_all(document, schemathesis.GenerationMode.POSITIVE, 60)
    asked = {status: count for (path, status), count in statuses.items() if path == "/predict"}
    assert asked[200] >= 0.95 * sum(asked.values()), statuses


def test_calls_that_do_not_fit_are_refused_as_documented(document):
    statuses = _call_all(document, schemathesis.GenerationMode.NEGATIVE, 60)
    assert not [status for _, status in statuses if status >= 500], statuses
