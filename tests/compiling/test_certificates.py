"""A plan serves only while nothing that was tried tells it from its model."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier, VotingRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import ekiben as ek
from ekiben import compiling, models, probing, sealing, tables
from ekiben.compiling import NoPlan, Plan, building
from ekiben.compiling.edges import edges, split_points
from ekiben.errors import IntegrityError, PlanError
from ekiben.models import Answers


@pytest.fixture(scope="module")
def forest(people, prepared):
    rows, risk = people
    model = make_pipeline(prepared(), RandomForestClassifier(8, random_state=0)).fit(rows, risk)
    return model, rows, probing.sign(model, models.find(model), rows, "risk", None)


def plan_of(model, signature):
    return Plan(compiling.translate(model, signature), signature.inputs, signature.outputs)


def certified(plan, ask, rows, signature):
    return compiling.certify(plan, ask, signature.inputs, tables.conform(rows, signature.inputs), probing.unseen_texts)


def asked(model):
    return lambda frame: models.find(model).answers(model, frame)


def test_a_plan_that_is_its_model_holds(forest):
    model, rows, signature = forest
    certificate = certified(plan_of(model, signature), asked(model), rows, signature)
    assert certificate.holds
    assert certificate.reference_rows == len(rows)
    assert 0 < certificate.split_points_tried <= certificate.split_points
    assert certificate.largest_difference == 0


def off_where(model, is_at):
    """Make a model whose scores are off by two millionths for some rows of a frame."""

    def off(frame):
        (answers,) = models.find(model).answers(model, frame)
        return (replace(answers, scores=answers.scores + np.array([2e-6, -2e-6]) * is_at(frame)[:, None]),)

    return off


def test_the_splits_within_a_committee_are_tried(people):
    rows = people[0][["age", "income"]].dropna()
    grown = [(str(n), DecisionTreeRegressor(max_depth=n)) for n in (2, 3)]
    model = VotingRegressor(grown).fit(rows, rows["income"])
    signature = probing.sign(model, models.find(model), rows, "income", None)
    certificate = certified(plan_of(model, signature), asked(model), rows, signature)
    assert certificate.holds
    assert 0 < certificate.split_points == certificate.split_points_tried


def test_numbers_of_thirty_two_bits_are_tried_as_they_are_written():
    rows = pd.DataFrame({"share": np.array([0.1, 0.7] * 20, dtype=np.float32)})
    model = DecisionTreeRegressor().fit(rows, rows["share"])
    signature = probing.sign(model, models.find(model), rows, "share", None)
    plan = plan_of(model, signature)
    made = edges(plan, signature.inputs, tables.as_rows(rows), probing.unseen_texts)
    assert {0.1, 0.7} <= {row["share"] for row in made.special}


@pytest.mark.parametrize("degree", np.arange(2, 4))
def test_a_setting_may_be_one_of_numpys_numbers(people, degree):
    rows = people[0][["age", "income"]].dropna().head(60)
    model = make_pipeline(StandardScaler(), KernelRidge(kernel="poly", degree=degree)).fit(rows, rows["age"])
    package = ek.pack(model, name="age", reference=rows, overview=False)
    plan = package.manifest["plan"]
    assert plan["compiled"] or plan["reason"] == "its plan was no quicker"


def test_a_setting_that_is_infinite_leaves_the_model_to_itself(people):
    rows, risk = people[0][["age", "income"]].fillna(0), people[1]
    model = FixedThresholdClassifier(
        LogisticRegression(max_iter=1000), threshold=np.inf, pos_label=sorted(set(risk))[1]
    )
    package = ek.pack(model.fit(rows, risk), name="risk", reference=rows, overview=False)
    assert package.manifest["plan"] == {"compiled": False, "reason": "it is set to inf, which no plan holds"}


def test_a_model_that_answers_a_row_otherwise_alone_has_no_plan(forest):
    model, rows, signature = forest
    off = off_where(model, lambda frame: frame.index.to_numpy() == 7)
    with pytest.raises(compiling.NoPlan, match="it answers rows otherwise alone than among others itself"):
        certified(plan_of(model, signature), off, rows, signature)


def test_one_score_that_is_off_by_two_millionths_is_found(forest):
    model, rows, signature = forest
    off = off_where(model, lambda frame: frame["income"].to_numpy() == rows["income"][8])
    certificate = certified(plan_of(model, signature), off, rows, signature)
    assert not certificate.holds
    assert 1e-6 < certificate.largest_difference <= 3e-6


def test_one_changed_label_is_found(forest):
    model, rows, signature = forest

    def other(frame):
        (answers,) = models.find(model).answers(model, frame)
        labels = answers.labels.copy()
        labels[:1] = "good" if labels[0] == "bad" else "bad"
        return (replace(answers, labels=labels),)

    certificate = certified(plan_of(model, signature), other, rows, signature)
    assert certificate.changed_labels > 0
    assert not certificate.holds


def test_an_answer_to_what_the_model_refuses_is_found(forest):
    model, rows, signature = forest

    def strict(frame):
        if (frame["income"] > rows["income"].max()).any():
            raise ValueError("too rich")
        return models.find(model).answers(model, frame)

    assert certified(plan_of(model, signature), strict, rows, signature).changed_refusals > 0


def plausible(frame):
    """Refuse an income that is too low for the age."""
    if not (frame["age"] * 1000 < frame["income"]).all():
        raise ValueError("too low")
    return frame[["income"]] / 1000


@pytest.fixture(scope="module")
def strict():
    """A model of whose edge rows many are refused by a step of its own, and of whose reference none is."""
    age = np.arange(200) % 60 + 20
    rows = pd.DataFrame({"age": age, "income": age * 1000 + np.linspace(1, 2000, 200)})
    columns = make_column_transformer((FunctionTransformer(plausible), ["age", "income"]), ("passthrough", ["age"]))
    model = make_pipeline(columns, RandomForestClassifier(20, random_state=0)).fit(rows, np.arange(200) % 3 > 0)
    return model, rows, probing.sign(model, models.find(model), rows, "risk", None)


def test_the_model_is_not_asked_about_each_row_that_a_step_of_it_refuses(strict):
    model, rows, signature = strict
    asked_rows = []

    def counted(frame):
        asked_rows.append(len(frame))
        return models.find(model).answers(model, frame)

    compiled = compiling.Plan(
        compiling.translate(model, signature), signature.inputs, signature.outputs, model=lambda: model
    )
    certificate = certified(compiled, counted, rows, signature)
    assert certificate.holds
    assert certificate.refused_rows > 20
    assert len(asked_rows) < 10


def test_a_plan_is_none_whose_model_or_which_has_no_answer_for_rows_of_the_reference(strict):
    model, rows, signature = strict
    compiled = compiling.Plan(
        compiling.translate(model, signature), signature.inputs, signature.outputs, model=lambda: model
    )
    few, many = (rows.assign(income=rows["income"].where(rows.index >= n, 1.0)) for n in (3, 150))
    with pytest.raises(NoPlan, match="it refuses rows of the reference"):
        certified(compiled, asked(model), few, signature)
    for frame, left in ((few, "3"), (many, "more than 100")):
        with pytest.raises(NoPlan, match=f"its plan would have no answer for {left} rows of the reference"):
            certified(compiled, lambda given: asked(model)(given.assign(income=1e6)), frame, signature)


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_split_that_is_off_by_one_bit_is_found(shift):
    """The reference never stands at a split; only the edge rows do."""
    X = pd.DataFrame({"x": np.repeat([0.0, 1.0, 2.0, 3.0], 10)})
    y = np.repeat([0, 1, 0, 1], 10)
    model = DecisionTreeClassifier(random_state=0).fit(X, y)
    signature = probing.sign(model, models.find(model), X, "stairs", None)
    document = compiling.translate(model, signature)
    trees = document["outputs"][0]["core"]
    right = trees["forest"]
    moved = np.nextafter(right.threshold.astype(np.float32), np.float32(shift * np.inf)).astype(np.float64)
    trees["forest"] = replace(right, threshold=moved)
    wrong = Plan(document, signature.inputs, signature.outputs)
    assert np.array_equal(wrong.answers([X["x"].tolist()], len(X))[0].labels, y)
    assert certified(wrong, asked(model), X, signature).changed_labels > 0


def test_split_points_are_told_in_the_columns_own_units(forest):
    model, rows, signature = forest
    plan = plan_of(model, signature)
    found = split_points(plan)
    income = rows["income"]
    assert {"age", "income"} <= found.keys()
    assert all(income.min() <= value <= income.max() for value in found["income"])


def test_edge_rows_hold_what_the_contract_takes_and_nothing_else(forest):
    model, rows, signature = forest
    made = edges(plan_of(model, signature), signature.inputs, tables.as_rows(rows), probing.unseen_texts)
    values = {name: [row[name] for row in made.special] for name in rows}
    assert None in values["income"]
    assert {True, False} <= {value for value in values["member"] if value is not None}
    assert any(text not in {"fixed", "freelance", "other", None} for text in values["job"])
    frame = tables.as_frame({name: [row[name] for row in made.splits] for name in rows}, signature.inputs)
    tables.conform(frame, signature.inputs)
    assert all(isinstance(row["age"], int) for row in made.splits if row["age"] is not None)


# ── what a package says and does of it


def test_a_package_answers_by_its_plan_and_says_by_what_it_was_proved(champion):
    assert champion.plan is not None
    assert champion.certificate.holds
    assert "compiled" in str(champion)
    assert "by the model itself" in champion._repr_html_()
    assert champion.manifest["costs"]["row_us"] < champion.manifest["costs"]["native_row_us"]


def test_a_package_without_a_plan_says_why(people):
    rows = pd.DataFrame({"x": np.linspace(0, 1, 30)})
    package = ek.pack(np.square, name="curve", reference=rows, trust=["numpy"])
    assert package.plan is None
    assert package.certificate is None
    assert "no: ufunc has no plan" in str(package)


def test_a_plan_that_differs_is_refused_and_the_model_serves_itself(people, prepared, monkeypatch):
    rows, risk = people
    right = compiling.translate

    def wrong(model, signature, reference):
        document = right(model, signature, reference)
        document["outputs"][0]["core"]["intercept"] = document["outputs"][0]["core"]["intercept"] + 1e-3
        return document

    monkeypatch.setattr(compiling, "translate", wrong)
    model = make_pipeline(prepared(), LogisticRegression(max_iter=500)).fit(rows, risk)
    package = ek.pack(model, name="risk", reference=rows)
    assert package.plan is None
    assert "its plan did not answer as it does" in package.manifest["plan"]["reason"]
    assert not (package.folder / "plan").exists()
    assert np.array_equal(package.predict(rows)["score_good"], model.predict_proba(rows)[:, 1])


def test_the_same_model_gives_the_same_plan_and_digest(people, prepared):
    rows, risk = people
    first, second = (
        ek.pack(
            make_pipeline(prepared(), LogisticRegression(max_iter=500)).fit(rows, risk), name="risk", reference=rows
        )
        for _ in range(2)
    )
    assert first.digest == second.digest
    assert first.manifest["costs"].keys() == second.manifest["costs"].keys()


def test_a_row_that_a_plan_leaves_is_answered_by_the_model(champion, people, monkeypatch):
    def never(*_):
        raise PlanError("not this one")

    monkeypatch.setattr(champion.plan, "answers", never)
    rows = people[0].head(3)
    pd.testing.assert_frame_equal(champion.predict(rows), champion.predict(rows, compiled=False))


def test_from_the_crossover_on_the_model_itself_is_asked(champion):
    plan = champion.plan
    costs = replace(plan.costs, crossover=10)
    plan.costs, before = costs, plan.costs
    try:
        assert champion.plan_for(9) is plan
        assert champion.plan_for(10) is None
    finally:
        plan.costs = before


@pytest.mark.parametrize(("native_many_us", "most"), [(1.0, 16_384), (7.0, 16_384), (9.0, math.inf)])
def test_of_very_many_rows_the_model_is_asked_unless_it_was_clearly_dearer(champion, native_many_us, most):
    costs = replace(champion.plan.costs, many_us=2.0, native_many_us=native_many_us, crossover=None)
    assert costs.most_planned == most


@pytest.mark.parametrize(
    ("told", "plans"), [((0.5, 1.0), True), ((0.95, 1.0), False), ((1.5, 1.0), False), ((None, None), False)]
)
def test_frames_of_any_size_go_to_the_plan_where_it_was_clearly_quicker(champion, told, plans):
    costs = replace(champion.plan.costs, frame_us=told[0], native_frame_us=told[1])
    assert costs.plans_frames == plans


def test_a_frame_of_very_many_rows_is_answered_by_the_plan_as_each_of_its_rows(champion, people, tmp_path):
    from ekiben import packages

    folder = champion.save(tmp_path / "package")
    package = packages.build(folder, sealing.verify(folder))
    package.plan.costs = replace(package.plan.costs, frame_us=0.1, native_frame_us=1.0, crossover=10)
    rows = people[0].sample(20_000, replace=True, random_state=0)
    found = package.predict(rows)
    assert "model" not in vars(package)
    assert found.index.equals(rows.index)
    for at in (0, 8191, 8192, 19_999):  # where one part of it ends and the next begins
        pd.testing.assert_frame_equal(found.iloc[[at]], champion.predict(rows.iloc[[at]]))
    pd.testing.assert_frame_equal(found, champion.predict(rows, compiled=False))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
@pytest.mark.parametrize("dtype", [object, "category", "string[python]", "string[pyarrow]"])
def test_the_columns_of_a_frame_hold_the_values_that_its_rows_have(dtype, missing):
    frame = pd.DataFrame(
        {
            "text": pd.Series(["a", missing, "b", "a"], dtype=dtype),
            "none": pd.Series([missing] * 4, dtype=dtype),
            "mixed": pd.Series([1, True, "1", 1.0], dtype=object),
            "lists": pd.Series([[1], [2], None, [3]], dtype=object),
            "number": [0.5, np.nan, -0.0, np.inf],
            "narrow": np.array([0.1, 0.2, 0.3, np.nan], dtype=np.float32),
            "count": np.array([0, 1, 2**63 + 1025, 2**64 - 1], dtype=np.uint64),
            "yes": [True, False, True, False],
            "gap": pd.array([1, None, 3, 4], dtype="Int64"),
            "day": pd.to_datetime(["2020-01-01", None, "2021-01-01", "2022-01-01"]),
        }
    )
    made = compiling.columns_of(frame)
    for name, found, expected in zip(frame, made, tables.as_columns(frame), strict=True):
        assert repr([*found]) == repr(expected), name
        assert len(found) == 4
        assert repr([*found[1:3]]) == repr(expected[1:3]), name
        assert repr([found[i] for i in range(4)]) == repr(expected), name
    for i, name in enumerate(frame):
        if name in ("number", "narrow", "count", "yes"):
            assert np.array(made[i], dtype=np.float64).tobytes() == np.array([*made[i]], dtype=np.float64).tobytes()


def test_a_loaded_package_builds_its_model_when_it_is_first_needed(champion, tmp_path):
    folder = champion.save(tmp_path / "package")
    manifest = sealing.verify(folder)
    from ekiben import packages

    package = packages.build(folder, manifest)
    package.predict(package.example_frame)
    assert "model" not in vars(package)
    package.predict(package.example_frame, compiled=False)
    assert "model" in vars(package)


LEAN = """
import json, sys
from pathlib import Path
from ekiben import packages, sealing
folder = Path(sys.argv[1])
package = packages.build(folder, sealing.verify(folder))
row = package.examples[0]["row"]
values = [row[name] for name in package.schema.names]
told = package.plan.predictions([values])
explained = package.explainer.explain_columns([[value] for value in values], 1)[0].contributions
heavy = [name for name in ("sklearn", "pandas", "xgboost", "scipy", "alibi", "mlflow") if name in sys.modules]
json.dump({"told": told, "explained": dict(explained), "heavy": heavy}, sys.stdout)
"""


def test_a_linear_model_answers_and_is_explained_without_any_library_of_models(run_apart, champion, tmp_path):
    folder = champion.save(tmp_path / "package")
    found = json.loads(run_apart(LEAN, folder))
    assert found["heavy"] == []
    live = champion.predict(champion.example_frame.head(1)).iloc[0]
    assert found["told"][0]["label"] == live["label"]
    assert found["told"][0]["scores"]["good"] == live["score_good"]
    assert found["explained"] == dict(champion.explain(champion.example_frame.head(1))[0].contributions)


# ── a plan that somebody else wrote


def resealed(folder, change):
    """Change a plan's document and seal the package again, as somebody would who wants it loaded."""
    path = folder / "plan" / building.PLAN
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    manifest = json.loads((folder / "package.json").read_text())
    sealing.seal(folder, manifest)
    return ek.load(folder)


CHANGES = {
    "an unknown node": lambda plan: plan["outputs"][0].update(core={"op": "eval", "of": "1"}),
    "no output": lambda plan: plan.update(outputs=[]),
    "a column that is not there": lambda plan: plan["outputs"][0]["core"]["of"].update(op="columns", names=["nobody"]),
    "too few coefficients": lambda plan: plan["outputs"][0]["core"].update(coef=[[1.0]]),
    "a file of another folder": lambda plan: plan["outputs"][0]["core"].update(coef={"npy": "../examples.json"}),
    "a node within itself": lambda plan: plan.update(shared=[{"op": "shared", "number": 0}]),
    "a newer format": lambda plan: plan.update(format=2),
    "no document": lambda plan: plan.clear(),
    "texts as numbers": lambda plan: plan["outputs"][0]["core"].update(intercept=["one"]),
    "no rule for the label": lambda plan: plan["outputs"][0].update(label={"rule": "import os"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_plan_that_ekiben_did_not_write_is_refused_in_one_sentence(champion, tmp_path, name):
    package = resealed(champion.save(tmp_path / "package"), CHANGES[name])
    with pytest.raises(IntegrityError, match="plan"):
        _ = package.plan


def test_an_array_of_objects_is_never_unpickled(champion, tmp_path):
    folder = champion.save(tmp_path / "package")
    np.save(folder / "plan" / "array-0.npy", np.array([{"an": "object"}], dtype=object), allow_pickle=True)

    def change(plan):
        plan["outputs"][0]["core"].update(coef={"npy": "array-0.npy"})

    with pytest.raises(IntegrityError):
        _ = resealed(folder, change).plan


def test_answers_of_many_outputs_stand_under_their_names(people):
    rows = people[0][["age"]]
    both = pd.DataFrame({"up": rows["age"] * 2.0, "down": rows["age"] * -1.0})
    package = ek.pack(LinearRegression().fit(rows, both), name="both", reference=rows, target=both)
    assert package.plan.predictions([(30,)])[0].keys() == {"up", "down"}
    assert package.plan.predictions([(30,)])[0]["up"]["value"] == pytest.approx(60)
    assert isinstance(package.plan.answers([[30, 40]], 2)[0], Answers)


def test_a_split_between_missing_and_not_is_one_that_every_number_is_below():
    rows = pd.DataFrame({"x": [1.0, np.nan, 2.0, np.nan, 3.0, np.nan] * 10})
    model = RandomForestClassifier(20, random_state=0).fit(rows, rows["x"].isna())
    assert any(np.isinf(tree.tree_.threshold).any() for tree in model.estimators_)
    package = ek.pack(model, name="gap", reference=rows)
    assert package.certificate.holds
    assert package.plan.predictions([(None,), (1e30,)]) == [
        {"label": True, "scores": {"False": 0.0, "True": 1.0}},
        {"label": False, "scores": {"False": 1.0, "True": 0.0}},
    ]
