import re

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import murmurhash3_32

from ekiben import models
from ekiben.compiling import NoPlan
from ekiben.compiling.nodes.texts import murmur
from plan_trials import translated, tried

WORDS = [
    "the",
    "red",
    "bike",
    "cannot",
    "run",
    "over",
    "Straße",
    "café",
    "naïve",
    "12",
    "hills",
    "while",
    "very",
    "small",
    "dogs",
    "bark",
    "a",
    "at",
    "and",
    "Ünder",
    "über",
    "running",
    "run",
]
DRAWS = np.random.default_rng(0)
TEXTS = [" ".join(DRAWS.choice(WORDS, DRAWS.integers(1, 12))) for _ in range(120)]
X = pd.DataFrame({"text": TEXTS})
BIKE = X["text"].str.contains("bike").astype(int)
THREE = np.where(X["text"].str.contains("run"), "run", np.where(BIKE, "bike", "none"))
ODD = [
    *("", "   ", "a", "ünder ÜBER", "of no vocabulary", "run run run Run", "x" * 50, "日本語 bike", "ﬁ ﬂ ½", "the"),
    "bike\u00a0bike  \u2003red",
    "Fahrvergnügen, THE the  x\ty\n z!",
]
MORE = [{"text": text} for text in ODD]

STEPS = {
    "counts": CountVectorizer(),
    "weighed": TfidfVectorizer(),
    "phrases": TfidfVectorizer(ngram_range=(1, 3), sublinear_tf=True, norm="l1"),
    "letters": TfidfVectorizer(analyzer="char", ngram_range=(1, 3)),
    "letters within words": TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5)),
    "without stop words and accents": TfidfVectorizer(stop_words="english", strip_accents="unicode", min_df=2),
    "ascii, yes or no": CountVectorizer(strip_accents="ascii", lowercase=False, binary=True),
    "pairs alone": TfidfVectorizer(use_idf=False, norm=None, ngram_range=(2, 2)),
    "few": TfidfVectorizer(max_features=7),
    "a pattern with a group": TfidfVectorizer(token_pattern=r"(\w)\w+"),
    "a vocabulary": TfidfVectorizer(vocabulary=["bike", "run"]),
    "hashed": HashingVectorizer(n_features=2**9),
    "hashed to few": HashingVectorizer(n_features=8, norm="l1", binary=True),
    "hashed without signs": HashingVectorizer(n_features=16, alternate_sign=False, norm=None),
    "counted, then weighed": make_pipeline(CountVectorizer(), TfidfTransformer()),
    "picked": make_pipeline(TfidfVectorizer(), SelectKBest(chi2, k=5)),
    "turned": make_pipeline(TfidfVectorizer(), TruncatedSVD(3, random_state=0)),
    "scaled": make_pipeline(TfidfVectorizer(), MaxAbsScaler()),
    "scaled, then picked": make_pipeline(TfidfVectorizer(), StandardScaler(with_mean=False), SelectKBest(k=4)),
    "divided by the norm": make_pipeline(CountVectorizer(), Normalizer()),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_text_becomes_the_numbers_of_its_library(name, tmp_path):
    heads = (
        (LogisticRegression(), BIKE),
        (LogisticRegression(), THREE),
        (DecisionTreeClassifier(random_state=0), BIKE),
    )
    for i, (head, y) in enumerate(heads):
        model = make_pipeline(STEPS[name], head).fit(X["text"], y)
        assert "native" not in tried(model, X, tmp_path / str(i), more=MORE)


def parted(head):
    return make_pipeline(TfidfVectorizer(), head)


INNER = {
    "a union": make_pipeline(make_union(TfidfVectorizer(), CountVectorizer(analyzer="char")), LogisticRegression()),
    "a union behind a step": make_pipeline(
        make_union(make_pipeline(CountVectorizer(), TfidfTransformer()), HashingVectorizer(n_features=8)), LinearSVC()
    ),
    "calibrated": CalibratedClassifierCV(parted(LinearSVC()), cv=2),
    "one against the rest": OneVsRestClassifier(parted(LogisticRegression())),
    "a vote": VotingClassifier([("none", "drop"), ("a", parted(LogisticRegression())), ("b", parted(MultinomialNB()))]),
    "a vote beside none": VotingClassifier([("none", DummyClassifier()), ("a", parted(LogisticRegression()))]),
    "a stack": StackingClassifier([("a", parted(LogisticRegression())), ("b", parted(MultinomialNB()))], cv=2),
    "another threshold": TunedThresholdClassifierCV(parted(LogisticRegression()), cv=2),
    "searched": GridSearchCV(parted(LogisticRegression()), {"logisticregression__C": [1.0, 9.0]}, cv=2),
    "another target": TransformedTargetRegressor(parted(Ridge()), func=np.log1p, inverse_func=np.expm1),
}


@pytest.mark.parametrize("name", INNER)
def test_texts_reach_a_vectoriser_wherever_it_stands(name, tmp_path):
    model = INNER[name].fit(X["text"], BIKE)
    assert "native" not in tried(model, X, tmp_path, more=MORE)
    (answers,) = models.find(model).answers(model, X)
    found = answers.values if answers.labels is None else answers.labels
    np.testing.assert_array_equal(found, model.predict(X["text"]))


def test_a_text_may_stand_beside_other_columns(tmp_path):
    both = X.assign(n=DRAWS.normal(size=len(X)), c=DRAWS.choice(["a", "b"], len(X)))
    columns = make_column_transformer(
        (TfidfVectorizer(), "text"), (MinMaxScaler(), ["n"]), (OneHotEncoder(handle_unknown="ignore"), ["c"])
    )
    for i, head in enumerate((LogisticRegression(), DecisionTreeClassifier(random_state=0))):
        model = make_pipeline(columns, head).fit(both, BIKE)
        assert "native" not in tried(model, both, tmp_path / str(i), more=MORE)


def test_very_many_places_are_no_hindrance_to_a_sum_and_one_to_trees(tmp_path):
    model = make_pipeline(HashingVectorizer(n_features=2**16), LogisticRegression()).fit(X["text"], BIKE)
    assert "native" not in tried(model, X, tmp_path, more=MORE)
    model = make_pipeline(HashingVectorizer(n_features=2**16), DecisionTreeClassifier()).fit(X["text"], BIKE)
    with pytest.raises(NoPlan, match=re.escape("takes 65,536 numbers of texts")):
        translated(model, X)


def test_a_text_that_is_parted_by_a_function_is_left_to_the_step_itself(tmp_path):
    model = make_pipeline(TfidfVectorizer(tokenizer=str.split, token_pattern=None), LogisticRegression())
    assert tried(model.fit(X["text"], BIKE), X, tmp_path, more=MORE)["native"] == ["TfidfVectorizer"]


def test_words_are_hashed_as_the_library_hashes_them():
    for word in [*WORDS, *ODD, "abcd", "abcde", "abcdef"]:
        assert murmur(word.encode()) == murmurhash3_32(word.encode(), seed=0)
