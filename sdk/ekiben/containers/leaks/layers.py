"""Look for what must not leave this machine in a finished image: in each layer, and in what its configuration says."""

from __future__ import annotations

import base64
import csv
import fnmatch
import hashlib
import json
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from ekiben.containers import leaks, recipe, saved
from ekiben.containers.images import HOLDS
from ekiben.containers.leaks import Leak, Machine, files, unpacking
from ekiben.containers.leaks.forms import Rule
from ekiben.containers.leaks.rules import RULES, SURE
from ekiben.containers.leaks.unpacking import Entry
from ekiben.containers.remembering import Clean
from ekiben.containers.wheels import Wheel
from ekiben.errors import BuildError

SITE = f"{recipe.SITE.strip('/')}/"
HOME = f"{recipe.HOME.strip('/')}/"
OURS = "ekiben"  # the distribution whose wheel is made where a bento is built


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Which files of an image's dependencies come from which wheel, and which bytes are public.

    Parameters
    ----------
    wheels
        File below the folder of dependencies → the wheel's file, with its name in that wheel.
    public
        Files of wheels whose digests an index gave.
    digests
        Of those, SHA-256 as the wheel's RECORD has it.
    """

    wheels: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    public: frozenset[str] = frozenset()
    digests: Mapping[str, str] = field(default_factory=dict)

    def rules(self, name: str) -> Sequence[Rule]:
        """Choose what a file of the dependencies is asked: of a public wheel what is sure, any other everything."""
        if source_of(name) not in self.public:
            return RULES
        return () if files.is_test(f"/{name}") else SURE


def owners(wheels: Sequence[Wheel], published: Collection[str] | None) -> Owners:
    """Read who owns each file from the wheels that an image installs.

    Parameters
    ----------
    wheels
        What the image installs.
    published
        The wheels whose digests an index gave, as `wheels/<file>`; None where no index was asked, and each is taken for one.
    """
    every: dict[str, tuple[str, str]] = {}
    public: set[str] = set()
    digests: dict[str, str] = {}
    for wheel in wheels:
        is_public = published is None or f"wheels/{wheel.file.name}" in published
        for name, digest in _record(wheel.file):
            every[name] = (f"wheels/{wheel.file.name}", name)
            public.discard(name)  # of two wheels with one file the image has the later one's
            digests.pop(name, None)
            if is_public or wheel.name == OURS:
                public.add(name)
            if is_public and digest:
                digests[name] = digest
    return Owners(wheels=every, public=frozenset(public), digests=digests)


def _record(wheel: Path) -> Iterator[tuple[str, str]]:
    with zipfile.ZipFile(wheel) as packed:
        # its own, which lies at the top: it may carry other distributions
        name = next((each for each in packed.namelist() if re.fullmatch(r"[^/]+\.dist-info/RECORD", each)), None)
        if name is None:
            raise BuildError(f"A wheel must hold RECORD. {wheel.name} does not.")
        for line in csv.reader(packed.read(name).decode().splitlines()):
            if line:
                yield line[0], line[1].removeprefix("sha256=") if len(line) > 1 else ""


def source_of(name: str) -> str:
    """Name the module that Python compiled to a file, or the file itself.

    >>> source_of("numpy/__pycache__/core.cpython-311.pyc"), source_of("numpy/core.py")
    ('numpy/core.py', 'numpy/core.py')
    """
    folder, cached, compiled = name.rpartition("__pycache__/")
    return f"{folder}{compiled.partition('.')[0]}.py" if cached else name


def scan(image: Path | saved.Layout, known: Owners | None = None, *, own: Machine | None = None) -> tuple[Leak, ...]:
    """Look through an image that was saved: every file of every layer, also one that a later layer hides, and every label.

    A file whose bytes a public wheel holds is not looked into. The base is asked as a library is: what is sure to be a secret,
    and what names this machine. A layer in which nothing was found is not looked through again by the same rules.

    Parameters
    ----------
    image
        An OCI layout, an archive of one, or what `saved.read` read of it.
    known
        Who owns the dependencies; by default nobody is known, and they are asked as the user's own files are.
    own
        What names this machine; by default what `leaks.machine()` tells.

    Raises
    ------
    NotFoundError
        If there is no image.
    IntegrityError
        If a byte of it was changed.
    """
    layout = image if isinstance(image, saved.Layout) else saved.read(image)
    literals = list(leaks.literals(own or leaks.machine()))
    owners_ = known or Owners()
    found = {
        Leak(place=place, kind=kind)
        for place, data in _told(layout)
        for kind in leaks.kinds(Entry(place="", file=BytesIO(data)), RULES, literals)
    }
    clean = leaks.looked_through(literals)
    for number, blob in saved.layers_of(layout):
        told = _layer(layout, number, owners_)
        if not clean.knows(told):
            leaking = set(_in_layer(layout, number, blob, literals, owners_, clean))
            found |= leaking
            if not leaking:
                clean.keep(told)
    return tuple(sorted(found))


def _in_layer(
    layout: saved.Layout,
    number: int,
    blob: IO[bytes],
    literals: Sequence[leaks.Literal],
    known: Owners,
    clean: Clean,
) -> Iterator[Leak]:
    holds = HOLDS[number] if len(layout.layers) == len(HOLDS) else str(number + 1)
    for name, entry in _entries(blob):
        rules = _rules(number, name, entry, known)
        if rules is not None:
            # By its name in the context what was looked through there is known, and not looked through again.
            named = Entry(place=_in_context(name) or name, file=entry.file, closed=entry.closed)
            place = f"layer {holds}: {name.removesuffix('!')}"  # what a tar or zip says of a file stands for the file
            yield from (Leak(place=place, kind=kind) for kind in leaks.kinds_once(named, rules, literals, clean))


def _layer(layout: saved.Layout, number: int, known: Owners) -> list[object]:
    """Name the bytes of a layer, and what decides beside the rules how they are looked through."""
    digest = layout.config["rootfs"]["diff_ids"][number]
    return [Path(__file__).read_bytes(), digest, number, sorted(known.digests.items()), sorted(known.public)]


def _entries(blob: IO[bytes]) -> Iterator[tuple[str, Entry]]:
    """Give each file of a layer, and what is in it, with its name in the image."""
    with unpacking.copied(blob) as layer:
        for entry in unpacking.opened("", layer):
            name = entry.place.lstrip("!/").removeprefix("./")
            if name:  # else it is the layer itself
                yield name, entry


def _rules(number: int, name: str, entry: Entry, known: Owners) -> Sequence[Rule] | None:
    """Choose what a file is asked; None if its bytes are public."""
    outer = name.partition("!")[0]
    if outer.startswith(SITE) and number > 0:
        inner = outer.removeprefix(SITE)
        return None if _is_public(inner, name == outer, entry, known) else known.rules(inner)
    if number == 0 and files.is_library(name, None):
        return () if files.is_test(name) else SURE
    return RULES


def _is_public(inner: str, is_whole: bool, entry: Entry, known: Owners) -> bool:
    digest = known.digests.get(inner)
    if digest is None or entry.file is None:
        return False
    if not is_whole:  # in an archive of a public wheel, whose bytes were compared when it came
        return inner in known.public
    entry.file.seek(0)
    found = hashlib.file_digest(entry.file, "sha256").digest()  # type: ignore[arg-type]  # files of tars read as files do
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode() == digest


def _told(layout: saved.Layout) -> Iterator[tuple[str, bytes]]:
    """Give each text of the configuration and of the manifest, with where it stands, as `name=value`."""
    for name, document in (("configuration", layout.config), ("manifest", layout.manifest)):
        for path, value in _leaves(document, ()):
            told = value if isinstance(path[-1], int) else f"{path[-1]}={value}"
            yield f"{name}: {'.'.join(map(str, path))}", told.encode(errors="surrogateescape")


def _leaves(document: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _leaves(value, (*path, str(key)))
    elif isinstance(document, list):
        for i, value in enumerate(document):
            yield from _leaves(value, (*path, i))
    elif isinstance(document, str) and path:
        yield path, document
        if document.startswith(("{", "[")):
            try:
                yield from _leaves(json.loads(document), path)
            except ValueError:
                return


def refuse(
    image: Path | saved.Layout, known: Owners, *, own: Machine | None = None, allow: Mapping[str, str] | None = None
) -> tuple[Leak, ...]:
    """Refuse an image that holds what it must not, naming each layer and file, and never what was found.

    Parameters
    ----------
    image, known, own
        As `scan` takes them.
    allow
        Patterns of places, as in the build context or in the image, each with the reason.

    Returns
    -------
    What was found and allowed.

    Raises
    ------
    BuildError
        If there is anything else.
    """
    found = scan(image, known, own=own)
    leaking = [each for each in found if not _is_allowed(each.place, known, allow or {})]
    if leaking:
        raise BuildError(
            f"{leaks.told('An image', leaking)} Remove it from the service's folder, the model, the wheel or the base, and "
            "build again; what is none may be allowed by its place, with a reason."
        )
    return found


def _is_allowed(place: str, known: Owners, allow: Mapping[str, str]) -> bool:
    return any(fnmatch.fnmatchcase(each, pattern) for each in _ways(place, known) for pattern in allow)


def _in_context(name: str) -> str | None:
    """Name a file of the models or the code as it lies in the build context.

    >>> _in_context("home/bentoml/bento/src/service.py"), _in_context("etc/passwd")
    ('bento/src/service.py', None)
    """
    if not name.startswith(HOME):
        return None
    inner = name.removeprefix(HOME)
    return inner if inner.startswith("models/") else f"bento/{inner}"


def _ways(place: str, known: Owners) -> Iterator[str]:
    """Name a place of an image in each way that it is called: with its layer, in the image, and in the build context."""
    yield place
    name = place.partition(": ")[2]
    yield name
    if inner := _in_context(name):
        yield inner
    elif name.startswith(SITE):
        outer, mark, rest = name.removeprefix(SITE).partition("!")
        if (owner := known.wheels.get(source_of(outer))) is not None:
            yield f"{owner[0]}!/{owner[1]}{mark}{rest}"
