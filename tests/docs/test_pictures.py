"""The pictures in the documents are what their script draws."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def told(path):
    """Give the words of a picture or page, without numbers: processors round their last digits each in its own way."""
    texts = re.findall(
        r">([^<>]+)<", re.sub(r"<style.*?</style>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    )
    return [re.sub(r"[0-9a-f]{12,}|[−+-]?\d[\d.,e−+-]*", "0", text).split() for text in texts if text.strip()]


@pytest.mark.slow
@pytest.mark.e2e
def test_the_pictures_of_explanations_are_those_that_the_script_draws(tmp_path):
    command = [sys.executable, str(IMAGES / "explanations.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(path.name for path in IMAGES.glob("explain-*") if path.suffix != ".png")
    for name in drawn:
        assert told(tmp_path / name) == told(IMAGES / name), name
