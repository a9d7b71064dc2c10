"""Whatever the quick lane takes, the data plane takes too, and answers alike."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from ekiben import protocol, routing, shortcut, tables
from ekiben.compiling import UNMEASURED
from ekiben.dataplane import DataPlane, Hooks
from ekiben.dialects import Request
from ekiben.models import Answers
from ekiben.packages import Package
from ekiben.pinning import Contract
from ekiben.refs import parse
from ekiben.routing import Route
from ekiben.schema import Column, Output, Schema, Signature
from ekiben.spec import Limits, ServiceSpec, parse_unit

ROUTE = Route({"champion": 0.5, "challenger": 0.5})
NAMES = ["age", "a b", "Größe €", "q'uote", "rows", "unit", "column_1", "", "customer"]
OUTPUTS = (Output(parts=("value",)),)


class Echo:
    """A model whose answer tells every value that it was given."""

    def answers(self, model, frame):
        told = [repr([*map(str, row)]) for row in frame.itertuples(index=False, name=None)]
        return (Answers(labels=None, scores=None, values=np.array(told, dtype=object)),)


class Echoing:
    """The plan of an `Echo`."""

    row_us = many_us = 1.0
    costs = UNMEASURED
    native = ()

    def __init__(self, schema):
        self.schema = schema

    def predictions(self, rows):
        columns = {name: [row[i] for row in rows] for i, name in enumerate(self.schema.names)}
        (answered,) = Echo().answers(None, tables.as_frame(columns, self.schema))
        return [{"value": value} for value in answered.values.tolist()]


def plane_of(schema, unit):
    signature = Signature(inputs=schema, task="regression", outputs=OUTPUTS)
    settings = {"manifest": {"kind": "sklearn"}, "adapter": Echo(), "signature": signature}
    package = Package(folder=Path(), read_model=lambda: None, **settings)
    package.__dict__["plan"] = Echoing(schema)
    spec = ServiceSpec(
        name="echo",
        arms={"champion": parse("models:/echo/1"), "challenger": parse("models:/echo/2")},
        route=ROUTE,
        unit=None if unit is None else parse_unit(unit),
        limits=Limits(max_rows=3),
    )
    unseen = []
    plane = DataPlane(
        spec,
        Contract(signature=signature, pins={}, row={}, answer={}),
        dict.fromkeys(spec.arms, package),
        Hooks(),
        lambda *_: None,
        unseen=lambda arm, column, n: unseen.append((column, n)),
    )
    return SimpleNamespace(plane=plane, unseen=unseen, lane=shortcut.lane(plane, part="predictions", max_rows=3))


# ── contracts

numbers = st.sampled_from(["int8", "uint8", "int32", "int64", "uint64", "float32", "float64"])
limits = st.none() | st.sampled_from([-300, -1.5, 0, 0.5, 2, 2**53 + 1])


@st.composite
def a_column(draw, name):
    nullable = draw(st.booleans())
    often = ["number", "number", "boolean", "open", "closed", "category", "whole"]
    kind = draw(st.sampled_from([*often * 4, "datetime", "list"]))
    base = {"name": name, "nullable": nullable, "alias": draw(st.none() | st.just(f"alias_{NAMES.index(name)}"))}
    if kind == "number":
        dtype = draw(numbers)
        base |= {"kind": "number" if dtype.startswith("float") else "integer", "dtype": dtype}
        bounds = {"minimum": draw(limits), "maximum": draw(limits)}
        if dtype != "uint64" and base["kind"] == "integer" and nullable:
            base["dtype"] = "float64" if draw(st.booleans()) else dtype
        return Column(**base, **bounds)
    if kind == "boolean":
        return Column(**base, kind="boolean", dtype="object" if nullable else "bool")
    if kind == "datetime":
        return Column(**base, kind="datetime", dtype="datetime64[ns]")
    if kind == "list":
        return Column(**base, kind="list", dtype="object", length=2, items="number", holder="list")
    if kind == "whole":
        return Column(**base, kind="category", dtype="category", categories=(1, 3), categories_dtype="int64")
    known = ("a", "b", "é", "null")
    if kind == "category":
        return Column(**base, kind="category", dtype="category", categories=known)
    return Column(
        **base, kind="text", dtype="object", categories=known, unseen="refuse" if kind == "closed" else "accept"
    )


@st.composite
def contracts(draw):
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    columns = tuple(draw(a_column(name)) for name in names)
    unit = draw(st.sampled_from([None, "customer", "header:x-unit", "cookie:visitor"]))
    return Schema(columns=columns, extra=draw(st.sampled_from(["refuse", "refuse", "ignore"]))), unit


# ── bodies: JSON, and almost JSON, as bytes

PLAIN = {
    "number": ["0", "1", "1.5", "-2", "3.0", "1e3", "-0.0", "127", "255"],
    "integer": ["0", "1", "2", "3.0", "127", "200", "-0"],
    "boolean": ["true", "false"],
    "text": ['"a"', '"b"', '"\\u0061"', '"never seen"', '"null"', '"é"'],
    "category": ['"a"', '"b"', "1", "3", "3.0"],
    "datetime": ['"2026-11-22"'],
    "list": ["[1, 2.5]"],
}
ODD = [
    *("null", "true", '"x"', "{}", "[]", "[1]", '{"a": 1}', '""', '"\\u0000"', '"\\ud83d\\ude00"'),
    *('"\\ud800"', '"\\udc00x"', '"\\q"', '"\x01"', '"\\ud800\\ud800"', b'"\xff"', b'"\xed\xa0\x80"'),
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        "1e308",
        "1.8e308",
        "3.5e38",
        "3.4028234663852886e38",
        "1e-400",
    ),
    *(
        "300",
        "-129",
        "65504",
        "65505",
        "9007199254740993",
        "9007199254740992.0",
        "9007199254740993.0",
        "9223372036854775807",
    ),
    *(
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
    ),
    *(
        "18446744073709551615.0",
        "1" + "0" * 400,
        "01",
        "1.",
        ".5",
        "+1",
        "--1",
        "1e",
        "tru",
        "",
        "[" * 3000 + "]" * 3000,
    ),
]


def raw(text):
    return text if isinstance(text, bytes) else text.encode("utf-8")


def members(pairs):
    return (
        b"{" + b",".join(raw(json.dumps(key, ensure_ascii=False)) + b": " + raw(value) for key, value in pairs) + b"}"
    )


@st.composite
def a_row(draw, schema, oddity):
    pairs = [(column.name, draw(st.sampled_from(PLAIN[column.kind]))) for column in schema.columns]
    if oddity == "value":
        i = draw(st.integers(0, len(pairs) - 1))
        pairs[i] = (pairs[i][0], draw(st.sampled_from(ODD)))
    elif oddity == "twice":
        pairs.append((draw(st.sampled_from(schema.names)), draw(st.sampled_from([*ODD, "1", '"a"']))))
    elif oddity == "missing":
        pairs.pop()
    elif oddity == "extra":
        pairs.append(("another", draw(st.sampled_from([*ODD, "1", '"a"']))))
    elif oddity == "alias":
        pairs = [(schema[name].alias or name, value) for name, value in pairs]
    elif oddity == "both":
        pairs += [(column.alias, "1") for column in schema.columns if column.alias]
    elif oddity == "unit":
        pairs.append(("customer", draw(st.sampled_from(['"c1"', "7", "7.0", "true", "null", '"7"', *ODD]))))
    return members(draw(st.permutations(pairs)))


@st.composite
def bodies(draw, schema):
    kinds = ["none", "none", "value", "twice", "missing", "extra", "alias", "both", "unit"]
    rows = [draw(a_row(schema, draw(st.sampled_from(kinds)))) for _ in range(draw(st.integers(0, 4)))]
    listed = b"[" + b",".join(rows) + b"]"
    pairs = [("rows", listed)]
    shape = draw(st.sampled_from(["plain"] * 6 + ["unit", "unit", "more", "again", "cut", "bare", "tail", "space"]))
    if shape == "unit":
        pairs.insert(0, ("customer", draw(st.sampled_from(['"c1"', "7", "-7", '""', "7.0", "null", *ODD]))))
    elif shape == "more":
        pairs.append(("another", "1"))
    elif shape == "again":
        pairs.insert(0, ("rows", draw(st.sampled_from(["[]", "1", "[{}]"]))))
    body = members(pairs)
    return {"cut": body[:-2], "bare": listed, "tail": body + b"x", "space": b" \n" + body + b" \t"}.get(shape, body)


def plainly(value):
    return {key: each for key, each in value.items() if key not in ("id", "arm", "model")}


def same(asked, outcome, answer, *, unit):
    """Hold both answers to be one, but for the id and what follows from it."""
    assert answer.status == 200, answer.body
    quick, slow = json.loads(outcome.body), json.loads(answer.body)
    assert plainly(quick) == plainly(slow)
    assert [*quick] == [*slow]
    headers = {name.decode(): value.decode("latin-1") for name, value in outcome.headers}
    assert headers.pop("content-length") == str(len(outcome.body))
    assert [*sorted(headers)] == [*sorted(answer.headers)]
    assert headers[protocol.ID] == quick["id"] == outcome.id
    assert (headers[protocol.ARM], headers[protocol.MODEL]) == (quick["arm"], quick["model"])
    assert (outcome.rows, outcome.status, outcome.code) == (answer.rows, answer.status, answer.code)
    if unit and "set-cookie" not in headers and answer.choice.unit != slow["id"]:
        assert quick["arm"] == slow["arm"]
    else:
        assert "set-cookie" in headers or quick["arm"] == routing.choose(ROUTE, quick["id"]).arm


@settings(max_examples=400)
@given(contracts(), st.data())
def test_what_the_quick_lane_takes_the_data_plane_answers_alike(contract, data):
    schema, unit = contract
    served = plane_of(schema, unit)
    event("a lane" if served.lane else "no lane")
    if served.lane is None:
        return
    for _ in range(6):
        body = data.draw(bodies(schema))
        headers = data.draw(st.sampled_from([{}, {"x-unit": "u-1"}, {"x-unit": ""}, {"x-unit": "é"}]))
        cookies = data.draw(st.sampled_from([{}, {"visitor": "v-1"}, {"visitor": ""}]))
        encoded = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
        asked = served.lane.admit(body, encoded, cookies)
        event("taken" if asked else "left")
        if asked is None:
            continue
        outcome = served.lane.planned(asked)
        counted = served.unseen[:]
        served.unseen.clear()
        answer = served.plane.predict(Request(body=body, headers=headers, cookies=cookies))
        assert outcome is not None
        assert served.unseen == counted
        served.unseen.clear()
        same(asked, outcome, answer, unit=unit)


@pytest.mark.parametrize(("kind", "dtype"), [("integer", "float64"), ("text", "object")])
def test_a_unit_that_a_column_lacks_is_refused_and_none_of_its_own(kind, dtype):
    served = plane_of(Schema(columns=(Column(name="customer", kind=kind, dtype=dtype, nullable=True),)), "customer")
    body = b'{"rows": [{"customer": null}]}'
    assert served.lane.admit(body, {}, {}) is None
    answer = served.plane.predict(Request(body=body, headers={}, cookies={}))
    assert (answer.status, answer.code) == (400, "invalid_request")


@given(st.data())
def test_a_plain_body_takes_the_quick_lane(data):
    columns = (
        Column(name="age", kind="integer", dtype="uint8", nullable=False),
        Column(name="a b", kind="number", dtype="float32", nullable=True),
        Column(name="job", kind="text", dtype="object", nullable=False, categories=("x",), unseen="accept"),
        Column(name="grade", kind="category", dtype="category", nullable=True, categories=("a", "b")),
        Column(name="member", kind="boolean", dtype="bool", nullable=False),
    )
    served = plane_of(Schema(columns=columns), "customer")
    row = st.fixed_dictionaries(
        {
            "age": st.integers(0, 255),
            "a b": st.none()
            | st.floats(width=32, allow_nan=False, allow_infinity=False)
            | st.integers(-(2**62), 2**62),
            "job": st.text(st.characters(codec="utf-8")),
            "grade": st.sampled_from([None, "a", "b"]),
            "member": st.booleans(),
        }
    )
    rows = data.draw(st.lists(row, min_size=1, max_size=3))
    body = json.dumps({"rows": rows, "customer": "c-1"}).encode()
    asked = served.lane.admit(body, {}, {})
    assert asked is not None
    same(asked, served.lane.planned(asked), served.plane.predict(Request(body=body)), unit="customer")
