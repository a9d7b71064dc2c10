"""Twenty notebooks, each with code of its own cells: packed in their kernels, and answering the same without them."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient

import ekiben as ek
from ekiben.compiling import TOLERANCE

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("notebooks")]
HERE = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(HERE.glob("*.ipynb"))
BUILT = [path for path in NOTEBOOKS if path.name[:2] in ("01", "08")]  # in every run; the others with `-m long`
LAST = """
import pickle
import warnings
from pathlib import Path

import ekiben as ek

before = {{name: id(value) for name, value in globals().items()}}
package = ek.pack(model, name="kept", reference=X, owner="a stranger")
after = {{name: id(value) for name, value in globals().items() if name in before}}
package.save({folder!r})
own = {{"left_alone": before == after, "rows": X, "predict": model(X) if not hasattr(model, "predict") else model.predict(X)}}
if hasattr(model, "predict_proba"):
    own["scores"] = model.predict_proba(X)
Path({own!r}).write_bytes(pickle.dumps(own))
"""


def run(notebook, folder):
    """Run a notebook in a kernel of its own, pack its `model` there, and keep what the kernel answers."""
    document = nbformat.read(notebook, 4)
    document.cells.append(
        nbformat.v4.new_code_cell(LAST.format(folder=str(folder / "package"), own=str(folder / "own.pkl")))
    )
    NotebookClient(
        document, timeout=12000, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}
    ).execute()
    return pickle.loads((folder / "own.pkl").read_bytes())


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    """Give each notebook's folder with its package, and what its kernel answered; each runs once."""
    done = {}

    def run_once(notebook):
        if notebook not in done:
            folder = tmp_path_factory.mktemp(notebook.stem)
            done[notebook] = folder / "package", run(notebook, folder)
        return done[notebook]

    return run_once


def is_the_kernel_s(answers, own, within=0.0):
    """Compare answers with what the kernel said: labels to the letter, numbers to the last bit or within what a plan may."""
    columns = [name for name in answers.columns if not name.startswith("score_")]
    predicted = own["predict"].to_numpy() if isinstance(own["predict"], pd.DataFrame) else np.asarray(own["predict"])
    same = alike(answers[columns].to_numpy().reshape(predicted.shape), predicted, within)
    if "scores" in own:
        scores = answers[[name for name in answers.columns if name.startswith("score_")]].to_numpy()
        same = same and alike(scores, own["scores"], within)
    return same


def alike(ours, theirs, within):
    if not within or theirs.dtype.kind != "f":
        return np.array_equal(ours, theirs)
    return np.allclose(ours.astype(float), theirs, rtol=within, atol=within)


ANSWER = """
import pickle, sys
sys.path.insert(0, sys.argv[1])
import ekiben as ek
package = ek.load(sys.argv[2], trust=sys.argv[3])
own = pickle.load(open(sys.argv[4], "rb"))
pickle.dump(package.predict(own["rows"], compiled=False), open(sys.argv[5], "wb"))
assert not any(name.startswith("house_features") for name in sys.modules)
"""


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_packed_answers_the_same_in_a_clean_interpreter(notebook, kitchen, tmp_path):
    folder, own = kitchen(notebook)
    digest = json.loads((folder / "package.json").read_text())["digest"]
    home = Path(ek.__file__).parents[1]
    arguments = [str(home), str(folder), digest, str(folder.parent / "own.pkl"), str(tmp_path / "answers.pkl")]
    nowhere = {**os.environ, "EKIBEN_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-I", "-c", ANSWER, *arguments],
        cwd=tmp_path,
        env=nowhere,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert own["left_alone"]
    assert is_the_kernel_s(pickle.loads((tmp_path / "answers.pkl").read_bytes()), own)


def build_and_ask(notebook, kitchen, tmp_path):
    folder, own = kitchen(notebook)
    digest = json.loads((folder / "package.json").read_text())["digest"]
    service = ek.scaffold(tmp_path / "kept", arms={"only": ek.load(folder, trust=digest)})
    tag = ek.build(service)
    with ek.serve(tag) as client:
        answers = client.predict(own["rows"])
    assert is_the_kernel_s(answers, own, TOLERANCE)


@pytest.mark.e2e
@pytest.mark.parametrize("notebook", BUILT, ids=lambda path: path.stem)
def test_what_a_notebook_packed_is_built_and_answers_the_same(notebook, kitchen, tmp_path):
    build_and_ask(notebook, kitchen, tmp_path)


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.parametrize("notebook", [each for each in NOTEBOOKS if each not in BUILT], ids=lambda path: path.stem)
def test_what_every_notebook_packed_is_built_and_answers_the_same(notebook, kitchen, tmp_path):
    build_and_ask(notebook, kitchen, tmp_path)
