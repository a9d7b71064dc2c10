"""Each law is kept by a sound package and broken by one that is wrong in its own way."""

import json
import os
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import SVC

import ekiben as ek
from ekiben import explainers, routing, values
from ekiben.checks import Finding, Report, Subject, examine, laws, loading
from ekiben.client import Client
from ekiben.dataplane import Hooks
from ekiben.errors import NotFoundError, RequestError, SchemaError
from ekiben.explainers.shapley.tables import Tables
from ekiben.models import Answers
from ekiben.packages import Package
from ekiben.routing import Route
from ekiben.schema import PARTS
from planes import plane_of, served, unplanned


class Bent:
    """An adapter that is a real one but for what it makes of the scores."""

    def __init__(self, adapter, bend):
        self.adapter, self.bend = adapter, bend

    def __getattr__(self, name):
        return getattr(self.adapter, name)

    def answers(self, model, frame, parts=PARTS):
        (found,) = self.adapter.answers(model, frame, parts)
        return (Answers(labels=found.labels, scores=self.bend(found.scores, frame)),)


def bent(package, bend):
    return unplanned(package, adapter=Bent(package.adapter, bend))


class Careless(Package):
    """A package that fills in what is missing, and takes any text for the first that it knows."""

    def predict(self, frame):
        filled = {}
        for column in self.schema.columns:
            first = self.sample[column.name].iloc[0]
            given = frame[column.name].tolist() if column.name in frame else [first] * len(frame)
            known = column.categories or [value for value in given if not values.is_missing(value)]
            filled[column.name] = [value if value in known else first for value in given]
        return super().predict(pd.DataFrame(filled))


class Shy(Package):
    """A package that refuses whatever it has not seen, and does not say where."""

    def predict(self, frame):
        for column in self.schema.columns:
            if column.name not in frame or (column.categories and not frame[column.name].isin(column.categories).all()):
                raise SchemaError("No.")
        return super().predict(frame)


def as_a(kind, package):
    return kind(**{field.name: getattr(package, field.name) for field in fields(Package)})


def with_columns(package, **changes):
    columns = tuple(replace(column, **changes.get(column.name, {})) for column in package.schema.columns)
    return replace(package, signature=replace(package.signature, inputs=replace(package.schema, columns=columns)))


class Explaining:
    """An explainer that changes what a real one says."""

    def __init__(self, real, change):
        self.real, self.change = real, change

    def explain(self, frame, *, seed=0):
        return [self.change(one) for one in self.real.explain(frame, seed=seed)]


def explained(package, change):
    made = replace(package)
    made.__dict__["explainer"] = Explaining(package.explainer, change)
    return made


def doubled(one):
    return replace(one, contributions={name: 2 * value for name, value in one.contributions.items()})


class Boasting:
    """A method whose rules say another precision than they have."""

    def __init__(self, real):
        self.real = real

    def remeasured(self, frame):
        found = self.real.remeasured(frame)
        return [each._replace(rule=replace(each.rule, precision=each.precision - 0.2)) for each in found]


def ruled(package, wrap=lambda real: real):
    """A package explained by rules."""
    made = replace(package)
    made.__dict__["explainer"] = wrap(explainers.choose("anchor", package._context()))
    return made


class Greedy(Explaining):
    """A method that gives what copies of a column share to the first of them."""

    def fit(self, context):
        first, copy = context.names[-1].removesuffix(" (copy)"), context.names[-1]

        def change(one):
            told = {**one.contributions}
            told[first] += told[copy]
            return replace(one, contributions={**told, copy: 0.0})

        return Explaining(self.real.fit(context), change)


def greedy(package):
    made = replace(package)
    made.__dict__["explainer"] = Greedy(package.explainer, lambda one: one)
    return made


NOISE = np.random.default_rng()


def noisy(one):
    return replace(one, value=one.value + NOISE.random())


@pytest.fixture(scope="module")
def strict(people):
    """A package of a model that fails at a text or a missing value that it has not seen."""
    rows = people[0][["age", "job"]]
    parts = [("n", "passthrough", ["age"]), ("t", OneHotEncoder(), ["job"])]
    model = make_pipeline(ColumnTransformer(parts), LogisticRegression(max_iter=500)).fit(rows, people[1])
    return ek.pack(model, name="risk", reference=rows)


def unread(package):
    """A package whose sample holds what no JSON can."""
    made = replace(package)
    made.__dict__["sample"] = package.sample.assign(income=np.inf)
    return made


def forgetful(package):
    """A package whose examples are another model's."""
    made = replace(package)
    made.__dict__["examples"] = tuple(
        {**example, "answer": {**example["answer"], "score_bad": 0.5}} for example in package.examples
    )
    return made


def countered(package, change):
    """A package that explains by counterfactuals, which are changed before anybody sees them."""
    made = replace(package, manifest={**package.manifest, "explainer": "counterfactual"})
    made.__dict__["explainer"] = Explaining(explainers.choose("counterfactual", package._context()), change)
    return made


def meddling(package):
    """A package whose explainer changes what its contract says must stay."""
    explainer = countered(package, lambda one: one).__dict__["explainer"]
    stuck = with_columns(package, **{name: {"change": "never"} for name in package.schema.names})
    made = replace(stuck, manifest={**package.manifest, "explainer": "counterfactual"})
    made.__dict__["explainer"] = explainer
    return made


def unchanged(one):
    """Tell the row itself as an alternative to it."""
    ways = [
        replace(each, changes=tuple(replace(change, after=change.before) for change in each.changes))
        for each in one.alternatives
    ]
    return replace(one, alternatives=tuple(ways))


# law → what makes a package that breaks it of a sound one, or of a strict one; and what the law finds
BROKEN = {
    "examples_answer_as_recorded": [(lambda p, _: forgetful(p), "score_bad differs by up to")],
    "a_batch_equals_its_rows": [
        (lambda p, _: bent(p, lambda scores, _: scores - scores.mean(axis=0)), "score_bad differs by up to"),
        (lambda p, _: bent(p, lambda scores, frame: scores * (1 + 1e-4 * (len(frame) > 1))), "differs by up to"),
    ],
    "order_does_not_matter": [
        (lambda p, _: bent(p, lambda scores, _: scores + 1e-3 * np.arange(len(scores))[:, None]), "differs by up to"),
    ],
    "a_missing_column_is_refused_by_name": [
        (lambda p, _: as_a(Careless, p), "answered without 'age'"),
        (lambda p, _: as_a(Shy, p), "refused without naming 'age'"),
    ],
    "an_unknown_category_is_handled_as_the_contract_says": [
        (lambda _, strict: as_a(Careless, strict), "'job' must refuse a text that it has not seen"),
        (lambda p, _: as_a(Shy, p), "'job' must take a text that it has not seen"),
        (
            lambda _, strict: with_columns(strict, job={"unseen": "accept"}),
            "'job' must take a text that it has not seen",
        ),
    ],
    "a_missing_value_is_answered_or_refused": [
        (lambda _, strict: as_a(Careless, strict), "'age' must refuse a missing value"),
        (lambda _, strict: with_columns(strict, age={"nullable": True}), "ValueError: "),
    ],
    "json_changes_nothing": [(lambda p, _: unread(p), "SchemaError: ")],
    "attributions_sum_to_the_output": [(lambda p, _: explained(p, doubled), "in log-odds")],
    "the_same_seed_explains_the_same": [(lambda p, _: explained(p, noisy), "row 0 differs; row 1 differs")],
    "an_explanation_is_of_its_row_alone": [
        (lambda p, _: explained(p, noisy), "row 0 differs in another order; row 1 differs in another order"),
    ],
    "a_constant_column_adds_nothing": [(lambda p, _: doubtful(p), "'age' adds")],
    "copies_of_a_column_share_alike": [(lambda p, _: greedy(p), "of two copies of 'income' one adds")],
    "tiny_noise_moves_no_explanation": [(lambda p, _: explained(p, turned()), "a contribution moved by")],
    "counterfactuals_are_answered_as_told": [
        (lambda p, _: countered(p, unchanged), "an alternative is answered otherwise than it is told"),
        (lambda p, _: meddling(p), "is changed as it must not be"),
    ],
    "rules_hold_as_often_as_they_say": [(lambda p, _: ruled(p, Boasting), "on 4,000 other rows")],
}
NAMED = {law.__name__: law for law in laws.LAWS}


def doubtful(package):
    """A package whose reference holds one age, and whose explanations make something of it."""
    made = explained(package, lambda one: replace(one, contributions={**one.contributions, "age": 0.5}))
    made.__dict__["sample"] = package.sample.assign(age=package.sample["age"].iloc[0])
    return made


def turned():
    """Give each column what another one added, every second time."""
    asked = iter(range(10_000))

    def change(one):
        amounts = list(one.contributions.values())
        return replace(
            one, contributions=dict(zip(one.contributions, amounts[:: -1 if next(asked) >= 3 else 1], strict=True))
        )

    return change


@pytest.mark.parametrize(
    ("law", "breaking"), [(law, n) for law, cases in BROKEN.items() for n in range(len(cases))], ids=str
)
def test_a_law_is_broken_by_a_package_that_does_not_keep_it(law, breaking, champion, strict):
    make, facts = BROKEN[law][breaking]
    finding = examine(NAMED[law], Subject(arm="champion", package=make(champion, strict)))
    assert finding.state == "broken", finding
    assert facts in finding.facts
    assert finding.law == laws.sentence(NAMED[law])


def test_every_law_has_a_package_that_breaks_it():
    assert sorted(BROKEN) == sorted(NAMED)


@pytest.fixture(scope="module")
def constant(people):
    """A package of a model that has seen one age only."""
    rows = people[0][["age", "income"]].fillna(3000.0).assign(age=30)
    return ek.pack(LogisticRegression().fit(rows, people[1]), name="risk", reference=rows)


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
def test_a_law_is_kept_by_a_sound_package(law, champion, challenger, constant):
    by_rules = law is NAMED["rules_hold_as_often_as_they_say"]
    for package in (constant,) if law is NAMED["a_constant_column_adds_nothing"] else (champion, challenger):
        finding = examine(law, Subject(arm="sound", package=ruled(package) if by_rules else package))
        assert finding.state == "kept", finding


def test_a_law_that_had_nothing_to_try_says_so(people):
    rows = people[0][["age"]]
    package = ek.pack(LinearRegression().fit(rows, rows["age"]), name="age", reference=rows)
    finding = examine(laws.an_unknown_category_is_handled_as_the_contract_says, Subject(arm="a", package=package))
    assert (finding.state, finding.facts) == ("not tried", "no column of texts")


def test_a_package_explained_by_rules_is_not_held_to_sums(people):
    rows = people[0][["age", "member"]]
    model = LogisticRegression().fit(rows, people[1])
    package = ek.pack(model, name="risk", reference=rows, explainer="anchor")
    subject = Subject(arm="a", package=package)
    assert examine(NAMED["attributions_sum_to_the_output"], subject).state == "not tried"
    assert examine(NAMED["the_same_seed_explains_the_same"], subject).state == "kept"
    told = examine(NAMED["rules_hold_as_often_as_they_say"], subject)
    assert (told.state, told.facts[:22]) == ("kept", "3 tried on other rows,")


def of_trees(people, prepared):
    return make_pipeline(prepared(), RandomForestClassifier(8, max_depth=4, random_state=0)).fit(*people)


def of_three(people, prepared):
    rows, labels = people
    return make_pipeline(prepared(), LogisticRegression()).fit(rows, np.where(rows["age"] > 55, "old", labels))


def of_bins(people, prepared):
    return make_pipeline(prepared(), HistGradientBoostingClassifier(max_iter=20)).fit(*people)


def of_counts(people, prepared):
    return make_pipeline(prepared(), PoissonRegressor()).fit(people[0], people[0]["age"])


@pytest.mark.parametrize(
    ("make", "method"),
    [
        (of_trees, "trees"),
        (of_trees, "trees-interventional"),
        (of_bins, "trees"),
        (of_three, "linear"),
        (of_three, "sampling"),
        (of_counts, "additive"),
    ],
)
def test_copies_of_a_column_share_alike_whatever_the_method(make, method, people, prepared):
    package = ek.pack(make(people, prepared), name="risk", reference=people[0], explainer=method)
    law = NAMED["copies_of_a_column_share_alike"]
    told = examine(law, Subject(arm="a", package=package))
    assert (told.state, told.facts.split()[0]) == ("kept", "3"), told
    assert examine(law, Subject(arm="a", package=greedy(package))).state == "broken"


def test_trees_that_prefer_the_first_of_two_copies_break_the_law(people, prepared, monkeypatch):
    package = ek.pack(of_trees(people, prepared), name="risk", reference=people[0])
    real = Tables.row

    def skewed(self, features):
        parts = real(self, features)
        return [part * 1.001 if i < len(parts) // 2 else part for i, part in enumerate(parts)]

    monkeypatch.setattr(Tables, "row", skewed)
    told = examine(NAMED["copies_of_a_column_share_alike"], Subject(arm="a", package=package))
    assert told.state == "broken"
    assert "of two copies of 'income' one adds" in told.facts


def test_copies_are_not_tried_where_no_column_can_be_doubled(people):
    rows = people[0][["age", "member"]]
    law = NAMED["copies_of_a_column_share_alike"]
    labels = ek.pack(SVC().fit(rows, people[1]), name="risk", reference=rows)
    told = examine(law, Subject(arm="a", package=labels))
    assert (told.state, told.facts) == ("not tried", "The model gives labels alone, which have no mean")
    rules = ek.pack(LogisticRegression().fit(rows, people[1]), name="risk", reference=rows, explainer="anchor")
    told = examine(law, Subject(arm="a", package=rules))
    assert (told.state, told.facts) == ("not tried", "the method gives no sums")


def test_a_law_compares_large_values_relatively_and_small_ones_absolutely():
    def differ(a, b):
        return laws._equal(pd.DataFrame({"value": [a]}), pd.DataFrame({"value": [b]})).faults

    assert not differ(1e9 + 1, 1e9)
    assert differ(1e9 + 1e4, 1e9)
    assert not differ(1e-9, 0.0)
    assert differ(1e-3, 0.0)
    assert differ(np.nan, 0.0)
    assert laws._equal(pd.DataFrame({"a": [1]}), pd.DataFrame({"value": [1]})).faults
    labels = laws._equal(pd.DataFrame({"label": ["x", "y"]}), pd.DataFrame({"label": ["x", "x"]}))
    assert labels.faults == ("1 of 2 labels differ",)


# ── over HTTP


def asked(plane, package, url, arm="champion"):
    return Subject(arm=arm, package=package, spec=plane.spec, client=Client(url))


def over_http(plane, package, law, arm="champion"):
    with served(plane) as url:
        subject = asked(plane, package, url, arm)
        with subject.client:
            return examine(law, subject)


@pytest.mark.parametrize("law", laws.HTTP_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("unit", ["customer_id", "header:x-customer", "cookie:visitor", None])
def test_a_law_over_http_is_kept_by_a_sound_service_for_every_arm(law, unit, champion, challenger):
    arms = {"champion": champion, "challenger": challenger}
    plane = plane_of(arms, route=Route({"champion": 0.7, "challenger": 0.3}), unit=unit)
    for arm, package in arms.items():
        finding = over_http(plane, package, law, arm)
        assert finding.state == "kept", finding


def test_a_service_that_answers_otherwise_than_the_notebook_breaks_the_law(champion):
    plane = plane_of({"champion": bent(champion, lambda scores, _: scores * 0.99)})
    finding = over_http(plane, champion, laws.http_answers_what_the_notebook_answers)
    assert finding.state == "broken"
    assert "score_bad differs by up to" in finding.facts


def test_a_service_with_hooks_is_not_held_to_the_notebook(champion):
    class Own(Hooks):
        def changed(self):
            return ["preprocess"]

    finding = over_http(
        plane_of({"champion": champion}, hooks=Own()), champion, laws.http_answers_what_the_notebook_answers
    )
    assert (finding.state, finding.facts) == ("not tried", "service.py has its own preprocess")


def test_a_hook_that_fails_for_real_rows_breaks_the_law(champion):
    class Own(Hooks):
        def preprocess(self, frame):
            return frame.drop(columns="age")

    plane = plane_of({"champion": champion}, hooks=Own())
    finding = over_http(plane, champion, laws.http_answers_what_the_notebook_answers)
    assert (finding.state, finding.facts) == ("broken", "RequestError: The service failed. Its log says why.")


def test_a_service_whose_route_gives_the_unit_to_another_arm_breaks_the_law(champion, challenger):
    arms = {"champion": champion, "challenger": challenger}
    promised = plane_of(arms, route=Route({"champion": 0.5, "challenger": 0.5}))
    with served(plane_of(arms, route=routing.only("champion"))) as url:
        subject = asked(promised, challenger, url, "challenger")
        with subject.client:
            finding = examine(laws.http_answers_what_the_notebook_answers, subject)
    assert finding.state == "broken"
    assert "must answer its own unit. Another did." in finding.facts


class Refusing(Client):
    """A client of a service that refuses in a way of its own."""

    def __init__(self, refusal):
        super().__init__("http://127.0.0.1:9")
        self.refusal = refusal

    def predict(self, frame, *, unit=None):
        if self.refusal is None:
            made = pd.DataFrame({"label": ["bad"] * len(frame)})
            made.attrs["arm"] = "champion"
            return made
        raise self.refusal


@pytest.mark.parametrize(
    ("refusal", "facts"),
    [
        (None, "answered a wrong 'age'"),
        (RequestError("no", status=500, code="internal"), "status 500 for a wrong 'age'"),
        (RequestError("no", status=400, code="invalid_request"), "refused a wrong 'age' without its row and name"),
    ],
)
def test_a_service_that_does_not_refuse_by_row_and_column_breaks_the_law(champion, refusal, facts):
    plane = plane_of({"champion": champion})
    with Refusing(refusal) as client:
        subject = Subject(arm="champion", package=champion, spec=plane.spec, client=client)
        finding = examine(laws.http_refuses_by_row_and_column, subject)
    assert finding.state == "broken"
    assert facts in finding.facts


# ── what was found


def test_a_package_is_checked_by_every_law(champion):
    said = []
    report = ek.check(champion, progress=said.append)
    assert report.ok
    assert report.subject == str(champion.ref)
    assert [finding.law for finding in report.findings] == [laws.sentence(law) for law in laws.LAWS]
    assert said == [f"risk: {laws.sentence(law)}" for law in laws.LAWS]


def test_a_folder_that_is_none_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match=r"ekiben\.toml"):
        ek.check(tmp_path / "nothing")


KEPT = Finding(law="Rows are rows.", arm="champion", state="kept", facts="3 tried")
RED = Finding(law="<b> & more.", arm="challenger", state="broken", facts="1 of 3 <labels> differ")
BLANK = Finding(law="Rules.", arm="a", state="not tried", facts="no rules")


def test_a_report_is_ok_when_no_law_is_broken():
    assert Report(subject="s", findings=(KEPT, BLANK)).ok
    red = Report(subject="s", findings=(KEPT, RED, BLANK))
    assert not red.ok
    assert red.broken == (RED,)


def test_a_report_shows_itself_as_a_table():
    again = Finding(law=RED.law, arm="champion", state="kept", facts="3 tried")
    report = Report(subject="risk", findings=(KEPT, again, RED), notes=("fast",))
    assert str(report).splitlines() == [
        "risk: 1 broken, 2 kept",
        "                  champion   challenger",
        "  Rows are rows.  ✓ 3 tried",
        "  <b> & more.     ✓ 3 tried  ✗ 1 of 3 <labels> differ",
        "  · fast",
    ]
    assert repr(report) == str(report)
    shown = report._repr_html_()
    assert "&lt;b&gt; &amp; more." in shown
    assert "<labels>" not in shown


def test_a_report_of_one_arm_has_no_head():
    assert str(Report(subject="risk", findings=(BLANK,))).splitlines() == ["risk: 0 laws kept", "  Rules.  – no rules"]


def test_a_long_note_goes_on_in_the_next_line():
    long = replace(
        RED, facts="row 7: the service answered 0.25 and the notebook answered 0.5, in score_0; and so on " + "x" * 60
    )
    report = Report(subject="risk", findings=(KEPT, long, replace(KEPT, law=RED.law)), notes=("a note " * 20,))
    assert str(report).splitlines() == [
        "risk: 1 broken, 2 kept",
        "                  champion   challenger",
        "  Rows are rows.  ✓ 3 tried",
        "  <b> & more.     ✓ 3 tried  ✗ row 7: the service answered 0.25 and the",
        "                               notebook answered 0.5, in score_0; and so on x",
        "                               " + "x" * 46,
        "                               " + "x" * 13,
        "  · a note" + " a note" * 13,
        "    a note" + " a note" * 5,
    ]
    assert 'overflow-wrap:anywhere">' in report._repr_html_()


def test_a_report_is_plain_json():
    document = Report(subject="risk", findings=(KEPT, RED)).to_json()
    assert json.loads(json.dumps(document)) == document
    assert (document["ok"], document["findings"][1]["state"]) == (False, "broken")


def test_a_process_that_ends_while_it_is_looked_at_is_none_of_the_service_s(monkeypatch):
    look = loading._stat

    def ended(pid):
        if pid == 1:
            raise ProcessLookupError
        return look(pid)

    monkeypatch.setattr(loading, "_stat", ended)
    assert loading.cpu_s(os.getpid()) > 0
