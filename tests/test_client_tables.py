"""The client: frames as Arrow and as JSON, frames that are too large for one request, and all of it awaited."""

import asyncio
import json
import re
import threading

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder

import ekiben as ek
from ekiben import routing
from ekiben.arrow import STREAM
from ekiben.client import AsyncClient, asking, frames
from ekiben.errors import RequestError, SchemaError, SpecError, UnreachableError
from ekiben.routing import Route
from ekiben.spec import Limits
from planes import Quiet, http_server, plane_of, served

N = 250


@pytest.fixture
def started():
    """Start a service of some packages behind HTTP, and give its address; what it was asked is in `asked`."""
    opened = []

    def start(arms, **settings):
        plane = plane_of(arms, **settings)
        plane.asked = []
        answer = plane.predict

        def predict(request):
            plane.asked.append((request.headers.get("content-type"), len(request.body)))
            return answer(request)

        plane.predict = predict
        server = served(plane)
        plane.url = server.__enter__()
        opened.append((plane, server))
        return plane

    yield start
    for plane, server in opened:
        server.__exit__(None, None, None)
        plane.close()


def table_of(n=N):
    rng = np.random.default_rng(3)
    day = pd.Timestamp("2026-01-01")
    rows = pd.DataFrame(
        {
            "number": rng.normal(size=n),
            "count": rng.integers(-(2**40), 2**40, n),
            "small": rng.integers(0, 200, n).astype("uint8"),
            "half": rng.normal(size=n).astype("float32"),
            "gaps": rng.normal(size=n),
            "nullable": pd.array(rng.integers(0, 9, n), dtype="Int64"),
            "flag": rng.random(n) < 0.5,
            "job": rng.choice(["cook", "maître", "ö"], n),
            "size": pd.Categorical(rng.choice(["s", "m", "l"], n), categories=["s", "m", "l"], ordered=True),
            "since": day + pd.to_timedelta(rng.integers(0, 10**15, n), unit="ns"),
            "seen": (day + pd.to_timedelta(rng.integers(0, 10**6, n), unit="s")).tz_localize("Europe/Paris"),
        }
    )
    rows.loc[::5, "gaps"] = np.nan
    rows.loc[::7, "nullable"] = pd.NA
    rows.loc[::6, "job"] = None
    rows.loc[::9, "since"] = pd.NaT
    return rows.set_index(pd.Index(range(1000, 1000 + n), name="customer"))


def seen(frame):
    """Turn every column into numbers in which its last bit shows."""
    made = {}
    for name in frame:
        cells = frame[name]
        if cells.dtype.kind == "M" or str(cells.dtype).startswith("datetime"):
            made[name] = cells.astype("int64").astype(float) % 1_000_003
        elif str(cells.dtype) == "category":
            made[name] = cells.cat.codes.astype(float)
        elif cells.dtype == object:
            made[name] = [float(len(cell)) if isinstance(cell, str) else -1.0 for cell in cells]
        else:
            made[name] = pd.to_numeric(cells).astype(float).fillna(-1.0) % 1_000_003
    return pd.DataFrame(made, index=frame.index)


class Digest(ClassifierMixin, BaseEstimator):
    """A classifier whose scores move with the last bit of every column."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        total = seen(X).to_numpy().sum(axis=1)
        parts = np.column_stack([np.abs(np.sin(total * (i + 1))) + 1e-3 for i in range(len(self.classes_))])
        return parts / parts.sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


LABELS = {
    "texts": ["bad", "good", "never"],
    "integers": [1, 2, 5],
    "booleans": [False, True],
    "numbers": [0.5, 1.5, 2.0],
}


@pytest.fixture(scope="module", params=LABELS)
def package(request):
    rows = table_of()
    labels = np.array(LABELS[request.param])
    target = labels[np.arange(len(rows)) % len(labels)]
    return ek.pack(Digest().fit(rows, target), name="digest", reference=rows, target=target)


def both(url, rows, monkeypatch, **asked):
    """Ask by Arrow and by JSON."""
    with ek.connect(url) as client:
        by_arrow = client.predict(rows, **asked)
    with monkeypatch.context() as patch, ek.connect(url) as client:
        patch.setattr(asking, "MANY_ROWS", 10**9)
        by_json = client.predict(rows, **asked)
    return by_arrow, by_json


def test_both_ways_give_the_same_frame_to_the_last_bit(started, package, monkeypatch):
    plane, rows = started({"champion": package}), table_of()
    by_arrow, by_json = both(plane.url, rows, monkeypatch)
    assert [kind for kind, _ in plane.asked] == [STREAM, "application/json"]
    pd.testing.assert_frame_equal(by_arrow, by_json, check_exact=True)
    pd.testing.assert_frame_equal(by_arrow, package.predict(rows), check_exact=True)
    assert (by_arrow.attrs.keys(), by_arrow.attrs["arm"]) == (by_json.attrs.keys(), "champion")


OBJECTS = {
    "texts": (["a", None, "b"] * 50, True),
    "integers": ([1, 2, 3] * 50, True),
    "integers_with_gaps": ([1, None, 3] * 50, True),
    "dates": ([pd.Timestamp("2026-01-01").date()] * 150, True),
    "lists": ([[0.5, 1.0], [2.0, 3.0], [0.0, 0.0]] * 50, True),
    "arrays": ([np.array([0.5, 1.0])] * 150, True),
    "mixed": (["a", 1, None] * 50, False),
    "integers_and_numbers": ([1, 2.5, 3] * 50, False),
    "huge": ([2**70, 1, 2] * 50, False),
    "dates_and_times": ([pd.Timestamp("2026-01-01").date(), pd.Timestamp("2026-01-01T10:00")] * 75, False),
    "lists_of_both": ([[1, 2.5], ["a"], [None]] * 50, False),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_what_arrow_would_change_goes_as_json(name):
    cells, goes = OBJECTS[name]
    found = frames.as_arrow(pd.DataFrame({"x": pd.Series(cells, dtype=object)}), {})
    assert (found is not None) is goes


@pytest.mark.parametrize(
    "cells",
    [
        pd.Series(pd.to_timedelta([1, 2], unit="s")),
        pd.Series(pd.period_range("2026-01", periods=2, freq="M")),
        pd.Series(pd.Categorical(pd.to_timedelta([1, 2], unit="s"))),
    ],
)
def test_what_json_refuses_arrow_does_not_bring(cells):
    assert frames.as_arrow(pd.DataFrame({"x": cells}), {}) is None


@pytest.fixture(scope="module")
def packages(people):
    rows, labels = people
    steps = make_column_transformer((OneHotEncoder(), ["job"]), ("passthrough", ["age", "member"]))
    forest = make_pipeline(steps, RandomForestClassifier(5, random_state=0)).fit(rows, labels)
    return ek.pack(forest, name="risk", reference=rows, target=labels)


def test_a_regressor_of_several_outputs_is_answered_alike_both_ways(started, people, monkeypatch):
    rows = people[0]
    targets = pd.DataFrame({"rent": rows["age"] * 1.1, "sale": rows["age"] ** 0.5})
    model = make_pipeline(
        make_column_transformer((OrdinalEncoder(), ["job"]), ("passthrough", ["age"])),
        FunctionTransformer(),
        RandomForestRegressor(3, random_state=0),
    ).fit(rows, targets)
    package = ek.pack(model, name="rent", reference=rows, target=targets)
    by_arrow, by_json = both(started({"champion": package}).url, rows, monkeypatch)
    assert list(by_arrow) == ["rent", "sale"]
    pd.testing.assert_frame_equal(by_arrow, by_json, check_exact=True)


@pytest.mark.parametrize("unit", ["customer_id", "header:x-customer-id", "cookie:visitor"])
def test_the_unit_goes_with_a_table(started, champion, challenger, people, unit):
    route = Route({"champion": 0.5, "challenger": 0.5})
    plane = started({"champion": champion, "challenger": challenger}, unit=unit, route=route)
    with ek.connect(plane.url) as client:
        for each in ("c-1", "c-2", "c-3"):
            assert client.predict(people[0], unit=each).attrs["arm"] == routing.choose(route, each).arm
    assert {kind for kind, _ in plane.asked} == {STREAM}


def test_few_rows_are_asked_at_once_in_json(started, champion, people):
    plane = started({"champion": champion})
    with ek.connect(plane.url) as client:
        client.predict(people[0].head(3))
    assert [kind for kind, _ in plane.asked] == ["application/json"]


# ── more than one request may hold


# A part may be so small that its plan answers, and the whole so large that the model does: by as little as the machine is quick.
NEARLY = {"check_exact": False, "rtol": 1e-12, "atol": 0}


@pytest.mark.parametrize("n", [7, 240])
def test_a_frame_that_is_too_large_goes_in_parts_and_comes_back_whole(started, champion, people, n):
    plane, rows, said = (
        started({"champion": champion}, limits=Limits(max_rows=5 if n == 7 else 100)),
        people[0].head(n),
        [],
    )
    with ek.connect(plane.url) as client:
        answered = client.predict(rows, progress=said.append)
    pd.testing.assert_frame_equal(answered, champion.predict(rows), **NEARLY)
    assert answered.attrs["arm"] == "champion"
    assert sum(each["rows"] for each in answered.attrs["requests"]) == n
    if n == 240:
        assert [each["rows"] for each in answered.attrs["requests"]] == [100, 100, 40]
        assert said == ["100 of 240 rows answered", "200 of 240 rows answered", "240 of 240 rows answered"]


def test_a_body_that_is_too_large_goes_in_halves(started, champion, people):
    plane, rows = started({"champion": champion}, limits=Limits(max_body_mb=0.002)), people[0]
    with ek.connect(plane.url) as client:
        pd.testing.assert_frame_equal(client.predict(rows), champion.predict(rows), **NEARLY)
    assert all(size <= 2000 for _, size in plane.asked)


def test_one_row_that_is_too_large_is_refused(started, champion, people):
    plane = started({"champion": champion}, limits=Limits(max_rows=1))
    with ek.connect(plane.url) as client, pytest.raises(RequestError, match="job") as refused:
        client.predict(people[0].head(3).assign(job=["fixed", 1, "fixed"]))
    assert [fault.row for fault in refused.value.faults] == [1]
    assert str(refused.value).startswith("Row 1 of the frame: The column 'job' must hold")
    assert str(refused.value).endswith("in row 1.")


def test_the_rows_of_a_refusal_are_counted_from_the_frame_s_first(started, champion, people):
    plane, rows = started({"champion": champion}, limits=Limits(max_rows=100)), people[0].copy()
    rows["age"] = rows["age"].astype(float)
    rows.iloc[207, 0] = 30.5
    with ek.connect(plane.url) as client, pytest.raises(RequestError) as refused:
        client.predict(rows)
    assert [(fault.row, fault.column) for fault in refused.value.faults] == [(207, "age")]
    assert str(refused.value).startswith("Rows 200 to 239 of the frame:")
    assert str(refused.value).endswith("in row 207.")


def test_the_rows_of_more_faults_than_are_told_are_counted_from_the_frame_s_first_too(started, champion, people):
    plane, rows = started({"champion": champion}, limits=Limits(max_rows=120)), people[0].copy()
    rows["age"] = rows["age"].astype(float)
    rows.iloc[120:, 0] = 30.5
    with ek.connect(plane.url) as client, pytest.raises(RequestError, match="in row 120") as refused:
        client.predict(rows)
    assert [fault.row for fault in refused.value.faults] == [*range(120, 220)]
    assert str(refused.value).endswith("in row 139.\n… and 100 more.")


@pytest.mark.parametrize("n", [3, 240])
def test_columns_too_many_are_named_by_the_client(started, champion, people, n):
    plane, rows = started({"champion": champion}), people[0].head(n).assign(risk="bad")
    with ek.connect(plane.url) as client, pytest.raises(RequestError) as refused:
        client.predict(rows)
    assert str(refused.value).endswith("\nThe frame has ['risk'] more. Drop them: frame.drop(columns=['risk'])")


@pytest.mark.parametrize("n", [3, 240])
def test_a_column_that_is_misspelt_is_told_the_one_that_is_missing(started, champion, people, n):
    plane, rows = started({"champion": champion}), people[0].head(n).rename(columns={"income": "incone"})
    with ek.connect(plane.url) as client, pytest.raises(RequestError) as refused:
        client.predict(rows)
    assert str(refused.value).endswith("\nThe frame has ['incone'] more. 'incone': Did you mean 'income'?")


def test_parts_that_several_arms_answered_are_told_one_by_one(started, champion, challenger, people):
    arms = {"champion": champion, "challenger": challenger}
    plane = started(arms, route=Route({"champion": 0.5, "challenger": 0.5}), limits=Limits(max_rows=20))
    with ek.connect(plane.url) as client:
        attrs = client.predict(people[0]).attrs
        one_unit = client.predict(people[0], unit="c-7").attrs
    assert "arm" not in attrs
    assert {each["arm"] for each in attrs["requests"]} == {"champion", "challenger"}
    assert one_unit["arm"] == routing.choose(plane.spec.route, "c-7").arm


# ── services that say less, or something else


class Old(Quiet):
    """A service that takes JSON alone, whatever its contract says."""

    contract, asked = {}, []

    def do_GET(self):
        status = 404 if self.contract is None else 200
        self.answer(status, json.dumps(self.contract).encode())

    def do_POST(self):
        kind, body = self.headers["content-type"], self.body()
        type(self).asked.append(kind)
        if kind != "application/json":
            self.answer(415, b'{"error": {"code": "unsupported_media_type", "message": "No.", "fields": []}}')
            return
        n = len(json.loads(body)["rows"])
        predictions = [{"value": 1.5}] * n
        self.answer(200, json.dumps({"id": "1", "arm": "a", "model": "m", "predictions": predictions}).encode())


@pytest.mark.parametrize(
    ("contract", "kinds"),
    [
        (None, ["application/json"] * 2),
        ({}, ["application/json"] * 2),
        ({"bodies": "all", "limits": 3}, ["application/json"] * 2),
        ({"bodies": [STREAM]}, [STREAM, "application/json", "application/json"]),
        ({"limits": {"max_rows": 100}}, ["application/json"] * 4),
    ],
)
def test_a_service_that_takes_no_tables_is_sent_json(contract, kinds):
    handler = type("Handler", (Old,), {"contract": contract, "asked": []})
    rows = pd.DataFrame({"x": np.arange(150.0)})
    with http_server(handler) as url, ek.connect(url) as client:
        for _ in range(2):
            assert client.predict(rows)["value"].tolist() == [1.5] * 150
    assert handler.asked == kinds


@pytest.mark.parametrize("body", [b"", b"ARROW1", b"\xff\xff\xff\xff\x10\0\0\0"])
def test_an_answer_that_is_no_table_is_no_answer(body):
    class Handler(Quiet):
        def do_GET(self):
            self.answer(200, json.dumps({"bodies": [STREAM]}).encode())

        def do_POST(self):
            self.body()
            self.answer(200, body, STREAM)

    with http_server(Handler) as url, ek.connect(url) as client, pytest.raises(RequestError, match="one a row"):
        client.predict(pd.DataFrame({"x": np.arange(150.0)}))


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (pd.DataFrame({"a": [1]})["a"], "Got Series. One row of a frame is frame.iloc[[0]]"),
        ([{"a": 1}], "Got list. Make one of the rows: pd.DataFrame(rows)."),
        ({"a": 1}, "Got dict. Make one of the row: pd.DataFrame([row])."),
        (pd.DataFrame({"a": [1]}).head(0), "of at least one row. Got none."),
    ],
)
def test_what_is_no_frame_of_rows_is_refused_before_it_is_sent(rows, what):
    with ek.connect("http://127.0.0.1:9") as client, pytest.raises(SchemaError, match=re.escape(what)):
        client.predict(rows)


def test_a_text_for_a_list_of_columns_is_refused():
    with ek.connect("http://127.0.0.1:9") as client, pytest.raises(SpecError, match=r"Did you mean \['age'\]\?"):
        client.explain(pd.DataFrame({"age": [1]}), columns="age")


def test_an_address_that_is_no_text_is_refused():
    with pytest.raises(SpecError, match="The 'url' must be a text that begins with http"):
        ek.connect(None)


def test_a_closed_client_says_how_to_ask_again():
    client = ek.connect("http://127.0.0.1:9")
    client.close()
    with pytest.raises(UnreachableError, match=r"was closed: connect again, by ek\.connect"):
        client.routing()


def test_columns_of_the_same_name_are_refused_before_they_are_sent():
    rows = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with ek.connect("http://127.0.0.1:9") as client, pytest.raises(SchemaError, match="names that differ"):
        client.predict(rows)


# ── awaited


def test_everything_is_awaited_alike(started, champion, people):
    plane, rows = started({"champion": champion}), people[0]

    async def ask():
        async with ek.connect(plane.url, asynchronous=True) as client:
            assert repr(client) == f"<AsyncClient {plane.url}>"
            answered = await client.predict(rows, unit="c-7")
            explained = await client.explain(rows.head(25))
            signature = await client.signature()
            return answered, explained, signature, await client.card(), await client.routing(), await client.schema()

    answered, explained, signature, card, route, contract = asyncio.run(ask())
    pd.testing.assert_frame_equal(answered, champion.predict(rows), check_exact=True)
    assert [one.contributions for one in explained] == [one.contributions for one in champion.explain(rows.head(25))]
    assert signature.inputs.names == champion.schema.names
    assert (set(card["arms"]), route["weights"]) == ({"champion"}, {"champion": 1.0})
    assert contract["limits"]["max_rows"] == 1000


def test_what_is_awaited_is_written_and_read_in_a_thread(started, champion, people, monkeypatch):
    plane, rows, threads = started({"champion": champion}), people[0], set()

    def seen(act):
        def told(*given, **named):
            threads.add(threading.current_thread())
            return act(*given, **named)

        return told

    for name in ("as_json", "as_arrow", "answered"):
        monkeypatch.setattr(frames, name, seen(getattr(frames, name)))

    async def ask():
        async with ek.connect(plane.url, asynchronous=True) as client:
            await client.predict(rows)
            return threading.current_thread()

    assert asyncio.run(ask()) not in threads
    assert threads


@pytest.mark.parametrize("at_once", [1, 3])
def test_parts_are_asked_side_by_side_and_no_more_than_may_be(champion, people, at_once):
    rows, under_way, most = people[0], [], []

    class Handler(Quiet):
        def do_GET(self):
            self.answer(200, json.dumps({"bodies": [], "limits": {"max_rows": 24}}).encode())

        def do_POST(self):
            under_way.append(1)
            most.append(len(under_way))
            found = [{"value": float(row["age"])} for row in json.loads(self.body())["rows"]]
            if at_once > 1 and len(most) <= at_once:
                together.wait(120)
            under_way.pop()
            self.answer(200, json.dumps({"id": "1", "arm": "a", "model": "m", "predictions": found}).encode())

    together = threading.Barrier(at_once)

    async def ask(url):
        async with AsyncClient(url, at_once=at_once) as client:
            return await client.predict(rows)

    with http_server(Handler) as url:
        answered = asyncio.run(ask(url))
    assert answered["value"].tolist() == rows["age"].astype(float).tolist()
    assert max(most) == at_once


def test_the_first_part_that_is_refused_ends_the_others(started, champion, people):
    plane, rows = started({"champion": champion}, limits=Limits(max_rows=20)), people[0].copy()
    rows["job"] = rows["job"].where(rows.index != 25, "").mask(rows.index == 25, None)
    rows["age"] = rows["age"].astype(float).where(rows.index != 25, 1.5)

    async def ask():
        async with AsyncClient(plane.url, at_once=1) as client:
            await client.predict(rows)

    with pytest.raises(RequestError, match=re.escape("Rows 20 to 39 of the frame")):
        asyncio.run(ask())
    assert len(plane.asked) <= 3


def test_an_awaited_service_that_nobody_runs_is_unreachable(monkeypatch):
    waited = []

    async def sleep(seconds):
        waited.append(seconds)

    monkeypatch.setattr("ekiben.client.asyncio.sleep", sleep)

    async def ask():
        async with ek.connect("http://127.0.0.1:9", asynchronous=True) as client:
            await client.routing()

    with pytest.raises(UnreachableError):
        asyncio.run(ask())
    assert waited == [0.1, 0.2]


def test_an_awaited_client_that_was_closed_says_how_to_ask_again():
    async def ask():
        client = ek.connect("http://127.0.0.1:9", asynchronous=True)
        await client.close()
        await client.routing()

    with pytest.raises(UnreachableError, match=r"was closed: connect again, by ek\.connect"):
        asyncio.run(ask())


def test_at_least_one_request_must_be_under_way():
    with pytest.raises(SpecError, match="at_once"):
        ek.connect("http://127.0.0.1:9", asynchronous=True, at_once=0)
