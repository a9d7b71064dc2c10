"""What a notebook beside this file builds on."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


def per_year(rows):
    """Give the area for each year since the house was built."""
    return (rows["Gr_Liv_Area"] / (2011 - rows["Year_Built"])).to_numpy().reshape(-1, 1)


class Rooms(TransformerMixin, BaseEstimator):
    """Guess the number of rooms from the area."""

    def __init__(self, size=200):
        self.size = size

    def fit(self, X, y=None):
        """Learn nothing."""
        return self

    def transform(self, X):
        """Give one column."""
        return np.ceil(X[["Gr_Liv_Area"]].to_numpy() / self.size)
