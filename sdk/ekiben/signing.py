"""Signatures of packages: who sealed the manifest that seals every byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ekiben import sealing
from ekiben._optional import require
from ekiben.errors import IntegrityError, MissingExtraError, NotFoundError, SpecError
from ekiben.trusting import SHORT, names


def sign(folder: str | Path, *, key: str | Path, password: str | None = None) -> Path:
    """Sign a package with an elliptic-curve key, as `signature.json` beside its manifest; the digest stays the same.

    Parameters
    ----------
    folder
        A package's folder, as `package.save` writes it.
    key
        The private key, a PEM file on the curve P-256, P-384 or P-521.
    password
        Of the key, when it has one.

    Returns
    -------
    Where the signature is.

    Raises
    ------
    IntegrityError
        If the package is not what was packed: such a one is not signed.
    SpecError
        If the file holds no such key.

    Examples
    --------
    >>> sign("no/such/folder", key="private.pem")
    Traceback (most recent call last):
    ...
    ekiben.errors.NotFoundError: A package's folder must hold package.json. Got 'no/such/folder', which has none.
    """
    folder = Path(folder)
    sealing.verify(folder)
    signing = _library("signing", to="sign a package")
    target = folder / sealing.SIGNATURE
    try:
        signer = signing.Config().use_elliptic_key_signer(
            private_key=_key(key), password=password.encode() if password else None
        )
    except (ValueError, TypeError, AttributeError) as reason:  # of another curve, another kind, or behind a password
        raise SpecError(
            f"The 'key' must be a private elliptic-curve key as PEM. {str(key)!r} is not usable: {reason}"
        ) from reason
    signer.sign(folder / sealing.MANIFEST, target)
    return target


def verify(
    folder: str | Path,
    *,
    key: str | Path | None = None,
    digest: str | None = None,
    name: str | None = None,
    signature: str | Path | None = None,
) -> str:
    """Compare every byte of a package with what was packed, and the signature with a key, as `ekiben.verify` tells.

    Raises
    ------
    IntegrityError
        If a byte was changed, there is no signature, it is of another key, or it is another package.

    Examples
    --------
    >>> import ekiben, tempfile, pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> X = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0]})
    >>> package = ekiben.pack(LinearRegression().fit(X, [20, 30, 40, 60]), name="flat", reference=X)
    >>> verify(package.folder, digest=package.digest[:12]) == package.digest
    True
    """
    folder = Path(folder)
    if key is not None:  # first: a stranger's manifest is not even read
        _signed(folder, Path(signature or folder / sealing.SIGNATURE), key)
    elif signature is not None:
        raise SpecError("A 'signature' is compared with a 'key'. Got none. Pass key='public.pem'.")
    manifest = sealing.verify(folder)
    _expected(manifest, folder.name, digest, name)
    return str(manifest["digest"])


def _expected(manifest: dict[str, Any], where: str, digest: str | None, name: str | None) -> None:
    found = str(manifest["digest"])
    if digest is not None and not names(digest, found):
        short = f" Give at least {SHORT} digits." if len(digest) < SHORT else ""
        raise IntegrityError(f"{where} must hold the package of the digest {digest}. Got {found[:SHORT]}.{short}")
    if name not in (None, manifest["name"]):
        raise IntegrityError(f"{where} must hold the package {name!r}. Got {manifest['name']!r}.")


def _signed(folder: Path, signature: Path, key: str | Path) -> None:
    if not (folder / sealing.MANIFEST).is_file():
        raise sealing.absent(folder)
    if not signature.is_file():
        raise IntegrityError(
            f"{folder.name} must be signed. It has no {signature.name}. Sign it: ekiben sign {folder} --key private.pem"
        )
    try:
        sealing.read_json(signature)
        sealing.read_json(folder / sealing.MANIFEST)
    except IntegrityError as reason:
        raise IntegrityError(f"A manifest of {folder.name} and its signature must be JSON. One {reason}.") from reason
    verifier = _verifier(key)
    try:
        verifier.verify(folder / sealing.MANIFEST, signature)
    except Exception as reason:
        raise IntegrityError(
            f"The signature of {folder.name} must be of the key {Path(key).name}, over this package.json. "
            f"It is not: {_first_line(reason)}"
        ) from reason


def _verifier(key: str | Path) -> Any:
    verifying, hashing = (_library(part, to="verify a signature") for part in ("verifying", "hashing"))
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=_key(key))
    except (ValueError, TypeError, AttributeError) as reason:
        raise SpecError(
            f"The 'key' must be a public elliptic-curve key as PEM. {str(key)!r} is not: {_first_line(reason)}"
        ) from reason
    return verifier.set_hashing_config(hashing.Config().use_file_serialization(hashing_algorithm="sha256"))


def _library(part: str, *, to: str) -> Any:
    try:
        return require(f"model_signing.{part}", to=to)
    except ModuleNotFoundError as missing:  # pyopenssl, which it does not say that it needs
        raise MissingExtraError(
            f"To {to}, {missing.name} must be installed. It is not. Run: pip install 'ekiben[sign]'"
        ) from missing


def _key(path: str | Path) -> Path:
    found = Path(path)
    if not found.is_file():
        raise NotFoundError(f"The 'key' must be a PEM file. There is none at {str(path)!r}.")
    return found


def _first_line(reason: Exception) -> str:
    return (str(reason).partition("\n")[0] or type(reason).__name__)[:200]
