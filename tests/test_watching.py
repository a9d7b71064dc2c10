"""A file that is looked at again and again: its new text is taken, or refused and left alone."""

import logging

import pytest

from ekiben.errors import SpecError
from ekiben.watching import Watched


@pytest.mark.parametrize(
    ("failure", "says"),
    [(SpecError("No such arm."), "No such arm."), (RuntimeError("secret-4711"), "RuntimeError at ")],
)
def test_whatever_a_text_meets_it_is_refused_and_the_next_one_is_taken(tmp_path, caplog, failure, says):
    path, taken, told = tmp_path / "route.toml", [], []
    path.write_text("first")

    def take(text):
        if text == "second":
            raise failure
        taken.append(text)

    watched = Watched(path, "first", take, told.append, every_s=3600)
    with caplog.at_level(logging.WARNING):
        for text in ("first", "second", "second", "third"):
            path.write_text(text)
            watched.look()
    watched.close()
    assert taken == ["third"]
    assert told == ["refused", "taken"]
    assert says in caplog.text
    assert "secret-4711" not in caplog.text
