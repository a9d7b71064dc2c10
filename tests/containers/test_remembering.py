"""What is remembered by digests: the same answer without the work, and never for other bytes."""

import json
import os
from io import BytesIO

import pytest

from ekiben.containers import engines, leaks, recipe
from ekiben.containers.remembering import Clean, remembered

KEY = "AKIA" + "2E4YHGFKWMZQ7RST"


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EKIBEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_not_whole_in_the_cache_is_found_again(own_cache):
    assert remembered("sizes", ["ab"], lambda: [1]) == [1]
    (file,) = (own_cache / "sizes").iterdir()
    file.write_text(file.read_text()[:1])
    assert remembered("sizes", ["ab"], lambda: [2]) == [2]
    assert json.loads(file.read_text()) == [2]


def test_a_clean_file_is_known_by_its_bytes_its_name_and_the_rules(own_cache):
    clean = Clean(["rules"])
    clean.keep(["a"], BytesIO(b"one"))
    assert clean.knows(["a"], BytesIO(b"one"))
    assert not clean.knows(["a"], BytesIO(b"two"))
    assert not clean.knows(["b"], BytesIO(b"one"))
    assert not Clean(["others"]).knows(["a"], BytesIO(b"one"))


def test_a_leak_in_an_edited_file_is_found_and_found_again(own_cache, tmp_path):
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "service.py").write_text("region = 'north'\n" * 100)
    assert leaks.scan(folder) == leaks.scan(folder) == ()
    (folder / "service.py").write_text(f"key = '{KEY}'\n")
    for _ in range(2):  # what leaks is never remembered as clean
        assert [str(each) for each in leaks.scan(folder)] == ["service.py: a key of AWS"]
    assert KEY not in "".join(path.read_text() for path in own_cache.rglob("*") if path.is_file())


def test_another_secret_of_this_machine_is_looked_for_in_files_that_were_clean(own_cache, tmp_path, monkeypatch):
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "service.py").write_text("region = 'copper-lantern-42'\n")
    assert leaks.scan(folder) == ()
    monkeypatch.setenv("SHOP_TOKEN", "copper-lantern-42")
    assert [each.kind for each in leaks.scan(folder)] == ["a secret of this environment"]


def test_a_file_under_a_name_that_tells_is_found_though_its_bytes_were_clean(own_cache, tmp_path):
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "notes.txt").write_text("nothing")
    assert leaks.scan(folder) == ()
    (folder / "notes.txt").rename(folder / ".env")
    assert [each.place for each in leaks.scan(folder)] == [".env"]


def test_an_engine_that_ran_is_asked_whether_it_still_answers(engine, own_cache, monkeypatch):
    monkeypatch.setenv("EKIBEN_CACHE", os.environ["EKIBEN_CACHE"])
    first = engines.find(engine.name)
    calls = []
    asked = engines.Engine.call
    monkeypatch.setattr(
        engines.Engine, "call", lambda self, *words, **more: (calls.append(words), asked(self, *words, **more))[1]
    )
    try:
        assert engines.find(engine.name) == first
        assert [words[0] for words in calls] == ["info"]
        monkeypatch.setattr(engines, "_answers", lambda _: "it is gone")
        assert engines._found(engine.name)[0] is None
    finally:
        first.release()


def test_a_recipe_without_parts_is_built_whole():
    assert recipe.parted("FROM scratch\nCOPY end /end\n") is None
