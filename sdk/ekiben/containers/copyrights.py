"""Under which licences a package of Debian stands, as its `copyright` says."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from ekiben.containers import licences

MACHINE_READABLE = re.compile(r"^Format(?:-Specification)?:.*(?:copyright-format|dep-?5)", re.IGNORECASE | re.MULTILINE)
# Debian's short names that are not SPDX's → SPDX. Versions of GPL, LGPL, AGPL and GFDL are read by their form.
SHORT_NAMES = {
    "apache": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "artistic": "Artistic-1.0-Perl",
    "beerware": "Beerware",
    "bsd": "BSD-3-Clause",
    "bsd-variant": "bzip2-1.0.6",
    "expat": "MIT",
    "gpl": "GPL-1.0-or-later",
    "lgpl": "LGPL-2.0-or-later",
    "gfdl": "GFDL-1.1-or-later",
    "mit/x11": "MIT",
    "mpl": "MPL-1.1",
    "permissive-fsf": "FSFULLR",
    "permissive-nowarranty": "FSFULLRWD",
    "psf-2": "PSF-2.0",
    "python": "Python-2.0",
    "unicode": "Unicode-DFS-2016",
}
# Names that many packages give to what is in the public domain.
PUBLIC = re.compile(r"(?:pd|probably-pd|public-domain)(?:-.*)?", re.IGNORECASE)
EXCEPTIONS = {
    "autoconf": "Autoconf-exception-generic",
    "bison": "Bison-exception-2.2",
    "classpath": "Classpath-exception-2.0",
    "gcc": "GCC-exception-3.1",
    "libtool": "Libtool-exception",
    "openssl": "cryptsetup-OpenSSL-exception",
    "texinfo": "Texinfo-exception",
}
_GNU = re.compile(r"(A?GPL|LGPL|GFDL)(?:-NIV)?-?v?(\d+)(?:\.(\d+))?(?:\.\d+)?(\+|-only|-or-later)?", re.IGNORECASE)
_WITH = re.compile(
    r"(?P<plain>[^ ]+?)(?:\s+with\s+(?P<said>.+?)[\s-]exception.*|-(?P<name>[a-z]+)-exception)", re.IGNORECASE
)


def expression(text: str) -> tuple[str | None, str]:
    r"""Read what a `copyright` says, in SPDX's words, and where that was said.

    A package is made of files under several licences, and all of them hold; those of its documents and of how it is built
    are among them. What SPDX has no name for is a `LicenseRef`. A file that is written for people alone is not read for
    what it permits, only for a licence that forbids.

    Returns
    -------
    The expression, or None where none is told; and `copyright` of a machine-readable file, `text` of another, or `nowhere`.

    Examples
    --------
    >>> form = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
    >>> expression(form + "Files: *\nLicense: GPL-2+ or Expat\n\nFiles: b\nLicense: zlib\n")
    ('(GPL-2.0-or-later OR MIT) AND Zlib', 'copyright')
    >>> expression("On Debian systems, see /usr/share/common-licenses/LGPL-2.1.")
    (None, 'nowhere')
    """
    if not MACHINE_READABLE.search(text[:2000]):
        forbids = licences.forbidding(text)
        return forbids, "text" if forbids else "nowhere"
    found = {each for line in _told(text) for each in of_names(line)}
    return (" AND ".join(sorted(_bracketed(found))), "copyright") if found else (None, "nowhere")


def _bracketed(every: Collection[str]) -> Iterator[str]:
    for each in every:
        yield f"({each})" if " OR " in each and len(every) > 1 else each


def _told(text: str) -> Iterator[str]:
    """Give the first line of the licence of each paragraph that speaks of files, or of the whole."""
    for paragraph in re.split(r"\n\s*\n", text):
        if re.search(r"^(?:Files|Format(?:-Specification)?):", paragraph, re.MULTILINE | re.IGNORECASE):
            yield from re.findall(r"^License:[ \t]*(\S.*)$", paragraph, re.MULTILINE | re.IGNORECASE)


def of_names(line: str) -> list[str]:
    """Write a licence of Debian's form in SPDX's words: every part of it that holds.

    Examples
    --------
    >>> of_names("GPL-3+ with GCC exception"), of_names("GPL-2+ or LGPL-2.1+, and BSD-3-clause")
    (['GPL-3.0-or-later WITH GCC-exception-3.1'], ['GPL-2.0-or-later OR LGPL-2.1-or-later', 'BSD-3-Clause'])
    >>> of_names("our own words")
    ['LicenseRef-Debian-our-own-words']
    """
    return [each for part in re.split(r",\s*(?:and\s+)?", line.strip()) if part.strip() for each in _group(part)]


def _group(words: str) -> list[str]:
    """Give what is joined by `and`; where there is a choice, the whole of it."""
    words = re.sub(r"^or\s+", "", words.strip(), flags=re.IGNORECASE)
    parts = re.split(r"\s+(and/or|and|or)\s+", words, flags=re.IGNORECASE)
    joined = [_name(part) if i % 2 == 0 else "AND" if part.lower() == "and" else "OR" for i, part in enumerate(parts)]
    return [" ".join(joined)] if "OR" in joined else joined[::2]


def _name(word: str) -> str:
    plain = word.strip().strip("()")
    if (found := _WITH.fullmatch(plain)) is not None:
        key = (found["said"] or found["name"]).strip().lower()
        if (exception := EXCEPTIONS.get(key)) is not None and _GNU.fullmatch(found["plain"]):
            return f"{_name(found['plain'])} WITH {exception}"
    if plain.lower() in SHORT_NAMES:
        return SHORT_NAMES[plain.lower()]
    if (told := _GNU.fullmatch(plain)) is not None:
        kind = "or-later" if told[4] in ("+", "-or-later") else "only"
        return f"{told[1].upper()}-{told[2]}.{told[3] or 0}-{kind}"
    if PUBLIC.fullmatch(plain):
        return "LicenseRef-Debian-public-domain"
    return licences.spelt(plain) or f"LicenseRef-Debian-{_plain(plain)}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or "unnamed"
