"""Packages in BentoML's model store: what a service loads."""

from __future__ import annotations

import shlex
import shutil
import tarfile
import tempfile
from pathlib import Path

import bentoml
from bentoml import Bento
from bentoml.exceptions import InvalidArgument, NotFound

from ekiben import packages
from ekiben.errors import IntegrityError, NotFoundError
from ekiben.packages import Package


def tag_of(name: str, digest: str) -> str:
    """Name a package in the store: the digest is its version, so no two contents share a tag.

    >>> tag_of("credit_risk", "0123abcd4567" + "f" * 52)
    'credit_risk:0123abcd4567'
    """
    return f"{name.lower()}:{digest[:12]}"


def put(package: Package) -> str:
    """Keep the package in the store, once, and give its tag."""
    tag = tag_of(package.name, package.digest)
    if holds(tag):
        try:
            verify(tag, package.digest)
        except IntegrityError:
            bentoml.models.delete(tag)  # what lies there is not what was packed; it is written again
        else:
            return tag
    with bentoml.models.create(
        tag,
        labels={"owner": package.manifest["owner"] or ""},
        metadata={"digest": package.digest, "data_digest": package.manifest["data_digest"]},
    ) as model:
        shutil.copytree(package.folder, Path(model.path) / "package")
    return tag


def holds(tag: str) -> bool:
    """Tell whether the store has a model under this tag."""
    try:
        bentoml.models.get(tag)
    except NotFound:
        return False
    return True


def verify(tag: str, digest: str) -> None:
    """Compare every byte behind a tag with what was packed, without building anything from it.

    Raises
    ------
    IntegrityError
        If a byte differs, or it is the package of another digest.
    """
    found = packages.verify(Path(bentoml.models.get(tag).path) / "package")["digest"]
    if found != digest:
        raise IntegrityError(
            f"The store must hold under {tag} the package of the digest {digest[:12]}. Got {found[:12]}."
        )


def get(tag: str, *, digest: str | None = None) -> Package:
    """Load the package behind a tag, its bytes verified.

    Parameters
    ----------
    tag
        Such as `credit_risk:0123abcd4567`.
    digest
        The whole digest that a service's contract pins: the word of whoever deploys, so it is trusted.

    Raises
    ------
    IntegrityError
        If its bytes are not those that were packed, or it is another package than the tag names.
    TrustError
        If it carries code, no digest was given, and it is not trusted here.
    """
    folder = Path(bentoml.models.get(tag).path) / "package"
    manifest = packages.verify(folder)
    found = str(manifest["digest"])
    if tag_of(manifest["name"], found) != tag or digest not in (None, found):
        ref = f"package:/{manifest['name']}/{found[:12]}"
        raise IntegrityError(f"The store must hold under {tag} the package of that digest. Got {ref}.")
    return packages.build(folder, manifest, trust=digest)


def known_bento(tag: str) -> str:
    """Give the whole tag of a bento, if there is one.

    Raises
    ------
    NotFoundError
        If there is no such bento, with those that are known.
    """
    return str(_bento(tag).tag)


def _bento(tag: str) -> Bento:
    tag = str(tag)  # whoever has just scaffolded holds a folder, which is told what to do with
    try:
        return bentoml.get(tag)
    except (NotFound, InvalidArgument, ValueError):  # what is no tag is no bento's either
        known = ", ".join(str(each.tag) for each in bentoml.list() if each.tag.name == tag.partition(":")[0]) or "none"
        folder = shlex.quote(tag) if Path(tag).is_dir() else "<folder>"
        raise NotFoundError(f"No bento {tag!r}. Known: {known}. To build one, run: ekiben build {folder}") from None


def unpack_bento(tag: str, to: Path) -> tuple[str, str]:
    """Write a bento and its models into a folder, as they lie in an image, and give its whole tag and when it was built.

    Raises
    ------
    NotFoundError
        If there is no such bento.
    """
    bento = _bento(tag)
    with tempfile.TemporaryDirectory(prefix="ekiben-bento-") as place:
        archive = bento.export(str(Path(place) / "bento.tar"))
        with tarfile.open(archive) as packed:
            packed.extractall(to, filter="data")
    return str(bento.tag), bento.info.creation_time.isoformat()
