"""What an image is made of, as a CycloneDX document: distributions of Python and packages of Debian, the same for the same image."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_string
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

from ekiben._optional import require
from ekiben.containers.licences import Licence
from ekiben.containers.wheels import Wheel
from ekiben.errors import BuildError

FILE = "sbom.cdx.json"
DPKG = ("var/lib/dpkg/status", "var/lib/dpkg/status.d")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Debian:
    """A package of Debian in a base image."""

    name: str
    version: str
    architecture: str
    source: str


def installed(status: Iterable[str]) -> tuple[Debian, ...]:
    r"""Read packages from the texts of dpkg: one whole `status`, or a file for each package as slim images have them.

    Examples
    --------
    >>> installed(["Package: libc6\nVersion: 2.36-9\nArchitecture: amd64\nSource: glibc (2.36)\n"])[0].source
    'glibc'
    """
    return tuple(sorted({each for text in status for each in _packages(text)}))


def _packages(text: str) -> Iterator[Debian]:
    for block in text.split("\n\n"):
        told = message_from_string(block.strip("\n"))
        if not told["Package"] or "installed" not in str(told["Status"] or "ok installed").split():
            continue
        source = str(told["Source"] or told["Package"]).partition(" ")[0]
        yield Debian(
            name=str(told["Package"]),
            version=str(told["Version"]),
            architecture=str(told["Architecture"] or "all"),
            source=source,
        )


def installed_in(base: Path) -> tuple[Debian, ...]:
    """Read the packages of a base from its root, a folder or a tar."""
    if base.is_dir():
        whole, parts = base / DPKG[0], base / DPKG[1]
        files = [whole] if whole.is_file() else []
        files += sorted(path for path in parts.iterdir() if path.suffix != ".md5sums") if parts.is_dir() else []
        return installed(file.read_text() for file in files)
    texts = []
    with tarfile.open(base) as packed:
        for entry in packed:
            name = entry.name.removeprefix("./")
            known = name == DPKG[0] or (name.startswith(f"{DPKG[1]}/") and not name.endswith(".md5sums"))
            if known and (file := packed.extractfile(entry)) is not None:
                texts.append(file.read().decode())
    return installed(texts)


def document(
    *,
    tag: str,
    wheels: Iterable[Wheel],
    licences: Iterable[Licence] = (),
    debian: Iterable[Debian] = (),
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
        Of the wheels, as the gate read them.
    debian
        Packages of the base.
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
    told = {each.name: each for each in licences}
    parts = [*(_of_wheel(each, told.get(each.name)) for each in wheels), *map(_of_debian, sorted(debian))]
    parts += [_of_model(arm, digest) for arm, digest in sorted((models or {}).items())]
    name, _, version = tag.partition(":")
    text = _written(name, version, parts, UUID(int=0), epoch)
    serial = UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4)
    text = _written(name, version, parts, serial, epoch)
    if fault := faults(text):
        raise BuildError(f"A bill of materials must fit the schema of CycloneDX 1.6. It does not: {fault}")
    return text


def faults(text: str) -> str | None:
    """Tell what in a document does not fit the schema of CycloneDX 1.6, strictly: a misspelt key is a fault."""
    validation = require("cyclonedx.validation.json", to="validate a bill of materials")
    schema = require("cyclonedx.schema", to="validate a bill of materials")
    found = validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(text)
    return None if found is None else str(found).partition("\n")[0][:300]


def _written(name: str, version: str, parts: Iterable[Any], serial: UUID, epoch: int) -> str:
    model = require("cyclonedx.model.bom", to="write a bill of materials")
    component = require("cyclonedx.model.component", to="write a bill of materials")
    output = require("cyclonedx.output.json", to="write a bill of materials")
    kinds = component.ComponentType
    root = component.Component(type=kinds.CONTAINER, name=name, version=version, bom_ref=f"{name}:{version}")
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


def _of_debian(package: Debian) -> Any:
    component = require("cyclonedx.model.component", to="write a bill of materials")
    more = {"arch": package.architecture, "upstream": package.source}
    return component.Component(
        type=component.ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        bom_ref=f"pkg:deb/debian/{package.name}@{quote(package.version)}?arch={package.architecture}",
        purl=_purl("deb", "debian", package.name, package.version, more),
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
    if found is None or found.expression is None or found.family == "unknown":
        return []
    made = require("cyclonedx.model.license", to="write a bill of materials")
    return [made.LicenseExpression(found.expression)]
