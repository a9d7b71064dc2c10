"""XGBoost's and LightGBM's models answer by their plans, in the bits of their library."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from ekiben import compiling, tables
from ekiben.compiling.edges import edges
from ekiben.compiling.forest import Tree, grow
from ekiben.compiling.nodes import Node, Row
from ekiben.compiling.nodes.sides import Sides
from ekiben.compiling.nodes.trees import Trees, widened
from ekiben.errors import IntegrityError, PlanError
from plan_trials import tried
from plans import assert_equal, plan_of, signature

xgboost = pytest.importorskip("xgboost")
lightgbm = pytest.importorskip("lightgbm")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*feature names.*"),
    pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated"),
]

XGBOOST = {
    "two": (xgboost.XGBClassifier(n_estimators=20), "bit"),
    "three": (xgboost.XGBClassifier(n_estimators=9), "number"),
    "several labels": (xgboost.XGBClassifier(n_estimators=5), "bits"),
    "value": (xgboost.XGBRegressor(n_estimators=20), "value"),
    "values": (xgboost.XGBRegressor(n_estimators=5), "values"),
    "forest": (xgboost.XGBRFClassifier(n_estimators=9), "bit"),
    "forest of values": (xgboost.XGBRFRegressor(n_estimators=9), "value"),
    "dart": (xgboost.XGBClassifier(booster="dart", rate_drop=0.3, n_estimators=9), "bit"),
    "linear": (xgboost.XGBRegressor(booster="gblinear"), "value"),
    "linear, three": (xgboost.XGBClassifier(booster="gblinear"), "number"),
    "zero is missing": (xgboost.XGBClassifier(missing=0.0, n_estimators=5), "bit"),
    "quantiles": (
        xgboost.XGBRegressor(objective="reg:quantileerror", quantile_alpha=[0.1, 0.9], n_estimators=5),
        "value",
    ),
    "counts": (xgboost.XGBRegressor(objective="count:poisson", n_estimators=5), "value"),
    "gamma": (xgboost.XGBRegressor(objective="reg:gamma", n_estimators=5), "value"),
    "squared logarithms": (xgboost.XGBRegressor(objective="reg:squaredlogerror", n_estimators=5), "value"),
    "shares": (xgboost.XGBRegressor(objective="reg:logistic", n_estimators=5), "bit"),
    "hinge": (xgboost.XGBClassifier(objective="binary:hinge", n_estimators=5), "bit"),
    "softmax": (xgboost.XGBClassifier(objective="multi:softmax", n_estimators=5), "number"),
    "chances as a value": (xgboost.XGBRegressor(objective="binary:logistic", n_estimators=5), "bit"),
    "hazards": (xgboost.XGBRegressor(objective="survival:cox", n_estimators=5), "value"),
    "margins": (xgboost.XGBClassifier(objective="binary:logitraw", n_estimators=5), "bit"),
    "another beginning": (xgboost.XGBClassifier(base_score=0.2, n_estimators=5), "bit"),
}
QUIET = {"verbose": -1, "n_estimators": 9, "min_child_samples": 5}
LIGHTGBM = {
    "two": (lightgbm.LGBMClassifier(**QUIET), "two"),
    "three": (lightgbm.LGBMClassifier(**QUIET), "three"),
    "one against all": (lightgbm.LGBMClassifier(objective="multiclassova", **QUIET), "three"),
    "steep": (lightgbm.LGBMClassifier(sigmoid=2.0, **QUIET), "two"),
    "two by shares": (lightgbm.LGBMClassifier(objective="cross_entropy", **QUIET), "bit"),
    "calibrated": (CalibratedClassifierCV(lightgbm.LGBMClassifier(sigmoid=2.0, **QUIET), cv=2), "two"),
    "calibrated, three": (CalibratedClassifierCV(lightgbm.LGBMClassifier(**QUIET), cv=2, method="isotonic"), "three"),
    "calibrated forest": (
        CalibratedClassifierCV(
            lightgbm.LGBMClassifier(boosting_type="rf", subsample=0.5, subsample_freq=1, **QUIET), cv=2
        ),
        "two",
    ),
    "value": (lightgbm.LGBMRegressor(**QUIET), "value"),
    "forest": (lightgbm.LGBMRegressor(boosting_type="rf", subsample=0.5, subsample_freq=1, **QUIET), "value"),
    "dart": (lightgbm.LGBMRegressor(boosting_type="dart", **QUIET), "value"),
    "counts": (lightgbm.LGBMRegressor(objective="poisson", **QUIET), "value"),
    "quantile": (lightgbm.LGBMRegressor(objective="quantile", **QUIET), "value"),
    "shares": (lightgbm.LGBMRegressor(objective="cross_entropy", **QUIET), "bit"),
    "intensities": (lightgbm.LGBMRegressor(objective="cross_entropy_lambda", **QUIET), "bit"),
    "roots": (lightgbm.LGBMRegressor(reg_sqrt=True, **QUIET), "value"),
}


@pytest.mark.parametrize("case", XGBOOST)
def test_xgboost_answers_by_its_plan_to_the_last_of_32_bits(case, credit, tmp_path):
    estimator, target = XGBOOST[case]
    model = credit.fit(estimator, target)
    plan = assert_equal(model, credit.fitted, tmp_path / "plan", within=1e-6, asked=credit.asked)
    assert "native" not in plan.document


@pytest.mark.parametrize("alone", [False, True])
def test_weighed_trees_of_xgboost_add_up_to_its_own_bits(alone, gappy, tmp_path):
    rows, _ = gappy
    targets = 70 + rows[["Age", "Income"]].fillna(0).to_numpy()
    for n in (1, 2):
        model = xgboost.XGBRegressor(booster="dart", rate_drop=0.4, n_estimators=12).fit(rows, targets[:, :n])
        assert_equal(model.get_booster() if alone else model, rows, tmp_path / f"{n}", within=0)


@pytest.mark.parametrize("case", LIGHTGBM)
def test_lightgbm_answers_by_its_plan(case, credit, tmp_path):
    estimator, target = LIGHTGBM[case]
    model = credit.fit(estimator, target)
    plan = assert_equal(model, credit.fitted, tmp_path / "plan", within=1e-12, asked=credit.asked)
    assert "native" not in plan.document


def test_a_zero_of_a_sparse_matrix_is_missing_to_xgboost(credit, tmp_path):
    model = credit.fit(xgboost.XGBClassifier(n_estimators=9), "bit", dense=False)
    plan = assert_equal(model, credit.fitted, tmp_path / "plan", within=1e-6, asked=credit.asked)
    assert "gaps" in str(plan.document)


@pytest.fixture
def gappy(credit):
    numbers = credit.frame.select_dtypes("number").astype(float)
    return numbers, credit.targets["bit"]


@pytest.mark.parametrize("marker", [0.0, -999.0, 0.1])
@pytest.mark.parametrize("booster", ["gbtree", "gblinear"])
def test_what_32_bits_round_to_the_number_of_a_gap_is_one_to_xgboost(marker, booster, gappy, tmp_path):
    rows, target = gappy
    marker = float(np.float32(marker))
    held = rows.fillna(marker).astype(float)
    model = xgboost.XGBClassifier(missing=marker, booster=booster, n_estimators=9).fit(held, target)
    ends = [(marker + float(np.nextafter(np.float32(marker), np.float32(end)))) / 2 for end in (-np.inf, np.inf)]
    beside = [float(np.nextafter(end, way)) for end in ends for way in (-np.inf, end, np.inf)]
    asked = pd.concat([held.head(8).assign(Income=each) for each in (marker, *beside)], ignore_index=True)
    assert_equal(model, held, tmp_path / "plan", within=1e-6, asked=asked)


def test_missing_values_go_where_the_trees_learnt(gappy, tmp_path):
    rows, target = gappy
    assert rows.isna().any().any()
    for kind, within in ((xgboost.XGBClassifier(n_estimators=9), 1e-6), (lightgbm.LGBMClassifier(**QUIET), 1e-12)):
        assert_equal(kind.fit(rows, target), rows, tmp_path / type(kind).__name__, within=within)


def test_a_number_at_the_edge_of_zero_is_zero_to_lightgbm(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"gain": rng.normal(size=400), "age": rng.normal(size=400)})
    rows.loc[::3, "gain"] = 0.0
    model = lightgbm.LGBMClassifier(**QUIET).fit(rows, rows["gain"] >= 0)
    edge = float(np.float32(1e-35))
    assert f"{-edge!r}" in model.booster_.model_to_string()
    near = [sign * np.nextafter(edge, to) for sign in (-1, 1) for to in (0.0, edge, 1.0)]
    assert_equal(model, rows, tmp_path / "plan", within=1e-12, asked=pd.DataFrame({"gain": near, "age": 0.0}))


@pytest.mark.parametrize("holes", [True, False])
def test_a_zero_that_stands_for_a_gap_is_one_to_lightgbm(holes, gappy, tmp_path):
    rows, target = gappy
    rows = rows if holes else rows.fillna(0.0)
    rows = rows.assign(drawn=np.where(np.arange(len(rows)) % 3, np.arange(len(rows)) - 200.0, 0.0))
    model = lightgbm.LGBMClassifier(zero_as_missing=True, **QUIET).fit(rows, target)
    near = float(np.float32(1e-35))
    values = [0.0, -0.0, near, -near, np.nextafter(near, 1), np.nextafter(-near, -1), 1e-30, -1e-30, np.nan][
        : 9 if holes else 8
    ]
    asked = [rows.head(6).assign(**{name: each}) for name in rows for each in values]
    plan = assert_equal(model, rows, tmp_path / "plan", within=1e-12, asked=pd.concat(asked, ignore_index=True))
    assert "gaps" in str(plan.document)


def test_a_split_of_what_is_there_from_what_is_missing_is_compiled(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(300, 2)), columns=["debt", "age"])
    rows.loc[rng.random(300) < 0.3, "debt"] = np.nan
    target = (rows["debt"].isna() ^ (rows["age"] > 1)).astype(int)
    model = lightgbm.LGBMClassifier(**QUIET).fit(rows, target)
    assert "threshold=inf" in model.booster_.model_to_string()
    assert_equal(model, rows, tmp_path / "plan", within=1e-12)


def test_a_linear_booster_refuses_what_32_bits_cannot_hold_even_where_it_weighs_nothing(tmp_path):
    X = pd.DataFrame({"age": np.arange(40.0), "debt": np.arange(40.0) % 7})
    model = xgboost.XGBRegressor(booster="gblinear", reg_alpha=1e6).fit(X, X["age"])
    assert not model.coef_.any()
    tried(model, X, tmp_path, more=[{"age": 1e300}, {"debt": -3.5e38}, {"age": 3.4e38}])


def test_a_model_that_early_stopping_ended_answers_as_in_its_best_round(gappy, tmp_path):
    rows, target = gappy
    halves = [(rows[150:], target[150:])]
    boosted = xgboost.XGBClassifier(n_estimators=60, early_stopping_rounds=2, learning_rate=0.9)
    boosted.fit(rows[:150], target[:150], eval_set=halves, verbose=False)
    assert boosted.best_iteration < boosted.get_booster().num_boosted_rounds() - 1
    assert_equal(boosted, rows, tmp_path / "xgboost", within=1e-6)
    light = lightgbm.LGBMClassifier(**{**QUIET, "n_estimators": 60, "learning_rate": 0.9})
    light.fit(rows[:150], target[:150], eval_set=halves, callbacks=[lightgbm.early_stopping(2, verbose=False)])
    assert_equal(light, rows, tmp_path / "lightgbm", within=1e-12)


def test_boosters_without_a_class_answer_by_their_plans(gappy, tmp_path):
    rows, target = gappy
    data = xgboost.DMatrix(rows, target)
    for objective in ("binary:logistic", "reg:squarederror", "rank:pairwise"):
        booster = xgboost.train({"objective": objective}, data, 5)
        assert_equal(booster, rows, tmp_path / objective.partition(":")[2], within=1e-6)
    for objective in ("binary", "regression"):
        booster = lightgbm.train({"objective": objective, "verbose": -1}, lightgbm.Dataset(rows, target), 5)
        assert_equal(booster, rows, tmp_path / objective, within=1e-12)


def test_rankers_answer_by_their_plans(gappy, tmp_path):
    rows, target = gappy
    groups = np.repeat(np.arange(len(rows) // 10), 10)
    ranker = xgboost.XGBRanker(n_estimators=5).fit(rows, target, qid=groups)
    assert_equal(ranker, rows, tmp_path / "xgboost", within=1e-6)
    light = lightgbm.LGBMRanker(**QUIET).fit(rows, target, group=[10] * (len(rows) // 10))
    assert_equal(light, rows, tmp_path / "lightgbm", within=1e-12)


def test_what_trees_do_otherwise_says_why(gappy):
    rows, target = gappy
    two = pd.DataFrame({"a": target, "b": 1.0 - target})
    whole = rows.fillna(0.0)
    cases = [
        (xgboost.XGBRegressor(multi_strategy="multi_output_tree", n_estimators=2).fit(rows, two), "every target"),
        (lightgbm.LGBMRegressor(linear_tree=True, **QUIET).fit(whole, target), "linear models"),
        (lightgbm.LGBMClassifier(pred_early_stop=True, **QUIET).fit(rows, target), "early"),
    ]
    for model, why in cases:
        with pytest.raises(compiling.NoPlan, match=why):
            compiling.translate(model, signature(model, rows if "fill" not in why else whole))


# ── splits by categories ────────────────────────────────────────────────────────────────────────────────────────────

SPLITTING = {
    "hist": lambda: HistGradientBoostingClassifier(max_iter=9, categorical_features="from_dtype"),
    "lightgbm": lambda: lightgbm.LGBMClassifier(**QUIET, max_cat_to_onehot=1, min_data_per_group=2, cat_smooth=1),
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=9, enable_categorical=True, max_cat_to_onehot=1, n_jobs=1),
}


@pytest.fixture
def grouped(credit):
    """Numbers and categories, both missing at times, one of them of numbers."""
    texts = ["Home", "Job", "Marital"]
    rows = credit.frame[["Age", "Income", "Seniority", *texts]].copy()
    rows[texts] = rows[texts].astype("category")
    rows.loc[::9, "Job"] = np.nan
    rows["Time"] = pd.Categorical(credit.frame["Time"], categories=sorted({*credit.frame["Time"]}, reverse=True))
    return rows, credit.targets["bit"]


@pytest.mark.parametrize("name", SPLITTING)
def test_trees_that_split_by_categories_answer_by_their_plans(name, grouped, tmp_path):
    rows, target = grouped
    model = SPLITTING[name]().fit(rows, target)
    plan = assert_equal(model, rows, tmp_path / name, within=1e-6 if name == "xgboost" else 1e-12)
    assert "'op': 'sides'" in str(plan.document)
    assert "native" not in plan.document


def test_numbers_that_are_codes_of_categories_are_split_by_them_too(grouped, tmp_path):
    rows, target = grouped
    whole = rows[["Age", "Income", "Seniority"]].fillna(0)
    light = lightgbm.LGBMClassifier(**QUIET, max_cat_to_onehot=1, cat_smooth=1).fit(
        whole, target, categorical_feature=["Seniority"]
    )
    plan = assert_equal(light, whole, tmp_path / "lightgbm", within=1e-12)
    assert "'op': 'sides'" in str(plan.document)
    coded = whole.assign(Seniority=whole["Seniority"] % 7)
    hist = HistGradientBoostingClassifier(max_iter=9, categorical_features=[2])
    scaled = make_pipeline(StandardScaler(), hist).fit(coded, target)
    for model in (hist.__class__(max_iter=9, categorical_features=["Seniority"]).fit(coded, target), scaled):
        plan = assert_equal(model, coded, tmp_path / type(model).__name__, within=1e-12)
        assert "'op': 'sides'" in str(plan.document)


@pytest.mark.parametrize("lacks", [False, True])
@pytest.mark.parametrize("kind", ["lightgbm", "xgboost", "hist"])
def test_a_number_beside_a_code_is_taken_as_its_library_takes_it(kind, lacks, tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"code": rng.integers(0, 6, 300).astype(float), "x": rng.normal(size=300)})
    target = rows["code"].map({0: 5.0, 1: 0.0, 2: 3.0, 3: 1.0, 4: 8.0, 5: -4.0}) + rows["x"]
    if lacks:
        rows.loc[::9, "code"] = np.nan
    model = {
        "lightgbm": lambda: lightgbm.LGBMRegressor(**QUIET, max_cat_to_onehot=1, min_data_per_group=1).fit(
            rows, target, categorical_feature=["code"]
        ),
        "xgboost": lambda: xgboost.XGBRegressor(n_estimators=9, feature_types=["c", "q"], enable_categorical=True).fit(
            rows, target
        ),
        "hist": lambda: HistGradientBoostingRegressor(max_iter=9, categorical_features=[0]).fit(rows, target),
    }[kind]()
    beside = [-1.0, -0.5, -1e-9, -0.0, 0.5, 1 - 1e-12, 2 + 1e-12, 2.7, 5.5, 6.0, 31.9, 1e9, 3e9, 2**32 + 1.0, 1e18]
    document = tried(model, rows, tmp_path, more=[{"code": each} for each in beside], atol=1e-6)
    assert "'op': 'sides'" in str(document)


def test_the_sides_of_categories_are_those_that_are_told():
    tables = [[0, 1, 0, 1], [1, 0, 1, 0]]  # of two codes, of what is none, of a missing one
    node = Sides(Numbers(2), [0, 1], tables)
    rows = [[0.0, 1.0], [1.0, 7.0], [-3.0, np.nan], [np.nan, 0.0]]
    wanted = [[0, 0], [1, 1], [0, 0], [1, 1]]
    np.testing.assert_array_equal([node.row(row)[2:] for row in rows], wanted)
    np.testing.assert_array_equal(node.apply(np.array(rows))[:, 2:], wanted)
    for sources, told in (([1, 0], tables), ([0, 2], tables), ([0], tables), ([0, 1], [[0, 2, 0, 0], [0, 0, 0, 0]])):
        with pytest.raises(IntegrityError, match="splits by categories"):
            Sides(Numbers(2), sources, told)


# ── few trees are gone through in Python, many by the engine ────────────────────────────────────────────────────────


class Numbers(Node):
    """The values of a row as they are."""

    def __init__(self, width):
        self.width = width

    def row(self, values):
        return values


def _stump(threshold, missing_left, value=1.0):
    return Tree(
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        feature=np.zeros(3, dtype=np.int64),
        threshold=np.array([threshold, 0, 0]),
        missing_left=np.array([missing_left, 0, 0]),
        value=np.array([0, value, -value]),
        cover=np.array([2.0, 1.0, 1.0]),
    )


def _trees(stumps, narrow):
    forest = grow(stumps, n_features=1, n_targets=1, strict=False, bits=64)
    return Trees(Numbers(1), forest, None, narrow=narrow)


def test_few_trees_and_many_give_the_same_numbers():
    rng = np.random.default_rng(0)
    stumps = [_stump(rng.normal(), int(rng.integers(2)), rng.normal()) for _ in range(9)]
    few, many = _trees(stumps, narrow=True), _trees([*stumps, *[_stump(0.0, 0, 0.0)] * 20], narrow=True)
    for value in (*rng.normal(size=200).tolist(), np.nan):
        assert (
            list(few.row(Row.of([value])))
            == list(many.row(Row.of([value])))
            == few.apply(np.array([[value]]))[0].tolist()
        )


def test_a_number_is_seen_as_32_bits_see_it_without_rounding_it():
    rng = np.random.default_rng(0)
    largest = float(np.finfo(np.float32).max)
    thresholds = np.concatenate(
        [
            rng.normal(size=2000),
            rng.normal(size=500).astype(np.float32),
            rng.normal(size=500) * 1e-44,
            [0.0, -0.0, 1e-46, -1e-46, largest, -largest, 1e300, -1e300],
        ]
    )
    forest = grow([_stump(each, 0) for each in thresholds], n_features=1, n_targets=1, strict=False, bits=64)
    seen, wide = forest.threshold, widened(forest).threshold
    narrow = np.clip(seen, -largest, largest).astype(np.float32)
    held = np.clip(wide, -largest, largest)
    near = (seen, wide, np.nextafter(held, np.inf), np.nextafter(held, -np.inf), narrow.astype(float))
    for values in near:
        asked = np.clip(values, -largest, largest)
        rounded = asked.astype(np.float32).astype(np.float64)
        np.testing.assert_array_equal(asked <= wide, rounded <= seen)


def test_a_number_that_32_bits_cannot_hold_is_refused():
    for narrow in (True, False):
        with pytest.raises(PlanError, match="32 bits"):
            _trees([_stump(0.0, 0)], narrow=narrow).row(Row.of([1e39]))


@pytest.mark.parametrize(
    "model",
    [DecisionTreeClassifier(), GradientBoostingClassifier(n_estimators=3), xgboost.XGBClassifier(n_estimators=3)],
)
def test_an_integer_that_would_be_rounded_twice_is_left_to_the_model(model, tmp_path):
    step = 2**31  # from one number of 32 bits to the next, there
    numbers = 2**54 + step * np.tile(np.arange(6), 30)
    model.fit(pd.DataFrame({"number": numbers}), numbers // step % 2)
    plan = plan_of(model, pd.DataFrame({"number": numbers}), tmp_path)
    left, middles = [], [2**54 + step * i + step // 2 for i in range(5)]
    for asked in (middle + by for middle in middles for by in (-1000, -3, -1, 0, 1, 3, 1000)):
        (true,) = model.predict(pd.DataFrame({"number": [asked]}))
        for answer in (plan.answers_by_row, lambda rows: plan.answers_by_column([[each] for each in rows[0]], 1)):
            try:
                assert answer([(asked,)])[0].labels.tolist() == [true], asked
            except PlanError:
                left.append(asked)
    assert {min(abs(asked - middle) for middle in middles) for asked in left} == {0, 1}


def test_a_split_of_the_missing_from_all_numbers_asks_no_row_whether_it_would_be_rounded_twice(monkeypatch):
    monkeypatch.delattr("ekiben.compiling.nodes.trees._rounded_once")
    grown = _trees([_stump(np.finfo(np.float64).max, 0)], narrow=True)
    assert list(grown.row(Row.of([1.0]))) == grown.apply(np.array([[1.0]]))[0].tolist()


def test_the_integers_beside_a_large_split_point_are_tried():
    ids = pd.DataFrame({"id": 2**54 + 1000 * np.arange(40)})
    model = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=2).fit(ids, np.arange(40) > 20)
    signed = signature(model, ids)
    plan = compiling.Plan(compiling.translate(model, signed), signed.inputs, signed.outputs)
    tried = {row["id"] for row in edges(plan, signed.inputs, tables.as_rows(ids), lambda *_: []).splits}
    assert any(each + by in tried for each in tried for by in (1, 3))


def test_a_pipeline_of_a_plan_within_another_library_has_its_steps(credit, tmp_path):
    inner = make_pipeline(credit.columns(), lightgbm.LGBMRegressor(**QUIET))
    model = inner.fit(credit.fitted, credit.targets["value"][: len(credit.fitted)])
    assert_equal(model, credit.fitted, tmp_path / "plan", within=1e-12, asked=credit.asked)
