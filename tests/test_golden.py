"""Packages that were packed once are loaded for ever; none of these folders is ever written again."""

import json
from pathlib import Path

import pandas as pd
import pytest

import ekiben as ek
from ekiben import proving

FOLDERS = sorted((Path(__file__).parent / "golden" / "packages").iterdir())


def digest_of(folder):
    return json.loads((folder / "package.json").read_text())["digest"]


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def golden(request):
    return ek.load(request.param, trust=digest_of(request.param))


def test_a_golden_package_answers_as_it_did(golden):
    recorded = pd.DataFrame([example["answer"] for example in golden.examples])
    pd.testing.assert_frame_equal(golden.predict(golden.example_frame), recorded, rtol=1e-9)


def test_a_golden_package_explains_and_keeps_its_laws(golden):
    report = ek.check(golden)
    assert report.ok, str(report)


def test_a_golden_package_with_code_answers_in_a_clean_interpreter(tmp_path, monkeypatch):
    folder = next(each for each in FOLDERS if each.name == "format-1-code")
    monkeypatch.setenv("EKIBEN_HOME", str(tmp_path))
    refused = proving.replay(folder)
    assert "To load it once" in str(refused)
    ek.trust(digest_of(folder), name="golden_code", why="looked at")
    evidence = proving.replay(folder)
    assert evidence.ok, str(evidence)
