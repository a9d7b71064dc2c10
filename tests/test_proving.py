"""A clean interpreter answers as the notebook did, or the evidence says what is otherwise."""

import json
import math
import os
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

import ekiben as ek
from ekiben import packages, proving
from ekiben.proving import replay


@pytest.fixture(scope="module")
def flat():
    X = pd.DataFrame({"rooms": np.linspace(1, 7, 30), "age": np.linspace(80, 3, 30)})
    return ek.pack(LinearRegression().fit(X, 10 * X["rooms"] - X["age"] / 7), name="flat", reference=X)


@pytest.fixture
def folder(flat, tmp_path):
    return flat.save(tmp_path / "flat")


def alter(folder, change):
    """Change the recorded answers, and seal the folder again as if they had been packed."""
    examples = json.loads((folder / "examples.json").read_text())
    change(examples)
    packages.write_json(folder / "examples.json", examples)
    packages.seal(folder, json.loads((folder / "package.json").read_text()))


def test_a_package_answers_the_same_in_a_clean_interpreter(champion):
    evidence = replay(champion.folder)
    assert evidence.ok, str(evidence)
    assert (evidence.n_rows, evidence.n_values) == (len(champion.examples), 3 * len(champion.examples))
    assert str(evidence) == f"{evidence.n_values} values in {evidence.n_rows} examples are the same, bit for bit."


def test_the_last_bit_of_one_answer_is_seen(folder):
    was = json.loads((folder / "examples.json").read_text())[2]["answer"]["value"]
    next_to_it = math.nextafter(was, math.inf)
    alter(folder, lambda examples: examples[2]["answer"].update(value=next_to_it))
    evidence = replay(folder)
    assert not evidence.ok
    assert evidence.differing == (f"example 2, value: {next_to_it!r} was recorded. Got {was!r}",)
    assert evidence.largest == next_to_it - was
    assert f"1 of {evidence.n_values} values differ, by up to" in str(evidence)


def test_an_answer_that_is_missing_is_a_difference(folder):
    alter(folder, lambda examples: examples[0]["answer"].pop("value"))
    evidence = replay(folder)
    assert len(evidence.differing) == 1
    assert evidence.differing[0].startswith("example 0, value: None was recorded. Got ")
    assert evidence.to_json()["largest"] is None


def test_a_package_without_examples_proves_nothing(folder):
    alter(folder, list.clear)
    assert not replay(folder).ok


def test_a_package_that_was_changed_is_not_answered_for(folder):
    (folder / "examples.json").write_text((folder / "examples.json").read_text().replace("3", "4"))
    evidence = replay(folder)
    assert evidence.failure.startswith("ekiben.errors.IntegrityError: ")
    assert str(evidence).startswith("It did not answer: ")


def test_neither_the_working_folder_nor_pythonpath_is_seen(folder, tmp_path, monkeypatch):
    for place in (tmp_path / "here", tmp_path / "there"):
        place.mkdir()
        (place / "sklearn.py").write_text("raise RuntimeError('the wrong sklearn')")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'there'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    assert replay(folder).ok


def test_one_that_takes_too_long_is_stopped(folder):
    assert replay(folder, within_s=0.01).failure == "it took longer than 0.01 s."


def test_an_interpreter_without_ekiben_says_so(folder, tmp_path):
    import subprocess

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    evidence = replay(folder, python=tmp_path / "bare" / "bin" / "python")
    assert evidence.failure == "ModuleNotFoundError: No module named 'ekiben'"


@pytest.mark.parametrize(
    ("was", "now", "same"),
    [
        (0.1, 0.1, True),
        (math.nan, math.nan, True),
        ("good", "good", True),
        (0.0, -0.0, False),
        (1, True, False),
        (1, 1.0, False),
        (None, 0.0, False),
    ],
)
def test_values_are_compared_bit_for_bit(was, now, same):
    evidence = proving._compared([{"value": was}], [{"value": now}], None, 0.0)
    assert evidence.ok is same


def test_answers_of_any_shape_are_compared():
    was, now = {"top": [{"item": "a", "score": 0.5}], "n": 1}, {"top": [{"item": "a", "score": 0.25}], "n": 1}
    evidence = proving._compared([was], [now], None, 0.0)
    assert (evidence.n_values, evidence.largest) == (3, 0.25)
    assert evidence.differing == ("example 0, top.0.score: 0.5 was recorded. Got 0.25",)
