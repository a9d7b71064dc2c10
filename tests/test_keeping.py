import datetime as dt
import re
from collections import Counter, deque
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.pipeline import make_pipeline

import ekiben as ek
from ekiben.errors import IntegrityError
from ekiben.models.keeping import frozen, thawed

HELD = {
    "numbers by texts": pd.Series([1.5, np.nan], index=["a", "b"], name="means"),
    "texts by numbers": pd.Series(["x", None], index=[3, 7]),
    "a frame": pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [True, False]}, index=pd.Index(["r", "s"], name="row")),
    "dates": pd.Series([1.0, 2.0], index=pd.to_datetime(["2026-01-01", "2026-02-01"])),
    "columns of numbers": pd.DataFrame(np.eye(2)),
}


@pytest.mark.parametrize("name", HELD)
def test_what_pandas_holds_comes_back_through_skops(name):
    data = skops.io.dumps(frozen({"held": HELD[name].copy()}))
    back = thawed(skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data)))["held"]
    same = pd.testing.assert_frame_equal if isinstance(back, pd.DataFrame) else pd.testing.assert_series_equal
    same(back, HELD[name], check_freq=False)


DAYS = pd.date_range("2026-01-01", periods=3)
PANDAS = {
    "a mean by two columns": pd.Series(
        [1.0, 2.0], index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["k", "n"])
    ),
    "a mean by categories": pd.Series([1.0, 2.0], index=pd.CategoricalIndex(["x", "y"], ordered=True, name="c")),
    "a mean by bins": pd.Series([1.0, 2.0], index=pd.cut(pd.Series([1.0, 9.0]), 2)),
    "dates of a zone": pd.Series(DAYS.tz_localize("Europe/Paris"), index=DAYS.tz_localize("UTC")),
    "spans": pd.Series(DAYS - DAYS[0]),
    "nullable integers": pd.Series([2**60 + 1, None], dtype="Int64"),
    "nullable booleans": pd.Series([True, None], dtype="boolean", name=("of", 2)),
    "dates of Python": pd.Series([dt.date(2026, 1, 1), pd.NaT]),
}


@pytest.mark.parametrize("name", PANDAS)
def test_what_a_fit_leaves_of_pandas_comes_back_through_skops(name):
    back = through_skops(PANDAS[name])
    pd.testing.assert_series_equal(back, PANDAS[name], check_freq=False)
    assert type(back.index) is type(PANDAS[name].index) or isinstance(PANDAS[name].index, pd.RangeIndex)


VALUES = [
    pd.Timestamp("2026-01-01 10:00"),
    pd.Timestamp("2026-03-29 03:30", tz="Europe/Paris"),
    pd.Timestamp("2026-01-01").as_unit("s"),
    pd.NaT,
    pd.Timedelta("1D 3ns"),
    pd.Interval(0.5, 2.0, closed="both"),
    pd.CategoricalDtype(pd.Series(["b", "a"]), ordered=True),
    dt.date(2026, 1, 1),
    dt.datetime(2026, 1, 1, 10, tzinfo=dt.UTC),
    dt.time(10, 30),
    dt.timedelta(days=1, microseconds=3),
    Counter("aab"),
    deque([1, 2], maxlen=3),
    frozenset({"a", "b"}),
    range(1, 9, 2),
    1 + 2j,
    Decimal("1.10"),
    re.compile(r"\s+", re.IGNORECASE),
    {("a", 1): 0.5, None: [pd.Timestamp("2026-01-01")], dt.date(2026, 1, 1): {1: "one"}},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_through_skops_as_it_was(value):
    back = through_skops(value)
    assert (type(back), repr(back)) == (type(value), repr(value))


def through_skops(value):
    data = skops.io.dumps(frozen({"held": value}))
    assert skops.io.get_untrusted_types(data=data) == []  # plain: nothing that anybody must trust
    return thawed(skops.io.loads(data))["held"]


def test_what_is_not_plain_stays_as_it_is():
    months = pd.Series([1.0], index=pd.period_range("2026-01", periods=1))
    assert frozen(months) is months
    assert frozen("text") == "text"
    summer = dt.datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Paris"))
    assert frozen(summer) is summer  # its text has an offset and no zone


@pytest.mark.parametrize(
    "forged",
    [
        {"__ekiben__": "os.system", "of": ["true"]},
        {"__ekiben__": "datetime.date", "of": ["never"]},
        {"__ekiben__": "re.Pattern", "of": ["(", 0]},
        {"__ekiben__": "series"},
        {"__ekiben__": ["x"], "of": []},
    ],
    ids=str,
)
def test_a_mark_that_was_not_written_here_is_refused(forged):
    with pytest.raises(IntegrityError, match="cannot be made again"):
        thawed({"held": forged})


class SinceTheFirst(RegressorMixin, BaseEstimator):
    """A regressor of a notebook, which remembers the first day, and what each pair of values meant."""

    def fit(self, X, y):
        self.first_ = X["day"].min()
        self.means_ = pd.Series(y).groupby([X["town"], X["day"].dt.year]).mean()
        self.by_pair_ = self.means_.to_dict()
        return self

    def predict(self, X):
        known = [self.by_pair_.get((town, day.year), 0.0) for town, day in zip(X["town"], X["day"], strict=True)]
        return (X["day"] - self.first_).dt.days.to_numpy() + known + self.means_.loc["a"].iloc[0]


def test_a_class_of_ones_own_may_remember_a_day_and_pairs():
    X = pd.DataFrame({"town": ["a", "b", "a", "c"], "day": pd.date_range("2025-12-30", periods=4)})
    model = SinceTheFirst().fit(X, [1.0, 2.0, 3.0, 5.0])
    package = ek.pack(model, name="days", reference=X)
    assert ek.load(package.folder).predict(X)["value"].tolist() == model.predict(X).tolist()


class Cleaner(RegressorMixin, BaseEstimator):
    """A regressor of a notebook, which remembers what no package holds."""

    def fit(self, X, y):
        self.rules_ = {"zones": [ZoneInfo("Europe/Paris")]}
        return self

    def predict(self, X):
        return X["a"].to_numpy()


def test_a_refusal_names_the_attribute_that_holds_what_cannot_be_packed():
    X = pd.DataFrame({"a": [1.0, 2.0, 3.0]})
    model = make_pipeline(Cleaner()).fit(X, [1.0, 2.0, 3.0])
    with pytest.raises(ek.EkibenError, match=re.escape("zoneinfo.ZoneInfo in Cleaner.rules_['zones'][0]. Hold plain")):
        ek.pack(model, name="cleaner", reference=X)
    model[0].rules_ = {"months": pd.Series([1.0], index=pd.period_range("2026-01", periods=1))}
    with pytest.raises(ek.EkibenError, match=re.escape("skops could not write Cleaner.rules_['months']: ")):
        ek.pack(model, name="cleaner", reference=X)


class Medians(RegressorMixin, BaseEstimator):
    """A regressor of a notebook, which remembers a Series."""

    def fit(self, X, y):
        self.medians_ = pd.Series(y).groupby(X["town"]).median()
        return self

    def predict(self, X):
        return X["town"].map(self.medians_).fillna(self.medians_.median()).to_numpy()


def test_a_class_of_ones_own_may_remember_a_series():
    X = pd.DataFrame({"town": ["a", "b", "a", "c"]})
    model = Medians().fit(X, [1.0, 2.0, 3.0, 5.0])
    package = ek.pack(model, name="towns", reference=X)
    assert package.manifest["carries"] == ["code", "types"]
    assert package.predict(X)["value"].tolist() == model.predict(X).tolist()
