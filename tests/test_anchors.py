"""An anchor is a rule that holds as often, and for as many rows, as it says; or it says that it does not."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC

import ekiben as ek
from ekiben import explainers, tables
from ekiben.errors import ExplainError
from ekiben.explainers._intervals import fewest_met, wilson
from ekiben.explainers._store import read_columns, write_frame
from ekiben.explainers.anchor import N_FRESH, Anchors
from ekiben.explainers.rules.asking import Added, Planned, asker
from ekiben.explainers.rules.predicates import Background, Table
from ekiben.explainers.rules.searching import N_DECIDED, N_SETTLED, Draws, Search
from explained import context_of, timeless


def anchors(model, X, **rest):
    return Anchors.fit(context_of(model, X), **rest)


def held(frame, condition):
    """Read a condition as a user would."""
    if condition.endswith(" is missing"):
        return frame[condition.removesuffix(" is missing")].isna().to_numpy()
    return frame.eval(condition).to_numpy()


def under(frame, rule):
    return np.all([held(frame, condition) for condition in rule.conditions], axis=0)


@pytest.fixture(scope="module")
def loan(credit):
    """A linear pipeline over numbers and texts, both with missing values."""
    numbers = credit[0].select_dtypes("number").columns
    encode = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    scale = make_pipeline(SimpleImputer(), StandardScaler())
    before = ColumnTransformer([("n", scale, numbers), ("t", encode, credit[0].columns.difference(numbers))])
    return make_pipeline(before, LogisticRegression(max_iter=1000)).fit(*credit)


@pytest.fixture(scope="module")
def package(loan, credit):
    return ek.pack(loan, name="loan", reference=credit[0], explainer="anchor")


# ── what a rule says ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_anchor_holds_as_often_and_for_as_many_as_it_says(loan, credit, tmp_path):
    X, _ = credit
    context = context_of(loan, X)
    explainer = explainers.choose("anchor", context)
    rows = pd.concat([X.iloc[[1]], X[X["Assets"].isna()].iloc[[0]], X.iloc[[1]].assign(Job="astronaut")])
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 -- the global generator is what is watched
    found = explainer.explain(rows, seed=3)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002

    for i, (rule, label) in enumerate(zip(found, loan.predict(rows), strict=True)):
        assert rule.label == label
        assert under(rows.iloc[[i]], rule).all()
        assert rule.coverage == pytest.approx(under(X, rule).mean())
        assert rule.reached
        assert rule.precision >= 0.95
        assert rule.precision_interval == wilson(round(rule.precision * N_FRESH), N_FRESH)
        assert rule.coverage_interval[0] <= rule.coverage <= rule.coverage_interval[1]
        assert rule.faithfulness_error == 1 - rule.precision
        if under(X, rule).sum() > 50:
            assert (loan.predict(X[under(X, rule)]) == label).mean() >= 0.85  # real rows, not perturbed ones

    assert timeless(explainer.explain(rows.iloc[[1]], seed=3)) == timeless(found[1:2])
    explainer.save(tmp_path)
    again = explainers.load(tmp_path, replace(context, reference=None))
    assert timeless(again.explain(rows, seed=3)) == timeless(found)


def test_an_anchor_is_no_worse_than_the_one_that_alibi_finds(package):
    """Both are judged on 20,000 fresh rows of one distribution."""
    rows = package.sample.iloc[[0, 3, 4, 7, 11, 12]]
    judged = {}
    for method in ("anchor", "anchor-alibi"):
        explainer = explainers.choose(method, package._context())
        found = explainer.remeasured(rows, n_samples=20_000)
        judged[method] = np.mean([(each.precision, each.rule.coverage) for each in found], axis=0)
    ours, theirs = judged["anchor"], judged["anchor-alibi"]
    assert ours[0] >= min(theirs[0], 0.95) - 0.005
    assert ours[1] >= theirs[1]


def test_a_rule_that_misses_its_threshold_says_so():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(400, 3)), columns=list("abc"))

    def noisy(frame):
        return (np.sin(frame["a"] * 1e4) > 0).to_numpy()

    (rule,) = anchors(noisy, X, threshold=0.99).explain(X.head(1))
    assert not rule.reached
    assert rule.precision < 0.99 == rule.threshold


def test_a_model_that_always_answers_the_same_needs_no_condition(credit):
    X, _ = credit
    (rule,) = anchors(lambda frame: np.array(["good"] * len(frame)), X).explain(X.head(1))
    assert (rule.conditions, rule.precision, rule.coverage, rule.label) == ((), 1.0, 1.0, "good")


def test_an_anchor_names_a_missing_value_when_that_decides():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"debt": np.where(rng.random(800) < 0.3, np.nan, rng.normal(size=800)), "member": rng.random(800) < 0.5}
    )
    y = np.where(X["debt"].isna(), "unknown", "known")
    X = X.astype(float)
    model = make_pipeline(SimpleImputer(add_indicator=True), RandomForestClassifier(10, random_state=0)).fit(X, y)
    (rule,) = anchors(model, X).explain(X[X["debt"].isna()].iloc[[0]])
    assert rule.sentence() == "If debt is missing, then 'unknown'."
    assert rule.precision == 1.0
    assert rule.coverage == pytest.approx(X["debt"].isna().mean())


def test_an_anchor_takes_a_table_of_texts_and_booleans_only():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"job": rng.choice(["a", "b", "c"], 500), "member": rng.random(500) < 0.5})
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(X, (X["job"] == "a") & X["member"])
    (rule,) = anchors(model, X).explain(pd.DataFrame({"job": ["a"], "member": [True]}))
    assert rule.conditions == ("job == 'a'", "member == True")
    assert rule.label is True


def test_dates_lists_and_a_column_of_one_value_are_taken():
    days = pd.date_range("2024-01-01", periods=200)
    X = pd.DataFrame({"since": days, "place": [[float(i % 3), 1.0] for i in range(200)], "one": "x"})

    def late(frame):
        return np.where(frame["since"] > pd.Timestamp("2024-04-10"), "late", "early")

    (rule,) = anchors(late, X).explain(X.iloc[[150]])
    assert rule.conditions == ("since > 2024-05-29",) or rule.conditions[0].startswith("since > 2024-0")
    assert rule.label == "late"


def test_an_unseen_text_is_named_when_it_decides():
    X = pd.DataFrame({"job": ["a", "b"] * 100, "age": np.arange(200.0)})

    def known(frame):
        return frame["job"].isin(["a", "b"]).map({True: "known", False: "strange"}).to_numpy()

    (rule,) = anchors(known, X).explain(pd.DataFrame({"job": ["z"], "age": [3.0]}))
    assert rule.conditions == ("job == 'z'",)
    assert (rule.label, rule.precision, rule.coverage) == ("strange", 1.0, 0.0)


def test_ten_rows_are_enough_to_draw_from():
    X = pd.DataFrame({"a": np.arange(10.0), "b": list("xyxyxyxyxy")})
    (rule,) = anchors(lambda frame: (frame["a"] > 4).to_numpy(), X).explain(X.iloc[[9]])
    assert rule.conditions == ("a > 4.00",)
    assert rule.coverage_interval[1] - rule.coverage_interval[0] > 0.4  # of ten rows little can be said


def test_a_wide_table_asks_for_a_bounded_number_of_rows():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(300, 200)), columns=[f"c{i}" for i in range(200)])
    asked = []

    def model(frame):
        asked.append(len(frame))
        return (frame["c7"] + frame["c8"] > 0).to_numpy()

    (rule,) = anchors(model, X).explain(X.head(1))
    assert {condition.split()[0] for condition in rule.conditions} <= {"c7", "c8"}
    assert max(asked) <= 20_000
    assert sum(asked) < 60_000


def test_labels_without_scores_and_of_several_classes_are_explained():
    X, y = load_iris(return_X_y=True, as_frame=True)
    model = LinearSVC().fit(X, y)
    found = anchors(model, X).explain(X.iloc[[0, 75, 149]])
    assert [rule.label for rule in found] == model.predict(X.iloc[[0, 75, 149]]).tolist()
    assert all(rule.reached for rule in found[:2])


def test_the_output_that_is_asked_for_is_explained(credit):
    X, _ = credit
    X = X[["Age", "Income"]]
    both = pd.DataFrame({"old": X["Age"] > 40, "rich": X["Income"] > 150})
    model = RandomForestClassifier(10, max_depth=3, random_state=0).fit(X.fillna(0), both)
    package = ek.pack(model, name="both", reference=X.fillna(0), target=both, explainer="anchor")
    row = package.sample[package.sample["Income"] > 200].head(1)
    assert all("Income" in each for each in package.explain(row, output="rich")[0].conditions)
    assert any("Age" in each for each in package.explain(row, output="old")[0].conditions)


@pytest.mark.parametrize("method", ["anchor", "anchor-alibi"])
def test_a_rule_about_a_value_keeps_it_within_a_tolerance(method):
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    model = RandomForestRegressor(20, max_depth=4, random_state=0).fit(X, y)
    made = explainers.choose(method, context_of(model, X), settings={"tolerance": 60})
    rows = X.iloc[[0, 9]]
    for told, value in zip(made.remeasured(rows), model.predict(rows), strict=True):
        rule = told.rule
        assert (rule.label, rule.tolerance) == (pytest.approx(value), 60)
        assert told.holds
        assert rule.reached
        assert told.precision > 0.92
        assert rule.sentence().endswith(f"then {value:.4g} ± 60.")
        assert rule.line()[0] == "target"


def test_a_tolerance_is_half_the_distance_of_the_quartiles_where_nobody_says_another():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    model = LinearRegression().fit(X, y)
    made = anchors(model, X)
    low, high = np.quantile(model.predict(X), (0.25, 0.75))
    assert made.tolerance == pytest.approx((high - low) / 2)
    constant = DummyRegressor().fit(X, y)
    (rule,) = anchors(constant, X).explain(X.head(1))
    assert (rule.conditions, rule.precision, rule.tolerance) == ((), 1.0, 0.0)
    with pytest.raises(ExplainError, match=r"must be a number from 0\. Got -1"):
        anchors(model, X, tolerance=-1)


def test_a_rule_about_a_value_comes_back_and_is_found_by_the_plan_alone(tmp_path):
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    package = ek.pack(LinearRegression().fit(X, y), name="sugar", reference=X, explainer="anchor")
    assert package.explainer.quick
    rows = X.iloc[:3]
    by_model = Anchors.fit(replace(package._context(), plan=None)).explain(rows)
    assert timeless(package.explain(rows)) == timeless(by_model)
    (told,) = package.explanations({name: [value] for name, value in package.examples[0]["row"].items()})
    assert ek.explanations.from_json(ek.explanations.to_json(told)) == told
    assert "tolerance" in package.explain(rows).to_frame()


def test_a_tolerance_is_for_values(loan, credit):
    with pytest.raises(ExplainError, match="for a model that answers with a value"):
        anchors(loan, credit[0], tolerance=3)


def test_a_threshold_is_a_share(loan, credit):
    with pytest.raises(ExplainError, match=r"must be above 0 and at most 1\. Got 95"):
        anchors(loan, credit[0], threshold=95)


# ── by the plan, and served ───────────────────────────────────────────────────────────────────────────────────


def test_the_plan_and_the_model_itself_find_the_same_rules(package, loan, credit):
    assert package.explainer.quick
    rows = credit[0].iloc[:3]
    by_model = Anchors.fit(replace(package._context(), plan=None)).explain(rows)
    assert timeless(package.explain(rows)) == timeless(by_model)


def test_what_columns_say_alone_is_added_up_where_that_is_the_model(package, credit):
    table, rows = patched_rows(package, credit[0])
    added, planned = (
        asker(package._context(), table, pytest.fail, says=says) for says in (package.explainer.says, nothing)
    )
    assert isinstance(added, Added)
    assert isinstance(planned, Planned)
    assert added.label == planned.label
    assert added.agree(rows).tolist() == planned.agree(rows).tolist()
    assert 0.1 < added.agree(rows).mean() < 0.9


def test_a_model_that_multiplies_columns_is_asked_itself(credit):
    X, y = credit
    numbers = X.select_dtypes("number").dropna(axis=1)
    model = make_pipeline(StandardScaler(), PolynomialFeatures(2), LogisticRegression(max_iter=1000)).fit(numbers, y)
    package = ek.pack(model, name="curved", reference=numbers, explainer="anchor")
    assert package.plan.choosing is not None
    assert package.explainer.says() is None
    assert isinstance(asker(package._context(), patched_rows(package, numbers)[0], pytest.fail, says=nothing), Planned)


def test_a_row_that_the_sums_do_not_know_is_asked_about_by_the_model(package, credit):
    says = package.explainer.says()
    skewed = replace(says, base=says.base + 1e-6)
    table, _ = patched_rows(package, credit[0])
    assert says.own(table) is not None
    assert skewed.own(table) is None


def nothing():
    return None


def patched_rows(package, frame):
    """Put the first row beside the background of an explainer, and patch rows from both."""
    table = Table.of(package.explainer.background, [column[0] for column in tables.as_columns(frame)])
    return table, np.random.default_rng(0).integers(table.n_background + 1, size=(len(table.columns), 500))


LEAN = """
import json, sys
from pathlib import Path
from ekiben import explanations, packages, sealing
folder = Path(sys.argv[1])
package = packages.build(folder, sealing.verify(folder))
columns = {name: [value] for name, value in package.examples[0]["row"].items()}
found = [explanations.to_json(each) for each in package.explanations(columns)]
heavy = [name for name in ("sklearn", "pandas", "xgboost", "scipy", "alibi", "mlflow") if name in sys.modules]
json.dump({"found": found, "heavy": heavy}, sys.stdout)
"""


def test_a_worker_explains_by_anchors_without_any_library_of_models(run_apart, package, tmp_path):
    told = json.loads(run_apart(LEAN, package.save(tmp_path / "package")))
    assert told["heavy"] == []
    here = package.explain(package.example_frame.head(1))
    assert timeless([ek.explanations.from_json(told["found"][0])]) == timeless(here)
    assert "alibi" not in " ".join(package.manifest["requirements"])


def test_what_the_former_method_kept_still_explains(loan, credit, tmp_path):
    X, _ = credit
    (tmp_path / "explainer.json").write_text(json.dumps({"format": 1, "method": "anchor", "threshold": 0.95}))
    write_frame(X.head(500), tmp_path / "background.json")
    explainer = explainers.load(tmp_path, replace(context_of(loan, X), reference=None))
    (rule,) = explainer.explain(X.head(1))
    assert rule.reached


# ── tables, draws, intervals ──────────────────────────────────────────────────────────────────────────────────

ODD = pd.DataFrame(
    {
        "whole": pd.array([1, None, 2**53 + 1], dtype="Int64"),
        "float": [0.1, np.nan, np.inf],
        "maybe": pd.array([True, None, False], dtype="boolean"),
        "text": pd.Series(["a", None, np.nan], dtype=object),
        "kind": pd.Categorical(["x", None, "y"], categories=["y", "x", "z"], ordered=True),
        "when": pd.to_datetime(["2024-01-01", None, "2024-06-01"]),
        "zoned": pd.to_datetime(["2024-01-01", "2024-01-02", None]).tz_localize("Europe/Berlin"),
        "list": [[1, 2], [], None],
        "array": [np.ones(2), np.zeros(1), np.array([np.nan])],
    }
)


def test_columns_are_read_without_pandas_as_they_are_read_with_it(tmp_path):
    write_frame(ODD, tmp_path / "odd.json")
    with_pandas = [[None if value != value else value for value in column] for column in tables.as_columns(ODD)]
    assert read_columns(tmp_path / "odd.json") == with_pandas


def test_a_rule_speaks_of_dates_lists_and_categories_as_a_reader_would():
    frame = pd.DataFrame(
        {
            "since": pd.to_datetime(["2024-01-01", "2024-06-01"]),
            "place": [[1.5, 2.0], [0.5, 1.0]],
            "long": [np.arange(9.0), np.ones(9)],
            "grade": pd.Categorical([1, 2]),
            "gone": [None, "x"],
            "size": [1.5, 0.1 + 0.2],
        }
    )
    columns = tables.as_columns(frame)
    background = Background.of(columns, tables.learn(frame))
    told = [
        [table.said(one) for one in table.predicates]
        for table in (Table.of(background, [column[i] for column in columns]) for i in (0, 1))
    ]
    assert told[0][0] == "since <= 2024-01-01"
    assert told[0][-2] == "gone is missing"
    assert told[1] == [
        "since > 2024-01-01",
        "place == [0.5, 1.0]",
        "long == [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, … (9)]",
        "grade == 2",
        "gone == 'x'",
        "size <= 0.30000000000000004",
    ]


def test_draws_hold_the_rule_and_leave_other_columns_whole(credit):
    X, _ = credit
    columns = tables.as_columns(X)
    table = Table.of(Background.of(columns, tables.learn(X)), [column[1] for column in columns])
    chosen = [table.predicates[0], table.predicates[4], table.predicates[7]]
    rows = Draws(table, np.random.default_rng(0)).rows(chosen, 500)
    bound = sorted({one.column for one in chosen})
    free = [i for i in range(len(columns)) if i not in bound]
    assert (rows[free] == rows[free[0]]).all()
    for one in chosen:
        assert table.held[table.predicates.index(one), rows[one.column]].all()


def test_an_interval_holds_the_true_share_as_often_as_it_says():
    draws = np.random.default_rng(0).binomial(200, 0.9, size=4000)
    inside = [low <= 0.9 <= high for low, high in (wilson(int(n), 200) for n in draws)]
    assert 0.93 < np.mean(inside) < 0.97


def test_a_rule_of_the_thresholds_precision_is_seldom_given_up():
    draws = np.random.default_rng(0).binomial(200, 0.95, size=4000)
    assert np.mean(draws < fewest_met(200, 0.95, level=3.0)) < np.exp(-3.0)


def test_a_search_that_finds_nothing_asks_about_no_more_rows_than_it_may():
    X, y = load_iris(return_X_y=True, as_frame=True)
    background = anchors(LogisticRegression(max_iter=500).fit(X, y), X).background
    table, rng = Table.of(background, tuple(X.iloc[70])), np.random.default_rng(0)
    search = Search(
        table, Draws(table, rng), lambda rows: rng.random(rows.shape[1]) < 0.945, threshold=0.95, most_rows=4_000
    )
    assert search.found()
    assert search.n_rows < search.most_rows + 2 * N_SETTLED * N_DECIDED
