"""Pictures of explanations say what the explanations say, and hold whatever columns hold."""

import os
import re
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import matplotlib as mpl
import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from nbclient import NotebookClient

import laid
from ekiben import drawing
from ekiben.errors import MissingExtraError, SpecError
from ekiben.explanations import Explanations, Subject
from ekiben.plots import style
from ekiben.plots.swarm import scaled
from test_pages import EVERY, ROW, about, attribution, contrast, counterfactual, examples, rule


def bars_of(figure):
    return [(bar.get_x(), bar.get_width(), mpl.colors.to_hex(bar.get_facecolor())) for bar in figure.axes[0].patches]


def texts_of(figure):
    return [text.get_text() for ax in figure.axes for text in (*ax.texts, *ax.get_yticklabels(), *ax.get_xticklabels())]


def wide(n_columns, **changes):
    parts = {f"column{i}": (-1.0) ** i * (n_columns - i) for i in range(n_columns)}
    told = {"contributions": parts, "base_value": 0.5, "value": 0.5 + sum(parts.values()), "standard_errors": None}
    return attribution(**{**told, **changes})


@pytest.mark.parametrize("n_columns", [1, 3, 10, 11, 100])
def test_each_bar_begins_where_the_last_one_ended_and_the_last_ends_at_the_value(n_columns):
    one = wide(n_columns)
    at = one.base_value
    bars = bars_of(one.plot())
    assert len(bars) == min(n_columns, 11)
    for x, width, colour in bars:
        assert x == pytest.approx(at)
        assert colour == (drawing.UP if width >= 0 else drawing.DOWN)
        at = x + width
    assert at == pytest.approx(one.value)


def test_a_waterfall_tells_columns_with_values_amounts_and_their_errors():
    figure = about(attribution(), labels={"Income": "Annual income"}, units={"Income": "EUR"}).plot()
    said = texts_of(figure)
    assert [each.get_text() for each in figure.axes[0].get_yticklabels()] == [
        "since (not given)",
        "Job (fixed)",
        "Annual income (112,000.5 EUR)",
        "member (yes)",
    ]
    assert "−0.130 ± 0.02" in said
    assert {"base 0.300", "value 0.720"} <= {*said}
    assert "standard error" in figure.axes[0].get_xlabel()
    whiskers = [path.get_xdata() for path in figure.axes[0].lines if path.get_marker() == "|"]
    assert [float(ends[0]) for ends in whiskers[:2]] == pytest.approx([0.3 + 0.35 - 0.03, 0.3 + 0.35 + 0.03])


def test_all_other_columns_are_one_bar():
    assert "90 other columns" in texts_of(wide(100).plot())


@pytest.mark.parametrize("amounts", [[0.0], [0.0, 0.0, 0.0], [-3.0, -0.1], [1e300, -1e-300], [1e-12, 2e-12]], ids=str)
def test_odd_amounts_are_drawn(amounts, tmp_path):
    parts = {f"c{i}": amount for i, amount in enumerate(amounts)}
    one = attribution(contributions=parts, standard_errors=None, base_value=0.0, value=float(np.sum(amounts)))
    one.plot().savefig(tmp_path / "drawn.png")
    ordered = sorted(amounts, key=lambda amount: -abs(amount))
    assert [bar[1] for bar in bars_of(one.plot())] == pytest.approx(ordered, abs=1e-9 * abs(ordered[0]))


def test_names_are_text_however_long_and_whatever_they_hold(tmp_path):
    names = ["$\\frac{1}$", "a\nb", "x" * 500, "<svg>&", "_hidden", "年収"]
    row = {name: name for name in names}
    one = about(wide(3, contributions=dict.fromkeys(names, 1.0), value=6.5), row=row)
    figure = one.plot()
    labels = [each.get_text() for each in figure.axes[0].get_yticklabels()]
    assert labels[0] == "$\\frac{1}$ ($\\frac{1}$)"
    assert max(map(len, labels)) <= 46
    markup = figure._repr_html_()  # a browser has the fonts that matplotlib lacks
    assert "<svg>&" not in markup
    assert "&lt;svg&gt;&amp;" in markup


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.kind)
def test_every_kind_draws_itself_on_axes_of_others_too(one, tmp_path):
    figure = about(one).plot()
    assert isinstance(figure, Figure)
    figure.axes[0].set_title("changed")
    figure.savefig(tmp_path / "drawn.svg")
    assert "changed" in (tmp_path / "drawn.svg").read_text()
    own = Figure(figsize=(9, 9))
    _, right = own.subplots(1, 2)
    assert about(one).plot(ax=right) is own
    assert right.texts or right.patches


def test_a_picture_leaves_what_others_draw_as_it_is():
    before = dict(mpl.rcParams)
    attribution().plot()
    assert dict(mpl.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_a_rule_is_drawn_with_the_values_of_the_row_and_its_intervals():
    figure = about(rule("Job == 'fixed'", "105.00 < Income <= 211.00")).plot()
    said = texts_of(figure)
    assert {"this row: fixed", "this row: 112,000.5", "93.0% (91.0% to 94.0%)"} <= {*said}
    ends = [tuple(map(float, line.get_xdata())) for line in figure.axes[0].lines]
    assert (0.91, 0.94) in ends
    assert (0.95, 0.95) in ends


def test_what_changes_is_marked_and_no_alternative_says_why():
    figure = about(counterfactual()).plot()
    assert len(figure.axes[0].patches) == 1
    assert {"'fixed'", "'freelance'", "'good' (0.52)"} <= {*texts_of(figure)}
    none = counterfactual(outcome="none exists", alternatives=()).plot()
    assert any("every one was asked" in text for text in texts_of(none))


def test_rows_that_are_alike_mark_what_differs():
    figure = about(examples()).plot()
    assert len(figure.axes[0].patches) == 2  # `member`, in both rows
    assert {"this row", "same answer", "another answer", "0.250"} <= {*texts_of(figure)}
    many = {f"c{i}": i for i in range(30)}
    assert any("23 more columns" in text for text in texts_of(examples(row=many).plot()))


# ── nothing lies on anything else

LONG = "the total amount of all outstanding revolving balances at the time of application"
PHRASE = "a category whose text goes on and on, as texts that people type often do"


def long_rows(n_columns=3):
    return {f"{LONG} {i}": f"{PHRASE} {i}" for i in range(n_columns)}


def long_waterfall():
    names = long_rows()
    one = wide(3, contributions=dict.fromkeys(names, 1.0), value=3.5)
    return about(one, row=names)


CROWDED = {
    "long names": long_waterfall(),
    "many columns": wide(40),
    "an error larger than its bar": wide(
        2, contributions={"a": 0.3, "b": -0.2}, value=0.6, standard_errors={"a": 0.4, "b": 0.1}
    ),
    "nothing added": wide(2, contributions={"a": 0.0, "b": -0.0}, value=0.5),
    "a long rule": about(rule(f"{LONG} == {PHRASE!r}", f"105.00 < {LONG} <= 211.00", label=PHRASE), row={LONG: PHRASE}),
    "no alternative": counterfactual(outcome="none exists", alternatives=()),
    "no alternative of a value": counterfactual(outcome="none found", alternatives=(), wanted="at least 200"),
    "a long change": about(counterfactual(LONG, PHRASE, PHRASE + "!"), units={LONG: "EUR"}),
    "dates": about(counterfactual("since", "2020-01-01T00:00:00", "2021-01-01T00:00:00")),
    "wide letters": about(counterfactual("年収" * 9, "会社員" * 6, "自営業" * 6)),
    "long rows": about(examples(row={**long_rows(12), "member": True}), row=long_rows(12)),
}


@pytest.mark.parametrize("one", CROWDED.values(), ids=CROWDED)
@pytest.mark.filterwarnings("ignore:Glyph .* missing")
def test_no_text_of_a_picture_lies_on_another(one):
    assert laid.overlaps(one.plot()) == []


@pytest.mark.parametrize("sign", [-1, 1])
def test_no_line_of_a_waterfall_goes_through_an_amount(sign):
    steps = {"a": 0.1, "b": 0.08, "c": 0.01, "d": 0.006, "e": 0.003, "f": -0.002, "g": 0.0001}
    added = {name: sign * amount for name, amount in steps.items()}
    one = wide(7, contributions=added, base_value=0.8, value=0.8 + sum(added.values()))
    assert laid.struck(one.plot()) == []


@pytest.mark.parametrize("n_columns", [1, 2, 12, 40])
@pytest.mark.parametrize("kind", ["swarm", "bars"])
def test_no_text_of_a_picture_of_many_lies_on_another(kind, n_columns):
    row = {f"{LONG} {i}": i for i in range(n_columns)}
    told = [wide(n_columns, contributions=dict.fromkeys(row, 1.0 + i)) for i in range(3)]
    told = Explanations(told).about([dict.fromkeys(row, i) for i in range(3)], labels={}, units={})
    assert laid.overlaps(told.plot(kind)) == []


def test_a_long_value_leaves_the_name_of_its_column_to_be_read():
    labels = [each.get_text() for each in long_waterfall().plot().axes[0].get_yticklabels()]
    assert len({*labels}) == 3
    assert [label[:3] + label[label.index("(") - 3 : label.index("(") + 4] for label in labels] == [
        "the 0 (a c",
        "the 1 (a c",
        "the 2 (a c",
    ]
    assert max(map(len, labels)) <= 44


def test_an_amount_stands_at_the_end_of_its_bar_however_large_its_error():
    figure = CROWDED["an error larger than its bar"].plot()
    ends = {text.get_text(): float(text.xy[0]) for text in figure.axes[0].texts}
    assert ends["+0.300 ± 0.4"] == pytest.approx(0.5 + 0.3 + 0.4)
    assert ends["−0.200 ± 0.1"] == pytest.approx(0.8)


def test_no_zero_has_a_sign():
    one = about(wide(2, contributions={"a": 0.0, "b": -0.0}, value=0.5), row={"b": -0.0})
    said = texts_of(one.plot())
    assert said.count("+0.00") == 2
    assert "b (0)" in said
    assert "−0.00" not in f"{one} {one.html()}"


def test_a_picture_of_changes_tells_the_unit_of_a_column():
    figure = about(counterfactual("Income", 80, 112), labels={"Income": "Pay"}, units={"Income": "EUR"}).plot()
    assert "Pay (EUR)" in texts_of(figure)


# ── many at once


def many(n=40, values=lambda i: ROW):
    rng = np.random.default_rng(0)
    told = [
        attribution(
            contributions={"Job": rng.normal(), "Income": 2 * rng.normal(), "since": 0.0, "member": 0.1},
            standard_errors=None,
        )
        for _ in range(n)
    ]
    return Explanations(told).about([values(i) for i in range(n)], labels={"Income": "Annual income"}, units={})


def test_a_swarm_has_a_point_for_each_answer_the_widest_column_first():
    every = many()
    figure = every.plot()
    assert [each.get_text() for each in figure.axes[0].get_yticklabels()][:2] == ["Annual income", "Job"]
    points = np.concatenate([each.get_offsets() for each in figure.axes[0].collections])
    assert len(points) == 4 * 40
    for place, name in enumerate(["Income", "Job"]):
        drawn = sorted(x for x, y in points if abs(y - place) < 0.5)
        assert drawn == pytest.approx(sorted(one.contributions[name] for one in every))


def test_points_that_are_alike_lie_beside_each_other_and_the_same_way_each_time():
    first, again = (many().plot().axes[0].collections for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.get_offsets(), other.get_offsets())
    since = next(points for points in first if abs(points.get_offsets()[0][1] - 3) < 0.5)
    assert len({tuple(point) for point in since.get_offsets()}) == 40


def test_numbers_have_colours_texts_are_grey_and_what_is_missing_is_hollow():
    figure = many(
        values=lambda i: {
            "Job": "ab"[i % 2],
            "Income": None if i % 2 else float(i),
            "since": f"2024-01-{i % 28 + 1:02}",
        }
    ).plot()
    drawn = {}
    for points in figure.axes[0].collections:
        place = round(float(points.get_offsets()[:, 1].mean()))
        drawn.setdefault(place, []).append(points)
    assert sorted(len(drawn[place]) for place in drawn) == [1, 1, 1, 2]  # of `Income` half are missing
    hollow = [points for points in drawn[0] if points.get_facecolor().size == 0]
    assert [len(points.get_offsets()) for points in hollow] == [20]
    grey = mpl.colors.to_hex(drawn[1][0].get_facecolor()[0])
    assert grey == style.GREY
    coloured = [points for place in drawn for points in drawn[place] if points.get_array() is not None]
    assert len(coloured) == 2  # Income and the dates


def test_without_values_all_points_are_grey_and_there_is_no_key():
    bare = Explanations([attribution() for _ in range(3)])
    figure = bare.plot()
    assert len(figure.axes) == 1


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1, 2, 3], [0, 0.5, 1]),
        ([True, False], [1, 0]),
        ([5, 5], [0.5, 0.5]),
        (["a", "b"], [np.nan, np.nan]),
        ([None, float("nan")], [np.nan, np.nan]),
        ([1, "a"], [np.nan, np.nan]),
        (["2024-01-01", "2024-01-03T00:00:00"], [0, 1]),
        ([datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)], [0, 1]),
        ([date(2024, 1, 1), date(2024, 1, 2)], [0, 1]),
        ([[1, 2], [3]], [np.nan, np.nan]),
    ],
)
def test_values_have_a_place_on_a_scale_or_none(values, wanted):
    places, _ = scaled(values)
    np.testing.assert_allclose(places, wanted, atol=1e-9)


def test_points_whose_values_are_known_of_some_alone_are_grey():
    known, unknown = many(3), [replace(one, subject=Subject()) for one in many(3)]
    axes = Explanations([*known, *unknown]).plot().axes
    assert len(axes) == 1  # no key of colours
    assert {len(each.get_offsets()) for each in axes[0].collections} == {6}


def test_a_picture_of_very_many_answers_stays_small():
    markup = many(1000)._repr_html_()
    assert len(markup) < 400_000
    assert "<image" in markup
    assert ">Annual income<" in markup  # text stays text


def test_bars_are_the_means_of_what_was_added():
    every = many()
    sizes = [bar.get_width() for bar in every.plot("bars").axes[0].patches]
    wanted = [np.mean([abs(one.contributions[name]) for one in every]) for name in ("Income", "Job", "member", "since")]
    assert sizes == pytest.approx(wanted)


def test_a_hundred_columns_are_ten_and_the_others_together():
    every = Explanations([wide(100), wide(100)])
    figure = every.plot()
    labels = [each.get_text() for each in figure.axes[0].get_yticklabels()]
    assert (len(labels), labels[-1]) == (11, "90 other columns")


@pytest.mark.parametrize(
    "every", [[], [rule()], [attribution(), rule()], [attribution(), attribution(output="another")]]
)
def test_what_one_picture_cannot_hold_is_refused(every):
    with pytest.raises(SpecError, match=re.escape("attributions of one output. Got others, or none.")):
        Explanations(every).plot()


def test_another_kind_of_picture_is_refused_by_name():
    with pytest.raises(
        SpecError, match=re.escape("The 'kind' must be 'swarm' or 'bars'. Got 'bar'. Did you mean 'bars'?")
    ):
        many().plot("bar")


# ── in a notebook


def test_a_notebook_shows_a_waterfall_of_one_and_a_swarm_of_many():
    one, every = attribution()._repr_html_(), many()._repr_html_()
    assert one.count("<svg") == every.count("<svg") == 1
    assert "<title>probability of 'bad' = 0.720</title>" in one.replace("&#x27;", "'")
    assert "40 explanations of probability of 'bad'" in every.replace("&#x27;", "'")
    assert '<svg role="img"' in one


def test_text_of_a_picture_has_the_colour_of_its_page():
    markup = attribution()._repr_html_()
    assert "currentColor" in markup
    assert style.INK not in markup
    assert "rgb(0, 0, 0)" not in markup
    assert re.findall(r"fill: #000000", markup) == []
    assert ">Job<" in markup  # text is text


def test_a_saved_picture_is_read_on_light_and_on_dark():
    for paper in ("#ffffff", "#000000"):
        assert contrast(style.INK, paper) >= 4.4
    for colour in (*style.SEQUENCE, style.GREY):
        assert contrast(colour, "#ffffff") >= 3
        assert contrast(colour, "#111111") >= 3


def test_without_matplotlib_cards_are_drawn_and_a_plot_says_what_to_install(monkeypatch):
    import ekiben._optional

    def missing(module):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(ekiben._optional.importlib, "import_module", missing)
    html = about(attribution())._repr_html_()
    assert "<table>" in html
    assert "Value for this row" in html
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'ekiben[notebook]'")):
        attribution().plot()


def test_a_package_draws_what_it_explains(champion, people):
    told = champion.explain(people[0].head(60))
    figure = told.plot()
    assert len(figure.axes) == 2  # the points, and the key of their colours
    assert sum(len(points.get_offsets()) for points in figure.axes[0].collections) == 60 * 4
    frame = pd.DataFrame([one.contributions for one in told])
    assert figure.axes[0].get_yticklabels()[0].get_text() == frame.abs().sum().idxmax()
    assert str(champion.ref) in told[0].page()


@pytest.mark.slow
def test_a_kernel_of_a_notebook_shows_what_each_kind_draws(tmp_path):
    cells = [
        "from test_pages import about, attribution, counterfactual, rule\nfrom ekiben.explanations import Explanations",
        "about(attribution())",
        "Explanations([attribution(), attribution()])",
        "attribution().plot()",
        "about(rule(\"Job == 'fixed'\"))",
        "Explanations([counterfactual()])",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}).execute(env=environment)
    shown = ["".join(output.data["text/html"] for output in cell.outputs) for cell in notebook.cells]
    assert [html.count('<svg role="img"') for html in shown[1:4]] == [1, 1, 1]
    assert "this row" not in shown[4]
    assert ">This row<" in shown[4]
    assert 'class="changed">freelance<' in shown[5]
