"""What an image must hold, told from the packages of its arms."""

import sys

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer

import ekiben as ek
from ekiben.containers import diet
from ekiben.errors import PlanError

ROWS = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0, 7.0, 9.0] * 5})
PRICES = [20.0, 30, 40, 60, 70, 90] * 5


@pytest.fixture(scope="module")
def bent():
    """A plan that refuses what is not positive, as its model does."""
    model = make_pipeline(PowerTransformer(method="box-cox"), LinearRegression()).fit(ROWS, PRICES)
    return ek.pack(model, name="bent", reference=ROWS, target=PRICES)


def test_a_plan_that_answers_and_explains_is_enough(credit_packages):
    assert [diet.needs_its_plan_alone(package) for package in credit_packages.values()] == [True, True]


def test_a_method_that_may_be_asked_for_needs_the_model(credit_packages):
    assert not diet.needs_its_plan_alone(credit_packages["champion"], ("sampling",))


def test_a_plan_that_leaves_rows_to_its_model_is_not_enough():
    distant = pd.DataFrame({"x": [0.0, 1.0, 3.5, 7.25, 12.0, 20.0], "y": [1.0, 0.0, 2.5, 9.0, 4.0, 8.0]})
    model = KNeighborsRegressor(2).fit(distant, [1.0, 2, 3, 4, 5, 6])
    package = ek.pack(model, name="near", reference=distant)
    assert package.plan is None or not diet.needs_its_plan_alone(package)


def test_without_pandas_a_row_that_a_plan_refuses_is_refused_in_its_words(bent, monkeypatch):
    assert bent.predictions({"rooms": [3.0]})
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(PlanError, match="must be positive"):
        bent.predictions({"rooms": [-1.0]})


def test_what_graphics_cards_alone_are_asked_with_has_them_as_its_reason():
    needs = {"xgboost": ["numpy", "nvidia-nccl-cu12"], "xgboost-cpu": ["numpy"]}
    wanted = {"xgboost": ["arm a (its model: it has no plan)"]}
    full = diet.plan(["xgboost", "numpy", "nvidia-nccl-cu12"], wanted, (), lambda name: needs.get(name, []))
    lean = diet.plan(["xgboost-cpu", "numpy"], wanted, (), lambda name: needs.get(name, []))
    assert full.needed["nvidia-nccl-cu12"] == ("gpu",)
    assert full.needed["xgboost"] == lean.needed["xgboost-cpu"] == ("arm a (its model: it has no plan)",)
    assert sorted(lean.needed) == ["numpy", "xgboost-cpu"]


def test_what_a_library_needs_for_other_work_than_serving_stays_out_unless_a_model_names_it():
    needs = {"onnxruntime": ["numpy", "protobuf", "flatbuffers"], "ekiben": ["numpy", "typer"]}
    locked = ["onnxruntime", "numpy", "protobuf", "flatbuffers", "typer"]
    by_plan = {"onnxruntime": ["arm a (its plan)"]}
    found = diet.plan(locked, by_plan, (), lambda name: needs.get(name, []))
    assert sorted(found.left_out) == ["flatbuffers", "protobuf", "typer"]
    named = diet.plan(locked, {**by_plan, "protobuf": ["arm b (its model)"]}, (), lambda name: needs.get(name, []))
    assert named.needed["protobuf"] == ("arm b (its model)",)


def test_reasons_follow_what_is_needed():
    needs = {"ekiben": ["numpy", "pandas"], "scikit-learn": ["scipy", "joblib"], "scipy": ["numpy"]}
    wanted = {"scikit-learn": ["arm b (its model: it has no plan)"]}
    locked = ["numpy", "pandas", "scikit-learn", "scipy", "joblib", "mlflow"]
    found = diet.plan(locked, wanted, (), lambda name: needs.get(name, []))
    assert found.needed["numpy"] == ("ekiben", "arm b (its model: it has no plan)")
    assert found.needed["joblib"] == ("arm b (its model: it has no plan)",)
    assert sorted(found.left_out) == ["mlflow", "pandas"]
