"""Under which licences an image's parts stand: a table of families, and what a distribution of Python says of itself."""

from __future__ import annotations

import email
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from packaging.utils import canonicalize_name

from ekiben._optional import require
from ekiben.errors import BuildError

Family = Literal["permissive", "weak copyleft", "copyleft", "source-available", "unknown"]
Origin = Literal["Python", "Debian"]
# What each family asks, so that the table below can be checked by who answers for the image:
#   permissive        keep the notice
#   weak copyleft     changes to the library itself stay open; used unchanged, as a library, it asks nothing of the service
#   copyleft          what is joined with it and given away, or with AGPL offered over a network, must be open too
#   source-available  no open licence: forbids some uses, as the Business Source License forbids production
FAMILIES: dict[Family, tuple[str, ...]] = {
    "permissive": (
        *("0BSD", "AFL-3.0", "Apache-2.0", "Artistic-1.0-Perl", "Artistic-2.0", "BSD-4-Clause", "BSD-4-Clause-UC"),
        *("Beerware", "CC-BY-3.0", "FSFAP", "FSFUL", "FSFULLR", "FSFULLRWD", "TCL", "LicenseRef-Debian-public-domain"),
        *("BSD-1-Clause", "BSD-2-Clause", "BSD-2-Clause-Patent"),
        *(
            "BSD-3-Clause",
            "BSD-3-Clause-Clear",
            "BSD-3-Clause-LBNL",
            "BSD-3-Clause-Open-MPI",
            "BSL-1.0",
            "BlueOak-1.0.0",
        ),
        *(
            "CC-BY-4.0",
            "CC0-1.0",
            "CNRI-Python",
            "HPND",
            "ICU",
            "ISC",
            "JSON",
            "Libpng",
            "MIT",
            "MIT-0",
            "MIT-CMU",
            "NCSA",
        ),
        *(
            "OFL-1.1",
            "OpenSSL",
            "PSF-2.0",
            "PostgreSQL",
            "Python-2.0",
            "Python-2.0.1",
            "Spencer-94",
            "UPL-1.0",
            "Unicode-3.0",
        ),
        *(
            "Unicode-DFS-2016",
            "Unlicense",
            "WTFPL",
            "X11",
            "ZPL-2.1",
            "Zlib",
            "bzip2-1.0.6",
            "curl",
            "libtiff",
            "zlib-acknowledgement",
        ),
    ),
    "weak copyleft": (
        *(
            "CDDL-1.0",
            "CDDL-1.1",
            "EPL-1.0",
            "EPL-2.0",
            "EUPL-1.2",
            "LGPL-2.0-only",
            "LGPL-2.0-or-later",
            "LGPL-2.1-only",
        ),
        *("LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later", "MPL-1.1", "MPL-2.0", "MS-PL", "MS-RL"),
    ),
    "copyleft": (
        *("AGPL-3.0-only", "AGPL-3.0-or-later", "CC-BY-SA-4.0", "GPL-1.0-or-later", "GPL-2.0-only", "GPL-2.0-or-later"),
        *("GPL-3.0-only", "GPL-3.0-or-later", "OSL-3.0", "Sleepycat"),
        *(f"GFDL-{version}-{kind}" for version in ("1.1", "1.2", "1.3") for kind in ("only", "or-later")),
    ),
    "source-available": (
        *(
            "BUSL-1.1",
            "CC-BY-NC-4.0",
            "CC-BY-NC-SA-4.0",
            "CC-BY-NC-ND-4.0",
            "Elastic-2.0",
            "PolyForm-Noncommercial-1.0.0",
        ),
        *("PolyForm-Small-Business-1.0.0", "RSAL-2.0", "SSPL-1.0", "LicenseRef-Commons-Clause", "LicenseRef-Confluent"),
        *("LicenseRef-Functional-Source", "LicenseRef-PolyForm", "LicenseRef-Proprietary"),
    ),
}
# Of Debian no more is refused than what forbids: every base holds programs under the GPL, used as they are, whose sources
# Debian offers; and of a third of its packages no program can read the licence.
LET_THROUGH: dict[Origin, tuple[Family, ...]] = {
    "Python": ("permissive", "weak copyleft"),
    "Debian": ("permissive", "weak copyleft", "copyleft", "unknown"),
}
_FAMILY = {name.lower(): family for family, every in FAMILIES.items() for name in every}
# With these, what is compiled or linked with a library under the GPL stays under its own licence.
_EXCEPTIONS = (
    "autoconf-exception-generic",
    "bison-exception-2.2",
    "libtool-exception",
    "gcc-exception-3.1",
    "gcc-exception-2.0",
    "classpath-exception-2.0",
    "llvm-exception",
    "swift-exception",
    "bootloader-exception",
)
# Names of old metadata → SPDX. What only says a family (BSD, Apache) is taken at its usual version, which the gate treats alike.
_PLAIN = {
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd-3": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "new bsd license": "BSD-3-Clause",
    "business source license 1.1": "BUSL-1.1",
    "dual license": "",
    "gplv3": "GPL-3.0-only",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "the mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psf": "PSF-2.0",
    "psf license": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
    "zope public license": "ZPL-2.1",
    "gnu affero general public license v3": "AGPL-3.0-only",
    "gnu general public license v3 (gplv3)": "GPL-3.0-only",
    "gnu general public license v2 (gplv2)": "GPL-2.0-only",
    "gnu lesser general public license v3 (lgplv3)": "LGPL-3.0-only",
    "gnu lesser general public license v2 or later (lgplv2+)": "LGPL-2.0-or-later",
    "gnu library or lesser general public license (lgpl)": "LGPL-2.1-or-later",
}
_PROPRIETARY = re.compile(r"proprietary|^\W*all rights reserved\W*$|Do Not Upload", re.IGNORECASE)
# How a licence's own text is known. What forbids comes first: a file that holds two licences is as strict as the stricter.
_TEXTS = (
    (r"(?i)Business Source License,?\s+(?:Version\s+)?1\.1", "BUSL-1.1"),
    (r"(?i)Server Side Public License", "SSPL-1.0"),
    (r"(?i)Elastic License 2\.0", "Elastic-2.0"),
    (r"(?i)Commons Clause\W{0,3}\s+License Condition", "LicenseRef-Commons-Clause"),
    (r"(?i)Functional Source License", "LicenseRef-Functional-Source"),
    (
        r"(?i)PolyForm (?:Noncommercial|Small Business|Free Trial|Internal Use|Perimeter|Shield|Strict) License",
        "LicenseRef-PolyForm",
    ),
    (r"(?i)Redis Source Available License", "RSAL-2.0"),
    (r"(?i)Confluent Community License", "LicenseRef-Confluent"),
    (r"(?i)Attribution-NonCommercial(?:-\w+)? \d\.\d International", "CC-BY-NC-4.0"),
    (r"GNU AFFERO GENERAL PUBLIC LICENSE\s+Version 3", "AGPL-3.0-only"),
    (r"GNU LESSER GENERAL PUBLIC LICENSE\s+Version 3", "LGPL-3.0-only"),
    (r"GNU LESSER GENERAL PUBLIC LICENSE\s+Version 2\.1", "LGPL-2.1-only"),
    (r"GNU GENERAL PUBLIC LICENSE\s+Version 3", "GPL-3.0-only"),
    (r"GNU GENERAL PUBLIC LICENSE\s+Version 2", "GPL-2.0-only"),
    (r"Mozilla Public License,? [Vv]ersion 2\.0", "MPL-2.0"),
    (r"Apache License\s+Version 2\.0", "Apache-2.0"),
    (r"PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2", "PSF-2.0"),
    (r"Permission is hereby granted, free of charge, to any\s+person", "MIT"),
    (r"Redistribution and use in source and binary forms[\s\S]{0,1600}[Nn]either the name", "BSD-3-Clause"),
    (r"Redistribution and use in source and binary forms", "BSD-2-Clause"),
    (r"Permission to use, copy, modify,? and(?:/or)? distribute this software for any\s+purpose", "ISC"),
)
_FILES = re.compile(r"\.dist-info/(?:licenses/.+|[^/]*(?:licen[cs]e|copying)[^/]*)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """Under which licence one part of an image stands, and what follows.

    Parameters
    ----------
    name, version
        The distribution, or the package of Debian.
    expression
        In SPDX's words; None where nothing says.
    family
        The strictest of those that hold at once; of a choice, the mildest.
    source
        Where it was read: `expression`, `classifier`, `field`, `file`; of Debian's `copyright`, `text`, `section`; or `nowhere`.
    of
        `Python` or `Debian`.
    allowed
        Why it is let through all the same; None where nobody said.
    """

    name: str
    version: str
    expression: str | None
    family: Family
    source: str
    of: Origin = "Python"
    allowed: str | None = None

    @property
    def passes(self) -> bool:
        """Whether the gate lets it through."""
        return self.family in LET_THROUGH[self.of] or self.allowed is not None

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.expression or 'no licence known'}: {self.family})"

    def to_json(self) -> dict[str, Any]:
        """Give it as what is written beside the image."""
        return {field: getattr(self, field) for field in self.__slots__}


def family(expression: str) -> Family:
    """Tell to which family an SPDX expression belongs.

    Examples
    --------
    >>> family("MIT"), family("GPL-3.0-only OR MIT"), family("MIT AND AGPL-3.0-only"), family("LicenseRef-Ours")
    ('permissive', 'permissive', 'copyleft', 'unknown')
    """
    library = require("license_expression", to="read licences")
    try:
        parsed = _licensing().parse(expression)
    except (library.ExpressionError, library.ParseError):
        return "unknown"
    return "unknown" if parsed is None else _of(parsed)


def spelt(name: str) -> str | None:
    """Spell the name of a licence as SPDX does; None where SPDX has no such licence.

    >>> spelt("bsd-3-clause"), spelt("our-own")
    ('BSD-3-Clause', None)
    """
    library = require("license_expression", to="read licences")
    try:
        parsed = _licensing().parse(name)
    except (library.ExpressionError, library.ParseError):
        return None
    known = isinstance(parsed, library.LicenseSymbol) and not _licensing().unknown_license_keys(parsed)
    return str(parsed.key) if known else None


@cache
def _licensing() -> Any:
    return require("license_expression", to="read licences").get_spdx_licensing()  # reads a table of 2,000 licences


_ORDER: tuple[Family, ...] = ("permissive", "weak copyleft", "copyleft", "source-available", "unknown")


def _of(parsed: Any) -> Family:
    kind = type(parsed).__name__
    if kind in ("AND", "OR"):
        every = [_of(each) for each in parsed.args]
        return (max if kind == "AND" else min)(every, key=_ORDER.index)
    if kind == "LicenseWithExceptionSymbol":
        plain = _of(parsed.license_symbol)
        excepted = str(parsed.exception_symbol.key).lower() in _EXCEPTIONS
        if excepted:
            return "weak copyleft" if plain == "copyleft" else plain
        if parsed.exception_symbol.is_exception or plain not in LET_THROUGH["Python"]:
            return plain
        return "unknown"  # SPDX has no such exception: it may take away what the licence gives
    key = str(parsed.key).lower()
    return _FAMILY.get(key) or _FAMILY.get(f"{key.removesuffix('+')}-or-later") or "unknown"


# ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────────


def of_wheel(wheel: Path) -> Licence:
    """Read under which licence a wheel stands: what its metadata says, and what its licence files hold.

    Raises
    ------
    BuildError
        If it holds no METADATA.
    """
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        metadata = next((name for name in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)), None)
        if metadata is None:
            raise BuildError(f"A wheel must hold METADATA. {wheel.name} does not.")
        texts = [packed.read(name).decode(errors="replace") for name in names if _FILES.search(name)]
        return of_metadata(packed.read(metadata).decode(errors="replace"), texts)


def of_metadata(metadata: str, texts: Iterable[str] = ()) -> Licence:
    r"""Read a licence from METADATA, and from the licence files beside it.

    An expression is taken at its word, unless a file beside it holds a licence that forbids: that one counts, since a word
    is easily out of date. Anything less is also held against the classifiers: what says that it is proprietary is.

    Examples
    --------
    >>> of_metadata("Name: a\nVersion: 1\nLicense: MIT\n").expression
    'MIT'
    >>> str(of_metadata("Name: a\nVersion: 1\nLicense: MIT\n", ["Business Source License 1.1"]))
    'a 1 (BUSL-1.1: source-available)'
    """
    told = email.message_from_string(metadata)
    name, version = str(told["Name"]), str(told["Version"])
    found = list(_candidates(told, list(texts)))
    expression, source = found[0] if found else (None, "nowhere")
    forbids = (each for each in found if family(each[0]) == "source-available")
    asked = ("file",) if source == "expression" else ("file", "field", "classifier")
    expression, source = next((each for each in forbids if each[1] in asked), (expression, source))
    return Licence(
        name=canonicalize_name(name),
        version=version,
        expression=expression,
        family=family(expression) if expression else "unknown",
        source=source,
    )


def _candidates(told: Any, texts: list[str]) -> Iterable[tuple[str, str]]:
    """Give what is said, the surest first."""
    if expression := str(told["License-Expression"] or ""):
        yield expression, "expression"
    field = str(told["License"] or "").strip()
    if field and "\n" not in field and (spdx := _spdx(field)):
        yield spdx, "field"
    named = [str(line).rpartition(" :: ")[2] for line in told.get_all("Classifier") or () if "License ::" in str(line)]
    said = [str(line) for line in told.get_all("Classifier") or ()] + ([] if "\n" in field else [field])
    if any(map(_PROPRIETARY.search, said)):
        yield "LicenseRef-Proprietary", "field"
    known = sorted({spdx for name in named if (spdx := _spdx(name))})
    if known:
        yield " AND ".join(known), "classifier"  # nobody says which of several may be chosen
    for text in [*texts, field]:
        if spdx := _of_text(text):
            yield spdx, "file"


def _spdx(words: str) -> str | None:
    plain = _PLAIN.get(words.lower().strip())
    return plain or (words if family(words) != "unknown" else None)


def forbidding(text: str) -> str | None:
    r"""Tell which licence a text holds that forbids some uses; None for most.

    >>> forbidding("Business Source License 1.1"), forbidding("Apache License\nVersion 2.0")
    ('BUSL-1.1', None)
    """
    found = _of_text(text)
    return found if found is not None and family(found) == "source-available" else None


def _of_text(text: str) -> str | None:
    return next((spdx for pattern, spdx in _TEXTS if re.search(pattern, text)), None)
