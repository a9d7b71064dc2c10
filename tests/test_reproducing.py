"""A package answers the same in its environment built again from nothing, or the finding says what is otherwise."""

import json
import math
import re
import tempfile
from copy import deepcopy
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ekiben as ek
from ekiben import cli, packages, reproducing
from ekiben.errors import BuildError, NotFoundError, SpecError, UnreachableError
from ekiben.proving import Evidence
from ekiben.reproducing import Reproduction
from planes import Quiet, http_server

THE_SAME = Evidence(n_rows=6, n_values=18, differing=(), largest=0.0, failure=None, seconds=1.5)
WHERE = {
    "python": "3.11.7",
    "implementation": "CPython",
    "platform": "Linux",
    "machine": "x86_64",
    "distributions": {name: {"version": "1.0", "record": "a"} for name in ("ekiben", "numpy", "skops", "xgboost")},
}
LEAN = {name: {"version": "1.0", "record": "a"} for name in ("ekiben", "numpy", "skops", "xgboost-cpu")}


@pytest.fixture
def folder(champion, tmp_path):
    return champion.save(tmp_path / "risk")


def sealed_again(folder, **changes):
    manifest = json.loads((folder / "package.json").read_text())
    packages.seal(folder, {**manifest, **changes})
    return folder


def reproduced(monkeypatch, subject):
    """Reproduce from what uv has kept of this environment's installation; what it has not kept, from where that came."""
    with monkeypatch.context() as offline:
        offline.setenv("UV_OFFLINE", "1")
        try:
            return ek.reproduce(subject)
        except UnreachableError:
            offline.undo()
    return ek.reproduce(subject)


# ── a real environment


@pytest.mark.slow
def test_a_package_is_reproduced_bit_for_bit_and_nothing_is_left_behind(champion, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = reproduced(monkeypatch, champion)
    assert found.ok, str(found)
    assert found.answers.n_values == 3 * len(champion.examples)
    assert found.n_distributions == len(champion.manifest["environment"]["distributions"])
    assert f"risk {champion.digest[:12]}: reproduced" in str(found)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_answers_that_were_altered_and_sealed_again_are_found(folder, monkeypatch):
    examples = json.loads((folder / "examples.json").read_text())
    was = examples[1]["answer"]["score_good"]
    examples[1]["answer"]["score_good"] = math.nextafter(was, 1)
    packages.write_json(folder / "examples.json", examples)
    where = json.loads((folder / "package.json").read_text())["environment"]
    where["distributions"]["skops"]["record"] = "0" * 64
    found = reproduced(monkeypatch, sealed_again(folder, environment=where))
    assert not found.ok
    assert found.answers.differing == (f"example 1, score_good: {math.nextafter(was, 1)!r} was recorded. Got {was!r}",)
    skops = where["distributions"]["skops"]["version"]
    assert found.differing == (f"skops {skops} holds other files than where it was packed.",)
    assert ": different" in str(found)


# ── what hinders


def test_without_an_index_it_ends_soon_and_tells_no_password(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://me:secret@127.0.0.1:9/simple")
    with pytest.raises(
        UnreachableError, match=re.escape("The recorded versions must come from an index. None answered")
    ) as silence:
        ek.reproduce(folder)
    assert "Connection refused" in str(silence.value)
    assert not re.search(r"secret|127\.0\.0\.1", str(silence.value))
    assert "name an index that can be reached in UV_DEFAULT_INDEX" in str(silence.value)


class Empty(Quiet):
    def do_GET(self):
        self.answer(404, b"")


def test_a_version_that_no_index_has_is_no_silence(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    with http_server(Empty) as address:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{address}/simple")
        with pytest.raises(BuildError, match=r"(?s)The recorded versions must install\. They did not:\n.*not found"):
            ek.reproduce(folder)


def test_a_python_that_is_not_here_is_named(folder, champion, monkeypatch):
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    where = {**champion.manifest["environment"], "python": "3.7.99"}
    with pytest.raises(BuildError, match=re.escape("Run: uv python install 3.7.99")):
        ek.reproduce(sealed_again(folder, environment=where))


def test_an_older_package_does_not_say_where_it_was_packed(folder):
    manifest = json.loads((folder / "package.json").read_text())
    del manifest["environment"]
    packages.seal(folder, manifest)
    with pytest.raises(SpecError, match=re.escape("risk does not: an older ekiben packed it. Pack it again")):
        ek.reproduce(folder)


def test_a_package_that_was_changed_is_refused_before_anything_is_built(folder, champion):
    (folder / "examples.json").write_text("[]")
    changed = ek.Package(**{name: getattr(champion, name) for name in ("manifest", "read_model", "adapter", "signature")}, folder=folder)  # fmt: skip
    for subject in (folder, str(folder), changed):
        with pytest.raises(ek.EkibenError, match=re.escape("examples.json was changed")):
            ek.reproduce(subject)


def test_a_version_that_is_not_registered_is_not_found(tracking_uri):
    with pytest.raises(NotFoundError, match="No model 'nothing' is registered"):
        ek.reproduce("models:/nothing/1")


# ── the comparison


def compared(**changes):
    rebuilt = {**deepcopy(WHERE), "distributions": deepcopy(LEAN)}
    for name, value in changes.items():
        rebuilt["distributions"][name] = {"version": "1.0", "record": "a", **value}
    return reproducing._compared(WHERE, rebuilt)


def test_the_lean_one_is_named_and_is_no_difference():
    assert compared() == (
        [],
        ["xgboost-cpu 1.0 stands for xgboost, as in a service: without the code for graphics cards."],
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"numpy": {"version": "2.0"}}, "numpy 1.0 was recorded. Got 2.0."),
        ({"numpy": {"record": "b"}}, "numpy 1.0 holds other files than where it was packed."),
        ({"xgboost-cpu": {"version": "2.0"}}, "xgboost 1.0 was recorded. Got 2.0."),
    ],
)
def test_another_version_or_other_files_are_a_difference(changes, told):
    assert compared(**changes)[0] == [told]


def test_another_ekiben_is_told_and_is_no_difference():
    differing, notes = compared(ekiben={"version": "2.0"})
    assert differing == []
    assert "ekiben 1.0 was recorded. Got 2.0." in notes


def test_a_distribution_that_is_gone_is_a_difference():
    rebuilt = {**WHERE, "distributions": {name: each for name, each in LEAN.items() if name != "skops"}}
    assert reproducing._compared(WHERE, rebuilt)[0] == ["skops 1.0 was recorded. It is not there."]


def test_on_another_platform_only_versions_are_compared():
    rebuilt = {**WHERE, "machine": "arm64", "distributions": {**LEAN, "numpy": {"version": "1.0", "record": "b"}}}
    differing, notes = reproducing._compared(WHERE, rebuilt)
    assert differing == []
    assert notes[0] == (
        "It was packed with CPython 3.11.7 on Linux x86_64, and built again with CPython 3.11.7 on Linux arm64."
    )
    assert "only their versions were compared" in notes[1]


# ── the finding


def found(**changes):
    made = {
        "subject": "risk 0123456789ab",
        "answers": THE_SAME,
        "environment": "CPython 3.11.7 on Linux x86_64",
        "n_distributions": 83,
        "differing": (),
        "notes": ("<b>a note</b>",),
    }
    return Reproduction(**{**made, **changes})


def test_it_shows_itself():
    assert str(found()).splitlines() == [
        "risk 0123456789ab: reproduced",
        "  ✓ answers       18 values in 6 examples are the same, bit for bit.",
        "  ✓ environment   83 distributions as recorded, CPython 3.11.7 on Linux x86_64.",
        "  · <b>a note</b>",
    ]
    assert "&lt;b&gt;a note" in found()._repr_html_()
    other = found(differing=("numpy 1.0 was recorded. Got 2.0.",))
    assert "the same answers, in another environment" in str(other)
    assert "✗ environment   1 of 83 distributions differ. numpy 1.0 was recorded. Got 2.0." in str(other)
    assert not other.ok


@pytest.mark.parametrize(
    ("made", "code"), [(found(), 0), (found(differing=("numpy 1.0 was recorded. It is not there.",)), 1)]
)
@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_the_command_ends_with_what_was_found(monkeypatch, made, code, arguments):
    monkeypatch.setattr(ek, "reproduce", lambda subject, progress: made, raising=False)
    done = CliRunner().invoke(cli.app, ["reproduce", "somewhere", *arguments])
    assert done.exit_code == code
    if arguments:
        assert json.loads(done.stdout) == made.to_json()
    else:
        assert done.stdout == f"{made}\n"


def test_the_command_tells_what_hinders(tmp_path):
    done = CliRunner().invoke(cli.app, ["reproduce", str(Path(tmp_path))])
    assert isinstance(done.exception, NotFoundError)
