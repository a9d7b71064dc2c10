"""Keys of a service: who may ask what, held as hashes, and changed without a restart."""

from __future__ import annotations

import hmac
import logging
import os
import re
import secrets
import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from time import monotonic

from ekiben.errors import SpecError

logger = logging.getLogger("ekiben")
TEXT, FILE = "EKIBEN_KEYS", "EKIBEN_KEYS_FILE"
OFF = "off"  # said of either: everybody may ask
SCOPES = ("read", "explain", "write", "admin")
PREFIX = "ek_"  # so that a scanner of secrets knows one
LOOKED_S = 1.0  # how old the file that was read may be
LONGEST_DAYS = 36_500  # of a key that ends; more has no date
LONGEST = 512  # bytes of an Authorization header that is looked at
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key: what it is called, the SHA-256 of its token, what it may do, and until when."""

    name: str
    sha256: str
    scopes: tuple[str, ...]
    until: datetime | None = None


def make(name: str, scopes: Sequence[str], *, days: float | None = None) -> tuple[str, str]:
    """Make a token of 256 random bits, and the lines of TOML that let it in.

    Parameters
    ----------
    name
        What the key is called, in the file and in the log.
    scopes
        What it may do: `read`, `explain`, `write`, `admin`.
    days
        After how many days it ends; never by default.

    Raises
    ------
    SpecError
        If the name or a scope is none.

    Examples
    --------
    >>> token, lines = make("batch", ["read"])
    >>> token.startswith("ek_"), token in lines
    (True, False)
    >>> parse(lines)[0].scopes
    ('read',)
    """
    token = PREFIX + secrets.token_urlsafe(32)
    lines = [f"[keys.{name}]" if "." not in name else f'[keys."{name}"]', f'sha256 = "{hashed(token)}"']
    lines.append(f"scopes = [{', '.join(map(_quoted, scopes))}]")
    if days is not None:
        lines.append(f"until = {datetime.now(UTC) + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}")
    text = "\n".join(lines) + "\n"
    parse(text)
    return token, text


def add(file: Path, lines: str) -> None:
    """Add a key's lines to a file of keys, which is made for its owner alone; it is replaced as a whole, and who may read it stays.

    Raises
    ------
    SpecError
        If the file holds something else, or a key of that name.
    """
    try:
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        text = f"{before.rstrip()}\n\n{lines}" if before.strip() else lines
        held = {key.name for key in parse(before)} if before.strip() else set()
        if taken := sorted(held & {key.name for key in parse(lines)}):
            raise SpecError(f"Each key must have a name of its own. {file.name} has one called {taken[0]!r} already.")
        beside = file.with_name(f"{file.name}.part")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as made:
            made.write(text)
        if file.exists():
            told = file.stat()
            with suppress(PermissionError):  # the file of somebody else, or of a group that this user is not of
                os.chown(beside, told.st_uid, told.st_gid)
            shutil.copymode(file, beside)
        beside.replace(file)
    except (OSError, UnicodeDecodeError) as reason:
        raise SpecError(f"The file of keys must be writable. {file.name} is not: {type(reason).__name__}.") from None


def _quoted(word: str) -> str:
    return f'"{word}"'


def hashed(token: str | bytes) -> str:
    """Give what is kept of a token."""
    return sha256(token.encode() if isinstance(token, str) else token).hexdigest()


def parse(text: str) -> tuple[Key, ...]:
    """Read keys from TOML: a table `[keys.<name>]` for each, with `sha256`, `scopes` and, if it ends, `until`.

    Raises
    ------
    SpecError
        With every fault; no hash is repeated.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as reason:
        place = re.search(r"\(at [^)]*\)", str(reason))
        raise SpecError(
            f"The keys must be TOML. They are not {place[0] if place else ''}.".replace(" .", ".")
        ) from None
    found = document.get("keys")
    faults = (
        [] if isinstance(found, Mapping) and found and set(document) == {"keys"} else ["[keys.<name>] must name a key"]
    )
    told = found if isinstance(found, Mapping) else {}
    for name, entry in told.items():
        faults += [f"keys.{name if _NAME.fullmatch(name) else '…'}: {fault}" for fault in _faults(name, entry)]
    if faults:
        raise SpecError("The keys must be as `ekiben key` writes them.\n" + "\n".join(faults))
    return tuple(Key(name=name, **{**entry, "scopes": tuple(entry["scopes"])}) for name, entry in told.items())


def _faults(name: str, entry: object) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield "a name is letters, digits, '_', '.' and '-', 63 at most"
    if not isinstance(entry, Mapping):
        yield "a key is a table"
        return
    if extra := set(entry) - {"sha256", "scopes", "until"}:
        yield f"a key holds sha256, scopes and until; got {len(extra)} more"
    if not isinstance(entry.get("sha256"), str) or not _HASH.fullmatch(entry["sha256"]):
        yield "sha256 must be 64 hex digits in lower case"
    scopes = entry.get("scopes")
    if not isinstance(scopes, list) or not scopes or not all(scope in SCOPES for scope in scopes):
        yield f"scopes must be some of {', '.join(SCOPES)}"
    until = entry.get("until")
    if "until" in entry and (not isinstance(until, datetime) or until.tzinfo is None):
        yield "until must be a moment with its offset, such as 2027-01-01T00:00:00Z"


Stamp = tuple[int, int, int]


class Keys:
    """The keys of a running service; a file of them is read again when it changes.

    Parameters
    ----------
    known
        The keys.
    file
        Where they come from, to be looked at again; None for keys that stay.
    seen
        What `stamp_of` gave of the file before it was read.

    Examples
    --------
    >>> token, lines = make("batch", ["read"])
    >>> keys = Keys(parse(lines))
    >>> keys.judge(f"Bearer {token}".encode(), "read")
    >>> keys.judge(f"Bearer {token}".encode(), "admin")
    'forbidden'
    >>> keys.judge(None, "read")
    'unauthorized'
    """

    def __init__(self, known: Sequence[Key], file: Path | None = None, seen: Stamp | None = None) -> None:
        self._file, self._looked, self._seen = file, monotonic(), seen
        self._hold(known)

    def _hold(self, known: Sequence[Key]) -> None:
        self._known = [(key.sha256.encode(), key) for key in known]

    def judge(self, authorization: bytes | None, scope: str) -> str | None:
        """Tell why a request may not do what it asks for: `unauthorized` or `forbidden`; None when it may."""
        if self._file is not None and monotonic() - self._looked > LOOKED_S:
            self._look()
        token = token_of(authorization)
        if token is None:
            return "unauthorized"
        came, found = hashed(token).encode(), None
        for digest, key in self._known:  # all of them, so that the time tells nothing
            if hmac.compare_digest(digest, came):
                found = key
        if found is None or (found.until is not None and found.until <= datetime.now(UTC)):
            return "unauthorized"
        return None if scope in found.scopes else "forbidden"

    def _look(self) -> None:
        """Read the file again if it is another one; what cannot be read leaves the keys as they were."""
        self._looked, stamp = monotonic(), stamp_of(self._file)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._hold(_read(self._file))
        except SpecError as reason:
            logger.error("the keys stay as they were: %s", reason)


def token_of(authorization: bytes | None) -> bytes | None:
    """Give the token that a header shows; None where it shows none.

    >>> token_of(b"bearer  ek_1"), token_of(b"Basic ek_1")
    (b'ek_1', None)
    """
    if authorization is None or len(authorization) > LONGEST:
        return None
    scheme, _, token = authorization.partition(b" ")
    return token.strip() or None if scheme.lower() == b"bearer" else None


def stamp_of(file: Path | None) -> Stamp | None:
    """Tell one writing of a file from another; None for none. It is taken before the file is read, so that no change is missed."""
    try:
        told = file.stat() if file is not None else None
    except OSError:
        return None
    return None if told is None else (told.st_mtime_ns, told.st_size, told.st_ino)


def _read(file: Path | None) -> tuple[Key, ...]:
    try:
        return parse(file.read_text(encoding="utf-8")) if file is not None else ()
    except (OSError, UnicodeDecodeError) as reason:
        name = "" if file is None else file.name
        raise SpecError(f"The file of keys must be readable. {name} is not: {type(reason).__name__}.") from None


def of_environment() -> Keys | None:
    """Give the keys that the environment names: `EKIBEN_KEYS_FILE` a file, or `EKIBEN_KEYS` the text; None for none, or `off`.

    Raises
    ------
    SpecError
        If they are none, both are named, or one is empty, as a secret is that was not filled: that lets nobody in unseen.
    """
    told = {each: os.environ[each] for each in (TEXT, FILE) if os.environ.get(each, OFF) != OFF}
    if empty := [each for each, value in told.items() if not value.strip()]:
        raise SpecError(
            f"{empty[0]} must hold keys. It is set and empty. To let everybody ask, unset it, or set it to {OFF}."
        )
    text, name = told.get(TEXT), told.get(FILE)
    if text and name:
        raise SpecError(f"Keys must come from {FILE} or from {TEXT}. Both are set.")
    if name:
        file = Path(name)
        seen = stamp_of(file)
        return Keys(_read(file), file, seen)
    return Keys(parse(text)) if text else None
