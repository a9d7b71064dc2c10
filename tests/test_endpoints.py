"""One endpoint of the front: who is let in, until when, by which way a request is answered, and what is told of it."""

import asyncio
import errno
import json
import math
import re
import threading
from dataclasses import replace
from itertools import count
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 -- the import is the switch
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC
from starlette.requests import cookie_parser
from xgboost import XGBClassifier

from asking import Caller, ask
from ekiben import pack, protocol, routing, shortcut, tables, ticketing
from ekiben.compiling import UNMEASURED
from ekiben.dataplane import Hooks
from ekiben.dialects import Request
from ekiben.dialects.rows import Rows
from ekiben.endpoints import Endpoint, cookies_of
from ekiben.errors import EkibenError
from ekiben.explainers.trees import Trees
from ekiben.explaining.answering import Explaining
from ekiben.explaining.apart import Pool
from ekiben.explaining.messages import Done
from ekiben.explaining.tickets import Tickets
from ekiben.explaining.wishes import PLAIN
from ekiben.front import Front, _explain, _Opened, _predict
from ekiben.metering import meter
from ekiben.models import Answers
from ekiben.observing import AccessLog
from ekiben.pacing import AT_ONCE_S, Passes, Share
from ekiben.routing import Route
from ekiben.spec import Explain, Limits
from ekiben.ticketing import MOST_BEFORE
from ekiben.waiting import FEW
from planes import Held, held, let_go, plane_of, slowly, unplanned

BOTH = Route({"champion": 0.5, "challenger": 0.5})
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PATIENCE_S = 120


class Planned:
    """A plan that answers what its package answers, counts, and may cost what it likes."""

    native = ()

    def __init__(self, package, *, row_us=3.0, change=lambda predictions: predictions):
        self.package, self.row_us, self.many_us, self.change = package, row_us, row_us, change
        self.threads, self.costs = [], UNMEASURED

    def predictions(self, rows):
        self.threads.append(threading.current_thread())
        names = self.package.schema.names
        frame = tables.as_frame({name: [row[i] for row in rows] for i, name in enumerate(names)}, self.package.schema)
        answered = tables.as_records(self.package.predict(frame))
        return self.change(protocol.predictions(answered, self.package.signature))

    def answers(self, columns, n_rows):
        self.threads.append(threading.current_thread())
        return self.package.plan.answers(columns, n_rows)


def with_plan(package, **settings):
    made = replace(package)
    made.__dict__["plan"] = Planned(package, **settings)
    return made


@pytest.fixture
def front(champion, challenger):
    """Make endpoints over a data plane; what was logged is in `lines`."""
    with_ends = []

    def make(*, packages=None, made=_predict, plane=None, **settings):
        plane = plane or plane_of({"champion": champion, "challenger": challenger} | (packages or {}), **settings)
        lines = []
        log = AccessLog(write=lambda text: lines.extend(map(json.loads, text.splitlines())), count=plane.observe)
        batchers = shortcut.batchers(plane)
        shared = {"share": Share(plane.spec.limits.explain_share), "passes": Passes()}
        endpoint = made(SimpleNamespace(plane=plane, log=log, spans=None, batchers=batchers, **shared))
        with_ends.extend([plane, *batchers.values(), log])
        return SimpleNamespace(plane=plane, endpoint=endpoint, lines=lines, log=log)

    yield make
    for each in with_ends:
        each.close()


@pytest.fixture
def row(champion):
    return champion.examples[0]["row"]


def sent(document, **headers):
    named = {"content-type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return body, named


def post(endpoint, document, *, path="/predict", **headers):
    body, named = sent(document, **headers)
    return ask(endpoint, "POST", path, body, headers=named)


def posted(endpoint, document, **headers):
    return asyncio.run(post(endpoint, document, **headers))


def code(answer):
    return answer.status, answer.json["error"]["code"] if answer.status >= 400 else "ok"


async def begun(adapter):
    assert await asyncio.to_thread(adapter.began.wait, PATIENCE_S)


async def taken(endpoint, n):
    """Let the requests come that were sent."""
    for _ in range(1000):
        if endpoint.n_asked == n:
            break
        await asyncio.sleep(0)
    assert endpoint.n_asked == n


# ── the quick lane


def test_a_plan_answers_what_the_data_plane_answers(front, champion, row):
    served = front(packages={"champion": with_plan(champion)})
    document = {"rows": [row, row], "customer_id": "c-1"}
    quick, slow = posted(served.endpoint, document), served.plane.predict(Request(body=json.dumps(document).encode()))
    assert {**quick.json, "id": ""} == {**json.loads(slow.body), "id": ""}
    unlike = {protocol.ID: "", "content-length": ""}
    assert {**quick.headers, **unlike} == {**slow.headers, **unlike}
    assert quick.headers[protocol.ID] == quick.json["id"]
    assert served.plane.packages["champion"].plan.threads[0] is threading.current_thread()


def test_a_plan_that_takes_long_is_asked_in_a_thread(front, champion, row):
    served = front(packages={"champion": with_plan(champion, row_us=10_000)})
    assert posted(served.endpoint, {"rows": [row]}).status == 200
    assert served.plane.packages["champion"].plan.threads != [threading.current_thread()]


LONG_US = 0.7e6 * AT_ONCE_S  # of a plan's row: two are too much for one pass


@pytest.fixture
def uneven(front, champion, challenger):
    """Make an endpoint of an arm that takes long and one that is brief; who was asked is in `asked`, in turn."""

    def make(**settings):
        asked = []

        def told(arm):
            return lambda predictions: asked.append(arm) or predictions

        packages = {
            "champion": with_plan(champion, row_us=LONG_US, change=told("long")),
            "challenger": with_plan(challenger, change=told("brief")),
        }
        served = front(packages=packages, route=BOTH, **settings)
        units = {arm: routing.unit_for(BOTH, name) for arm, name in (("long", "champion"), ("brief", "challenger"))}
        return SimpleNamespace(**vars(served), asked=asked, units=units)

    return make


def of_arms(served, row, *arms):
    """Ask arms at the same time."""

    async def asked():
        documents = [{"rows": [row], "customer_id": served.units[arm]} for arm in arms]
        return await asyncio.gather(*(post(served.endpoint, document) for document in documents))

    answers = asyncio.run(asked())
    assert [answer.status for answer in answers] == [200] * len(arms)
    return served.asked[-len(arms) :]


def test_a_brief_plan_does_not_wait_for_all_that_takes_long(uneven, row):
    served = uneven(limits=Limits(concurrency=2))  # who waits for a turn alone is none of two
    usual = ["long", "long", "long", "brief"]
    assert of_arms(served, row, *usual) == usual  # nobody knows that anything brief is asked for
    assert of_arms(served, row, *usual) == ["long", "brief", "long", "long"]
    assert served.endpoint.n_asked == 0


def test_what_takes_long_is_answered_at_once_where_it_is_the_first_of_a_pass(uneven, row):
    served = uneven()
    body, named = sent({"rows": [row], "customer_id": served.units["long"]})
    headers = {key.encode(): value.encode() for key, value in named.items()}

    async def at_once():
        return served.endpoint.at_once([*headers.items()], headers, body)

    async def asked():
        await post(served.endpoint, {"rows": [row], "customer_id": served.units["brief"]})
        first, second = await at_once(), await at_once()
        await asyncio.sleep(0)
        return first, second, await at_once()

    first, second, third = asyncio.run(asked())
    assert (first.status, second, third.status) == (200, None, 200)


@pytest.mark.parametrize("by_lane", [True, False], ids=["by the lane", "by the data plane"])
def test_what_is_late_when_its_turn_comes_is_not_computed(uneven, row, monkeypatch, by_lane):
    served = uneven()
    served.endpoint._lane = served.endpoint._lane if by_lane else None

    async def turn(_passes, _seconds):
        await asyncio.sleep(0.2)

    monkeypatch.setattr(Passes, "has_room", lambda _passes, _seconds: False)
    monkeypatch.setattr(Passes, "turn", turn)
    document = {"rows": [row], "customer_id": served.units["long"]}
    assert code(posted(served.endpoint, document, x_ekiben_deadline_ms="100")) == (504, "timeout")
    assert served.asked == []
    assert posted(served.endpoint, document).status == 200


def test_where_a_plan_has_no_answer_the_model_itself_is_asked(front, champion, row):
    served = front(packages={"champion": with_plan(champion, change=lambda predictions: 1 / 0)})
    answer = posted(served.endpoint, {"rows": [row]})
    assert answer.status == 200
    assert answer.json["predictions"] == [protocol.predictions(
        tables.as_records(champion.predict(tables.as_frame({k: [v] for k, v in row.items()}, champion.schema))),
        champion.signature,
    )[0]]  # fmt: skip


def test_many_rows_that_are_the_model_s_own_are_read_once_and_wait_for_it_alone(front, champion, row, monkeypatch):
    made = with_plan(champion)
    made.__dict__["plan"].costs, _ = SimpleNamespace(most_planned=3), made.model
    served = front(packages={"champion": made}, route=routing.only("champion"))
    many = {"rows": [row] * 3 + [row | {"job": "never seen"}]}
    expected = json.loads(served.plane.predict(Request(body=json.dumps(many).encode())).body)["predictions"]
    n_seen = sum(n for *_, n in served.plane.unseen)
    monkeypatch.setattr(served.plane, "admit", None)  # it would read them again, in a thread that a model may hold
    answer = posted(served.endpoint, many)
    assert answer.json["predictions"] == expected
    assert sum(n for *_, n in served.plane.unseen) == 2 * n_seen > 0
    assert made.__dict__["plan"].threads == []


def test_what_does_not_fit_is_refused_in_every_detail(front, champion, row):
    served = front(packages={"champion": with_plan(champion)})
    answer = posted(served.endpoint, {"rows": [row, {**row, "age": "old"}]})
    assert code(answer) == (400, "invalid_request")
    assert [(each["row"], each["column"]) for each in answer.json["error"]["fields"]] == [(1, "age")]


@pytest.mark.parametrize("hook", ["preprocess", "postprocess", "unit_of"])
def test_a_service_with_a_hook_of_its_own_takes_the_data_plane_s_way(front, champion, row, hook):
    kept = getattr(Hooks, hook)
    own = type("Own", (Hooks,), {hook: lambda self, *given: kept(self, *given)})  # noqa: PLW0108 -- must be another
    served = front(packages={"champion": with_plan(champion)}, hooks=own())
    assert posted(served.endpoint, {"rows": [row]}).status == 200
    assert threading.current_thread() not in served.plane.packages["champion"].plan.threads


def test_the_arm_of_a_unit_is_the_one_that_routing_chooses(front, champion, challenger, row):
    served = front(packages={"champion": with_plan(champion), "challenger": with_plan(challenger)}, route=BOTH)
    for unit in [f"c-{n}" for n in range(12)]:
        wanted = routing.choose(BOTH, unit).arm
        assert posted(served.endpoint, {"rows": [row], "customer_id": unit}).json["arm"] == wanted
        assert posted(served.endpoint, {"rows": [{**row, "customer_id": unit}]}).json["arm"] == wanted


def test_a_new_visitor_is_given_a_cookie_and_keeps_its_arm(front, champion, challenger, row):
    arms = {"champion": with_plan(champion), "challenger": with_plan(challenger)}
    served = front(packages=arms, route=BOTH, unit="cookie:visitor")
    first = posted(served.endpoint, {"rows": [row]})
    visitor = first.headers["set-cookie"].partition(";")[0]
    again = posted(served.endpoint, {"rows": [row]}, cookie=f"theme=dark; {visitor}")
    assert first.json["arm"] == again.json["arm"] == routing.choose(BOTH, visitor.partition("=")[2]).arm
    assert "set-cookie" not in again.headers


@given(
    parts=st.lists(st.sampled_from(["a", "b", "=", ";", '"', "\\", "0", "1", "7", "012", " ", "\u00e9"]), max_size=30)
)
def test_cookies_are_read_as_starlette_reads_them(parts):
    text = "".join(parts)
    assert cookies_of([(b"x", b"c=d"), (b"cookie", text.encode("latin-1"))]) == cookie_parser(text)


def test_a_long_cookie_is_read_in_one_go(front, champion, challenger, row, monkeypatch):
    monkeypatch.setattr("http.cookies._unquote", None)  # of some Pythons it takes seconds for so many backslashes
    served = front(unit="cookie:visitor")
    long = '"' + "\\" * 60_000 + '"'
    answer = posted(served.endpoint, {"rows": [row]}, cookie=f"visitor=anna; theme={long}")
    assert code(answer) == (200, "ok")
    assert "set-cookie" not in answer.headers


def test_texts_that_an_arm_has_never_seen_are_counted_once(front, champion, row):
    served = front(packages={"champion": with_plan(champion)})
    posted(served.endpoint, {"rows": [{**row, "job": "astronaut"}, row]})
    assert served.plane.unseen == [("champion", "job", 1)]


def test_a_shadow_sees_what_a_plan_answered(front, champion, challenger, row):
    seen = held(challenger, held=False)
    route = Route({"champion": 1}, shadows=("challenger",))
    served = front(packages={"champion": with_plan(champion), "challenger": seen}, route=route)
    posted(served.endpoint, {"rows": [row, row]})
    assert seen.adapter.began.wait(PATIENCE_S)
    served.plane.close()
    assert seen.adapter.sizes == [2]
    assert ("shadow", "challenger", "ok") in [what[:3] for what in served.plane.seen]


# ── models without a plan


def test_requests_that_wait_for_a_model_are_asked_together_and_answered_each_for_itself(front, champion, people):
    slow = held(champion)
    served = front(packages={"champion": slow})
    rows = tables.as_rows(people[0].head(12))

    async def story():
        with let_go(slow.adapter):
            asking = [asyncio.ensure_future(post(served.endpoint, {"rows": rows[:1]}))]
            await begun(slow.adapter)
            asking += [asyncio.ensure_future(post(served.endpoint, {"rows": [row]})) for row in rows[1:]]
            await taken(served.endpoint, 12)
        return await asyncio.gather(*asking)

    answers = asyncio.run(story())
    assert slow.adapter.sizes == [1, 11]
    assert len({answer.json["id"] for answer in answers}) == 12
    expected = protocol.predictions(tables.as_records(champion.predict(people[0].head(12))), champion.signature)
    got = [answer.json["predictions"][0] for answer in answers]
    assert [each["label"] for each in got] == [each["label"] for each in expected]
    np.testing.assert_allclose([e["scores"]["bad"] for e in got], [e["scores"]["bad"] for e in expected], rtol=1e-12)


def test_a_row_that_a_model_cannot_answer_harms_no_other_in_its_batch(front, champion, row):
    class Choosy(Held):
        def answers(self, model, frame):
            found = super().answers(model, frame)
            if (frame["age"] == 99).any():
                raise ValueError("k3pt-0ut")
            return found

    choosy = Choosy(champion.adapter)
    served = front(packages={"champion": unplanned(champion, adapter=choosy)})

    async def story():
        with let_go(choosy):
            first = asyncio.ensure_future(post(served.endpoint, {"rows": [row]}))
            await begun(choosy)
            ages = (30, 99, 31)
            rest = [asyncio.ensure_future(post(served.endpoint, {"rows": [{**row, "age": age}]})) for age in ages]
            await taken(served.endpoint, 4)
        return await asyncio.gather(first, *rest)

    answers = asyncio.run(story())
    assert [code(answer) for answer in answers] == [(200, "ok"), (200, "ok"), (422, "unanswerable"), (200, "ok")]
    assert answers[2].headers[protocol.ARM] == "champion"
    assert b"k3pt" not in answers[2].body


def test_a_number_that_is_not_finite_is_refused(front, champion, row):
    def ruin(answers):
        (one,) = answers
        return (Answers(labels=one.labels, values=one.values, scores=np.full_like(one.scores, np.nan)),)

    served = front(packages={"champion": held(champion, held=False, change=ruin)})
    answer = posted(served.endpoint, {"rows": [row]})
    assert code(answer) == (422, "unanswerable")


def test_a_model_that_hangs_is_answered_504_in_time_and_leaves_the_others_alone(front, champion, challenger, row):
    stuck = held(champion)
    served = front(packages={"champion": stuck}, route=BOTH, timeout_s=0.2, limits=Limits(concurrency=4))
    unit, other = routing.unit_for(BOTH, "champion"), routing.unit_for(BOTH, "challenger")

    async def story():
        with let_go(stuck.adapter):
            lost = [
                asyncio.ensure_future(post(served.endpoint, {"rows": [row], "customer_id": unit})) for _ in range(4)
            ]
            await begun(stuck.adapter)
            well = await post(served.endpoint, {"rows": [row], "customer_id": other})
            return well, await asyncio.gather(*lost)

    well, lost = asyncio.run(story())
    assert code(well) == (200, "ok")
    assert sorted(code(answer) for answer in lost) == [(429, "too_many_requests"), *[(504, "timeout")] * 3]
    assert stuck.adapter.sizes == [1]
    assert {answer.headers[protocol.ARM] for answer in lost} == {"champion"}


class Same(Hooks):
    """A hook that changes nothing, and keeps a service from asking about several requests at once."""

    def preprocess(self, frame):
        return frame


@pytest.mark.parametrize("hooks", [Hooks(), Same()])
def test_what_is_no_error_is_told_as_one_and_the_next_request_is_answered(front, champion, row, hooks, caplog):
    class Panic(BaseException):
        pass

    panics = [Panic("k3pt-0ut")]

    def once(answers):
        if panics:
            raise panics.pop()
        return answers

    served = front(packages={"champion": held(champion, held=False, change=once)}, hooks=hooks)
    assert code(posted(served.endpoint, {"rows": [row]})) == (500, "internal")
    assert "Panic at test_endpoints.py" in caplog.text
    assert "k3pt-0ut" not in caplog.text
    assert code(posted(served.endpoint, {"rows": [row]})) == (200, "ok")


class Ends(Hooks):
    """Hooks that end by what is no error."""

    def unit_of(self, request, body):
        raise self.ends

    preprocess = Same.preprocess


class EndsLater(Hooks):
    def preprocess(self, frame):
        raise self.ends


class _Panic(BaseException):
    pass


@pytest.mark.parametrize("ends", [_Panic("k3pt-0ut"), SystemExit(3)])
@pytest.mark.parametrize("hooks", [Ends, EndsLater])
@pytest.mark.parametrize(("path", "made"), [("/predict", _predict), ("/explain", _explain)])
def test_what_is_no_error_is_told_as_one_wherever_a_hook_ends_so(front, row, hooks, ends, path, made, caplog):
    hook = hooks()
    hook.ends = ends
    assert code(posted(front(hooks=hook, made=made).endpoint, {"rows": [row]}, path=path)) == (500, "internal")
    assert f"{type(ends).__name__} at test_endpoints.py" in caplog.text


def test_what_was_given_up_and_goes_on_takes_no_more_than_so_many_threads(front, champion, row):
    stuck = held(champion)
    served = front(packages={"champion": stuck}, hooks=Same(), threads=2)

    body, named = sent({"rows": [row]})

    async def story():
        with let_go(stuck.adapter):
            given_up = []
            for n in range(1, 5):
                leaver = Caller(body)
                asking = asyncio.ensure_future(ask(served.endpoint, "POST", "/predict", headers=named, caller=leaver))
                while len(stuck.adapter.sizes) < n:  # noqa: ASYNC110 -- its thread begins by itself
                    await asyncio.sleep(0.01)
                leaver.left.set()
                given_up.append(await asking)
            return given_up, await post(served.endpoint, {"rows": [row]})

    given_up, refused = asyncio.run(story())
    assert {code(answer) for answer in given_up} == {(400, "disconnected")}
    assert code(refused) == (429, "too_many_requests")
    assert len(stuck.adapter.sizes) == 4


def test_a_request_whose_caller_has_left_is_never_computed(front, champion, row):
    slow = held(champion)
    served = front(packages={"champion": slow})
    body, named = sent({"rows": [row, row]})
    leaver = Caller(body)

    async def story():
        with let_go(slow.adapter):
            first = asyncio.ensure_future(post(served.endpoint, {"rows": [row]}))
            await begun(slow.adapter)
            second = asyncio.ensure_future(ask(served.endpoint, "POST", "/predict", headers=named, caller=leaver))
            await taken(served.endpoint, 2)
            leaver.left.set()
            await second
        return await first

    assert code(asyncio.run(story())) == (200, "ok")
    assert slow.adapter.sizes == [1]
    served.log.flush()
    assert sorted(line["code"] for line in served.lines) == ["disconnected", "ok"]


def test_a_kind_of_model_whose_rows_may_depend_on_each_other_is_asked_alone(front, champion, row):
    alone = unplanned(champion, manifest={**champion.manifest, "carries": ["code"]})
    served = front(packages={"champion": alone})
    assert served.endpoint._batchers == {}
    assert posted(served.endpoint, {"rows": [row]}).status == 200


@pytest.mark.parametrize(("imputer", "together"), [(IterativeImputer(max_iter=3), False), (KNNImputer(), True)])
def test_a_model_that_looks_at_the_rows_beside_one_is_asked_for_each_request_alone(imputer, together):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(80, 2)), columns=["a", "b"]).mask(rng.random((80, 2)) < 0.1)
    model = make_pipeline(imputer, GaussianProcessClassifier()).fit(X, rng.random(80) > 0.5)
    package = pack(model, name="filled", reference=X, overview=False)
    plane = plane_of({"champion": package}, unit=None)
    found = shortcut.batchers(plane)
    for each in found.values():
        each.close()
    assert (list(found) == ["champion"]) is together
    assert package.is_row_by_row is together


def test_a_body_is_read_while_a_model_holds_every_thread(front, champion, row):
    alone = held(champion, manifest={**champion.manifest, "carries": ["code"]})
    served = front(packages={"champion": alone}, route=routing.only("champion"), threads=1, timeout_s=PATIENCE_S)

    async def story():
        with let_go(alone.adapter):
            first = asyncio.create_task(post(served.endpoint, {"rows": [row]}))
            await begun(alone.adapter)
            refused = await asyncio.wait_for(post(served.endpoint, b"{" * 9000), PATIENCE_S / 2)
        return refused, await first

    assert [code(answer) for answer in asyncio.run(story())] == [(400, "invalid_request"), (200, "ok")]


def in_full(answer):
    """Give an answer without its id."""
    document = answer.json | {"id": ""}
    return answer.status, document, {**answer.headers, protocol.ID: "", "content-length": ""}


@pytest.mark.parametrize(
    "change",
    [
        {"age": 41.0},  # whole, but a number
        {"age": "41"},
        {"income": None, "customer_id": "c-1"},
        {"customer_id": 1.5},
        {"another": 1},
    ],
)
def test_what_the_types_leave_is_answered_as_the_data_plane_answers_it(front, champion, row, change):
    served = front()
    document = {"rows": [{**row, **change}]}
    slow = served.plane.predict(Request(body=json.dumps(document).encode()))
    headers = {**slow.headers, "content-length": ""}
    expected = SimpleNamespace(status=slow.status, json=json.loads(slow.body), headers=headers)
    assert in_full(posted(served.endpoint, document)) == in_full(expected)


def test_bodies_that_the_types_leave_are_asked_together_too(front, champion, row):
    slow = held(champion)
    served = front(packages={"champion": slow})

    async def story():
        with let_go(slow.adapter):
            asking = [asyncio.ensure_future(post(served.endpoint, {"rows": [row]}))]
            await begun(slow.adapter)
            odd = {"rows": [{**row, "age": 41.0}]}
            asking += [asyncio.ensure_future(post(served.endpoint, odd)) for _ in range(3)]
            while served.endpoint._batchers["champion"].n_unanswered < 4:  # noqa: ASYNC110 -- a thread reads them
                await asyncio.sleep(0)
        return await asyncio.gather(*asking)

    answers = asyncio.run(story())
    assert [code(answer) for answer in answers] == [(200, "ok")] * 4
    assert slow.adapter.sizes == [1, 3]


def test_a_model_that_cannot_answer_a_body_that_the_types_leave_is_told_alike(front, champion, row):
    def fail(answers):
        raise ArithmeticError("k3pt-0ut")

    served = front(packages={"champion": held(champion, held=False, change=fail)}, unit="cookie:visitor")
    for age in (41, 41.0):
        answer = posted(served.endpoint, {"rows": [{**row, "age": age}]})
        assert code(answer) == (422, "unanswerable")
        assert "set-cookie" in answer.headers
        assert answer.headers[protocol.ARM] == "champion"
        assert b"k3pt" not in answer.body
    served.log.settle()
    assert [what[1:3] for what in served.plane.seen] == [("champion", "unanswerable")] * 2


# ── explanations


def test_an_explanation_is_what_the_data_plane_explains(front, champion, row):
    served = front(made=_explain)
    document = {"rows": [row], "customer_id": "c-1"}
    quick = posted(served.endpoint, document, path="/explain").json
    slow = json.loads(served.plane.explain(Request(body=json.dumps(document).encode())).body)
    for each in (quick, slow):
        each["id"] = each["elapsed_ms"] = each["explanations"][0]["elapsed_ms"] = 0
    assert quick == slow


def test_an_explanation_that_fails_is_told_as_the_data_plane_tells_it(front, champion, row):
    class Failing:
        def explain(self, frame, *, seed=0):
            raise EkibenError("k3pt-0ut")

    broken = replace(champion)
    broken.__dict__["explainer"] = Failing()
    served = front(packages={"champion": broken}, made=_explain)
    answer = posted(served.endpoint, {"rows": [row]}, path="/explain")
    assert code(answer) == (500, "internal")
    assert b"k3pt" not in answer.body


# ── who is let in, and until when


def test_more_requests_at_once_than_the_spec_says_are_refused_before_any_work(front, champion, row):
    slow = held(champion)
    served = front(packages={"champion": slow}, limits=Limits(concurrency=2))

    async def story():
        with let_go(slow.adapter):
            first = [asyncio.ensure_future(post(served.endpoint, {"rows": [row]})) for _ in range(2)]
            await begun(slow.adapter)
            _, named = sent({"rows": [row]})
            refused = await ask(served.endpoint, "POST", "/predict", headers=named, caller=Caller(silent=True))
        return refused, await asyncio.gather(*first), await post(served.endpoint, {"rows": [row]})

    refused, first, after = asyncio.run(story())
    assert code(refused) == (429, "too_many_requests")
    assert refused.headers["retry-after"] == "1"
    assert [code(answer) for answer in (*first, after)] == [(200, "ok")] * 3


def slowly_sent(endpoint, part):
    caller = Caller(part, silent=True)
    _, named = sent({})
    return asyncio.ensure_future(ask(endpoint, "POST", "/predict", headers=named, caller=caller))


def test_bodies_that_are_on_their_way_keep_nobody_from_being_answered(front, row):
    served = front(limits=Limits(concurrency=2), timeout_s=0.5)

    async def story():
        slow = [slowly_sent(served.endpoint, b"{") for _ in range(20)]
        await asyncio.sleep(0)
        return await post(served.endpoint, {"rows": [row]}), await asyncio.gather(*slow)

    answer, slow = asyncio.run(story())
    assert code(answer) == (200, "ok")
    assert {code(each) for each in slow} == {(408, "slow_body")}
    assert (served.endpoint.n_asked, served.endpoint._arriving.n_bytes) == (0, 0)


def test_bodies_that_are_on_their_way_hold_no_more_bytes_than_those_that_are_answered(front, row):
    served = front(limits=Limits(concurrency=2, max_body_mb=0.001), timeout_s=0.5)

    async def story():
        slow = [slowly_sent(served.endpoint, b"{" * 900) for _ in range(4)]
        await asyncio.sleep(0)
        return await post(served.endpoint, {"rows": [row]}), await asyncio.gather(*slow)

    answer, slow = asyncio.run(story())
    assert code(answer) == (200, "ok")
    assert sorted(code(each)[0] for each in slow) == [408, 408, 429, 429]
    assert served.endpoint._arriving.n_bytes == 0


@pytest.mark.parametrize("asked_alone", [False, True])
@pytest.mark.parametrize(
    ("headers", "takes_s", "taken_before"),
    [
        ({}, 1.0, FEW),  # four may wait in turn for a model that takes a second
        ({"x_ekiben_deadline_ms": "30000"}, 1.0, 20),
        ({"x_ekiben_deadline_ms": "18000"}, 20.0, 1),  # the second would be late
    ],
)
def test_what_would_be_late_behind_others_is_refused_at_once(
    front, champion, row, headers, takes_s, taken_before, asked_alone
):
    slow = held(champion, **({"manifest": {**champion.manifest, "carries": ["code"]}} if asked_alone else {}))
    served = front(packages={"champion": slow}, paces={"champion": slowly(takes_s)}, threads=1)
    assert bool(served.endpoint._batchers) is not asked_alone

    async def story():
        with let_go(slow.adapter):
            asked = [asyncio.ensure_future(post(served.endpoint, {"rows": [row]}, **headers)) for _ in range(22)]
            await begun(slow.adapter)
            refused = [each for each in asked if each.done()]
        return [each.result() for each in refused], await asyncio.gather(*asked)

    refused, answers = asyncio.run(story())
    assert len(refused) == len(answers) - taken_before
    for each in refused:
        assert code(each) == (429, "too_many_requests")
        assert int(each.headers["retry-after"]) >= 1
    assert {each.status for each in answers if each not in refused} == {200}


def test_a_service_of_one_arm_refuses_what_would_be_late_before_its_body_is_read(front, champion, row):
    slow = held(champion)
    served = front(packages={"champion": slow}, paces={"champion": slowly(1.0)})

    async def story():
        with let_go(slow.adapter):
            first = [asyncio.ensure_future(post(served.endpoint, {"rows": [row]})) for _ in range(FEW)]
            await begun(slow.adapter)
            _, named = sent({"rows": [row]})
            refused = await ask(served.endpoint, "POST", "/predict", headers=named, caller=Caller(silent=True))
        return refused, await asyncio.gather(*first)

    refused, first = asyncio.run(story())
    assert code(refused) == (429, "too_many_requests")
    assert 1 <= int(refused.headers["retry-after"]) <= 6
    assert [code(answer) for answer in first] == [(200, "ok")] * FEW


def test_a_body_is_refused_by_its_announced_length_before_it_is_read(front, row):
    served = front(limits=Limits(max_body_mb=0.001))
    _, named = sent(b"", content_length="1001")
    answer = asyncio.run(ask(served.endpoint, "POST", "/predict", headers=named, caller=Caller(silent=True)))
    assert code(answer) == (413, "too_large")


def test_a_body_that_grows_beyond_the_limit_is_refused(front):
    served = front(limits=Limits(max_body_mb=0.001))
    answer = asyncio.run(ask(served.endpoint, "POST", "/predict", b" " * 600, b" " * 600, headers={}))
    assert code(answer) == (413, "too_large")


def test_a_body_in_parts_is_read_whole(front, row):
    body, named = sent({"rows": [row]})
    parts = [body[:10], b"", body[10:30], body[30:]]
    assert code(asyncio.run(ask(front().endpoint, "POST", "/predict", *parts, headers=named))) == (200, "ok")


def test_a_body_that_arrives_later_is_waited_for(front, row):
    body, named = sent({"rows": [row]})

    class Late(Caller):
        async def receive(self):
            await asyncio.sleep(0)
            return await super().receive()

    served = front()
    answer = asyncio.run(ask(served.endpoint, "POST", "/predict", headers=named, caller=Late(body[:9], body[9:])))
    assert code(answer) == (200, "ok")


def test_a_body_that_stops_is_refused_in_time(front):
    served = front(timeout_s=0.1)
    caller = Caller(b'{"rows"', silent=True)
    answer = asyncio.run(ask(served.endpoint, "POST", "/predict", headers={}, caller=caller))
    assert code(answer) == (408, "slow_body")


def test_a_caller_who_leaves_within_the_body_is_told_of_in_the_log(front):
    served, caller = front(), Caller()
    caller.left.set()
    asyncio.run(ask(served.endpoint, "POST", "/predict", headers={}, caller=caller))
    served.log.flush()
    assert [line["code"] for line in served.lines] == ["disconnected"]


def test_a_deadline_tightens_the_timeout(front, champion, row):
    stuck = held(champion)
    served = front(packages={"champion": stuck})
    with let_go(stuck.adapter):
        answer = posted(served.endpoint, {"rows": [row]}, x_ekiben_deadline_ms="50")
    assert code(answer) == (504, "timeout")
    assert "within 0.05 s" in answer.json["error"]["message"]


def test_an_expired_deadline_is_answered_before_the_model_is_asked(front, champion, row):
    asked = held(champion, held=False)
    answer = posted(front(packages={"champion": asked}).endpoint, {"rows": [row]}, x_ekiben_deadline_ms="0")
    assert code(answer) == (504, "timeout")
    assert asked.adapter.sizes == []


@pytest.mark.parametrize("absurd", ["soon", "-1", "1.5", "", "86400001", "9" * 400, "٣"])
def test_a_deadline_that_is_none_is_refused_without_repeating_it(front, row, absurd):
    body, named = sent({"rows": [row]})
    headers = {**named, "x-ekiben-deadline-ms": absurd.encode().decode("latin-1")}
    answer = asyncio.run(ask(front().endpoint, "POST", "/predict", body, headers=headers))
    assert code(answer) == (400, "invalid_deadline")
    assert absurd not in answer.json["error"]["message"].replace("-ms", "") or absurd == ""


# ── what is told


def test_each_request_is_one_line_that_holds_no_value(front, champion, row):
    served = front(packages={"champion": with_plan(champion)})
    traceparent = f"00-{TRACE}-00f067aa0ba902b7-01"
    good = posted(served.endpoint, {"rows": [{**row, "job": "k3pt-0ut"}] * 2}, traceparent=traceparent)
    bad = posted(served.endpoint, {"rows": [{**row, "age": "k3pt-0ut"}]}, traceparent='00-"}{"')
    served.log.flush()
    first, second = served.lines
    assert (first["id"], first["endpoint"], first["arm"]) == (good.json["id"], "predict", "champion")
    assert (first["model"], first["status"], first["code"]) == (str(champion.ref), 200, "ok")
    assert (first["rows"], first["trace"]) == (2, TRACE)
    assert (second["id"], second["code"], second["trace"]) == (bad.headers[protocol.ID], "invalid_request", "")
    assert "k3pt" not in json.dumps(served.lines)


def test_every_outcome_is_counted_once_with_its_endpoint_arm_and_code(front, champion, row):
    served = front(packages={"champion": with_plan(champion)})
    posted(served.endpoint, {"rows": [row]})
    posted(served.endpoint, {"rows": []})
    posted(served.endpoint, {"rows": [row]}, x_ekiben_deadline_ms="never")
    served.log.settle()
    assert [what[:3] for what in served.plane.seen] == [
        ("predict", "champion", "ok"),
        ("predict", "", "invalid_request"),
        ("predict", "", "invalid_deadline"),
    ]


def test_another_protocol_is_another_path_and_endpoint(front, champion, row, monkeypatch):
    class Mirrored(Rows):
        def read(self, request):
            return super().read(replace(request, body=request.body[::-1]))

    def mirrored(opened):
        plane = opened.plane
        return Endpoint(plane, "mirror", opened.log, dialect=Mirrored(plane.spec, plane.contract, 10))

    monkeypatch.setitem(__import__("ekiben.front").front.ASKED_BY_POST, "/mirror", mirrored)
    monkeypatch.setattr(Front, "live", front().plane)
    body, named = sent({"rows": [row]})
    answer = asyncio.run(ask(Front(None), "POST", "/mirror", body[::-1], headers=named))
    assert code(answer) == (200, "ok")


# ── explanations beside predictions


def test_predictions_may_bring_their_explanations(front, champion, row):
    served = front()
    document = {"rows": [row], "customer_id": "c-1", "explain": True}
    quick = posted(served.endpoint, document).json
    slow = json.loads(served.plane.predict(Request(body=json.dumps(document).encode())).body)
    alone = posted(served.endpoint, {**document, "explain": False}).json
    explained = json.loads(served.plane.explain(Request(body=json.dumps({"rows": [row]}).encode())).body)
    for each in (quick, slow, alone, explained):
        each["id"] = each["elapsed_ms"] = 0
    for each in (quick, slow, explained):
        each["explanations"][0]["elapsed_ms"] = 0
    assert quick == slow
    assert quick["predictions"] == alone["predictions"]
    assert quick["explanations"] == explained["explanations"]
    assert quick["rung"] == "exact"
    assert "explanations" not in alone


@pytest.mark.parametrize("n_rows", [1, 3])
def test_what_is_recorded_of_explanations_is_the_same_by_both_ways(front, champion, row, n_rows):
    plane, kept = front().plane, []
    plane.explaining = Explaining(plane.spec, {"champion": champion}, meter())
    plane.keeper = SimpleNamespace(
        keep=lambda told: kept.append(told[-1]), append=None, syncs=False, close=lambda: None
    )
    served, document = front(plane=plane), {"rows": [row] * n_rows, "customer_id": "c-1"}
    for explain in (True, False):
        assert posted(served.endpoint, {**document, "explain": explain}).status == 200
        plane.predict(Request(body=json.dumps({**document, "explain": explain}).encode()))
    quick = front(plane=plane, made=_explain)
    assert posted(quick.endpoint, document, path="/explain").status == 200
    plane.explain(Request(body=json.dumps(document).encode()))
    untimed = [re.sub(rb'"elapsed_ms":[0-9.]+}', b"", each) for each in kept]
    assert untimed[0::2] == untimed[1::2]
    assert [each.count(b'"explanation":{"method":"linear"') for each in kept] == [*[n_rows] * 2, 0, 0, *[n_rows] * 2]


class _Named(Hooks):
    """A hook after which every request is the data plane's."""

    def unit_of(self, request, body):
        return "somebody"


@pytest.mark.parametrize("hooks", [Hooks(), _Named()], ids=["quick lane", "data plane"])
def test_others_are_answered_while_many_predictions_are_explained(front, champion, row, monkeypatch, hooks):
    served, go = front(hooks=hooks, limits=Limits(explain_rows=20)), threading.Event()
    explain = type(champion).documents

    def held(package, rows):
        assert len(rows) == 1 or go.wait(PATIENCE_S), "the others wait"
        return explain(package, rows)

    monkeypatch.setattr(type(champion), "documents", held)

    async def both():
        many = asyncio.ensure_future(post(served.endpoint, {"rows": [row] * 20, "explain": True}))
        await asyncio.sleep(0)
        other = await post(served.endpoint, {"rows": [row]})
        assert not many.done()
        go.set()
        return other.status, (await many).json

    status, told = asyncio.run(both())
    assert (status, len(told["predictions"]), len(told["explanations"])) == (200, 20, 20)


def test_a_few_predictions_whose_explanations_take_little_are_explained_on_the_way(front, row):
    served = front()
    lane = served.endpoint._lane
    few = lane.admit(sent({"rows": [row] * 5, "explain": True})[0], {}, {})
    assert not lane.is_quick(few)  # nobody knows yet
    assert posted(served.endpoint, {"rows": [row], "explain": True}).status == 200
    lane.arms["champion"].why_us = 10.0
    assert lane.is_quick(few)
    lane.arms["champion"].why_us = 1000.0
    assert not lane.is_quick(few)


def test_what_is_not_explained_at_once_is_not_explained_beside_predictions(front, challenger, row):
    served = front(route=routing.only("challenger"))
    answer = posted(served.endpoint, {"rows": [row], "explain": True})
    assert code(answer) == (400, "not_at_once")
    assert "POST /explain" in answer.json["error"]["message"]
    assert posted(served.endpoint, {"rows": [row], "explain": False}).status == 200


def test_explanations_beside_predictions_keep_to_the_limit_and_the_key(front, row):
    served = front(limits=Limits(explain_rows=2))
    assert code(posted(served.endpoint, {"rows": [row] * 3, "explain": True})) == (413, "too_many_rows")
    assert posted(served.endpoint, {"rows": [row] * 3}).status == 200
    assert code(posted(served.endpoint, {"rows": [row], "explain": "yes"})) == (400, "invalid_request")
    served.plane.may_explain = lambda shown: shown == b"Bearer good"
    assert code(posted(served.endpoint, {"rows": [row], "explain": True})) == (403, "forbidden")
    assert posted(served.endpoint, {"rows": [row], "explain": True}, authorization="Bearer good").status == 200
    assert posted(served.endpoint, {"rows": [row]}).status == 200


def test_an_explanation_tells_no_more_columns_than_may_be(front, champion, row):
    limits = Limits(explain_columns=2)
    served = front(made=_explain, limits=limits)
    refused = posted(served.endpoint, {"rows": [row]}, path="/explain")
    assert code(refused) == (413, "too_many_columns")
    says = "An explanation may tell 2 columns here. This one would tell 4. Ask POST /explain with ?top=2."
    assert refused.json["error"]["message"] == says
    for query in ("top=2", "columns=age,job", "columns=age,job,income&top=1"):
        told = posted(served.endpoint, {"rows": [row]}, path=f"/explain?{query}")
        assert told.status == 200, told.json
        assert len(set(told.json["explanations"][0]["contributions"]) & set(row)) <= 2
    for query in ("top=3", "columns=age,job,income"):
        assert code(posted(served.endpoint, {"rows": [row]}, path=f"/explain?{query}")) == (413, "too_many_columns")
    beside = posted(front(limits=limits).endpoint, {"rows": [row], "explain": True})
    assert code(beside) == (413, "too_many_columns")
    whole = front(limits=Limits(explain_columns=4))
    assert posted(whole.endpoint, {"rows": [row], "explain": True}).status == 200


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (
            "units=target",
            "`units` must be a scale of this model's answers: probability, log-odds, margin. Got another.",
        ),
        (
            "units=margin&method=anchor",
            "`method` must be one that explains on the scale of `units`. This one knows none.",
        ),
    ],
)
def test_a_scale_that_there_is_not_is_refused_before_a_ticket_is_given(front, row, query, says):
    served = front(made=_explain, explain=Explain(methods=("anchor",)))
    for wait in ("", "&wait=0"):
        answer = posted(served.endpoint, {"rows": [row]}, path=f"/explain?{query}{wait}")
        assert code(answer) == (400, "invalid_query")
        assert answer.json["error"]["message"].startswith(says)


def test_more_explanations_a_second_than_may_be_hear_when_to_come_back(front, row):
    served = front(made=_explain, limits=Limits(explain_per_s=0.001))
    assert posted(served.endpoint, {"rows": [row]}, path="/explain").status == 200
    refused = posted(served.endpoint, {"rows": [row]}, path="/explain")
    assert code(refused) == (429, "too_many_explanations")
    assert int(refused.headers["retry-after"]) > 900


def at_once(endpoint, row):
    """Ask as a segment that holds a whole request does; None where it is left to the usual way."""
    body, named = sent({"rows": [row]})
    headers = [(name.encode(), value.encode()) for name, value in named.items()]

    async def asked():
        return endpoint.at_once(headers, dict(headers), body)

    return asyncio.run(asked())


def pressed(endpoint, seconds):
    """Let predictions be asked for at all times, beside explanations that took so long."""
    endpoint._share.others_at = math.inf
    endpoint._share.took(seconds)


def test_predictions_are_seen_by_every_way_and_explanations_are_none(front, champion, row):
    served = front(packages={"champion": with_plan(champion)})
    share = served.endpoint._share
    for asks in (lambda: at_once(served.endpoint, row), lambda: posted(served.endpoint, {"rows": [row]})):
        share.others_at = -math.inf
        asks()
        assert share.is_shared
    explains = front(made=_explain)
    assert at_once(explains.endpoint, row).status == 200
    assert posted(explains.endpoint, {"rows": [row]}, path="/explain").status == 200
    assert not explains.endpoint._share.is_shared
    assert explains.endpoint._share.waits_s() == 0


def test_the_endpoints_of_one_process_share_its_time(champion):
    opened = _Opened(plane_of({"champion": champion}))
    assert len({each._share for each in opened.endpoints.values()}) == 1
    opened.close()


@pytest.mark.parametrize("path", ["/explain", "/explain?top=2"])
def test_beside_predictions_explanations_wait_for_their_turn_in_the_order_they_came(front, row, path):
    served = front(made=_explain, limits=Limits(explain_share=0.5))
    share, turns = served.endpoint._share, []
    pressed(served.endpoint, 0.05)
    assert at_once(served.endpoint, row) is None  # not now

    async def asked(nth):
        answer = await post(served.endpoint, {"rows": [row]}, path=path)
        turns.append(nth)
        return answer

    async def several():
        return await asyncio.gather(*map(asked, range(FEW)))

    answers = asyncio.run(several())
    assert [each.status for each in answers] == [200] * FEW
    assert path != "/explain" or turns == sorted(turns)  # others are read in threads, and come as they come
    assert share.n_waiting == 0


@pytest.mark.parametrize("path", ["/explain", "/explain?top=2"])
def test_explanations_that_would_wait_too_long_beside_predictions_are_told_to_come_back(front, row, path):
    served = front(made=_explain)
    pressed(served.endpoint, 600)
    served.endpoint._share.n_waiting = FEW
    refused = posted(served.endpoint, {"rows": [row]}, path=path)
    assert code(refused) == (429, "too_many_explanations")
    assert refused.json["error"]["message"].startswith("At most 25% of this process's time is for explanations")
    assert refused.headers["retry-after"] == "10"
    outcome = at_once(served.endpoint, row)
    assert (outcome.status, outcome.code) == (429, "too_many_explanations")
    served.endpoint._share.others_at = -math.inf  # nobody asks for predictions any more
    refused = posted(served.endpoint, {"rows": [row]}, path=path)
    assert refused.json["error"]["message"].startswith("An explanation must be there in time.")
    served.endpoint._share.n_waiting = 0
    assert posted(served.endpoint, {"rows": [row]}, path=path).status == 200


def test_beside_predictions_a_long_request_lets_others_go_first_after_each_row(front, champion, row, monkeypatch):
    served, sizes = front(made=_explain), []
    package = served.plane.packages["champion"]
    whole = posted(served.endpoint, {"rows": [row] * 4}, path="/explain").json
    explain = type(package).documents
    monkeypatch.setattr(
        type(package), "documents", lambda own, rows: [sizes.append(len(rows)), *explain(own, rows)][1:]
    )
    assert posted(served.endpoint, {"rows": [row] * 4}, path="/explain").status == 200
    pressed(served.endpoint, 0.01)
    served.endpoint._share.took(0.01)
    steps = posted(served.endpoint, {"rows": [row] * 4}, path="/explain")
    assert (steps.status, sizes) == (200, [4, 1, 1, 1, 1])

    def untimed(document):
        told = {key: value for key, value in document.items() if key not in ("id", "elapsed_ms")}
        return told | {"explanations": [each | {"elapsed_ms": 0} for each in told["explanations"]]}

    assert untimed(steps.json) == untimed(whole)
    assert steps.headers[protocol.ID] == steps.json["id"]
    assert served.endpoint._share.n_waiting == 0


@pytest.mark.parametrize("has_seen", [True, False], ids=["beside predictions", "before the first"])
def test_one_explanation_at_a_time_lets_go_first_what_has_come(front, row, monkeypatch, has_seen):
    explains, order = front(made=_explain), []
    share = explains.endpoint._share
    predicts = front(plane=explains.plane)
    predicts.endpoint._share = share
    package = type(explains.plane.packages["champion"])
    monkeypatch.setattr(package, "documents", noted(package.documents, order, "explained", AT_ONCE_S * 2))
    monkeypatch.setattr(predicts.endpoint._lane, "planned", noted(predicts.endpoint._lane.planned, order, "predicted"))
    share.took(AT_ONCE_S * 2)  # as long as each of them is
    share.passed()
    share.others_at = perf_counter() if has_seen else -math.inf

    async def several():
        waiting = [asyncio.create_task(post(explains.endpoint, {"rows": [row]}, path="/explain")) for _ in range(FEW)]
        await taken(explains.endpoint, FEW)
        answers = [await post(predicts.endpoint, {"rows": [row]}) for _ in range(FEW)]
        return [*answers, *await asyncio.gather(*waiting)]

    assert [each.status for each in asyncio.run(several())] == [200] * (2 * FEW)
    assert sorted(order) == ["explained"] * FEW + ["predicted"] * FEW
    assert order[: FEW + 1].count("explained") <= 1  # at most the one that had begun


def noted(act, order, name, seconds=0.0):
    """Do as before, for longer, and say so."""

    def done(*given, **named):
        order.append(name)
        until = perf_counter() + seconds
        while perf_counter() < until:
            pass
        return act(*given, **named)

    return done


def test_in_one_pass_of_the_loop_explanations_take_a_millisecond_or_one_of_them(front, row, monkeypatch):
    served = front(made=_explain)
    share = served.endpoint._share
    monkeypatch.setattr(ticketing, "perf_counter", (AT_ONCE_S / 8 * tick for tick in count()).__next__)
    body, named = sent({"rows": [row]})
    headers = [(name.encode(), value.encode()) for name, value in named.items()]

    async def in_passes(*sizes):
        found = []
        for n in sizes:
            found.append([served.endpoint.at_once(headers, dict(headers), body) is not None for _ in range(n)])
            await asyncio.sleep(0)
        return found

    assert asyncio.run(in_passes(3, 2)) == [[True] * 3, [True] * 2]  # each takes an eighth of it
    for _ in range(100):
        share.took(AT_ONCE_S * 2)
    share.passed()
    assert asyncio.run(in_passes(3, 2)) == [[True, False, False], [True, False]]


@pytest.fixture
def apart(front, monkeypatch):
    """Make an endpoint beside a process that has room for so many explanations, and explains by the plan or not."""

    def make(most, *, is_quick=False, **settings):
        served = front(made=_explain, **settings)
        pool = SimpleNamespace(takes=lambda n_coming: n_coming < most)
        explaining = SimpleNamespace(pool=pool, is_quick=lambda _arm, _wish: is_quick)
        monkeypatch.setattr(served.plane, "explaining", explaining)
        return served

    return make


def in_one_pass(endpoint, row, n, *, n_rows=1):
    """Ask so often before the loop sees anything else; None for what is left to the usual way."""
    body, named = sent({"rows": [row] * n_rows})
    headers = [(name.encode(), value.encode()) for name, value in named.items()]

    async def asked():
        found = [endpoint.at_once(headers, dict(headers), body) for _ in range(n)]
        await asyncio.sleep(0)
        return [None if each is None else each.code for each in found]

    return asyncio.run(asked())


def test_no_more_are_let_in_than_find_room_beside_a_process_that_explains(apart, row):
    served = apart(3)
    for _ in range(2):  # nothing is left of those that were let in once they have begun
        assert in_one_pass(served.endpoint, row, 5) == [None] * 3 + ["busy"] * 2
    served.endpoint.n_asked = 60  # their bodies come slowly, and keep no process at work
    assert in_one_pass(served.endpoint, row, 1) == [None]
    served.endpoint.n_asked = served.plane.spec.limits.concurrency
    assert in_one_pass(served.endpoint, row, 1) == ["too_many_requests"]


class _Prepares(Hooks):
    """A hook after which nothing is explained on the way."""

    def preprocess(self, frame):
        return frame


def test_what_is_explained_here_is_not_refused_where_no_process_has_room(apart, row):
    assert in_one_pass(apart(0, is_quick=True, hooks=_Prepares()).endpoint, row, 1) == [None]


@pytest.fixture(scope="module")
def boosted():
    """A model of XGBoost, whose plan has no answer for a number that 32 bits cannot hold."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"size": rng.uniform(0.5, 9, 200), "age": rng.uniform(18, 90, 200)})
    model = XGBClassifier(n_estimators=5, max_depth=3).fit(X, X["size"] * 10 + X["age"] > 100)
    return pack(model, name="risk", reference=X, explainer="trees", overview=False)


@pytest.mark.parametrize("hooks", [Hooks(), _Prepares()], ids=["none", "preprocess"])
def test_a_row_that_only_a_library_explains_keeps_nobody_waiting(front, boosted, monkeypatch, hooks):
    served = front(made=_explain, plane=plane_of({"champion": boosted}, unit=None, hooks=hooks))
    of_library, threads = Trees._of_library, []

    def noted_thread(*given):
        threads.append(threading.current_thread())
        return of_library(*given)

    monkeypatch.setattr(Trees, "_of_library", noted_thread)
    for size, n_threads in ((3.0, 0), (1e39, 1)):
        answer = posted(served.endpoint, {"rows": [{"size": size, "age": 60.0}]}, path="/explain")
        (one,) = answer.json["explanations"]
        assert (answer.status, one["method"]) == (200, "tree-path-dependent")
        assert one["contributions"].keys() == {"size", "age"}
        assert len(threads) == n_threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("hooks", [Hooks(), _Named(), _Prepares()], ids=["none", "unit_of", "preprocess"])
def test_who_is_explained_by_a_process_is_on_its_way_to_it_until_it_is_there(apart, row, hooks):
    served = apart(3, hooks=hooks)
    began = []

    def begin(*_):
        began.append(served.endpoint._n_coming)
        raise EkibenError

    served.plane.explaining.begin = begin
    assert posted(served.endpoint, {"rows": [row]}, path="/explain").status == 500
    assert began == ([1] if isinstance(hooks, _Prepares) else [0])  # in the same step, where no hook wants a thread
    assert served.endpoint._n_coming == 0


@pytest.fixture(scope="module")
def logarithmic():
    """A model of two columns, one by its logarithm: it refuses a row whose number the logarithm loses."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"size": rng.uniform(0.5, 9, 200), "age": rng.uniform(18, 90, 200)})
    model = make_pipeline(FunctionTransformer(np.log), SVC()).fit(X, X["size"] * 10 + X["age"] > 100)
    return pack(model, name="risk", reference=X, explainer="sampling", overview=False)


@pytest.fixture
def idle(front, monkeypatch, tmp_path):
    """Make an endpoint beside a process that never begins; on which rungs was explained is told in a list."""
    monkeypatch.setattr(Pool, "start", lambda _pool: None)
    made = []

    def make(package, **settings):
        told, quiet = [], lambda *_: None
        counted = SimpleNamespace(
            explained=lambda *what: told.append(what[2]), explaining=quiet, killed=quiet, ticket=quiet
        )
        served = front(made=_explain, plane=plane_of({"champion": package}, unit=None))
        tickets = Tickets(tmp_path, keep_s=60, most=10, most_bytes=1e6)
        spec = replace(served.plane.spec, explain=Explain(**settings))
        explaining = Explaining(spec, served.plane.packages, counted, tickets)
        made.append(explaining)
        monkeypatch.setattr(served.plane, "explaining", explaining)
        return served, explaining, told

    yield make
    for each in made:
        each.close()


@pytest.mark.filterwarnings("ignore:.*encountered in log:RuntimeWarning")
@pytest.mark.parametrize("made", [replace, unplanned], ids=["by its plan", "by itself"])
@pytest.mark.parametrize("wait", ["wait=0", "wait=0.01"], ids=["not waited for", "late"])
def test_the_nearest_explanation_stands_in_for_no_row_that_the_model_refuses(idle, logarithmic, made, wait):
    served, explaining, told = idle(made(logarithmic), nearest=1.0)
    row = {"size": 3.0, "age": 60.0}
    columns = {name: [value] for name, value in row.items()}
    begun = explaining.begin("champion", columns, PLAIN, 1.0)
    one = {"kind": "attribution", "contributions": {"size": 1.0, "age": 0.0}}
    explaining.found(begun, Done(explanations=[one], method="sampling", is_exact=False, ms=1.0))
    begun.job.cancel()

    near = posted(served.endpoint, {"rows": [row | {"size": 4.0}]}, path=f"/explain?{wait}")
    assert (near.status, near.json["rung"], near.json["explanations"]) == (200, "cached", [one])
    for size in (-3.0, 0.0):
        refused = posted(served.endpoint, {"rows": [row, row | {"size": size}]}, path=f"/explain?{wait}")
        assert code(refused) == (422, "unanswerable")
    assert told == ["sampled", "cached"]
    assert all(job.is_cancelled for line in explaining.pool._waiting for job in line)


@pytest.mark.filterwarnings("ignore:.*encountered in log:RuntimeWarning")
def test_others_are_answered_while_the_nearest_rows_are_looked_for(idle, logarithmic, monkeypatch):
    served, explaining, _ = idle(logarithmic, nearest=1.0)
    threads = []
    monkeypatch.setattr(explaining, "nearest", lambda _begun: threads.append(threading.current_thread()))
    assert posted(served.endpoint, {"rows": [{"size": 3.0, "age": 60.0}]}, path="/explain?wait=0").status == 202
    assert threads
    assert threads != [threading.main_thread()]


def test_what_is_begun_for_a_caller_who_has_left_meanwhile_is_ended(idle, challenger, row):
    begins, goes_on = threading.Event(), threading.Event()

    class Slow(Hooks):
        def preprocess(self, frame):
            begins.set()
            assert goes_on.wait(PATIENCE_S)
            return frame

    served, explaining, _ = idle(challenger)
    served.plane.hooks = Slow()
    served.plane._prepares = True
    body, named = sent({"rows": [row]})
    leaver = Caller(body)

    async def story():
        asking = asyncio.ensure_future(ask(served.endpoint, "POST", "/explain", headers=named, caller=leaver))
        assert await asyncio.to_thread(begins.wait, PATIENCE_S)
        leaver.left.set()
        left = await asking
        goes_on.set()
        while explaining.pool.n_waiting == 0:  # noqa: ASYNC110 -- its thread comes to its end by itself
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        return left

    assert code(asyncio.run(asyncio.wait_for(story(), PATIENCE_S))) == (400, "disconnected")
    assert explaining.pool.n_waiting == 0


def test_a_ticket_that_cannot_be_looked_at_or_cancelled_is_told_in_the_one_shape(idle, logarithmic, monkeypatch):
    served, explaining, _ = idle(logarithmic)
    path = posted(served.endpoint, {"rows": [{"size": 3.0, "age": 60.0}]}, path="/explain?wait=0").json["poll"]

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as changed:
        changed.setattr(explaining.tickets, "_write", full)
        kept = ticketing.answered(served.plane, "DELETE", path, {}, lambda _headers: "")
    assert (kept.status, kept.code) == (503, "not_kept")
    monkeypatch.setattr(ticketing, "_shown", None)
    failed = ticketing.answered(served.plane, "GET", path, {}, lambda _headers: "")
    assert (failed.status, failed.code) == (500, "internal")


@pytest.mark.parametrize("kind", ["rule", "counterfactual", "examples"])
def test_no_rule_and_no_change_of_one_row_stands_in_for_another(kind, idle, logarithmic):
    _, explaining, _ = idle(logarithmic, nearest=1.0)
    columns = {"size": [3.0], "age": [60.0]}
    first = explaining.begin("champion", columns, PLAIN, 1.0)
    explaining.found(first, Done(explanations=[{"kind": kind}], method=kind, is_exact=False, ms=1.0))
    second = explaining.begin("champion", columns, PLAIN, 1.0)
    found = explaining.nearest(second)
    for begun in (first, second):
        begun.job.cancel()
    assert found is None


def test_the_record_of_a_nearest_explanation_says_how_that_one_was_made(idle, logarithmic):
    _, explaining, _ = idle(logarithmic, nearest=1.0)
    columns = {"size": [3.0], "age": [60.0]}
    one = {"kind": "attribution", "contributions": {"size": 1.0, "age": 0.0}}
    first = explaining.begin("champion", columns, replace(PLAIN, seed=7), 1.0)
    explaining.found(first, Done(explanations=[one], method="sampling", is_exact=False, ms=1.0, rounds=9))
    second = explaining.begin("champion", columns, replace(PLAIN, seed=8), 1.0)
    (told,) = explaining.audit(explaining.nearest(second))
    for begun in (first, second):
        begun.job.cancel()
    assert {name: told["explanation"][name] for name in ("rung", "seed", "rounds", "distance")} == {
        "rung": "cached",
        "seed": 7,
        "rounds": 9,
        "distance": 0.0,
    }


def test_who_finds_no_process_that_is_ready_gets_a_ticket_at_once(idle, logarithmic):
    served, _, told = idle(logarithmic)
    later = posted(served.endpoint, {"rows": [{"size": 3.0, "age": 60.0}]}, path="/explain")
    assert (later.status, later.json["why"]) == (202, "the process that explains is not ready yet")
    assert (later.headers["retry-after"], told) == ("3", ["later"])  # once it is ready, it draws for a second


def test_of_those_that_come_in_one_pass_only_as_many_wait_as_have_their_turn_in_time(front, row):
    served = front(made=_explain)
    share = served.endpoint._share
    share.took(1.0)
    share.passed()
    assert in_one_pass(served.endpoint, row, 20) == ["ok", *[None] * FEW, *["too_many_explanations"] * (19 - FEW)]
    assert share.n_waiting == 0


def test_of_requests_of_several_rows_fewer_have_their_turn_in_time(front, row):
    served = front(made=_explain)
    served.endpoint._share.took(0.009)
    served.endpoint._share.passed()
    assert in_one_pass(served.endpoint, row, 20, n_rows=10) == [*[None] * 7, *["too_many_explanations"] * 13]
    assert served.endpoint._share.rows_waiting == 0


@pytest.mark.parametrize("path", ["/explain", "/explain?top=2"])
def test_the_rows_of_those_that_wait_are_counted_by_every_way(front, row, path):
    served = front(made=_explain)
    served.endpoint._share.took(0.009)
    served.endpoint._share.passed()

    async def several():
        return await asyncio.gather(*[post(served.endpoint, {"rows": [row] * 10}, path=path) for _ in range(20)])

    assert sorted(each.status for each in asyncio.run(several())) == [200] * 7 + [429] * 13
    assert served.endpoint._share.rows_waiting == 0


def test_what_a_row_took_when_it_was_tried_is_known_before_the_first_request(front, monkeypatch):
    plane = front(made=_explain).plane
    assert ticketing.shared(plane).expected_s(10) == 0
    monkeypatch.setattr(plane, "explaining", SimpleNamespace(quick={"champion": 0.5, "challenger": 0.2}))
    assert ticketing.shared(plane).expected_s(10) == pytest.approx(0.005)
    assert _Opened(plane).share.expected_s(10) == pytest.approx(0.005)


def test_a_deadline_counts_from_when_the_request_came_though_its_body_comes_with_those_of_others(front, row):
    served = front(made=_explain)
    served.endpoint._share.took(0.01)
    body, named = sent({"rows": [row] * 10}, x_ekiben_deadline_ms="700")
    n, here, waiting = 20, asyncio.Event(), []

    class Together(Caller):
        async def receive(self):
            waiting.append(self)
            if len(waiting) == n:
                here.set()
            await here.wait()
            return await super().receive()

    async def several():
        asking = [ask(served.endpoint, "POST", "/explain", headers=named, caller=Together(body)) for _ in range(n)]
        return await asyncio.gather(*asking)

    statuses = [each.status for each in asyncio.run(several())]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) <= FEW


def test_all_that_wait_are_counted_before_the_first_has_its_turn(front, row):
    served = front(made=_explain)
    served.endpoint._share.took(1.0)

    async def several():
        asking = [post(served.endpoint, {"rows": [row]}, path="/explain") for _ in range(3 * FEW)]
        return await asyncio.gather(*asking)

    answers = asyncio.run(several())
    assert [each.status for each in answers] == [200] * FEW + [429] * (2 * FEW)
    assert served.endpoint._share.n_waiting == 0


def test_an_explanation_lets_go_no_more_requests_than_so_many(front, row):
    served = front(made=_explain)
    share = served.endpoint._share

    async def flooded():
        asking = asyncio.ensure_future(post(served.endpoint, {"rows": [row]}, path="/explain"))
        n_passes = 0
        while not asking.done():
            share.n_come += MOST_BEFORE
            n_passes += 1
            await asyncio.sleep(0)
        return (await asking).status, n_passes

    status, n_passes = asyncio.run(flooded())
    assert (status, n_passes < MOST_BEFORE) == (200, True)


def test_what_is_explained_with_a_wish_keeps_no_other_from_being_explained_at_once(front, row, monkeypatch):
    served = front(made=_explain)
    package = type(served.plane.packages["champion"])
    explain = package.documents
    with monkeypatch.context() as slower:
        slower.setattr(package, "documents", noted(explain, [], "explained", AT_ONCE_S * 2))
        assert posted(served.endpoint, {"rows": [row]}, path="/explain?top=2").status == 200
    assert served.endpoint._share.spent_s == 0
    assert at_once(served.endpoint, row).status == 200


def test_explanations_of_several_rows_are_measured_as_so_many(front, row):
    served = front(made=_explain)
    measured = []
    served.endpoint._share = SimpleNamespace(
        n_come=0, n_waiting=0, spent_s=0.0, is_long=lambda _n: True, waits_s=lambda: 0.0, turned=lambda *_: None,
        joined=lambda _n: None, left=lambda _n: None,
        took=lambda _s, n: measured.append(n), passed=lambda: None,
    )  # fmt: skip
    assert posted(served.endpoint, {"rows": [row] * 3}, path="/explain?top=2").status == 200
    assert measured == [3]


def test_behind_others_a_deadline_is_kept_to_where_nobody_asks_for_predictions(front, row):
    served = front(made=_explain)
    served.endpoint._share.took(0.02)
    served.endpoint._share.n_waiting = FEW
    refused = posted(served.endpoint, {"rows": [row]}, path="/explain", x_ekiben_deadline_ms="100")
    assert code(refused) == (429, "too_many_explanations")
    assert posted(served.endpoint, {"rows": [row]}, path="/explain").status == 200


def test_who_says_how_long_it_waits_is_not_kept_for_longer(front, row):
    served = front(made=_explain)
    pressed(served.endpoint, 0.02)
    served.endpoint._share.n_waiting = FEW
    refused = posted(served.endpoint, {"rows": [row]}, path="/explain", x_ekiben_deadline_ms="100")
    assert code(refused) == (429, "too_many_explanations")
    assert posted(served.endpoint, {"rows": [row]}, path="/explain", x_ekiben_deadline_ms="60000").status == 200


def test_who_leaves_before_its_turn_keeps_nobody_waiting(front, row):
    served = front(made=_explain)
    pressed(served.endpoint, 600)
    body, named = sent({"rows": [row]})

    async def leaves():
        caller = Caller(body)
        asking = asyncio.create_task(ask(served.endpoint, "POST", "/explain", headers=named, caller=caller))
        await taken(served.endpoint, 1)
        caller.left.set()
        return await asking

    assert code(asyncio.run(leaves())) == (400, "disconnected")
    assert served.endpoint._share.n_waiting == 0
