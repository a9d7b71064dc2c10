"""An explanation is a value: it adds up, travels as JSON, and shows itself."""

import json
import re
from dataclasses import FrozenInstanceError, replace

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import ekiben as ek
from ekiben import fitting
from ekiben.errors import SpecError
from ekiben.explanations import (
    Alternative,
    Attribution,
    Change,
    Counterfactual,
    Examples,
    Explanations,
    Neighbour,
    Rule,
    from_json,
    to_json,
)
from ekiben.explanations.reasons import Speaker, languages


@pytest.fixture
def attribution():
    return Attribution.of(
        method="linear-interventional",
        output="log-odds of 'bad'",
        units="log-odds",
        base_value=-1.0,
        value=0.1,
        contributions={"income": -0.4, "age": 1.5, "<job>": 1e-17},
        elapsed_ms=0.25,
    )


@pytest.fixture
def sampled():
    return Attribution.of(
        method="permutation-sampling",
        output="target",
        units="target",
        base_value=1.0,
        value=3.0,
        contributions={"a": 0.1 + 0.2, "b": 1.7},
        standard_errors={"a": 0.01, "b": 0.02},
        elapsed_ms=9.0,
    )


@pytest.fixture
def rule():
    return Rule(
        method="anchor",
        label="good",
        conditions=("Job == 'fixed'", "Income <= 105.00"),
        threshold=0.95,
        reached=True,
        precision=0.971,
        precision_interval=(0.959, 0.980),
        coverage=0.203,
        coverage_interval=(0.179, 0.229),
        n_samples=1000,
        faithfulness_error=1 - 0.971,
        elapsed_ms=90.0,
    )


@pytest.fixture
def counterfactual():
    changes = (
        Change(column="<job>", before="parttime", after="fixed"),
        Change(column="since", before=None, after="2024-01-01T00:00:00"),
    )
    way = Alternative(
        changes=changes, answer="good", score=0.52, n_changed=2, distance=2.0, nearest_distance=0.1, verified=True
    )
    return Counterfactual(
        method="counterfactual",
        output="the label",
        before="bad",
        score=0.61,
        wanted="another label",
        outcome="found",
        alternatives=(way, replace(way, changes=changes[:1], n_changed=1, distance=1.0, nearest_distance=None)),
        n_asked=400,
        faithfulness_error=0.0,
        elapsed_ms=9.0,
    )


@pytest.fixture
def examples():
    near = Neighbour(row={"<job>": "fixed", "since": None}, answer="good", score=0.7, distance=0.25)
    return Examples(
        method="examples",
        output="the label",
        answer="bad",
        score=0.6,
        tolerance=None,
        alike=(replace(near, answer="bad"), near),
        unlike=(near,),
        left_out=(),
        faithfulness_error=0.0,
        elapsed_ms=1.0,
    )


def days_of(frame):
    """Count the days of dates since the first of 2024."""
    return (frame - pd.Timestamp("2024-01-01")) / pd.Timedelta(days=1)


def test_whole_days_are_told_without_a_time_and_midnight_among_hours_with_one():
    rows = pd.DataFrame(
        {"since": pd.date_range("2024-01-01", periods=300), "at": pd.date_range("2024-01-01", periods=300, freq="7h")}
    )
    model = make_pipeline(FunctionTransformer(days_of), StandardScaler(), LogisticRegression())
    package = ek.pack(model.fit(rows, rows["since"] > "2024-06-01"), name="late", reference=rows)
    assert "since  datetime, seen 2024-01-01 to 2024-10-26" in str(package)
    assert "at     datetime, seen 2024-01-01T00:00:00 to 2024-03-28T05:00:00" in str(package)
    one = package.explain(rows.head(1))[0]
    told = {reason.column: reason.text for reason in one.reasons("en")}
    assert told["since"].startswith("since (2024-01-01) ")
    assert told["at"].startswith("at (2024-01-01 00:00:00) ")
    for method in ("anchor", "counterfactual", "examples"):
        found = package.explain(rows.head(1), method=method)
        assert not re.search(r"since[^a-z]*T00:00:00", f"{found!r}{found[0].html()}")
    hours = package.explain(rows.head(1).assign(since=pd.Timestamp("2024-01-01T06:00")))[0]
    assert any("since (2024-01-01 06:00:00)" in reason.text for reason in hours.reasons("en"))


def test_what_does_not_add_up_is_measured(attribution):
    made = Attribution.of(
        method="m", output="target", units="target", base_value=1.0, value=4.0, contributions={"a": 2.0}, elapsed_ms=0.0
    )
    assert made.faithfulness_error == 1.0
    assert attribution.faithfulness_error < 1e-15


@pytest.mark.parametrize("name", ["attribution", "sampled", "rule", "counterfactual", "examples"])
def test_json_gives_back_the_same_explanation(name, request):
    explanation = request.getfixturevalue(name)
    text = json.dumps(to_json(explanation), allow_nan=False)
    assert from_json(json.loads(text)) == explanation


@pytest.mark.parametrize("label", [1, 2.5, True, "bad"])
def test_json_keeps_the_type_of_a_label(rule, label):
    document = to_json(rule) | {"label": label}
    read = from_json(json.loads(json.dumps(document)))
    assert read.label == label
    assert type(read.label) is type(label)


def test_json_keeps_the_order_of_columns(attribution):
    read = from_json(json.loads(json.dumps(to_json(attribution))))
    assert list(read.contributions) == ["income", "age", "<job>"]


def test_an_unknown_kind_is_refused_with_the_nearest_spelling():
    with pytest.raises(SpecError, match=re.escape("Got 'Rule'. Did you mean 'rule'?")):
        from_json({"kind": "Rule"})


def test_missing_and_unknown_fields_are_refused_together(rule):
    document = to_json(rule)
    document["prec"] = document.pop("precision")
    with pytest.raises(SpecError, match=re.escape("Missing or unknown: ['prec', 'precision'].")):
        from_json(document)


def test_an_explanation_does_not_change(attribution):
    with pytest.raises(FrozenInstanceError):
        attribution.value = 2.0


def test_explanations_are_a_sequence(attribution, sampled, rule):
    every = Explanations([attribution, sampled, rule])
    assert len(every) == 3
    assert every[-1] is rule
    assert every[:2] == Explanations([attribution, sampled])
    assert list(every) == [attribution, sampled, rule]
    with pytest.raises(TypeError):
        every[0] = rule


def test_a_table_has_a_row_an_explanation_and_a_column_a_raw_column(attribution):
    frame = Explanations([attribution, attribution]).to_frame()
    assert list(frame.columns) == ["income", "age", "<job>", "base_value", "value"]
    assert frame["age"].tolist() == [1.5, 1.5]


def test_a_table_holds_what_a_column_called_value_added(attribution):
    named = replace(attribution, contributions={"value": 1.5, "base_value": -0.5})
    (row,) = Explanations([named]).to_frame().to_dict("records")
    assert row == {
        "value": 1.5,
        "base_value": -0.5,
        "the base_value": attribution.base_value,
        "the value": attribution.value,
    }


def test_a_table_of_rules_says_them(rule):
    expected = {
        "label": "good",
        "rule": "Job == 'fixed' and Income <= 105.00",
        "reached": True,
        "precision": 0.971,
        "precision_low": 0.959,
        "precision_high": 0.980,
        "coverage": 0.203,
        "coverage_low": 0.179,
        "coverage_high": 0.229,
    }
    pd.testing.assert_frame_equal(Explanations([rule]).to_frame(), pd.DataFrame([expected]))


def test_the_text_is_an_aligned_table(attribution, rule):
    head, first, second = repr(Explanations([attribution, rule])).splitlines()
    assert first.index("age +1.5") == head.index("because") == second.index("If Job")
    assert "If Job == 'fixed' and Income <= 105.00, then 'good'. (precision 0.97, coverage 0.20)" in second


def test_a_rule_below_its_threshold_says_so(rule):
    missed = replace(rule, precision=0.91, reached=False)
    assert "(precision 0.91, coverage 0.20, below the 0.95 asked for)" in repr(Explanations([missed]))
    assert "below the 95.0% that was asked for" in missed.html()
    assert "that was asked for" not in rule.html()


def test_html_shows_the_intervals_of_a_rule(rule):
    assert "97.1% (95.9% to 98.0%)" in rule.html()
    assert "20.3% (17.9% to 22.9%)" in rule.html()


def test_html_escapes_names_and_shows_the_strongest_first(attribution):
    html = Explanations([attribution])._repr_html_()
    assert "<job>" not in html
    assert "&lt;job&gt;" in html
    assert html.index(">age<") < html.index(">income<")
    assert "+1.5" in html
    assert "−0.4" in html


def test_html_folds_what_is_beyond_ten_columns_into_one_bar():
    contributions = {f"column{i}": float(20 - i) for i in range(13)}
    one = Attribution.of(
        method="m",
        output="target",
        units="target",
        base_value=0.0,
        value=182.0,
        contributions=contributions,
        elapsed_ms=1.0,
    )
    html = Explanations([one])._repr_html_()
    assert "column9<" in html
    assert "column10<" not in html
    assert "3 other columns" in html
    assert "+27" in html  # 10 + 9 + 8


def test_one_column_beyond_ten_is_told_by_its_name():
    one = Attribution.of(
        method="m",
        output="target",
        units="target",
        base_value=0.0,
        value=66.0,
        contributions={f"column{i}": float(i + 1) for i in range(11)},
        elapsed_ms=1.0,
    )
    for told in (str(one), Explanations([one])._repr_html_(), one.page()):
        assert "column0" in told
        assert "other columns" not in told


def test_large_numbers_are_written_in_full(attribution, rule):
    price = replace(attribution, base_value=180029.3, value=1229964.4, contributions={"area": 1049935.1, "beds": -0.25})
    line = " ".join(repr(Explanations([price])).splitlines()[1].split())
    assert line.endswith("180,029 1,229,964 area +1,049,935, beds -0.25")
    assert "1,229,964 from a base of 180,029" in str(price)
    assert "1 049 935" in price.page("fr").replace("\u202f", " ").replace("\xa0", " ")
    assert "then 1,229,964 ± 39,112." in replace(rule, label=1229964.4, tolerance=39112.0).sentence()


def test_html_says_a_rule_as_a_sentence_with_what_was_measured(rule):
    html = Explanations([rule])._repr_html_()
    assert "Income &lt;= 105.00" in html
    assert "97.1%" in html
    assert "20.3%" in html


def test_html_shows_five_rows_and_counts_the_rest(rule):
    assert "… and 2 more" in Explanations([rule] * 7)._repr_html_()


def test_print_says_a_rule_and_what_would_change_it_in_words(rule, counterfactual, examples):
    assert str(rule).startswith("If Job == 'fixed' and Income <= 105.00, then 'good'. (precision ")
    assert str(counterfactual) == counterfactual.sentence()
    assert str(examples).startswith("the label 'bad', alike: ")


def test_a_rule_below_what_was_asked_for_says_how_often_it_holds(rule):
    missed = replace(rule, reached=False, precision=0.29)
    assert missed.sentence().endswith("then 'good' in 29% of cases only.")
    assert "of the answers are <b>good</b>" in missed.html()
    assert "29,0" in missed.html("fr")
    bare = replace(missed, conditions=())
    assert bare.sentence() == "No rule was found: of all rows 29% get 'good'."
    assert "No rule was found: 29.0%" in bare.html()
    assert "whatever" not in bare.html()


def test_a_rule_without_conditions_always_holds(rule):
    document = to_json(rule) | {"conditions": []}
    assert from_json(document).sentence() == "Always 'good', whatever the columns hold."
    assert "The answer is <b>good</b>, whatever" in Explanations([from_json(document)])._repr_html_()


def test_a_counterfactual_says_what_was_and_what_it_becomes(counterfactual):
    assert counterfactual.sentence() == (
        "'bad' (0.61), wanted another label: <job> 'parttime' → 'fixed', since missing → '2024-01-01T00:00:00' gives 'good' "
        "(0.52); or <job> 'parttime' → 'fixed' gives 'good' (0.52)."
    )
    html = Explanations([counterfactual])._repr_html_()
    assert "<job>" not in html
    assert html.index("<td>parttime</td>") < html.index('<td class="changed">fixed</td>')
    assert html.count('class="changed"') == 3
    assert Explanations([counterfactual]).to_frame()["n_alternatives"].tolist() == [2]
    assert "the label  'bad'  'good'" in repr(Explanations([counterfactual]))


@pytest.mark.parametrize("outcome", ["held already", "none exists", "none found"])
def test_a_counterfactual_without_alternatives_says_why(counterfactual, outcome):
    none = replace(counterfactual, outcome=outcome, alternatives=())
    said = none.sentence().partition(": ")[2]
    assert said in Explanations([none])._repr_html_()
    assert said in repr(Explanations([none]))
    assert none.record()["distance"] is None


def test_examples_are_a_table_of_rows_without_what_is_left_out(examples):
    html = Explanations([examples])._repr_html_()
    assert (html.count("Same answer"), html.count("Another answer")) == (2, 1)
    assert "&lt;job&gt;" in html
    less = examples.without(["<job>"])
    assert (less.left_out, less.unlike[0].row) == (("<job>",), {"since": None})
    assert "job" not in Explanations([less])._repr_html_()
    assert examples.record()["unlike_distance"] == 0.25
    assert "alike: 'bad' at 0.250, 'good' at 0.250; unlike: 'good' at 0.250" in repr(Explanations([examples]))


def test_no_explanations_show_as_none():
    assert repr(Explanations()) == "Explanations([])"
    assert Explanations().to_frame().empty


# ── reasons


def test_reasons_tell_labels_values_and_units(attribution):
    about = Explanations([replace(attribution, label="bad")]).about(
        [{"income": 32000.5, "age": 41, "<job>": None}],
        labels={"income": "Annual income", "age": "Age"},
        units={"income": "EUR", "age": "years"},
    )
    (raised,) = about[0].reasons(top=1)
    assert (raised.column, raised.side, raised.amount) == ("age", "raised", 1.5)
    assert str(raised) == "Age (41 years) raised the chance of 'bad'."
    assert [str(one) for one in about[0].reasons(side="lowered")] == [
        "Annual income (32,000.5 EUR) lowered the chance of 'bad'."
    ]
    assert [str(one) for one in about[0].reasons("fr", side="lowered")] == [
        "Annual income (32\u202f000,5 EUR)\xa0: cela a diminué la probabilité de 'bad'."
    ]


def test_a_missing_value_and_a_plain_answer_have_words(sampled):
    about = Explanations([sampled]).about([{"a": None, "b": True}], labels={}, units={})
    assert [one.text for one in about[0].reasons()] == [
        "b (yes) raised the answer.",
        "a (not given) raised the answer.",
    ]
    assert [one.text for one in sampled.reasons("fr", top=1)] == ["b\xa0: cela a augmenté la réponse."]


def test_a_number_without_a_unit_may_be_a_year_or_a_code_and_is_written_without_separators(sampled):
    row = {"year": 1999, "zip": 94110.0, "pay": 94110, "half": 1999.5, "people": 1234567}
    one = replace(sampled, contributions=dict.fromkeys(row, 1.0), base_value=0.0, value=5.0, standard_errors=None)
    (about,) = Explanations([one]).about([row], labels={}, units={"pay": "EUR"})
    told = ["year (1999)", "zip (94110)", "pay (94,110 EUR)", "half (1,999.5)", "people (1,234,567)"]
    assert [reason.text.removesuffix(" raised the answer.") for reason in about.reasons(top=5)] == told


def test_a_bar_chart_in_a_terminal_fits_eighty_columns(sampled):
    names = {"the total amount of all outstanding revolving balances at the time of application": 2.0, "年収": -1.0}
    one = replace(sampled, contributions=names, value=2.0, standard_errors=dict.fromkeys(names, 0.0123))
    lines = str(one).splitlines()
    assert max(map(fitting.width, lines)) <= 80
    assert len({fitting.width(line[: line.index("|")]) for line in lines[1:]}) == 1
    assert lines[1].startswith("the total a")


def test_what_other_columns_add_together_is_no_reason(attribution):
    short = replace(attribution, contributions={"age": 1.5, "other": 1.6})
    about = Explanations([short]).about([{"age": 41, "income": 1.0}], labels={}, units={})
    assert [one.column for one in about[0].reasons()] == ["age"]


def test_reasons_go_to_the_side_on_which_the_answer_lies(sampled):
    lower = replace(sampled, value=-1.0, contributions={"a": -2.5, "b": 0.5})
    assert [one.side for one in lower.reasons()] == ["lowered"]
    assert replace(sampled, contributions={"a": 0.0, "b": 0.0}).reasons() == ()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"language": "eng"}, "The 'language' must be one of 'en', 'fr'. Got 'eng'. Did you mean 'en'?"),
        ({"side": "up"}, "The 'side' must be 'raised' or 'lowered'. Got 'up'."),
        ({"top": 0}, "The 'top' must be a whole number of at least 1. Got 0."),
    ],
)
def test_other_words_are_refused(sampled, given, says):
    with pytest.raises(SpecError, match=re.escape(says)):
        sampled.reasons(**given)


def test_every_language_has_all_the_words():
    english = Speaker.of("en").words
    for language in languages():
        words = Speaker.of(language).words
        assert {(part, *group) for part, group in words.items()} == {(part, *group) for part, group in english.items()}


def test_the_row_takes_no_part_in_comparisons_and_does_not_travel(attribution):
    about = Explanations([attribution]).about([{"income": 1}], labels={}, units={})
    assert about == Explanations([attribution])
    assert "subject" not in to_json(about[0])
