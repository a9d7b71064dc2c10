"""The manifest of a package's folder: written once, and compared with every byte before anything is built."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path, PurePosixPath
from typing import Any

from ekiben import provenance
from ekiben.errors import IntegrityError, NotFoundError, SpecError, nearest
from ekiben.refs import ModelRef

FORMAT = 1
WHENCE = {"costs", "environment", "provenance"}  # of the manifest, what the same package may differ in
MANIFEST = "package.json"
SIGNATURE = "signature.json"
BESIDE = (MANIFEST, SIGNATURE)  # what speaks of the files is not one of them
MOST_BYTES = 5_000_000  # of either of them
MOST_FILES = 10_000
MOST_DEEP = 20  # folders in folders
MOST_NAMED = 240  # letters of a file's name or a package's
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
CARRIED = ("code", "pickle", "types")  # what makes a package code; see ekiben.trusting


# ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def seal(folder: Path, manifest: dict[str, Any]) -> None:
    """Write `package.json`: the digest is of what the package is, the seal also of where it comes from.

    What the manifest says of that already stays, so that a folder can be sealed again.
    """
    manifest["files"] = {name: sha256(folder / name) for name in files(folder)}
    manifest["digest"] = of_json(_without(manifest, WHENCE | {"digest", "seal"}))
    manifest["provenance"] = provenance.here() | manifest.get("provenance", {})
    manifest["seal"] = of_json(_without(manifest, {"seal"}))
    write_json(folder / MANIFEST, manifest)


def _without(manifest: Mapping[str, Any], keys: Set[str]) -> dict[str, Any]:
    return {key: value for key, value in manifest.items() if key not in keys}


def write_json(path: Path, document: Any) -> None:
    """Write one of a package's documents."""
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def of_json(document: Mapping[str, Any]) -> str:
    """Give SHA-256 of a document, however its keys are ordered."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    """Give SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ── verifying ──────────────────────────────────────────────────────────────────────────────────────────────────────


def verify(folder: Path) -> dict[str, Any]:
    """Compare every byte of a package with what was packed, and give its manifest.

    Raises
    ------
    NotFoundError
        If there is no package in the folder.
    IntegrityError
        If a file was changed, added or removed, is no plain file, or the manifest is not what `seal` writes.
    """
    manifest = _manifest(folder)
    if manifest.get("format") != FORMAT:
        got = repr(manifest.get("format"))[:40]
        raise IntegrityError(f"A package must be of format {FORMAT}. Got {got}: a newer ekiben wrote it.")
    sealed, digested = _without(manifest, {"seal"}), _without(manifest, WHENCE | {"digest", "seal"})
    if manifest.get("seal") != of_json(sealed) or manifest.get("digest") != of_json(digested):
        raise IntegrityError(f"package.json of {folder.name} is not what was packed. Fetch or pack it again.")
    _shaped(manifest, folder.name)
    if faults := list(_faults(folder, manifest["files"])):
        raise IntegrityError(f"A package must hold the bytes that were packed. In {folder.name} {'; '.join(faults)}.")
    return manifest


def _faults(folder: Path, recorded: Mapping[str, str]) -> Iterator[str]:
    found = _walked(folder)
    yield from found.faults
    yield from (f"{name} is gone" for name in sorted(recorded.keys() - found.files))
    yield from (f"{name} was added" for name in sorted((found.files | found.links) - recorded.keys()))
    for name in sorted((found.files | found.links) & recorded.keys()):
        if name in found.links or sha256(folder / name) != recorded[name]:
            yield f"{name} was changed"
    if os.path.lexists(folder / SIGNATURE):
        yield from _unreadable(folder / SIGNATURE)


def _unreadable(path: Path) -> Iterator[str]:
    try:
        read_json(path)
    except IntegrityError as reason:
        yield f"{path.name} {reason}"


def files(folder: Path) -> list[str]:
    """List the plain files of a package, but not its manifest and signature."""
    return sorted(_walked(folder).files)


class _Walk:
    """What lies below a folder: plain files, links, and what must not be there."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.links: set[str] = set()
        self.faults: list[str] = []
        self.n_seen = 0


def _walked(folder: Path) -> _Walk:
    """Look at every name below a folder without following a link or opening a file."""
    walk = _Walk()
    _descend(folder, "", walk)
    walk.faults += _alike(walk.files | walk.links)
    walk.faults.sort()
    return walk


def _descend(folder: Path, prefix: str, walk: _Walk) -> int:
    """Collect what lies in one folder, and tell how much that is."""
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    for entry in entries:
        name = prefix + entry.name
        walk.n_seen += 1
        if walk.n_seen > MOST_FILES or name.count("/") > MOST_DEEP:
            raise IntegrityError(f"A package must hold at most {MOST_FILES:,} files, {MOST_DEEP} folders deep.")
        if entry.is_dir(follow_symlinks=False):
            if not _descend(Path(entry.path), f"{name}/", walk):
                walk.faults.append(f"{name} is an empty folder")
        elif name not in BESIDE:
            _collect(name, entry.stat(follow_symlinks=False).st_mode, walk)
    return len(entries)


def _collect(name: str, mode: int, walk: _Walk) -> None:
    if stat.S_ISLNK(mode):
        walk.links.add(name)
        walk.faults.append(f"{name} is a link")
    elif not stat.S_ISREG(mode):
        walk.faults.append(f"{name} is no plain file")
    else:
        walk.files.add(name)
        if mode & (stat.S_ISUID | stat.S_ISGID):
            walk.faults.append(f"{name} runs as another user")


def _alike(names: set[str]) -> Iterator[str]:
    """Find names that some file systems take for one."""
    seen: dict[str, str] = {}
    for name in sorted(names):
        first = seen.setdefault(_folded(name), name)
        if first != name:
            yield f"{name!r} and {first!r} differ by case or accents alone"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


# ── the manifest itself ────────────────────────────────────────────────────────────────────────────────────────────


def absent(folder: Path) -> NotFoundError:
    """Say that a folder holds no package, and which one beside it may be meant."""
    near = nearest(folder.name, sorted(each.parent.name for each in folder.parent.glob(f"*/{MANIFEST}")))
    return NotFoundError(f"A package's folder must hold package.json. Got {str(folder)!r}, which has none.{near}")


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_symlink() and not path.exists():
        raise absent(folder)
    try:
        manifest = read_json(path)
    except IntegrityError as reason:
        raise IntegrityError(f"package.json of {folder.name} is not what was packed: it {reason}.") from reason
    if not isinstance(manifest, dict):
        raise IntegrityError(f"package.json of {folder.name} is not what was packed: it is no object.")
    return manifest


def read_json(path: Path, *, most_bytes: int = MOST_BYTES) -> Any:
    """Read a document that a stranger may have written; `IntegrityError` says what it is instead."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise IntegrityError("is no plain file")
    if found.st_size > most_bytes:
        raise IntegrityError(f"has {found.st_size:,} bytes, more than {most_bytes:,}")
    return parsed(path.read_bytes())


def parsed(data: bytes) -> Any:
    """Read JSON of finite numbers, each key once; `IntegrityError` says what it is instead."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as reason:
        raise IntegrityError("is no JSON") from reason


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key comes twice")
    return made


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _shaped(manifest: Mapping[str, Any], where: str) -> None:
    """Refuse a manifest that is sealed and still not one that `seal` writes; every fault is told."""
    faults = [f"no {key!r}" for key in sorted(SHAPE.keys() - manifest.keys())]
    known = {**SHAPE, **MAY_HAVE}
    faults += [f"a broken {key!r}" for key in sorted(known.keys() & manifest.keys()) if not known[key](manifest[key])]
    if faults:
        raise IntegrityError(f"package.json of {where} must say what a package says. It has {', '.join(faults)}.")


def _text(value: Any) -> bool:
    return isinstance(value, str) and not CONTROL.search(value)  # a card is shown on a terminal


def _word(value: Any) -> bool:
    return _text(value) and len(value) <= MOST_NAMED


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _hex(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _mapping(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(of, value.values()))


def _either(*kinds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: any(kind(value) for kind in kinds)


def _nothing(value: Any) -> bool:
    return value is None


def _name(value: Any) -> bool:
    try:
        ModelRef(name=value, version=1)
    except SpecError:
        return False
    return len(value) <= MOST_NAMED


def _metrics(value: Any) -> bool:
    """Tell metrics: nothing, or the number of rows, and for each name its value and interval."""
    if not isinstance(value, dict) or (value and not _count(value.get("n_rows"))):
        return False
    return all(_metric(each) for name, each in value.items() if name != "n_rows")


def _metric(value: Any) -> bool:
    return _mapping(_number)(value) and {"value", "low", "high"} <= value.keys()


def _files(value: Any) -> bool:
    return (
        _mapping(_hex)(value) and len(value) <= MOST_FILES and not list(_alike(set(value))) and all(map(_path, value))
    )


def _path(name: str) -> bool:
    """Tell a plain path below the folder, the same on every file system."""
    path = PurePosixPath(name)
    odd = not path.parts or set(name) & set('\\:*?"<>|') or not name.isprintable() or len(name) > MOST_NAMED
    return not odd and not path.is_absolute() and ".." not in path.parts and str(path) == name and name not in BESIDE


SHAPE: dict[str, Callable[[Any], bool]] = {
    "name": _name,
    "kind": _word,
    "class": _word,
    "signature": lambda value: isinstance(value, dict),  # read whole by ekiben.schema
    "explainer": _word,
    "owner": _either(_nothing, _text),
    "metrics": _metrics,
    "findings": _texts,
    "n_reference": _count,
    "balance": _mapping(_number),
    "requirements": _texts,
    "python": _word,
    "data_digest": _word,
    "files": _files,
    "digest": _hex,
    "provenance": lambda value: isinstance(value, dict) and {"ekiben", "git_commit"} <= value.keys(),
}
COSTS = {"row_us", "many_us", "few", "native_row_us", "native_many_us", "crossover"}
MORE_COSTS = {"frame_us", "native_frame_us"}
MAY_HAVE: dict[str, Callable[[Any], bool]] = {
    "strongest": _texts,
    "carries": lambda value: _texts(value) and value == sorted(set(value) & set(CARRIED)),
    "code": _texts,
    "allowed": _mapping(_texts),
    "plan": lambda value: isinstance(value, dict) and type(value.get("compiled")) is bool,
    "costs": lambda value: _mapping(_either(_nothing, _number))(value) and COSTS <= value.keys() <= COSTS | MORE_COSTS,
}
