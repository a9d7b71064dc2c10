"""An explanation comes on the scale that is asked for, with its own values there, or is refused with what to do."""

import numpy as np
import pandas as pd
import pytest
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler
from sklearn.svm import LinearSVC
from xgboost import XGBClassifier

import ekiben as ek
from ekiben import explainers
from ekiben.errors import ExplainError, SpecError
from ekiben.explainers import linked
from ekiben.explainers._scales import expit, logits
from ekiben.explainers.linked import logistic_parts
from explained import context_of, timeless
from shapley_values import brute_force, of_game

FEW = 40  # rows that brute force can do


@pytest.fixture(scope="module")
def few(diabetes):
    X, y = diabetes
    return X[["age", "bmi", "bp", "s5"]].iloc[:FEW], (y.iloc[:FEW] > 140).astype(int)


@pytest.mark.parametrize("steepness", [0.5, 5.0, 60.0, 400.0])
def test_the_logistic_function_of_a_sum_is_broken_down_as_all_coalitions_do(steepness):
    rng = np.random.default_rng(3)
    explained, background = rng.normal(size=7) * steepness, rng.normal(size=(3, 7)) * steepness
    found = logistic_parts(explained, background, 0.7)
    for parts, other in zip(found, background, strict=True):
        assert parts == pytest.approx(of_game(lambda s: expit(np.array(0.7 + s)), explained, other), abs=1e-11)


@pytest.mark.parametrize("kind", ["linear", "additive"])
def test_a_probability_of_log_odds_is_interventional_shapley_to_the_last_digits(kind, few):
    X, y = few
    last = LogisticRegression(C=10)
    model = make_pipeline(StandardScaler(), last).fit(X, y) if kind == "linear" else GaussianNB().fit(X, y)
    explainer = explainers.choose(kind, context_of(model, X), settings={"units": "probability"})
    for i in (0, 5):
        row = X.iloc[[i]]
        one = explainer.explain(row)[0]
        expected = brute_force(lambda rows: model.predict_proba(rows)[:, 1], X, row)
        assert dict(one.contributions) == pytest.approx(expected, abs=1e-10)
        assert one.value == pytest.approx(model.predict_proba(row)[0, 1], abs=1e-12)
        assert (one.units, one.output, one.standard_errors) == ("probability", "probability of 1", None)
        assert one.faithfulness_error < 1e-10


def test_a_target_behind_a_logarithm_is_exact_too(few):
    X, _ = few
    y = np.random.default_rng(0).poisson(np.exp(1 + 8 * X["bmi"]))
    model = PoissonRegressor(alpha=1e-4).fit(X, y)
    plain, linked = (
        explainers.choose("additive", context_of(model, X), settings=settings).explain(X.iloc[[3]])[0]
        for settings in (None, {"units": "target"})
    )
    assert (plain.units, linked.units) == ("margin", "target")
    assert dict(linked.contributions) == pytest.approx(brute_force(model.predict, X, X.iloc[[3]]), rel=1e-9)
    assert linked.value == pytest.approx(model.predict(X.iloc[[3]])[0])


def test_a_softmax_is_drawn_and_its_errors_are_told(iris):
    X, y = iris
    model = LogisticRegression(max_iter=1000).fit(X, y)
    explainer = explainers.choose("linear", context_of(model, X), settings={"units": "probability"})
    for i in (0, 70, 120):
        row = X.iloc[[i]]
        one, again = (explainer.explain(row, seed=4)[0] for _ in range(2))
        assert dict(one.contributions) == dict(again.contributions)
        k = list(model.classes_).index(one.label)
        expected = brute_force(lambda rows, k=k: model.predict_proba(rows)[:, k], X, row)
        for name, amount in one.contributions.items():
            assert abs(amount - expected[name]) <= 4 * one.standard_errors[name] + 1e-9
        assert one.faithfulness_error < 1e-12
        assert one.method == "permutation-sampling"


def test_what_it_took_counts_what_was_asked_of_the_model(few, monkeypatch):
    X, y = few
    model = explainers.choose(
        "linear", context_of(LogisticRegression().fit(X, y), X), settings={"units": "probability"}
    )
    clock, says = [0.0], linked._says

    def slow(*told):
        clock[0] += 3.0
        return says(*told)

    monkeypatch.setattr(linked, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(linked, "_says", slow)
    assert [one.elapsed_ms for one in model.explain(X.head(3))] == [1000.0] * 3


def test_a_rule_of_too_many_points_is_not_made_to_be_counted(few, monkeypatch):
    X, y = few
    model = explainers.choose(
        "linear", context_of(LogisticRegression().fit(X, y), X), settings={"units": "probability"}
    )
    monkeypatch.setattr(linked, "MOST_EXACT", 0)
    monkeypatch.setattr(linked, "rule", None)
    assert model.explain(X.head(1))[0].method == "permutation-sampling"


def test_a_background_that_is_a_part_of_the_reference_tells_its_error(diabetes):
    X, y = diabetes
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y > 140)
    one = explainers.choose("linear", context_of(model, X), settings={"units": "probability"}).explain(X.iloc[[2]])[0]
    sampled = explainers.choose("sampling", context_of(model, X)).explain_rounds(X.iloc[[2]], n_rounds=40)[0][0]
    for name in X.columns:
        assert 0 < one.standard_errors[name] < 0.05
        spread = np.hypot(one.standard_errors[name], sampled.standard_errors[name])
        assert abs(one.contributions[name] - sampled.contributions[name]) < 4 * spread


@pytest.mark.parametrize("units", ["log-odds", "margin"])
def test_what_a_method_sums_anyway_keeps_its_numbers(units, few):
    X, y = few
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    own = explainers.choose("linear", context_of(model, X)).explain(X)
    asked = explainers.choose("linear", context_of(model, X), settings={"units": units}).explain(X)
    for one, other in zip(own, asked, strict=True):
        assert other.units == units
        assert dict(other.contributions) == pytest.approx(dict(one.contributions), abs=1e-12)
        assert other.standard_errors is None


def test_trees_are_asked_for_log_odds_and_sampled_for_a_probability(diabetes):
    X, y = diabetes
    model = XGBClassifier(n_estimators=20, max_depth=3, n_jobs=1).fit(X, (y > 140).astype(int))
    package = ek.pack(model, name="trees", reference=X)
    for units, method in (("log-odds", "tree-path-dependent"), ("margin", "tree-path-dependent")):
        one = package.explain(X.head(1), units=units)[0]
        assert (one.method, one.units) == (method, units)
    one = package.explain(X.head(1), units="probability")[0]
    assert (one.method, one.units, one.label) == ("permutation-sampling", "probability", 1)
    assert one.value == pytest.approx(model.predict_proba(X.head(1))[0, 1], abs=1e-6)
    with pytest.raises(ExplainError, match=r"leaves add up to: here 'log-odds'\. Got the units 'probability'"):
        package.explain(X.head(1), method="trees", units="probability")


def test_sampling_takes_log_odds_from_below_the_link_or_from_the_probability(few):
    X, y = few
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    one = explainers.choose("sampling", context_of(model, X), settings={"units": "log-odds"}).explain(X.iloc[[1]])[0]
    assert one.value == pytest.approx(model.decision_function(X.iloc[[1]])[0], abs=1e-9)
    whole = explainers.choose("sampling", context_of(model, X), settings={"units": "log-odds"})
    exact = explainers.choose("linear", context_of(model, X)).explain(X.iloc[[1]])[0]
    drawn = whole.explain_rounds(X.iloc[[1]], n_rounds=30)[0][0]
    for name in X.columns:
        assert abs(drawn.contributions[name] - exact.contributions[name]) <= 4 * drawn.standard_errors[name] + 1e-9


@pytest.mark.parametrize("classes", [2, 3])
def test_sampling_breaks_down_what_parts_the_classes_and_not_what_they_share(classes, iris):
    X, y = iris
    y = np.minimum(y, classes - 1)
    model = QuadraticDiscriminantAnalysis().fit(X, y)
    explainer = explainers.choose("sampling", context_of(model, X), settings={"units": "margin"})
    row = X.iloc[[70]]
    one, chances = explainer.explain(row)[0], model.predict_log_proba(row)[0]
    assert chances.min() < -30  # its log-odds are known though its probability is 0 or 1
    if classes == 2:
        assert (one.output, one.value) == ("margin of 1", pytest.approx(chances[1] - chances[0]))
        one = explainers.choose("sampling", context_of(model, X), settings={"units": "log-odds"}).explain(row)[0]
        assert (one.output, one.value) == ("log-odds of 1", pytest.approx(chances[1] - chances[0]))
    else:
        assert (one.output, one.value) == (
            f"centred logit of {chances.argmax()}",
            pytest.approx(chances.max() - chances.mean()),
        )


def test_a_probability_is_not_called_a_margin(few):
    X, y = few
    model = make_pipeline(
        StandardScaler(), MLPClassifier((3,), solver="lbfgs", alpha=1, max_iter=5000, random_state=0)
    ).fit(X, y)
    context = context_of(model, X)
    with pytest.raises(ExplainError, match=r"answers: 'log-odds', 'probability'\. Got 'margin'"):
        explainers.choose("sampling", context, settings={"units": "margin"})
    one = explainers.choose("sampling", context, settings={"units": "log-odds"}).explain(X.iloc[[1]])[0]
    chance = model.predict_proba(X.iloc[[1]])[0, 1]
    assert one.value == pytest.approx(np.log(chance / (1 - chance)))


@pytest.mark.parametrize("units", ["probability", "log-odds", "margin", None])
def test_an_explainer_comes_back_from_its_folder_with_its_scale(units, few, tmp_path):
    X, y = few
    for name, model in (
        ("linear", make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)),
        ("additive", make_pipeline(SplineTransformer(), LogisticRegression()).fit(X, y)),
        ("sampling", make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)),
    ):
        context = context_of(model, X)
        made = explainers.choose(name, context, settings={} if units is None else {"units": units})
        folder = tmp_path / name
        made.save(folder)
        again = explainers.load(folder, context_of(model, X))
        assert again.units == made.units
        assert timeless(again.explain(X.head(3))) == timeless(made.explain(X.head(3)))


def test_a_package_may_be_packed_on_a_scale_and_its_plan_explains_on_it(people, prepared):
    X, y = people
    package = ek.pack(
        make_pipeline(prepared(), LogisticRegression()).fit(X, y),
        name="p",
        reference=X,
        settings={"units": "probability"},
    )
    assert package.method == "linear"
    columns = {name: [value] for name, value in package.examples[0]["row"].items()}
    one = package.explanations(columns)[0]
    assert one.units == "probability"
    assert timeless([one]) == timeless(package.explain(package.example_frame.head(1)))
    assert package.explains_by_plan


def test_a_scale_that_a_method_has_not_is_refused_with_what_to_do(few):
    X, y = few
    svm = LinearSVC().fit(X, y)
    with pytest.raises(ExplainError, match=r"in 'margin', and not in 'probability'.*'sampling'"):
        explainers.choose("linear", context_of(svm, X), settings={"units": "probability"})
    with pytest.raises(ExplainError, match=r"answers: 'margin'\. Got 'probability'\. Leave"):
        explainers.choose("sampling", context_of(svm, X), settings={"units": "probability"})
    with pytest.raises(ExplainError, match="in 'target', and not in 'probability'"):
        explainers.choose("linear", context_of(LinearRegression().fit(X, y), X), settings={"units": "probability"})
    with pytest.raises(SpecError, match=r"must be one of 'log-odds', 'margin', 'probability', 'target'\. Got 'odds'"):
        explainers.choose("linear", context_of(svm, X), settings={"units": "odds"})
    sure = RandomForestClassifier(2, random_state=0).fit(X, y)
    with pytest.raises(ExplainError, match="above 0 and below 1"):
        explainers.choose("sampling", context_of(sure, X), settings={"units": "log-odds"}).explain(X)


def test_log_odds_of_chances_are_what_the_logistic_function_undoes():
    margins = np.array([-30.0, -1.0, 0.0, 2.0])
    assert logits(expit(margins)) == pytest.approx(margins)


def test_a_rule_is_told_that_it_has_no_scale(few):
    X, y = few
    package = ek.pack(LogisticRegression().fit(X, y), name="rule", reference=X, explainer="anchor")
    with pytest.raises(ExplainError, match="'anchor' explains on no other scale"):
        package.explain(X.head(1), method="anchor", units="probability")
    assert package.explain(X.head(1), units="probability")[0].method == "permutation-sampling"


def test_rows_are_explained_the_same_alone_and_together(iris):
    X, y = iris
    explainer = explainers.choose(
        "linear", context_of(LogisticRegression(max_iter=1000).fit(X, y), X), settings={"units": "log-odds"}
    )
    together = timeless(explainer.explain(X.iloc[[3, 60, 140]], seed=2))
    alone = [timeless(explainer.explain(X.iloc[[i]], seed=2))[0] for i in (3, 60, 140)]
    for one, other in zip(together, alone, strict=True):
        assert dict(one.contributions) == pytest.approx(dict(other.contributions), abs=1e-12)
        assert one.units == "log-odds"
        assert isinstance(one.standard_errors, dict)
        assert pd.notna(one.value)
