"""The values of trees are Shapley's: equal to going through all subsets, to XGBoost's own and to those of the package shap."""

import json
from dataclasses import replace
from itertools import combinations
from math import factorial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    BaggingRegressor,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeRegressor
from xgboost import DMatrix, XGBClassifier, XGBRegressor

import ekiben as ek
from ekiben import explainers, packages, sealing
from ekiben.compiling.estimators.categories import Splits
from ekiben.compiling.forest import grow
from ekiben.compiling.nodes.columns import Columns
from ekiben.compiling.nodes.sides import Sides
from ekiben.compiling.translating import Flow
from ekiben.errors import ExplainError, IntegrityError
from ekiben.explainers.shapley.bins import Bins
from ekiben.explainers.shapley.branching import branches
from ekiben.explainers.shapley.filling import tabulated
from ekiben.explainers.shapley.paths import Paths, levels
from ekiben.explainers.shapley.tables import Tables
from explained import context_of
from forests import forest_of, tree_of

SHAP = Path(__file__).parent / "golden" / "shap.json"
N_FEATURES = 5


# ── going through all subsets


def goes_left(forest, node, value):
    if np.isnan(value):
        return forest.missing_true[node] == 1
    return value < forest.threshold[node] if forest.mode[node] == 1 else value <= forest.threshold[node]


def expected(forest, values, row, known):
    """Give what the trees say on average where only the `known` features of a row are."""

    def at(leaf, number):
        if leaf:
            return values[number]
        left, right = (
            (forest.true_leaf[number], forest.true_id[number]),
            (forest.false_leaf[number], forest.false_id[number]),
        )
        if left == right:
            return at(*left)
        if forest.feature[number] in known:
            return at(*(left if goes_left(forest, number, row[forest.feature[number]]) else right))
        weights = [forest.leaf_cover[to] if is_leaf else forest.cover[to] for is_leaf, to in (left, right)]
        return np.average([at(*left), at(*right)], weights=weights)

    return sum(at(0, root) for root in forest.root)


def shapley(answer, n):
    """Weigh what each feature adds to each subset of the others."""
    found = np.zeros(n)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for size in range(n):
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            for subset in combinations(others, size):
                found[i] += weight * (answer({*subset, i}) - answer(set(subset)))
    return found


def prepared(forest, target=0):
    values = np.where(forest.leaf_target == target, forest.leaf_weight, 0.0)
    bins = Bins.of(forest)
    return values, bins, branches(forest, values, bins), Paths(levels(forest, values[:, None], bins), bins)


def rows_of(rng, n):
    rows = rng.normal(size=(n, N_FEATURES))
    rows[rng.random(rows.shape) < 0.2] = np.nan
    return rows


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 9), st.booleans())
def test_tables_and_paths_equal_all_subsets(seed, n_splits, strict):
    forest = forest_of(seed, n_trees=4, n_splits=n_splits, strict=strict)
    values, bins, cut, paths = prepared(forest)
    table = tabulated(cut, bins)
    for row in rows_of(np.random.default_rng(seed), 3):
        wanted = shapley(lambda known, row=row: expected(forest, values, row, known), N_FEATURES)
        np.testing.assert_allclose(table.row(row.tolist()), wanted, atol=1e-12)
        np.testing.assert_allclose(paths.row(row.tolist()), wanted, atol=1e-12)
    assert [table.base, *paths.base] == pytest.approx([expected(forest, values, None, set())] * 2)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6), st.integers(1, 9), st.booleans())
def test_interventional_tables_equal_all_subsets(seed, n_splits, strict):
    forest = forest_of(seed, n_trees=3, n_splits=n_splits, strict=strict)
    values, bins, cut, _ = prepared(forest)
    rng = np.random.default_rng(seed)
    background = rows_of(rng, 6)
    table = tabulated(cut, bins, bins.block(background))
    for row in rows_of(rng, 2):

        def answer(known, row=row):
            mixed = np.where(np.isin(np.arange(N_FEATURES), list(known)), row, background)
            return np.mean([expected(forest, values, each, set(range(N_FEATURES))) for each in mixed])

        np.testing.assert_allclose(table.row(row.tolist()), shapley(answer, N_FEATURES), atol=1e-12)
    assert table.base == pytest.approx(answer(set()))


def test_large_trees_are_cut_into_branches_of_eight_questions():
    rng = np.random.default_rng(0)
    forest = grow([tree_of(rng, 60, 6, 0)], n_features=6, n_targets=1, strict=False, bits=64)
    _, bins, cut, paths = prepared(forest)
    assert len(cut) > 4
    assert max(len(branch.questions) for branch in cut) <= 8
    row = rng.normal(size=6).tolist()
    np.testing.assert_allclose(tabulated(cut, bins).row(row), paths.row(row), atol=1e-12)


def test_a_path_over_nine_features_has_no_branch():
    rng = np.random.default_rng(1)
    forest = grow([tree_of(rng, 400, 40, 0)], n_features=40, n_targets=1, strict=False, bits=64)
    assert prepared(forest)[2] is None


@pytest.mark.parametrize("name", ["slots", "begins", "owners", "answers", "widths"])
def test_arrays_that_lead_nowhere_are_refused(name, tmp_path):
    forest = forest_of(3)
    _, bins, cut, _ = prepared(forest)
    tabulated(cut, bins).save(tmp_path, "t")
    array = np.load(tmp_path / f"t-{name}.npy")
    np.save(tmp_path / f"t-{name}.npy", array[:-1] if name == "answers" else array + 10**6)
    with pytest.raises(IntegrityError, match="must fit each other"):
        Tables.load(tmp_path, "t", bins, 0.0)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.booleans())
def test_features_that_play_the_same_part_are_told_the_same(seed, interventional):
    """Trees, and the same trees with two features exchanged: together they treat both alike."""
    rng = np.random.default_rng(seed)
    grown = [tree_of(rng, 5, N_FEATURES, 0) for _ in range(3)]
    exchanged = np.array([1, 0, *range(2, N_FEATURES)])
    both = [*grown, *(replace(tree, feature=exchanged[tree.feature]) for tree in grown)]
    forest = grow(both, n_features=N_FEATURES, n_targets=1, strict=False, bits=64)
    _, bins, cut, paths = prepared(forest)
    background = rows_of(rng, 6)
    background[:, 1] = background[:, 0]
    table = tabulated(cut, bins, bins.block(background) if interventional else None)
    for row in rows_of(rng, 3):
        row[1] = row[0]
        found = [table] if interventional else [table, paths]
        for values in (each.row(row.tolist()) for each in found):
            assert values[0] == pytest.approx(values[1], abs=1e-12)


# ── the libraries


def gappy(X):
    """Take values out."""
    return X.mask(np.random.default_rng(0).random(X.shape) < 0.1)


def parts_of(found, X):
    return np.array([[one.contributions[name] for name in X] for one in found])


@pytest.mark.parametrize("many", [False, True])
def test_xgboost_says_the_same(many, iris):
    X, y = gappy(iris[0]), iris[1] if many else (iris[1] > 0).astype(int)
    model = XGBClassifier(n_estimators=40, max_depth=4, n_jobs=1).fit(X, y)
    made = explainers.choose("trees", context_of(model, X))
    found = made.explain(X)
    assert made.engine.tabled
    asked = model.get_booster().predict(DMatrix(X, nthread=1), pred_contribs=True)
    picked = model.predict(X, output_margin=True).argmax(axis=1) if many else None
    wanted = asked[np.arange(len(X)), picked] if many else asked
    np.testing.assert_allclose(parts_of(found, X), wanted[:, :-1], atol=1e-5)
    np.testing.assert_allclose([one.base_value for one in found], wanted[:, -1], atol=1e-5)


@pytest.mark.parametrize("missing", [float("nan"), -1.0])
def test_xgboost_s_word_for_missing_is_kept(missing, diabetes):
    X, y = diabetes
    X = gappy(X).fillna(missing)
    model = XGBRegressor(n_estimators=20, max_depth=3, n_jobs=1, missing=missing).fit(X, y)
    found = explainers.choose("trees", context_of(model, X)).explain(X.head(40))
    wanted = model.get_booster().predict(DMatrix(X.head(40), missing=missing, nthread=1), pred_contribs=True)
    np.testing.assert_allclose(parts_of(found, X), wanted[:, :-1], atol=2e-4)  # of values in the hundreds


def test_lightgbm_says_the_same(diabetes):
    X, y = diabetes
    model = LGBMRegressor(n_estimators=30, n_jobs=1, verbose=-1).fit(gappy(X), y)
    found = explainers.choose("trees", context_of(model, gappy(X))).explain(gappy(X))
    wanted = model.booster_.predict(gappy(X), pred_contrib=True)
    np.testing.assert_allclose(parts_of(found, X), wanted[:, :-1], atol=1e-9)
    np.testing.assert_allclose([one.base_value for one in found], wanted[:, -1], atol=1e-9)


MADE = {
    "random forest": RandomForestClassifier(20, max_depth=5, random_state=0),
    "deep random forest": RandomForestRegressor(10, random_state=0),
    "extra trees": ExtraTreesClassifier(10, max_depth=4, random_state=0),
    "gradient boosting": GradientBoostingClassifier(n_estimators=20, random_state=0),
    "histogram boosting": HistGradientBoostingRegressor(max_iter=20, max_depth=3, random_state=0),
    "one tree": DecisionTreeRegressor(max_depth=4, random_state=0),
}


@pytest.mark.parametrize("name", MADE)
def test_the_package_shap_says_the_same(name, iris, diabetes):
    """What shap gave is kept with the line that asked it."""
    kept = json.loads(SHAP.read_text())[name]
    X, y = diabetes if "Regressor" in type(MADE[name]).__name__ else iris
    y = (y == 2).astype(int) if name == "gradient boosting" else y  # of several classes shap has none
    model = MADE[name].fit(X, y)
    assert model.predict(X.head(5)).tolist() == pytest.approx(kept["predictions"])
    found = explainers.choose("trees", context_of(model, X)).explain(X.head(5))
    np.testing.assert_allclose(parts_of(found, X), kept["values"], rtol=1e-6, atol=1e-8)
    assert [one.base_value for one in found] == pytest.approx(kept["base"])


def test_a_forest_of_two_classes_speaks_of_the_second_class_s_probability(iris):
    X, y = iris[0], (iris[1] > 0).map({True: "other", False: "a setosa"})
    model = RandomForestClassifier(30, max_depth=4, random_state=0).fit(X, y)
    one = explainers.choose("trees", context_of(model, X)).explain(X.head(1))[0]
    assert (one.output, one.units) == ("probability of 'other'", "probability")
    assert one.value == pytest.approx(model.predict_proba(X.head(1))[0, 1])
    assert one.faithfulness_error < 1e-12


def test_several_targets_are_explained_one_by_one(diabetes):
    X, y = diabetes
    both = pd.DataFrame({"a": y, "b": -y})
    package = ek.pack(RandomForestRegressor(5, max_depth=3, random_state=0).fit(X, both), name="two", reference=X)
    first, second = (package.explain(X.head(3), output=name) for name in ("y0", "y1"))
    np.testing.assert_allclose(parts_of(first, X), -parts_of(second, X), atol=1e-9)


@pytest.mark.parametrize(
    "model", [LGBMClassifier(n_estimators=15, n_jobs=1, verbose=-1), BaggingRegressor(random_state=0)]
)
def test_others_add_up(model, iris):
    X, y = iris
    found = explainers.choose("trees", context_of(model.fit(X, y), X)).explain(X.head(20))
    assert max(one.faithfulness_error for one in found) < 1e-9


# ── splits by categories


def cut_by_categories(seed, n_splits):
    """Grow a forest whose last two features are split by categories, of four codes; give its node and plain trees."""
    rng = np.random.default_rng(seed)
    splits, grown = Splits(), []
    for _ in range(3):
        tree = tree_of(rng, n_splits, N_FEATURES, 0)
        feature, threshold = tree.feature.copy(), tree.threshold.copy()
        for node in np.flatnonzero((tree.left >= 0) & (feature >= 3)).tolist():
            right = [code for code in range(4) if rng.random() < 0.5]
            other, missing = rng.integers(0, 2, size=2).tolist()
            number = splits.number(int(feature[node]), right, 4, other=other, missing=missing)
            feature[node], threshold[node] = N_FEATURES + number, 0.5
        grown.append(replace(tree, feature=feature, threshold=threshold))
    flow, placed = splits.put(Flow(doc={"op": "columns"}, width=N_FEATURES), grown)
    numbers = Columns(range(N_FEATURES), nullable=True)
    node = Sides(numbers, flow.doc["sources"], flow.doc["tables"]) if "sources" in flow.doc else None
    return node, grow(placed, n_features=flow.width, n_targets=1, strict=False, bits=64)


def coded_rows(rng, n):
    rows = rows_of(rng, n)
    rows[:, 3:] = rng.integers(-1, 6, size=(n, 2))
    rows[rng.random(rows.shape) < 0.15] = np.nan
    return rows


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(3, 8))
def test_splits_by_categories_equal_all_subsets_of_the_features_that_have_them(seed, n_splits):
    node, forest = cut_by_categories(seed, n_splits)
    if node is None:
        return
    values, players = np.where(forest.leaf_target == 0, forest.leaf_weight, 0.0), node.players
    bins = Bins.of(forest, players.tolist())
    cut, paths = branches(forest, values, bins), Paths(levels(forest, values[:, None], bins), bins)
    rng = np.random.default_rng(seed)
    background = node.apply(coded_rows(rng, 5))
    for row in node.apply(coded_rows(rng, 3)):

        def conditional(known, row=row):
            return expected(forest, values, row, set(np.flatnonzero(np.isin(players, list(known)))))

        def broken(known, row=row):
            mixed = np.where(np.isin(players, list(known)), row, background)
            return np.mean([expected(forest, values, each, set(range(len(players)))) for each in mixed])

        wanted = shapley(conditional, N_FEATURES)
        np.testing.assert_allclose(paths.row(row.tolist()), wanted, atol=1e-12)
        if cut is not None:
            np.testing.assert_allclose(tabulated(cut, bins).row(row.tolist()), wanted, atol=1e-12)
            table = tabulated(cut, bins, bins.block(background))
            np.testing.assert_allclose(table.row(row.tolist()), shapley(broken, N_FEATURES), atol=1e-12)


@pytest.fixture(scope="module")
def grouped(credit):
    X, y = credit
    texts = ["Home", "Job", "Marital"]
    rows = X[["Age", "Income", *texts]].copy()
    rows[texts] = rows[texts].astype("category")
    return rows, (y == "good").astype(int)


LIBRARIES = {
    "lightgbm": LGBMClassifier(
        n_estimators=15, n_jobs=1, verbose=-1, max_cat_to_onehot=1, min_data_per_group=2, cat_smooth=1
    ),
    "xgboost": XGBClassifier(n_estimators=15, max_depth=4, enable_categorical=True, max_cat_to_onehot=1, n_jobs=1),
    "xgboost, deep": XGBClassifier(
        n_estimators=5, max_depth=14, enable_categorical=True, max_cat_to_onehot=1, n_jobs=1
    ),
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_splits_by_categories_are_broken_down_as_the_library_does(name, grouped, tmp_path):
    X, y = grouped
    model = LIBRARIES[name].fit(X, y)
    made = explainers.choose("trees", context_of(model, X))
    assert type(made.engine).__name__ == "Prepared"
    rows = pd.concat([X.head(30), X[X.isna().any(axis=1)].head(10)])
    if name == "lightgbm":
        wanted = model.booster_.predict(rows, pred_contrib=True)
    else:
        wanted = model.get_booster().predict(DMatrix(rows, enable_categorical=True), pred_contribs=True)
    np.testing.assert_allclose(parts_of(made.explain(rows), X), wanted[:, :-1], atol=1e-5)
    made.save(tmp_path)
    context = context_of(model, X)
    again = explainers.load(tmp_path, replace(context, plan=context.translated))
    np.testing.assert_array_equal(parts_of(again.explain(rows), X), parts_of(made.explain(rows), X))


def test_histogram_boosting_by_categories_equals_all_subsets_by_its_own_nodes(grouped):
    X, y = grouped
    model = HistGradientBoostingClassifier(max_iter=4, max_depth=3, categorical_features="from_dtype").fit(X, y)
    package = ek.pack(model, name="hist", reference=X)
    assert (package.method, package.plan is not None) == ("trees", True)
    order = [*np.flatnonzero(model.is_categorical_), *np.flatnonzero(~model.is_categorical_)]
    rows = X.iloc[[0, 5, int(X["Job"].isna().argmax())]]
    coded = model._preprocessor.transform(rows)
    for one, row in zip(package.explain(rows), coded, strict=True):
        wanted = shapley(lambda known, row=row: hist_expected(model, row, known), X.shape[1])
        by_column = {X.columns[order[i]]: amount for i, amount in enumerate(wanted)}
        assert dict(one.contributions) == pytest.approx(by_column, abs=1e-9)


def hist_expected(model, row, known):
    """Give what histogram boosting says where only some features are known, by its own tables of nodes."""

    def at(grown, number):
        node = grown.nodes[number]
        if node["is_leaf"]:
            return node["value"]
        if node["feature_idx"] in known:
            return at(grown, node["left"] if hist_left(grown, node, row[node["feature_idx"]]) else node["right"])
        sides = [node["left"], node["right"]]
        weights = [grown.nodes[side]["count"] for side in sides]
        return np.average([at(grown, side) for side in sides], weights=weights)

    return float(model._baseline_prediction[0, 0]) + sum(at(rounds[0], 0) for rounds in model._predictors)


def hist_left(grown, node, value):
    if np.isnan(value):
        return node["missing_go_to_left"]
    if not node["is_categorical"]:
        return value <= node["num_threshold"]
    words = grown.raw_left_cat_bitsets[node["bitset_idx"]]
    return bool(words[int(value) // 32] >> (int(value) % 32) & 1)


# ── interventional


def test_a_column_that_the_trees_do_not_look_at_adds_nothing_interventionally(diabetes):
    X, y = diabetes
    X = X.assign(twin=X["bmi"])
    model = XGBRegressor(n_estimators=30, max_depth=3, n_jobs=1).fit(X.drop(columns="twin"), y)
    context = context_of(model, X.drop(columns="twin"))
    found = explainers.choose("trees-interventional", context).explain(X.drop(columns="twin").head(10))
    assert {one.method for one in found} == {"tree-interventional"}
    assert max(one.faithfulness_error for one in found) < 1e-3


def test_interventional_values_are_those_that_sampling_finds(diabetes):
    X, y = diabetes
    model = HistGradientBoostingRegressor(max_iter=20, max_depth=3).fit(X, y)
    context = context_of(model, X.head(60))
    exact = explainers.choose("trees-interventional", context).explain(X.head(2))
    drawn = explainers.method("sampling").fit(context, n_background=60, n_pairs=20).explain(X.head(2))
    for one, other in zip(exact, drawn, strict=True):
        assert one.base_value == pytest.approx(other.base_value)
        gaps = np.array([one.contributions[name] - other.contributions[name] for name in X])
        assert np.abs(gaps).max() < 0.05 * np.abs([*one.contributions.values()]).max()


def test_trees_that_are_too_deep_have_no_interventional_values(diabetes):
    X, y = diabetes
    model = RandomForestRegressor(5, random_state=0).fit(X, y)
    with pytest.raises(ExplainError, match="small"):
        explainers.choose("trees-interventional", context_of(model, X))


# ── packed and served


def test_a_packed_forest_is_explained_by_its_plan_alone(tmp_path, iris):
    X, y = iris[0].assign(kind=np.where(iris[1] > 1, "late", "early")), iris[1]
    encoded = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    made = ek.pack(make_pipeline(encoded, RandomForestClassifier(10, max_depth=4)).fit(X, y), name="f", reference=X)
    package = packages.build(made.save(tmp_path / "f"), sealing.verify(tmp_path / "f"))
    assert package.explains_by_plan
    columns = {name: X[name].head(4).tolist() for name in X}
    told, framed = package.explanations(columns), made.explain(X.head(4))
    assert [replace(one, elapsed_ms=0) for one in told] == [replace(one, elapsed_ms=0) for one in framed]
    assert "model" not in vars(package)


@pytest.mark.parametrize("deep", [False, True])
def test_what_was_saved_gives_the_same_bits(deep, tmp_path, diabetes):
    X, y = diabetes
    model = RandomForestRegressor(5, max_depth=None if deep else 4, random_state=0).fit(X, y)
    context = context_of(model, X)
    made = explainers.choose("trees", context)
    made.save(tmp_path)
    read = explainers.load(tmp_path, replace(context, reference=None, outputs=context.outputs))
    assert [one.contributions for one in read.explain(X.head(5))] == [
        one.contributions for one in made.explain(X.head(5))
    ]
    assert read.engine.tabled is made.engine.tabled is not deep
