"""A table in, a table out: the client against a real HTTP server, sound and otherwise."""

import asyncio
import json
import re

import httpx
import numpy as np
import pandas as pd
import pytest

import ekiben as ek
from ekiben import routing, tables
from ekiben.client.asking import Asking
from ekiben.errors import RequestError, SchemaError, SpecError, UnreachableError
from ekiben.explanations import Explanations
from ekiben.routing import Route
from ekiben.spec import Limits
from planes import Quiet, http_server, plane_of, served

BOTH = Route({"champion": 0.5, "challenger": 0.5})
UNITS = [f"customer-{n}" for n in range(8)]


@pytest.fixture
def client(champion, challenger):
    """Start a service of two arms, and give a client of it."""
    opened = []

    def start(unit="customer_id", route=BOTH, **settings):
        plane = plane_of({"champion": champion, "challenger": challenger}, unit=unit, route=route, **settings)
        server = served(plane)
        url = server.__enter__()
        opened.append((server, ek.connect(url)))
        return opened[-1][1]

    yield start
    for server, each in opened:
        each.close()
        server.__exit__(None, None, None)


@pytest.fixture
def answering():
    """Start a server that answers everything alike, and give a client of it; what it was sent is in `sent`."""
    opened = []

    def start(status, body, kind="application/json"):
        sent = []

        class Handler(Quiet):
            def do_POST(self):
                sent.append((dict(self.headers), self.body()))
                self.answer(status, body, kind)

            do_GET = do_POST

        server = http_server(Handler)
        made = ek.connect(server.__enter__())
        made.sent = sent
        opened.append((server, made))
        return made

    yield start
    for server, each in opened:
        each.close()
        server.__exit__(None, None, None)


# ── what a service answers


def test_a_frame_is_answered_as_by_the_package(client, champion, people):
    rows = people[0].tail(7)
    answered = client(route=routing.only("champion")).predict(rows)
    pd.testing.assert_frame_equal(answered, champion.predict(rows), check_exact=True)


def test_the_answer_says_which_arm_and_model_it_is_of(client, champion, people):
    attrs = client(route=routing.only("champion")).predict(people[0].head(1)).attrs
    assert set(attrs) == {"id", "arm", "model"}
    assert (attrs["arm"], attrs["model"]) == ("champion", str(champion.ref))


def test_explanations_come_back_as_they_were_made(client, champion, people):
    rows = people[0].head(2)
    found = client(route=routing.only("champion")).explain(rows)
    assert isinstance(found, Explanations)
    assert [one.contributions for one in found] == [one.contributions for one in champion.explain(rows)]


@pytest.mark.parametrize("most", [3, 100])
def test_answers_come_with_what_explains_them_in_as_many_requests_as_that_takes(client, champion, people, most):
    asked, rows = client(route=routing.only("champion"), limits=Limits(explain_rows=most)), people[0].tail(7)
    told = []
    answered = asked.predict(rows, explain=True, progress=told.append)
    pd.testing.assert_frame_equal(answered, champion.predict(rows), check_exact=True)
    why = answered.attrs["explanations"]
    assert isinstance(why, Explanations)
    assert [one.contributions for one in why] == [one.contributions for one in champion.explain(rows)]
    assert [each["rows"] for each in answered.attrs.get("requests", [])] == ([3, 3, 1] if most == 3 else [])
    assert ("7 of 7 rows answered" in told) == (most == 3)

    async def ask():
        async with ek.connect(asked.url, asynchronous=True) as awaited:
            return await awaited.predict(rows, explain=True)

    also = asyncio.run(ask())
    pd.testing.assert_frame_equal(also, answered, check_exact=True)
    assert [one.contributions for one in also.attrs["explanations"]] == [one.contributions for one in why]


@pytest.mark.parametrize("unit", ["customer_id", "header:x-customer-id", "cookie:visitor", "field:a:b"])
def test_a_unit_is_put_where_the_service_looks_for_it(client, people, unit):
    asked = client(unit=unit)
    for each in UNITS:
        assert asked.predict(people[0].head(1), unit=each).attrs["arm"] == routing.choose(BOTH, each).arm
    asked.explain(people[0].head(1), unit=UNITS[0])


@pytest.mark.parametrize(
    ("source", "units"),
    [("header:x-customer-id", ["Zoë", "a\nb", " a", ""]), ("cookie:visitor", ["a;b", "a b", 'a"', "a,b", "Zoë", ""])],
)
def test_a_unit_that_would_come_as_another_is_not_sent(client, people, source, units):
    asked = client(unit=source)
    for each in units:
        with pytest.raises(SpecError, match=f"a {source.partition(':')[0]} can carry.*{source}"):
            asked.predict(people[0].head(1), unit=each)


def test_a_unit_is_one_text_or_whole_number(client, people):
    asked, rows = client(unit="customer_id"), people[0].head(2)
    same = {asked.predict(rows, unit=unit).attrs["arm"] for unit in ("7", 7, np.int64(7))}
    assert same == {routing.choose(BOTH, "7").arm}
    for unit in (rows["age"], ["7", "8"], 7.0, True, {"a": 1}):
        with pytest.raises(SpecError, match=f"one text or whole number that tells who asks. Got {type(unit).__name__}"):
            asked.predict(rows, unit=unit)


def test_a_unit_for_a_service_that_knows_none_is_refused(client, people):
    words = "A 'unit' needs a service that knows units. This one has none: set `unit` in its ekiben.toml."
    with pytest.raises(RequestError, match=re.escape(words)):
        client(unit=None).predict(people[0].head(1), unit="c")


def test_the_pages_are_given_as_they_are(client, champion):
    asked = client()
    assert asked.signature.inputs.names == champion.schema.names
    assert asked.routing()["weights"] == dict(BOTH.weights)
    assert set(asked.card()["arms"]) == {"champion", "challenger"}


# ── what a service refuses


def test_a_refusal_is_an_error_with_every_fault(client, people):
    rows = people[0].head(3).astype({"age": object})
    rows.loc[1, "age"] = "old"
    with pytest.raises(RequestError) as caught:
        client().predict(rows.drop(columns="job"))
    error = caught.value
    assert (error.status, error.code) == (400, "invalid_request")
    assert {(fault.row, fault.column) for fault in error.faults} == {(0, "job"), (1, "job"), (2, "job"), (1, "age")}
    assert error.faults[-1].got == "a text"


@pytest.mark.parametrize("known", [True, False])
def test_more_rows_than_one_request_may_explain_go_in_several(client, champion, people, known):
    asked, rows = client(route=routing.only("champion"), limits=Limits(explain_rows=3)), people[0].head(8)
    if not known:
        asked._asking._contract = {}  # as of a service that does not say what it takes
    found = asked.explain(rows)
    assert [one.value for one in found] == [one.value for one in champion.explain(rows)]
    assert [one.subject.values for one in found] == tables.as_rows(rows)
    assert len({one.subject.facts.id for one in found}) == (3 if known else 4)


def test_a_refusal_of_one_of_several_explained_requests_tells_the_row_of_the_frame(client, people):
    rows = people[0].head(8).astype({"age": object})
    rows.loc[[4, 7], "age"] = "old"
    with pytest.raises(RequestError) as caught:
        client(limits=Limits(explain_rows=3)).explain(rows)
    assert [(fault.row, fault.column) for fault in caught.value.faults] == [(4, "age")]


def test_a_row_of_more_columns_than_may_be_explained_is_refused_once(client, people):
    with pytest.raises(RequestError) as caught:
        client(limits=Limits(explain_columns=1)).explain(people[0].head(8))
    assert caught.value.code == "too_many_columns"


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (502, b"<html>bad gateway</html>", "unknown", "The service refused with status 502."),
        (500, b"[1]", "unknown", "The service refused with status 500."),
        (500, b"", "unknown", "The service refused with status 500."),
        (400, b'{"error": "text"}', "unknown", "The service refused with status 400."),
        (400, b'{"error": {"message": "No."}}', "unknown", "No."),
        (429, b'{"error": {"code": "busy", "message": "Later.", "fields": []}}', "busy", "Later."),
    ],
)
def test_a_refusal_of_another_shape_is_an_error_with_its_status(answering, people, status, body, code, words):
    with pytest.raises(RequestError, match=re.escape(words)) as caught:
        answering(status, body).predict(people[0].head(1))
    assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html>", b"{bad", b""])
def test_what_is_no_service_of_ekiben_is_said_to_be_none(answering, people, body):
    asked = answering(200, body)
    for act, field in ((asked.predict, "predictions"), (asked.explain, "explanations")):
        words = f"A service must answer with '{field}', one a row. Got something else. Is there a service"
        with pytest.raises(RequestError, match=re.escape(words)):
            act(people[0].head(1))


def test_a_service_that_does_not_answer_is_unreachable(people):
    with ek.connect("http://127.0.0.1:9") as client:
        words = "The service at http://127.0.0.1:9 must answer. It did not: ConnectError. Is it running?"
        with pytest.raises(UnreachableError, match=re.escape(words)):
            client.predict(people[0].head(1))


# ── what is sent


def test_missing_values_are_sent_as_null_and_the_rest_as_it_is(answering):
    asked = answering(200, b'{"predictions": [], "id": "1", "arm": "a", "model": "m"}')
    rows = pd.DataFrame({"n": [np.nan], "i": pd.array([None], dtype="Int64"), "t": ["ö"], "b": [True]})
    with pytest.raises(RequestError, match="one a row"):
        asked.predict(rows)
    headers, body = asked.sent[0]
    assert json.loads(body) == {"rows": [{"n": None, "i": None, "t": "ö", "b": True}]}
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (np.inf, "a number that is not finite, or too large"),
        (-np.inf, "a number that is not finite, or too large"),
        (1j, "something else"),
        (object(), "something else"),
        ("half \ud83d", "a text with half a surrogate pair"),
    ],
)
def test_what_no_json_holds_is_refused_before_it_is_sent(answering, value, got):
    asked = answering(200, b"{}")
    words = f"The column 'x' must hold finite numbers, booleans, texts, dates or lists. Got {got} in row 1."
    with pytest.raises(SchemaError, match=re.escape(words)) as refused:
        asked.predict(pd.DataFrame({"n": [1, 2], "x": pd.Series([None, value], dtype=object)}))
    assert [(fault.column, fault.row) for fault in refused.value.faults] == [("x", 1)]
    assert asked.sent == []


def test_an_address_says_its_scheme():
    with pytest.raises(SpecError, match=re.escape("Got '127.0.0.1:9'. Did you mean 'http://127.0.0.1:9'?")):
        ek.connect("127.0.0.1:9")


def test_a_client_shows_its_address():
    with ek.connect("http://127.0.0.1:9/") as client:
        assert repr(client) == "<Client http://127.0.0.1:9>"
        assert 'href="http://127.0.0.1:9"' in client._repr_html_()


class Busy(Quiet):
    """A handler that answers with a status from a list, the last of them again and again."""

    statuses, asked = [], 0

    def do_POST(self):
        kind = type(self)
        status = kind.statuses[min(kind.asked, len(kind.statuses) - 1)]
        kind.asked += 1
        self.body()
        headers = {"retry-after": "0"} if status in (429, 503) else {}
        good = {"id": "1", "arm": "a", "model": "m", "predictions": [{"value": 1.0}]}
        told = good if status == 200 else {"error": {"code": "busy", "message": "Later.", "fields": []}}
        self.answer(status, json.dumps(told).encode(), headers=headers)


@pytest.mark.parametrize(
    ("statuses", "retries", "asked"),
    [
        ([429, 503, 200], 2, 3),
        ([429, 429, 429, 200], 2, None),
        ([429, 200], 0, None),
        ([500, 200], 2, None),
        ([200], 2, 1),
    ],
)
def test_what_was_not_taken_is_sent_again_and_nothing_else(statuses, retries, asked):
    handler = type("Handler", (Busy,), {"statuses": statuses, "asked": 0})
    with http_server(handler) as url, ek.connect(url, retries=retries) as client:
        if asked:
            assert client.predict(pd.DataFrame({"age": [1]}))["value"].tolist() == [1.0]
            assert handler.asked == asked
        else:
            with pytest.raises(RequestError):
                client.predict(pd.DataFrame({"age": [1]}))
            assert handler.asked == (1 if 500 in statuses or not retries else retries + 1)


def test_an_explanation_that_is_late_is_told_so_though_the_service_went_meanwhile():
    asking = Asking("http://127.0.0.1:9", timeout_s=-1, token=None, retries=0)
    steps = asking._fetched(httpx.Response(202, headers={"location": "/explain/x"}))
    assert next(steps).method == "DELETE"
    with pytest.raises(RequestError, match="It was not, and was cancelled") as told:
        steps.throw(httpx.ConnectError("gone"))
    assert told.value.code == "late"


def test_a_connection_that_nobody_takes_is_tried_again(monkeypatch):
    waited = []
    monkeypatch.setattr("ekiben.client.time.sleep", waited.append)
    with pytest.raises(UnreachableError), ek.connect("http://127.0.0.1:9") as client:
        client.routing()
    assert waited == [0.1, 0.2]


def test_a_token_is_shown_and_may_come_from_the_environment(answering, monkeypatch):
    monkeypatch.setenv("EKIBEN_TOKEN", "of-the-environment")
    assert answering(200, b"{}").routing() == {}
    client = answering(200, b"{}")
    client.routing()
    assert client.sent[0][0]["authorization"] == "Bearer of-the-environment"
