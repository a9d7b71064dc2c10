"""Functions of a frame, and objects that predict: what they may answer, how they are kept, and what is refused."""

import datetime as dt
import functools
import importlib
import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import ekiben as ek
from ekiben import models
from ekiben.errors import IntegrityError, SpecError, UnsupportedModelError
from ekiben.models import answered
from ekiben.models.python import ADAPTER, FILE

MODULE = "ekiben_code_0123456789ab"
X = pd.DataFrame(
    {
        "age": [20, 30, 40, 50, 60, 25],
        "income": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "job": ["a", "b", "a", "c", "b", "a"],
    }
)
SOURCE = """
import numpy as np
import pandas as pd

def value(frame):
    return frame["age"] * 0.5 + frame["income"]

def values(frame):
    return pd.DataFrame({"price": frame["age"] * 0.5, "rent": frame["income"] * 2.0})

def label(frame):
    return np.where(frame["age"] > 35, "old", "young")

def flag(frame):
    return frame["age"] > 35

def constant(frame):
    return ["x"] * len(frame)

def mixed(frame):
    return {"risk": frame["income"] / 10, "band": label(frame), "years": frame["age"]}

def into_its_frame(frame):
    frame["age"] += 1
    frame.drop(columns="job", inplace=True)
    return frame["age"] * 1.0

def demeaned(frame):
    return frame["income"] - frame["income"].mean()

def at_random(frame):
    return np.random.rand(len(frame))

def reordered(frame):
    return frame.sort_values("income", ascending=False)["income"].reset_index(drop=True)

def by_job(frame):
    return [1.5 if job == "a" else "other" for job in frame["job"]]

def scaled(frame, *, by, table):
    return frame["income"] * by + frame["job"].map(table).astype(float)

def outer():
    def inner(frame):
        return frame["age"]
    return inner

class Scorer:
    def __init__(self, weight):
        self.weight, self.table = weight, {"a": 1.5}

    def predict(self, frame):
        return frame["income"] * self.weight + self.table["a"]

    def other(self, frame):
        return frame["income"] * self.weight

    @classmethod
    def whole(cls, frame):
        return frame["income"] * 3

class Called:
    def __init__(self, weight):
        self.weight = np.array([weight])

    def __call__(self, frame):
        return frame["income"] * self.weight[0]
"""


def imported(name, folder):
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module(name)
    del sys.modules[name]


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """Give a module as a package's own code is: a name with a digest, beside nothing that is installed."""
    yield from imported(MODULE, tmp_path_factory.mktemp("code"))


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Give a module as it lies beside a notebook."""
    yield from imported("my_scores", tmp_path_factory.mktemp("local"))


def packed(model):
    return ek.pack(model, name="score", reference=X)


# ── what a function may answer


ANSWERS = {
    "a-series": (pd.Series([1.5, 2.5], name="risk"), {"": [1.5, 2.5]}),
    "an-array": (np.array([1.5, 2.5], dtype=np.float32), {"": [1.5, 2.5]}),
    "one-column-of-an-array": (np.array([[1], [2]]), {"": [1, 2]}),
    "two-columns-of-an-array": (np.array([[1.0, 2.0], [3.0, 4.0]]), {"y0": [1.0, 3.0], "y1": [2.0, 4.0]}),
    "a-frame": (pd.DataFrame({"a": [1.5, 2.5], "b": ["x", "y"]}), {"a": [1.5, 2.5], "b": ["x", "y"]}),
    "a-frame-of-one-column": (pd.DataFrame({"risk": [1.5, 2.5]}), {"risk": [1.5, 2.5]}),
    "a-frame-of-a-value": (pd.DataFrame({"value": [1.5, 2.5]}), {"": [1.5, 2.5]}),
    "a-frame-without-names": (pd.DataFrame([[1, 2], [3, 4]]), {"y0": [1, 3], "y1": [2, 4]}),
    "a-list": (["x", "y"], {"": ["x", "y"]}),
    "a-list-of-rows": ([(1, "x"), (2, "y")], {"y0": [1, 2], "y1": ["x", "y"]}),
    "a-list-of-dicts": ([{"a": 1}, {"a": 2}], {"a": [1, 2]}),
    "a-dict": ({"a": [True, False], "b": (1, 2.5)}, {"a": [True, False], "b": [1.0, 2.5]}),
    "categories": (pd.Series(["x", "y"], dtype="category"), {"": ["x", "y"]}),
    "nullable-integers": (pd.Series([1, 2], dtype="Int64"), {"": [1, 2]}),
    "nullable-booleans": (pd.Series([True, False], dtype="boolean"), {"": [True, False]}),
    "pandas-texts": (pd.Series(["x", "y"], dtype="string"), {"": ["x", "y"]}),
    "another-index": (pd.Series([1.5, 2.5], index=["p", "q"]), {"": [1.5, 2.5]}),
    "a-gap-among-numbers": (np.array([1.5, np.nan]), {"": [1.5, None]}),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_becomes_columns_of_plain_values(kind):
    answer, wanted = ANSWERS[kind]
    found = {name: pd.Series(values).astype(object) for name, values in answered.columns(answer, 2).items()}
    assert {name: values.where(values.notna(), None).tolist() for name, values in found.items()} == wanted


REFUSED = {
    "nothing": (
        None,
        "A function must answer with a frame, a Series, an array, a list, or a dict of columns. Got None",
    ),
    "one-number": (1.5, "Got float."),
    "a-scalar-array": (np.array(1.5), "Got an array of shape ()."),
    "three-axes": (np.zeros((2, 1, 1)), "Got an array of shape (2, 1, 1)."),
    "too-few": ([1.5], "A function must give one answer a row. Got 1 for 2 rows."),
    "too-many": (pd.DataFrame({"a": [1, 2, 3]}), "Got 3 for 2 rows."),
    "a-dict-of-scalars": ({"a": 1.5}, "A function must give one answer a row. Got shape () for 2 rows."),
    "rows-of-two-lengths": ([[1], [1, 2]], "The rows of an answer must be equally long. They are not."),
    "no-column": (pd.DataFrame(index=[0, 1], columns=pd.Index([], dtype=object)), "Got no column."),
    "a-name-that-is-a-number": (pd.DataFrame({3: [1, 2], "b": [1, 2]}), "must have names that are texts. Got 3."),
    "a-name-twice": (pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "Got more than one of ['a']."),
    "the-name-of-a-part": (
        {"label": ["x", "y"], "risk": [1.5, 2.5]},
        (
            "Several columns of an answer must not be called 'label', 'scores', 'value': so are the parts of each. "
            "Got ['label']. Rename: answer.rename(columns={'label': 'my_label'})."
        ),
    ),
    "a-missing-text": (["x", None], "An answer must hold an answer for each row. Got 1 missing. Fill them."),
    "a-missing-integer": (pd.Series([1, pd.NA], dtype="Int64"), "Got 1 missing."),
    "a-large-integer": ([1, 2**53 + 1], "must hold integers up to 2**53"),
    "a-larger-integer": ([1, 2**80], "must hold integers up to 2**53"),
    "dates": (
        {"due": pd.to_datetime(["2024-01-01", "2024-01-02"])},
        "The column 'due' of an answer must hold numbers, booleans or texts, all of one kind. Got datetime64. Turn dates",
    ),
    "days": ([dt.date(2024, 1, 1)] * 2, "Got date. Turn dates into texts: .dt.strftime('%Y-%m-%d')."),
    "numbers-and-texts": ([1, "x"], "all of one kind. Got int, str. Turn them into one of these."),
    "booleans-and-numbers": ([True, 2], "all of one kind. Got bool, int."),
    "complex-numbers": (np.array([1j, 2j]), "Got complex."),
    "sorted": (pd.Series([1.5, 2.5], index=[1, 0]), "A function must answer rows in their order. It sorted them."),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_an_answer_that_is_no_table_of_plain_values_is_refused(kind):
    answer, words = REFUSED[kind]
    with pytest.raises(SpecError, match=re.escape(words)):
        answered.columns(answer, 2)


def test_a_fraction_is_a_value_and_anything_else_a_label(local):
    outputs = packed(local.mixed).signature.outputs
    assert [(each.name, each.parts) for each in outputs] == [
        ("risk", ("value",)),
        ("band", ("label",)),
        ("years", ("label",)),
    ]
    assert packed(local.flag).signature.outputs[0].classes == (False, True)


# ── through pack, its explanations and the laws


@pytest.mark.parametrize("name", ["value", "values", "label", "flag", "constant", "mixed", "into_its_frame"])
def test_a_function_is_packed_explained_and_keeps_every_law(local, name):
    function = getattr(local, name)
    package = packed(function)
    live, answers = answered.columns(function(X.copy()), len(X)), package.predict(X)
    assert {key or answers.columns[0]: values.tolist() for key, values in live.items()} == {
        key: answers[key].tolist() for key in answers.columns
    }
    method = "sampling" if name in ("label", "flag", "constant") else "additive"  # their values add columns up
    assert (package.manifest["kind"], package.manifest["class"], package.method) == ("python", name, method)
    explained = package.explain(X.head(2))[0]
    assert explained.base_value + sum(explained.contributions.values()) == pytest.approx(explained.value)
    report = ek.check(package)
    assert report.ok, str(report)


def bound(code):
    return {
        "partial": functools.partial(code.scaled, by=2.0, table={"a": 1, "b": 2, "c": 3}),
        "predicts": code.Scorer(2.0),
        "a-method": code.Scorer(2.0).other,
        "a-class-s-method": code.Scorer.whole,
        "called": code.Called(3.0),
        "a-partial-of-a-method": functools.partial(code.Scorer(2.0).other),
    }


@pytest.mark.parametrize(
    "kind", ["partial", "predicts", "a-method", "a-class-s-method", "called", "a-partial-of-a-method"]
)
def test_what_a_function_is_bound_to_is_kept_as_data(local, kind):
    model = bound(local)[kind]
    package = packed(model)
    expected = getattr(model, "predict", model)(X)
    assert package.predict(X)["value"].tolist() == expected.tolist()
    assert {path.suffix for path in (package.folder / "model").iterdir()} <= {".json", ".skops"}


def test_the_same_function_has_the_same_bytes(code, tmp_path):
    written = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        ADAPTER.save(bound(code)["partial"], tmp_path / name, trust=[MODULE])
        written.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert written[0] == written[1]


def test_a_function_may_write_into_what_it_is_given_and_the_caller_s_rows_stay(local):
    rows = X.copy()
    packed(local.into_its_frame).predict(rows)
    ADAPTER.answers(local.into_its_frame, rows)
    pd.testing.assert_frame_equal(rows, X)


@pytest.mark.parametrize("name", ["demeaned", "reordered"])
def test_a_function_whose_answer_depends_on_the_batch_breaks_a_law(local, name):
    broken = [finding.law for finding in ek.check(packed(getattr(local, name))).findings if finding.state == "broken"]
    assert "A batch equals its rows one by one." in broken


def test_a_function_that_answers_at_random_is_refused(local):
    with pytest.raises(
        UnsupportedModelError,
        match=re.escape("The model must answer the same rows the same. at_random does not: it draws at random"),
    ):
        packed(local.at_random)


def test_a_function_that_gives_numbers_and_texts_is_refused(local):
    with pytest.raises(UnsupportedModelError, match=re.escape("all of one kind. Got float, str.")):
        packed(local.by_job)


# ── what is found


def test_a_library_s_own_adapter_comes_first(code):
    assert models.find(LogisticRegression()).library == "sklearn"
    assert {models.find(each).library for each in (*bound(code).values(), code.value, lambda frame: frame)} == {
        "python"
    }


def test_what_neither_predicts_nor_is_called_is_refused_with_the_way_out():
    with pytest.raises(
        UnsupportedModelError, match=re.escape("Or pack a function of a frame that asks it: def score(")
    ):
        models.find(re.compile("a"))
    with pytest.raises(UnsupportedModelError, match=re.escape("Got object. Pass the model itself.")):
        models.find(object())


def test_what_needs_more_than_a_frame_is_refused_with_its_signature():
    class Wage:
        def predict(self, context, model_input, params=None):
            return model_input

    words = "Got Wage.predict(context, model_input, params=None). Pack a function of the frame that calls it;"
    with pytest.raises(UnsupportedModelError, match=re.escape(words)):
        ek.pack(Wage(), name="wage", reference=pd.DataFrame({"age": [1, 2, 3]}))


def test_a_class_is_refused_for_its_objects(local):
    with pytest.raises(UnsupportedModelError, match=re.escape("Got the class Scorer. Make one: Scorer(…).")):
        packed(local.Scorer)


# ── by name, and where that is trusted


def save(model, folder, **settings):
    ADAPTER.save(model, folder, **settings)


def test_a_function_without_a_name_of_its_own_is_refused(code, tmp_path):
    for nameless, name in ((lambda frame: frame, "<lambda>"), (code.outer(), "outer.<locals>.inner")):
        with pytest.raises(UnsupportedModelError, match=re.escape(f"{name}. Define it with `def` at the top of")):
            save(nameless, tmp_path, trust=[MODULE])


def test_a_function_of_a_module_that_nobody_installed_is_refused(tmp_path):
    with pytest.raises(UnsupportedModelError, match=re.escape("must be of the notebook or of an installed library.")):
        save(json.dumps, tmp_path, trust=["json"])


def test_a_function_of_an_installed_library_needs_the_user_s_word(tmp_path):
    word = "If you do: pack(…, trust=['sklearn'])."
    function = importlib.import_module("sklearn.utils.validation").check_array
    with pytest.raises(UnsupportedModelError, match=re.escape(word)):
        save(function, tmp_path)
    save(function, tmp_path, trust=["sklearn"])
    assert ADAPTER.load(tmp_path, trust=["sklearn.utils"]) is function
    assert ADAPTER.requirements(function) == ("scikit-learn",)


def test_state_of_a_class_that_is_not_trusted_is_refused(code, tmp_path):
    with pytest.raises(UnsupportedModelError, match=re.escape(f"Got {MODULE}.Scorer.")):
        save(code.Scorer(2.0), tmp_path)


@pytest.mark.parametrize("kind", ["partial", "predicts"])
def test_nothing_is_imported_that_is_not_trusted(code, kind, tmp_path):
    save(bound(code)[kind], tmp_path, trust=[MODULE])
    named = ADAPTER.foreign(tmp_path)
    assert {name.partition(".")[0] for name in named} == {MODULE}
    assert ADAPTER.load(tmp_path, trust=named) is not None
    with pytest.raises(IntegrityError, match=re.escape(f"Got {MODULE}.")):
        ADAPTER.load(tmp_path)


@pytest.mark.parametrize("name", ["os:system", "subprocess:run", "builtins:eval", "sklearn.utils:os.system"])
def test_a_file_that_names_what_is_no_function_of_a_trusted_library_runs_nothing(name, tmp_path):
    (tmp_path / FILE).write_text(json.dumps({"partial": {"function": name}, "state": 0}))
    for trust in ((), ("sklearn",), (name.partition(":")[0],)):
        with pytest.raises(IntegrityError, match="A packed function must be"):
            ADAPTER.load(tmp_path, trust=trust)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"function": 1}', '{"function": "os.system"}', '{"what": "x"}'])
def test_a_file_of_another_shape_is_refused(text, tmp_path):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(IntegrityError, match=re.escape(f"{FILE} must be as ekiben wrote it.")):
        ADAPTER.load(tmp_path)


def test_a_function_that_is_gone_is_told_by_its_name(tmp_path):
    (tmp_path / FILE).write_text(json.dumps({"function": "sklearn.utils:no_such_function"}))
    with pytest.raises(IntegrityError, match=re.escape("sklearn.utils.no_such_function is not. Install the version")):
        ADAPTER.load(tmp_path, trust=["sklearn"])
