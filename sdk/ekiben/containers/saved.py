"""An image as files: an OCI layout in a folder or a tar, or what `docker save` writes; every byte is held against its digest."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from ekiben.containers.engines import Engine
from ekiben.containers.images import HOLDS
from ekiben.containers.wheels import cache
from ekiben.errors import IntegrityError, NotFoundError

MOST_BYTES = 8_000_000  # of a manifest or a configuration
LAYERS = {"tar": False, "tar+gzip": True, "diff.tar": False, "diff.tar.gzip": True}
PIECE = 1 << 20
MOST_KEPT = 8  # layers of base and dependencies, of 50 to 300 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """An image whose every byte was compared with the digests that it names.

    Parameters
    ----------
    place
        The folder or file.
    id
        SHA-256 of its configuration, which names the digest of every unpacked layer: the same however layers are packed.
    digest
        SHA-256 of its manifest; None in an archive of Docker's, which has none.
    config
        The configuration.
    manifest
        The manifest; empty in an archive of Docker's.
    layers
        The names of its layers in the layout, the base first, and whether each is packed.
    """

    place: Path
    id: str
    digest: str | None
    config: dict[str, Any]
    manifest: dict[str, Any] = field(default_factory=dict)
    layers: tuple[tuple[str, bool], ...]


def is_layout(place: Path) -> bool:
    """Tell an image from another folder or file.

    >>> is_layout(Path("no/such/place"))
    False
    """
    if place.is_dir():
        return (place / "index.json").is_file() and (place / "oci-layout").is_file()
    if not place.is_file() or not tarfile.is_tarfile(place):
        return False
    try:
        with _opened(place) as files:
            return bool({"index.json", "manifest.json"} & files.names())
    except tarfile.TarError:
        return True  # an archive that was changed; to read it says so


def read(place: Path) -> Layout:
    """Read an image, comparing every blob with its digest and every layer with the one that the configuration names.

    Raises
    ------
    NotFoundError
        If there is no image.
    IntegrityError
        If a byte was changed, a blob is missing, or one is there that no manifest names.
    """
    if not is_layout(place):
        raise NotFoundError(f"An image must be an OCI layout or an archive of one. There is none at {str(place)!r}.")
    try:
        with _opened(place) as files:
            return _oci(place, files) if "index.json" in files.names() else _docker(place, files)
    except (KeyError, TypeError, AttributeError, ValueError, tarfile.TarError) as reason:
        raise IntegrityError(f"{place.name} must be an image as it was saved. Its bytes were changed.") from reason


# ── the two forms ──────────────────────────────────────────────────────────────────────────────────────────────────


def _oci(place: Path, files: _Files) -> Layout:
    index = _object(files.whole("index.json"), "index.json")
    manifests = index.get("manifests")
    if not isinstance(manifests, list) or len(manifests) != 1:
        raise IntegrityError("An index must name one image. This one does not: save one image alone.")
    manifest_name = _blob(files, manifests[0])
    manifest = _object(files.whole(manifest_name), "the manifest")
    if "manifests" in manifest:
        raise IntegrityError("An index must name an image. This one names another index: save one platform alone.")
    config_name = _blob(files, manifest["config"])
    layers = [(_blob(files, each), _is_packed(each)) for each in manifest["layers"]]
    config = _object(files.whole(config_name), "the configuration")
    _alone(
        files,
        {
            "index.json",
            "oci-layout",
            "manifest.json",
            "repositories",
            manifest_name,
            config_name,
            *(name for name, _ in layers),
        },
    )
    _unpacked(files, layers, config, are_held=True)
    digest = manifest_name.rpartition("/")[2]
    id_ = config_name.rpartition("/")[2]
    return Layout(place=place, id=id_, digest=digest, config=config, manifest=manifest, layers=tuple(layers))


def _docker(place: Path, files: _Files) -> Layout:
    listed = json.loads(files.whole("manifest.json"))
    if not isinstance(listed, list) or len(listed) != 1:
        raise IntegrityError("An archive must hold one image. This one does not: save one image alone.")
    name = str(listed[0]["Config"])
    found = hashlib.sha256(files.whole(name)).hexdigest()
    if found != Path(name).stem:
        raise IntegrityError(f"{name} of the image was changed: its SHA-256 is not its name.")
    config = _object(files.whole(name), "the configuration")
    layers = [(str(each), False) for each in listed[0]["Layers"]]
    _unpacked(files, layers, config)
    return Layout(place=place, id=found, digest=None, config=config, layers=tuple(layers))


def _is_packed(descriptor: dict[str, Any]) -> bool:
    kind = str(descriptor.get("mediaType"))
    known = next((packed for end, packed in LAYERS.items() if kind.endswith(f".{end}")), None)
    if known is None:
        raise IntegrityError(f"A layer must be a tar, plain or of gzip. Got {kind!r}.")
    return known


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as reason:
        raise IntegrityError(f"{what} of the image must be JSON. It is not.") from reason
    if not isinstance(found, dict):
        raise IntegrityError(f"{what} of the image must be an object. It is not.")
    return found


# ── digests ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _blob(files: _Files, descriptor: Any) -> str:
    """Compare a blob with the digest and size that its descriptor names, and give its name."""
    digest, size = str(descriptor.get("digest")), descriptor.get("size")
    algorithm, _, told = digest.partition(":")
    name = f"blobs/{algorithm}/{told}"
    if algorithm != "sha256" or name not in files.names():
        raise IntegrityError(f"The image must hold {name}. It does not: save or fetch it again.")
    with files.open(name) as blob:
        found, n_bytes = _sha256(blob)
    if found != told or n_bytes != size:
        raise IntegrityError(f"{name} of the image was changed: its bytes are not those that its manifest names.")
    return name


def _unpacked(files: _Files, layers: list[tuple[str, bool]], config: dict[str, Any], *, are_held: bool = False) -> None:
    """Compare each layer's unpacked bytes with the configuration; of blobs that are held, the name is their digest."""
    told = [str(each).removeprefix("sha256:") for each in config.get("rootfs", {}).get("diff_ids", [])]
    found = []
    for name, packed in layers:
        if are_held and not packed:
            found.append(name.rpartition("/")[2])
            continue
        with files.open(name) as blob:
            found.append(_sha256(cast(IO[bytes], gzip.GzipFile(fileobj=blob)) if packed else blob)[0])
    if found != told:
        raise IntegrityError("The layers of the image must be those that its configuration names. They are not.")


def _alone(files: _Files, known: set[str]) -> None:
    if more := sorted(files.names() - known):
        raise IntegrityError(f"An image must hold what its manifest names. {', '.join(more[:5])} was added.")


def _sha256(file: IO[bytes]) -> tuple[str, int]:
    digest, n_bytes = hashlib.sha256(), 0
    try:
        while data := file.read(PIECE):
            digest.update(data)
            n_bytes += len(data)
    except (OSError, EOFError) as reason:
        raise IntegrityError("A layer of the image cannot be unpacked: its bytes were changed.") from reason
    return digest.hexdigest(), n_bytes


# ── files ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Files:
    """The files of a layout, in a folder or in a tar."""

    def __init__(self, place: Path, packed: tarfile.TarFile | None) -> None:
        self._place, self._packed = place, packed
        if packed is None:
            self._members = {p.relative_to(place).as_posix(): p for p in place.rglob("*") if not p.is_dir()}
        else:
            self._entries = {entry.name.removeprefix("./"): entry for entry in packed if not entry.isdir()}

    def names(self) -> set[str]:
        return set(self._members if self._packed is None else self._entries)

    def open(self, name: str) -> IO[bytes]:
        if name not in self.names():
            raise IntegrityError(f"The image must hold {name}. It does not: save or fetch it again.")
        if self._packed is None:
            return self._members[name].open("rb")
        found = self._packed.extractfile(self._entries[name])
        if found is None:
            raise IntegrityError(f"{name} of the image must be a plain file. It is not.")
        return found

    def whole(self, name: str) -> bytes:
        with self.open(name) as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise IntegrityError(f"{name} of the image must have at most {MOST_BYTES:,} bytes. It has more.")
        return data


@contextmanager
def _opened(place: Path) -> Iterator[_Files]:
    if place.is_dir():
        yield _Files(place, None)
        return
    with tarfile.open(place, "r:") as packed:
        yield _Files(place, packed)


def unpacked_size(image: Layout, name: str, packed: bool) -> int:
    """Give the bytes of a layer without compression."""
    with _opened(image.place) as files, files.open(name) as blob:
        return _sha256(cast(IO[bytes], gzip.GzipFile(fileobj=blob)) if packed else blob)[1]


def files_of(image: Layout) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """Give each file of an image with its size and bytes, layer after layer; a later layer's file replaces an earlier one's.

    A file's bytes are to be read before the next one is asked for.
    """
    for _, blob in layers_of(image):
        yield from files_in(blob)


def files_in(blob: IO[bytes]) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """Give each file of one layer with its size and bytes, which are to be read before the next one is asked for."""
    with tarfile.open(fileobj=blob, mode="r|") as layer:
        for entry in layer:
            if entry.isreg():
                yield entry.name.removeprefix("./"), entry.size, layer.extractfile(entry)


def layers_of(image: Layout) -> Iterator[tuple[int, IO[bytes]]]:
    """Give each layer of an image with its number, the base first, as a tar; it is to be read before the next is asked for."""
    with _opened(image.place) as files:
        for number, (name, packed) in enumerate(image.layers):
            with files.open(name) as blob:
                yield number, cast(IO[bytes], gzip.GzipFile(fileobj=blob)) if packed else blob


@contextmanager
def of_engine(engine: Engine, name: str) -> Iterator[Path]:
    """Have an engine save an image for a while, and give the archive; its layers need not be packed for so short a time.

    Raises
    ------
    BuildError
        If the engine refuses.
    """
    form = ("--format=oci-archive", "--uncompressed") if engine.name == "podman" else ()
    with tempfile.TemporaryDirectory(prefix="ekiben-saved-") as place:
        archive = Path(place) / "image.tar"
        if engine.runs:
            engine.call("save", *form, "-o", str(archive), name)
        else:
            engine.call("push", "--quiet", name, f"oci-archive:{archive}")
        yield archive


@contextmanager
def just_built(engine: Engine, name: str) -> Iterator[Path]:
    """Have an engine save what it has just built: podman writes no layer of base and dependencies that it wrote before.

    A layer's name is its digest, against which `read` holds its bytes. What was changed in the cache is removed from there.

    Raises
    ------
    BuildError
        If the engine refuses.
    """
    if engine.name != "podman":
        with of_engine(engine, name) as archive:
            yield archive
        return
    with tempfile.TemporaryDirectory(prefix="ekiben-saved-") as place:
        layout, kept = Path(place) / "image", cache() / "layers"
        blobs = layout / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        kept.mkdir(exist_ok=True)
        told = engine.call("image", "inspect", "--format", "{{json .RootFS.Layers}}", name).stdout
        digests = [each.removeprefix("sha256:") for each in json.loads(told)][: HOLDS.index("models")]
        for each in digests:
            with suppress(FileNotFoundError):  # it was not written before
                _link(kept / each, blobs / each)
                (kept / each).touch()
        engine.call("save", "--format=oci-dir", "--uncompressed", "-o", str(layout), name)
        try:
            yield layout
        except IntegrityError:
            for each in digests:
                (kept / each).unlink(missing_ok=True)
            raise
        for each in digests:
            if not (kept / each).exists():
                part = kept / f"{each}.{os.getpid()}"
                _link(blobs / each, part)
                part.replace(kept / each)
        with suppress(FileNotFoundError):  # another build drops them as well
            for old in sorted(kept.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)[MOST_KEPT:]:
                old.unlink()


def _link(old: Path, new: Path) -> None:
    """Give a file a second name, or copy it where that is on another disk."""
    try:
        new.hardlink_to(old)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(old, new)
