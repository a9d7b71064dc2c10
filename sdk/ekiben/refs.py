"""Name one version of one model, as text and as a value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ekiben.errors import SpecError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ALIAS = re.compile(r"[A-Za-z0-9_-]+")
_RESERVED_ALIAS = re.compile(r"latest|v[0-9]+", re.IGNORECASE)
_DIGEST = re.compile(r"[0-9a-f]{12}")
_TEXT = re.compile(
    r"models:/(?P<name>[^/@]+)(?:/(?P<version>[1-9][0-9]{0,9})|@(?P<alias>[^/@]+))"
    r"|package:/(?P<package>[^/@]+)/(?P<digest>[0-9a-f]{12})"
)
_LAST_VERSION = 2**31 - 1  # the registry's column holds 32 bits

_SHAPE = (
    "A model reference must be 'models:/<name>/<version>', 'models:/<name>@<alias>' "
    "or 'package:/<name>/<12 hex digits>'."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """Name a model's version: by number, by alias, or by a package's digest.

    Parameters
    ----------
    name
        The model's name: a letter or `_`, then letters, digits, `_`, `.` or `-`.
    version
        Number in the registry, from 1. It never moves.
    alias
        A registry's label such as `champion`. It moves.
    digest
        First 12 hex digits of a package that no registry knows. It never moves.

    Raises
    ------
    SpecError
        If the name or the one of `version`, `alias`, `digest` that must be set is malformed.

    Examples
    --------
    >>> ref = ModelRef(name="credit_risk", version=3)
    >>> str(ref), ref.pinned
    ('models:/credit_risk/3', True)
    """

    name: str
    version: int | None = None
    alias: str | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        if faults := list(_faults(self)):
            raise SpecError("\n".join(faults))

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if self.digest is not None:
            return f"package:/{self.name}/{self.digest}"
        return f"models:/{self.name}" + (f"/{self.version}" if self.alias is None else f"@{self.alias}")

    @property
    def pinned(self) -> bool:
        """Tell whether this always names the same bytes.

        >>> ModelRef(name="credit_risk", alias="champion").pinned
        False
        """
        return self.alias is None


def parse(text: str) -> ModelRef:
    """Read a model reference.

    Parameters
    ----------
    text
        One of `models:/credit_risk/3`, `models:/credit_risk@champion`, `package:/credit_risk/0123abcd4567`.

    Raises
    ------
    SpecError
        If the text has another shape; the message shows the nearest one that has it.

    Examples
    --------
    >>> parse("models:/credit_risk@champion")
    models:/credit_risk@champion
    >>> parse("credit_risk/3")
    Traceback (most recent call last):
    ...
    ekiben.errors.SpecError: A model reference must be 'models:/<name>/<version>', 'models:/<name>@<alias>' \
or 'package:/<name>/<12 hex digits>'. Got 'credit_risk/3'. Did you mean 'models:/credit_risk/3'?
    """
    found = _match(_TEXT, text)
    if found is None:
        raise SpecError(f"{_SHAPE} Got {text!r}.{_hint(text)}")
    version = found["version"]
    return ModelRef(
        name=found["name"] or found["package"],
        version=int(version) if version else None,
        alias=found["alias"],
        digest=found["digest"],
    )


def _faults(ref: ModelRef) -> Iterator[str]:
    if not _fits(_NAME, ref.name):
        yield (
            "The 'name' of a model must start with a letter or '_' and go on with letters, digits, '_', '.' or '-'. "
            f"Got {ref.name!r}."
        )
    given = {"version": ref.version, "alias": ref.alias, "digest": ref.digest}
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        yield f"A model reference must have exactly one of 'version', 'alias' and 'digest'. Got {names or 'none'}."
    yield from _faults_of_version(ref.version)
    yield from _faults_of_alias(ref.alias)
    if ref.digest is not None and not _fits(_DIGEST, ref.digest):
        yield (
            f"The 'digest' must be the first 12 hex digits of a package's digest, in lower case. Got {ref.digest!r}."
        )


def _faults_of_version(version: object) -> Iterator[str]:
    if version is None:
        return
    if type(version) is not int or not 1 <= version <= _LAST_VERSION:
        yield f"The 'version' must be a whole number from 1 to {_LAST_VERSION}. Got {version!r}."


def _faults_of_alias(alias: object) -> Iterator[str]:
    if alias is None:
        return
    if not _fits(_ALIAS, alias):
        yield f"The 'alias' must be letters, digits, '_' or '-'. Got {alias!r}."
    elif _fits(_RESERVED_ALIAS, alias):
        yield f"The 'alias' must not be 'latest' or 'v' and a number: MLflow reserves those. Got {alias!r}."


def _match(pattern: re.Pattern[str], value: object) -> re.Match[str] | None:
    return pattern.fullmatch(value) if isinstance(value, str) else None


def _fits(pattern: re.Pattern[str], value: object) -> bool:
    return _match(pattern, value) is not None


def _hint(text: object) -> str:
    """Show the nearest reference that has the right shape, when one is plain to see."""
    if not isinstance(text, str):
        return " Pass text."
    scheme, _, rest = text.strip().rpartition(":/")
    name, *which = re.split("[/@:]", rest.strip("/"), maxsplit=1)
    if not _fits(_NAME, name) or (scheme and not nearest(scheme, ["models", "package"])):
        return ""
    if not which:
        return f" Add a version or an alias, such as 'models:/{name}/1' or 'models:/{name}@champion'."
    if which[0].lower() == "latest":
        return f" What is latest moves unseen: name a version, or an alias such as 'models:/{name}@champion'."
    repaired = _repaired(name, which[0])
    return f" Did you mean {repaired!r}?" if repaired else ""


def _repaired(name: str, which: str) -> str | None:
    if found := re.fullmatch(r"v?0*([1-9][0-9]{0,8})", which, re.IGNORECASE):
        return f"models:/{name}/{found[1]}"
    if found := re.fullmatch(r"(?:sha256:)?([0-9a-f]{12})[0-9a-f]*", which, re.IGNORECASE):
        return f"package:/{name}/{found[1].lower()}"
    if _fits(_ALIAS, which) and not _fits(_RESERVED_ALIAS, which):
        return f"models:/{name}@{which}"
    return None
