"""What packages of Debian a base image holds, and under which licences they stand."""

from __future__ import annotations

import posixpath
import re
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from email import message_from_string
from functools import partial
from pathlib import Path
from typing import IO

from ekiben.containers import copyrights, licences
from ekiben.containers.engines import Engine
from ekiben.containers.licences import Licence
from ekiben.containers.remembering import remembered
from ekiben.containers.saved import Layout, files_in, layers_of

DPKG = ("var/lib/dpkg/status", "var/lib/dpkg/status.d")
DOC = "usr/share/doc"
NOT_FREE = re.compile(r"(?:.+/)?non-free(?:-firmware)?(?:/.*)?")  # a section of Debian, and of who follows its manual
MOST_LINKS = 5


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Debian:
    """A package of Debian in a base image.

    Parameters
    ----------
    name, version, architecture
        As dpkg lists it.
    source
        The package that it was built from.
    section
        Where Debian files it.
    copyright
        The text of its `copyright`; None where the base has none.
    """

    name: str
    version: str
    architecture: str
    source: str
    section: str = field(default="", compare=False)
    copyright: str | None = field(default=None, compare=False, repr=False)

    @property
    def licence(self) -> Licence:
        """Under which licence it stands, as far as its `copyright` says; `non-free` of its section forbids some uses."""
        told, source = copyrights.expression(self.copyright) if self.copyright else (None, "nowhere")
        family = licences.family(told) if told else "unknown"
        if NOT_FREE.fullmatch(self.section):
            family, source = "source-available", "section"
        return Licence(name=self.name, version=self.version, expression=told, family=family, source=source, of="Debian")


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The image that Python comes from: its name, and what of Debian it holds.

    >>> Base(name="python:3.11-slim").packages
    ()
    """

    name: str
    packages: tuple[Debian, ...] = ()


def installed(status: Iterable[str], copyrights: Mapping[str, str] | None = None) -> tuple[Debian, ...]:
    r"""Read packages from the texts of dpkg: one whole `status`, or a file for each package as slim images have them.

    Parameters
    ----------
    status
        The texts.
    copyrights
        Package → the text of its `copyright`.

    Examples
    --------
    >>> installed(["Package: libc6\nVersion: 2.36-9\nArchitecture: amd64\nSource: glibc (2.36)\n"])[0].source
    'glibc'
    """
    return tuple(sorted({each for text in status for each in _packages(text, copyrights or {})}))


def _packages(text: str, copyrights: Mapping[str, str]) -> Iterator[Debian]:
    for block in text.split("\n\n"):
        told = message_from_string(block.strip("\n"))
        if not told["Package"] or "installed" not in str(told["Status"] or "ok installed").split():
            continue
        yield Debian(
            name=str(told["Package"]),
            version=str(told["Version"]),
            architecture=str(told["Architecture"] or "all"),
            source=str(told["Source"] or told["Package"]).partition(" ")[0],
            section=str(told["Section"] or ""),
            copyright=copyrights.get(str(told["Package"])),
        )


def of_layers(image: Layout) -> tuple[Debian, ...]:
    """Read the packages of an image that was written or saved, of each layer once; licences are not read."""
    texts: dict[str, str] = {}
    for number, blob in layers_of(image):
        parts = [image.config["rootfs"]["diff_ids"][number], Path(__file__).read_bytes()]
        texts |= remembered("package-lists", parts, partial(_lists, blob))
    return installed(texts.values())


def _lists(blob: IO[bytes]) -> dict[str, str]:
    files = files_in(blob)
    return {name: file.read().decode(errors="replace") for name, _, file in files if is_list(name) and file is not None}


def is_list(name: str) -> bool:
    """Tell whether a file of an image lists packages of Debian.

    >>> is_list("var/lib/dpkg/status.d/tzdata"), is_list("var/lib/dpkg/status.d/tzdata.md5sums")
    (True, False)
    """
    return name == DPKG[0] or (name.startswith(f"{DPKG[1]}/") and not name.endswith(".md5sums"))


def installed_in(base: Path) -> tuple[Debian, ...]:
    """Read the packages of a base from its root, a folder or a tar."""
    return _of_files(_in_folder(base) if base.is_dir() else _in_tar(base))


def of_engine(engine: Engine, name: str) -> tuple[Debian, ...]:
    """Copy the list of packages and their licences out of an image, without running it; of the same image once."""
    told = engine.call("image", "inspect", "--format", "{{.Id}}", name).stdout.strip()
    found = remembered(
        "packages", [told, Path(__file__).read_bytes()], lambda: [asdict(each) for each in _copied(engine, name)]
    )
    return tuple(Debian(**each) for each in found)


def _copied(engine: Engine, name: str) -> tuple[Debian, ...]:
    container = engine.call("create", name, "none").stdout.strip().splitlines()[-1]
    try:
        with tempfile.TemporaryDirectory(prefix="ekiben-debian-") as place:
            for folder, is_needed in (("var/lib/dpkg", True), (DOC, False)):
                target = Path(place) / folder
                target.parent.mkdir(parents=True, exist_ok=True)
                engine.call("cp", f"{container}:/{folder}", str(target.parent), check=is_needed)
            return installed_in(Path(place))
    finally:
        engine.call("rm", container, check=False)


@dataclass(frozen=True, slots=True)
class _Found:
    """What was read of a base: names of files that matter with their texts, and links of the folder of documents."""

    texts: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, data: bytes) -> None:
        self.texts[name] = data.decode(errors="replace")

    def link(self, name: str, to: str) -> None:
        self.links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), to)).lstrip("/")


def _matters(name: str) -> bool:
    return is_list(name) or (name.startswith(f"{DOC}/") and name.endswith("/copyright"))


def _in_folder(root: Path) -> _Found:
    found = _Found()
    for top in (DPKG[0].rpartition("/")[0], DOC):
        for path in sorted((root / top).rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_symlink():
                found.link(name, str(path.readlink()))
            elif _matters(name) and path.is_file():
                found.take(name, path.read_bytes())
    return found


def _in_tar(tar: Path) -> _Found:
    found = _Found()
    with tarfile.open(tar) as packed:
        for entry in packed:
            name = entry.name.removeprefix("./")
            if entry.issym() and name.startswith(f"{DOC}/"):
                found.link(name, entry.linkname)
            elif _matters(name) and (file := packed.extractfile(entry)) is not None:
                found.take(name, file.read())
    return found


def _of_files(found: _Found) -> tuple[Debian, ...]:
    packages = {name.split("/")[3] for name in (*found.texts, *found.links) if name.startswith(f"{DOC}/")}
    told = {package: text for package in packages if (text := _copyright(found, package)) is not None}
    return installed((text for name, text in sorted(found.texts.items()) if is_list(name)), told)


def _copyright(found: _Found, package: str) -> str | None:
    """Give the text of a package's `copyright`, which may lie in the folder of another package of its source."""
    name = f"{DOC}/{package}/copyright"
    for _ in range(MOST_LINKS):
        if name in found.texts:
            return found.texts[name]
        linked = next((each for each in (name, name.rpartition("/")[0]) if each in found.links), None)
        if linked is None:
            return None
        name = found.links[linked] + name.removeprefix(linked)
    return None
