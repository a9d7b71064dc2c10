"""A base image made of Debian's own packages, for machines that reach no registry of images: Python and little beside it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from ekiben.containers import wheels
from ekiben.containers.tools import install, strip
from ekiben.errors import BuildError

RELEASE = "bookworm"
PYTHON = "3.11"  # the one of that release
PACKAGES = (
    *("python3.11-minimal", "libpython3.11-stdlib", "libgomp1", "libstdc++6", "ca-certificates", "tzdata"),
    *("base-files", "netbase", "libc-bin"),
)
ACCOUNTS = {
    "passwd": "root:x:0:0:root:/root:/sbin/nologin\nekiben:x:1034:1034::/tmp:/sbin/nologin\n",
    "group": "root:x:0:\nekiben:x:1034:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
KEEP_WHAT_IS_IN = """\
#!/bin/sh
set -e
mkdir -p "$1/var/lib/dpkg/status.d"
for deb in "$1"/var/cache/apt/archives/*.deb; do
  dpkg-deb -f "$deb" > "$1/var/lib/dpkg/status.d/$(dpkg-deb -f "$deb" Package)"
done
"""


def can_make() -> bool:
    """Tell whether this machine has what makes a base.

    >>> isinstance(can_make(), bool)
    True
    """
    return shutil.which("mmdebstrap") is not None


def make(*, more: tuple[str, ...] = ()) -> Path:
    """Make a base as a tar, once for the same packages, and give where it lies.

    Parameters
    ----------
    more
        Packages of Debian beside those that Python needs.

    Raises
    ------
    BuildError
        If mmdebstrap is missing or refuses.
    """
    if not can_make():
        raise BuildError(
            "A base of Debian's packages is made by mmdebstrap, which is not installed. "
            "To have it, run: apt-get install mmdebstrap"
        )
    wanted = (*PACKAGES, *more)
    key = hashlib.sha256(repr((RELEASE, wanted, Path(__file__).read_bytes())).encode()).hexdigest()[:12]
    target = wheels.cache() / "bases" / f"{RELEASE}-{key}.tar"
    if not target.is_file():
        target.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="ekiben-base-") as place:
            root = Path(place) / "root"
            _unpack(root, wanted, Path(place))
            _tidy(root)
            _pack(root, target)
    return target


def _unpack(root: Path, wanted: tuple[str, ...], place: Path) -> None:
    """Unpack the packages, and what they need, without running anything of theirs."""
    hook = place / "hook"
    hook.write_text(KEEP_WHAT_IS_IN)
    hook.chmod(0o755)
    mode = "root" if os.geteuid() == 0 else "unshare"
    command = ["mmdebstrap", "--quiet", "--variant=extract", f"--mode={mode}", f"--include={','.join(wanted)}"]
    command += [f"--extract-hook={hook}", '--aptopt=Apt::Install-Recommends "false"', RELEASE, str(root)]
    command += [str(file) for file in _sources()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(
            f"mmdebstrap must make the base, from a mirror of Debian. It refused:\n{done.stderr.strip()[-800:]}\n"
            "Where none can be reached, copy the folder 'bases' from the cache of a machine that has made one "
            "(EKIBEN_CACHE names the cache), or name a base that the engine has: base='…'."
        )


def _sources() -> list[Path]:
    """Name the list of mirrors of this machine, if it is Debian's; else mmdebstrap takes the public one."""
    known = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
    return [file for file in known if file.is_file()][:1]


def _tidy(root: Path) -> None:
    """Make of unpacked packages what a configured system has, and leave nothing of this machine in it."""
    for name in ("dev", "boot", "run", "var/cache", "var/lib/apt", "var/log", "etc/apt", "tmp"):
        shutil.rmtree(root / name, ignore_errors=True)
    for name in ("etc/hostname", "etc/resolv.conf", "etc/machine-id"):
        (root / name).unlink(missing_ok=True)
    _merge_usr(root)
    for name, text in ACCOUNTS.items():
        (root / "etc" / name).write_text(text)
    for name in ("python3", "python"):
        (root / "usr/bin" / name).unlink(missing_ok=True)
        (root / "usr/bin" / name).symlink_to(f"python{PYTHON}")
    roots = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    (root / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
    (root / "etc/ssl/certs/ca-certificates.crt").write_bytes(b"".join(each.read_bytes() for each in roots))
    subprocess.run(["/sbin/ldconfig", "-r", str(root)], capture_output=True, check=True)
    (root / "var/cache/ldconfig/aux-cache").unlink(missing_ok=True)


def _merge_usr(root: Path) -> None:
    """Let /bin, /sbin and /lib be those below /usr, as in every Debian of today."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        if (root / name).is_dir() and not (root / name).is_symlink():
            shutil.copytree(root / name, root / "usr" / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(root / name)
        if not (root / name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")


def _pack(root: Path, target: Path) -> None:
    """Write a tar with one time, one owner, two modes and one order, so that equal packages are equal bytes."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="part-") as place:  # another build may make the same one
        made = Path(place) / target.name
        with tarfile.open(made, "w", format=tarfile.PAX_FORMAT) as packed:
            for path in sorted(root.rglob("*")):
                packed.add(path, path.relative_to(root).as_posix(), recursive=False, filter=_even)
        made.replace(target)


def _even(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = install.EPOCH
    if not entry.issym():
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644  # whatever the umask was
    entry.pax_headers = {}
    return entry


def stripped(tar: Path, to: Path) -> None:
    """Unpack a base and copy what Python needs of it, as the first stage of an image does.

    Raises
    ------
    BuildError
        If it is not of the Python that runs here, which compiles its modules.
    """
    if f"{sys.version_info.major}.{sys.version_info.minor}" != PYTHON:
        raise BuildError(f"Without an engine, an image is written by the Python that it holds: {PYTHON}.")
    with tempfile.TemporaryDirectory(prefix="ekiben-base-") as place:
        with tarfile.open(tar) as packed:
            packed.extractall(place, filter="tar")
        strip.main(place, str(to))
