"""BentoML's model store keeps each package once, under the digest of its content."""

import re
from pathlib import Path

import bentoml
import pandas as pd
import pytest

from ekiben import storing
from ekiben.errors import IntegrityError


def test_a_package_comes_back_from_the_store(champion, people):
    tag = storing.put(champion)
    found = storing.get(tag)
    assert tag == f"risk:{champion.digest[:12]}"
    assert found.digest == champion.digest
    pd.testing.assert_frame_equal(found.predict(people[0]), champion.predict(people[0]), check_exact=True)


def test_a_package_is_kept_once(champion):
    tag = storing.put(champion)
    created = bentoml.models.get(tag).info.creation_time
    assert storing.put(champion) == tag
    assert bentoml.models.get(tag).info.creation_time == created


def test_the_store_knows_who_owns_a_package_and_what_it_holds(champion):
    info = bentoml.models.get(storing.put(champion)).info
    assert info.labels == {"owner": "risk-team"}
    assert info.metadata == {"digest": champion.digest, "data_digest": champion.manifest["data_digest"]}


def test_what_is_not_in_the_store_is_not_held():
    assert not storing.holds("risk:000000000000")


def test_a_package_that_was_changed_in_the_store_is_refused(challenger):
    tag = storing.put(challenger)
    folder = Path(bentoml.models.get(tag).path)
    with (folder / "package" / "examples.json").open("a") as file:
        file.write(" ")
    with pytest.raises(IntegrityError, match=re.escape("examples.json was changed")):
        storing.get(tag)
    bentoml.models.delete(tag)


def test_another_package_under_a_tag_is_refused(champion):
    with bentoml.models.create("risk:0123abcd4567") as model:
        champion.save(f"{model.path}/package")
    words = f"The store must hold under risk:0123abcd4567 the package of that digest. Got {champion.ref}."
    with pytest.raises(IntegrityError, match=re.escape(words)):
        storing.get("risk:0123abcd4567")
    bentoml.models.delete("risk:0123abcd4567")
