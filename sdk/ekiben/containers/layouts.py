"""An OCI image without an engine: layers as tars of even times, written by the standard library."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ekiben.containers import bases, recipe, saved
from ekiben.containers.context import Context
from ekiben.containers.images import Image, Layer
from ekiben.containers.tools import install
from ekiben.errors import SpecError

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packed:
    """A layer as it lies among the blobs."""

    descriptor: dict[str, Any]
    diff: str
    n_bytes: int


def write(context: Context, to: Path, name: str) -> Image:
    """Write an image of a context as an OCI layout, on a base of Debian's packages.

    Parameters
    ----------
    context
        What it is made of.
    to
        A new folder, or one that this function wrote.
    name
        Under which the layout knows it.

    Raises
    ------
    SpecError
        If the folder holds something else.
    BuildError
        If the base cannot be made here.
    """
    refuse_another_s(to)
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=f".{to.name}-") as place:
        made = Path(place) / "layout"
        packed, digest = _written(context, made, name)
        shutil.rmtree(to, ignore_errors=True)
        made.rename(to)
    return Image(
        ref=str(to),
        digest=digest,
        tag=context.tag,
        engine="none: an OCI layout was written",
        n_bytes=sum(each.n_bytes for each in packed.values()),
        layers=tuple(Layer(holds=key, digest=each.diff, n_bytes=each.n_bytes) for key, each in packed.items()),
    )


def refuse_another_s(to: Path) -> None:
    """Refuse a folder that holds anything but a layout, which may be written again."""
    if to.exists() and not (to / "oci-layout").is_file():
        raise SpecError(f"The layout's folder must be new. Got {str(to)!r}, which holds something else.")


def _written(context: Context, to: Path, name: str) -> tuple[dict[str, _Packed], str]:
    """Write a layout into a new folder, and give its layers and the digest of its manifest."""
    (to / "blobs" / "sha256").mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="ekiben-layout-") as place:
        parts = _parts(context, Path(place))
        packed = {holds: _pack(folder, at, to, context.epoch) for holds, (folder, at) in parts.items()}
    config = _put(to, _config(context, packed), CONFIG)
    layers = [each.descriptor for each in packed.values()]
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
    manifest = _put(to, document, MANIFEST)
    named = {**manifest, "annotations": {"org.opencontainers.image.ref.name": name}}
    (to / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (to / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    return packed, str(manifest["digest"])


def described(place: Path, tag: str, engine: str, holds: tuple[str, ...]) -> Image:
    """Read from a layout that another wrote what an image is; every byte is held against its digest."""
    found = saved.read(place)
    digests = [str(each) for each in found.config["rootfs"]["diff_ids"]]
    sizes = [saved.unpacked_size(found, name, is_packed) for name, is_packed in found.layers]
    parts = zip(holds, digests, sizes, strict=False)
    layers = tuple(Layer(holds=what, digest=digest, n_bytes=size) for what, digest, size in parts)
    return Image(
        ref=str(place), digest=f"sha256:{found.digest}", tag=tag, engine=engine, n_bytes=sum(sizes), layers=layers
    )


def _parts(context: Context, place: Path) -> dict[str, tuple[Path, str]]:
    """Make what each layer holds: name → a folder, and where it lies in the image."""
    bases.stripped(bases.make(), place / "base")
    install.main(str(context.folder / "wheels"), str(context.folder / "requirements.txt"), str(place / "site"))
    return {
        "base": (place / "base", ""),
        "dependencies": (place / "site", recipe.SITE),
        "models": (context.folder / "models", f"{recipe.HOME}/models"),
        "code": (context.folder / "bento", recipe.HOME),
    }


class _Sink(io.RawIOBase):
    """Writes gzip into a file, and hashes what goes in and what comes out."""

    def __init__(self, file: Path) -> None:
        self.raw, self.out = hashlib.sha256(), hashlib.sha256()
        self.n_raw = self.n_out = 0
        self._file = file.open("wb")
        self._gzip = gzip.GzipFile("", "wb", 6, _Counted(self), mtime=0)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        whole = bytes(data)
        self.raw.update(whole)
        self.n_raw += len(whole)
        self._gzip.write(whole)
        return len(whole)

    def put(self, data: bytes) -> int:
        self.out.update(data)
        self.n_out += len(data)
        return self._file.write(data)

    def finish(self) -> None:
        self._gzip.close()
        self._file.close()


class _Counted(io.RawIOBase):
    def __init__(self, sink: _Sink) -> None:
        self._sink = sink

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._sink.put(bytes(data))


def _pack(folder: Path, at: str, to: Path, epoch: int) -> _Packed:
    blobs = to / "blobs" / "sha256"
    sink = _Sink(blobs / "part")
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as packed:
        for name in _above(at):
            packed.addfile(_even(_folder(name), epoch))
        for path in sorted(folder.rglob("*")):
            name = f"{at.strip('/')}/{path.relative_to(folder).as_posix()}".lstrip("/")
            packed.add(path, name, recursive=False, filter=lambda entry: _even(entry, epoch))
    sink.finish()
    (blobs / "part").rename(blobs / sink.out.hexdigest())
    descriptor = {"mediaType": LAYER, "digest": f"sha256:{sink.out.hexdigest()}", "size": sink.n_out}
    return _Packed(descriptor=descriptor, diff=f"sha256:{sink.raw.hexdigest()}", n_bytes=sink.n_raw)


def _above(at: str) -> list[str]:
    """List the folders down to where a layer lies.

    >>> _above("/app/site")
    ['app', 'app/site']
    """
    parts = [part for part in at.split("/") if part]
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def _folder(name: str) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.mode = tarfile.DIRTYPE, 0o755
    return made


def _even(entry: tarfile.TarInfo, epoch: int) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = epoch
    return entry


def _put(to: Path, document: Mapping[str, Any], kind: str) -> dict[str, Any]:
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(data).hexdigest()
    (to / "blobs" / "sha256" / digest).write_bytes(data)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}


def _config(context: Context, packed: Mapping[str, _Packed]) -> dict[str, Any]:
    when = datetime.fromtimestamp(context.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    settings = {
        "User": f"{recipe.USER}:{recipe.USER}",
        "WorkingDir": recipe.HOME,
        "ExposedPorts": {f"{recipe.PORT}/tcp": {}},
        "Env": [f"{key}={value}" for key, value in sorted(recipe.ENVIRONMENT.items())],
        "Entrypoint": list(recipe.ENTRYPOINT),
        "Labels": dict(context.labels),
        "StopSignal": "SIGTERM",
    }
    return {
        "created": when,
        "architecture": machine,
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [each.diff for each in packed.values()]},
        "history": [{"created": when, "created_by": f"ekiben: {holds}"} for holds in packed],
    }
