"""A service's folder is plain BentoML: written whole, the user's own file kept, and everything pinned."""

import ast
import json
import re
import shutil
from dataclasses import replace

import bentoml
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC

import ekiben as ek
from ekiben import compatibility, pinning, scaffolding, spec
from ekiben.errors import NotFoundError, SpecError

BOTH = ek.canary(stable="champion", canary="challenger", percent=10)


@pytest.fixture
def arms(champion, challenger):
    return {"champion": champion, "challenger": challenger}


@pytest.fixture
def folder(arms, tmp_path):
    return ek.scaffold(tmp_path / "risk_service", arms=arms, route=BOTH, unit="customer_id")


@pytest.fixture
def forgotten(champion, tmp_path):
    """A folder whose model is in no store any more."""
    made = ek.scaffold(tmp_path / "risk", arms={"champion": champion}, remake="python train.py --fast")
    bentoml.models.delete(pinning.read(made).pins["champion"].tag)
    return made


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# ── what is written


def test_a_service_that_takes_tables_brings_what_reads_them(champion, tmp_path):
    made = ek.scaffold(tmp_path / "tables", arms={"champion": champion}, tables=True)
    assert "tables = true" in (made / "ekiben.toml").read_text()
    assert "\npyarrow==" in (made / "requirements.txt").read_text()
    plain = ek.scaffold(tmp_path / "plain", arms={"champion": champion})
    assert "pyarrow" not in (plain / "requirements.txt").read_text()


def test_a_folder_holds_the_service_its_spec_its_laws_and_its_environment(folder):
    assert files_of(folder) == [
        "README.md",
        "bentofile.yaml",
        "contract.json",
        "ekiben.toml",
        "requirements.txt",
        "service.py",
        "tests/test_laws.py",
        f"wheels/ekiben-{ek.__version__}-py3-none-any.whl",
    ]


def test_the_spec_is_what_was_asked_for(folder, champion, challenger):
    found = spec.read(folder)
    assert found.name == "risk_service"
    assert dict(found.arms) == {"champion": champion.ref, "challenger": challenger.ref}
    assert found.route == BOTH
    assert str(found.unit) == "customer_id"


def test_any_field_of_the_spec_may_be_set(champion, tmp_path):
    settings = {"workers": 3, "budgets": ek.Budgets(explain_ms=80), "limits": ek.Limits(max_rows=7), "name": "own_name"}
    found = spec.read(ek.scaffold(tmp_path / "x", arms={"only": champion}, remake="make it", **settings))
    assert (found.workers, found.budgets.explain_ms, found.limits.max_rows) == (3, 80, 7)
    assert (found.name, found.remake, str(found.route)) == ("own_name", "make it", "only 100 %")


def test_the_contract_pins_every_arm_and_shows_a_real_answer(folder, champion, challenger):
    found = pinning.read(folder)
    assert {arm: pin.digest for arm, pin in found.pins.items()} == {
        "champion": champion.digest,
        "challenger": challenger.digest,
    }
    assert found.pins["champion"].tag == f"risk:{champion.digest[:12]}"
    assert (found.row, found.answer) == (champion.examples[0]["row"], champion.examples[0]["answer"])
    assert found.signature.inputs == compatibility.union(champion.schema, challenger.schema)
    for pin in found.pins.values():
        assert bentoml.models.get(pin.tag).info.metadata["digest"] == pin.digest


def test_the_service_is_a_short_class_that_python_reads(folder):
    text = (folder / "service.py").read_text()
    classes = [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    assert classes == ["RiskService"]
    assert len(text.splitlines()) <= 20


def test_the_bento_takes_an_explicit_list_of_files(folder):
    text = (folder / "bentofile.yaml").read_text()
    included = re.findall(r"^  - (\S+)", text, re.MULTILINE)
    assert 'service: "service:RiskService"' in text
    assert included
    absent = {pattern for pattern in included if not list(folder.glob(pattern))}
    assert absent <= {"requirements.hashed.txt", "uv.toml"}  # written by a build, and where an arm needs alibi


def test_the_readme_is_the_card_of_every_arm(folder, champion, challenger):
    text = (folder / "README.md").read_text()
    assert text.startswith("# risk_service\n")
    assert f"- `champion`: {champion.ref}, 90% of the units" in text
    assert f"## challenger: {challenger.ref}" in text


def test_no_file_names_a_place_on_this_machine(folder, tmp_path):
    for name in files_of(folder):
        if not name.endswith(".whl"):
            assert str(tmp_path) not in (folder / name).read_text()
            assert not re.search(r"https?://(?!127\.0\.0\.1)", (folder / name).read_text()), name


def test_to_scaffold_again_changes_nothing(folder, arms):
    before = {name: (folder / name).read_bytes() for name in files_of(folder)}
    ek.scaffold(folder, arms=arms, route=BOTH, unit="customer_id")
    assert {name: (folder / name).read_bytes() for name in files_of(folder)} == before


def test_a_service_that_was_edited_is_kept_and_the_rest_is_written_anew(folder, champion):
    (folder / "service.py").write_text("# mine\n")
    (folder / "tests" / "test_mine.py").write_text("# mine too\n")
    ek.scaffold(folder, arms={"champion": champion})
    assert (folder / "service.py").read_text() == "# mine\n"
    assert (folder / "tests" / "test_mine.py").read_text() == "# mine too\n"
    assert list(spec.read(folder).arms) == ["champion"]
    assert list(pinning.read(folder).pins) == ["champion"]


def test_what_two_arms_take_differently_the_service_takes_strictly(champion, people, tmp_path, prepared):
    rows = people[0].fillna({"income": 0.0})
    numbers = rows[["age", "income", "job", "member"]]
    model = make_pipeline(prepared().set_params(numbers="passthrough"), LogisticRegression(max_iter=5000))
    bare = ek.pack(model.fit(numbers, people[1]), name="risk", reference=numbers)
    assert champion.schema["income"].nullable
    assert not bare.schema["income"].nullable
    made = ek.scaffold(tmp_path / "risk", arms={"a": champion, "b": bare}, route=ek.split(a=1, b=1))
    assert not pinning.read(made).signature.inputs["income"].nullable


# ── versions and aliases


@pytest.mark.usefixtures("tracking_uri")
def test_an_alias_is_pinned_to_the_version_it_points_at_now(champion, challenger, tmp_path):
    ek.log(champion, alias="live")
    folder = ek.scaffold(tmp_path / "risk", arms={"champion": "models:/risk@live"})
    ek.log(challenger, alias="live")
    assert str(spec.read(folder).arms["champion"]) == "models:/risk/1"
    assert pinning.read(folder).pins["champion"].ref == "models:/risk/1"


@pytest.mark.usefixtures("tracking_uri")
def test_to_pin_follows_an_alias_that_was_written_by_hand(champion, challenger, folder):
    ek.log(champion)
    ek.log(challenger, alias="live")
    text = (folder / spec.FILE).read_text().replace(str(champion.ref), "models:/risk@live")
    (folder / spec.FILE).write_text(text)
    assert ek.pin(folder) == folder
    found = spec.read(folder)
    assert str(found.arms["champion"]) == "models:/risk/2"
    assert pinning.read(folder).pins["champion"].digest == challenger.digest
    assert found.route == BOTH


@pytest.mark.usefixtures("tracking_uri")
def test_to_pin_keeps_the_comments_of_a_spec_that_says_the_same(champion, tmp_path):
    folder = ek.scaffold(tmp_path / "risk", arms={"champion": ek.log(champion)})
    text = "# agreed with the board\n" + (folder / spec.FILE).read_text()
    (folder / spec.FILE).write_text(text)
    assert (ek.pin(folder) / spec.FILE).read_text() == text


@pytest.mark.usefixtures("tracking_uri")
def test_to_pin_puts_the_models_back_into_the_store(champion, tmp_path):
    folder = ek.scaffold(tmp_path / "risk", arms={"champion": ek.log(champion)})
    tag = pinning.read(folder).pins["champion"].tag
    bentoml.models.delete(tag)
    (folder / pinning.FILE).unlink()
    ek.pin(folder)
    assert pinning.read(folder).pins["champion"].tag == tag
    assert bentoml.models.get(tag)


def test_what_makes_a_missing_model_again_is_told(forgotten, champion):
    words = (
        f"{champion.ref} was never logged, and is not in BentoML's store. Pack it again, or log it: ek.log(package). "
        "To make the models again, run: python train.py --fast"
    )
    with pytest.raises(NotFoundError, match=re.escape(words)):
        ek.pin(forgotten)


@pytest.mark.usefixtures("tracking_uri")
def test_a_version_that_is_nowhere_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match=re.escape("No model 'risk' is registered.")):
        ek.scaffold(tmp_path / "risk", arms={"champion": "models:/risk/1"})
    assert not (tmp_path / "risk").exists()


# ── what is refused


def test_the_folder_of_a_package_is_told_how_to_become_an_arm(champion, tmp_path):
    saved = str(champion.save(tmp_path / "packed"))
    with pytest.raises(SpecError, match=re.escape(f"Got the folder {saved!r}. Load it: ek.load({saved!r})")):
        ek.scaffold(tmp_path / "risk", arms={"champion": saved})


def test_another_s_folder_is_left_alone(champion, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    words = "must be new, empty, or hold a service of ekiben. Got"
    with pytest.raises(SpecError, match=re.escape(words)):
        ek.scaffold(tmp_path, arms={"champion": champion})
    assert files_of(tmp_path) == ["notes.txt"]


def test_no_arm_is_no_service(champion, tmp_path):
    for arms, got in (({}, "none"), (champion, "Package"), ([champion], "list")):
        words = f"The 'arms' must name at least one package or version: arms={{'champion': package}}. Got {got}."
        with pytest.raises(SpecError, match=re.escape(words)):
            ek.scaffold(tmp_path / "risk", arms=arms)


def test_a_setting_that_no_service_has_is_refused(champion, tmp_path):
    with pytest.raises(SpecError, match=r"A setting must be one of budgets, .*Got 'worker'\. Did you mean 'workers'\?"):
        ek.scaffold(tmp_path / "risk", arms={"champion": champion}, worker=2)


def test_two_arms_need_a_route(arms, tmp_path):
    words = "More than one arm needs a 'route', such as ek.canary(stable='champion', canary='challenger', percent=10)."
    with pytest.raises(SpecError, match=re.escape(words)):
        ek.scaffold(tmp_path / "risk", arms=arms)


def test_the_name_of_an_arm_is_refused_before_a_route_is_asked_for(champion, tmp_path):
    words = (
        "An arm must be named by lower case letters, digits and '_', a letter first, such as 'my_arm'. Got 'My arm'."
    )
    for arms in ({"My arm": champion}, {"My arm": champion, "b": champion}):
        with pytest.raises(SpecError, match=f"^{re.escape(words)}$"):
            ek.scaffold(tmp_path / "risk", arms=arms)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"route": ek.only("champoin")}, "champoin"),
        ({"route": BOTH, "unit": "header:x y"}, "unit"),
        ({"route": BOTH, "name": "Risk Service"}, "name must be lower case letters"),
        ({"route": BOTH, "workers": 0}, "workers must be a whole number"),
    ],
)
def test_a_spec_that_cannot_be_is_refused_before_anything_is_written(arms, tmp_path, settings, words):
    with pytest.raises(SpecError, match=re.escape(words)):
        ek.scaffold(tmp_path / "risk", arms=arms, **settings)
    assert not (tmp_path / "risk").exists()


def test_arms_of_other_columns_make_one_contract_that_says_who_takes_what(champion, people, tmp_path):
    rows = people[0][["age"]].rename(columns={"age": "years"})
    other = ek.pack(LogisticRegression().fit(rows, people[1]), name="risk", reference=rows)
    route = ek.canary(stable="champion", canary="challenger", percent=10)
    folder = ek.scaffold(tmp_path / "made", arms={"champion": champion, "challenger": other}, route=route)
    found = pinning.read(folder)
    assert found.signature.inputs.names == ("age", "income", "job", "member", "years")
    assert found.takers == {
        **dict.fromkeys(("age", "income", "job", "member"), ("champion",)),
        "years": ("challenger",),
    }
    assert found.row["years"] == other.examples[0]["row"]["years"]
    assert "- Only `challenger` takes `years`." in (folder / "README.md").read_text()


def test_arms_that_contradict_each_other_are_refused_with_the_reason(champion, people, tmp_path):
    rows = people[0][["age"]].astype(str)
    shared = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    other = ek.pack(shared.fit(rows, people[1]), name="risk", reference=rows)
    route = ek.canary(stable="champion", canary="challenger", percent=10)
    words = "The arms of one service must take values in common. Got a contradiction: 'age' is integer for one and text"
    with pytest.raises(SpecError, match=re.escape(words)):
        ek.scaffold(tmp_path / "made", arms={"champion": champion, "challenger": other}, route=route)


def test_a_unit_that_is_an_alias_is_refused(tmp_path):
    rows = pd.DataFrame({"Customer ID": [1, 2, 3, 4]})
    package = ek.pack(LinearRegression().fit(rows, [1, 2, 3, 4]), name="named", reference=rows)
    with pytest.raises(SpecError, match=re.escape("The 'unit' must not be the alias of a column. Got 'customer_id'")):
        ek.scaffold(tmp_path / "made", arms={"only": package}, unit="customer_id")


def test_arms_of_other_labels_are_refused(champion, people, prepared, tmp_path):
    named = make_pipeline(prepared(), LogisticRegression()).fit(people[0], people[1].map({"good": 1, "bad": 0}))
    other = ek.pack(named, name="risk", reference=people[0])
    words = (
        "The arms of one service must answer alike. 'champion' gives scores of ['bad', 'good'], 'challenger' gives "
        "scores of [0, 1]. "
        "Give both the same labels in the same order."
    )
    with pytest.raises(SpecError, match=re.escape(words)):
        ek.scaffold(tmp_path / "risk", arms={"champion": champion, "challenger": other}, route=BOTH)


def test_an_arm_of_labels_alone_beside_one_of_scores_is_told_how_to_get_scores(champion, people, prepared, tmp_path):
    bare = make_pipeline(prepared(), LinearSVC()).fit(*people)
    other = ek.pack(bare, name="risk", reference=people[0])
    words = "'challenger' gives a label. Give both scores: CalibratedClassifierCV(model) makes them for a model that has none."
    with pytest.raises(SpecError, match=re.escape(words)):
        ek.scaffold(tmp_path / "risk", arms={"champion": champion, "challenger": other}, route=BOTH)


def test_a_classifier_and_a_regressor_are_no_arms_of_one_service(champion, people, tmp_path):
    rows = people[0][["age"]]
    other = ek.pack(LinearRegression().fit(rows, rows["age"]), name="risk", reference=rows)
    with pytest.raises(SpecError, match=re.escape("'challenger' gives a value.")):
        ek.scaffold(tmp_path / "risk", arms={"champion": champion, "challenger": other}, route=BOTH)


def test_a_folder_without_a_service_cannot_be_pinned(tmp_path):
    with pytest.raises(NotFoundError, match=re.escape("ekiben.toml")):
        ek.pin(tmp_path)


# ── the contract beside the spec


def test_a_contract_is_read_as_it_was_written(folder, tmp_path):
    found = pinning.read(folder)
    pinning.write(found, tmp_path)
    assert pinning.read(tmp_path) == found


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"signature": {}}', '{"format": 1, "signature": []}'])
def test_a_broken_contract_is_refused_with_what_to_run(folder, text):
    (folder / pinning.FILE).write_text(text)
    with pytest.raises(SpecError, match=re.escape(f"Run: ekiben pin {folder}")):
        pinning.read(folder)


def test_a_contract_with_a_list_in_place_of_a_table_is_refused(folder):
    document = json.loads((folder / pinning.FILE).read_text())
    (folder / pinning.FILE).write_text(json.dumps({**document, "pins": []}))
    with pytest.raises(SpecError, match="must be as it was written"):
        pinning.read(folder)


def test_a_contract_of_another_format_is_refused(folder):
    document = json.loads((folder / pinning.FILE).read_text())
    (folder / pinning.FILE).write_text(json.dumps({**document, "format": 2}))
    with pytest.raises(SpecError, match=re.escape("contract.json must be as it was written, in format 1.")):
        pinning.read(folder)


def test_a_missing_contract_is_not_found(folder):
    (folder / pinning.FILE).unlink()
    with pytest.raises(NotFoundError, match=re.escape(f"Run: ekiben pin {folder}")):
        pinning.read(folder)


def test_a_route_may_be_left_out_for_one_arm(champion, tmp_path):
    found = spec.read(ek.scaffold(str(tmp_path / "Risk-Service 2"), arms={"champion": champion}))
    assert (found.name, found.route) == ("risk_service_2", ek.only("champion"))
    assert scaffolding._the_only(("a",)) == ek.only("a")
    assert replace(found, workers=2).workers == 2
    shutil.rmtree(tmp_path / "Risk-Service 2")


def test_what_a_method_needs_is_locked_where_it_is_named_and_nowhere_else(champion, tmp_path):
    named = spec.Explain(methods=("anchor-alibi",))
    answering = ek.scaffold(tmp_path / "risk", arms={"champion": champion})
    explaining = ek.scaffold(tmp_path / "risk_alibi", arms={"champion": champion}, explain=named)
    holds = ["alibi==" in (folder / "requirements.txt").read_text() for folder in (answering, explaining)]
    assert holds == [False, True]
    assert pinning.read(answering).pins == pinning.read(explaining).pins
