"""What a package tells of its model as a whole is what others measure, and the same each time."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeRegressor

import ekiben as ek
import laid
from ekiben.errors import SchemaError, SpecError
from ekiben.explainers.whole.asking import Table
from ekiben.explainers.whole.importance import importance
from ekiben.overviews import Curve, Importance, Interactions, Overview, Surface, Surrogate
from ekiben.overviews._showing import plain
from ekiben.overviews.surrogate import Branch

GOLDEN = sorted((Path(__file__).parent / "golden" / "packages").iterdir())
SILENT = {"progress": lambda _: None}


@pytest.fixture(scope="module")
def forest():
    """A forest over numbers, with the rows and values that it was fitted on."""
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    model = RandomForestRegressor(n_estimators=12, max_depth=5, random_state=0).fit(X, y)
    return model, X, y, ek.pack(model, name="sugar", reference=X, target=y, overview=False)


@pytest.fixture(scope="module")
def flowers():
    """A classifier of three classes."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    model = LogisticRegression(max_iter=500).fit(X, y)
    return model, X, y, ek.pack(model, name="iris", reference=X, target=y)


@pytest.fixture(scope="module")
def additive():
    """A linear model over a number and a category, whose effects are its coefficients."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=300), "job": rng.choice(["a", "b", "c", "d"], 300)})
    y = 2 * X["x"] + X["job"].map({"a": 0.0, "b": 1.0, "c": 5.0, "d": 3.0})
    encode = make_column_transformer((OneHotEncoder(), ["job"]), remainder="passthrough")
    return ek.pack(make_pipeline(encode, LinearRegression()).fit(X, y), name="m", reference=X)


@pytest.fixture(scope="module")
def odd():
    """A function of dates, booleans, categories, lists and numbers with gaps: it has no plan."""
    rng = np.random.default_rng(1)
    n = 120
    X = pd.DataFrame(
        {
            "when": pd.date_range("2020-01-01", periods=n, freq="D"),
            "new": rng.random(n) < 0.5,
            "kind": pd.Categorical(rng.choice(["x", "y", "z"], n)),
            "place": [[float(i), 1.0] for i in range(n)],
            "size": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
        }
    )

    def price(frame):
        return frame["when"].dt.dayofyear * 0.1 + frame["new"] * 3.0 + frame["size"].fillna(-1.0) * 2

    return ek.pack(price, name="odd", reference=X)


# ── importance


@pytest.mark.parametrize(("scoring", "theirs"), [("r2", "r2"), ("mae", "neg_mean_absolute_error")])
def test_importance_is_scikit_learn_s_to_the_same_seed(forest, scoring, theirs):
    model, X, y, package = forest
    found = package.importance(X, y, scoring=scoring, n_repeats=3, seed=7, **SILENT)
    expected = permutation_importance(model, X, y, scoring=theirs, n_repeats=3, random_state=7)
    told = dict(zip(found.columns, found.each, strict=True))
    np.testing.assert_allclose([told[name] for name in X], expected.importances, rtol=1e-6, atol=1e-9)
    assert found.columns[0] == X.columns[expected.importances_mean.argmax()]


@pytest.mark.parametrize(("scoring", "theirs"), [("accuracy", "accuracy"), (None, "neg_log_loss")])
def test_importance_of_a_classifier_is_scikit_learn_s(flowers, scoring, theirs):
    model, X, y, package = flowers
    found = package.importance(X, y, scoring=scoring, n_repeats=2, **SILENT)
    expected = permutation_importance(model, X, y, scoring=theirs, n_repeats=2, random_state=0)
    np.testing.assert_allclose(found.to_frame()["importance"][X.columns], expected.importances_mean, atol=1e-9)


def test_without_labels_importance_tells_how_far_answers_move(additive):
    found = additive.importance(n_repeats=200, **SILENT).to_frame()
    x = additive.sample["x"].to_numpy()
    moved = 2 * np.abs(x[:, None] - x).mean()  # of all shuffles
    assert found.loc["x", "importance"] == pytest.approx(moved, rel=0.02)
    assert found.loc["x", "low"] < moved < found.loc["x", "high"]


def test_a_column_that_moves_nothing_has_no_importance(odd):
    found = odd.importance(n_repeats=2, **SILENT)
    assert found.to_frame().loc["place", "importance"] == found.to_frame().loc["kind", "importance"] == 0
    assert set(found.strongest()) == {"when", "new", "size"}


def test_the_plan_and_the_model_tell_the_same(champion):
    table = champion._table(None, None)
    assert table.context.plan is not None
    asked = [
        importance(each, None, None, n_repeats=2, seed=0, say=lambda _: None)
        for each in (table, Table(replace(table.context, plan=None), table.frame))
    ]
    assert asked[0].columns == asked[1].columns
    np.testing.assert_allclose(asked[0].means, asked[1].means, rtol=1e-9)


def test_the_same_seed_gives_the_same_and_another_one_something_else(champion):
    one, same, other = (champion.importance(n_repeats=2, seed=seed, **SILENT) for seed in (1, 1, 2))
    assert one == same != other


# ── curves


def test_partial_dependence_and_its_lines_are_scikit_learn_s(forest):
    model, X, _, package = forest
    found = package.curve("bmi", X, n_lines=len(X))
    theirs = partial_dependence(model, X, ["bmi"], kind="both", custom_values={"bmi": np.array(found.grid)})
    np.testing.assert_allclose(found.averages, theirs["average"], rtol=1e-6)
    np.testing.assert_allclose(found.lines[0], theirs["individual"][0], rtol=1e-6)


def test_each_class_has_a_curve(flowers):
    model, X, _, package = flowers
    name = X.columns[2]
    found = package.curve(name, X, grid=5)
    theirs = partial_dependence(
        model, X, [name], custom_values={name: np.array(found.grid)}, response_method="predict_proba"
    )
    assert found.labels == (0, 1, 2)
    np.testing.assert_allclose(found.averages, theirs["average"], atol=1e-9)
    np.testing.assert_allclose(np.sum(found.averages, axis=0), 1)


def test_a_surface_is_scikit_learn_s(forest):
    model, X, _, package = forest
    found = package.surface("bmi", "s5", X, grid=4, **SILENT)
    values = {name: np.array(grid) for name, grid in zip(found.columns, found.grids, strict=True)}
    theirs = partial_dependence(model, X, ["bmi", "s5"], custom_values=values, method="brute")
    np.testing.assert_allclose(found.averages, theirs["average"][0], rtol=1e-6)


def test_ale_is_alibi_s(forest):
    from ekiben.explainers._alibi import anchor_tabular

    anchor_tabular()  # imports alibi without its text stack
    from alibi.explainers import ALE

    model, X, _, package = forest
    found = package.curve("bmi", X, kind="ale", grid=8)
    place = X.columns.get_loc("bmi")
    names = list(X.columns)
    theirs = ALE(lambda rows: model.predict(pd.DataFrame(rows, columns=names)), feature_names=names)
    told = theirs.explain(X.to_numpy(), features=[place], grid_points={place: np.array(found.grid)})
    np.testing.assert_allclose(told.feature_values[0], found.grid)
    np.testing.assert_allclose(told.ale_values[0][:, 0], found.averages[0], rtol=1e-6, atol=1e-9)


def test_ale_of_categories_tells_the_coefficients_of_an_additive_model(additive):
    found = additive.curve("job", kind="ale")
    effects = dict(zip(found.grid, found.averages[0], strict=True))
    assert {name: effects[name] - effects["a"] for name in effects} == pytest.approx({"a": 0, "b": 1, "c": 5, "d": 3})
    assert np.dot(found.averages[0], found.shares) == pytest.approx(0)


def test_ale_puts_alike_categories_side_by_side():
    rng = np.random.default_rng(0)
    level = rng.choice(["low", "high", "middle"], 600)
    X = pd.DataFrame({"level": level, "x": rng.normal(pd.Series(level).map({"low": 0, "middle": 3, "high": 6}))})
    package = ek.pack(lambda frame: frame["x"] * 1.5, name="m", reference=X, overview=False)
    assert package.curve("level", kind="ale").grid in (("low", "middle", "high"), ("high", "middle", "low"))


def test_missing_values_dates_and_booleans_have_curves(odd):
    size, when, new = (odd.curve(name, grid=6) for name in ("size", "when", "new"))
    assert size.grid[-1] is None
    assert size.shares[-1] == pytest.approx(odd.sample["size"].isna().mean())
    assert when.is_ordered
    assert when.grid == tuple(sorted(when.grid))
    assert re.fullmatch(r"2020-0\d-\d\dT00:00:00", when.grid[0])
    assert new.grid == (False, True)
    assert new.averages[0][1] - new.averages[0][0] == pytest.approx(3)
    ale = odd.curve("when", kind="ale", grid=6)
    assert ale.averages[0][-1] - ale.averages[0][0] == pytest.approx(0.1 * 119)


def test_shares_are_those_of_the_values_wherever_a_missing_one_was_given():
    X = pd.DataFrame({"job": ["a"] * 5 + [None] * 3 + ["b"] * 2})
    package = ek.pack(lambda frame: frame["job"].isna() * 1.0, name="m", reference=X, overview=False)
    found = package.curve("job", grid=["b", None, "a"])
    assert (found.grid, found.shares) == (("b", "a", None), (0.2, 0.5, 0.3))
    assert found.averages == ((0.0, 0.0, 1.0),)


def test_an_effect_among_rows_needs_one_that_holds_a_value(odd):
    X = odd.sample.assign(size=np.nan)
    with pytest.raises(SpecError, match=re.escape("An 'ale' needs rows that hold a value of 'size'. Got only missing")):
        odd.curve("size", X, kind="ale")


def test_a_grid_of_one_s_own_is_asked_in_order(additive):
    found = additive.curve("x", grid=[10, -10, 0], n_lines=2)
    assert found.grid == (-10, 0, 10)
    assert np.diff(found.averages[0]) == pytest.approx([20, 20])
    assert np.shape(found.lines) == (1, 2, 3)


@settings(max_examples=25)
@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=4, max_size=60), st.integers(2, 12))
def test_shares_add_up_and_grids_are_values_of_the_rows(cells, most):
    values = pd.Series(cells, dtype=float)
    if values.notna().sum() < 2:
        values[:2] = [0.0, 1.0]
    X = pd.DataFrame({"x": values})
    found = LAW.curve("x", X, grid=most)
    assert sum(found.shares) == pytest.approx(1)
    assert set(found.grid) - {None} <= set(values.dropna())
    assert sum(value is not None for value in found.grid) <= most
    ale = LAW.curve("x", X, kind="ale", grid=most)
    assert list(ale.grid) == sorted(set(ale.grid))
    assert np.allclose(np.diff(ale.averages[0]), 3 * np.diff(ale.grid), atol=1e-3)  # of a linear model, its slope


def _law():
    X = pd.DataFrame({"x": [0.0, 1.0, 2.0, None]})
    return ek.pack(lambda frame: frame["x"].fillna(0.0) * 3, name="m", reference=X, overview=False)


LAW = _law()


# ── interactions


def test_columns_whose_effects_add_up_do_not_interact(additive):
    (pair,) = additive.interactions(**SILENT).pairs
    assert pair.h < 1e-9
    assert pair.strength < 1e-9


def test_a_product_is_nothing_but_interaction():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": np.tile([-1.0, 1.0], 30), "b": np.repeat([-1.0, 1.0], 30), "c": rng.normal(size=60)})
    package = ek.pack(lambda frame: frame["a"] * frame["b"] + 0.001 * frame["c"], name="m", reference=X, overview=False)
    found = package.interactions(n_rows=60, **SILENT)
    first, *others = found.pairs
    assert set(first.columns) == {"a", "b"}
    assert first.h == pytest.approx(1, abs=1e-3)
    assert first.strength == pytest.approx(1, abs=0.02)
    assert all(pair.strength < 1e-6 for pair in others)


# ── surrogates


def test_a_tree_imitates_as_well_as_scikit_learn_s(forest):
    model, X, _, package = forest
    found = package.surrogate("tree", X, depth=3)
    mixed = np.random.default_rng(0).permutation(len(X))
    fitted, tested = mixed[: found.n_fitted], mixed[found.n_fitted :]
    answers = model.predict(X)
    theirs = DecisionTreeRegressor(max_depth=3, min_samples_leaf=round(0.02 * len(fitted)))
    theirs.fit(X.iloc[np.sort(fitted)], answers[np.sort(fitted)])
    assert found.n_tested == len(tested)
    assert found.r2 == pytest.approx(theirs.score(X.iloc[tested], answers[tested]), abs=0.03)
    assert found.tree.branches[0].condition.startswith(X.columns[theirs.tree_.feature[0]])


def test_a_tree_finds_a_rule_again_and_says_it():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"job": rng.choice(["cook", "judge", "vet"], 300), "x": rng.normal(size=300)})
    X.loc[rng.random(300) < 0.2, "x"] = np.nan

    def rule(frame):
        return np.where(frame["job"].isin(["cook", "vet"]) & ~(frame["x"] > 0), "yes", "no")

    found = ek.pack(rule, name="m", reference=X, overview=False).surrogate("tree", depth=2)
    assert (found.r2, found.agreement) == (pytest.approx(1, abs=0.02), pytest.approx(1, abs=0.01))
    told = repr(found)
    assert "job is one of 'cook', 'vet'" in told or "job is one of 'vet', 'cook'" in told
    assert "or missing" in told
    assert "job is 'judge'" in told


def test_a_linear_surrogate_of_a_linear_model_is_the_model(additive):
    found = additive.surrogate("linear")
    assert found.r2 == pytest.approx(1)
    weights = {term.words: term.weights[0] for term in found.terms}
    assert weights["x"] == pytest.approx(2, rel=1e-4)
    jobs = {words: weight for words, weight in weights.items() if words != "x"}
    assert len(jobs) == 3  # the fourth is what they are held against


@pytest.mark.parametrize("step", ["1D", "7h", "1001us"])
def test_a_date_weighs_by_the_day_whatever_time_it_has(step):
    start = pd.Timestamp("2024-01-01")
    X = pd.DataFrame({"when": pd.date_range(start, periods=90, freq=step)})
    package = ek.pack(
        lambda frame: (frame["when"] - start).dt.total_seconds() / 28_800, name="m", reference=X, overview=False
    )
    (term,) = package.surrogate("linear").terms
    assert term.words == "when, a day"
    assert term.weights == pytest.approx((3.0,), rel=1e-3)


def test_a_linear_surrogate_takes_few_columns(forest):
    *_, package = forest
    assert len({term.column for term in package.surrogate("linear", n_columns=2).terms}) == 2


def test_labels_alone_are_imitated():
    X, y = load_iris(return_X_y=True, as_frame=True)
    package = ek.pack(SVC().fit(X, y), name="iris", reference=X, overview=False)
    found = package.surrogate("tree", depth=2)
    assert found.agreement > 0.9
    assert found.labels == (0, 1, 2)


# ── what cannot be


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda p: p.curve("Age"), "The model has no column 'Age'. Did you mean 'age'?"),
        (lambda p: p.curve("age", kind="pdp"), "The 'kind' must be one of 'partial-dependence', 'ale'. Got 'pdp'."),
        (lambda p: p.curve("age", grid=1), "The 'grid' must be a whole number of at least 2. Got 1."),
        (lambda p: p.curve("age", grid=["old"]), "The 'grid' must hold values of the column."),
        (lambda p: p.curve("age", grid=1.5), "The 'grid' must be a number of values, or a list of them. Got 1.5."),
        (lambda p: p.curve("age", kind="ale", grid=[1, 2]), "An 'ale' chooses its values among the rows"),
        (lambda p: p.importance(y=[1]), "The 'y' must come with its rows"),
        (lambda p: p.importance(p.sample, ["bad"]), "The 'y' must have one label for each row."),
        (lambda p: p.importance(p.sample, ["odd"] * len(p.sample)), "The 'y' must hold labels that the model knows"),
        (lambda p: p.importance(p.sample, ["bad"] * len(p.sample), scoring="roc_auc"), "able to tell 'roc_auc'"),
        (lambda p: p.importance(scoring="accuracy"), "A 'scoring' needs the labels"),
        (lambda p: p.importance(n_repeats=1), "The 'n_repeats' must be a whole number of at least 2. Got 1."),
        (lambda p: p.surrogate("trees"), "The 'form' must be 'tree' or 'linear'. Got 'trees'. Did you mean 'tree'?"),
        (lambda p: p.surrogate(depth=9), "The 'depth' must be a whole number from 1 to 8. Got 9."),
        (lambda p: p.surrogate("tree", p.sample.head(5)), "A surrogate needs at least 9 rows. Got 5."),
        (lambda p: p.interactions(columns=["age"]), "Interactions are of two 'columns' and more."),
        (lambda p: p.surface("age", "age"), "The two columns must differ."),
        (lambda p: p.surface("age", "job", label="bad"), "The 'label' must be one of []. Got 'bad'."),
    ],
)
def test_what_cannot_be_is_said(champion, ask, words):
    with pytest.raises(SpecError, match=re.escape(words)):
        ask(champion)


def test_a_list_has_no_curve_and_rows_must_fit(odd, champion):
    with pytest.raises(SpecError, match="Got 'place', a list of 2 numbers"):
        odd.curve("place")
    with pytest.raises(SchemaError, match="'age' is missing"):
        champion.importance(champion.sample.drop(columns="age"))


# ── the report that a package keeps


def test_a_package_keeps_an_overview_that_holds_no_row(champion, tmp_path):
    document = json.loads((champion.folder / "overview.json").read_text())
    assert all(curve["lines"] == [] for curve in document["curves"])
    assert champion.overview.to_json() == document
    again = ek.load(champion.save(tmp_path / "package"))
    assert again.overview == champion.overview
    assert champion.manifest["strongest"] == list(champion.overview.importance.strongest())
    assert champion.overview.importance.columns[0] in str(champion)


def test_two_packs_of_the_same_keep_the_same(people, prepared):
    rows, labels = people
    model = make_pipeline(prepared(), LogisticRegression()).fit(rows, labels)
    one, other = (ek.pack(model, name="risk", reference=rows, target=labels) for _ in range(2))
    assert (one.folder / "overview.json").read_bytes() == (other.folder / "overview.json").read_bytes()
    assert one.digest == other.digest


def test_a_package_without_an_overview_is_asked_for_one(forest):
    *_, package = forest
    assert not (package.folder / "overview.json").exists()
    assert "strongest" not in package.manifest
    assert package.overview.importance.columns[0] in ("bmi", "s5")


@pytest.mark.parametrize("folder", [each for each in GOLDEN if "code" not in each.name and "function" not in each.name])
def test_a_package_from_before_has_an_overview(folder):
    assert ek.load(folder).overview.importance.n_rows > 0


def test_an_overview_that_was_packed_once_is_read_for_ever():
    folder = next(each for each in GOLDEN if each.name == "format-1-overview")
    document = json.loads((folder / "overview.json").read_text())
    assert ek.load(folder).overview.to_json() == document


def test_a_changed_overview_is_refused(champion, tmp_path):
    folder = champion.save(tmp_path / "package")
    (folder / "overview.json").write_text("{}")
    with pytest.raises(ek.EkibenError, match=re.escape("overview.json was changed")):
        ek.load(folder)


def test_a_model_that_refuses_mixed_rows_is_packed_without_an_overview():
    X = pd.DataFrame({"a": np.arange(40.0), "b": np.arange(40.0)})

    def strict(frame):
        if (frame["a"] != frame["b"]).any():
            raise ValueError("a must be b")
        return frame["a"] * 1.5

    package = ek.pack(strict, name="m", reference=X, explainer="examples")
    assert not (package.folder / "overview.json").exists()
    assert any("There is no overview." in finding for finding in package.manifest["findings"])


# ── values travel and show themselves


@pytest.fixture(scope="module")
def values(odd, flowers):
    """One of each kind."""
    iris, name = flowers[3], flowers[1].columns[2]
    return [
        odd.importance(n_repeats=2, **SILENT),
        odd.curve("size", n_lines=3),
        odd.curve("when", kind="ale"),
        odd.curve("kind"),
        iris.curve(name),
        odd.surface("size", "kind", grid=4, **SILENT),
        iris.interactions(n_rows=10, **SILENT),
        iris.surrogate("tree"),
        odd.surrogate("linear"),
    ]


def test_values_come_back_from_json(values):
    for one in values:
        document = json.loads(json.dumps(plain(one)))
        back = type(one).of_json(document)
        assert plain(back) == document
        assert back.title == one.title


def test_values_are_tables_and_texts(values):
    assert {type(one) for one in values} == {Importance, Curve, Surface, Interactions, Surrogate}
    for one in values:
        assert len(one.to_frame())
        assert repr(one).startswith(one.title)


def test_pictures_show_what_values_hold(values):
    shuffled, size, _, kind, petals, surface, pairs, tree, _ = values
    assert [bar.get_width() for bar in shuffled.plot().axes[0].patches] == pytest.approx(shuffled.means)
    drawn = size.plot().axes[0].lines
    assert any(np.allclose(line.get_ydata(), size.averages[0][:-1]) for line in drawn if len(line.get_ydata()) > 1)
    assert sum(len(line.get_xdata()) == len(size.grid) - 1 for line in drawn) == 4  # the average and three rows
    assert [tick.get_text() for tick in kind.plot().axes[0].get_xticklabels()] == ["x", "y", "z"]
    assert [text.get_text() for text in petals.plot().axes[0].get_legend().get_texts()] == ["0", "1", "2"]
    np.testing.assert_allclose(surface.plot().axes[0].images[0].get_array(), surface.averages)
    assert len(pairs.plot().axes[0].patches) == len(pairs.pairs)
    conditions = [each.condition for _, each in tree.tree.walk() if each.condition]
    words = [text.get_text() for text in tree.plot().axes[0].texts]
    assert all(any(word.startswith(condition[:10]) for word in words) for condition in conditions)


LONG = "the total amount of all outstanding revolving balances"


def curve_of(labels=(), grid=(0.0, 10_000.0, 19_700.0, None), **changes):
    n = max(len(labels), 1)
    told = {
        "column": LONG,
        "method": "partial-dependence",
        "output": "probability",
        "is_ordered": True,
        "averages": tuple(tuple(0.1 * i + 0.01 * i * k for k in range(len(grid))) for i in range(1, n + 1)),
        "shares": (1 / len(grid),) * len(grid),
        "lines": (),
        "n_rows": 60,
    }
    return Curve(labels=tuple(labels), grid=grid, **{**told, **changes})


def leaf(condition, *branches):
    return Branch(condition=condition, share=0.5, values=(0.9,), branches=branches)


def tree_of(depth):
    """A tree of the longest conditions."""
    told = f"{LONG} is one of 'a category of words', 'another category'"
    root = leaf(told)
    for _ in range(depth):
        root = leaf(told, root, leaf(told))
    root = replace(root, condition="")
    return Surrogate(
        form="tree", output="probability", labels=(), r2=0.5, agreement=0.9, n_fitted=100, n_tested=100, tree=root
    )


@pytest.mark.parametrize(
    "found",
    [
        curve_of(),
        curve_of("abcde"),
        curve_of(grid=("a long category of words", "another category of words", "a third one", None), is_ordered=False),
        curve_of(grid=("2020-01-01T00:00:00", "2021-01-01T00:00:00", "2022-01-01T00:00:00", None)),
        tree_of(3),
        tree_of(8),
    ],
    ids=["a gap", "classes", "categories", "dates", "a tree", "a deep tree"],
)
def test_no_text_of_a_picture_of_a_model_lies_on_another(found):
    assert laid.overlaps(found.plot()) == []


@pytest.mark.parametrize("depth", [1, 3, 8])
def test_conditions_of_a_tree_end_before_its_bars_begin(depth):
    figure = tree_of(depth).plot()
    words = [box for told, box in laid.boxes(figure) if told.endswith("%)")]
    bars = [bar.get_window_extent() for bar in figure.axes[0].patches]
    assert len(words) == 2 * depth
    assert not [box for box in words for bar in bars if laid.lie_on(box, bar)]


def test_a_picture_of_many_classes_says_how_many_it_draws_and_a_class_keeps_its_colour():
    first, last = (0.9, 0.0, 0.9, 0.0), (0.1, 0.1, 0.1, 0.1)
    moves = ((0.5, 0.4, 0.5, 0.4),) * 3
    colours = []
    for averages in ((first, *moves, last), (last, *moves, first)):
        axes = curve_of("abcde", averages=averages).plot().axes[0]
        legend = axes.get_legend()
        assert legend.get_title().get_text() == "4 of 5 classes"
        drawn = {line.get_label(): line.get_color() for line in axes.lines if not line.get_label().startswith("_")}
        assert len({*drawn.values()}) == 4
        colours.append(drawn)
    assert [sorted(drawn) for drawn in colours] == [["a", "b", "c", "d"], ["b", "c", "d", "e"]]
    assert {name: colours[0][name] for name in "bcd"} == {name: colours[1][name] for name in "bcd"}
    assert curve_of("abc").plot().axes[0].get_legend().get_title().get_text() == ""


def test_a_class_is_named_whatever_it_is_called():
    legend = curve_of(["_a", "_", "c"]).plot().axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["_a", "_", "c"]


def test_a_value_that_was_given_twice_is_drawn(additive):
    figure = additive.curve("x", grid=[1, 1, 2]).plot()
    assert figure.axes[0].lines
    assert additive.curve("x", grid=[1, 1]).plot().axes[0].lines


def test_names_of_classes_stand_beside_the_curves():
    figure = curve_of("abcde").plot()
    figure.canvas.draw()
    assert figure.axes[0].get_legend().get_window_extent().x0 > figure.axes[0].get_window_extent().x1


def test_a_notebook_draws_them_in_the_colour_of_its_text(values):
    for one in values:
        drawn = one._repr_html_()
        assert drawn.startswith("<svg")
        assert "currentColor" in drawn
        assert "<script" not in drawn


def test_without_matplotlib_they_are_text(values, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for one in values:
        assert one._repr_html_().startswith("<pre")


def test_a_page_takes_nothing_from_elsewhere_and_no_name_for_markup():
    nasty = "<script>alert('x')</script>&\"$x_1$"
    X = pd.DataFrame({nasty: np.arange(30.0), "b": np.tile([nasty, "c"], 15)})
    encode = make_column_transformer((OneHotEncoder(), ["b"]), remainder="passthrough")
    model = make_pipeline(encode, LinearRegression()).fit(X, np.arange(30.0) + np.tile([5.0, 0.0], 15))
    page = ek.pack(model, name="m", reference=X).overview.page()
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", page.replace("xlink:href", "href"))
    assert page.startswith("<!doctype html>")
    assert 'lang="en"' in page
    assert page.count("<svg") >= 4


def test_the_shell_shows_an_overview_and_writes_it_as_a_page(champion, tmp_path):
    from typer.testing import CliRunner

    from ekiben.cli import app

    folder = champion.save(tmp_path / "package")
    told = CliRunner().invoke(app, ["overview", str(folder), "--json"]).output
    assert Overview.of_json(json.loads(told)) == champion.overview
    written = CliRunner().invoke(app, ["overview", str(folder), "--out", str(tmp_path / "page.html")])
    assert written.exit_code == 0, written.output
    assert "<title>risk: the model as a whole</title>" in (tmp_path / "page.html").read_text()
