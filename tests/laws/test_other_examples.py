"""The suite tries each law on the same examples; here all laws are tried on examples that nobody has seen."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
OTHERS = [path for path in sorted(TESTS.rglob("test_*.py")) if path != Path(__file__)]
WITH_LAWS = [str(path) for path in OTHERS if "@given(" in path.read_text(encoding="utf-8")]


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("path", WITH_LAWS, ids=lambda path: str(Path(path).relative_to(TESTS)))
def test_a_law_holds_for_examples_that_are_drawn_now(path):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=drawn", path]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:]
