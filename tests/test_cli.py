"""The same verbs from a shell: what they print, and with which exit code they end."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ekiben as ek
import pages
from ekiben import cli, packages
from ekiben.explanations.reasons import Speaker
from ekiben.recording.segments import Header
from ekiben.recording.writing import Recorder

TRAIN = """
import pandas as pd
from sklearn.linear_model import LinearRegression

X = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0], "floor": [1, 2, 2, 3]})
y = X["rooms"] * 10
X_test, y_test = X.head(2) + 1, y.head(2) + 10
model = LinearRegression().fit(X, y)
unfitted = LinearRegression()
"""
PACK = ("pack", "train:model", "--name", "flat", "--reference", "train:X", "--out", "flat")
VERBS = (
    "pack",
    "log",
    "fetch",
    "card",
    "scaffold",
    "pin",
    "check",
    "serve",
    "explain",
    "build",
    "containerize",
    "manifests",
    "export",
)


@pytest.fixture
def shell(tmp_path, tracking_uri, monkeypatch, capsys):
    """Run the command in a folder of its own with a module `train`; give its exit code, output and error output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    (tmp_path / "train.py").write_text(TRAIN)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ekiben", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
        told = capsys.readouterr()
        return code, told.out, told.err

    yield run
    sys.modules.pop("train", None)


@pytest.fixture
def packed(shell, tmp_path):
    assert shell(*PACK)[0] == 0
    return tmp_path / "flat"


def spoilt(folder):
    """Change what the examples answered, and seal the package anew: it is read, but breaks a law."""
    examples = json.loads((folder / "examples.json").read_text())
    for example in examples:
        example["answer"]["value"] += 1
    packages.write_json(folder / "examples.json", examples)
    manifest = json.loads((folder / "package.json").read_text())
    packages.seal(
        folder, {key: manifest[key] for key in manifest if key not in ("files", "digest", "provenance", "seal")}
    )
    return folder


# ── from a module to a service


def test_a_model_s_way_from_a_module_to_a_service(shell, tmp_path):
    code, out, err = shell(*PACK, "--target", "train:y", "--holdout", "train:X_test,y_test", "--owner", "me")
    assert (code, err) == (0, "")
    assert "LinearRegression, a regressor" in out
    assert out.endswith("Packed to flat. Next: ekiben log flat\n")
    assert shell("log", "flat", "--alias", "champion") == (0, "models:/flat/1\n", "")
    assert shell("log", "flat") == (0, "models:/flat/1\n", "")
    assert shell("card", "models:/flat@champion") == shell("card", "flat")
    assert shell("fetch", "models:/flat/1", "--out", "again")[:2] == (0, "again\n")
    assert ek.load(tmp_path / "again").digest == ek.load(tmp_path / "flat").digest
    code, out, err = shell(
        "scaffold", "bentos/flat", "--arm", "champion=models:/flat@champion", "--unit", "customer_id"
    )
    assert (code, out, err) == (0, "Wrote bentos/flat. Next: ekiben check bentos/flat\n", "")
    assert 'champion = "models:/flat/1"' in (tmp_path / "bentos" / "flat" / "ekiben.toml").read_text()
    assert shell("pin", "bentos/flat") == (0, "Pinned bentos/flat.\n", "")


def test_json_is_printed_for_a_program_to_read(shell, packed, tmp_path):
    code, out, _ = shell("pack", "train:model", "--name", "flat", "--reference", "train:X", "--out", "more", "--json")
    document = json.loads(out)
    assert (code, document["folder"], document["name"]) == (0, "more", "flat")
    assert json.loads(shell("card", "flat", "--json")[1])["digest"] == document["digest"]
    assert json.loads(shell("log", "flat", "--json")[1]) == {"ref": "models:/flat/1"}
    arm = ("--arm", f"champion={packed}")
    assert json.loads(shell("scaffold", "bentos/flat", *arm, "--json")[1]) == {"folder": "bentos/flat"}
    report = json.loads(shell("check", "flat", "--json")[1])
    assert report["ok"] is True
    assert {finding["state"] for finding in report["findings"]} <= {"kept", "not tried"}


def test_weights_and_shadows_make_a_route(shell, packed, tmp_path):
    arms = [option for arm in ("a", "b", "c") for option in ("--arm", f"{arm}={packed}")]
    weights = ["--weight", "a=90", "--weight", "b=10", "--shadow", "c"]
    assert shell("scaffold", "service", *arms, *weights)[0] == 0
    found = ek.load(packed)
    assert found
    text = (tmp_path / "service" / "ekiben.toml").read_text()
    assert "a = 90" in text
    assert 'shadows = ["c"]' in text


# ── exit codes


def test_check_ends_with_0_when_every_law_is_kept(shell, packed):
    code, out, _ = shell("check", packed)
    assert code == 0
    assert "11 laws kept" in out


def test_check_ends_with_1_when_a_law_is_broken(shell, packed):
    code, out, err = shell("check", spoilt(packed))
    assert (code, err) == (1, "")
    assert "1 broken, 10 kept" in out
    assert re.search(r"The examples answer as recorded\..*✗ value differs by up to", out)
    code, out, _ = shell("check", packed, "--json")
    assert (code, json.loads(out)["ok"]) == (1, False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pack", "train", *PACK[2:]), "An object is named as module:object, such as train:pipeline. Got 'train'."),
        (
            ("pack", "trian:model", *PACK[2:]),
            "The module 'trian' must be importable from this folder. It is not: no trian.py here.",
        ),
        (("pack", ":model", *PACK[2:]), "An object is named as module:object, such as train:pipeline. Got ':model'."),
        (
            ("pack", "no-train.py:model", *PACK[2:]),
            "The module 'no-train' must be importable from this folder. It is not: no no-train.py here.",
        ),
        (("pack", "src/train.py:model", *PACK[2:]), "An object is named as module:object, such as train:pipeline."),
        (("pack", "no.train:model", *PACK[2:]), "The module 'no.train' must be importable from this folder."),
        (("pack", "train:modle", *PACK[2:]), "The module 'train' must hold 'modle'. It does not."),
        (
            ("pack", "train:unfitted", *PACK[2:]),
            "The model must be fitted. Got an unfitted LinearRegression. Fit it first.",
        ),
        ((*PACK, "--holdout", "train:X_test"), "Held-out data is named as module:rows,labels"),
        ((*PACK, "--explainer", "shap"), "The explainer must be one of 'auto'"),
        (("log", "nothing"), "A package's folder must hold package.json. Got 'nothing', which has none."),
        (("card", "nothing"), "A package's folder must hold package.json. Got 'nothing', which has none."),
        (("card", "models:/flat/1"), "No model 'flat' is registered. Known: []."),
        (("fetch", "flat/1", "--out", "x"), "Did you mean 'models:/flat/1'?"),
        (("scaffold", "x", "--arm", "champion"), "--arm takes name=value. Got 'champion'."),
        (
            ("scaffold", "x", "--arm", "a=models:/m/1", "--arm", "a=models:/m/2"),
            "--arm takes each name once. Got 'a' twice.",
        ),
        (("scaffold", "x", "--arm", "a=models:/m/1", "--weight", "a=much"), "--weight takes a number. Got 'much'."),
        (("pin", "nothing"), "ekiben.toml"),
        (("check", "nothing"), "ekiben.toml"),
        (("serve", "nothing"), "A service's folder must hold service.py. Got 'nothing', which has none."),
        (("build", "nothing"), "ekiben.toml"),
        (("containerize", "nothing:1"), "No bento 'nothing:1'. Known: none. To build one, run: ekiben build <folder>"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_is_one_message_and_exit_code_2(shell, arguments, words):
    code, out, err = shell(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert words in err
    assert "Traceback" not in err


def test_a_message_is_printed_as_it_is_with_its_brackets(shell, packed):
    shell("log", "flat")
    err = shell("card", "models:/flta/1")[2]
    assert err == "Error: No model 'flta' is registered. Did you mean 'flat'? Known: ['flat'].\n"
    err = shell("card", "models:/:taxi:/1")[2]
    assert ":taxi:" in err
    err = shell("pack", "train:[bold]", *PACK[2:])[2]
    assert err == "Error: The module 'train' must hold '[bold]'. It does not.\n"


def test_a_package_that_was_changed_is_refused(shell, packed):
    (packed / "examples.json").write_text("[]")
    code, _, err = shell("check", packed)
    assert code == 2
    assert "examples.json was changed" in err


def test_a_module_that_fails_shows_its_own_error(shell, tmp_path):
    (tmp_path / "broken.py").write_text("import no_such_library\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        shell("pack", "broken:model", *PACK[2:])


# ── help


def test_a_row_of_a_file_is_explained_and_its_page_is_written(shell, packed, tmp_path):
    package = ek.load(packed)
    (tmp_path / "row.json").write_text(json.dumps(package.examples[0]["row"]))
    code, said, _ = shell("explain", packed, "row.json")
    assert code == 0
    assert said.strip() == str(package.explain(package.example_frame.head(1))[0])
    code, said, _ = shell("explain", packed, "row.json", "--page", "why.html", "--language", "fr")
    assert (code, said.strip()) == (0, "why.html")
    page = pages.read((tmp_path / "why.html").read_text())
    assert page.all("html")[0].attributes["lang"] == "fr"
    assert package.digest in page.text
    assert page.all("h1")[0].text == Speaker.of("fr").value(package.examples[0]["answer"]["value"])
    (tmp_path / "rows.json").write_text(json.dumps({"rows": [package.examples[0]["row"]] * 2}))
    code, said, _ = shell("explain", packed, "rows.json", "--json")
    assert len(json.loads(said)["explanations"]) == 2
    code, _, complained = shell("explain", packed, "rows.json", "--page", "why.html")
    assert (code, "A page is for one row. Got 2 in 'rows.json'." in complained) == (2, True)
    code, _, complained = shell("explain", packed, "none.json")
    assert (code, "The rows must be in a file that can be read." in complained) == (2, True)


def test_every_verb_says_what_it_does(shell):
    code, out, _ = shell("--help")
    assert code == 0
    told = re.findall(r"^│ ([a-z]+) ", out, re.MULTILINE)
    assert [verb for verb in told if verb in VERBS] == list(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_names_its_arguments(shell, verb):
    code, out, _ = shell(verb, "-h")
    assert code == 0
    assert f"Usage: ekiben {verb}" in out
    assert "--help" in out


def test_a_wrong_option_is_exit_code_2(shell):
    assert shell("check", "x", "--jsn")[0] == 2
    assert shell("chekc", "x")[0] == 2


def test_the_version_is_that_of_the_package(shell):
    assert shell("--version") == (0, f"{ek.__version__}\n", "")


@pytest.mark.slow
def test_the_command_that_is_installed_is_this_one(tmp_path):
    command = [Path(sys.executable).with_name("ekiben"), "card", "nothing"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: A package's folder must hold package.json. Got 'nothing', which has none.\n"


def test_records_in_json_hold_each_number_in_full(shell, tmp_path):
    recorder = Recorder(tmp_path / "kept", Header(service="flat", columns=("rooms",), arms={"one": ("flat", "0")}))
    recorder.write(
        ("a", 1_764_000_000_123_456_789, "predict", "one", None, 1.0, 9.5, [(2.5,)], b'[{"value":0.1234567890123}]')
    )
    recorder.close()
    code, told, _ = shell("records", tmp_path / "kept", "--json")
    (row,) = json.loads(told)
    assert (code, row["output.value"], row["time"]) == (0, 0.1234567890123, "2025-11-24T16:00:00.123456789+00:00")
