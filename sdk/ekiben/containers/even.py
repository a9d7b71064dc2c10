"""An image of equal files is made equal bytes: an engine that writes the time of day into it is given it back without."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

GZIP = b"\x1f\x8b"
KEPT = ("architecture", "os", "variant", "config")  # of a configuration; what is left out is of the engine or the day
TOLD = ("created_by", "comment", "empty_layer")  # of a step


def rewrite(saved: Path, to: Path, name: str, epoch: int) -> str:
    """Write an image that was saved once more, every time in it one and the same, and give SHA-256 of its configuration.

    Parameters
    ----------
    saved
        What `docker save` wrote, of one image.
    to
        The archive to write, which `docker load` takes.
    name
        The image's name in it.
    epoch
        The time of all files, in seconds since 1970.
    """
    with tarfile.open(saved) as old, tarfile.open(to, "w", format=tarfile.PAX_FORMAT) as new:
        (told,) = json.loads(_whole(old, "manifest.json"))
        digests, names = [], []
        for n, layer in enumerate(told["Layers"]):
            made = to.with_name("layer.tar")
            with _unpacked(old, layer) as packed:
                digests.append(f"sha256:{_relay(packed, made, epoch)}")
            names.append(f"{n}/layer.tar")
            new.add(made, names[-1])
            made.unlink()
        config = _config(json.loads(_whole(old, told["Config"])), digests, epoch)
        digest = hashlib.sha256(config).hexdigest()
        _put(new, f"{digest}.json", config)
        listed = [{"Config": f"{digest}.json", "RepoTags": [name], "Layers": names}]
        _put(new, "manifest.json", json.dumps(listed).encode())
    return digest


def _whole(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def _put(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


@contextmanager
def _unpacked(archive: tarfile.TarFile, name: str) -> Iterator[IO[bytes]]:
    file = archive.extractfile(name)
    assert file is not None
    is_packed = file.read(2) == GZIP
    file.seek(0)
    yield cast(IO[bytes], gzip.GzipFile(fileobj=file)) if is_packed else file


def _relay(packed: IO[bytes], to: Path, epoch: int) -> str:
    """Write the entries of a layer anew, in their order, and give its digest."""
    with tarfile.open(fileobj=packed) as old, tarfile.open(to, "w", format=tarfile.PAX_FORMAT) as new:
        for entry in old:
            entry.uname = entry.gname = ""
            entry.mtime = epoch
            entry.pax_headers = {}
            new.addfile(entry, old.extractfile(entry) if entry.isreg() else None)
    with to.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _config(told: dict[str, Any], digests: list[str], epoch: int) -> bytes:
    """Write a configuration of what speaks of the image alone.

    >>> told = {"os": "linux", "created": "today", "history": [{"created": "today", "created_by": "COPY"}]}
    >>> json.loads(_config(told, ["sha256:ab"], 0))["history"]
    [{'created': '1970-01-01T00:00:00Z', 'created_by': 'COPY'}]
    """
    when = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    steps = [{"created": when, **{key: step[key] for key in TOLD if step.get(key)}} for step in told["history"]]
    made = {"created": when, **{key: told[key] for key in KEPT if key in told}, "history": steps}
    made["rootfs"] = {"type": "layers", "diff_ids": digests}
    return json.dumps(made, sort_keys=True, separators=(",", ":")).encode()
