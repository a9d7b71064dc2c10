import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import BaseEstimator, RegressorMixin

import ekiben as ek
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


def test_what_is_not_plain_stays_as_it_is():
    several = pd.Series([1.0], index=pd.MultiIndex.from_tuples([("a", 1)]))
    assert frozen(several) is several
    assert frozen("text") == "text"


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
