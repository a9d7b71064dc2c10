"""Models in a real MLflow store, packed by reference: natively where that can be, else whole, and by the user's word."""

import re
import shutil
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from xgboost import XGBClassifier

import ekiben as ek
from ekiben import models
from ekiben.errors import IntegrityError, NotFoundError, SpecError, UnreachableError, UnsupportedModelError
from ekiben.models.pyfunc import ADAPTER, FOLDER
from planes import Quiet, http_server

pytestmark = pytest.mark.usefixtures("tracking_uri")
X = pd.DataFrame({"a": np.arange(40.0), "b": np.arange(40) % 7})
Y = (X["a"] > 20).astype(int)
NEEDS = {"pip_requirements": ["numpy"]}
WORD = ["mlflow.pyfunc"]
PARAMETER = {"sklearn": "sk_model", "xgboost": "xgb_model", "pyfunc": "python_model"}
CODE = """
import mlflow

class Own(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["a"] * 3

mlflow.models.set_model(Own())
"""


@contextmanager
def hushed():
    """Leave out what MLflow says of models and signatures, also where it sets a filter of its own."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("default")
        yield


# A class of a notebook, which is pickled by value: what it does, only its code knows.
NOTEBOOK = """
import mlflow, numpy as np, pandas as pd

class Own(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        band = np.where(model_input["b"] > 3, "high", "low")
        return pd.DataFrame({"price": model_input["a"] * 2.0, "band": band})
"""
CELL = {"__name__": "__main__"}
with hushed():
    exec(NOTEBOOK, CELL)
Own = CELL["Own"]


def signed(**settings):
    with hushed():
        return infer_signature(X, X, **settings)


def packed(reference, **settings):
    return ek.pack(reference, name="other", reference=settings.pop("rows", X), **settings)


def save(folder, kind, model, **settings):
    """Save as MLflow does, with what it says about it left out."""
    with hushed():
        getattr(mlflow, kind).save_model(path=str(folder), **{PARAMETER[kind]: model}, **NEEDS, **settings)
    return str(folder)


def logged(model=None, **settings):
    with hushed(), mlflow.start_run() as run:
        mlflow.pyfunc.log_model(name="model", python_model=model or Own(), **NEEDS, **settings)
    return f"runs:/{run.info.run_id}/model"


# ── out of MLflow


def test_a_model_of_scikit_learn_is_packed_without_mlflow(tmp_path):
    model = LogisticRegression().fit(X, Y)
    package = packed(save(tmp_path / "model", "sklearn", model))
    assert package.manifest["kind"] == "sklearn"
    assert not [name for name in package.manifest["requirements"] if name.startswith("mlflow")]
    assert package.method == "linear"
    assert np.array_equal(package.predict(X, compiled=False)[["score_0", "score_1"]], model.predict_proba(X))


def test_a_model_of_xgboost_is_packed_without_mlflow(tmp_path):
    model = XGBClassifier(n_estimators=3, n_jobs=1).fit(X, Y)
    package = packed(save(tmp_path / "model", "xgboost", model))
    assert (package.manifest["kind"], package.method) == ("xgboost", "trees")
    assert np.array_equal(package.predict(X, compiled=False)["score_1"], model.predict_proba(X)[:, 1].astype(float))


def test_what_mlflow_pickled_is_opened_by_the_user_s_word_and_packed_without_a_pickle(tmp_path):
    model = RandomForestClassifier(3, random_state=0).fit(X, Y)
    folder = save(tmp_path / "forest", "sklearn", model, serialization_format="cloudpickle")
    with pytest.raises(UnsupportedModelError, match=re.escape("allow_pickle=['mlflow.sklearn']")):
        packed(folder)
    package = packed(folder, allow_pickle=["mlflow.sklearn"])
    assert package.manifest["kind"] == "sklearn"
    assert [path.name for path in (package.folder / "model").iterdir()] == ["model.skops"]
    assert np.array_equal(package.predict(X, compiled=False)[["score_0", "score_1"]], model.predict_proba(X))


def test_a_pickle_is_not_read_before_the_word_is_given(tmp_path):
    model = RandomForestClassifier(3, random_state=0).fit(X, Y)
    folder = save(tmp_path / "forest", "sklearn", model, serialization_format="cloudpickle")
    (Path(folder) / "model.pkl").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "harm").encode() + b"'\ntR.")
    with pytest.raises(UnsupportedModelError, match="must be allowed by name"):
        packed(folder)
    assert not (tmp_path / "harm").exists()


# ── whole


def test_a_python_model_is_kept_whole_by_the_user_s_word(tmp_path):
    reference = logged()
    with pytest.raises(
        UnsupportedModelError, match=re.escape("holds a pickle. If you trust it: pack(…, allow_pickle=")
    ):
        packed(reference)
    with pytest.raises(UnsupportedModelError, match="must be allowed by name"):
        packed(reference, trust=WORD)
    package = packed(reference, allow_pickle=WORD)
    assert [output.name for output in package.signature.outputs] == ["price", "band"]
    assert package.predict(X.head(5))["band"].tolist() == ["low", "low", "low", "low", "high"]
    assert package.manifest["requirements"][0].startswith("mlflow==")
    assert (package.folder / "model" / FOLDER / "MLmodel").is_file()
    report = ek.check(package)
    assert report.ok, str(report)


def test_a_model_from_code_is_kept_with_its_code(tmp_path):
    (tmp_path / "own.py").write_text(CODE)
    folder = save(tmp_path / "model", "pyfunc", str(tmp_path / "own.py"))
    with pytest.raises(
        UnsupportedModelError, match=re.escape("is loaded by code of its own. If you trust it: pack(…, tru")
    ):
        packed(folder)
    package = packed(folder, trust=WORD)
    (tmp_path / "own.py").unlink()
    assert package.predict(X.head(2))["value"].tolist() == [0.0, 3.0]


def test_a_model_is_loaded_by_mlflow_only_where_its_loader_is_trusted(tmp_path):
    package = packed(logged(), allow_pickle=WORD)
    folder = package.folder / "model"
    assert models.foreign(ADAPTER, folder) == ["mlflow.pyfunc.model"]
    with pytest.raises(IntegrityError, match=re.escape("it must be trusted. Got mlflow.pyfunc.model.")):
        ADAPTER.load(folder)


def test_a_model_answers_the_same_in_another_process_and_says_nothing(tmp_path):
    (tmp_path / "own.py").write_text(CODE)
    package = packed(save(tmp_path / "model", "pyfunc", str(tmp_path / "own.py")), trust=WORD)
    told = (
        "import sys, pandas as pd; from pathlib import Path; from ekiben.models.pyfunc import ADAPTER; "
        "model = ADAPTER.load(Path(sys.argv[1]), trust=['mlflow.pyfunc']); "
        "print(ADAPTER.answers(model, pd.DataFrame({'a': [1.0, 2.0], 'b': [1, 2]}))[0].values.tolist())"
    )
    arguments = [sys.executable, "-c", told, package.folder / "model"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[3.0, 6.0]", "")


def test_a_link_in_a_model_s_folder_is_refused(tmp_path):
    folder = save(tmp_path / "model", "pyfunc", Own())
    (Path(folder) / "more").symlink_to(tmp_path)
    with pytest.raises(UnsupportedModelError, match=re.escape("must hold no links. folder model does.")):
        packed(folder, allow_pickle=WORD)


# ── where it is


def test_an_alias_is_pinned_to_the_version_it_points_at():
    logged(registered_model_name="other")
    logged(registered_model_name="other")
    mlflow.MlflowClient().set_registered_model_alias("other", "champion", "2")
    for reference, source in (("models:/other@champion", "models:/other/2"), ("models:/other/1", "models:/other/1")):
        assert packed(reference, allow_pickle=WORD).manifest["provenance"]["source"] == source


def test_where_a_model_comes_from_is_no_part_of_its_digest(tmp_path):
    model = LogisticRegression().fit(X, Y)
    first = save(tmp_path / "first", "sklearn", model)
    second = shutil.copytree(first, tmp_path / "second")
    packages = [packed(model), packed(first), packed(str(second))]
    assert len({package.digest for package in packages}) == 1
    assert [package.manifest["provenance"].get("source") for package in packages] == [
        None,
        "folder first",
        "folder second",
    ]


def test_a_logged_model_is_packed_by_the_reference_that_mlflow_gives():
    with hushed(), mlflow.start_run():
        info = mlflow.sklearn.log_model(
            LogisticRegression().fit(X, Y), name="model", skops_trusted_types=["numpy.dtype"], **NEEDS
        )
    package = packed(info.model_uri)
    assert info.model_uri.startswith("models:/m-")
    assert (package.manifest["kind"], package.manifest["provenance"]["source"]) == ("sklearn", info.model_uri)


def test_what_is_not_there_is_told_with_what_is():
    run = logged(registered_model_name="other")
    for reference, words in {
        "models:/othr/1": "No model 'othr' is registered. Did you mean 'other'?",
        "models:/other/7": "No version 7 of 'other'. Known: [1].",
        "models:/other@champion": "No alias 'champion' of 'other'.",
        f"{run}s": f"No model at {run}s.",
        "runs:/0123456789/model": "No model at runs:/0123456789/model.",
        f"models:/m-{'0' * 32}": f"No model at models:/m-{'0' * 32}.",
    }.items():
        with pytest.raises(NotFoundError, match=re.escape(words)):
            packed(reference)


@pytest.mark.parametrize("text", ["other", "models:/other/latest", "no/such/folder", ""])
def test_a_text_that_is_no_reference_is_refused(text):
    with pytest.raises(SpecError, match=re.escape("must be 'models:/<name>/<version>', 'models:/<name>@<alias>'")):
        packed(text)


def test_a_package_of_ekiben_is_fetched_not_packed():
    model = LogisticRegression().fit(X, Y)
    ref = ek.log(packed(model))
    with pytest.raises(
        SpecError, match=re.escape(f"{ref} is a package of ekiben already. Fetch it: ek.fetch('{ref}').")
    ):
        packed(str(ref))


@pytest.mark.timeout(20)
def test_a_registry_that_fails_is_unreachable(monkeypatch):
    class Failing(Quiet):
        def do_GET(self):
            self.answer(500, b"{}")

    with http_server(Failing) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        for reference in ("models:/other/1", "runs:/0123456789/model"):
            with pytest.raises(UnreachableError, match=re.escape(f"The tracking server at {address} must answer.")):
                packed(reference)


# ── its signature


def test_a_reference_without_the_columns_of_the_signature_is_refused_by_their_names(tmp_path):
    folder = save(tmp_path / "model", "pyfunc", Own(), signature=signed())
    words = "the columns of the model's signature in MLflow. Got ['b'] missing and ['c'] more. They are ['a', 'b']."
    with pytest.raises(SpecError, match=re.escape(words)):
        packed(folder, rows=X[["a"]].assign(c=1), allow_pickle=WORD)


def test_params_are_told_to_stay_as_they_are(tmp_path):
    signature = signed(params={"temperature": 0.5})
    folder = save(tmp_path / "model", "pyfunc", Own(), signature=signature)
    findings = packed(folder, allow_pickle=WORD).manifest["findings"]
    assert "Its params stay as they are: temperature." in findings


def test_requirements_that_are_not_here_are_told(tmp_path):
    folder = save(tmp_path / "model", "pyfunc", Own())
    with (Path(folder) / "requirements.txt").open("a") as requirements:
        requirements.write("\nno-such-distribution==1.0\n")
    package = packed(folder, allow_pickle=WORD)
    assert any("no-such-distribution" in finding for finding in package.manifest["findings"])
    assert not any("no-such-distribution" in name for name in package.manifest["requirements"])


def test_nothing_of_mlflow_is_said(tmp_path, capfd, recwarn):
    (tmp_path / "own.py").write_text(CODE)
    folder = save(tmp_path / "model", "pyfunc", str(tmp_path / "own.py"))
    capfd.readouterr()
    packed(folder, trust=WORD).predict(X)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    assert [str(each.message) for each in recwarn] == []
