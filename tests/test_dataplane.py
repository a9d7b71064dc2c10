"""Bytes in, bytes out: every answer and every refusal of a service, without a web framework."""

import json
import logging
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import ekiben as ek
from ekiben import observing, protocol, routing, schema, tables
from ekiben.arrow import FILE, PARQUET, STREAM
from ekiben.dataplane import MAX_WATCHED, Hooks
from ekiben.dataplane.shadows import Watcher
from ekiben.dialects import JSON, Request
from ekiben.errors import ExplainError, SchemaError
from ekiben.models import Answers
from ekiben.routing import Route
from ekiben.spec import Limits
from planes import plane_of, unplanned

BOTH = Route({"champion": 0.5, "challenger": 0.5})
PATIENCE_S = 120


class Bent:
    """An adapter that is a real one but for what it answers."""

    def __init__(self, adapter, answers):
        self.adapter, self.answers = adapter, answers

    def __getattr__(self, name):
        return getattr(self.adapter, name)


def bent(package, answers):
    return unplanned(package, adapter=Bent(package.adapter, answers))


def with_explainer(package, explainer):
    made = replace(package)
    made.__dict__["explainer"] = explainer
    return made


@pytest.fixture
def plane(champion, challenger):
    """Make a data plane of two arms; what it observed is in `seen`."""
    made = []

    def make(*, packages=None, **settings):
        arms = {"champion": champion, "challenger": challenger} | (packages or {})
        made.append(plane_of(arms, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def rows(people):
    return tables.as_rows(people[0].head(5))


def post(document, **headers):
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Request(body=body, headers={"content-type": "application/json", **named})


def read(answer):
    return json.loads(answer.body)


def refused(answer, status, code):
    """Look at a refusal: its one shape, and its id."""
    assert (answer.status, answer.code) == (status, code), answer.body
    document = read(answer)
    assert set(document) == {"error"}
    assert set(document["error"]) == {"code", "message", "fields"}
    assert document["error"]["code"] == code
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.headers[protocol.ID]) == 32
    return document["error"]


# ── answers


def test_an_answer_is_what_the_package_answers(plane, champion, people, rows):
    answer = plane().predict(post({"rows": rows}))
    document = read(answer)
    assert answer.status == 200
    predicted = pd.DataFrame([protocol.flat(each) for each in document["predictions"]])
    pd.testing.assert_frame_equal(predicted, champion.predict(people[0].head(5)), check_exact=True)


def test_an_answer_names_its_id_its_arm_and_its_model_in_the_body_and_the_headers(plane, champion, rows):
    answer = plane().predict(post({"rows": rows}))
    document = read(answer)
    named = {protocol.ID: document["id"], protocol.ARM: "champion", protocol.MODEL: str(champion.ref)}
    assert (document["arm"], document["model"]) == ("champion", str(champion.ref))
    assert answer.headers == {"content-type": "application/json", **named}
    assert (answer.choice.arm, answer.choice.propensity) == ("champion", 1.0)


def test_two_answers_have_two_ids(plane, rows):
    served = plane()
    assert read(served.predict(post({"rows": rows})))["id"] != read(served.predict(post({"rows": rows})))["id"]


def test_an_explanation_is_what_the_package_explains(plane, champion, people, rows):
    document = read(plane().explain(post({"rows": rows[:2]})))
    wanted = champion.explain(people[0].head(2))
    assert [each["contributions"] for each in document["explanations"]] == [each.contributions for each in wanted]
    assert {each["kind"] for each in document["explanations"]} == {"attribution"}
    assert (document["arm"], len(document["explanations"])) == ("champion", 2)


def test_a_content_type_may_carry_a_charset_or_be_left_out(plane, rows):
    served = plane()
    body = json.dumps({"rows": rows}).encode()
    for headers in ({}, {"content-type": "application/json; charset=utf-8"}, {"content-type": "Application/JSON"}):
        assert served.predict(Request(body=body, headers=headers)).status == 200


def test_what_happened_is_observed_with_its_endpoint_and_arm(plane, rows):
    served = plane()
    served.predict(post({"rows": rows}))
    served.explain(post({"rows": []}))
    (first, second) = served.seen
    assert first[:3] == ("predict", "champion", "ok")
    assert second[:3] == ("explain", "", "invalid_request")
    assert all(seconds >= 0 for *_, seconds in served.seen)


def test_the_pages_show_the_contract_the_cards_and_the_route(plane, champion, challenger):
    served = plane(route=BOTH)
    shown = served.schema()
    assert schema.from_json(shown).inputs.names == champion.schema.names
    assert (shown["name"], shown["unit"]) == ("risk", "customer_id")
    assert shown["example"]["row"] == champion.examples[0]["row"]
    assert served.card()["arms"]["challenger"]["digest"] == challenger.digest
    assert served.card()["hooks"] == []
    assert served.routing()["weights"] == {"challenger": 0.5, "champion": 0.5}
    json.dumps([shown, served.card(), served.routing()], allow_nan=False)


# ── who is answered by which arm


def arm_of(answer):
    return answer.headers[protocol.ARM]


def test_a_unit_is_always_answered_by_the_arm_that_routing_chooses(plane, rows):
    served = plane(route=BOTH)
    for unit in [f"customer-{n}" for n in range(12)]:
        wanted = routing.choose(BOTH, unit).arm
        assert arm_of(served.predict(post({"rows": rows, "customer_id": unit}))) == wanted
        assert arm_of(served.predict(post({"rows": [{**row, "customer_id": unit} for row in rows]}))) == wanted
        assert arm_of(served.explain(post({"rows": rows[:1], "customer_id": unit}))) == wanted


def test_an_integer_names_the_same_unit_as_its_digits(plane, rows):
    served = plane(route=BOTH)
    for number in range(12):
        answers = [served.predict(post({"rows": rows, "customer_id": unit})) for unit in (number, str(number))]
        assert {arm_of(answer) for answer in answers} == {routing.choose(BOTH, str(number)).arm}


def test_a_header_names_the_unit(plane, rows):
    served = plane(route=BOTH, unit="header:X-Customer-Id")
    for unit in [f"customer-{n}" for n in range(12)]:
        assert arm_of(served.predict(post({"rows": rows}, x_customer_id=unit))) == routing.choose(BOTH, unit).arm


def test_a_cookie_names_the_unit_and_is_set_for_somebody_new(plane, rows):
    served = plane(route=BOTH, unit="cookie:visitor")
    body = json.dumps({"rows": rows}).encode()
    first = served.predict(Request(body=body))
    name, _, rest = first.headers["set-cookie"].partition("=")
    value, *attributes = rest.split("; ")
    assert name == "visitor"
    assert attributes == ["Max-Age=2592000", "Path=/", "HttpOnly", "SameSite=Lax"]
    again = served.predict(Request(body=body, cookies={"visitor": value}))
    assert "set-cookie" not in again.headers
    assert arm_of(again) == arm_of(first) == routing.choose(BOTH, value).arm


def test_a_hook_names_the_unit_before_the_spec_does(plane, rows):
    class ByDevice(Hooks):
        def unit_of(self, request, body):
            return request.headers.get("x-device")

    served = plane(route=BOTH, hooks=ByDevice())
    unit = routing.unit_for(BOTH, "challenger")
    other = routing.unit_for(BOTH, "champion")
    assert arm_of(served.predict(post({"rows": rows, "customer_id": other}, x_device=unit))) == "challenger"
    assert arm_of(served.predict(post({"rows": rows, "customer_id": other}))) == "champion"


def test_without_a_unit_each_request_is_dealt_by_its_own_id(plane, rows):
    served = plane(route=BOTH)
    answers = [served.predict(post({"rows": rows})) for _ in range(40)]
    assert {arm_of(answer) for answer in answers} == {"champion", "challenger"}
    assert all(arm_of(answer) == routing.choose(BOTH, read(answer)["id"]).arm for answer in answers)


def test_a_request_of_two_units_is_refused_without_naming_them(plane, rows):
    mixed = [{**row, "customer_id": f"secret-{n}"} for n, row in enumerate(rows)]
    error = refused(plane(route=BOTH).predict(post({"rows": mixed})), 400, "invalid_request")
    assert error["message"] == "A request serves one unit. Got 5 values of 'customer_id'. Send one request for each."
    assert error["fields"][0]["column"] == "customer_id"


@pytest.mark.parametrize("unit", [True, 1.5, None, ["c"], {"c": 1}])
def test_a_unit_that_is_no_text_and_no_integer_is_refused(plane, rows, unit):
    error = refused(plane(route=BOTH).predict(post({"rows": rows, "customer_id": unit})), 400, "invalid_request")
    assert error["message"] == "The unit 'customer_id' must be a text or an integer. Got something else."


def test_a_unit_that_is_a_column_too_reaches_the_model(plane, rows):
    served = plane(route=BOTH, unit="age")
    answer = served.predict(post({"rows": rows[:1]}))
    assert arm_of(answer) == routing.choose(BOTH, str(rows[0]["age"])).arm


# ── refusals


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The body must be JSON. Got something else."),
        (b"{", "The body must be JSON. Got something else."),
        (b'{"rows": [NaN]}', "The body must be JSON. Got something else at byte 10."),
        (b"[" * 100_000, "The body must be JSON of few levels. Got one nested too deeply."),
        (b"[]", 'The body must be an object: {"rows": [{…}]}. Got something else.'),
        (b"null", 'The body must be an object: {"rows": [{…}]}. Got something else.'),
        (b"{}", "`rows` must be a list of at least one row. Got nothing."),
        (b'{"rows": []}', "`rows` must be a list of at least one row. Got an empty list."),
        (b'{"rows": {}}', "`rows` must be a list of at least one row. Got something else."),
        (b'{"rows": [1]}', "A row must be an object. Got a number in row 0."),
        (b'{"rows": [{}], "secret-4711": 1}', "The body may hold customer_id, explain, rows. Got another field."),
    ],
)
def test_a_body_of_another_shape_is_refused(plane, body, message):
    served = plane()
    assert refused(served.predict(post(body)), 400, "invalid_request")["message"] == message
    asked_why = refused(served.explain(post(body)), 400, "invalid_request")["message"]
    assert asked_why == message.replace("explain, ", "")  # that is its own endpoint


def test_what_does_not_fit_is_refused_by_row_and_column_and_without_values(plane, rows):
    rows[1] = {**rows[1], "age": "secret-4711"}
    del rows[3]["job"]
    rows[4] = {**rows[4], "secret-4711": 1}
    error = refused(plane().predict(post({"rows": rows})), 400, "invalid_request")
    assert [(field.get("row"), field.get("column")) for field in error["fields"]] == [(3, "job"), (4, None), (1, "age")]
    assert error["fields"][2] == {
        "column": "age",
        "row": 1,
        "expected": "an integer or null",
        "got": "a text",
        "message": "The column 'age' must hold an integer or null. Got a text in row 1.",
    }
    assert "4711" not in json.dumps(error)


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-ndjson", ""])
def test_another_content_type_is_refused(plane, rows, kind):
    request = Request(body=json.dumps({"rows": rows}).encode(), headers={"content-type": kind})
    error = refused(plane().predict(request), 415, "unsupported_media_type")
    assert error["message"] == f"The content type must be {JSON}, {STREAM}, {FILE} or {PARQUET}. Got another."


def test_too_many_rows_are_refused(plane, rows):
    served = plane(limits=Limits(max_rows=4, explain_rows=2))
    assert served.predict(post({"rows": rows[:4]})).status == 200
    error = refused(served.predict(post({"rows": rows})), 413, "too_many_rows")
    assert error["message"] == "A request may hold 4 rows here. Got 5. Split it."
    refused(served.explain(post({"rows": rows[:3]})), 413, "too_many_rows")


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_is_422(plane, champion, rows, number):
    def answers(model, frame):
        return (Answers(labels=np.full(len(frame), "bad"), scores=np.full((len(frame), 2), number)),)

    served = plane(packages={"champion": bent(champion, answers)})
    error = refused(served.predict(post({"rows": rows})), 422, "unanswerable")
    assert error["message"] == "The model must answer with finite numbers. It did not for these rows."


@pytest.mark.parametrize("failure", [ValueError("secret-4711"), ZeroDivisionError("secret-4711")])
def test_a_model_that_cannot_answer_rows_that_fit_is_422_without_details(plane, champion, rows, failure, caplog):
    def answers(model, frame):
        raise failure

    served = plane(packages={"champion": bent(champion, answers)})
    error = refused(served.predict(post({"rows": rows})), 422, "unanswerable")
    assert error["message"] == "The model must have an answer for rows that fit the contract. It has none for these."
    assert "4711" not in caplog.text
    assert type(failure).__name__ in caplog.text


def test_what_comes_with_every_request_is_not_told_in_the_log_each_time(plane, champion, rows, caplog, monkeypatch):
    def answers(model, frame):
        raise failures.pop()

    monkeypatch.setattr(observing, "SELDOM_S", PATIENCE_S)
    served = plane(packages={"champion": bent(champion, answers)})
    failures = [OSError("no room"), ValueError("secret-4711"), ValueError("secret-4711"), ValueError("secret-4712")]
    for _ in range(4):
        served.predict(post({"rows": rows}))
    told = [each.message.partition(" at ")[0] for each in caplog.records]
    assert told == [
        f"{champion.ref} could not answer rows that fit its contract: ValueError",
        "predict failed: OSError",
    ]


def test_a_method_that_cannot_explain_a_row_is_422_and_says_why(plane, champion, rows):
    class Unable:
        def explain(self, frame, *, seed=0):
            raise ExplainError("The method must know every value. It does not.")

    served = plane(packages={"champion": with_explainer(champion, Unable())})
    error = refused(served.explain(post({"rows": rows})), 422, "unexplainable")
    assert error["message"] == "The method must know every value. It does not."


def test_a_refusal_names_the_arm_once_there_is_one(plane, champion, rows):
    def answers(model, frame):
        raise ValueError("no answer")

    served = plane(packages={"champion": bent(champion, answers)})
    before, after = served.predict(post({"rows": []})), served.predict(post({"rows": rows}))
    assert protocol.ARM not in before.headers
    assert after.headers[protocol.ARM] == "champion"
    assert [(arm, code) for _, arm, code, _ in served.seen] == [
        ("", "invalid_request"),
        ("champion", "unanswerable"),
    ]


def test_a_failure_of_the_service_is_500_without_details(plane, champion, rows, caplog):
    def answers(model, frame):
        raise RuntimeError("secret-4711")

    served = plane(packages={"champion": bent(champion, answers)})
    with caplog.at_level(logging.ERROR, "ekiben"):
        error = refused(served.predict(post({"rows": rows})), 500, "internal")
    assert error == {"code": "internal", "message": "The service failed. Its log says why.", "fields": []}
    assert "predict failed" in caplog.text


# ── the author's hooks


def test_hooks_change_the_rows_and_the_predictions(plane, champion, people, rows):
    class Own(Hooks):
        def preprocess(self, frame):
            return frame.assign(income=0.0)

        def postprocess(self, predictions):
            return [{**each, "note": "checked"} for each in predictions]

    predictions = read(plane(hooks=Own()).predict(post({"rows": rows})))["predictions"]
    wanted = champion.predict(people[0].head(5).assign(income=0.0))
    assert [each["scores"]["good"] for each in predictions] == wanted["score_good"].tolist()
    assert {each["note"] for each in predictions} == {"checked"}


def test_a_hook_may_refuse_rows_by_a_schema_error(plane, rows):
    class Strict(Hooks):
        def preprocess(self, frame):
            raise SchemaError("Applicants must be of age.")

    error = refused(plane(hooks=Strict()).predict(post({"rows": rows})), 400, "invalid_request")
    assert error["message"] == "Applicants must be of age."


@pytest.mark.parametrize("hook", ["preprocess", "postprocess", "unit_of"])
@pytest.mark.parametrize("failure", [ValueError, KeyError, ArithmeticError, TypeError])
def test_a_hook_that_fails_is_500_without_details(plane, rows, hook, failure):
    def fail(*_):
        raise failure("secret-4711")

    hooks = Hooks()
    setattr(hooks, hook, fail)
    error = refused(plane(hooks=hooks).predict(post({"rows": rows})), 500, "internal")
    assert error["message"] == "The service failed. Its log says why."


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda frame: None, "`preprocess` must return a frame. It returned NoneType."),
        (lambda frame: frame.drop(columns=["age"]), "every column of the contract. It returned none of ['age']."),
    ],
)
def test_the_log_says_what_preprocess_must_return(plane, rows, caplog, given, says):
    class Own(Hooks):
        def preprocess(self, frame):
            return given(frame)

    refused(plane(hooks=Own()).predict(post({"rows": rows})), 500, "internal")
    assert says in caplog.text


@pytest.mark.parametrize("value", [object(), np.float32(0.5), {1, 2}])
def test_a_hook_that_answers_what_json_cannot_hold_is_no_answer(plane, rows, value):
    hooks = Hooks()
    hooks.postprocess = lambda predictions: [{"label": value}]
    answer = plane(hooks=hooks).predict(post({"rows": rows}))
    assert answer.status in (200, 500)
    json.loads(answer.body)


def test_an_explanation_is_not_postprocessed(plane, rows):
    hooks = Hooks()
    hooks.postprocess = lambda predictions: 1 / 0
    assert plane(hooks=hooks).explain(post({"rows": rows[:1]})).status == 200


# ── shadows


WATCHED = Route({"champion": 1.0}, shadows=("challenger",))


def test_a_shadow_sees_each_prediction_and_never_answers(plane, rows):
    served = plane(route=WATCHED)
    answers = [served.predict(post({"rows": rows, "customer_id": f"c-{n}"})) for n in range(5)]
    served.close()
    assert {arm_of(answer) for answer in answers} == {"champion"}
    watched = [what for what in served.seen if what[0] == "shadow"]
    assert [(arm, code) for _, arm, code, _ in watched] == [("challenger", "ok")] * 5


def test_a_shadow_does_not_watch_explanations_and_refusals(plane, rows):
    served = plane(route=WATCHED)
    served.explain(post({"rows": rows[:1]}))
    served.predict(post({"rows": []}))
    served.close()
    assert [what[0] for what in served.seen] == ["explain", "predict"]


class _Panic(BaseException):
    """What no `except Exception` sees."""


@pytest.mark.parametrize("raised", [MemoryError, _Panic])
def test_a_shadow_that_raises_touches_no_answer(plane, challenger, rows, raised, caplog):
    def answers(model, frame):
        raise raised("secret-4711")

    served = plane(route=WATCHED, packages={"challenger": bent(challenger, answers)})
    calm = plane()
    for _ in range(3):
        answer = served.predict(post({"rows": rows}))
        assert answer.status == 200
        assert read(answer)["predictions"] == read(calm.predict(post({"rows": rows})))["predictions"]
    served.close()
    assert [what[2] for what in served.seen if what[0] == "shadow"] == ["internal"] * 3
    assert f"the shadow challenger failed: {raised.__name__}" in caplog.text
    assert "4711" not in caplog.text


def test_a_shadow_that_hangs_touches_no_answer_and_what_it_cannot_see_is_counted(plane, challenger, rows):
    began, go = threading.Event(), threading.Event()

    def answers(model, frame):
        began.set()
        assert go.wait(PATIENCE_S)
        return challenger.adapter.answers(model, frame)

    served = plane(route=WATCHED, packages={"challenger": bent(challenger, answers)})
    assert served.predict(post({"rows": rows})).status == 200
    assert began.wait(PATIENCE_S)
    for _ in range(MAX_WATCHED + 2):
        served._watcher.submit({name: [row[name] for row in rows] for name in challenger.schema.names})
    assert served.predict(post({"rows": rows})).status == 200
    assert [(arm, code) for endpoint, arm, code, _ in served.seen if endpoint == "shadow"] == [
        ("challenger", "dropped")
    ]
    go.set()


def test_a_hook_that_changes_its_frame_in_place_leaves_the_shadow_s_rows_as_they_were_sent(plane, challenger, rows):
    seen = []

    class InPlace(Hooks):
        def preprocess(self, frame):
            seen.append(frame["income"].tolist())
            frame["income"] = 0.0
            return frame

    served = plane(route=WATCHED, hooks=InPlace())
    served.predict(post({"rows": rows[1:3]}))
    served.close()
    assert seen == [[row["income"] for row in rows[1:3]]] * 2


def test_a_shadow_does_not_run_the_author_s_postprocess(plane, rows):
    calls = []

    class Telling(Hooks):
        def postprocess(self, predictions):
            calls.append(len(predictions))
            return predictions

    served = plane(route=WATCHED, hooks=Telling())
    served.predict(post({"rows": rows}))
    served.close()
    assert calls == [5]


def test_records_end_though_explanations_do_not_end_well(champion):
    ended = []

    def fail():
        ended.append("explaining")
        raise OSError("stuck")

    plane = plane_of({"champion": champion})
    plane.explaining, plane.keeper = SimpleNamespace(close=fail), SimpleNamespace(close=lambda: ended.append("records"))
    with pytest.raises(OSError, match="stuck"):
        plane.close()
    assert ended == ["explaining", "records"]


def test_a_watcher_that_ended_sees_no_more_and_one_that_was_slow_ends_when_it_has_finished():
    go, seen = threading.Event(), []
    slow = Watcher(lambda request: (go.wait(10), seen.append(request)))
    while slow.submit(len(seen)):
        pass
    slow.close(timeout_s=0)
    assert slow._thread.is_alive()
    go.set()
    slow._thread.join(10)
    assert not slow._thread.is_alive()
    assert len(seen) >= MAX_WATCHED
    assert not slow.submit("late")


# ── arms of their own columns


@pytest.fixture
def apart(people):
    """Make two arms that share one column, and each take one that the other does not."""
    rows, risk = people
    years = rows.assign(years=rows["age"] - 18, since=pd.Timestamp("2024-01-01"))
    first = ek.pack(
        ordinary(["age", "job"]).fit(years[["age", "job"]], risk), name="risk", reference=years[["age", "job"]]
    )
    columns = ["years", "age", "since"]
    second = ek.pack(ordinary(["years", "age"]).fit(years[columns], risk), name="risk", reference=years[columns])
    return {"champion": first, "challenger": second}, years


def ordinary(names):
    parts = [("t", OneHotEncoder(handle_unknown="ignore"), ["job"])] if "job" in names else []
    numbers = [name for name in names if name != "job"]
    return make_pipeline(ColumnTransformer([*parts, ("n", StandardScaler(), numbers)]), LogisticRegression())


def test_each_arm_is_given_its_own_columns_and_explains_them(apart):
    arms, people = apart
    for arm in arms:
        plane = plane_of(arms, route=routing.only(arm))
        assert plane.contract.signature.inputs.names == ("age", "job", "years", "since")
        rows = tables.as_rows(people[list(plane.contract.signature.inputs.names)].head(4))
        answered = json.loads(plane.predict(post({"rows": rows})).body)["predictions"]
        told = arms[arm].predict(people[list(arms[arm].schema.names)].head(4))
        assert [each["label"] for each in answered] == told["label"].tolist()
        explained = json.loads(plane.explain(post({"rows": rows[:1]})).body)["explanations"]
        assert list(explained[0]["contributions"]) == list(arms[arm].schema.names)


def test_a_row_must_bring_the_columns_of_every_arm(apart):
    arms, people = apart
    plane = plane_of(arms)
    rows = tables.as_rows(people[["age", "job", "years"]].head(1))
    refusal = json.loads(plane.predict(post({"rows": rows})).body)["error"]
    assert [field["column"] for field in refusal["fields"]] == ["since"]
    assert plane.predict(post({"rows": [plane.contract.row]})).status == 200


def test_texts_that_an_arm_takes_and_has_never_seen_are_counted(apart):
    arms, people = apart
    plane = plane_of(arms)
    rows = tables.as_rows(people[["age", "job", "years", "since"]].head(3))
    told = [{**rows[0], "job": "pilot"}, rows[1], {**rows[2], "job": "judge"}]
    plane.predict(post({"rows": told}))
    plane.predict(post({"rows": rows}))
    plane.explain(post({"rows": told[:1]}))
    assert plane.unseen == [("champion", "job", 2)]
