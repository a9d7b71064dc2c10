import pickle
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekiben.errors import NotFoundError, SpecError
from ekiben.refs import ModelRef, parse
from ekiben.routing import Route, only
from ekiben.spec import Budgets, Containers, Explain, Limits, Log, Records, ServiceSpec, Unit, loads, parse_unit, read
from ekiben.spec.writing import dumps

GOLDEN = Path(__file__).parent / "golden" / "spec"

FULL = ServiceSpec(
    name="credit_risk",
    arms={
        "champion": parse("models:/credit_risk/1"),
        "challenger": parse("models:/credit_risk@challenger"),
        "next": parse("package:/credit_risk/0123abcd4567"),
    },
    route=Route({"champion": 0.9, "challenger": 0.1}, shadows=("next",), salt='spring "24"'),
    unit=Unit(source="header", name="x-customer-id"),
    budgets=Budgets(predict_p99_ms=20, explain_ms=80),
    limits=Limits(max_rows=500, max_body_mb=1.5, explain_rows=3, explain_columns=20, explain_share=0.5),
    workers=2,
    threads=8,
    timeout_s=12.5,
    tables=True,
    remake="python examples/credit_risk.py --fast",
)

SMALL = """
format = 1
name = "credit_risk"
[arms]
champion = "models:/credit_risk/1"
"""

amounts = st.floats(1e-300, 1e9) | st.integers(1, 10**9)
counts = st.integers(1, 10**9)
lines = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
reasons = st.dictionaries(lines, lines.filter(str.strip), max_size=3)
tokens = st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True)
fields = st.text(st.characters(codec="utf-8"), max_size=12).map(str.strip).filter(lambda s: s and s.isprintable())
units = st.one_of(
    st.builds(Unit, source=st.just("field"), name=fields | tokens.map(lambda token: f"header:{token}")),
    st.builds(Unit, source=st.sampled_from(["header", "cookie"]), name=tokens),
)


@st.composite
def specs(draw):
    arms = draw(st.lists(st.from_regex("[a-z][a-z0-9_]{0,8}", fullmatch=True), min_size=1, max_size=4, unique=True))
    answering = draw(st.lists(st.sampled_from(arms), min_size=1, unique=True))
    weights = {arm: draw(st.floats(1e-300, 1e300) | st.integers(1, 10**20)) for arm in answering}
    shadows = draw(st.lists(st.sampled_from(arms), unique=True).map(lambda some: sorted(set(some) - set(answering))))
    ref = st.builds(ModelRef, name=st.just("m"), version=counts) | st.just(parse("models:/m@champion"))
    return ServiceSpec(
        name="service_1",
        arms={arm: draw(ref) for arm in arms},
        route=Route(weights, shadows=tuple(shadows), salt=draw(st.just("") | lines)),
        unit=draw(st.none() | units),
        budgets=draw(st.builds(Budgets, predict_p99_ms=amounts, explain_ms=amounts)),
        limits=draw(st.builds(Limits, max_rows=counts, max_body_mb=amounts, explain_rows=counts, concurrency=counts)),
        log=draw(st.builds(Log, access=st.floats(0, 1))),
        containers=draw(st.builds(Containers, allow_licences=reasons, allow_leaks=reasons)),
        workers=draw(counts),
        threads=draw(counts),
        timeout_s=draw(amounts),
        tables=draw(st.booleans()),
        gpu=draw(st.booleans()),
        ramp=draw(st.sets(st.integers(1, 99), max_size=3).map(lambda some: tuple(sorted(some)))),
        records=draw(st.builds(Records, to=st.sampled_from(["file", "postgres", "off"]), keep_days=amounts)),
        explain=draw(st.builds(Explain, processes=counts, nearest=st.none() | st.floats(0, 1))),
        remake=draw(st.none() | lines.filter(str.strip)),
    )


@given(specs())
def test_what_a_spec_writes_it_reads_back(spec):
    assert loads(dumps(spec)) == spec


CHANGED = {
    "unit": FULL.unit,
    "budgets": FULL.budgets,
    "limits": FULL.limits,
    "log": Log(access=0.5),
    "records": Records(to="off"),
    "explain": Explain(processes=2),
    "containers": Containers(allow_leaks={"bento/*.csv": "cities"}),
    "ramp": (5, 50),
    "workers": 3,
    "threads": 7,
    "timeout_s": 9,
    "tables": True,
    "gpu": True,
    "remake": "make",
}


@pytest.mark.parametrize("key", sorted(ServiceSpec.__dataclass_fields__.keys() - {"name", "arms", "route"}))
def test_each_part_of_a_spec_is_written_and_read_back(key):
    spec = replace(loads(SMALL), **{key: CHANGED[key]})
    assert spec != loads(SMALL)
    assert loads(dumps(spec)) == spec


@given(units)
def test_what_a_unit_writes_it_reads_back(unit):
    assert parse_unit(str(unit)) == unit


@given(st.text())
def test_any_text_is_read_or_refused_by_name(text):
    for candidate in (text, SMALL + text, f"unit = {text}" + SMALL, f"workers = {text}" + SMALL):
        with suppress(SpecError):
            assert loads(candidate).name == "credit_risk"


def test_the_golden_file_is_read_from_its_folder_or_by_its_name():
    assert read(GOLDEN) == read(str(GOLDEN / "ekiben.toml")) == FULL


def test_a_spec_can_be_hashed_pickled_and_replaced():
    assert hash(FULL) == hash(read(GOLDEN))
    assert pickle.loads(pickle.dumps(FULL)) == FULL
    assert replace(FULL, workers=3).arms == FULL.arms
    with pytest.raises(TypeError):
        FULL.arms["champion"] = FULL.arms["next"]


def test_a_full_spec_is_written_for_people():
    text = dumps(FULL)
    assert 'champion = "models:/credit_risk/1"\nchallenger = "models:/credit_risk@challenger"\n' in text
    assert "weights = { champion = 0.9, challenger = 0.1 }" in text
    assert 'shadows = ["next"]' in text
    assert "timeout_s = 12.5                # seconds" in text
    assert max(map(len, text.splitlines())) < 120


def test_limits_and_workers_are_written_only_when_they_are_not_the_defaults():
    text = dumps(loads(SMALL))
    for key in ("limits", "workers", "threads", "timeout_s", "tables", "remake", "salt"):
        assert key not in text
    text = dumps(replace(loads(SMALL), limits=Limits(max_rows=5), workers=2))
    assert "max_rows = 5" in text
    assert "workers = 2" in text
    assert "max_body_mb" not in text


def test_what_an_image_may_hold_is_said_by_name_with_the_reason():
    told = (
        '[containers]\nallow_licences = { alibi = "bought, contract 17" }\nallow_leaks = { "bento/*.csv" = "cities" }'
    )
    spec = loads(SMALL + told)
    assert spec.containers.allow_licences == {"alibi": "bought, contract 17"}
    text = dumps(spec)
    assert 'alibi = "bought, contract 17"\n' in text
    assert '"bento/*.csv" = "cities"\n' in text
    assert loads(text) == spec
    assert hash(loads(text)) == hash(spec)
    assert "containers" not in dumps(loads(SMALL))
    with pytest.raises(
        SpecError, match=re.escape("containers.allow_leaks must be a table: a name = the reason. Got 3.")
    ):
        loads(SMALL + "[containers]\nallow_leaks = 3")


def test_one_arm_needs_no_route():
    spec = loads(SMALL)
    assert spec.route == only("champion")
    assert spec == ServiceSpec(
        name="credit_risk", arms={"champion": parse("models:/credit_risk/1")}, route=only("champion")
    )


def test_an_arm_may_wait_without_a_weight():
    spec = loads(SMALL + 'next = "models:/credit_risk/2"\n[route]\nweights = { champion = 1 }')
    assert list(spec.arms) == ["champion", "next"]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("customer_id", Unit(source="field", name="customer_id")),
        ("customer id", Unit(source="field", name="customer id")),
        ("field:a:b", Unit(source="field", name="a:b")),
        ("header:X-Customer-Id", Unit(source="header", name="x-customer-id")),
        ("cookie:Session", Unit(source="cookie", name="Session")),
    ],
)
def test_a_unit_is_a_field_a_header_or_a_cookie(text, unit):
    assert parse_unit(text) == unit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("heder:x-id", "unit must come from one of ['field', 'header', 'cookie']. Got 'heder'. Did you mean 'header'?"),
        ("header:", "unit must name a header by letters"),
        ("header:x id", "Got 'x id'."),
        ("cookie:a;b", "unit must name a cookie by letters"),
        ("", "unit must name a field by printable text, with no space around it. Got ''."),
        (" a", "Got ' a'."),
        ("a\n", r"Got 'a\n'."),
        (7, "unit must be text, such as 'customer_id' or 'header:x-customer-id'. Got 7."),
    ],
)
def test_a_unit_that_cannot_be_is_refused(text, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        parse_unit(text)


def test_every_fault_of_a_file_is_told_at_once_with_its_key(tmp_path):
    (tmp_path / "ekiben.toml").write_text(
        """
        format = 1
        name = "Credit-Risk"
        unit = "heder:x-id"
        worker = 2
        threads = true
        timeout_s = inf
        remake = ""

        [arms]
        champion = "credit_risk/1"
        Next = "models:/credit_risk/2"

        [route]
        weights = { champion = "most", challenger = 0.1, champoin = 1 }
        shadows = ["later"]
        sallt = "x"

        [budgets]
        predict_p99_ms = -1
        explain = 80

        [limits]
        max_rows = 1.5
        concurrency = 0

        [log]
        access = 2

        [containers]
        allow_licences = { alibi = "" }
        allow_leek = {}
        """
    )
    with pytest.raises(SpecError) as caught:
        read(tmp_path)
    first, *faults = str(caught.value).splitlines()
    assert first == f"{tmp_path / 'ekiben.toml'} has {len(faults)} faults:"
    assert faults == sorted(faults)
    assert [re.split("[ :]", fault)[1] for fault in faults] == [
        "arms.Next",
        "arms.champion",
        "budgets.explain",
        "budgets.predict_p99_ms",
        "containers.allow_leek",
        "containers.allow_licences.alibi",
        "limits.concurrency",
        "limits.max_rows",
        "log.access",
        "name",
        "remake",
        "route.sallt",
        "route.shadows",
        "route.weights.challenger",
        "route.weights.champion",
        "route.weights.champoin",
        "threads",
        "timeout_s",
        "unit",
        "worker",
    ]
    told = "\n".join(faults)
    for fact in (
        "Did you mean 'models:/credit_risk/1'?",
        "route.weights.champion must be a finite number, at least 0. Got 'most'.",
        "route.weights.champoin must be an arm of [arms]: Next, champion. Got 'champoin'. Did you mean 'champion'?",
        "Did you mean 'salt'?",
        "Did you mean 'explain_ms'?",
        "Did you mean 'workers'?",
        "limits.max_rows must be a whole number from 1 to 1,000,000,000. Got 1.5.",
        "limits.concurrency must be a whole number from 1 to 1,000,000,000. Got 0.",
        "log.access must be a number from 0 to 1. Got 2.",
        "containers.allow_licences.alibi must be the reason, such as 'bought, contract 17'. Got ''.",
        "Did you mean 'allow_leaks'?",
    ):
        assert fact in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "format must be set. Got nothing. Add a line: format = 1"),
        ("", 'name must be set. Got nothing. Add a line: name = "credit_risk"'),
        ("", "arms must name at least one arm and its model. Got nothing. Add a table: [arms]"),
        ("format = 1\nname = 'a'\narms = {}", "ekiben.toml: arms must name at least one arm and its model. Got {}."),
        ("format = 1\nname = 'a'\narms = 3", "arms must name at least one arm and its model. Got 3."),
        ("format = 1\nname = 'a'\n[arms.a]\nref = 'x'", "Got {'ref': 'x'}. Pass text."),
        (SMALL.replace("1\nname", "0\nname"), "format must be 1. Got 0."),
        (SMALL.replace("1\nname", "'1'\nname"), "format must be 1. Got '1'."),
        (SMALL.replace('credit_risk"\n[', 'credit_"\n['), "no '_' last, 63 characters at most. Got 'credit_'."),
        (SMALL.replace('credit_risk"\n[', 'class"\n['), "name must not be a word of Python's own. Got 'class'."),
        (
            SMALL + "b = 'models:/b/1'",
            "route must be set when there are several arms. Got arms: b, champion. Add a table: [route]",
        ),
        (SMALL + "[route]\nweights = 3", "route.weights must be a weight for each arm"),
        (SMALL + "[route]\nshadows = 'champion'", "route.shadows must be a list of arms. Got 'champion'."),
        (SMALL + "[route]\nsalt = ''", "ekiben.toml: route.weights must be set. Got nothing."),
        (SMALL + "[[route]]", "route must be a table. Got [{}]."),
        (
            SMALL + "[budgets]\nexplain_ms = 'fast'",
            "budgets.explain_ms must be a number above 0, at most 1,000,000,000.",
        ),
        (SMALL + '[limits]\n"a\\nb" = 1', r"limits.'a\nb' must be one of"),
        ("name = 1\nname = 2", "ekiben.toml must be TOML. Got: Cannot overwrite a value"),
        ("x = " + "[" * 5000, "ekiben.toml must be TOML. Got:"),
        ("x = " + "9" * 5000, "ekiben.toml must be TOML. Got:"),
        ("workers = 0x" + "f" * 9000 + SMALL, "Got a int too long to show."),
    ],
)
def test_a_file_that_cannot_be_is_refused(text, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        loads(text)


def test_a_format_from_the_future_is_said_to_be_newer_and_nothing_else():
    with pytest.raises(SpecError) as caught:
        loads("format = 2\nfleet = true", source="bentos/a/ekiben.toml")
    assert str(caught.value) == (
        "bentos/a/ekiben.toml must have format 1. Got 2: it was written by a newer ekiben. "
        "To read it, run: pip install --upgrade ekiben"
    )


def test_a_missing_file_says_what_to_run(tmp_path):
    folder = tmp_path / "my bento"
    folder.mkdir()
    for path in (folder, folder / "ekiben.toml", str(folder)):
        with pytest.raises(NotFoundError, match=re.escape(f"run: ekiben scaffold '{folder}'")):
            read(path)


def test_a_file_of_another_encoding_is_refused_by_name(tmp_path):
    file = tmp_path / "ekiben.toml"
    file.write_bytes("# \xe9".encode("latin-1"))
    with pytest.raises(SpecError, match=re.escape(f"{file} must be text in UTF-8.")):
        read(file)


def test_what_is_no_folder_is_no_service():
    with pytest.raises(SpecError, match=r"must be a service's folder, as ek\.scaffold writes it\. Got int"):
        read(7)


def test_a_folder_that_is_nearly_named_is_suggested(tmp_path):
    (tmp_path / "churn").mkdir()
    (tmp_path / "churn" / "ekiben.toml").write_text(SMALL)
    with pytest.raises(NotFoundError, match=r"which has none\. Did you mean 'churn'\?$"):
        read(tmp_path / "chrun")
    with pytest.raises(NotFoundError, match=r"which has none\. To make one, run: ekiben scaffold"):
        read(tmp_path / "other")


def test_a_file_with_a_byte_order_mark_and_windows_lines_is_read(tmp_path):
    (tmp_path / "ekiben.toml").write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert read(tmp_path) == loads(SMALL)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"unit": "customer_id"}, "unit must be of type Unit or None. Got 'customer_id'."),
        ({"arms": {"champion": "models:/a/1"}}, "arms.champion must be of type ModelRef. Got 'models:/a/1'."),
        ({"arms": None}, "arms must be of type Mapping. Got None."),
        ({"route": {"champion": 1}}, "route must be of type Route. Got {'champion': 1}. Make one by ek.canary"),
        ({"budgets": {"explain_ms": 9}}, "must be of type Budgets. Got {'explain_ms': 9}. Make one: ek.Budgets(…)."),
        ({"explain": ["anchor"]}, "explain must be of type Explain. Got ['anchor']. Make one: ekiben.spec.Explain(…)."),
        ({"route": only("champoin")}, "route.weights.champoin must be an arm of [arms]"),
        ({"workers": 0}, "workers must be a whole number from 1 to 1,000,000,000. Got 0."),
        ({"name": "a-b"}, "name must be lower case letters"),
        ({"name": "none"}, "name must not be a word of Python's own. Got 'none'."),
        ({"arms": {1: FULL.arms["champion"]}}, "arms.1 must be named by lower case letters"),
        ({"remake": " "}, "remake must be a command, such as 'python train.py'. Got ' '."),
        ({"timeout_s": 0}, "timeout_s must be a number above 0"),
    ],
)
def test_a_spec_made_in_python_keeps_the_same_rules(changed, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        replace(FULL, **changed)


def test_budgets_and_limits_keep_the_same_rules():
    with pytest.raises(SpecError, match=re.escape("Budgets: budgets.explain_ms must be a number above 0")):
        Budgets(explain_ms=float("nan"))
    with pytest.raises(SpecError, match=re.escape("Limits: limits.max_rows must be a whole number")):
        Limits(max_rows=0)
