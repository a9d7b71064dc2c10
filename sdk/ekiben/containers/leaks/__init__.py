"""Look for what must not leave this machine, in a build's context and in an image; name the file and the kind, never the secret."""

from __future__ import annotations

import codecs
import configparser
import fnmatch
import getpass
import json
import os
import re
import socket
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

from ekiben.containers.leaks import files, pieces, views
from ekiben.containers.leaks.forms import OPEN, Rule
from ekiben.containers.leaks.rules import RULES, SURE
from ekiben.containers.leaks.unpacking import Entry, entries
from ekiben.containers.remembering import Clean
from ekiben.errors import BuildError, SpecError

CHUNK = 1 << 20
OVERLAP = 16 << 10  # what lies across the border of two chunks is whole in the second
MOST_TOLD = 20
SHORTEST = 8  # letters of a value of the environment that is looked for
SECRET_NAMES = re.compile(r"(?i)pass(word|wd)?|secret|token|api_?key|access_?key|credential|(^|_)dsn($|_)")
INDEXES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX")
HEADS = pieces.heads(SURE)
ROT13 = bytes(ord(codecs.encode(chr(each), "rot13")) for each in range(256))
# Names that many machines share say nothing of this one.
COMMON = re.compile(
    r"root|user|admin|ubuntu|debian|jovyan|runner|vscode|codespace|build|builder|app|nobody|ekiben|bentoml|python|docker|"
    r"localhost|.{0,3}|(localhost|ip6-.*)\..*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Leak:
    """One thing that must not be there: in which file, `!` standing behind an archive, and of what kind."""

    place: str
    kind: str

    def __str__(self) -> str:
        return f"{self.place}: {self.kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is this machine's own, by kind: texts that are looked for wherever they stand, and never shown."""

    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)


def machine(*folders: Path) -> Machine:
    """Tell what names this machine, who works on it, where, and with which remotes, indexes and secrets.

    Parameters
    ----------
    folders
        Where the work was done, besides the current folder.

    Examples
    --------
    >>> "a path of this machine" in machine().texts
    True
    """
    places = {str(path.resolve()) for path in (Path.cwd(), *folders)}
    host, user = {socket.gethostname(), socket.getfqdn()}, _user()
    home = Path.home()
    called = {*_as_called(), *(str(path.absolute()) for path in folders), str(home), str(home.resolve())}
    texts = {
        "a path of this machine": {p for p in (*places, *_roots(places), *called) if p.count("/") > 1},
        "the name of this machine": {name for name in host if not COMMON.fullmatch(name)},
        "the name of a user of this machine": {user} if not COMMON.fullmatch(user) and len(user) > 4 else set(),
        "a git remote": {remote for place in places for remote in _remotes(place)},
        "the address of a package index": set(_hosts_of_indexes()),
        "a secret of this environment": set(_secrets()),
    }
    return Machine(texts={kind: tuple(sorted(found)) for kind, found in texts.items() if found})


def scan(
    subject: str | Path, *, own: Machine | None = None, published: Collection[str] | None = None
) -> tuple[Leak, ...]:
    """Look through a folder, an OCI layout, or an archive of either, and through each archive in it.

    Parameters
    ----------
    subject
        The folder or file.
    own
        What names this machine; by default what `machine()` tells.
    published
        Places of the wheels whose digests an index gave: their bytes are public, and not looked at. Any other wheel is looked
        at as the user's own. By default every wheel is taken for a library.

    Returns
    -------
    What was found, each kind once a file, in the order of places.

    Raises
    ------
    SpecError
        If there is nothing to look at.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "notes.txt").write_text("key = AKIA" + "2E4YHGFKWMZQ7RST")
    >>> print(*scan(folder))
    notes.txt: a key of AWS
    """
    root = Path(subject)
    if not root.exists():
        raise SpecError(f"A scan must have a folder or an archive to look at. There is none at {str(subject)!r}.")
    known = list(literals(own or machine()))
    clean = looked_through(known)
    found: set[Leak] = set()
    for entry in entries(root, known=published or ()):
        rules = _rules(entry.place, published)
        found.update(Leak(place=entry.place, kind=kind) for kind in kinds_once(entry, rules, known, clean))
    return tuple(sorted(found))


def refuse(
    subject: str | Path,
    *,
    own: Machine | None = None,
    published: Collection[str] | None = None,
    allow: Mapping[str, str] | None = None,
) -> tuple[Leak, ...]:
    """Refuse what must not go into an image, naming each file and the kind, never what it is.

    Parameters
    ----------
    subject, own, published
        As `scan` takes them.
    allow
        Patterns of places that may hold what was found there, each with the reason why.

    Returns
    -------
    What was found and allowed.

    Raises
    ------
    BuildError
        If there is anything else.
    """
    allowed = dict(allow or {})
    if silent := sorted(pattern for pattern, reason in allowed.items() if not reason.strip()):
        raise SpecError(f"What is allowed needs a reason. There is none for {', '.join(silent)}.")
    found = scan(subject, own=own, published=published)
    leaks = [leak for leak in found if not any(fnmatch.fnmatchcase(leak.place, pattern) for pattern in allowed)]
    if leaks:
        raise BuildError(
            f"{told('An image', leaks)} Remove it from the service's folder or the model, and build again; "
            "what is none may be allowed by its place, with a reason."
        )
    return tuple(found)


def told(what: str, found: Sequence[Leak]) -> str:
    """Say what was found where, as far as a person reads on."""
    more = f"; and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    first = "; ".join(map(str, found[:MOST_TOLD]))
    return f"{what} must hold no notebook, data, secret, or name of a machine. Found {first}{more}."


# ── what is in one file ────────────────────────────────────────────────────────────────────────────────────────────


Literal = tuple[str, bytes, re.Pattern[bytes]]


def _rules(place: str, published: Collection[str] | None) -> Sequence[Rule]:
    """Choose what a file is asked: the user's own all of it, a library what is sure."""
    if not files.is_library(place, published):
        return RULES
    return () if files.is_test(place) else SURE


def looked_through(known: Sequence[Literal]) -> Clean:
    """Give the memory of what was clean by the rules of today and of this machine, whose texts it holds as a digest alone."""
    folder = Path(__file__).parent
    sources = sorted(folder.glob("*.py"))
    return Clean([*(source.read_bytes() for source in sources), sorted(way for _, way, _ in known)])


def kinds_once(entry: Entry, rules: Sequence[Rule], known: Sequence[Literal], clean: Clean) -> set[str]:
    """Tell the same as `kinds`, of a file that was clean under this name and by these rules without looking again."""
    told = (entry.place, rules is RULES, [rule.kind for rule in rules])
    if entry.file is None or not rules:
        return kinds(entry, rules, known)
    if clean.knows(told, entry.file):
        return set()
    found = kinds(entry, rules, known)
    if not found:
        clean.keep(told, entry.file)
    return found


def kinds(entry: Entry, rules: Sequence[Rule], known: Sequence[Literal]) -> set[str]:
    """Tell what kinds of leaks one file is or holds, as far as it is asked; `known` are those of `literals`."""
    place, mild = entry.place.removesuffix("!"), rules is RULES
    if entry.file is None:
        return {f"what cannot be looked into ({entry.closed})"} if mild else set()
    kinds = {kind for kind in (files.by_name(place), files.by_name_mild(place) if mild else None) if kind}
    kinds |= _in_bytes(
        f"/{place}".encode(errors="surrogateescape"), rules, known
    )  # a name tells as much as what it names
    for i, chunk in enumerate(_chunks(entry.file)):
        if mild and i == 0:
            kinds |= files.by_head(chunk)
        for number, view in enumerate(views.of(chunk) if mild else (chunk,)):
            kinds |= _in_bytes(view, rules, known)
            kinds |= {*pieces.kinds_in(view, HEADS)} if mild else set()
            kinds |= {"a data file"} if number and files.holds_rows(view) else set()
        for turned in (chunk[::-1], chunk.translate(ROT13)) if mild else ():
            kinds |= _in_bytes(turned, SURE, ())
    return kinds


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    tail = b""
    while data := file.read(CHUNK):
        yield tail + data
        tail = (tail + data)[-OVERLAP:]


def _in_bytes(data: bytes, rules: Sequence[Rule], literals: Iterable[Literal]) -> set[str]:
    lowered = data.lower()
    found = {rule.kind for rule in rules if rule.finds(data, lowered)}
    return found | {kind for kind, anchor, pattern in literals if anchor in lowered and pattern.search(data)}


# ── what is this machine's ─────────────────────────────────────────────────────────────────────────────────────────


def literals(own: Machine) -> Iterator[Literal]:
    """Give each text of this machine in the ways that files write it."""
    for kind, texts in own.texts.items():
        for text in texts:
            ways = {
                text.encode(),
                json.dumps(text)[1:-1].encode(),
                quote(text).encode(),
                text.encode("utf-16-le"),
                text.encode("utf-32-le"),
            }
            for way in ways:
                bounded = b"(?i)" + OPEN.encode("latin-1") + re.escape(way) + rb"(?![A-Za-z0-9_-])"
                yield kind, way.lower(), re.compile(bounded)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as many clusters give to a job
        return ""


def _as_called() -> Iterator[str]:
    """Give the current folder as the shell calls it, which may go there by links."""
    told = os.environ.get("PWD", "")
    if told and _is_there(told) and Path(told).samefile(Path.cwd()):
        yield told


def _roots(places: Iterable[str]) -> Iterator[str]:
    for place in places:
        if root := _git(place, "rev-parse", "--show-toplevel"):
            yield root


def _remotes(place: str) -> Iterator[str]:
    for line in _git(place, "remote", "-v").splitlines():
        _, _, rest = line.partition("\t")
        if address := rest.rpartition(" ")[0]:
            yield address


def _git(place: str, *arguments: str) -> str:
    if not Path(place).is_dir():
        return ""
    try:
        done = subprocess.run(["git", "-C", place, *arguments], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout.strip()


def _hosts_of_indexes() -> Iterator[str]:
    """Name the hosts of the indexes that this machine is set up for, but for those that everybody uses."""
    told = [os.environ.get(name, "") for name in INDEXES]
    for file in (Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf"):
        told += _in_pip_conf(file)
    for address in " ".join(told).split():
        host = urlsplit(address.rpartition("=")[2] if "://" not in address.partition("=")[0] else address).hostname
        if host and not re.search(r"(^|\.)(pythonhosted|pypi|anaconda)\.org$", host) and not COMMON.fullmatch(host):
            yield host


def _in_pip_conf(file: Path) -> list[str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(file)
    except (configparser.Error, UnicodeDecodeError, OSError):
        return []
    keys = ("index-url", "extra-index-url", "find-links")
    return [value for section in parser.values() for key, value in section.items() if key in keys]


def _secrets() -> Iterator[str]:
    for name, value in os.environ.items():
        if SECRET_NAMES.search(name) and len(value) >= SHORTEST and not _is_there(value):
            yield value


def _is_there(place: str) -> bool:
    try:
        return Path(place).exists()
    except OSError:  # longer than any name of a file; the error would show it
        return False
