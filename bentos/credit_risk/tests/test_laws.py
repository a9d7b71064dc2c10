"""The laws that credit_risk keeps, each on every arm and over real HTTP; add your own beside them."""

from pathlib import Path

import pytest

from ekiben.testing import laws

FOLDER = Path(__file__).parent.parent


@pytest.mark.parametrize("law", laws(FOLDER), ids=str)
def test_law(law):
    law.must_hold()
