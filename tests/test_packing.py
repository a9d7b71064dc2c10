"""A package holds what was packed, answers as the live model does, and refuses to be read when a byte of it changed."""

import copy
import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.decomposition import SparsePCA
from sklearn.ensemble import RandomForestRegressor, VotingRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBClassifier

import ekiben as ek
from ekiben import describing, models, packing, sealing
from ekiben.compatibility import compare
from ekiben.errors import ExplainError, IntegrityError, NotFoundError, SchemaError, SpecError, UnsupportedModelError
from ekiben.packing import live, writing

GOLDEN = Path(__file__).parent / "golden" / "packages"
ROOMS = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0], "floor": [1, 2, 2, 3]})
PRICES = [20.0, 30.0, 40.0, 60.0]


def flat(**settings):
    given = {"name": "flat", "reference": ROOMS, "target": PRICES}
    return ek.pack(LinearRegression().fit(ROOMS, PRICES), **{**given, **settings})


@pytest.fixture
def folder(champion, tmp_path):
    """A folder with a package, which a test may spoil."""
    return champion.save(tmp_path / "package")


@pytest.fixture
def unread(monkeypatch):
    """Fail at once when anything is built from a model's file."""

    def read(*_):
        raise AssertionError("a model was deserialised before its bytes were verified")

    for name in ("sklearn", "xgboost"):
        monkeypatch.setattr(models.named(name), "load", read, raising=True)


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


# ── what a package is


def test_a_package_tells_what_was_packed(champion, people):
    rows, labels = people
    manifest = champion.manifest
    assert (champion.name, champion.method, manifest["owner"]) == ("risk", "linear", "risk-team")
    assert champion.signature.classes == ("bad", "good")
    assert manifest["n_reference"] == len(rows)
    assert manifest["balance"] == {label: pytest.approx((labels == label).mean()) for label in ("bad", "good")}
    assert manifest["class"] == "Pipeline → LogisticRegression"
    assert [line.partition("==")[0] for line in manifest["requirements"]] == ["scikit-learn", "skops"]
    assert str(champion.ref) == f"package:/risk/{champion.digest[:12]}"


def test_its_files_are_the_format_s(champion):
    names = [path.relative_to(champion.folder).as_posix() for path in files_of(champion.folder)]
    assert names == [
        "examples.json",
        "explainer/explainer.json",
        "explainer/means.npy",
        "explainer/owners.npy",
        "model/model.skops",
        "overview.json",
        "package.json",
        "plan/plan.json",
        "reference/profile.json",
        "reference/sample.json",
    ]


def test_it_shows_itself(champion):
    assert repr(champion) == f"<Package {champion.ref} Pipeline → LogisticRegression explained by linear>"
    assert "a classifier of 'bad', 'good'" in str(champion)
    assert "<h3>risk</h3>" in champion._repr_html_()


def test_the_profile_describes_every_column(champion, people):
    rows, _ = people
    profile = champion.profile
    assert profile["income"]["missing"] == pytest.approx(rows["income"].isna().mean())
    assert profile["age"]["quantiles"]["0.5"] == rows["age"].median()
    assert sum(profile["age"]["histogram"]["counts"]) == len(rows)
    assert profile["job"]["top"] == rows["job"].value_counts().to_dict()
    assert profile["member"]["distinct"] == 2


def test_the_sample_is_capped_and_every_row_of_it_is_real():
    rows = pd.DataFrame({"x": np.arange(3000.0)})
    package = ek.pack(LinearRegression().fit(rows, rows["x"]), name="m", reference=rows)
    assert len(package.sample) == live.SAMPLE_ROWS
    assert package.sample["x"].is_monotonic_increasing
    assert package.sample["x"].isin(rows["x"]).all()


def test_the_examples_show_missing_values_and_what_was_answered(champion):
    rows = champion.example_frame
    assert rows["income"].isna().any()
    assert rows["income"].notna().any()
    answers = pd.DataFrame([example["answer"] for example in champion.examples])
    pd.testing.assert_frame_equal(champion.predict(rows), answers)


@pytest.mark.parametrize("at", [7, 1500])
def test_a_model_that_refuses_a_row_of_its_reference_is_refused_in_plain_words(at):
    rows = pd.DataFrame({"rooms": np.arange(1, 1601.0)})
    model = make_pipeline(FunctionTransformer(np.log1p), LinearRegression()).fit(rows, rows["rooms"])
    every = pd.concat([rows[:at], pd.DataFrame({"rooms": [-5.0] * 700}), rows[at:]], ignore_index=True)
    with pytest.raises(SpecError, match="must answer the 'reference' rows"):
        ek.pack(model, name="flat", reference=every)


def test_examples_of_one_s_own_are_kept_in_their_order():
    package = flat(examples=ROOMS.iloc[[3, 0]])
    assert [example["row"]["rooms"] for example in package.examples] == [6.0, 2.0]


def test_answers_keep_the_index_of_the_rows(champion, people):
    rows = people[0].tail(3)
    assert champion.predict(rows).index.tolist() == rows.index.tolist()


def test_rows_that_do_not_fit_are_refused_before_the_model_sees_them(champion, people):
    with pytest.raises(SchemaError, match=re.escape("The column 'age' is missing.")):
        champion.predict(people[0].drop(columns="age"))
    with pytest.raises(SchemaError, match=re.escape("The column 'age' is missing.")):
        champion.explain(people[0].drop(columns="age"))


def test_another_method_explains_on_request(champion, people):
    row = people[0].head(1)
    assert champion.explain(row, method="sampling")[0].method == "permutation-sampling"
    assert champion.explain(row, method="linear")[0].method == "linear-interventional"
    with pytest.raises(SpecError, match=re.escape("Got 'shap'.")):
        champion.explain(row, method="shap")


def test_progress_may_be_kept_back_and_must_be_a_function(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    flat(progress=False)
    assert capsys.readouterr().err == ""
    with pytest.raises(
        SpecError, match=re.escape("`progress` must be a function of a text, or False for silence. Got int.")
    ):
        flat(progress=2)


def test_what_a_column_is_called_is_no_markup_of_a_terminal(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    X = pd.DataFrame({"rent [/month]": [1.0, 2.0, 3.0, 4.0], "area [m2]": [3.0, 1.0, 2.0, 5.0]})
    package = ek.pack(LinearRegression().fit(X, X.sum(axis=1)), name="rents", reference=X, overview=False)
    assert package.importance(X).columns == ("area [m2]", "rent [/month]")


def test_each_step_is_told():
    said = []
    flat(progress=said.append)
    assert said == [
        "learning the contract",
        "writing the model",
        "compiling a plan, and trying it against the model",
        "fitting the explainer",
        "describing the reference data",
        "looking at the model as a whole",
        "measuring and sealing",
    ]


# ── what is packed stays as it was


def test_the_user_s_model_is_left_unchanged(people):
    rows, labels = people
    parts = [("n", StandardScaler(), pd.Index(["age"])), ("t", OneHotEncoder(), pd.Index(["job"]))]
    model = make_pipeline(ColumnTransformer(parts), LogisticRegression()).fit(rows, labels)
    state = copy.deepcopy(model)
    scores = model.predict_proba(rows)
    ek.pack(model, name="risk", reference=rows, target=labels)
    assert np.array_equal(model.predict_proba(rows), scores)
    for kept, was in zip(model[0].transformers, state[0].transformers, strict=True):
        assert isinstance(kept[2], pd.Index)
        assert kept[2].equals(was[2])
    assert str(model.get_params()) == str(state.get_params())


def test_the_user_s_frames_are_left_unchanged(people, prepared):
    rows, labels = (part.copy() for part in people)
    model = make_pipeline(prepared(), LogisticRegression()).fit(rows, labels)
    package = ek.pack(model, name="risk", reference=rows, target=labels, holdout=(rows, labels), examples=rows.head(2))
    package.predict(rows)
    package.explain(rows.head(2))
    pd.testing.assert_frame_equal(rows, people[0])
    pd.testing.assert_series_equal(labels, people[1])


def test_the_user_s_booster_is_left_unchanged(people):
    rows = people[0][["age", "income"]]
    model = XGBClassifier(n_estimators=4, max_depth=2, n_jobs=1).fit(rows, people[1] == "good")
    before = model.get_booster().save_raw()
    ek.pack(model, name="risk", reference=rows)
    assert model.get_booster().save_raw() == before


def test_its_folder_goes_with_the_package():
    package = flat()
    folder = package.folder
    del package
    assert not folder.exists()


def test_nothing_is_left_of_a_package_that_was_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(packing.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ExplainError, match="linear"):
        ek.pack(DecisionTreeRegressor().fit(ROOMS, PRICES), name="flat", reference=ROOMS, explainer="linear")
    assert list(tmp_path.iterdir()) == []


# ── the same model and data, the same digest


def test_the_same_model_and_data_have_the_same_digest():
    assert flat().digest == flat().digest


@pytest.mark.parametrize(
    "other",
    [
        {"name": "house"},
        {"owner": "somebody"},
        {"target": [20.0, 30.0, 40.0, 61.0]},
        {"reference": ROOMS.iloc[::-1]},
        {"explainer": "sampling"},
        {"examples": ROOMS.head(1)},
        {"holdout": (ROOMS, PRICES)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_whatever_differs_in_a_package_changes_the_digest(other):
    assert flat(**other).digest != flat().digest


TRAINING = """
import numpy as np, pandas as pd, ekiben as ek
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

rng = np.random.default_rng(0)
X = pd.DataFrame({"age": rng.integers(18, 70, 80), "job": rng.choice(["a", "b", "c"], 80)})
y = (X["age"] > 40).astype(int)
before = ColumnTransformer([("n", StandardScaler(), ["age"]), ("t", OneHotEncoder(handle_unknown="ignore"), ["job"])])
forest = make_pipeline(before, RandomForestClassifier(4, random_state=0)).fit(X, y)
trees = XGBClassifier(n_estimators=4, max_depth=2, n_jobs=1).fit(X[["age"]], y)
print(ek.pack(forest, name="m", reference=X, target=y, holdout=(X, y)).digest)
print(ek.pack(trees, name="m", reference=X[["age"]], target=y).digest)
"""


@pytest.mark.slow
def test_two_processes_with_other_hashes_make_the_same_digest():
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TRAINING],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    first, second = (process.communicate()[0].split() for process in running)
    assert len(first) == 2
    assert first == second


def test_the_data_digest_sees_names_dtypes_rows_and_the_target():
    frame = pd.DataFrame({"x": [1, 2]})
    others = [
        describing.data_digest(frame),
        describing.data_digest(frame.rename(columns={"x": "y"})),
        describing.data_digest(frame.astype(float)),
        describing.data_digest(frame.iloc[::-1]),
        describing.data_digest(frame, [0, 1]),
        describing.data_digest(frame, [1, 0]),
    ]
    assert len(set(others)) == len(others)


# ── whatever was changed is refused, and nothing is read before


def test_any_changed_byte_refuses_naming_the_file(folder, unread):
    rng = np.random.default_rng(0)
    for path in files_of(folder):
        whole = path.read_bytes()
        for position in {0, len(whole) - 1, *rng.integers(len(whole), size=12).tolist()}:
            spoilt = bytearray(whole)
            spoilt[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(spoilt)
            with pytest.raises(IntegrityError) as caught:
                ek.load(folder)
            name = path.relative_to(folder).as_posix()
            assert name in str(caught.value) or "of format 1" in str(caught.value), (name, position)
        path.write_bytes(whole)


def test_every_fault_of_a_folder_is_told_at_once(folder, unread):
    (folder / "examples.json").unlink()
    (folder / "model" / "more.py").write_text("import os")
    (folder / "reference" / "sample.json").write_text("{}")
    words = (
        "A package must hold the bytes that were packed. In package examples.json is gone; "
        "model/more.py was added; reference/sample.json was changed."
    )
    with pytest.raises(IntegrityError, match=re.escape(words)):
        ek.load(folder)


@pytest.mark.parametrize(
    "name", ["examples.json", "model/model.skops", "explainer/means.npy", "reference/profile.json"]
)
def test_a_file_that_is_gone_refuses(folder, unread, name):
    (folder / name).unlink()
    with pytest.raises(IntegrityError, match=re.escape(f"{name} is gone")):
        ek.load(folder)


def test_a_link_to_the_very_same_bytes_refuses(folder, unread, tmp_path):
    model = folder / "model" / "model.skops"
    model.rename(tmp_path / "elsewhere")
    model.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match=re.escape("model/model.skops was changed")):
        ek.load(folder)


def test_a_linked_folder_refuses(folder, unread, tmp_path):
    (folder / "model").rename(tmp_path / "elsewhere")
    (folder / "model").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match=re.escape("model/model.skops is gone; model was added")):
        ek.load(folder)


def edited(folder, **changes):
    path = folder / "package.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"owner": "mallory"},
        {"metrics": {"accuracy": {"value": 1.0, "low": 1.0, "high": 1.0}}},
        {"findings": []},
        {"kind": "xgboost"},
        {"files": {}},
        {"digest": "0" * 64},
        {"seal": "0" * 64},
        {"seal": None},
        {"more": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_edited_manifest_refuses(folder, unread, change):
    edited(folder, **change)
    with pytest.raises(IntegrityError, match=re.escape("package.json of package is not what was packed.")):
        ek.load(folder)


def test_a_seal_made_anew_does_not_cover_another_content_under_the_old_digest(folder, unread):
    manifest = json.loads((folder / "package.json").read_text())
    changed = {key: value for key, value in manifest.items() if key != "seal"} | {"owner": "mallory"}
    edited(folder, owner="mallory", seal=sealing.of_json(changed))
    with pytest.raises(IntegrityError, match=re.escape("package.json of package is not what was packed.")):
        ek.load(folder)


@pytest.mark.parametrize("content", ["", "{", "nonsense", "[1]", '"text"', "null"])
def test_a_manifest_that_is_none_refuses(folder, unread, content):
    (folder / "package.json").write_text(content)
    with pytest.raises(IntegrityError, match=re.escape("package.json of package is not what was packed")):
        ek.load(folder)


def test_a_newer_format_refuses_and_says_so(folder, unread):
    edited(folder, format=2)
    with pytest.raises(
        IntegrityError, match=re.escape("A package must be of format 1. Got 2: a newer ekiben wrote it.")
    ):
        ek.load(folder)


def test_a_folder_without_a_package_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match=re.escape("A package's folder must hold package.json.")):
        ek.load(tmp_path)


def test_a_package_is_saved_only_where_nothing_is(champion, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(SpecError, match=re.escape("The 'folder' must be new or empty.")):
        champion.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# ── what the model does without a value, and with a text that it has never seen


def labelled(people, encoder, columns=("job",)):
    rows = people[0][list(columns)]
    model = make_pipeline(ColumnTransformer([("t", encoder, ["job"])]), LogisticRegression()).fit(rows, people[1])
    return ek.pack(model, name="risk", reference=rows)


def test_an_encoder_that_refuses_unknown_texts_makes_a_contract_that_does(people):
    package = labelled(people, OneHotEncoder())
    assert package.schema["job"].unseen == "refuse"
    assert package.manifest["findings"][-1] == "A text that the model has not seen is refused in job."
    with pytest.raises(
        SchemaError, match=re.escape("The column 'job' must hold one of 'fixed', 'freelance', 'other'.")
    ):
        package.predict(pd.DataFrame({"job": ["pilot"]}))


def test_an_encoder_that_ignores_unknown_texts_makes_a_contract_that_takes_them(people):
    package = labelled(people, OneHotEncoder(handle_unknown="ignore"))
    assert package.schema["job"].unseen == "accept"
    assert len(package.predict(pd.DataFrame({"job": ["pilot"]}))) == 1


def test_a_missing_value_is_taken_where_the_model_takes_it_though_the_reference_has_none():
    rows = ROOMS.assign(rooms=ROOMS["rooms"])
    assert not flat().schema["rooms"].nullable  # LinearRegression cannot
    trees = DecisionTreeRegressor().fit(rows, PRICES)  # can
    assert ek.pack(trees, name="flat", reference=rows).schema["floor"].nullable


# ── findings


def _with_gaps(kinds):
    """Make a frame whose texts lack a value in ways of `kinds`, and a target that tells those ways apart."""
    texts = np.array(["a", "b", *kinds] * 20, dtype=object)
    frame = pd.DataFrame({"size": np.arange(len(texts), dtype=float), "kind": texts})
    return frame, frame["size"] + [{"a": 0, "b": 10}.get(each, 50 if each is None else -50) for each in texts]


def _by_kind(frame, target, *, encoder=None):
    encoder = encoder or OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("kind", encoder, ["kind"])], remainder="passthrough")
    return make_pipeline(columns, Ridge(0.01)).fit(frame, target)


@pytest.mark.parametrize("kinds", [(None, np.nan), (np.nan, None)], ids=str)
def test_missing_values_of_two_kinds_that_the_model_tells_apart_are_refused(kinds):
    frame, target = _with_gaps(kinds)
    with pytest.raises(
        SpecError, match=r"one kind of missing value.* Got .* in 'kind'\. Use one, and fit again: X\['kind'\]"
    ):
        ek.pack(_by_kind(frame, target), name="gaps", reference=frame)


def test_missing_values_of_two_kinds_that_the_model_answers_alike_are_taken():
    frame = pd.DataFrame({"size": pd.Series([1.0, 2.5, None, np.nan] * 10, dtype=object)})
    model = make_pipeline(SimpleImputer(), LinearRegression()).fit(frame, range(40))
    packed = ek.pack(model, name="gaps", reference=frame)
    assert packed.predict(frame)["value"].tolist() == pytest.approx(model.predict(frame).tolist())


def test_a_model_that_tells_none_from_nan_is_told_where_the_reference_shows_neither():
    frame, target = _with_gaps((None,))
    model, full = _by_kind(frame, target), frame.dropna()
    packed = ek.pack(model, name="gaps", reference=full)
    (finding,) = [each for each in packed.manifest["findings"] if "None" in each]
    assert finding.startswith("The model answers None otherwise than NaN in 'kind'")
    assert not [each for each in ek.pack(model, name="gaps", reference=frame).manifest["findings"] if "None" in each]


@pytest.mark.parametrize("scalar", [np.int64, np.float32, np.bool_])
def test_a_column_of_numpy_s_scalars_is_packed_as_one_of_python_s_own(scalar):
    cells = [scalar(each % 2) for each in range(40)]
    frame = pd.DataFrame({"size": np.arange(40.0), "kind": pd.Series(cells, dtype=object)})
    model = LinearRegression().fit(frame, np.arange(40.0))
    packed = ek.pack(model, name="scalars", reference=frame)
    assert packed.predict(frame)["value"].tolist() == pytest.approx(model.predict(frame).tolist())
    assert {type(each["row"]["kind"]) for each in packed.examples} == {type(scalar(0).item())}


def test_a_package_without_held_out_rows_says_that_it_has_no_metrics():
    package = flat()
    assert package.metrics == {}
    assert package.manifest["findings"][0].startswith("No held-out rows were given, so there are no metrics")


def test_held_out_rows_that_are_in_the_reference_are_counted():
    new = pd.DataFrame({"rooms": [2.0, 9.0, 6.0], "floor": [1, 1, 3]})
    package = flat(holdout=(new, [20.0, 90.0, 60.0]))
    assert "2 of 3 held-out rows are in the reference too: the metrics may flatter." in package.manifest["findings"]


def test_a_column_with_one_value_is_named():
    rows = ROOMS.assign(city="Ulm", year=2024)
    model = make_pipeline(ColumnTransformer([("n", "passthrough", ["rooms"])]), LinearRegression()).fit(rows, PRICES)
    package = ek.pack(model, name="flat", reference=rows)
    assert "Only one value was seen in city, year." in package.manifest["findings"]


# ── metrics


def test_metrics_of_a_classifier_are_sklearn_s_own(people, prepared):
    (rows, labels), half = people, 120
    model = make_pipeline(prepared(), LogisticRegression()).fit(rows[:half], labels[:half])
    held = rows[half:], labels[half:]
    found = ek.pack(model, name="risk", reference=rows[:half], holdout=held).metrics
    predicted, scores = model.predict(held[0]), model.predict_proba(held[0])
    wanted = {
        "accuracy": metrics.accuracy_score(held[1], predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(held[1], predicted),
        "roc_auc": metrics.roc_auc_score(held[1], scores[:, 1]),
        "log_loss": metrics.log_loss(held[1], scores),
    }
    assert found["n_rows"] == half
    assert {name: found[name]["value"] for name in wanted} == pytest.approx(wanted)
    assert all(found[name]["low"] <= found[name]["value"] <= found[name]["high"] for name in wanted)


def test_metrics_of_three_classes_are_sklearn_s_own():
    rows, labels = load_iris(return_X_y=True, as_frame=True)
    rows = rows.iloc[:, :2]
    model = LogisticRegression().fit(rows[::2], labels[::2])
    found = ek.pack(model, name="iris", reference=rows[::2], holdout=(rows[1::2], labels[1::2])).metrics
    scores = model.predict_proba(rows[1::2])
    assert found["roc_auc"]["value"] == pytest.approx(metrics.roc_auc_score(labels[1::2], scores, multi_class="ovr"))
    assert found["log_loss"]["value"] == pytest.approx(metrics.log_loss(labels[1::2], scores))
    assert found["balanced_accuracy"]["value"] == pytest.approx(
        metrics.balanced_accuracy_score(labels[1::2], model.predict(rows[1::2]))
    )


def test_metrics_of_a_regressor_are_sklearn_s_own(people):
    rows, values = people[0][["age"]], people[0]["income"].fillna(3000)
    model = Ridge().fit(rows[:120], values[:120])
    found = ek.pack(model, name="income", reference=rows[:120], holdout=(rows[120:], values[120:])).metrics
    predicted = model.predict(rows[120:])
    wanted = {
        "mae": metrics.mean_absolute_error(values[120:], predicted),
        "rmse": metrics.root_mean_squared_error(values[120:], predicted),
        "r2": metrics.r2_score(values[120:], predicted),
    }
    assert {name: found[name]["value"] for name in wanted} == pytest.approx(wanted)


def test_few_held_out_rows_are_enough():
    found = flat(holdout=(ROOMS.head(1), PRICES[:1])).metrics
    assert found["mae"]["value"] == pytest.approx(0, abs=1e-9)
    assert "r2" not in found  # one value has no spread


@pytest.mark.parametrize("label", ["bad", "good"])
def test_held_out_rows_of_one_class_have_metrics_but_no_auc(people, prepared, label):
    rows, labels = people
    model = make_pipeline(prepared(), LogisticRegression()).fit(rows, labels)
    package = ek.pack(model, name="risk", reference=rows, holdout=(rows[labels == label], labels[labels == label]))
    assert "roc_auc" not in package.metrics
    assert 0 <= package.metrics["accuracy"]["value"] <= 1


# ── what cannot be packed


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"target": [1.0]}, SpecError, "The 'target' must have one value a row. Got 1 for 4 rows."),
        ({"holdout": (ROOMS.head(0), [])}, SpecError, "The 'holdout' must have rows. Got none."),
        ({"holdout": (ROOMS, [1.0])}, SpecError, "The 'holdout' must have one value a row. Got 1 for 4 rows."),
        (
            {"holdout": (ROOMS.drop(columns="rooms"), PRICES)},
            SchemaError,
            "The 'holdout' must fit the contract of the 'reference'.\nThe column 'rooms' is missing.",
        ),
        (
            {"examples": ROOMS.assign(rooms="two")},
            SchemaError,
            "The 'examples' must fit the contract of the 'reference'.\nThe column 'rooms' must hold a finite number.",
        ),
        (
            {"reference": PRICES},
            SpecError,
            "The 'reference' must be a pandas DataFrame, a 2-D numpy array, or a list of texts. Got list.",
        ),
        ({"reference": "rooms.csv"}, SpecError, "Got the text 'rooms.csv'. Read a file first, by pandas."),
        ({"holdout": ROOMS}, SpecError, "rows and their labels: holdout=(X_test, y_test). Got DataFrame."),
        ({"holdout": (ROOMS,)}, SpecError, "rows and their labels: holdout=(X_test, y_test). Got a tuple of 1."),
        (
            {"holdout": (pd.Series(PRICES, name="price"), ROOMS)},
            SpecError,
            "The labels of 'holdout' must be one column of values",
        ),
        (
            {"reference": ROOMS[["rooms"]]},
            SpecError,
            "The 'reference' must hold the columns that the model was fitted on. Got ['floor'] missing.",
        ),
        ({"reference": ROOMS.reset_index()}, SpecError, "Got ['index'] more."),
        (
            {"reference": ROOMS.assign(rooms=[1.0, 2.0, np.inf, 3.0])},
            SpecError,
            "The column 'rooms' must hold finite numbers. Got infinity in 1 of 4 rows.",
        ),
        ({"owner": 5}, SpecError, "The 'owner' must be a text. Got int."),
        ({"explainer": object()}, SpecError, "The 'explainer' must be a text. Got object."),
        (
            {"examples": [{"rooms": 1}]},
            SpecError,
            "or a list of texts. Got list. Make one of the rows: pd.DataFrame(rows).",
        ),
        ({"name": "a flat"}, SpecError, "The 'name' of a model must start with a letter"),
        (
            {"explainer": "trees"},
            ExplainError,
            "The method 'trees' takes a model whose last step is made of trees",
        ),
        ({"explainer": "liner"}, SpecError, "Got 'liner'. Did you mean 'linear'?"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_does_not_fit_together_is_refused(settings, error, words):
    with pytest.raises(error, match=re.escape(words)):
        flat(**settings)


def test_labels_that_the_model_does_not_know_are_refused(people, prepared):
    model = make_pipeline(prepared(), LogisticRegression()).fit(*people)
    words = "The labels of 'holdout' must be of ['bad', 'good']. Got ['maybe'] as well."
    with pytest.raises(SpecError, match=re.escape(words)):
        ek.pack(model, name="risk", reference=people[0], holdout=(people[0].head(2), ["good", "maybe"]))


def test_a_target_of_other_labels_than_the_model_s_is_refused(people, prepared):
    model = make_pipeline(prepared(), LogisticRegression()).fit(*people)
    words = "The labels of 'target' must be of ['bad', 'good']. Got ['0', '1'] as well."
    with pytest.raises(SpecError, match=re.escape(words)):
        ek.pack(model, name="risk", reference=people[0], target=(people[1] == "good").astype(int))


def test_answers_that_are_not_finite_are_refused():
    model = DecisionTreeRegressor().fit(ROOMS, PRICES)
    model.tree_.value[:] = np.inf
    with pytest.raises(SpecError, match=re.escape("The model must answer its examples with finite numbers.")):
        ek.pack(model, name="flat", reference=ROOMS)


def test_a_model_that_reads_back_otherwise_is_refused(monkeypatch):
    adapter = models.named("sklearn")
    monkeypatch.setattr(adapter, "load", lambda folder, trust=(): LinearRegression().fit(ROOMS, [1.0, 2.0, 3.0, 5.0]))
    with pytest.raises(UnsupportedModelError, match=re.escape("A packed model must answer as the live one.")):
        flat()


# ── packages of format 1 that were written before


def golden_package():
    """Make the package that lies in tests/golden/packages, from a model small enough to read."""
    rows = pd.DataFrame(
        {
            "age": [22, 35, 47, 58, 31, 64, 29, 50],
            "income": [1800.0, 3200.5, None, 4100.0, 2500.0, 3900.0, None, 3000.0],
            "job": ["fixed", "freelance", "fixed", None, "other", "fixed", "other", "freelance"],
            "member": [True, False, True, True, False, False, True, False],
        }
    )
    risk = ["bad", "bad", "good", "good", "bad", "good", "bad", "good"]
    number = make_pipeline(SimpleImputer(), StandardScaler())
    parts = [("n", number, ["age", "income"]), ("t", OneHotEncoder(handle_unknown="ignore"), ["job"])]
    model = make_pipeline(ColumnTransformer([*parts, ("b", "passthrough", ["member"])]), LogisticRegression())
    model.fit(rows, risk)
    return ek.pack(model, name="golden", reference=rows, target=risk, holdout=(rows, risk), owner="risk-team")


@pytest.fixture(scope="module")
def golden(request):
    folder = GOLDEN / "format-1"
    if request.config.getoption("--rewrite-golden") and not folder.exists():  # what was packed once is loaded for ever
        golden_package().save(folder)
    return ek.load(folder)


def test_a_package_of_format_1_still_answers(golden):
    answers = pd.DataFrame([example["answer"] for example in golden.examples])
    assert len(answers) == writing.N_EXAMPLES
    pd.testing.assert_frame_equal(golden.predict(golden.example_frame), answers, rtol=1e-9)


def test_a_package_of_format_1_still_explains(golden):
    for one in golden.explain(golden.example_frame):
        assert one.method == "linear-interventional"
        assert one.base_value + sum(one.contributions.values()) == pytest.approx(one.value, abs=1e-9)


def test_a_package_of_format_1_still_keeps_its_laws(golden):
    report = ek.check(golden)
    assert report.ok, str(report)


def test_a_package_of_xgboost_from_before_it_had_settings_still_answers_and_explains():
    trees = ek.load(GOLDEN / "format-1-xgboost")
    answers = pd.DataFrame([example["answer"] for example in trees.examples])
    pd.testing.assert_frame_equal(trees.predict(trees.example_frame), answers, rtol=1e-6)
    for one in trees.explain(trees.example_frame):
        assert one.method == "tree-path-dependent"
        assert one.base_value + sum(one.contributions.values()) == pytest.approx(one.value, abs=1e-5)


def test_a_model_that_answers_fewer_rows_than_it_is_asked_is_refused():
    texts = pd.Series(["a red bike", "no bike", "a dog", "a red dog", "two dogs", "none"])
    model = make_pipeline(FunctionTransformer(), CountVectorizer(), LogisticRegression()).fit(texts, [1, 1, 0, 0, 0, 0])
    with pytest.raises(UnsupportedModelError, match=r"an answer for each row\. Got 1 for 5 rows"):
        ek.pack(model, name="bikes", reference=texts)


def test_a_model_that_answers_no_row_by_itself_is_refused():
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 4)), columns=list("abcd"))
    parts = SparsePCA(2, random_state=0)  # which makes a vector of one row, and not a matrix
    model = make_pipeline(ColumnTransformer([("parts", parts, list("abcd"))]), LinearRegression()).fit(rows, rows["a"])
    with pytest.raises(SpecError, match=r"must answer a row by itself.* there came ValueError"):
        ek.pack(model, name="flat", reference=rows)


def test_texts_of_one_form_are_probed_by_their_form():
    X = pd.DataFrame({"zip": ["z95814", "z95825", "z95833", "z95820"]})
    number = FunctionTransformer(lambda rows: rows.assign(zip=rows["zip"].str[-5:].astype(int)))
    package = ek.pack(make_pipeline(number, LinearRegression()).fit(X, [1.0, 2.0, 3.0, 4.0]), name="zips", reference=X)
    assert package.schema["zip"].unseen == "accept"
    assert package.predict(pd.DataFrame({"zip": ["z90001"]}))["value"].notna().all()
    assert ek.check(package).ok


def test_code_that_reads_the_clock_is_told():
    def age(rows):
        return pd.DataFrame({"years": pd.Timestamp.now().year - rows["born"]})

    X = pd.DataFrame({"born": [1990, 2000, 1985, 1970]})
    model = make_pipeline(FunctionTransformer(age), LinearRegression()).fit(X, [1.0, 2.0, 3.0, 4.0])
    findings = ek.pack(model, name="age", reference=X).manifest["findings"]
    assert "Its code reads the clock: the same row may get another answer later." in findings
    assert any(found.startswith("Explained exactly as far as the reference shows") for found in findings)


def test_a_lambda_and_a_closure_are_models():
    def scaled(by):
        return lambda rows: rows["rooms"] * by

    for model in (scaled(2.0), lambda rows: rows["rooms"] + rows["rooms"]):
        package = ek.pack(model, name="flat", reference=ROOMS)
        assert package.predict(ROOMS.head(1))["value"].tolist() == [2 * ROOMS["rooms"].iloc[0]]


def test_a_package_of_format_1_is_small(golden):
    assert sum(path.stat().st_size for path in files_of(golden.folder)) < 60_000


# ── what an author declares of the contract

LOANS = pd.DataFrame({"age": [30, 41, 25, 60], "Loan amount (€)": [1.0, 2.0, 3.0, 4.0], "job": ["a", "b", "a", "b"]})


def loan(model=None, **settings):
    given = {"name": "loan", "reference": LOANS}
    parts = [("t", OneHotEncoder(handle_unknown="ignore"), ["job"]), ("n", SimpleImputer(), ["age", "Loan amount (€)"])]
    model = model or make_pipeline(ColumnTransformer(parts), LinearRegression())
    return ek.pack(model.fit(LOANS, PRICES), **{**given, **settings})


def test_what_is_declared_wins_and_is_kept_in_the_package(tmp_path):
    declared = (
        ek.contract(LOANS)
        .edit("age", minimum=18, maximum=120, nullable=False)
        .edit("Loan amount (€)", alias="amount")
        .edit("job", unseen="refuse")
        .ignoring_extra()
    )
    package = ek.load(loan(contract=declared).save(tmp_path / "loan"))
    age, amount, job = package.schema
    assert (age.minimum, age.maximum, age.nullable, amount.alias, job.unseen) == (18, 120, False, "amount", "refuse")
    assert amount.nullable  # nobody declared it, and the model answers without one
    sent = LOANS.rename(columns={"Loan amount (€)": "amount"}).assign(more=1)
    pd.testing.assert_frame_equal(package.predict(sent), package.predict(LOANS))
    with pytest.raises(
        SchemaError, match=re.escape("must hold an integer from 18 to 120. Got a number below the minimum")
    ):
        package.predict(LOANS.assign(age=17))
    assert ek.check(package).ok


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (
            lambda c: c.edit("age", minimum=26),
            "The 'reference' must fit what the 'contract' declares.\nThe column 'age' must",
        ),
        (lambda c: c.edit("Loan amount (€)", maximum=3), "Got a number above the maximum in row 3."),
        (lambda c: c.columns, "The 'contract' must be what ek.contract(X) gives. Got tuple."),
    ],
)
def test_what_the_reference_contradicts_is_refused(declare, words):
    with pytest.raises(SpecError, match=re.escape(words)):
        loan(contract=declare(ek.contract(LOANS)))


def test_a_policy_that_the_model_has_no_answer_for_is_refused():
    parts = [("t", OneHotEncoder(), ["job"]), ("n", "passthrough", ["age", "Loan amount (€)"])]
    strict = make_pipeline(ColumnTransformer(parts), LinearRegression())
    words = "The model must answer a missing value in 'age', which the 'contract' allows. It fails on one."
    with pytest.raises(SpecError, match=re.escape(words)):
        loan(strict, contract=ek.contract(LOANS).edit("age", nullable=True))
    words = "The model must answer an unseen text in 'job', which the 'contract' accepts. It fails on one."
    with pytest.raises(SpecError, match=re.escape(words)):
        loan(strict, contract=ek.contract(LOANS).edit("job", unseen="accept"))


def test_a_contract_of_other_columns_is_refused_with_every_difference():
    other = ek.contract(LOANS.drop(columns="job").assign(age="old", more=1))
    words = (
        "The 'contract' must speak of the columns of the 'reference'. Got a difference: 'job' is in the reference alone; "
        "'more' is in the contract alone; 'age' is integer in the reference and text in the contract."
    )
    with pytest.raises(SpecError, match=re.escape(words)):
        loan(contract=other)


def test_the_contract_of_one_package_holds_the_next_one():
    first = loan(contract=ek.contract(LOANS).edit("age", minimum=18))
    assert compare(first.schema, loan(contract=first.schema).schema).verdict == "same"


def test_an_arrow_column_needs_pyarrow_where_it_is_served():
    rows = ROOMS.astype({"floor": "int64[pyarrow]"})
    package = ek.pack(LinearRegression().fit(ROOMS, PRICES), name="flat", reference=rows)
    assert any(line.startswith("pyarrow==") for line in package.manifest["requirements"])
    assert not any(line.startswith("pyarrow==") for line in flat().manifest["requirements"])


SCATTERED = pd.DataFrame(np.random.default_rng(0).normal(size=(1200, 4)), columns=list("abcd"))


@pytest.fixture
def of_many_threads(monkeypatch):
    """A forest whose trees are added up in the order in which eight threads end: each of its trees takes another time."""
    predict, draw = DecisionTreeRegressor.predict, random.Random(0)

    def late(self, *given, **named):
        time.sleep(draw.random() / 5000)  # waits for nothing: threads end out of order by it, as is seen below
        return predict(self, *given, **named)

    monkeypatch.setattr(DecisionTreeRegressor, "predict", late)
    forest = RandomForestRegressor(20, n_jobs=8, random_state=0).fit(SCATTERED, SCATTERED["a"] * SCATTERED["b"])
    first = forest.predict(SCATTERED)
    assert not all((forest.predict(SCATTERED) == first).all() for _ in range(50))
    return forest


@pytest.mark.parametrize("kind", ["alone", "among others"])
def test_a_forest_of_many_threads_is_packed_and_answers_each_time_the_same(kind, of_many_threads):
    model = of_many_threads
    if kind == "among others":
        parts = [("forest", RandomForestRegressor(20, n_jobs=8, random_state=0)), ("linear", LinearRegression())]
        model = VotingRegressor(parts).fit(SCATTERED, SCATTERED["a"])
    package = ek.pack(model, name="forest", reference=SCATTERED, overview=False)
    first = package.adapter.answers(package.model, SCATTERED)[0].values
    assert all((package.adapter.answers(package.model, SCATTERED)[0].values == first).all() for _ in range(20))


def test_a_function_that_asks_a_forest_of_many_threads_answers_each_time_the_same(of_many_threads):
    def doubled(frame):
        return 2 * of_many_threads.predict(frame)

    adapter = models.find(doubled)
    first = adapter.answers(doubled, SCATTERED)[0].values
    assert all((adapter.answers(doubled, SCATTERED)[0].values == first).all() for _ in range(20))


def test_labels_that_are_missing_are_counted(people):
    rows, labels = people
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows[["age"]], labels)
    with pytest.raises(
        SpecError, match=r"labels of 'target' must not be missing\. Got 2 that are\. Leave their rows out"
    ):
        ek.pack(model, name="risk", reference=rows[["age"]], target=labels.where(labels.index > 1))


@pytest.mark.parametrize("model", [None, {"a": 1}, [1]])
def test_what_is_no_model_at_all_is_told_so(model):
    with pytest.raises(UnsupportedModelError, match=f"must be a fitted model. Got {type(model).__name__}"):
        ek.pack(model, name="flat", reference=ROOMS)


def test_what_is_no_folder_of_a_package_is_neither_loaded_nor_written_to(tmp_path):
    package, file = flat(), tmp_path / "model.pkl"
    file.write_bytes(b"a pickle")
    with pytest.raises(
        SpecError, match=r"Got the file 'model\.pkl'\. A model in a file of its own is loaded by what wrote it"
    ):
        ek.load(file)
    with pytest.raises(SpecError, match="Got Package"):
        ek.load(package)
    with pytest.raises(SpecError, match="which is a file"):
        package.save(file)
    assert file.read_bytes() == b"a pickle"


def test_a_folder_of_a_package_that_is_nearly_named_is_suggested(tmp_path):
    flat().save(tmp_path / "flat")
    with pytest.raises(NotFoundError, match=r"which has none\. Did you mean 'flat'\?$"):
        ek.load(tmp_path / "flta")


def test_one_output_is_not_chosen():
    with pytest.raises(SpecError, match=r"Got 'price', and the model has one\. Leave it out"):
        flat().explain(ROOMS.head(1), output="price")
