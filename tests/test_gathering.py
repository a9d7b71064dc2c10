"""Decisions as a frame: column by column the same that pandas makes of them row by row."""

import random

import pandas as pd
import pytest

import ekiben as ek
from ekiben import codecs, gathering, protocol
from ekiben.recording.reading import read
from ekiben.recording.segments import Header, decisions, segments
from ekiben.recording.writing import Recorder

ANSWERS = {
    "labels": b'{"label":"no"}',
    "scores": b'{"label":1,"scores":{"0":0.25,"1":0.75}}',
    "other scores": b'{"label":1,"scores":{"1":0.75,"2":0.25}}',
    "values": b'{"value":1}',
    "fractions": b'{"value":1.5}',
    "nothing": b'{"value":null}',
    "several": b'{"rent":{"value":7.5},"sale":{"label":"no","scores":{"no":1.0}}}',
    "a hook's": b'{"value":1.5,"note":["a",{"b":null}]}',
    "a hook's own": b'{"note":"x"}',
}
VALUES = {
    "numbers": [1.5, 2.0, -0.0],
    "with gaps": [1.5, None, float("nan")],
    "integers": [1, -(2**63), 2**63 - 1],
    "integers and gaps": [1, None, 2**53],
    "large integers": [1, 2**63, 2**64 - 1],
    "integers and numbers": [1, 2.5, 2**53 + 1],
    "booleans": [True, False, True],
    "booleans and gaps": [True, None, False],
    "texts": ["a", "b", "a"],
    "texts and gaps": ["a", None, "a"],
    "texts and numbers": ["a", 1, 2.5],
    "gaps": [None, None, None],
    "dates": ["2026-01-01", "2026-01-02", None],
    "lists": [[1, 2.5], [], None],
}


def by_rows(folder):
    """Make the frame as pandas makes it of rows."""
    told = []
    for path in segments(folder):
        header, found = read(path)
        for each in (decision for record in found for decision in decisions(header, record)):
            who = (each.id, each.row, each.ns, each.endpoint, each.unit, each.arm, each.propensity)
            row = dict(zip(gathering.FACTS, (*who, each.model, each.digest, round(each.us / 1000, 4)), strict=True))
            row |= {f"input.{name}": value for name, value in zip(header.columns, each.inputs, strict=True)}
            told.append(row | {f"output.{k}": v for k, v in protocol.flat(codecs.decode(each.output)).items()})
    frame = pd.DataFrame(sorted(told, key=lambda row: (row["time"], row["id"], row["row"])))
    frame["time"] = pd.to_datetime(frame["time"], utc=True)
    return frame


def written(folder, columns, rows, answers, *, seed=0, n=60):
    """Write records of one to three rows, not quite in order."""
    rng = random.Random(seed)
    recorder = Recorder(
        folder, Header(service="risk", columns=columns, arms={"champion": ("models:/risk/1", "0" * 64)})
    )
    for i in range(n):
        size = rng.randint(1, 3)
        inputs = [rng.choice(rows) for _ in range(size)]
        outputs = b"[" + b",".join(rng.choice(answers) for _ in range(size)) + b"]"
        arm = rng.choice(["champion", "gone"])
        moment = 1_764_000_000_123_456_789 + i + rng.randint(-2, 2)
        unit = rng.choice([None, "c-1", f"c-{i}"])
        recorder.write(
            (f"{rng.getrandbits(128):032x}", moment, "predict", arm, unit, 0.9, 12.3456 + i, inputs, outputs)
        )
    recorder.close()


def same(folder):
    found, expected = ek.records(folder), by_rows(folder)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    for left, right in zip(found.to_dict("records"), expected.to_dict("records"), strict=True):
        assert [*map(type, left.values())] == [*map(type, right.values())]


@pytest.mark.parametrize("n_rows", [7, 2_000])
@pytest.mark.parametrize("name", VALUES)
def test_a_column_of_any_kind_is_as_pandas_reads_it_from_rows(name, n_rows, tmp_path, monkeypatch):
    monkeypatch.setattr(gathering, "N_ROWS", n_rows)
    written(tmp_path, ("x",), [(value,) for value in VALUES[name]], [ANSWERS["scores"]])
    same(tmp_path)


@pytest.mark.parametrize("columns", [("x",), ("x", "y")], ids=["one contract", "two contracts"])
def test_an_integer_that_is_no_float_stays_what_it_is_beside_a_missing_one(columns, tmp_path):
    account = 2**60 + 1
    written(tmp_path, ("x",), [(account,), (None,), (7,)], [ANSWERS["scores"]], seed=1)
    written(tmp_path, columns, [(account, "a")[: len(columns)]], [ANSWERS["scores"]], seed=2)
    assert {*ek.records(tmp_path)["input.x"]} == {account, None, 7}


@pytest.mark.parametrize("names", [(name,) for name in ANSWERS] + [("values", "fractions"), tuple(ANSWERS)])
def test_answers_of_any_parts_are_as_pandas_reads_them_from_rows(names, tmp_path):
    written(tmp_path, ("x",), [(1.5,)], [ANSWERS[name] for name in names])
    same(tmp_path)


def test_segments_of_several_contracts_are_one_frame(tmp_path):
    written(tmp_path, ("x", "y"), [(1.5, "a"), (2, None)], [ANSWERS["scores"]], seed=1)
    written(tmp_path, ("y", "z"), [("b", True), (None, None)], [ANSWERS["scores"], ANSWERS["nothing"]], seed=2)
    same(tmp_path)


def test_segments_of_several_processes_are_in_the_order_of_time(tmp_path):
    for seed in range(3):
        written(tmp_path, ("x",), [(1.5,)], [ANSWERS["scores"]], seed=seed)
    same(tmp_path)
