"""What is asked of an image before it is built, and what is written beside it afterwards."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ekiben import locking, spec
from ekiben.containers import attesting, debian, forecasting, gating, leaks, saved, sbom, wheels
from ekiben.containers.context import Context
from ekiben.containers.debian import Base, Debian
from ekiben.containers.engines import Engine
from ekiben.containers.forecasting import Forecast
from ekiben.containers.images import Image
from ekiben.containers.leaks import layers
from ekiben.containers.licences import Licence
from ekiben.errors import BuildError, SpecError
from ekiben.progress import Progress

LICENCES = "licences.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """What an image must answer for, and how it is signed.

    Parameters
    ----------
    key
        A private elliptic-curve key as PEM, which signs the image's attestation; without one it is written unsigned.
    password
        Of the key, when it has one.
    allow_licences
        Distributions, or packages of Debian, that may stand under a licence that is refused otherwise, each with the reason;
        beside those that the spec allows.
    allow_leaks
        Patterns of places that may hold what looks like a leak, each with the reason; beside those that the spec allows.
    beside
        The folder for what is written beside the image; by default the current one.

    Examples
    --------
    >>> Accounts(allow_licences={"alibi": "licensed, contract 17"}).allow_licences
    {'alibi': 'licensed, contract 17'}
    """

    key: str | Path | None = None
    password: str | None = field(default=None, repr=False)
    allow_licences: Mapping[str, str] = field(default_factory=dict)
    allow_leaks: Mapping[str, str] = field(default_factory=dict)
    beside: str | Path = "."


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was found in a build context, and in the base that it is built on, which may become an image."""

    forecast: Forecast
    licences: tuple[Licence, ...]
    base: Base


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """The files that speak of an image: its parts, their licences, and from what and by whom it was built."""

    sbom: Path
    licences: Path
    attestation: Path


def ready(accounts: Accounts) -> None:
    """Refuse a key that does not sign, and a folder that nothing can be written to, before an image is built.

    Raises
    ------
    NotFoundError
        If there is no such key.
    SpecError
        If the key signs nothing, or the folder cannot be had.
    """
    if accounts.key is not None:
        attesting.refuse_key(accounts.key, accounts.password)
    folder = Path(accounts.beside)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as reason:
        raise SpecError(
            f"The folder 'beside' must be one that can be written to. Got {str(folder)!r}: {reason.strerror}."
        ) from None


def before(told: Context, base: Base, accounts: Accounts, say: Progress) -> Judged:
    """Refuse what must not become an image, and put the bill of materials into the context.

    Raises
    ------
    BuildError
        If a licence is refused, or the context holds what must not leave this machine.
    """
    say("reading the licences")
    terms = [each.licence for each in base.packages]
    said = spec.read(told.folder / "bento" / "src").containers
    judged = gating.gate(
        [each.file for each in told.wheels], base=terms, allow=accounts.allow_licences, may=said.allow_licences
    )
    say("looking for leaks")
    leaks.refuse(told.folder, published=published(told), allow=_allowed_leaks(told, accounts))
    inside = _inside(told)
    inside.write_text(_document(told, judged, base))
    inside.chmod(0o644)
    os.utime(inside, (told.epoch, told.epoch))
    found = forecasting.of_context(told)
    say(f"the image will hold {found.size_mb:,.0f} MB, and its base")
    return Judged(forecast=found, licences=judged, base=base)


def look(archive: Path, told: Context, judged: Judged, accounts: Accounts) -> None:
    """Refuse a finished image that holds what it must not, or other packages of Debian than its bill of materials names.

    Parameters
    ----------
    archive
        The image as it was written or saved.
    told, judged, accounts
        The context that it was built of, what was found in that, and what is allowed.

    Raises
    ------
    BuildError
        If there is anything, naming the layer and the file.
    """
    layout = saved.read(archive)
    held = debian.of_layers(layout)
    if set(held) != set(judged.base.packages):
        odd = sorted({each.name for each in set(held) ^ set(judged.base.packages)})
        raise BuildError(
            "An image must hold the packages of Debian that its base held when it was read. "
            f"{', '.join(odd[:10])} differ: build it again."
        )
    known = layers.owners(told.wheels, published(told))
    layers.refuse(layout, known, allow=_allowed_leaks(told, accounts))


def _allowed_leaks(told: Context, accounts: Accounts) -> dict[str, str]:
    said = spec.read(told.folder / "bento" / "src").containers
    return {**said.allow_leaks, **accounts.allow_leaks}


def _inside(told: Context) -> Path:
    return told.folder / "bento" / sbom.FILE


def published(told: Context) -> set[str] | None:
    """Name the wheels of a context that are of the digests which an index gave; None where none was asked."""
    known = {
        digest for each in wheels.locked(locking.to_install(told.folder / "bento" / "src")) for digest in each.hashes
    }
    if not known:
        return None
    return {f"wheels/{each.file.name}" for each in told.wheels if each.sha256 in known}


def after(
    engine: Engine | None,
    image: Image,
    told: Context,
    judged: Judged,
    accounts: Accounts,
    *,
    commands: Sequence[Sequence[str]] = (),
    base: str = "",
) -> Beside:
    """Write what speaks of a built image beside it: its bill of materials, licences and attestation.

    Parameters
    ----------
    engine
        What built it; None of a layout that was written without one.
    image, told, judged
        The image, the context that it was built of, and what was found in that.
    accounts
        Where to write, and the key.
    commands
        What was run.
    base
        The base that it was built on.
    """
    folder = Path(accounts.beside)
    folder.mkdir(parents=True, exist_ok=True)
    layout = Path(image.ref) if engine is None else None
    stem = layout.name if layout is not None else stem_of(image.ref)
    parts, terms = folder / f"{stem}.{sbom.FILE}", folder / f"{stem}.{LICENCES}"
    parts.write_bytes(_inside(told).read_bytes())
    terms.write_text(json.dumps([each.to_json() for each in judged.licences], indent=1) + "\n")
    made = attesting.statement(
        image=image.ref if layout is None else layout.name,
        ids=_ids(engine, image),
        tag=told.tag,
        run=_run(engine, commands, base or told.base),
        wheels=told.wheels,
        arms=told.arms,
        materials={
            "requirements.txt": told.folder / "requirements.txt",
            "Containerfile": told.folder / "Containerfile",
        },
        byproducts={sbom.FILE: parts, LICENCES: terms, **(attesting.whole(layout) if layout is not None else {})},
        epoch=told.epoch,
    )
    target = folder / f"{stem}{attesting.SUFFIX}"
    attesting.write(made, target, key=accounts.key, password=accounts.password)
    return Beside(sbom=parts, licences=terms, attestation=target)


def stem_of(ref: str) -> str:
    """Name the files beside an image.

    >>> stem_of("localhost/churn:1")
    'localhost-churn-1'
    """
    return re.sub(r"[^A-Za-z0-9._-]", "-", ref)


def _document(told: Context, judged: Sequence[Licence], base: Base) -> str:
    return sbom.document(
        tag=told.tag, wheels=told.wheels, licences=judged, base=base, models=told.arms, epoch=told.epoch
    )


def _run(engine: Engine | None, commands: Sequence[Sequence[str]], base: str) -> attesting.Run:
    if engine is None:
        return attesting.Run(engine="ekiben", engine_version="OCI layout", commands=commands)
    found = engine.call("version", "--format", "{{.Client.Version}}", check=False).stdout.strip()
    digest = engine.call("image", "inspect", "--format", "{{.Id}}", base, check=False).stdout.strip()
    plain = digest.removeprefix("sha256:")
    return attesting.Run(
        engine=engine.name, engine_version=found, commands=commands, base=base, base_digest=plain or None
    )


def _ids(engine: Engine | None, image: Image) -> list[str]:
    if engine is None:
        found = saved.read(Path(image.ref))
        return [each for each in (found.id, found.digest) if each]
    told = engine.call("image", "inspect", "--format", "{{.Id}}", image.ref).stdout.strip()
    return [told.removeprefix("sha256:"), image.digest.removeprefix("sha256:")]


def of_layout(layout: Path) -> tuple[Debian, ...]:
    """Read the packages of Debian in an image that was written or saved."""
    return debian.of_layers(saved.read(layout))
