"""What is installed here: which distribution brings an import name, what it needs, where it is from, what it holds."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from importlib.metadata import Distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ekiben.errors import SpecError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# What a training machine has → what a server needs: the same import name, without the code for graphics cards.
LEANER = {"xgboost": "xgboost-cpu"}
STANDS_FOR = LEANER | {lean: full for full, lean in LEANER.items()}
GPU_ONLY = ("nvidia-nccl-",)
# What alibi asks for and no explainer of tables imports, and ceilings that have grown stale; as uv is told to leave out.
UNUSED = ("blis", "spacy", "transformers")
CODE = "ekiben_code_"  # how the modules of a package's own code begin
OURS = ("ekiben", "__main__")  # ekiben's wheel and a package's own code travel with the package


class Installed(Distribution):
    """A distribution whose METADATA is parsed once, which takes milliseconds each time."""

    def __init__(self, found: Distribution) -> None:
        self._found = found

    def read_text(self, filename: str) -> str | None:
        """Read one of the files that its installer left."""
        return self._found.read_text(filename)

    def locate_file(self, path: Any) -> Any:
        """Give where one of its files lies."""
        return self._found.locate_file(path)

    @cached_property
    def metadata(self) -> importlib.metadata.PackageMetadata:
        """What METADATA says."""
        return self._found.metadata


def installed(name: str) -> Installed:
    """Find a distribution, or the one that stands for it under the same import name.

    Raises
    ------
    SpecError
        If neither is installed here.

    Examples
    --------
    >>> installed("Scikit_Learn").metadata["Name"]
    'scikit-learn'
    """
    return _installed(name, _places())


def _places() -> tuple[tuple[str, int], ...]:
    """Tell where distributions are, and since when: an installer that adds or removes one changes its folder's time."""
    return tuple((path, Path(path).stat().st_mtime_ns) for path in sys.path if Path(path).is_dir())


@cache
def _installed(name: str, _places: tuple[tuple[str, int], ...]) -> Installed:
    for each in (name, STANDS_FOR.get(_canonical(name))):
        try:
            return Installed(importlib.metadata.distribution(each or name))
        except importlib.metadata.PackageNotFoundError:
            continue
    raise SpecError(f"A service's requirements must be installed here. {name} is not. Run: pip install {name}")


# ── what brings a module ───────────────────────────────────────────────────────────────────────────────────────────


def distributions_of(modules: Iterable[str]) -> tuple[str, ...]:
    """Name the installed distributions that bring modules, sorted; Python's own need none.

    Parameters
    ----------
    modules
        Top-level names such as `sklearn`; of a namespace that several share, dotted ones such as `google.protobuf`.

    Raises
    ------
    SpecError
        If a module is in no installed distribution, with every such module.

    Examples
    --------
    >>> distributions_of(["sklearn", "yaml", "json"])
    ('pyyaml', 'scikit-learn')
    """
    wanted = sorted({module for module in modules if not _comes_along(module)})
    brought = {module: bringing(module) for module in wanted}
    if strangers := [module for module, names in brought.items() if not names]:
        raise SpecError(
            f"What a model imports must come from installed distributions. {' '.join(map(_stranger, strangers))}"
        )
    names = {name for found in brought.values() for name in found}
    return tuple(sorted(name for name in names if LEANER.get(name) not in names))


def _comes_along(module: str) -> bool:
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names or top in OURS or top.startswith(CODE)


def bringing(module: str) -> tuple[str, ...]:
    """Give the installed distributions that hold a module, or else the nearest package around it; none for Python's own.

    >>> bringing("sklearn.linear_model"), bringing("json")
    (('scikit-learn',), ())
    """
    names = _tops().get(module.partition(".")[0], ())
    if len(names) < 2:
        return names
    parts = module.split(".")
    for depth in range(len(parts), 0, -1):
        path = "/".join(parts[:depth])
        if owners := tuple(name for name in names if _holds(name, path)):
            return owners
    return names


def _holds(name: str, path: str) -> bool:
    return any(file.startswith((f"{path}/", f"{path}.")) for file in _files(importlib.metadata.distribution(name)))


def _stranger(module: str) -> str:
    where = _file_of(module.partition(".")[0])
    for found in importlib.metadata.distributions():
        folder = _local_folder(found)
        if folder is not None and where is not None and where.is_relative_to(folder):
            return from_elsewhere(found) or ""
    kind = "is not installed" if where is None else "is a file of this machine"
    return f"{module!r} {kind}: install its distribution, or move the code that is needed into the notebook."


def _file_of(top: str) -> Path | None:
    try:
        spec = find_spec(top)
    except ValueError:  # a module that was made by hand, and has no spec
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _tops() -> dict[str, tuple[str, ...]]:
    return _tops_of(_places())


@cache
def _tops_of(places: tuple[tuple[str, int], ...]) -> dict[str, tuple[str, ...]]:
    """Read every RECORD once, by the folders' names: to read the names from METADATA takes four times as long."""
    found: dict[str, set[str]] = {}
    for folder in (folder for place, _ in places for folder in Path(place).glob("*.*-info")):
        for top in {file.partition("/")[0] for file in _files(Distribution.at(folder))}:
            name = top.partition(".")[0]
            found.setdefault(name, set()).add(_canonical(folder.name.partition("-")[0].removesuffix(".egg")))
    return {name: tuple(sorted(brought)) for name, brought in found.items()}


def _files(found: Distribution) -> Iterator[str]:
    """Give the paths of a distribution's own files: not its metadata, its commands, nor what Python compiled."""
    return (line.partition(",")[0].strip('"') for line in _lines(found))


def _lines(found: Distribution) -> Iterator[str]:
    record = found.read_text("RECORD")
    if record is None:  # an .egg-info, as an old setup.py leaves it
        yield from (found.read_text("top_level.txt") or "").split()
        return
    for line in record.splitlines():
        top = line.partition("/")[0]
        if line and top != ".." and not top.endswith(".dist-info") and "__pycache__" not in line:
            yield line


# ── what it needs ──────────────────────────────────────────────────────────────────────────────────────────────────


def closure(needed: Iterable[str], *, missing_ok: bool = False, gpu: bool = False) -> dict[str, Installed]:
    """Give what ekiben and the requirements need, and what that needs in turn, by name, as it is installed.

    Parameters
    ----------
    needed
        Requirements such as `scikit-learn` or `httpx[http2]==0.28`; the version does not matter, extras do.
    missing_ok
        Leave out what is not installed, instead of refusing.
    gpu
        Whether to follow what is for graphics cards alone.

    Raises
    ------
    SpecError
        If a distribution is not installed here.

    Examples
    --------
    >>> "threadpoolctl" in closure(["scikit-learn"])
    True
    """
    asked = [_requirement("ekiben"), *(_requirement(line) for line in sorted(needed))]
    roots = {_canonical(each.name) for each in asked}
    found: dict[str, Installed] = {}
    done: set[tuple[str, str]] = set()
    places = _places()
    while asked:
        wanted = asked.pop()
        key = _canonical(wanted.name)
        extras = {(key, extra) for extra in ("", *wanted.extras)} - done
        if not extras or (key.startswith(GPU_ONLY) and not gpu) or (key in UNUSED and key not in roots):
            continue
        done |= extras
        try:
            each = _installed(wanted.name, places)
        except SpecError:
            if not missing_ok:
                raise
        else:
            found[_canonical(each.name) if key in STANDS_FOR else key] = each
            asked += _needs(each, frozenset(extra for _, extra in extras))
    return found


def _requirement(line: str) -> Requirement:
    from packaging.requirements import Requirement  # only now: a service that starts asks for none

    return Requirement(line)


def _canonical(name: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


@cache
def _needs(found: Installed, extras: frozenset[str]) -> tuple[Requirement, ...]:
    every = (_requirement(line) for line in found.requires or [])
    return tuple(
        each for each in every if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras)
    )


# ── what it is ─────────────────────────────────────────────────────────────────────────────────────────────────────


def content(found: Distribution) -> str:
    """Give SHA-256 of the names and digests of a distribution's own files, as its installer recorded them.

    Two installations of one wheel have the same, whoever installed them and where. What was edited by hand afterwards is
    not seen: the files themselves are not read.
    """
    return _digest(_sources()) if _canonical(found.name) == "ekiben" else _recorded(found)


@cache
def _recorded(found: Distribution) -> str:
    return _digest(_lines(found))


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _sources() -> Iterator[str]:
    """Give ekiben's own lines from its files, those of a working copy being in no RECORD; what a compiler made has its source."""
    root = Path(__file__).parent
    told = (path for path in sources(root) if path.suffix != ".so")
    return (f"{path.relative_to(root.parent).as_posix()},{_sha256(path)}" for path in told)


def sources(root: Path) -> list[Path]:
    """List the files of ekiben's own package below `root`, sorted, without what Python compiled."""
    every = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(path for path in every if path.suffix != ".pyc")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def from_elsewhere(found: Distribution) -> str | None:
    """Say of a distribution that it is from no index, so that no image could install it by its version; else None.

    Examples
    --------
    >>> from_elsewhere(installed("numpy")) is None
    True
    """
    told = found.read_text("direct_url.json")
    if told is None or _canonical(found.name) == "ekiben":  # ekiben travels as a wheel
        return None
    where = "a repository" if "vcs_info" in json.loads(told) else "an archive"
    if "dir_info" in json.loads(told):
        where = "a local folder"
    return (
        f"{found.name} is installed from {where}; no image could install {found.name}=={found.version} from an index. "
        "Publish it to yours and install it from there, or move the code that is needed into the notebook."
    )


def _local_folder(found: Distribution) -> Path | None:
    told = json.loads(found.read_text("direct_url.json") or "{}")
    return Path(unquote(urlsplit(told["url"]).path)) if "dir_info" in told else None
