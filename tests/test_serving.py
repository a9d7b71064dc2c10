"""What a service refuses before it starts: a contract, a store or a spec that is not what was written."""

import json
import re

import pytest

import ekiben as ek
from ekiben import storing
from ekiben.serving import ServiceError, config, read_spec


@pytest.fixture
def folder(champion, challenger, tmp_path):
    arms = {"champion": champion, "challenger": challenger}
    return ek.scaffold(tmp_path / "risk", arms=arms, route=ek.split(champion=1, challenger=1), remake="make models")


def read(folder):
    return read_spec(str(folder / "service.py"))


def rewrite(folder, change):
    path = folder / "contract.json"
    document = json.loads(path.read_text())
    change(document["pins"])
    path.write_text(json.dumps(document))


def test_a_folder_as_it_was_written_is_read(folder):
    assert read(folder).name == "risk"
    assert config(read(folder))["threads"] == 4


@pytest.mark.parametrize("parts", [("tag",), ("digest",), ("tag", "digest")])
def test_an_arm_that_is_pinned_to_another_package_is_refused(folder, parts):
    def swap(pins):
        pins["champion"] |= {part: pins["challenger"][part] for part in parts}

    rewrite(folder, swap)
    with pytest.raises(ServiceError, match="must name one package for an arm"):
        read(folder)


def test_an_arm_of_the_contract_alone_is_refused(folder):
    rewrite(folder, lambda pins: pins.update(third=pins["champion"]))
    with pytest.raises(ServiceError, match=re.escape("The arms ['third'] are in the contract alone")):
        read(folder)


def test_a_changed_byte_in_the_store_is_refused_by_name_and_pinning_mends_it(folder, champion):
    tag = storing.tag_of(champion.name, champion.digest)
    stored = storing.get(tag).folder / "examples.json"
    kept = stored.read_bytes()
    try:
        stored.write_bytes(kept.replace(b"row", b"raw", 1))
        with pytest.raises(ServiceError, match=r"examples\.json was changed"):
            read(folder)
        storing.put(champion)
        assert read(folder).name == "risk"
    finally:
        storing.put(champion)


def test_a_link_in_a_package_is_refused(champion, tmp_path):
    copy = champion.save(tmp_path / "copy")
    (copy / "examples.json").rename(tmp_path / "elsewhere.json")
    (copy / "examples.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ek.EkibenError, match=r"examples\.json is a link"):
        ek.load(copy)
