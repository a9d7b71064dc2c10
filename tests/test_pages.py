"""A page for one decision needs nothing from elsewhere, shows what it was given and nothing else, and is read by everybody."""

import hashlib
import json
import re
import tomllib
from base64 import b64encode
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pages
from ekiben import drawing
from ekiben.errors import SpecError
from ekiben.explainers.alternatives.wanted import Wanted
from ekiben.explanations import (
    Alternative,
    Attribution,
    Change,
    Counterfactual,
    Examples,
    Explanations,
    Facts,
    Neighbour,
    Rule,
    look,
    reasons,
)
from ekiben.explanations.reasons import WORDS

ROW = {"Job": "fixed", "Income": 112000.5, "since": None, "member": True}
FACTS = Facts(
    prediction={"label": "bad", "scores": {"bad": 0.72, "good": 0.28}},
    model="models:/risk/3",
    digest="sha256:" + "0f" * 32,
    arm="champion",
    id="0123456789abcdef" * 2,
    at="2026-11-27 03:10:11 UTC",
    rung="sampled",
    why="'sampling' draws for as long as there is time",
)
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "details", "summary"),
    *(
        "article",
        "p",
        "h1",
        "h2",
        "h3",
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "code",
        "b",
    ),
    *("svg", "rect", "line"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "scope", "colspan", "role", "aria-hidden"),
    *("aria-label", "width", "height", "x", "y", "rx", "x1", "x2", "y1", "y2"),
}


def attribution(**changes):
    told = {
        "method": "permutation-sampling",
        "output": "probability of 'bad'",
        "units": "probability",
        "label": "bad",
        "base_value": 0.3,
        "value": 0.72,
        "contributions": {"Job": 0.2, "Income": -0.13, "since": 0.35, "member": 0.0},
        "standard_errors": {"Job": 0.01, "Income": 0.02, "since": 0.03, "member": 0.0},
        "elapsed_ms": 81.0,
    }
    return Attribution.of(**{**told, **changes})


def rule(*conditions, label="good"):
    return Rule(
        method="anchor",
        label=label,
        conditions=conditions,
        threshold=0.95,
        reached=False,
        precision=0.93,
        precision_interval=(0.91, 0.94),
        coverage=0.2,
        coverage_interval=(0.17, 0.23),
        n_samples=2000,
        faithfulness_error=0.07,
        elapsed_ms=90.0,
    )


def counterfactual(name="Job", before="fixed", after="freelance", answer="good", **changes):
    change = Change(column=name, before=before, after=after)
    way = Alternative(
        changes=(change,), answer=answer, score=0.52, n_changed=1, distance=1.0, nearest_distance=0.1, verified=True
    )
    told = {"outcome": "found", "alternatives": (way,), "wanted": "another label", **changes}
    return Counterfactual(
        method="counterfactual",
        output="the label",
        before="bad",
        score=0.61,
        n_asked=400,
        faithfulness_error=0.0,
        elapsed_ms=9.0,
        **told,
    )


def examples(row=ROW, answer="bad"):
    near = Neighbour(row={**row, "member": False}, answer=answer, score=0.7, distance=0.25)
    return Examples(
        method="examples",
        output="the label",
        answer=answer,
        score=0.6,
        tolerance=None,
        alike=(near,),
        unlike=(replace(near, answer="good"),),
        left_out=(),
        faithfulness_error=0.0,
        elapsed_ms=1.0,
    )


EVERY = [attribution(), rule("Job == 'fixed'", "105.00 < Income <= 211.00"), counterfactual(), examples()]


def about(one, row=ROW, facts=FACTS, labels=None, units=None):
    (told,) = Explanations([one]).about([row], labels=labels or {}, units=units or {}, facts=facts)
    return told


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.kind)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_page_is_whole_and_tells_the_decision_and_how_it_was_explained(one, language):
    html = about(one).page(language)
    page = pages.read(html)
    assert html.startswith("<!DOCTYPE html>")
    assert page.all("html")[0].attributes["lang"] == language
    assert page.all("title")[0].text.endswith(": bad")
    assert [each.text for each in page.all("h1")] == ["bad"]
    why = {"en": FACTS.why, "fr": "'sampling' tire des échantillons tant qu'il reste du temps"}[language]
    rung = {"en": "sampled", "fr": "échantillonné"}[language]
    for told in (one.method, FACTS.model, FACTS.digest, FACTS.id, FACTS.at, rung, why):
        assert told in page.text
    assert ("72,0\u202f%" if language == "fr" else "72.0%") in page.text


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.kind)
def test_a_page_keeps_to_its_policy(one):
    page = pages.read(about(one).page())
    (style,) = page.all("style")
    (policy,) = [each.attributes["content"] for each in page.all("meta") if "http-equiv" in each.attributes]
    assert f"style-src 'sha256-{b64encode(hashlib.sha256(style.text.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'")
    assert {each.name for each in page.elements} <= TAGS  # no script, no link, no picture from elsewhere
    assert {name for each in page.elements for name in each.attributes} <= ATTRIBUTES  # no style and no `on…` beside it
    assert "http" not in style.text
    assert "url(" not in style.text


def test_bars_of_a_page_begin_where_the_last_one_ended():
    page = pages.read(attribution(standard_errors=None).page())
    bars = [each.attributes for each in page.all("rect") if each.attributes["class"] in ("up", "down")]
    bars = [(bar["class"], *(float(bar[name].rstrip("%")) for name in ("x", "width"))) for bar in bars]
    marks = [float(each.attributes["x1"].rstrip("%")) for each in page.all("line", class_="mark")]
    at = marks[0]
    amounts = sorted(attribution().contributions.values(), key=lambda amount: -abs(amount))
    assert amounts[-1] == 0.0  # which is no bar, and said to raise nothing
    assert [bar[0] for bar in bars] == ["up" if amount > 0 else "down" for amount in amounts[:-1]]
    assert [each.attributes["aria-label"] for each in page.all("svg", role="img")] == [
        "raised the answer",
        "raised the answer",
        "lowered the answer",
    ]
    for kind, x, width in bars:
        assert at == pytest.approx(x if kind == "up" else x + width, abs=0.02)
        at = x + width if kind == "up" else x
    assert at == pytest.approx(marks[-1], abs=0.02)


def test_a_page_tells_values_in_their_units_and_reasons_in_its_language():
    told = about(attribution(), labels={"since": "Client depuis", "Income": "Revenu"}, units={"Income": "EUR"})
    page = pages.read(told.page("fr"))
    assert [each.text for each in page.all("li")] == [
        "Client depuis (non renseigné)\xa0: cela a augmenté la probabilité de 'bad'.",
        "Job (fixed)\xa0: cela a augmenté la probabilité de 'bad'.",
    ]
    assert "112\u202f000,5 EUR" in page.text
    assert "−0,130 ± 0,02" in page.text


def test_reasons_of_a_page_are_for_the_answer_that_was_given():
    refused = replace(FACTS, prediction={"label": "good", "scores": {"bad": 0.28, "good": 0.72}})
    page = pages.read(about(attribution(), facts=refused).page())
    assert [each.text for each in page.all("li")] == ["Income (112,000.5) lowered the chance of 'bad'."]


def test_what_is_beyond_ten_columns_is_one_line_and_the_row_is_shown_whole():
    parts = {f"column{i}": float(20 - i) for i in range(100)}
    one = attribution(contributions=parts, standard_errors=None, base_value=0.0, value=sum(parts.values()))
    html = about(one, row=dict.fromkeys(parts, 1)).page()
    card, _, row = html.partition("<details>")
    assert "90 other columns" in card
    assert "column10<" not in card
    assert row.count('class="value"') == 100


def test_a_page_without_facts_tells_what_is_explained():
    page = pages.read(attribution(base_value=1.0, value=1.42, units="target", output="rent", label=None).page())
    assert page.all("h1")[0].text == "rent = 1.42"
    assert "models:" not in page.text
    assert not page.all("details")


@pytest.mark.parametrize(
    ("before", "after"), [(1.0812, 1.0815), (10_000.011, 10_000.014), (0.12345, 0.12349), (2**60, 2**60 + 1)]
)
def test_a_small_change_is_told_as_one(before, after):
    one = counterfactual(name="rate", before=before, after=after)
    told = pages.read(one.page("fr"))
    cells = [cell.text for cell in told.all("td")]
    assert [f"{each:,}".replace(",", "\u202f").replace(".", ",") for each in (before, after)] == cells[:2]
    assert f"rate {before!r} → {after!r}" in one.sentence()
    texts = [text.get_text() for text in one.plot().axes[0].texts]
    assert {repr(before), repr(after)} <= {*texts}


def test_a_page_of_several_outputs_and_of_a_value_names_them():
    for prediction, told in (
        ({"rent": {"value": 7.0}, "kind": {"label": "flat", "scores": {"flat": 1.0}}}, "rent: 7, kind: flat"),
        ({"value": 1234.5, "action": "call"}, "1,234.5"),
    ):
        page = pages.read(about(attribution(), facts=replace(FACTS, prediction=prediction)).page())
        assert page.all("h1")[0].text == told


def test_columns_of_rows_alike_wrap_and_colons_stand_apart_in_french():
    page = pages.read(about(examples()).page())
    assert {cell.attributes.get("class") for cell in page.all("td") if cell.text in ("fixed", "no")} == {
        "value",
        "value changed",
    }
    assert [head.attributes.get("class") for head in page.all("th", scope="col") if head.text in ROW] == ["value"] * 4
    assert "Souhaité\xa0: une autre" in pages.read(counterfactual().page("fr")).text
    assert "Wanted: another" in pages.read(counterfactual().page()).text


@pytest.mark.parametrize("outcome", ["held already", "none exists", "none found"])
def test_a_page_without_alternatives_says_why(outcome):
    page = pages.read(counterfactual(outcome=outcome, alternatives=()).page())
    words = tomllib.loads((WORDS / "en.toml").read_text())["page"]
    assert words[outcome.replace(" ", "_")] in page.text


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [1e300, -1e300], [1e-300], [-5.0]])
def test_odd_amounts_are_drawn_within_their_bars(values):
    parts = {f"c{i}": amount for i, amount in enumerate(values)}
    one = attribution(contributions=parts, standard_errors=None, base_value=0.0, value=float(np.sum(values)))
    page = pages.read(one.page())
    for each in page.all("rect"):
        x, width = (float(each.attributes.get(name, "0").rstrip("%")) for name in ("x", "width"))
        assert 0 <= x <= x + width <= 100.5


HOSTILE = st.text(max_size=30) | st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style><script>", "{0.__class__}", "{label}", "&lt;b&gt;", "'", "--></main>"]
)  # fmt: skip


@given(name=HOSTILE.filter(bool), value=HOSTILE, label=HOSTILE, language=st.sampled_from(["en", "fr"]))
def test_nothing_in_a_page_is_taken_for_markup(name, value, label, language):
    facts = replace(FACTS, prediction={"label": label, "scores": {label: 1.0}}, model=value, why=name, id=label)
    row = {name: value}
    every = [
        attribution(contributions={name: 1.0}, standard_errors=None, output=value, label=label),
        rule(f"{name} == {value!r}", label=label),
        counterfactual(name, value, label, label, wanted=name),
        examples(row, label),
    ]
    for one in every:
        told = about(one, row=row, facts=facts, labels={name: label}, units={name: value})
        page = pages.read(told.page(language))
        assert {each.name for each in page.elements} <= TAGS
        assert {key for each in page.elements for key in each.attributes} <= ATTRIBUTES
        shown = re.sub(r"\s", "", page.text)
        for text in (name, value, label):
            assert re.sub(r"\s|\x00|\r", "", text) in shown.replace("\ufffd", "") or not text.isprintable()


# ── read by everybody


def contrast(one, other):
    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [look.LIGHT, look.DARK], ids=["light", "dark"])
def test_text_stands_out_from_its_paper_and_so_do_bars(colours):
    for ink in ("--ink", "--soft"):
        assert contrast(colours[ink], colours["--paper"]) >= 4.5
    for mark in (drawing.UP, drawing.DOWN):
        assert contrast(mark, colours["--paper"]) >= 3


def test_every_table_says_what_its_columns_and_rows_are():
    for one in EVERY:
        page = pages.read(about(one).page())
        assert all("scope" in each.attributes for each in page.all("th"))
        for drawn in page.all("svg"):
            assert drawn.attributes.get("aria-hidden") == "true" or drawn.attributes["aria-label"]
        assert len(page.all("h1")) == len(page.all("main")) == 1


def test_every_language_has_the_same_words():
    told = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in WORDS.glob("*.toml")}
    for language, words in told.items():
        assert {part: set(words[part]) for part in words} == {part: set(told["en"][part]) for part in told["en"]}, (
            language
        )
        for part in words:
            for key, text in words[part].items():
                assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", told["en"][part][key])), key


WANTED = [
    Wanted(label="good"),
    Wanted(low=0.5),
    Wanted(high=0.5),
    Wanted(low=0.25, high=0.5),
    Wanted(place=1, low=0.5, high=0.75),
    Wanted(place=1, low=0.5),
]
TOLD = [  # each way to say something
    *EVERY,
    attribution(units="target", output="target", label=None),
    attribution(units="target", output="'rent'", label=None),
    attribution(units="margin", output="margin of the target", label=None),
    attribution(units="log-odds", output="log-odds of 'rent'", label=None),
    *(attribution(units=units) for units in ("log-odds", "margin", "indicator")),
    attribution(value=0.3, contributions={f"c{i}": 0.0 for i in range(20)}, standard_errors=None),
    rule("since is missing", "member == True"),
    rule(label=True),
    replace(rule("Income > 3.00", label=2.5), tolerance=0.5, reached=True),
    *(counterfactual(wanted=each.sentence(("bad", "good"))) for each in [*WANTED, Wanted()]),
    *(counterfactual(outcome=each, alternatives=()) for each in ("held already", "none exists", "none found")),
    replace(examples(), output="'rent'"),
]
DATA = {
    *("abcdef", "Job", "Income", "since", "member", "fixed", "freelance", "bad", "good", "rent", "True", "UTC"),
    *("sampling", "permutation", "anchor", "counterfactual", "examples", "trees", "models", "risk", "sha", "champion"),
}


@pytest.fixture
def coded(tmp_path, monkeypatch):
    """A language whose words are no letters of ours: what is read in its pages all the same did not come from its file."""
    for path in WORDS.glob("*.toml"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    words = tomllib.loads((WORDS / "en.toml").read_text(encoding="utf-8"))
    lines = []
    for part in words:
        lines.append(f"[{part}]")
        for key, text in words[part].items():
            code = text if part == "numbers" else re.sub(r"({\w+})|[A-Za-z]", lambda found: found[1] or "ж", text)
            lines.append(f"{key} = {json.dumps(code, ensure_ascii=False)}")
    (tmp_path / "zz.toml").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(reasons, "WORDS", tmp_path)
    yield "zz"
    reasons._read.cache_clear()


def words_of(html):
    """Give every word that a reader meets, or has read out."""
    body = html[html.index("<body") :]
    aloud = [each.attributes.get("aria-label", "") for each in pages.read(html).elements]
    told = unescape(re.sub(r"<[^>]*>", " ", body)) + pages.read(html).all("title")[0].text
    return set(re.findall(r"[A-Za-z]{2,}", " ".join([told, *aloud])))


WHYS = [
    "; ".join(reasons.english("why", name, method="'trees'", units="'log-odds'", needs="9", left="8") for name in names)
    for names in (*zip(reasons._read("en")["why"]), ("short", "near"), ("cannot", "scaled"))
]


@pytest.mark.parametrize("one", TOLD, ids=lambda one: one.kind)
def test_every_word_of_a_page_is_of_its_language(one, coded):
    for rung in ("exact", "sampled", "cached", "later"):
        html = about(one, facts=replace(FACTS, rung=rung)).page(coded)
        assert words_of(html) <= DATA | {f"c{i}" for i in range(20)}
    both = Explanations([about(one), about(one)])
    assert words_of(both.page(coded)) <= DATA
    assert {
        word
        for each in getattr(about(one), "reasons", lambda _: ())(coded)
        for word in re.findall(r"[A-Za-z]{2,}", each.text)
    } <= DATA


@pytest.mark.parametrize("why", WHYS)
def test_why_an_explanation_stands_on_its_rung_is_said_in_the_language_of_the_page(why, coded):
    assert words_of(about(attribution(), facts=replace(FACTS, why=why)).page(coded)) <= DATA
    page = pages.read(about(attribution(), facts=replace(FACTS, why=why)).page("fr"))
    assert why not in page.text


def test_a_page_of_a_language_finds_a_sentence_that_is_of_another(coded):
    html = about(attribution(), facts=replace(FACTS, why="because of something that no file has")).page(coded)
    assert {"because", "something"} <= words_of(html)


def test_a_language_without_words_is_refused():
    with pytest.raises(SpecError, match=re.escape("The 'language' must be one of 'en', 'fr'. Got 'de'.")):
        attribution().page("de")
