"""A bill of materials is valid, the same for the same image, and misses nothing."""

import json

import pytest

from ekiben.containers import sbom
from ekiben.containers.debian import Base, Debian
from ekiben.containers.licences import Licence
from ekiben.containers.wheels import Wheel

WHEELS = [
    Wheel(name="numpy", version="1.26.4", file=None, sha256="ab" * 32, reasons=("ekiben", "arm champion (its plan)")),
    Wheel(name="local-thing", version="1.0+cpu", file=None, sha256="cd" * 32),
]
LICENCES = [
    Licence(name="numpy", version="1.26.4", expression="BSD-3-Clause", family="permissive", source="expression"),
    Licence(
        name="libc6",
        version="2",
        expression="LicenseRef-Debian-ours",
        family="unknown",
        source="copyright",
        of="Debian",
    ),
]
LIBC = Debian(name="libc6", version="2:2.36-9+deb12u9", architecture="amd64", source="glibc")
DEBIAN = Base(name="python:3.11-slim", packages=(LIBC,))


def written(**changed):
    given = {
        "tag": "churn:4kz2",
        "wheels": WHEELS,
        "licences": LICENCES,
        "base": DEBIAN,
        "models": {"champion": "ef" * 32},
    }
    return sbom.document(**(given | {"epoch": 1767225600} | changed))


def test_every_part_is_there_with_its_digest_licence_and_reasons():
    told = json.loads(written())
    assert told["specVersion"] == "1.6"
    parts = {part["name"]: part for part in told["components"]}
    assert parts.keys() == {"numpy", "local-thing", "libc6", "champion"}
    assert parts["numpy"]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert parts["numpy"]["licenses"] == [{"expression": "BSD-3-Clause"}]
    assert {each["value"] for each in parts["numpy"]["properties"]} == {"ekiben", "arm champion (its plan)"}
    assert parts["local-thing"]["purl"] == "pkg:pypi/local-thing@1.0%2Bcpu"
    assert parts["libc6"]["purl"].startswith("pkg:deb/debian/libc6@2:2.36-9%2Bdeb12u9?arch=amd64")
    assert parts["libc6"]["licenses"] == [{"expression": "LicenseRef-Debian-ours"}]
    assert parts["champion"]["type"] == "machine-learning-model"
    assert len(told["dependencies"]) == 5
    assert told["metadata"]["component"]["properties"] == [{"name": "ekiben:base", "value": "python:3.11-slim"}]


def test_the_same_image_has_the_same_document_and_another_another_number():
    assert written() == written() == written(wheels=WHEELS[::-1])
    assert json.loads(written())["metadata"]["timestamp"].startswith("2026-01-01T00:00:00")
    assert json.loads(written())["serialNumber"] != json.loads(written(base=None))["serialNumber"]


@pytest.mark.parametrize("key", ["components", "hashes", "purl", "specVersion"])
def test_a_misspelt_key_does_not_fit_the_schema(key):
    assert sbom.faults(written()) is None
    assert sbom.faults(written().replace(f'"{key}"', f'"{key}z"', 1))
