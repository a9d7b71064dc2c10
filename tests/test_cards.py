"""A card shows what a package is, wherever it is shown, and nothing in it is taken for markup."""

import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

import ekiben as ek
from ekiben import cards

NASTY = "<script>alert('x')</script>|&\"`"


@pytest.fixture(scope="module")
def measured(people, prepared):
    rows, labels = people
    model = make_pipeline(prepared(), LogisticRegression()).fit(rows[:120], labels[:120])
    held = rows[120:], labels[120:]
    return ek.pack(model, name="risk", reference=rows[:120], target=labels[:120], holdout=held, owner="risk-team")


@pytest.fixture(scope="module")
def nasty(people):
    """A package whose names, labels and owner look like markup."""
    rows = pd.DataFrame({NASTY: people[0]["job"] + NASTY})
    model = make_pipeline(ColumnTransformer([("t", OneHotEncoder(), [NASTY])]), LogisticRegression())
    return ek.pack(model.fit(rows, people[1] + NASTY), name="risk", reference=rows, owner=NASTY)


class Reader(HTMLParser):
    """Read a document, and find the tags that are opened and never closed, or the other way round."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def test_a_card_shows_the_contract_the_metrics_and_the_findings(measured):
    reader = read(measured._repr_html_())
    told = " ".join(reader.text)
    accuracy = measured.metrics["accuracy"]
    for words in (
        "risk",
        "Pipeline → LogisticRegression, a classifier of 'bad', 'good'",
        f"{accuracy['value']:.3f} ({accuracy['low']:.3f}–{accuracy['high']:.3f})",
        "ROC AUC",
        "risk-team",
        "explained by",
        *measured.schema.names,
        measured.schema["income"].describe(),
    ):
        assert words in told, words
    assert reader.tags.count("svg") == len(measured.schema.columns)


def test_a_card_in_a_shell_says_the_same(measured):
    told = str(measured)
    for words in (
        "a classifier of 'bad', 'good'",
        "accuracy",
        "held-out rows      120",
        "owner              risk-team",
    ):
        assert words in told, words
    assert re.search(r"^  age     integer, seen \d+ to \d+, may be missing$", told, re.MULTILINE)


def test_a_card_in_markdown_is_two_tables(measured):
    told = cards.markdown(measured.manifest, measured.signature, title="champion")
    assert told.startswith("## champion\n")
    rows = [line for line in told.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}
    assert any(row.startswith("| `income` | number") for row in rows)


def test_nobody_owns_a_package_yet_when_no_owner_was_given(challenger):
    assert "nobody yet" in str(challenger)


def test_findings_stand_out(nasty):
    assert "  ! No held-out rows were given" in str(nasty)
    assert "<li>No held-out rows were given" in nasty._repr_html_()


def test_nothing_of_the_user_s_is_taken_for_markup(nasty):
    reader = read(nasty._repr_html_())
    assert "script" not in reader.tags
    assert NASTY in "".join(reader.text)


def test_a_column_s_name_does_not_break_a_table_in_markdown(nasty):
    told = cards.markdown(nasty.manifest, nasty.signature, title="champion")
    rows = [line for line in told.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}


def test_a_regressor_s_card_has_no_labels():
    rows = pd.DataFrame({"rooms": [2.0, 3.0, 4.0]})
    package = ek.pack(
        LinearRegression().fit(rows, [1.0, 2.0, 3.0]), name="flat", reference=rows, holdout=(rows, [1, 2, 3])
    )
    assert "LinearRegression, a regressor" in str(package)
    assert {"MAE", "RMSE", "R²"} <= set(str(package).split())
    assert "classes" not in str(package)


def test_a_kind_of_step_that_a_plan_asks_is_named_once():
    rows = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 7.0], "floor": [1.0, 2.0, 2.0, 4.0]})
    each = make_pipeline(FunctionTransformer(lambda rows: rows * 2), LinearRegression())
    both = VotingRegressor([("one", each), ("other", each)]).fit(rows, [1.0, 2.0, 3.0, 4.0])
    package = ek.pack(both, name="flat", reference=rows)
    assert package.manifest["plan"]["native"] == ["FunctionTransformer"] * 2
    assert re.search(r"yes but for FunctionTransformer, (equal|at most)", " ".join(str(package).split()))
