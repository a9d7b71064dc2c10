"""A package tells where it comes from, and names no person, machine or place."""

import getpass
import json
import os
import platform
import socket
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ekiben as ek
from ekiben import packages, provenance
from ekiben.errors import SpecError

X = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0], "floor": [1, 2, 2, 3]})
Y = X["rooms"] * 10


def flat(**more):
    return ek.pack(LinearRegression().fit(X, Y), name="flat", reference=X, **more)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Give a repository with one commit, in which a notebook runs."""
    root = tmp_path / "project"
    (root / "notebooks").mkdir(parents=True)
    (root / "notebooks" / "flats.ipynb").write_text("{}")
    (root / "data.csv").write_text("a\n")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-c", "init.defaultBranch=main"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], cwd=root, check=True)
    monkeypatch.chdir(root / "notebooks")
    monkeypatch.setenv("JPY_SESSION_NAME", str(root / "notebooks" / "flats.ipynb"))
    return root


def test_the_commit_and_the_notebook_within_its_repository_are_told(repository):
    told = provenance.here()
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert (told["git_commit"], told["git_dirty"], told["notebook"]) == (head, False, "notebooks/flats.ipynb")


def test_an_uncommitted_change_is_told_and_a_stray_file_is_none(repository):
    (repository / "scratch.txt").write_text("mine")
    assert provenance.here()["git_dirty"] is False
    (repository / "data.csv").write_text("b\n")
    assert provenance.here()["git_dirty"] is True


def test_a_notebook_that_was_never_committed_is_an_uncommitted_change(repository, monkeypatch):
    new = repository / "notebooks" / "new.ipynb"
    new.write_text("{}")
    monkeypatch.setenv("JPY_SESSION_NAME", str(new))
    assert provenance.here()["git_dirty"] is True


def test_outside_a_repository_there_is_a_name_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "flats.ipynb"))
    told = provenance.here()
    assert (told["git_commit"], told["git_dirty"], told["notebook"]) == (None, None, "flats.ipynb")


def test_the_run_that_mlflow_names_is_told(monkeypatch):
    assert provenance.here()["mlflow_run"] is None
    monkeypatch.setenv("MLFLOW_RUN_ID", "0123abcd")
    assert flat().manifest["provenance"]["mlflow_run"] == "0123abcd"


def test_the_seeds_of_every_part_are_told():
    forest = make_pipeline(StandardScaler(), RandomForestRegressor(3, random_state=np.int64(7)))
    assert provenance.seeds_of(forest) == {"randomforestregressor__random_state": 7}
    assert provenance.seeds_of(xgboost.XGBRegressor(random_state=0)) == {"random_state": 0}
    assert provenance.seeds_of(xgboost.train({"seed": 5}, xgboost.DMatrix(X, Y), 1)) == {"seed": 5}
    assert provenance.seeds_of(RandomForestRegressor()) == {}
    assert provenance.seeds_of(object()) == {}


class Plain:
    def get_params(self):
        return {"seed": 3, "rate": 0.1}


def test_a_class_of_one_s_own_tells_its_seed_too():
    assert provenance.seeds_of(Plain()) == {"seed": 3}


def test_the_training_frame_is_known_by_its_digest_and_is_not_kept():
    train = pd.concat([X] * 3, ignore_index=True)
    told = flat(training=(train, train["rooms"] * 10)).manifest["provenance"]
    assert told["n_training"] == 12
    assert told["training_digest"].startswith("sha256:")
    changed = flat(training=(train, train["rooms"] * 11)).manifest["provenance"]
    assert changed["training_digest"] != told["training_digest"]
    assert "training_digest" not in flat().manifest["provenance"]


@pytest.mark.parametrize(
    ("training", "words"),
    [
        (X, "The 'training' must be rows and their labels: training=(X_train, y_train)."),
        ((X, Y[:2]), "The 'training' must have one value a row. Got 2 for 4 rows."),
    ],
)
def test_a_training_frame_that_is_none_is_refused(training, words):
    with pytest.raises(SpecError) as refusal:
        flat(training=training)
    assert words in str(refusal.value)


def test_where_it_was_packed_is_recorded_distribution_by_distribution():
    environment = flat().manifest["environment"]
    assert environment["python"] == platform.python_version()
    assert {"ekiben", "numpy", "scikit-learn", "scipy", "skops"} <= environment["distributions"].keys()
    assert {"mlflow", "pytest"}.isdisjoint(environment["distributions"])
    assert environment["distributions"]["numpy"]["version"] == np.__version__
    assert all(len(each["record"]) == 64 for each in environment["distributions"].values())


def test_where_it_comes_from_is_no_part_of_the_digest_but_of_the_seal(tmp_path):
    package = flat()
    folder = package.save(tmp_path / "flat")
    manifest = json.loads((folder / "package.json").read_text())
    manifest["environment"]["distributions"]["numpy"]["record"] = "0" * 64
    manifest["provenance"]["seeds"] = {"random_state": 1}
    packages.write_json(folder / "package.json", manifest)
    with pytest.raises(ek.EkibenError, match="is not what was packed"):
        ek.load(folder)
    packages.seal(folder, manifest)
    assert ek.load(folder).digest == package.digest
    assert ek.load(folder).manifest["seal"] != package.manifest["seal"]


def test_no_place_person_or_machine_is_named(repository):
    text = json.dumps(flat().manifest)
    names = {str(repository), str(Path.home()), str(Path(ek.__file__).parent), os.sep + "tmp", platform.release()}
    assert [name for name in names if name in text] == []
    values = set(leaves(json.loads(text)))
    assert values.isdisjoint({getpass.getuser(), socket.gethostname(), platform.node()})
    assert not [value for value in values if isinstance(value, str) and Path(value).is_absolute()]


def leaves(value):
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    else:
        yield value


def test_a_card_says_where_a_package_comes_from(repository):
    (repository / "data.csv").write_text("changed\n")
    model = RandomForestRegressor(2, random_state=0).fit(X, Y)
    package = ek.pack(model, name="flat", reference=X)
    commit = package.manifest["provenance"]["git_commit"][:7]
    line = (
        f"Packed from notebooks/flats.ipynb at {commit} (with uncommitted changes), "
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, seeds 0."
    )
    assert line in str(package)
    assert line in package._repr_html_()


def test_a_card_of_an_older_package_says_what_is_known():
    assert provenance.sentence({"git_commit": None, "notebook": None}) == "packed"
