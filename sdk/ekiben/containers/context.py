"""The build context of an image: a folder that a person can read, and any engine can build by hand.

::

    Containerfile     two stages; the base image is an argument
    requirements.txt  every wheel that is installed, by file and SHA-256
    wheels/           those wheels: no build needs a network
    tools/            what runs in the first stage, by Python's standard library alone
    models/           the bento's models, a layer of their own
    bento/            its code, the last layer
    context.json      what all of it is, for programs
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ekiben import locking, pinning, spec, storing
from ekiben.containers import diet, recipe
from ekiben.containers.tools import install
from ekiben.containers.wheels import Wheel, carries_loops, copied, gather, locked, needs, sha256
from ekiben.errors import BuildError, NotFoundError, SpecError

FILE = "context.json"
EPOCH = "SOURCE_DATE_EPOCH"
LATEST = 2**32 - 1  # what a compiled module and gzip have room for
TOOLS = ("strip.py", "install.py", "precompile.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A folder that an image is built of, and what is in it.

    Parameters
    ----------
    folder
        Where it lies.
    tag
        The bento's whole tag.
    base
        The image that Python comes from.
    python
        Its version, such as `3.11`.
    epoch
        The time of every file, in seconds since 1970.
    wheels
        What the image installs, by name; ekiben's own wheel too.
    left_out
        What the lock names and the image leaves out, with why.
    arms
        Arm → SHA-256 of its package.
    by_plan
        The arms that are answered and explained by their plans alone.
    labels
        Those of the image.
    """

    folder: Path
    tag: str
    base: str
    python: str
    epoch: int
    wheels: tuple[Wheel, ...]
    left_out: Mapping[str, str]
    arms: Mapping[str, str]
    by_plan: tuple[str, ...]
    labels: Mapping[str, str]

    @property
    def is_lean(self) -> bool:
        """Whether every arm needs its plan alone."""
        return set(self.arms) == set(self.by_plan)


def write(
    tag: str, folder: Path, *, base: str | None = None, wheels: Sequence[Path] = (), lean: bool = True
) -> Context:
    """Write the build context of a bento's image into a new folder.

    Parameters
    ----------
    tag
        The bento's tag.
    folder
        New or empty, or one that this function wrote.
    base
        The image that Python comes from; by default the public slim one of the bento's version of Python.
    wheels
        Folders with wheels that were collected beforehand. What is missing there is fetched.
    lean
        Whether to leave out what nothing in the bento asks for.

    Raises
    ------
    NotFoundError
        If there is no such bento.
    SpecError
        If the folder holds something else.
    BuildError
        If a wheel cannot be had.
    """
    _make_room(folder)
    with _emptied_if_refused(folder), tempfile.TemporaryDirectory(prefix="ekiben-context-") as place:
        source = Path(place)
        whole, created = storing.unpack_bento(tag, source)
        python = _python(source)
        chosen = _wheels(source, wheels, python, lean=lean)
        arms = {arm: pin.digest for arm, pin in pinning.read(source / "src").pins.items()}
        context = Context(
            folder=folder,
            tag=whole,
            base=base or recipe.PUBLIC_BASE.format(python=python),
            python=python,
            epoch=epoch(),
            wheels=tuple(copied(chosen.wheels, folder / "wheels")),
            left_out=chosen.diet.left_out,
            arms=arms,
            by_plan=chosen.diet.by_plan,
            labels=_labels(whole, source, created, arms),
        )
        _lay(source, context)
    return context


def epoch() -> int:
    """Read the time of every file from `SOURCE_DATE_EPOCH`; 1980 where it is not set.

    Raises
    ------
    SpecError
        If it is no time.
    """
    told = os.environ.get(EPOCH) or str(install.EPOCH)
    if not re.fullmatch(r"[0-9]{1,10}", told) or int(told) > LATEST:
        raise SpecError(f"{EPOCH} must be whole seconds since 1970, {LATEST} at most. Got {told!r}.")
    return int(told)


def _make_room(folder: Path) -> None:
    if folder.is_dir() and (folder / FILE).is_file():
        shutil.rmtree(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError(f"The folder of a context must be new or empty. Got {str(folder)!r}, which holds files.")
    folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _emptied_if_refused(folder: Path) -> Iterator[None]:
    """Leave no half of a context, which the next one could not be written over."""
    try:
        yield
    except BaseException:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        raise


def _python(source: Path) -> str:
    """Read from the lock for which Python it was written."""
    first = (source / "src" / "requirements.txt").read_text().partition("\n")[0]
    found = first.partition("Python ")[2].split(" ")[0]
    if not found:
        raise BuildError(
            "A bento must say for which Python it is locked. This one does not. Build it again: ekiben build"
        )
    return found


@dataclass(frozen=True, slots=True)
class _Chosen:
    diet: diet.Diet
    wheels: dict[str, Wheel]


def _wheels(source: Path, folders: Sequence[Path], python: str, *, lean: bool) -> _Chosen:
    lines = locked(locking.to_install(source / "src"))
    names = [each.name for each in lines]
    own = next((source / "src" / "wheels").glob("ekiben-*.whl"), None)
    if own is None:
        raise BuildError("A bento must carry the wheel of ekiben. This one does not. Build it again: ekiben build")
    found = gather(lines, folders, python=python)
    files_of = {"ekiben": own, **{name: each.file for name, each in found.items()}}
    if lean:
        wanted, by_plan = diet.roots(source, loops=carries_loops(own))
        chosen = diet.plan(names, wanted, by_plan, cache(lambda name: needs(files_of[name], python)))
    else:
        chosen = diet.everything(names)
    mine = Wheel(name="ekiben", version=own.name.split("-")[1], file=own, sha256=sha256(own), reasons=("ekiben",))
    kept = {name: replace(found[name], reasons=reasons) for name, reasons in chosen.needed.items()}
    return _Chosen(chosen, {"ekiben": mine, **kept})


def _labels(tag: str, source: Path, created: str, arms: Mapping[str, str]) -> dict[str, str]:
    name, _, version = tag.partition(":")
    described = spec.read(source / "src")
    origins = [_origin(source, pin.tag) for pin in pinning.read(source / "src").pins.values()]
    told = {
        "org.opencontainers.image.title": name,
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.revision": ",".join(sorted({each for each in origins if each})),
        "ai.ekiben.bento": tag,
        "ai.ekiben.models": json.dumps({arm: str(ref) for arm, ref in sorted(described.arms.items())}),
        "ai.ekiben.packages": json.dumps({arm: f"sha256:{digest}" for arm, digest in sorted(arms.items())}),
    }
    if address := os.environ.get("EKIBEN_SOURCE"):
        told["org.opencontainers.image.source"] = address
    return {key: value for key, value in told.items() if value}


def _origin(source: Path, tag: str) -> str:
    """Name the commit that a package was packed at."""
    name, _, version = tag.partition(":")
    manifest = json.loads((source / "models" / name / version / "package" / "package.json").read_text())
    return str(manifest["provenance"].get("git_commit") or "")


# ── what lies where ────────────────────────────────────────────────────────────────────────────────────────────────


def _lay(source: Path, context: Context) -> None:
    folder = context.folder
    (source / "models").rename(source / "set-aside")
    shutil.copytree(source / "set-aside", folder / "models")
    shutil.rmtree(source / "set-aside")
    shutil.copytree(source, folder / "bento", ignore=lambda at, names: _not_served(Path(at).relative_to(source), names))
    (folder / "tools").mkdir()
    for name in TOOLS:
        (folder / "tools" / name).write_bytes(files("ekiben.containers.tools").joinpath(name).read_bytes())
    lines = [f"{each.file.name} --hash=sha256:{each.sha256}" for each in context.wheels]
    (folder / "requirements.txt").write_text("\n".join(["# What the image installs: file and digest.", *lines, ""]))
    (folder / "Containerfile").write_text(
        recipe.containerfile(
            tag=context.tag, base=context.base, python=context.python, epoch=context.epoch, labels=context.labels
        )
    )
    (folder / FILE).write_text(json.dumps(_document(context), indent=1) + "\n")
    _make_even(folder, context.epoch)


def _not_served(at: Path, names: Iterable[str]) -> set[str]:
    """Name what BentoML lays beside the code for other ways to run it; a folder of the user's own may be called so.

    >>> sorted(_not_served(Path(), ["apis", "env", "src"])), _not_served(Path("src/lib"), ["apis", "env", "wheels"])
    (['apis', 'env'], set())
    """
    left = {"__pycache__"} | {Path(): {"apis", "env"}, Path("src"): {"wheels"}}.get(at, set())
    return left.intersection(names)


def _make_even(folder: Path, epoch: int) -> None:
    """Give every file one time and one mode: layers are equal where files are."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (epoch, epoch))


def _document(context: Context) -> dict[str, Any]:
    wheels = [
        {"name": w.name, "version": w.version, "file": w.file.name, "sha256": w.sha256, "reasons": list(w.reasons)}
        for w in context.wheels
    ]
    plain = {key: getattr(context, key) for key in ("tag", "base", "python", "epoch")}
    mappings = {key: dict(getattr(context, key)) for key in ("left_out", "arms", "labels")}
    return {"format": 1, **plain, **mappings, "by_plan": list(context.by_plan), "wheels": wheels}


def read(folder: Path) -> Context:
    """Read what `write` wrote.

    Raises
    ------
    NotFoundError
        If there is no context in the folder.
    """
    if not (folder / FILE).is_file():
        raise NotFoundError(f"A context's folder must hold {FILE}. Got {str(folder)!r}, which has none.")
    told = json.loads((folder / FILE).read_text())
    wheels = tuple(
        Wheel(
            name=each["name"],
            version=each["version"],
            file=folder / "wheels" / each["file"],
            sha256=each["sha256"],
            reasons=tuple(each["reasons"]),
        )
        for each in told["wheels"]
    )
    rest = {key: told[key] for key in ("tag", "base", "python", "epoch", "left_out", "arms", "labels")}
    return Context(folder=folder, wheels=wheels, by_plan=tuple(told["by_plan"]), **rest)
