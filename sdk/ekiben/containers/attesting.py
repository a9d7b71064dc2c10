"""Who built an image, and from what: a provenance statement in in-toto's form, signed over the image's digest with a key, offline."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ekiben._optional import require
from ekiben.containers import saved
from ekiben.containers.saved import Layout
from ekiben.containers.wheels import Wheel
from ekiben.errors import IntegrityError, NotFoundError, SpecError

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD = "https://ekiben.ai/containerize/v1"  # a name, as in-toto wants one; nothing is fetched from it
PAYLOAD = "application/vnd.in-toto+json"
SUFFIX = ".attestation.json"
MOST_BYTES = 16_000_000
CURVES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was really run to build an image.

    Parameters
    ----------
    engine, engine_version
        What built it.
    commands
        The commands, as lists of words.
    base, base_digest
        The base image, and SHA-256 of it where it is known.
    """

    engine: str
    engine_version: str
    commands: Sequence[Sequence[str]] = ()
    base: str = ""
    base_digest: str | None = None


def statement(
    *,
    image: str,
    ids: Iterable[str],
    tag: str,
    run: Run,
    wheels: Iterable[Wheel] = (),
    arms: Mapping[str, str] | None = None,
    materials: Mapping[str, Path] | None = None,
    byproducts: Mapping[str, Path] | None = None,
    epoch: int,
) -> dict[str, Any]:
    """Say from what an image was built and by which commands: an in-toto statement with SLSA's predicate.

    Parameters
    ----------
    image
        The image's name.
    ids
        Its digests: that of its configuration, and that of its manifest where it is known.
    tag
        The bento's tag.
    run
        What was run.
    wheels
        What it installs, each named by its digest.
    arms
        Arm → SHA-256 of its package.
    materials, byproducts
        More files that went in, such as the lock, or came out, such as the bill of materials: name → file.
    epoch
        The time of every file, in seconds since 1970. When it was built is not said: the same image has the same statement.

    Examples
    --------
    >>> run = Run(engine="podman", engine_version="4.3.1", commands=[["podman", "build", "."]])
    >>> made = statement(image="churn:1", ids=["ab" * 32], tag="churn:4kz2", run=run, epoch=0)
    >>> made["subject"], made["predicate"]["buildDefinition"]["internalParameters"]["epoch"]
    ([{'name': 'churn:1', 'digest': {'sha256': 'abababab...'}}], 0)
    """
    needed = [_digested(f"pkg:pypi/{each.name}@{each.version}", each.sha256) for each in wheels]
    needed += [_digested(f"arm:{arm}", digest) for arm, digest in sorted((arms or {}).items())]
    needed += [_digested(name, _sha256(file)) for name, file in sorted((materials or {}).items())]
    if run.base:
        needed.append(
            _digested(f"image:{run.base}", run.base_digest) if run.base_digest else {"name": f"image:{run.base}"}
        )
    return {
        "_type": STATEMENT,
        "subject": [{"name": image, "digest": {"sha256": each}} for each in dict.fromkeys(ids)],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {"bento": tag, "image": image},
                "internalParameters": {"commands": [list(each) for each in run.commands], "epoch": epoch},
                "resolvedDependencies": needed,
            },
            "runDetails": {
                "builder": {
                    "id": BUILD,
                    "version": {
                        "ekiben": version("ekiben"),
                        "python": ".".join(map(str, sys.version_info[:3])),
                        run.engine: run.engine_version,
                    },
                },
                "byproducts": [_digested(name, _sha256(file)) for name, file in sorted((byproducts or {}).items())],
            },
        },
    }


def _digested(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest}}


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


# ── signing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def write(made: Mapping[str, Any], to: Path, *, key: str | Path | None = None, password: str | None = None) -> Path:
    """Write a statement as a DSSE envelope, signed where a key is given.

    Parameters
    ----------
    made
        What `statement` gave.
    to
        The file.
    key
        A private elliptic-curve key as PEM, on P-256, P-384 or P-521: the same as signs packages. Without one the envelope
        holds no signature, and says what was built but not by whom.
    password
        Of the key, when it has one.

    Raises
    ------
    SpecError
        If the file holds no such key.
    """
    payload = json.dumps(made, sort_keys=True, separators=(",", ":")).encode()
    signatures = [] if key is None else [_signed(payload, Path(key), password)]
    to.write_text(_text(payload, signatures))
    return to


def refuse_key(key: str | Path, password: str | None = None) -> None:
    """Refuse a key that would not sign, before anything is built.

    Raises
    ------
    NotFoundError
        If there is no such file.
    SpecError
        If the file holds no private elliptic-curve key, or the password is not its own.
    """
    _signed(b"", Path(key), password)


def _text(payload: bytes, signatures: Sequence[Mapping[str, str]]) -> str:
    envelope = {"payloadType": PAYLOAD, "payload": base64.b64encode(payload).decode(), "signatures": signatures}
    return json.dumps(envelope, indent=1) + "\n"


def _signed(payload: bytes, key: Path, password: str | None) -> dict[str, str]:
    serialization = require("cryptography.hazmat.primitives.serialization", to="sign an image")
    try:
        private = serialization.load_pem_private_key(_bytes(key), password.encode() if password else None)
        algorithm, public = _algorithm(private), private.public_key()
        return {"keyid": _keyid(public), "sig": base64.b64encode(private.sign(_framed(payload), algorithm)).decode()}
    except (ValueError, TypeError, AttributeError) as reason:
        raise SpecError(
            f"The 'key' must be a private elliptic-curve key as PEM. {str(key)!r} is not usable: {reason}"
        ) from reason


def _framed(payload: bytes) -> bytes:
    """Frame a payload as DSSE signs it, so that its type is signed too."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)


def _algorithm(key: Any) -> Any:
    elliptic = require("cryptography.hazmat.primitives.asymmetric.ec", to="sign an image")
    hashes = require("cryptography.hazmat.primitives.hashes", to="sign an image")
    name = getattr(getattr(key, "curve", None), "name", type(key).__name__)
    if name not in CURVES:
        raise ValueError(f"it is on none of {', '.join(CURVES)}")
    return elliptic.ECDSA(getattr(hashes, CURVES[name])())


def _keyid(public: Any) -> str:
    serialization = require("cryptography.hazmat.primitives.serialization", to="sign an image")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(public.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def _bytes(key: Path) -> bytes:
    if not key.is_file():
        raise NotFoundError(f"The 'key' must be a PEM file. There is none at {str(key)!r}.")
    return key.read_bytes()


# ── verifying ──────────────────────────────────────────────────────────────────────────────────────────────────────


def verify(
    image: str | Path,
    *,
    key: str | Path | None = None,
    digest: str | None = None,
    name: str | None = None,
    attestation: str | Path | None = None,
) -> str:
    """Compare every byte of an image with its digests, and what is attested of it with a key.

    Parameters
    ----------
    image
        An OCI layout, or an archive of one.
    key
        The signer's public key, a PEM file; without one the attestation is only read where there is one.
    digest
        What the image's digest must be, that of its configuration or of its manifest, whole or its first 12 digits or more.
        An engine packs the layers anew when it saves an image: the digest of the manifest that was built is known by its
        attestation alone, and counts where a key shows who wrote that.
    name
        What the attested image's name must be.
    attestation
        Where the attestation lies; by default beside the image, under its name and `.attestation.json`.

    Returns
    -------
    The image's digest, that of its configuration.

    Raises
    ------
    IntegrityError
        If a byte was changed, there is no attestation, it is of another key, or of another image.
    """
    place = Path(image)
    found = saved.read(place)
    file = Path(attestation) if attestation is not None else place.with_name(place.name + SUFFIX)
    known = {each for each in (found.id, found.digest) if each}
    if key is not None or name is not None or file.is_file():
        told = read(file, key=key)
        _is_of(told, found, name)
        if attestation is None:
            _is_written_so(told, place)
        known |= _subjects(told) if key is not None else set()
    if digest is not None:
        _is_meant(found.id, known, digest.removeprefix("sha256:"))
    return found.id


def read(file: Path, *, key: str | Path | None = None) -> dict[str, Any]:
    """Read an attestation, its signature compared with a key where one is given.

    Raises
    ------
    IntegrityError
        If there is none, it is no envelope of a statement, it is not signed by the key, or it was changed.
    """
    if not file.is_file() or file.stat().st_size > MOST_BYTES:
        raise IntegrityError(
            f"An image must have an attestation beside it. There is no {file.name}. Say where it is: signature=…."
        )
    try:
        text = file.read_text(encoding="utf-8")
        envelope = json.loads(text)
        payload = base64.b64decode(envelope["payload"], validate=True)
        signatures = [
            (str(each["keyid"]), base64.b64decode(each["sig"], validate=True)) for each in envelope["signatures"]
        ]
        told = json.loads(payload)
        shaped = envelope.keys() == {"payloadType", "payload", "signatures"} and told["_type"] == STATEMENT
        shaped = shaped and text == _text(payload, envelope["signatures"])  # each byte as `write` writes it
    except (ValueError, KeyError, TypeError, RecursionError) as reason:
        raise IntegrityError(f"{file.name} must be an envelope of a statement. It is not.") from reason
    shaped = shaped and _is_shaped(told)
    if not shaped or envelope["payloadType"] != PAYLOAD or told.get("predicateType") != PREDICATE:
        raise IntegrityError(f"{file.name} must be an envelope of a provenance statement. It is of another kind.")
    if key is not None:
        _is_signed(payload, signatures, Path(key), file.name)
    found: dict[str, Any] = told
    return found


def _is_shaped(told: Mapping[str, Any]) -> bool:
    """Tell whether what is read of a statement has its form: who wrote it is not known yet."""
    predicate = told.get("predicate")
    details = predicate.get("runDetails") if isinstance(predicate, dict) else None
    byproducts = details.get("byproducts", []) if isinstance(details, dict) else None
    lists = (told.get("subject"), byproducts)
    return all(isinstance(each, list) and all(map(_is_digested, each)) for each in lists)


def _is_digested(each: Any) -> bool:
    digest = each.get("digest") if isinstance(each, dict) else None
    return isinstance(digest, dict) and isinstance(digest.get("sha256"), str) and isinstance(each.get("name"), str)


def _is_signed(payload: bytes, signatures: Sequence[tuple[str, bytes]], key: Path, name: str) -> None:
    serialization = require("cryptography.hazmat.primitives.serialization", to="verify a signature")
    exceptions = require("cryptography.exceptions", to="verify a signature")
    try:
        public = serialization.load_pem_public_key(_bytes(key))
        algorithm = _algorithm(public)
    except (ValueError, TypeError, AttributeError) as reason:
        raise SpecError(
            f"The 'key' must be a public elliptic-curve key as PEM. {str(key)!r} is not: {reason}"
        ) from reason
    own = _keyid(public)
    for told, signature in signatures:
        if told != own:
            continue
        try:
            public.verify(signature, _framed(payload), algorithm)
        except exceptions.InvalidSignature:
            continue
        return
    raise IntegrityError(f"{name} must be signed by the key {key.name}. It is not: no signature of that key fits.")


def _is_meant(own: str, known: Collection[str], digest: str) -> None:
    if len(digest) < 12 or not any(each.startswith(digest.lower()) for each in known):
        raise IntegrityError(
            f"The image must be {digest}. Got {own[:12]}, which its configuration is. Give at least 12 digits; a digest that "
            "an engine shows is known by a signed attestation: pass its key=."
        )


def _subjects(told: Mapping[str, Any]) -> set[str]:
    """Give the digests of what a statement is of."""
    return {each["digest"]["sha256"] for each in told["subject"]}


def _is_of(told: Mapping[str, Any], found: Layout, name: str | None) -> None:
    if not _subjects(told) & {found.id, found.digest}:
        raise IntegrityError(f"The attestation must be of this image, {found.id[:12]}. It is of another.")
    names = sorted({each["name"] for each in told["subject"]})
    if name is not None and name not in names:
        raise IntegrityError(f"The attestation must be of the image {name!r}. It is of {', '.join(names)}.")


def whole(image: Path) -> dict[str, Path]:
    """Name the files of an image that no digest in it covers: the archive itself, or the index of a layout."""
    return {"archive": image} if image.is_file() else {each: image / each for each in ("index.json", "oci-layout")}


def _is_written_so(told: Mapping[str, Any], place: Path) -> None:
    """Compare what no digest in the image covers, where the attestation beside it was made with it."""
    byproducts = told["predicate"]["runDetails"].get("byproducts", [])
    known = {each["name"]: each["digest"]["sha256"] for each in byproducts}
    changed = [name for name, file in whole(place).items() if name in known and known[name] != _sha256(file)]
    if changed:
        raise IntegrityError(f"The image must be as it was attested. {', '.join(changed)} of {place.name} was changed.")
