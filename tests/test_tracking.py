"""Versions in a real MLflow store: logged once, fetched by number and alias, loaded by MLflow itself."""

import re
import threading
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

import ekiben as ek
from ekiben import tracking
from ekiben.errors import IntegrityError, NotFoundError, SpecError, UnreachableError
from ekiben.refs import ModelRef
from planes import Quiet, http_server

pytestmark = pytest.mark.usefixtures("tracking_uri")
ROOMS = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0], "floor": [1, 2, 2, 3]})


def flat(price=10.0, **settings):
    model = LinearRegression().fit(ROOMS, ROOMS["rooms"] * price)
    return ek.pack(model, name="flat", reference=ROOMS, holdout=(ROOMS, ROOMS["rooms"] * price), owner="me", **settings)


@pytest.fixture(scope="module")
def package():
    return flat()


@pytest.fixture(scope="module")
def other():
    return flat(11.0)


# ── there and back


def test_a_package_logged_twice_is_one_version(package, other):
    assert [str(ek.log(each)) for each in (package, package, other, package)] == [
        "models:/flat/1",
        "models:/flat/1",
        "models:/flat/2",
        "models:/flat/1",
    ]


def test_a_package_is_fetched_by_version_and_by_alias(package, other):
    ek.log(package)
    ek.log(other, alias="champion")
    assert ek.fetch("models:/flat/1").digest == package.digest
    assert ek.fetch("models:/flat@champion").digest == other.digest
    assert ek.fetch(ModelRef(name="flat", version=2)).digest == other.digest
    pd.testing.assert_frame_equal(ek.fetch("models:/flat/1").predict(ROOMS), package.predict(ROOMS), check_exact=True)
    assert ek.fetch("models:/flat/1").explain(ROOMS.head(1))[0].contributions == pytest.approx(
        package.explain(ROOMS.head(1))[0].contributions
    )


def test_an_alias_moves_to_the_version_that_is_logged_with_it(package, other):
    ek.log(package, alias="champion")
    assert str(tracking.resolve("models:/flat@champion")) == "models:/flat/1"
    ek.log(other, alias="champion")
    assert str(tracking.resolve("models:/flat@champion")) == "models:/flat/2"
    ek.log(package, alias="champion")
    assert str(tracking.resolve("models:/flat@champion")) == "models:/flat/1"


def test_what_was_fetched_goes_with_the_package(package):
    ek.log(package)
    fetched = ek.fetch("models:/flat/1")
    folder = fetched.folder
    assert folder.is_dir()
    del fetched
    assert not folder.exists()


def test_the_version_tells_where_it_comes_from(package):
    ek.log(package, tags={"team": "flats"})
    tags = mlflow.MlflowClient().get_model_version("flat", "1").tags
    assert tags["ekiben.digest"] == package.digest
    assert tags["ekiben.data_digest"] == package.manifest["data_digest"]
    assert tags["ekiben.owner"] == "me"
    assert tags["team"] == "flats"


def test_the_run_holds_the_metrics_and_what_was_packed(package):
    ek.log(package)
    run = mlflow.MlflowClient().get_run(mlflow.MlflowClient().get_model_version("flat", "1").run_id)
    assert run.data.metrics == {name: found["value"] for name, found in package.metrics.items() if name != "n_rows"}
    assert run.data.params == {"class": "LinearRegression", "explainer": "linear"}
    assert run.data.tags["ekiben.digest"] == package.digest


def test_a_package_logged_within_a_training_run_names_it_and_leaves_it_open(package):
    with mlflow.start_run() as training:
        ek.log(package)
        assert mlflow.active_run().info.run_id == training.info.run_id
    version = mlflow.MlflowClient().get_model_version("flat", "1")
    assert version.tags["ekiben.mlflow_run"] == training.info.run_id
    assert version.run_id != training.info.run_id
    assert mlflow.get_run(version.run_id).data.tags["mlflow.parentRunId"] == training.info.run_id


def test_mlflow_knows_the_signature_and_an_example(package):
    ek.log(package)
    info = mlflow.models.get_model_info("models:/flat/1")
    assert {column.name: str(column.type) for column in info.signature.inputs} == {
        "rooms": "DataType.double",
        "floor": "DataType.long",
    }
    assert [column.name for column in info.signature.outputs] == ["value"]
    assert info.metadata["data_digest"] == package.manifest["data_digest"]
    loaded = mlflow.pyfunc.load_model("models:/flat/1")
    pd.testing.assert_frame_equal(loaded.input_example, package.example_frame)


def test_mlflow_s_own_loading_answers_the_same(package, champion, people):
    for each, rows in ((package, ROOMS), (champion, champion.example_frame.dropna())):
        ref = ek.log(each)
        pd.testing.assert_frame_equal(mlflow.pyfunc.load_model(str(ref)).predict(rows), each.predict(rows))


def test_the_requirements_are_the_package_s_own_and_not_inferred(package):
    ek.log(package)
    file = Path(mlflow.pyfunc.get_model_dependencies("models:/flat/1"))
    # MLflow adds itself, for its own loading
    lines = [line for line in file.read_text().split() if not line.startswith("mlflow==")]
    assert lines == [f"ekiben=={ek.__version__}", *package.manifest["requirements"]]


def test_one_s_own_settings_are_left_as_they_were(package, monkeypatch):
    import logging
    import os

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "99")
    level, before = logging.getLogger("mlflow").level, dict(os.environ)
    ek.log(package)
    assert logging.getLogger("mlflow").level == level
    assert {name: value for name, value in os.environ.items() if "REQUEST" in name} == {
        name: value for name, value in before.items() if "REQUEST" in name
    }
    assert mlflow.active_run() is None


# ── what is not there


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("models:/flta/1", "No model 'flta' is registered. Did you mean 'flat'? Known: ['flat']."),
        ("models:/flat/7", "No version 7 of 'flat'. Known: [1]."),
        ("models:/flat@champoin", "No alias 'champoin' of 'flat'. Did you mean 'champion'? Known: ['champion']."),
    ],
)
def test_what_is_not_registered_is_not_found_with_the_nearest_name(package, ref, words):
    ek.log(package, alias="champion")
    for act in (ek.fetch, tracking.resolve):
        with pytest.raises(NotFoundError, match=re.escape(words)):
            act(ref)


def test_in_an_empty_registry_nothing_is_known():
    with pytest.raises(NotFoundError, match=re.escape("No model 'flat' is registered. Known: [].")):
        ek.fetch("models:/flat/1")


def test_a_package_s_own_reference_is_no_version(package):
    with pytest.raises(SpecError, match=re.escape("which was never logged.")):
        ek.fetch(package.ref)


def test_a_version_that_ekiben_did_not_log_is_no_package(tmp_path):
    (tmp_path / "own").write_text("something else")
    settings = {"loader_module": "json", "data_path": str(tmp_path / "own"), "pip_requirements": []}
    mlflow.pyfunc.log_model(name="own", registered_model_name="own", **settings)
    with pytest.raises(
        NotFoundError, match=re.escape("A version must hold a package of ekiben. models:/own/1 does not")
    ):
        ek.fetch("models:/own/1")


def test_a_version_whose_files_were_changed_is_refused(package):
    ek.log(package)
    source = mlflow.MlflowClient().get_model_version("flat", "1").source
    folder = Path(mlflow.artifacts.download_artifacts(source)) / tracking.INSIDE
    (folder / "examples.json").write_text("[]")
    with pytest.raises(IntegrityError, match=re.escape("examples.json was changed")):
        ek.fetch("models:/flat/1")


def test_a_version_that_holds_another_package_than_was_logged_is_refused(package):
    ek.log(package)
    mlflow.MlflowClient().set_model_version_tag("flat", "1", "ekiben.digest", "0" * 64)
    with pytest.raises(IntegrityError, match=re.escape("models:/flat/1 must hold the package that was logged.")):
        ek.fetch("models:/flat/1")


# ── a registry that does not answer; the time limit is the promise, and the runner keeps it


@pytest.fixture
def registry(monkeypatch):
    """Start a registry on this machine that misbehaves in one way."""
    mode, released = [], threading.Event()

    class Registry(Quiet):
        def do_GET(self):
            how, _, healthy = mode[-1].partition("-but-")
            if healthy and self.path == "/health":
                self.answer(200, b"OK")
            elif how == "silent":
                released.wait()
            elif how == "garbage":
                self.wfile.write(b"SSH-2.0-OpenSSH\r\n")
            elif how == "failing":
                self.answer(500, b"{}")
            self.close_connection = True

        do_POST = do_GET

    def misbehave(how, user=""):
        mode.append(how)
        uri = address.replace("//", f"//{user}")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        return uri

    with http_server(Registry) as address:
        yield misbehave
        released.set()


@pytest.mark.timeout(110)  # MLflow by itself waits for longer
@pytest.mark.parametrize(
    "mode", ["silent", "silent-but-healthy", "failing", "failing-but-healthy", "garbage", "closing"]
)
def test_a_registry_that_does_not_answer_is_unreachable(package, registry, mode):
    uri = registry(mode)
    with pytest.raises(UnreachableError, match=re.escape(f"The tracking server at {uri} must answer.")):
        ek.log(package)


@pytest.mark.timeout(110)  # MLflow by itself waits for longer
def test_a_registry_that_refuses_connections_is_unreachable(package, registry):
    uri = registry("silent").rpartition(":")[0] + ":9"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        for act in (lambda: ek.log(package), lambda: ek.fetch("models:/flat/1")):
            with pytest.raises(UnreachableError, match=re.escape("Start it, or unset MLFLOW_TRACKING_URI")):
                act()


def test_a_password_in_the_address_is_not_told(package, registry):
    for mode in ("failing", "failing-but-healthy"):
        uri = registry(mode, user="me:secret-4711@")
        assert "4711" in uri
        with pytest.raises(UnreachableError, match="must answer") as caught:
            ek.log(package)
        assert "4711" not in str(caught.value)


def test_categories_and_nullable_integers_are_logged_and_loaded_back():
    rows = ROOMS.assign(
        floor=pd.array([1, None, 2, 3], dtype="Int64"), kind=pd.Categorical(["flat", "house", "flat", "house"])
    )
    model = HistGradientBoostingRegressor(categorical_features="from_dtype", max_iter=3).fit(rows, [1.0, 2, 3, 4])
    package = ek.pack(model, name="homes", reference=rows)
    loaded = mlflow.pyfunc.load_model(str(ek.log(package)))
    plain = package.example_frame.astype({"kind": object, "floor": "float64"})
    assert loaded.predict(plain)["value"].tolist() == package.predict(package.example_frame)["value"].tolist()


def test_dates_lists_and_categories_of_integers_are_logged_and_loaded_back():
    rows = ROOMS.assign(
        since=pd.to_datetime(["2024-01-01", "2024-06-01", None, "2025-01-01"]),
        seen=pd.to_datetime(["2024-01-01T10:00:00Z"] * 4).tz_convert("Europe/Madrid"),
        place=[[1.5, 2.0], [0.0, 1.0], [2.0, 2.0], [3.0, 0.5]],
        grade=pd.Categorical([3, 1, 2, None]),
    )
    model = make_pipeline(ColumnTransformer([("n", "passthrough", ["rooms", "floor"])]), LinearRegression()).fit(
        rows, rows["rooms"]
    )
    package = ek.pack(model, name="dated", reference=rows)
    loaded = mlflow.pyfunc.load_model(str(ek.log(package)))
    assert ek.fetch("models:/dated/1").schema == package.schema
    asked = tracking._as_mlflow_takes_it(rows)
    pd.testing.assert_frame_equal(loaded.predict(asked), package.predict(rows), check_exact=True)


def test_a_new_version_tells_what_became_of_the_contract():
    first, second = flat(), flat(contract=ek.contract(ROOMS).edit("rooms", minimum=1))
    assert tracking.contract_change(ek.log(first)) is None
    told = tracking.contract_change(ek.log(second))
    assert told == "breaking\n  breaking: 'rooms' takes at least 1 now, and took any float64."
    client = mlflow.MlflowClient()
    assert client.get_model_version("flat", "2").tags["ekiben.contract_change"] == told


def test_the_same_contract_again_is_told_as_the_same(package, other):
    ek.log(package)
    assert tracking.contract_change(ek.log(other)) == "same"
