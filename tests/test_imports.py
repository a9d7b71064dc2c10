"""The modules that a model needs are those of every class and function that can be reached from it."""

import functools
import types
from collections import OrderedDict, deque

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from xgboost import XGBClassifier

from ekiben import imports
from ekiben.imports import modules_of

X = np.random.default_rng(0).normal(size=(60, 3))
y = (X[:, 0] > 0).astype(int)


def made_in(module, name="Thing", bases=(), **members):
    """Make a class as if that module had defined it."""
    return type(name, bases, {"__module__": module, **members})


class Holder:
    def __init__(self, held):
        self.held = held


class Slotted:
    __slots__ = ("held", "never_set")

    def __init__(self, held):
        self.held = held


def closing_over(thing):
    return lambda: thing


def objects(*things):
    made = np.empty(len(things), dtype=object)
    made[:] = things
    return made


THING = made_in("elsewhere.deep.inside")()


@pytest.mark.parametrize(
    "model",
    [
        THING,
        type(THING),
        [THING],
        (1, (2, THING)),
        {"a": {"b": THING}},
        {THING: 1},
        {THING},
        deque([THING]),
        OrderedDict(a=THING),
        Holder(THING),
        Slotted(THING),
        objects(1, THING),
        functools.partial(print, THING),
        functools.partial(print, end=THING),
        closing_over(THING),
        lambda x=THING: x,
        made_in("elsewhere", held=lambda self: 0)().held,
        made_in("test_imports", bases=(type(THING),))(),
        [1.0] * 5000 + [THING],
        [Holder(0)] * 5 + [Holder(THING)] * 900,
    ],
)
def test_whatever_is_inside_is_found(model):
    assert "elsewhere" in modules_of(model)


def test_a_circle_comes_to_an_end():
    first = Holder(None)
    first.held = [first, {"again": first}, THING]
    assert "elsewhere" in modules_of(first)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (HistGradientBoostingClassifier(max_iter=3).fit(X, y), ("numpy", "sklearn")),
        (XGBClassifier(n_estimators=2).fit(X, y), ("sklearn", "xgboost")),
        (make_pipeline(FunctionTransformer(pd.DataFrame), LogisticRegression()).fit(X, y), ("numpy", "pandas", "sklearn")),
        (GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=2).fit(X, y), ("numpy", "sklearn")),
        (np.log1p, ("numpy",)),
        (pd, ("pandas",)),
        ([1, "a", None, 2.0], ()),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_model_names_what_it_is_made_of(model, found):
    assert modules_of(model) == found


def test_a_namespace_keeps_the_package_inside_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "shared", types.ModuleType("shared"))
    inner = types.ModuleType("shared.inner")
    inner.__file__ = "inner/__init__.py"
    monkeypatch.setitem(__import__("sys").modules, "shared.inner", inner)
    assert modules_of(made_in("shared.inner.deep")()) == ("shared.inner", )  # fmt: skip


def test_a_large_forest_is_looked_at_once_a_tree_and_a_long_list_by_its_types(monkeypatch):
    looked = []
    real = imports._named_by
    monkeypatch.setattr(imports, "_named_by", lambda each: looked.append(each) or real(each))
    modules_of(RandomForestClassifier(300, max_depth=2).fit(X, y))
    assert 300 < len(looked) < 5_000
    looked.clear()
    modules_of([[value] for value in range(100_000)])
    assert len(looked) < 5
