"""`POST /explain` answers with a page where HTML is accepted before JSON, and with JSON everywhere else."""

import json

import pytest

import pages
from ekiben.explanations.look import POLICY
from ekiben.spec import Limits
from planes import asked_in, plane_of

HTML = {"content-type": "application/json", "accept": "text/html"}
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture(scope="module")
def plane(champion):
    return plane_of({"champion": champion}, unit=None)


@pytest.fixture
def row(champion):
    return dict(champion.examples[0]["row"])


def asked(plane, rows, **headers):
    told = {**HTML, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return asked_in(plane, "/explain", json.dumps({"rows": rows}).encode(), told)


def test_a_page_tells_the_answer_that_predict_gives(plane, champion, row):
    answer = asked(plane, [row])
    page = pages.read(answer.body.decode())
    body = json.dumps({"rows": [row]}).encode()
    told = asked_in(plane, "/predict", body, {"content-type": "application/json"}).json["predictions"][0]
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.all("h1")[0].text == told["label"]
    for label, score in told["scores"].items():
        assert label in page.text
        assert f"{score:.1%}" in page.text
    for known in (str(champion.ref), champion.digest, answer.headers["x-ekiben-id"], "champion", "exact"):
        assert known in page.text
    (one,) = champion.explain(champion.example_frame.head(1))
    side = "raised" if told["label"] == one.label else "lowered"
    assert [each.text for each in page.all("li")] == [str(each) for each in one.reasons(side=side)]


def test_a_page_is_kept_by_nobody_and_runs_nothing(plane, row):
    headers = asked(plane, [row]).headers
    assert headers["content-security-policy"] == f"{POLICY}; frame-ancestors 'none'"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["vary"] == "accept, accept-language"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("fr", "fr"), ("fr-CA, en;q=0.5", "fr"), ("de, en;q=0.1, fr;q=0.2", "fr"), ("de", "en"), ("", "en"), ("*", "en")],
)
def test_a_page_is_in_the_language_that_is_liked_best(plane, row, accepted, language):
    answer = asked(plane, [row], accept_language=accepted)
    assert answer.headers["content-language"] == language
    assert pages.read(answer.body.decode()).all("html")[0].attributes["lang"] == language


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/html", "text/html"),
        (BROWSER, "text/html"),
        ("TEXT/HTML;Q=1", "text/html"),
        ("text/html, application/json", "text/html"),
        ("application/json, text/html", "application/json"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("text/html;q=0", "application/json"),
        ("text/html;q=nonsense", "application/json"),
        ("application/xhtml+xml", "application/json"),
        ("*/*", "application/json"),
    ],
)
def test_what_is_accepted_best_is_given(plane, row, accept, kind):
    answer = asked(plane, [row], accept=accept)
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, kind)


def test_several_rows_have_one_page_with_a_part_for_each(plane, champion):
    rows = [dict(each["row"]) for each in champion.examples[:3]]
    answer = asked(plane, rows)
    page = pages.read(answer.body.decode())
    told = asked_in(plane, "/predict", json.dumps({"rows": rows}).encode(), {"content-type": "application/json"}).json
    heads = [f"Row {n}: {each['label']}" for n, each in enumerate(told["predictions"], start=1)]
    assert [each.text for each in page.all("h1")] == ["3 answers"]
    assert [each.text for each in page.all("h2")] == heads
    assert len(page.all("article")) == len(page.all("details")) == 3
    values = [each.text for each in page.all("td", class_="value")]
    for row in rows:
        assert f"{row['age']:,}" in values
    french = pages.read(asked(plane, rows, accept_language="fr").body.decode())
    assert [each.text for each in french.all("h1")] == ["3 réponses"]
    assert asked(plane, rows, accept=BROWSER).headers["content-type"] == "text/html; charset=utf-8"


def test_more_rows_than_may_be_explained_have_no_page(champion, row):
    refused = asked(plane_of({"champion": champion}, unit=None, limits=Limits(explain_rows=2)), [row] * 3)
    assert (refused.status, refused.json["error"]["code"]) == (413, "too_many_rows")


def test_columns_that_are_told_together_are_said_in_the_language_of_the_page(plane, row):
    body = json.dumps({"rows": [row]}).encode()
    answer = asked_in(plane, "/explain?top=1", body, {**HTML, "accept-language": "fr"})
    names = [each.text for each in pages.read(answer.body.decode()).all("th", class_="name")]
    assert "le reste" in names
    assert "other" not in names


def test_a_refusal_is_json_whatever_is_accepted(plane, row):
    answer = asked(plane, [row | {"age": "old"}])
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request")


def test_what_was_sent_is_text_in_a_page(plane, row):
    answer = asked(plane, [row | {"job": "<script>alert(1)</script>"}])
    assert answer.status == 200
    assert not pages.read(answer.body.decode()).all("script")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.body.decode()


def test_a_page_of_a_method_that_draws_shows_its_errors(challenger, row):
    answer = asked(plane_of({"champion": challenger}, unit=None), [row])
    page = pages.read(answer.body.decode())
    assert "± is one standard error." in page.text
    assert page.all("line", class_="doubt")


def test_a_page_counts_as_an_explanation_and_its_unit_sticks(champion, row):
    plane = plane_of({"champion": champion}, unit="cookie:visitor", limits=Limits(explain_rows=2))
    answer = asked(plane, [row])
    assert answer.headers["set-cookie"].startswith("visitor=")
    assert [what[:3] for what in plane.seen] == [("explain", "champion", "ok")]
