"""The wheels that an image installs: found in folders by name and digest, and fetched where they are missing."""

from __future__ import annotations

import email
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, canonicalize_version, parse_wheel_filename

from ekiben.containers.probes import PROGRAMS, kind_of_machine
from ekiben.errors import BuildError, SpecError

CACHE = "EKIBEN_CACHE"  # a folder for wheels, bases and the settings of engines
GLIBC = range(5, 37)  # 2.5 to 2.36, that of Debian 12
LOOPS = "ekiben/_loops.abi3.so"
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s\\;]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One distribution of an image: its file, and why it is there.

    Parameters
    ----------
    name, version
        As the lock names it.
    file
        The wheel.
    sha256
        Of the file.
    reasons
        What needs it, such as `ekiben`, `arm champion` or `tables`.
    """

    name: str
    version: str
    file: Path
    sha256: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A line of the lock: a name, a version, and the digests that its file may have; none where no index told them."""

    name: str
    version: str
    hashes: frozenset[str]


def cache() -> Path:
    """Give the folder that images share: what `EKIBEN_CACHE` names, or the user's own cache."""
    told = os.environ.get(CACHE)
    place = Path(told) if told else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ekiben"
    place.mkdir(parents=True, exist_ok=True)
    return place


def locked(lines: Iterable[str]) -> list[Locked]:
    """Read the lines of a bento's lock, but for ekiben's own wheel, which the bento carries.

    >>> locked(["./wheels/ekiben-0.1.0-py3-none-any.whl", "numpy==1.26.4 --hash=sha256:" + "a" * 64])[0].version
    '1.26.4'
    """
    found = []
    for line in lines:
        if (pin := PIN.match(line)) is not None:
            hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
            version = canonicalize_version(pin["version"], strip_trailing_zero=False)  # as the names of wheels write it
            found.append(Locked(name=canonicalize_name(pin["name"]), version=version, hashes=hashes))
    return found


def gather(wanted: Sequence[Locked], folders: Sequence[Path], *, python: str) -> dict[str, Wheel]:
    """Find the wheel of each line in folders and in the cache, and fetch what is in none.

    Parameters
    ----------
    wanted
        Lines of the lock.
    folders
        Where wheels lie, such as those that were collected beforehand; looked into first.
    python
        The version of Python of the image, such as `3.11`.

    Raises
    ------
    SpecError
        If a folder is not there.
    BuildError
        If one is in no folder and cannot be fetched, with the names.
    """
    if gone := [str(folder) for folder in folders if not folder.is_dir()]:
        raise SpecError(f"The 'wheels' must be folders. There is none at {', '.join(map(repr, gone))}.")
    own = cache() / "wheels"
    own.mkdir(exist_ok=True)
    found = in_folders(wanted, [*folders, own], python)
    missing = [each for each in wanted if each.name not in found]
    if missing:
        told = _fetch(missing, own, python)
        found |= in_folders(missing, [own], python)
        if lacking := [f"{each.name}=={each.version}" for each in missing if each.name not in found]:
            raise BuildError(
                f"An image needs a wheel of everything that is locked. There is none of {', '.join(lacking)} "
                f"for Python {python} on Linux, with the digests of the lock. {told}"
            )
    return found


def in_folders(wanted: Sequence[Locked], folders: Sequence[Path], python: str) -> dict[str, Wheel]:
    """Find wheels of a lock in folders, by name and, where the lock tells them, by digest."""
    by_name = {(each.name, each.version): each for each in wanted}
    found: dict[str, Wheel] = {}
    for folder in folders:
        for file in sorted(folder.glob("*.whl")):
            key = _key(file.name, python)
            if key in by_name and key[0] not in found:
                digest = sha256(file)
                if not by_name[key].hashes or digest in by_name[key].hashes:
                    found[key[0]] = Wheel(name=key[0], version=key[1], file=file, sha256=digest)
    return found


def _key(file: str, python: str) -> tuple[str, str]:
    """Name what a wheel holds, if it fits the image; two empty words if not."""
    try:
        name, version, _, tags = parse_wheel_filename(file)
    except InvalidWheelFilename:
        return "", ""
    plain = python.replace(".", "")
    fits = any(_fits(tag.interpreter, tag.abi, tag.platform, plain) for tag in tags)
    return (name, str(version)) if fits else ("", "")


def _fits(interpreter: str, abi: str, where: str, plain: str) -> bool:
    numbers = int(plain[1:])
    by = re.fullmatch(r"cp3(\d+)", interpreter)
    older = abi == "abi3" and by is not None and int(by[1]) <= numbers
    runs = interpreter in (f"cp{plain}", f"py{plain}", "py3") or older
    return runs and (where == "any" or where in platforms())


def platforms() -> list[str]:
    """List the platforms of wheels that an image for this machine's processor takes, the newest first."""
    machine = kind_of_machine()
    newer = [f"manylinux_2_{minor}_{machine}" for minor in reversed(GLIBC)]
    return [*newer, f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}"]


def _fetch(missing: Sequence[Locked], to: Path, python: str) -> str:
    """Fetch wheels by pip and what it is set up with, and give its last words where it refused."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python, "--dest", str(to)]
    command += [word for each in platforms() for word in ("--platform", each)]
    command += [f"{each.name}=={each.version}" for each in missing]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line.startswith("ERROR") or "No module named" in line]
    return re.sub(r"\S+://\S+", "<index>", said[-1]) if done.returncode and said else "Give a folder: wheels=."


def copied(wheels: Mapping[str, Wheel], to: Path) -> list[Wheel]:
    """Copy wheels into a folder, and give them as they lie there, by name."""
    to.mkdir(parents=True, exist_ok=True)
    made = []
    for name in sorted(wheels):
        each = wheels[name]
        shutil.copyfile(each.file, to / each.file.name)
        made.append(
            Wheel(name=name, version=each.version, file=to / each.file.name, sha256=each.sha256, reasons=each.reasons)
        )
    return made


def needs(wheel: Path, python: str) -> tuple[str, ...]:
    """Name what a wheel says that it needs, without extras, on Linux.

    Raises
    ------
    BuildError
        If it holds no METADATA.
    """
    with zipfile.ZipFile(wheel) as packed:
        names = [name for name in packed.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
        if not names:
            raise BuildError(f"A wheel must hold METADATA. {wheel.name} does not.")
        told = email.message_from_bytes(packed.read(names[0]))
    where = {"extra": "", "python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    where |= {"platform_system": "Linux", "os_name": "posix", "implementation_name": "cpython"}
    return tuple(
        sorted({canonicalize_name(each.name) for each in _required(told.get_all("Requires-Dist") or (), where)})
    )


def _required(lines: Iterable[str], where: Mapping[str, str]) -> Iterable[Requirement]:
    for line in lines:
        try:
            each = Requirement(line)
        except InvalidRequirement:
            continue  # of an old tool; what is locked is installed all the same
        if each.marker is None or each.marker.evaluate(dict(where)):
            yield each


def carries_loops(wheel: Path) -> bool:
    """Tell whether a wheel of ekiben holds the inner loops, built so that an image for this machine's processor loads them.

    An image has a C library of Debian's: what was linked with another, or with a newer one than the oldest base has, is
    taken for what does not load.
    """
    with zipfile.ZipFile(wheel) as packed:
        if LOOPS not in packed.namelist():
            return False
        data = packed.read(LOOPS)
    number, _ = PROGRAMS.get(kind_of_machine(), (None, b""))
    fits = data.startswith(b"\x7fELF\x02\x01") and struct.unpack_from("<H", data, 18) == (number,)
    asked = re.findall(rb"\x00GLIBC_(\d+)\.(\d+)", data)
    newest = max(((int(major), int(minor)) for major, minor in asked), default=(0, 0))
    return fits and b"\x00libc.so.6\x00" in data and newest <= (2, GLIBC[-1])


def sha256(file: Path) -> str:
    """Give SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
