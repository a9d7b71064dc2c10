"""What lies in a folder, an image or an archive, however deep: each file with its place, and what no reader here opens."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

HEAD = 512  # bytes that tell what a file is
MOST_DEEP = 8  # archives in archives
MOST_BYTES = 16 << 30  # of what one archive unpacks to
MOST_INFLATED = 1 << 30  # of what one zlib stream unpacks to, in memory
IN_MEMORY = 16 << 20
PIECE = 1 << 20
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
ZIP_END = 22  # bytes that end a zip without a comment
ZIP_HEAD = 30  # bytes before the name of a file in a zip
UNLISTED = "(what is in no list)"  # the place of what an archive holds, and no list of its files names
ZIPPED = (".zip", ".whl", ".egg", ".pyz", ".jar", ".npz", ".skops")
CLOSED = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
    b"\x1f\x9d": "compress",
    b"LZIP": "lzip",
    b"\x89LZO\x00\r\n": "lzop",
    b"MSCF\x00\x00\x00\x00": "a cabinet",
    b"\xff\x06\x00\x00sNaPpY": "snappy",
    b"hsqs": "squashfs",
    b"\xed\xab\xee\xdb": "rpm",
    b"Salted__": "a file behind a password",
    b"age-encryption.org/": "a file behind a key",
    b"-----BEGIN AGE ENCRYPTED": "a file behind a key",
    b"-----BEGIN PGP MESSAGE": "a file behind a key",
}
BROKEN = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file: where it lies, with `!` behind each archive around it, and its bytes; or why they cannot be read."""

    place: str
    file: IO[bytes] | None = None
    closed: str | None = None


def entries(root: Path, *, known: Collection[str] = ()) -> Iterator[Entry]:
    r"""Give every file below a folder or in a file, and what is in each that is an archive itself.

    An entry's file is to be read before the next entry is asked for. What lies at a `known` place is left out.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with zipfile.ZipFile(folder / "a.zip", "w") as made:
    ...     made.writestr("b.txt", "one")
    >>> [(entry.place, entry.file.read()[:3]) for entry in entries(folder) if entry.file]
    [('a.zip', b''), ('a.zip!', b'\nb.'), ('a.zip!/b.txt', b'one')]
    """
    for name, path in _files(root):
        if name in known:
            continue
        if told := _beside(path):
            yield Entry(place=f"{name}!", file=BytesIO(told))
        if path.is_symlink():
            yield Entry(place=name, file=BytesIO(os.fsencode(path.readlink())))
        elif stat.S_ISREG(path.lstat().st_mode):
            with path.open("rb") as file:
                yield from opened(name, file, 0)


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    if not root.is_dir():
        yield root.name, root
        return
    for path in sorted(root.rglob("*")):
        yield path.relative_to(root).as_posix(), path


def _beside(path: Path) -> bytes:
    """Give what a file system keeps beside a file's bytes by the user's word, and copies with it: its extended attributes."""
    if not hasattr(os, "listxattr"):
        return b""
    try:
        names = [name for name in os.listxattr(path, follow_symlinks=False) if name.startswith("user.")]
        told = [os.fsencode(name) + b"=" + os.getxattr(path, name, follow_symlinks=False) for name in names]
    except OSError:  # of a file system that has none
        return b""
    return b"\n".join(told)


def opened(place: str, file: IO[bytes], depth: int = 0) -> Iterator[Entry]:
    """Give a file, and what is in it if it is an archive; it is to be read before the next entry is asked for."""
    head = file.read(HEAD)
    kind = next((word for magic, word in CLOSED.items() if head.startswith(magic)), None)
    reader = _reader(place, head, file)
    file.seek(0)
    # What is in an archive comes by itself, in its own place; but not what stands before one.
    begins = (reader is _zip and head.startswith(ZIP)) or (reader is _tar and _is_tar(head))
    yield Entry(place=place, file=BytesIO() if begins else file)
    if kind is not None:
        yield Entry(place=place, closed=kind)
    elif reader is not None and depth >= MOST_DEEP:
        yield Entry(place=place, closed=f"archives more than {MOST_DEEP} deep")
    elif reader is not None:
        file.seek(0)
        try:
            yield from reader(place, file, depth + 1)
        except BROKEN as reason:
            if reader is _array:  # of objects, which are a pickle; its bytes were given whole
                return
            yield Entry(place=place, closed=f"an archive that ends in {type(reason).__name__}")


Reader = Callable[[str, IO[bytes], int], Iterator[Entry]]


def _reader(place: str, head: bytes, file: IO[bytes]) -> Reader | None:
    if head.startswith(ZIP):
        return _zip
    if _is_tar(head):
        return _tar
    if head.startswith(b"\x93NUMPY"):
        return _array
    for magic, unpack in UNPACKERS.items():
        if head.startswith(magic):
            return _packed(unpack)
    if head[:1] == b"\x5d" and head[5:13] == b"\xff" * 8:  # as xz wrote before it had a head, and joblib still does
        return _packed(lzma.LZMAFile)
    if len(head) > 2 and head[0] == 0x78 and int.from_bytes(head[:2]) % 31 == 0:  # as joblib compresses
        return _packed(_Inflated)
    if place.lower().endswith(ZIPPED) or _ends_a_zip(file):
        return _zip
    return _tar if place.endswith(".tar") else None


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _ends_a_zip(file: IO[bytes]) -> bool:
    """Tell whether a file ends as a zip does, whatever stands before it."""
    n_bytes = file.seek(0, os.SEEK_END)
    file.seek(max(0, n_bytes - ZIP_END))
    return file.read(4) == b"PK\x05\x06"


# ── archives ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _zip(place: str, file: IO[bytes], depth: int) -> Iterator[Entry]:
    if not zipfile.is_zipfile(file):
        yield Entry(place=place, closed="an archive without its end")
        return
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        told = [
            archive.comment,
            *(part for each in archive.infolist() for part in (each.filename.encode(), each.comment)),
        ]
        *around, end = _around(file, archive.infolist())
        hidden = [part for part in around if part.startswith(ZIP)]
        told += [*(part for part in around if not part.startswith(ZIP)), end]
        yield Entry(place=f"{place}!", file=BytesIO(b"\n".join(told)))
        for part in hidden:  # another archive before this one, or a file that its list leaves out
            yield from opened(f"{place}!/{UNLISTED}", BytesIO(part), depth)
        for each in archive.infolist():
            name = f"{place}!/{each.filename}"
            if each.flag_bits & 1:
                yield Entry(place=name, closed="a file behind a password")
            elif not each.is_dir():
                with archive.open(each) as member, _seekable(member, each.file_size) as found:
                    yield from opened(name, found, depth)


def _around(file: IO[bytes], members: Iterable[zipfile.ZipInfo]) -> Iterator[bytes]:
    """Give what of a zip is in none of its files, in its order; the last part goes to its end."""
    at = 0
    for each in sorted(members, key=lambda member: member.header_offset):
        file.seek(at)
        yield file.read(max(0, each.header_offset - at))
        file.seek(each.header_offset)
        head = file.read(ZIP_HEAD)
        n_named = sum(int.from_bytes(head[i : i + 2], "little") for i in (26, 28))  # of the name, and of more about it
        yield head[4:] + file.read(n_named)
        at = max(at, each.header_offset + ZIP_HEAD + n_named + each.compress_size)
    file.seek(at)
    yield file.read()


def _tar(place: str, file: IO[bytes], depth: int) -> Iterator[Entry]:
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for each in archive:
            told = [
                each.name,
                each.linkname,
                each.uname,
                each.gname,
                *(f"{key}={value}" for key, value in each.pax_headers.items()),
            ]
            yield Entry(place=f"{place}!/{each.name}!", file=BytesIO("\n".join(told).encode(errors="surrogateescape")))
            member = archive.extractfile(each) if each.isreg() else None
            if member is not None:
                yield from opened(f"{place}!/{each.name}", member, depth)
        if _seek_what_follows(file, archive.offset):  # a second archive, or what is in none
            with copied(file) as rest:
                yield from opened(f"{place}!/{UNLISTED}", rest, depth)


def _seek_what_follows(file: IO[bytes], end: int) -> bool:
    """Go to the first byte behind the end of a tar that is no zero, if there is one."""
    file.seek(end)
    while data := file.read(PIECE):
        if rest := data.lstrip(b"\0"):
            file.seek(-len(rest), os.SEEK_CUR)
            return True
    return False


def _array(place: str, file: IO[bytes], depth: int) -> Iterator[Entry]:  # noqa: ARG001 -- every reader is asked in one form
    """Give the texts of an array, which stand in the file without a border between them."""
    with warnings.catch_warnings(action="ignore"):  # of arrays that Python 2 wrote
        found = np.load(BytesIO(file.read()), allow_pickle=False)
    if found.dtype.kind in "US":
        texts = (
            text if isinstance(text, bytes) else text.encode(errors="surrogateescape")
            for text in found.ravel().tolist()
        )
        yield Entry(place=f"{place}!", file=BytesIO(b"\n".join(texts)))


def _packed(unpack: Callable[[IO[bytes]], IO[bytes]]) -> Reader:
    """Read what one stream was compressed to; a whole copy is made, since what is in it is read from several places."""

    def read(place: str, file: IO[bytes], depth: int) -> Iterator[Entry]:
        with unpack(file) as stream, copied(stream) as found:
            yield from opened(f"{place}!", found, depth)

    return read


class _Inflated(BytesIO):
    """The bytes of a zlib stream; what merely looks like one is empty."""

    def __init__(self, file: IO[bytes]) -> None:
        stream = zlib.decompressobj()
        try:
            super().__init__(stream.decompress(file.read(), MOST_INFLATED))
        except zlib.error:
            super().__init__(b"")
        else:
            if stream.unconsumed_tail:
                raise ValueError("unpacks to too much")


def _gunzip(file: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], gzip.GzipFile(fileobj=file))


UNPACKERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": _gunzip,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}


@contextmanager
def _seekable(stream: IO[bytes], n_bytes: int) -> Iterator[IO[bytes]]:
    if n_bytes <= IN_MEMORY:
        yield BytesIO(stream.read())
    else:
        with copied(stream) as found:
            yield found


@contextmanager
def copied(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """Copy what can be read but once, so that it can be read from several places."""
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as copy:
        shutil.copyfileobj(_Bounded(stream), copy, PIECE)
        copy.seek(0)
        yield cast(IO[bytes], copy)


class _Bounded:
    """A stream that ends with an error instead of filling the disk."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._left = stream, MOST_BYTES

    def read(self, n_bytes: int = PIECE, /) -> bytes:
        data = self._stream.read(n_bytes)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("unpacks to too much")
        return data
