"""Collect the wheels of a bento's image by the digests of its lock, so that the image is built without a network."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ekiben import locking, storing
from ekiben.containers import wheels
from ekiben.containers.wheels import Locked, Wheel
from ekiben.errors import BuildError, SpecError
from ekiben.progress import Progress, shown

LIST = "requirements.txt"
ONCE = 12  # wheels that are fetched between two words of progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendored:
    """Wheels in a folder, each with the digest that the lock names.

    Parameters
    ----------
    folder
        Where they lie.
    wheels
        Each of them.
    were_there
        How many an earlier run had brought.
    """

    folder: Path
    wheels: tuple[Wheel, ...]
    were_there: int

    @property
    def n_bytes(self) -> int:
        """Bytes of all of them."""
        return sum(each.file.stat().st_size for each in self.wheels)

    def __str__(self) -> str:
        earlier = f", {self.were_there} of them by an earlier run" if self.were_there else ""
        return f"{len(self.wheels)} wheels, {self.n_bytes / 1e6:,.0f} MB, in {self.folder}{earlier}"


def vendor(tag: str, to: str | Path = "wheels", *, progress: Progress | bool | None = None) -> Vendored:
    """Collect the wheels that a bento's image installs into a folder, by the digests of the bento's lock.

    What is there already is verified and kept, and what has another digest is fetched again, so that a run that was
    interrupted goes on where it was. Give the folder to `ek.containerize(tag, wheels=[folder])`.

    Parameters
    ----------
    tag
        The bento's tag.
    to
        The folder; by default `wheels` in the current one.
    progress
        Called with a few words before each step; False keeps them from being shown.

    Raises
    ------
    NotFoundError
        If there is no such bento.
    SpecError
        If the lock holds no digests, so that nothing could be verified.
    BuildError
        If a wheel cannot be had, with the names.

    Examples
    --------
    >>> vendor("churn:nosuchversion")
    Traceback (most recent call last):
    ...
    ekiben.errors.NotFoundError: No bento 'churn:nosuchversion'. ...
    """
    with tempfile.TemporaryDirectory(prefix="ekiben-vendor-") as place, shown(progress) as say:
        source = Path(place)
        storing.unpack_bento(tag, source)
        lines = source.joinpath("src", "requirements.txt").read_text()
        python = lines.partition("Python ")[2].split(" ")[0]
        wanted = wheels.locked(locking.to_install(source / "src"))
        if without := sorted(each.name for each in wanted if not each.hashes):
            raise SpecError(
                "Wheels are collected by the digests of the lock. There are none "
                f"for {', '.join(without[:5])}: build the bento again where an index answers: ekiben build"
            )
        return collect(wanted, Path(to), python=python, progress=say)


def collect(wanted: Sequence[Locked], folder: Path, *, python: str, progress: Progress) -> Vendored:
    """Bring the wheel of each line of a lock into a folder, and write beside them what they are.

    Parameters
    ----------
    wanted
        Lines of a lock, with digests.
    folder
        Where to.
    python
        The version of Python of the image, such as `3.11`.
    progress
        Takes a few words.

    Raises
    ------
    BuildError
        If one cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = _there(wanted, folder, python)
    missing = [each for each in wanted if each.name not in kept]
    found = dict(kept)
    for start in range(0, len(missing), ONCE):
        some = missing[start : start + ONCE]
        progress(f"fetching wheels, {len(found)} of {len(wanted)} are there")
        for name, wheel in wheels.gather(some, [], python=python).items():
            found[name] = _brought(wheel, folder)
    _list(folder, found)
    return Vendored(folder=folder, wheels=tuple(found[name] for name in sorted(found)), were_there=len(kept))


def _there(wanted: Sequence[Locked], folder: Path, python: str) -> dict[str, Wheel]:
    """Find what an earlier run brought whole."""
    found = wheels.in_folders(wanted, [folder], python)
    return {name: each for name, each in found.items() if not each.file.is_symlink()}


def _brought(wheel: Wheel, folder: Path) -> Wheel:
    """Copy a wheel under its name in one step, so that no half of it is ever found there."""
    target = folder / wheel.file.name
    part = target.with_suffix(".part")
    shutil.copyfile(wheel.file, part)
    if wheels.sha256(part) != wheel.sha256:
        part.unlink()
        raise BuildError(f"{wheel.file.name} changed while it was copied. Run it again.")
    part.replace(target)
    return Wheel(name=wheel.name, version=wheel.version, file=target, sha256=wheel.sha256)


def _list(folder: Path, found: dict[str, Wheel]) -> None:
    """Take off what a broken run left, and write the list of what this bento installs; other bentos' wheels stay."""
    for part in folder.glob("*.part"):
        part.unlink()
    lines = [f"{each.name}=={each.version} --hash=sha256:{each.sha256}" for _, each in sorted(found.items())]
    (folder / LIST).write_text(
        "\n".join(["# To install: pip install --no-index --find-links . --require-hashes", *lines, ""])
    )
