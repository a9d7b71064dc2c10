"""Copy what Python needs of a base image, and nothing else: `strip.py FROM TO`.

What is left out: every shell, every command but Python, package managers, documents, and what Python brings for people who
sit before it. What stays of Debian's list of packages says what the image holds.
"""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

EPOCH = 315532800  # 1980-01-01, where none is told
COMMANDS = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin")
KEPT_COMMANDS = ("python",)  # how their names begin
KEPT = ("bin", "sbin", "lib", "lib64", "usr", "etc", "var/lib/dpkg")
ETC = ("ca-certificates.conf", "debian_version", "group", "host.conf", "ld.so.cache", "ld.so.conf", "ld.so.conf.d")
ETC_TOO = ("localtime", "nsswitch.conf", "os-release", "passwd", "protocols", "services", "ssl", "timezone")
DPKG = ("status", "status.d")
NO_FOLDERS = {
    *("usr/games", "usr/include", "usr/libexec", "usr/src", "usr/local/include", "usr/local/share/man"),
    *("usr/lib/apt", "usr/lib/dpkg", "usr/lib/systemd", "usr/lib/tmpfiles.d", "usr/lib/init", "usr/lib/mime"),
    *("usr/lib/sasl2", "usr/lib/udev", "usr/share/bash-completion", "usr/share/bug", "usr/share/debconf"),
    *(
        "usr/share/gcc",
        "usr/share/gdb",
    ),  # how a debugger shows the types of C++
    *("usr/share/debianutils", "usr/share/doc-base", "usr/share/dpkg", "usr/share/info", "usr/share/keyrings"),
    *("usr/share/lintian", "usr/share/locale", "usr/share/man", "usr/share/menu", "usr/share/pam"),
    *("usr/share/pam-configs", "usr/share/perl5", "usr/share/polkit-1", "usr/share/common-licenses-old"),
    "usr/share/zoneinfo/right",  # the same zones with leap seconds
}
NO_PYTHON = {
    *("ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter", "turtle.py", "turtledemo", "site-packages"),
    *("_pydatetime.py", "_pydecimal.py", "_pyio.py"),  # what stands for a compiled module, where that is missing
}
NO_LIBRARIES = ("perl", "libapt", "libperl", "gconv", "libpam", "security", "audit", "e2fsprogs", "krb5")
# Of Python's compiled modules, those for terminals, networks and databases of old, and its own tests.
NO_MODULES = ("_ctypes_test.", "_dbm.", "_gdbm.", "_test", "_xxtestfuzz.", "nis.", "readline.", "xxlimited")
# What commands of Debian are linked with, which goes where nothing that stays is. No wheel of manylinux is.
OF_COMMANDS = (
    *("libacl", "libattr", "libaudit", "libblkid", "libcap", "libcom_err", "libdb-", "libe2p"),
    *("libexpatw", "libext2fs", "libformw", "libgcrypt", "libgdbm", "libgmp", "libgnutls"),
    *("libgpg-error", "libgssapi_krb5", "libhistory", "libhogweed", "libidn2", "libk5crypto"),
    *("libkeyutils", "libkrb5", "liblz4", "libmd.", "libmenuw", "libmount", "libnettle"),
    *("libnsl.so.2", "libp11-kit", "libpcre2", "libreadline", "libselinux", "libsemanage"),
    *("libsepol", "libsmartcols", "libss.", "libsystemd", "libtasn1", "libtic.", "libtirpc"),
    *("libudev", "libunistring", "libxxhash", "libzstd"),
)


def main(source: str, target: str) -> None:
    """Copy the part that Python needs, its times made equal."""
    root, out = Path(source), Path(target)
    out.mkdir(parents=True, exist_ok=True)
    for name in needed(root, names(root)):
        _copy(root, out, name)
    for name, mode in (("dev", 0o755), ("home", 0o755), ("proc", 0o755), ("run", 0o755), ("sys", 0o755)):
        (out / name).mkdir(mode=mode, exist_ok=True, parents=True)
    (out / "tmp").mkdir(exist_ok=True)
    (out / "tmp").chmod(0o1777)
    _compile(out)
    _make_even(out)


def names(root: Path) -> Iterator[str]:
    """List what stays, each folder before what is in it."""
    for top in KEPT:
        if os.path.lexists(root / top):
            yield from _below(root, top)


def needed(root: Path, staying: Iterable[str]) -> list[str]:
    """Leave out the libraries of commands that no other file which stays is linked with, each under all of its names."""
    every = list(staying)
    left = {name for name in every if _last(name).startswith(OF_COMMANDS) and ".so" in name}
    asking = [name for name in every if name not in left and _is_linked(root / name)]
    while asking and left:
        found = {path for name in asking for path in _linked_with(root / name, root, left)}
        asking = [name for name in sorted(left) if (root / name).resolve() in found]
        left -= {*asking}
    return [name for name in every if name not in left]


def _linked_with(path: Path, root: Path, libraries: Iterable[str]) -> Iterator[Path]:
    """Give the libraries that a compiled file names; it may be large, and is not read as a whole."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as told:
        for name in libraries:
            if told.find(b"\0%s\0" % _last(name).encode()) >= 0:
                yield (root / name).resolve()


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _is_linked(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _below(root: Path, name: str) -> Iterator[str]:
    path = root / name
    if not stays(name):
        return
    yield name
    if path.is_dir() and not path.is_symlink():
        for entry in sorted(each.name for each in path.iterdir()):
            yield from _below(root, f"{name}/{entry}")


def stays(name: str) -> bool:
    """Tell whether a path of a base image is needed by Python, or says what the image holds.

    >>> [name for name in ("usr/bin/dash", "bin/sh", "usr/bin/python3.11", "etc/passwd", "etc/apt") if stays(name)]
    ['usr/bin/python3.11', 'etc/passwd']
    """
    folder, _, last = name.rpartition("/")
    parts = set(name.split("/"))
    if folder in COMMANDS:
        return last.startswith(KEPT_COMMANDS) and "config" not in last
    if folder == "etc":
        return last in ETC or last in ETC_TOO
    if folder == "var/lib/dpkg":
        return last in DPKG
    if name in NO_FOLDERS or "__pycache__" in parts:  # compiled again below
        return False
    if folder.startswith("usr/share/doc/"):
        return last == "copyright"
    if any(part.startswith("python3") for part in folder.split("/")) and parts & NO_PYTHON:
        return False
    if folder.endswith("/lib-dynload"):
        return not last.startswith(NO_MODULES)
    if folder.startswith(("usr/lib", "lib")) and "python3" not in name:
        return not last.startswith(NO_LIBRARIES)
    return True


def _copy(root: Path, out: Path, name: str) -> None:
    source, target = root / name, out / name
    if source.is_symlink():
        target.symlink_to(source.readlink())
    elif source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(source.stat().st_mode & 0o777)  # no bit that makes another user of who runs it


def _compile(out: Path) -> None:
    """Compile Python's own modules once, without the words that people read in them."""
    program = str(Path(__file__).with_name("precompile.py"))
    for folder in sorted([*out.glob("usr/lib/python3.*"), *out.glob("usr/local/lib/python3.*")]):
        command = [sys.executable, "-X", "no_debug_ranges", program, str(folder), f"/{folder.relative_to(out)}", "*"]
        subprocess.run(command, check=True)


def _make_even(out: Path) -> None:
    """Give every file one time and one of two modes, whatever who builds takes away from others; /tmp has its own."""
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or EPOCH)
    for path in sorted(out.rglob("*"), reverse=True):
        if not path.is_symlink() and path != out / "tmp":
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    os.utime(out, (epoch, epoch))


if __name__ == "__main__":
    main(*sys.argv[1:])
