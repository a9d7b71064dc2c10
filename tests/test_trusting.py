"""The list of trusted packages belongs to whoever loads, and survives whoever writes to it at once."""

import json
import os
import re
import stat
import subprocess
import sys

import pytest

from ekiben import trusting
from ekiben.errors import SpecError

ONE, OTHER = "1" * 64, "2" * 64


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EKIBEN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_what_was_trusted_is_trusted_and_nothing_else():
    trusting.trust(ONE, name="churn", why="read it")
    assert trusting.is_trusted(ONE)
    assert not trusting.is_trusted(OTHER)
    assert not trusting.is_trusted(ONE[:12])


def test_nothing_is_trusted_where_there_is_no_list(home):
    assert not trusting.is_trusted(ONE)
    assert not home.exists()


def test_the_list_is_one_s_own_to_read_and_says_why(home):
    trusting.trust(ONE, name="churn", why="read it")
    file = home / "trusted.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    entry = json.loads(file.read_text())["digests"][ONE]
    assert (entry["name"], entry["why"]) == ("churn", "read it")


def test_trusting_twice_keeps_the_first_reason(home):
    trusting.trust(ONE, name="churn", why="read it")
    trusting.trust(ONE, name="churn", why="again")
    assert json.loads((home / "trusted.json").read_text())["digests"][ONE]["why"] == "read it"


@pytest.mark.parametrize("digest", ["", "1" * 12, "G" * 64, None, "A" * 64, "1" * 65])
def test_only_a_whole_digest_is_trusted(digest):
    with pytest.raises(SpecError, match=re.escape(f"must be a digest of 64 hex digits. Got {digest!r}.")):
        trusting.trust(digest, name="churn", why="")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"format": 1}', '{"format": 2, "digests": {}}', '{"format": 1, "digests": {"a": 1}}', "[" * 99999],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_a_broken_list_is_said_and_nobody_is_trusted_by_it(home, text):
    home.mkdir()
    (home / "trusted.json").write_text(text)
    for act in (lambda: trusting.is_trusted(ONE), lambda: trusting.trust(ONE, name="a", why="b")):
        with pytest.raises(SpecError, match=re.escape("The list of trusted packages must be as ekiben wrote it")):
            act()
    assert (home / "trusted.json").read_text() == text


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_list_that_others_may_write_is_not_believed(home, mode):
    trusting.trust(ONE, name="churn", why="read it")
    (home / "trusted.json").chmod(mode)
    with pytest.raises(SpecError, match=re.escape("must be yours alone to write.")):
        trusting.is_trusted(ONE)


def test_a_home_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EKIBEN_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(SpecError, match=re.escape("Set EKIBEN_HOME to a folder of yours.")):
        trusting.trust(ONE, name="churn", why="read it")


def test_of_processes_that_trust_at_once_none_is_lost(home):
    told = (
        "import sys; from ekiben import trusting\n"
        "for i in range(10): trusting.trust(f'{int(sys.argv[1]) * 100 + i:064x}', name='churn', why='race')"
    )
    running = [subprocess.Popen([sys.executable, "-c", told, str(n)], env=os.environ) for n in range(1, 7)]
    assert [process.wait() for process in running] == [0] * 6
    assert len(json.loads((home / "trusted.json").read_text())["digests"]) == 60
    assert not list(home.glob(".trusted*"))


def test_a_word_names_a_digest_by_twelve_digits_at_least():
    assert trusting.names(ONE, ONE)
    assert trusting.names(ONE[:12], ONE)
    assert not trusting.names(ONE[:11], ONE)
    assert not trusting.names("", ONE)
    assert not trusting.names(OTHER[:12], ONE)


def test_yes_names_no_digest():
    with pytest.raises(
        SpecError, match=re.escape("A package is named by its digest, or the first 12 digits of it. Got True.")
    ):
        trusting.names(True, ONE)


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.eval", "subprocess.Popen", "importlib.import_module", "sys.modules"]
)
def test_what_runs_programs_is_never_opened(name):
    assert trusting.forbidden(name)
