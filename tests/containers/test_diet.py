"""What an image must hold, told from the packages of its arms."""

import sys
import zipfile
from dataclasses import replace

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer

import ekiben as ek
from ekiben import locking
from ekiben.compiling.nodes.trees import are_taken
from ekiben.containers import diet, probes, wheels
from ekiben.errors import PlanError
from ekiben.loops import loops

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


# ── the engine of trees, and the loops that answer in its place


def _wheel(tmp_path, loops):
    """A wheel of ekiben that holds these bytes as its loops."""
    file = tmp_path / "ekiben-0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("ekiben/__init__.py", "")
        if loops is not None:
            packed.writestr(wheels.LOOPS, loops)
    return file


def _loops(machine=None, libc=b"libc.so.6", newest=b"GLIBC_2.14"):
    return probes.program(machine) + b"\0".join([b"", libc, newest, b""])


@pytest.mark.parametrize(
    ("loops", "fits"),
    [
        (None, False),
        (b"", False),
        (_loops(), True),
        (_loops("aarch64" if probes.kind_of_machine() == "x86_64" else "x86_64"), False),
        (_loops(libc=b"libc.musl-x86_64.so.1"), False),
        (_loops(newest=b"GLIBC_2.36"), True),
        (_loops(newest=b"GLIBC_2.38"), False),
    ],
)
def test_loops_that_an_image_does_not_load_are_none(tmp_path, loops, fits):
    assert wheels.carries_loops(_wheel(tmp_path, loops)) == fits


@pytest.mark.skipif(loops is None, reason="the inner loops are not compiled here")
def test_the_loops_that_a_bento_carries_fit_an_image_of_this_machine(tmp_path):
    assert wheels.carries_loops(locking.write_wheel(tmp_path))


def test_the_engine_of_trees_stays_out_where_the_loops_answer_them(credit_packages):
    trees = credit_packages["challenger"]
    assert diet.engine(trees, loops=False) == ["onnxruntime"]
    assert diet.engine(trees, loops=True) == []
    assert diet.engine(credit_packages["champion"], loops=False) == []
    assert diet.beside_the_plan(trees, loops=True) == [
        line for line in trees.manifest["requirements"] if "onnxruntime" not in line
    ]
    assert diet.beside_the_plan(trees, loops=False) == trees.manifest["requirements"]


def test_an_engine_that_the_user_s_own_code_may_ask_for_stays(credit_packages):
    trees = credit_packages["challenger"]
    own = replace(trees, manifest={**trees.manifest, "carries": ["code"]})
    assert diet.beside_the_plan(own, loops=True) == trees.manifest["requirements"]


def test_trees_of_two_ways_to_compare_ask_for_the_engine(credit_packages):
    (forest,) = diet.forests(credit_packages["challenger"].plan.document)
    assert are_taken(forest)
    mode = forest.mode.copy()
    mode[0] = 1 - mode[0]
    assert not are_taken(replace(forest, mode=mode))
