"""Verify what was packed or built: a package, or an image."""

from __future__ import annotations

from pathlib import Path

from ekiben import signing
from ekiben.containers import accounting, attesting, engines, saved
from ekiben.errors import IntegrityError


def verify(
    subject: str | Path,
    *,
    key: str | Path | None = None,
    digest: str | None = None,
    name: str | None = None,
    signature: str | Path | None = None,
) -> str:
    """Compare every byte of a package or an image with its digests, and the signature with a key; nothing is run.

    A signature says who, not which: an older version of the same signer is signed as well. To see that it is the
    one you mean, say its `digest`.

    Parameters
    ----------
    subject
        A package's folder; an image as an OCI layout or an archive of one; or the name of an image with its version, such
        as `churn:1`, which an engine here holds.
    key
        The signer's public key, a PEM file; without one only the digests are compared.
    digest
        What the digest must be, whole or its first 12 digits or more.
    name
        What its name must be.
    signature
        Where the signature is; by default `signature.json` in a package's folder, and the attestation beside an image.

    Returns
    -------
    The digest of the package, or of the image's configuration.

    Raises
    ------
    NotFoundError
        If there is no such package or image.
    IntegrityError
        If a byte was changed, there is no signature, it is of another key, or it is another package or image.

    Examples
    --------
    >>> verify("no/such/folder")
    Traceback (most recent call last):
    ...
    ekiben.errors.NotFoundError: A package's folder must hold package.json. Got 'no/such/folder', which has none.
    """
    place = Path(subject)
    if saved.is_layout(place):
        return attesting.verify(place, key=key, digest=digest, name=name, attestation=signature)
    if not place.exists() and ":" in str(subject):
        return _held(str(subject), key=key, digest=digest, name=name, attestation=signature)
    return signing.verify(place, key=key, digest=digest, name=name, signature=signature)


def _held(
    image: str, *, key: str | Path | None, digest: str | None, name: str | None, attestation: str | Path | None
) -> str:
    """Verify an image that an engine holds: it is saved, so that every byte is read."""
    engine = engines.find()
    beside = Path(f"{accounting.stem_of(image)}{attesting.SUFFIX}")
    given = Path(attestation) if attestation is not None else beside if beside.is_file() or key is not None else None
    try:
        if engine.call("image", "inspect", image, check=False).returncode:
            raise IntegrityError(f"An image must be one that {engine.name} holds, or a file. {image} is neither.")
        with saved.of_engine(engine, image) as archive:
            return attesting.verify(archive, key=key, digest=digest, name=name, attestation=given)
    finally:
        engine.release()
