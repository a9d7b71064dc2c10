"""A model's file builds known classes and nothing else, and an adapter asks each model as its library does."""

import io
import json
import re
import zipfile

import numpy as np
import pandas as pd
import pytest
import skops
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier
from skops.io._protocol import PROTOCOL
from xgboost import XGBClassifier, XGBRegressor

from ekiben import models
from ekiben.errors import IntegrityError, UnsupportedModelError
from ekiben.models import Answers, measuring
from ekiben.models.outcomes import BY_CHANCE, BY_CHANCE_BUT_TIES
from ekiben.models.sklearn import ADAPTER as SKLEARN
from ekiben.models.skops_file import FILE
from ekiben.models.xgboost import ADAPTER as XGBOOST
from ekiben.schema import Output

X = pd.DataFrame({"a": np.arange(40.0), "b": np.arange(40) % 7})
Y = (X["a"] + X["b"] > 22).astype(int)


# ── files that were made to do harm


def node(name, loader, **rest):
    module, _, kind = name.rpartition(".")
    return {"__class__": kind, "__module__": module, "__loader__": loader, **rest}


def plain(value):
    return node("builtins.str", "JsonNode", content=json.dumps(value), is_json=True)


def several(*nodes):
    return node("builtins.tuple", "TupleNode", content=list(nodes))


def table(**nodes):
    keys = node("builtins.list", "ListNode", content=[node("builtins.str", "TypeNode") for _ in nodes])
    return node("builtins.dict", "DictNode", content=nodes, key_types=keys)


def call(name, *arguments):
    return node(name, "ConstructorFromReduceNode", content=several(*map(plain, arguments)))


def thing(name, **attributes):
    return node(name, "ObjectNode", content=table(**attributes))


def transformer(function):
    settings = {"validate": False, "accept_sparse": False, "check_inverse": True, "kw_args": None, "inv_kw_args": None}
    nodes = {name: plain(value) for name, value in settings.items()}
    return thing("sklearn.preprocessing._function_transformer.FunctionTransformer", func=function, **nodes)


def partial(function, *arguments):
    content = {"func": function, "args": several(*map(plain, arguments)), "kwds": table(), "namespace": plain(None)}
    return node("functools.partial", "PartialNode", content=content)


HARM = {
    "a-shell": lambda path: call("os.system", f"touch {path}"),
    "a-process": lambda path: call("subprocess.Popen", ["touch", str(path)]),
    "a-process-by-another-s-import": lambda path: call("numpy.distutils.fcompiler.gnu.Popen", ["touch", str(path)]),
    "eval": lambda path: call("builtins.eval", f"open({str(path)!r}, 'w')"),
    "open": lambda path: call("builtins.open", str(path), "w"),
    "a-function-that-runs-a-shell": lambda path: transformer(node("os.system", "FunctionNode")),
    "a-function-that-evaluates": lambda path: transformer(node("builtins.eval", "FunctionNode")),
    "a-function-that-reads-files": lambda path: transformer(node("numpy.load", "FunctionNode")),
    "a-function-in-a-partial": lambda path: transformer(partial(node("os.system", "FunctionNode"), f"touch {path}")),
    "a-type-that-writes-a-file": lambda path: transformer(partial(node("numpy.memmap", "TypeNode"), str(path))),
    "a-method": lambda path: node(
        "pathlib.Path", "MethodNode", content={"func": "touch", "obj": call("pathlib.Path", str(path))}
    ),
    "a-file-by-numpy": lambda path: call("numpy.memmap", str(path), "uint8", "w+", 0, 8),
    "a-file-by-scipy": lambda path: call("scipy.io.netcdf_file", str(path), "w"),
    "text-that-scipy-runs": lambda path: thing(
        "scipy.stats._continuous_distns.norm_gen",
        _parse_arg_template=plain(f"open({str(path)!r}, 'w')"),
        _ctor_param=plain([]),
    ),
    "a-class-of-the-notebook": lambda path: thing("__main__.Mine"),
    "inside-a-pipeline": lambda path: thing(
        "sklearn.pipeline.Pipeline",
        steps=node("builtins.list", "ListNode", content=[several(plain("x"), call("os.system", f"touch {path}"))]),
    ),
}


@pytest.mark.parametrize("kind", HARM)
def test_a_file_that_names_what_is_not_trusted_is_refused_and_nothing_is_run(kind, tmp_path):
    harm, folder = tmp_path / "harm", tmp_path / "model"
    folder.mkdir()
    document = {**HARM[kind](harm), "protocol": PROTOCOL, "_skops_version": skops.__version__}
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        archive.writestr("schema.json", json.dumps(document))
    with pytest.raises(
        IntegrityError, match=re.escape("A packed model may use classes of scikit-learn, XGBoost and LightGBM")
    ):
        SKLEARN.load(folder)
    assert not harm.exists()


@pytest.mark.parametrize(
    "name",
    [
        "numpy.DataSource",
        "numpy.f2py.__main__",
        "scipy.stats._distn_infrastructure.rv_continuous_frozen",
        "sklearn.utils._testing.tempfile",
        "sklearn.datasets._base.urlretrieve",
        "sklearn.metrics.pairwise.partial",
        "sklearn.metrics._scorer.partial",
        "sklearn.no_such_module.Thing",
        "sklearn.pipeline.NoSuchClass",
        "sklearn.utils.validation.warnings",
        "sklearnish.Thing",
        "xgboost.tracker.RabitTracker",
        "xgboost.core.DMatrix",
        "Thing",
        "",
    ],
)
def test_a_name_is_trusted_only_where_a_library_defines_it_itself(name):
    from ekiben.models.skops_file import known

    assert not known(name)


@pytest.mark.parametrize(
    "name",
    [
        "sklearn.tree._tree.Tree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.metrics._classification.f1_score",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.core.Booster",
    ],
)
def test_what_scikit_learn_s_own_models_hold_is_trusted(name):
    from ekiben.models.skops_file import known

    assert known(name)


def test_an_xgboost_file_of_another_class_is_refused(tmp_path):
    XGBOOST.save(trees(), tmp_path)
    (tmp_path / "model.json").write_text('{"class": "DMatrix"}')
    words = (
        "The class in model.json must be one of XGBClassifier, XGBRegressor, XGBRFClassifier, XGBRFRegressor, "
        "XGBRanker, Booster. Got 'DMatrix'."
    )
    with pytest.raises(IntegrityError, match=re.escape(words)):
        XGBOOST.load(tmp_path)


# ── one model, the same bytes


def saved(adapter, model, folder):
    folder.mkdir()
    adapter.save(model, folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def trees(**settings):
    return XGBClassifier(n_estimators=4, max_depth=2, n_jobs=1, **settings).fit(X, Y)


@pytest.mark.parametrize(
    ("adapter", "make"),
    [
        (SKLEARN, lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)),
        (SKLEARN, lambda: RandomForestClassifier(4, random_state=0).fit(X, Y)),
        (XGBOOST, trees),
    ],
    ids=["linear", "forest", "xgboost"],
)
def test_the_same_model_has_the_same_bytes_though_it_was_fitted_anew_or_read_back(adapter, make, tmp_path):
    first = saved(adapter, make(), tmp_path / "first")
    assert saved(adapter, make(), tmp_path / "second") == first
    assert saved(adapter, adapter.load(tmp_path / "first"), tmp_path / "third") == first


def test_bytes_between_the_fields_of_an_array_are_not_kept():
    from ekiben.models.skops_file import without_gaps

    dtype = np.dtype({"names": ["a", "b"], "formats": ["u1", "f8"], "offsets": [0, 8], "itemsize": 16})
    first, second = np.zeros(2, dtype), np.frombuffer(bytearray(b"\xff" * 32), dtype)
    for array in (first, second):
        array["a"], array["b"] = 7, 1.5
    second.view(np.uint8)[1:8] = 255  # what lay there before, as memory has it
    written = []
    for array in (first, second):
        made = io.BytesIO()
        np.save(made, array)
        written.append(without_gaps(made.getvalue()))
    assert first.tobytes() != second.tobytes()
    assert written[0] == written[1]
    assert np.load(io.BytesIO(written[0]))["b"].tolist() == [1.5, 1.5]


def test_a_search_is_kept_as_the_best_that_it_found(tmp_path):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1]}, cv=2
    )
    search.fit(X, Y)
    SKLEARN.save(search, tmp_path)
    found = SKLEARN.load(tmp_path)
    assert type(found).__name__ == "Pipeline"
    assert np.array_equal(found.predict_proba(X), search.predict_proba(X))
    assert type(search).__name__ == "GridSearchCV"


# ── asking


def test_an_adapter_is_found_through_the_bases_of_a_class():
    class Own(LogisticRegression):
        pass

    assert models.find(Own()) is SKLEARN
    assert models.find(XGBClassifier()) is XGBOOST


def test_an_unknown_library_is_refused_by_its_name():
    with pytest.raises(
        UnsupportedModelError, match=re.escape("No adapter for 'torch'. Known libraries: lightgbm, sklearn, xgboost.")
    ):
        models.named("torch")


def test_preprocessing_runs_once_for_labels_and_scores():
    rows = []

    def counted(frame):
        rows.append(len(frame))
        return frame

    model = make_pipeline(FunctionTransformer(counted), LogisticRegression()).fit(X, Y)
    rows.clear()
    SKLEARN.answers(model, X.head(3))
    assert rows == [3]


CLASSIFIERS = [
    BaggingClassifier(DecisionTreeClassifier(max_depth=2), 4, random_state=0),
    CalibratedClassifierCV(DecisionTreeClassifier(max_depth=2), cv=2),
    DecisionTreeClassifier(max_depth=2),
    ExtraTreeClassifier(max_depth=2, random_state=0),
    ExtraTreesClassifier(4, max_depth=2, random_state=0),
    GradientBoostingClassifier(n_estimators=3),
    HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5),
    LogisticRegression(),
    LogisticRegressionCV(cv=2, use_legacy_attributes=False, scoring="accuracy", l1_ratios=(0,)),
    RandomForestClassifier(4, max_depth=2, random_state=0),
    VotingClassifier([("tree", DecisionTreeClassifier(max_depth=1)), ("line", LogisticRegression())], voting="soft"),
]


def test_every_classifier_that_is_asked_once_is_tried_here():
    assert {type(each).__name__ for each in CLASSIFIERS} == {*BY_CHANCE, *BY_CHANCE_BUT_TIES}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda each: type(each).__name__)
def test_labels_are_the_model_s_own_whether_it_is_asked_once_or_twice(classifier, n_classes):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, (400, 2)).astype(float)  # so few values that votes are even
    y = np.array(["no", "perhaps", "yes"])[(x.sum(axis=1) + rng.integers(0, 4, 400)).astype(int) % n_classes]
    model = clone(classifier).fit(x, y)
    frame = pd.DataFrame(np.vstack([x, rng.normal(2, 5, (4000, 2))]))
    (answered,) = SKLEARN.answers(model, frame)
    assert answered.labels.tolist() == model.predict(frame.to_numpy()).tolist()
    assert answered.scores.tolist() == model.predict_proba(frame.to_numpy()).tolist()


@pytest.mark.parametrize("boundary", [0.0, 1e-18, -1e-18])
def test_a_model_says_itself_how_it_breaks_a_tie(boundary):
    model = LogisticRegression().fit(X, Y)
    model.coef_, model.intercept_ = np.zeros((1, 2)), np.array([boundary])
    (answered,) = SKLEARN.answers(model, X)
    assert answered.scores.tolist() == [[0.5, 0.5]] * len(X)
    assert answered.labels.tolist() == [int(boundary > 0)] * len(X)


class Around(ClassifierMixin, BaseEstimator):
    """What somebody wrote around others: it takes the frame, whatever they take."""

    def __init__(self, estimator=None, estimators=()):
        self.estimator = estimator
        self.estimators = estimators

    def fit(self, frame, y):
        self.classes_, self.fitted_ = np.unique(y), self.estimator.fit(frame["a"], y)
        return self

    def predict(self, frame):
        return self.fitted_.predict(frame["a"])


def test_a_model_of_one_s_own_around_others_is_given_the_frame():
    texts, labels = pd.DataFrame({"a": ["red bike", "red", "blue car", "car"]}), ["bike", "bike", "car", "car"]
    parted = make_pipeline(CountVectorizer(), LogisticRegression())
    model = Around(parted, estimators=[LogisticRegression()]).fit(texts, labels)
    (answers,) = SKLEARN.answers(model, texts)
    assert answers.labels.tolist() == labels


def test_steps_take_a_nested_pipeline_apart_before_its_last_estimator():
    encode = ColumnTransformer([("t", OneHotEncoder(), ["b"])], remainder="passthrough", sparse_threshold=1.0)
    model = make_pipeline(encode, make_pipeline(StandardScaler(with_mean=False), LinearRegression())).fit(X, Y)
    before, last = SKLEARN.steps(model)
    matrix = before(X)
    assert isinstance(matrix, np.ndarray)
    assert np.allclose(last.predict(matrix), model.predict(X))


def test_what_reaches_the_last_step_must_be_numbers():
    model = make_pipeline(FunctionTransformer(), LinearRegression()).fit(X, Y)
    with pytest.raises(UnsupportedModelError, match=re.escape("What reaches the last estimator must be numbers.")):
        SKLEARN.steps(model)[0](X.assign(a="text"))


def test_xgboost_s_answers_are_64_bit_numbers_that_follow_from_its_own():
    (answers,) = XGBOOST.answers(trees(), X)
    assert answers.scores.dtype == np.float64
    assert np.array_equal(answers.scores, trees().predict_proba(X))
    assert np.array_equal(answers.labels, trees().predict(X))


def test_xgboost_stops_where_early_stopping_found_the_best_round():
    model = XGBRegressor(n_estimators=30, max_depth=2, n_jobs=1, early_stopping_rounds=2, learning_rate=1.0)
    model.fit(X[::2], Y[::2], eval_set=[(X[1::2], Y[1::2])], verbose=False)
    assert model.best_iteration < model.get_booster().num_boosted_rounds() - 1
    matrix = XGBOOST.steps(model)[0](X)
    assert np.allclose(XGBOOST.margin(model, matrix)[:, 0], model.predict(X), atol=1e-6)
    assert np.allclose(XGBOOST.contributions(model, matrix).sum(axis=-1)[:, 0], model.predict(X), atol=1e-5)


def test_requirements_name_xgboost_when_a_step_is_its_own():
    assert SKLEARN.requirements(make_pipeline(StandardScaler(), trees())) == ("scikit-learn", "skops", "xgboost")
    assert SKLEARN.requirements(make_pipeline(StandardScaler(), LogisticRegression())) == ("scikit-learn", "skops")
    assert XGBOOST.requirements(trees()) == ("xgboost", "scikit-learn")


# ── measuring

AB = Output(parts=("label", "scores"), classes=("a", "b"))


def test_an_interval_holds_the_value_and_the_same_seed_draws_the_same():
    scores = np.column_stack([np.linspace(0, 1, 40), 1 - np.linspace(0, 1, 40)])
    answers = Answers(labels=np.asarray(["a", "b"])[scores.argmax(axis=1)], scores=scores)
    truth = np.where(np.arange(40) % 3, answers.labels, "a")
    first, second = (measuring.measure(truth, [answers], [AB], seed=3) for _ in range(2))
    assert first == second
    assert first != measuring.measure(truth, [answers], [AB], seed=4)
    assert all(found["low"] <= found["value"] <= found["high"] for found in first.values())


def test_a_label_is_not_looked_for_among_all_others():
    looked = []

    class Told(str):
        __slots__ = ()

        def __eq__(self, other):
            looked.append(self)
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    labels = [f"label {i}" for i in range(200)]
    truth = np.array([Told(label) for label in labels], dtype=object)
    answers = Answers(labels=np.array(labels, dtype=object))
    found = measuring.measure(truth, [answers], [Output(parts=("label",), classes=tuple(labels))])
    assert found["balanced_accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert len(looked) <= 3 * len(labels)


def test_ties_count_half_in_the_auc():
    answers = Answers(labels=np.zeros(4), scores=np.full((4, 2), 0.5))
    of = Output(parts=("label", "scores"), classes=(0, 1))
    assert measuring.measure([0, 1, 0, 1], [answers], [of])["roc_auc"]["value"] == 0.5
