"""What an image is made of, as a CycloneDX document: distributions of Python and packages of Debian, the same for the same image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any
from urllib.parse import quote
from uuid import UUID

from ekiben._optional import require
from ekiben.containers.debian import Base, Debian
from ekiben.containers.licences import Licence
from ekiben.containers.wheels import Wheel
from ekiben.errors import BuildError

FILE = "sbom.cdx.json"
SCHEMA = "bom-1.6"
NAMED = ("spdx", "cryptography-defs", "jsf-0.82")  # schemas that it names


def document(
    *,
    tag: str,
    wheels: Iterable[Wheel],
    licences: Iterable[Licence] = (),
    base: Base | None = None,
    models: Mapping[str, str] | None = None,
    epoch: int,
) -> str:
    """Write the bill of materials of an image as JSON of CycloneDX 1.6, and validate it strictly.

    The serial number is made from what the document holds, and its time is the image's, so that the same image has the
    same document.

    Parameters
    ----------
    tag
        The bento's tag.
    wheels
        What the image installs.
    licences
        Of the wheels and of the base's packages, as the gate read them.
    base
        The image that Python comes from, with its packages.
    models
        Arm → SHA-256 of its package.
    epoch
        The image's time, in seconds since 1970.

    Raises
    ------
    BuildError
        If the document does not fit the schema.

    Examples
    --------
    >>> import json
    >>> json.loads(document(tag="churn:1", wheels=[], epoch=0))["metadata"]["component"]["name"]
    'churn'
    """
    told = {(each.of, each.name): each for each in licences}
    parts = [_of_wheel(each, told.get(("Python", each.name))) for each in wheels]
    parts += [_of_debian(each, told.get(("Debian", each.name))) for each in sorted(base.packages if base else ())]
    parts += [_of_model(arm, digest) for arm, digest in sorted((models or {}).items())]
    name, _, version = tag.partition(":")
    text = _written(name, version, parts, UUID(int=0), epoch, base)
    serial = UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4)
    text = text.replace(str(UUID(int=0)), str(serial), 1)
    if fault := faults(text):
        raise BuildError(f"A bill of materials must fit the schema of CycloneDX 1.6. It does not: {fault}")
    return text


def faults(text: str) -> str | None:
    """Tell what in a document does not fit the schema of CycloneDX 1.6, strictly: a misspelt key is a fault."""
    found = next(_validator().iter_errors(json.loads(text)), None)
    if found is None:
        return None
    place = ".".join(map(str, found.instance_path))
    return f"{f'{place}: ' if place else ''}{found.message}".partition("\n")[0][:300]


def _validator() -> Any:
    """Give the validator of CycloneDX's own schema, as its library carries it: that library's validator takes 2 s to import."""
    made = require("jsonschema_rs", to="validate a bill of materials")
    folder = resources.files(require("cyclonedx.schema", to="validate a bill of materials")).joinpath("_res")
    read = {name: json.loads(folder.joinpath(f"{name}.SNAPSHOT.schema.json").read_text()) for name in (SCHEMA, *NAMED)}
    named = [(f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", read[name]) for name in NAMED]
    registry = made.Registry(named, draft=made.Draft7)
    return made.Draft7Validator(read[SCHEMA], registry=registry, validate_formats=True)


def _written(name: str, version: str, parts: Iterable[Any], serial: UUID, epoch: int, base: Base | None) -> str:
    model = require("cyclonedx.model.bom", to="write a bill of materials")
    component = require("cyclonedx.model.component", to="write a bill of materials")
    output = require("cyclonedx.output.json", to="write a bill of materials")
    kinds = component.ComponentType
    told = (
        [require("cyclonedx.model", to="write a bill of materials").Property(name="ekiben:base", value=base.name)]
        if base
        else []
    )
    root = component.Component(
        type=kinds.CONTAINER, name=name, version=version, bom_ref=f"{name}:{version}", properties=told
    )
    every = list(parts)
    bom = model.Bom(serial_number=serial, components=every)
    bom.metadata.timestamp = datetime.fromtimestamp(epoch, UTC)
    bom.metadata.component = root
    bom.register_dependency(root, every)
    return str(output.JsonV1Dot6(bom).output_as_string(indent=1)) + "\n"


def _of_wheel(wheel: Wheel, licence: Licence | None) -> Any:
    component = require("cyclonedx.model.component", to="write a bill of materials")
    model = require("cyclonedx.model", to="write a bill of materials")
    address = f"pkg:pypi/{wheel.name}@{quote(wheel.version)}"
    digest = model.HashType(alg=model.HashAlgorithm.SHA_256, content=wheel.sha256)
    reasons = [model.Property(name="ekiben:reason", value=reason) for reason in wheel.reasons]
    return component.Component(
        type=component.ComponentType.LIBRARY,
        name=wheel.name,
        version=wheel.version,
        bom_ref=address,
        purl=_purl("pypi", None, wheel.name, wheel.version),
        hashes=[digest],
        licenses=_licences(licence),
        properties=reasons,
    )


def _of_debian(package: Debian, licence: Licence | None) -> Any:
    component = require("cyclonedx.model.component", to="write a bill of materials")
    more = {"arch": package.architecture, "upstream": package.source}
    return component.Component(
        type=component.ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        bom_ref=f"pkg:deb/debian/{package.name}@{quote(package.version)}?arch={package.architecture}",
        purl=_purl("deb", "debian", package.name, package.version, more),
        licenses=_licences(licence),
    )


def _of_model(arm: str, digest: str) -> Any:
    component = require("cyclonedx.model.component", to="write a bill of materials")
    model = require("cyclonedx.model", to="write a bill of materials")
    return component.Component(
        type=component.ComponentType.MACHINE_LEARNING_MODEL,
        name=arm,
        bom_ref=f"arm:{arm}",
        hashes=[model.HashType(alg=model.HashAlgorithm.SHA_256, content=digest)],
    )


def _purl(kind: str, space: str | None, name: str, version: str, more: Mapping[str, str] | None = None) -> Any:
    packageurl = require("packageurl", to="write a bill of materials")
    return packageurl.PackageURL(type=kind, namespace=space, name=name, version=version, qualifiers=dict(more or {}))


def _licences(found: Licence | None) -> list[Any]:
    if found is None or found.expression is None or (found.family == "unknown" and found.of == "Python"):
        return []  # a distribution's own words need not be an expression; of Debian they were made one
    made = require("cyclonedx.model.license", to="write a bill of materials")
    return [made.LicenseExpression(found.expression)]
