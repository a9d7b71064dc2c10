"""The environment of a bento: its requirements at the versions in which it was proved, and ekiben's own wheel."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ekiben import distributions
from ekiben.distributions import LEANER
from ekiben.errors import SpecError

OVERRIDES = """\
override-dependencies = [
  "blis ; sys_platform == 'never'",
  "spacy ; sys_platform == 'never'",
  "transformers ; sys_platform == 'never'",
  "attrs>=23",
  "pillow>=11",
  "scikit-image>=0.22",
]
"""


HASHED = "requirements.hashed.txt"
HASHES_WITHIN_S = 30
ADDRESS = re.compile(r"index-url|find-links|trusted-host|https?://", re.IGNORECASE)


def pins(named: Iterable[str], modules: Iterable[str] = ()) -> list[str]:
    """Pin what an adapter names, and what brings the modules of the model's own parts, to the versions that run here.

    Parameters
    ----------
    named
        Distributions, such as `scikit-learn`.
    modules
        Import names; what brings them is added where nothing named needs it already.

    Raises
    ------
    SpecError
        If one is not installed, or from no index.

    Examples
    --------
    >>> [line.partition("==")[0] for line in pins(["scikit-learn"], ["numpy", "sklearn", "yaml", "hypothesis"])]
    ['scikit-learn', 'hypothesis']
    """
    floor = {canonicalize_name(distributions.installed(name).name): None for name in named}
    known = distributions.closure(floor, missing_ok=True)
    more = [name for name in distributions.distributions_of(modules) if name not in known]
    _are_from_an_index(distributions.installed(name) for name in more)
    return [f"{name}=={distributions.installed(name).version}" for name in (*floor, *more)]


def environment(needed: Iterable[str]) -> dict[str, Any]:
    """Describe where a model was packed: Python, the platform, and each distribution with what it holds; no names of a machine.

    Examples
    --------
    >>> sorted(environment(["scikit-learn"]))
    ['distributions', 'implementation', 'machine', 'platform', 'python']
    """
    found = distributions.closure(needed, missing_ok=True)
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.system(),
        "machine": platform.machine(),
        "distributions": {
            name: {"version": each.version, "record": distributions.content(each)}
            for name, each in sorted(found.items())
        },
    }


def requirements(needed: Iterable[str], *, gpu: bool = False) -> str:
    """Lock ekiben and what the arms need to the versions of this environment; no network, and no address of an index.

    Parameters
    ----------
    needed
        Requirements of the arms and of the service.
    gpu
        Whether to take what has the code for graphics cards; by default what is the same without.

    Raises
    ------
    SpecError
        If a distribution is not installed here, is installed without the code for graphics cards where that is wanted, or was installed from a folder, a file or a repository.

    Examples
    --------
    >>> "msgspec==" in requirements([])
    True
    """
    found = distributions.closure(needed, gpu=gpu)
    _are_from_an_index(found.values())
    if gpu and (lean := sorted(found.keys() & set(LEANER.values()))):
        full = sorted(name for name, leaner in LEANER.items() if leaner in lean)
        raise SpecError(
            f"With gpu = true, {', '.join(full)} must be installed with its code for graphics cards. "
            f"Got {', '.join(lean)}. Run: pip uninstall {' '.join(lean)}, and pip install {' '.join(full)}"
        )
    versions = {name: each.version for name, each in found.items()}
    return pinned(versions, f"{sys.version_info.major}.{sys.version_info.minor}", gpu=gpu)


def pinned(versions: Mapping[str, str], python: str, *, gpu: bool = False) -> str:
    """Write ekiben's wheel and the versions of what it stands beside as requirements, the leaner of two that are alike."""
    leaner = {} if gpu else LEANER
    lean = {leaner.get(name, name): number for name, number in sorted(versions.items()) if name != "ekiben"}
    head = f"# Locked for Python {python} to the versions in which the service was proved."
    return "\n".join([head, f"./wheels/{wheel_name()}", *(f"{name}=={number}" for name, number in lean.items())]) + "\n"


def doubts(needed: Iterable[str]) -> list[str]:
    """Say of everything that the requirements bring what is from no index, so that a service with it would be refused.

    Examples
    --------
    >>> doubts(["scikit-learn"])
    []
    """
    return _from_elsewhere(distributions.closure(needed, missing_ok=True).values())


def _from_elsewhere(found: Iterable[Distribution]) -> list[str]:
    return [words for each in found if (words := distributions.from_elsewhere(each))]


def _are_from_an_index(found: Iterable[Distribution]) -> None:
    if told := _from_elsewhere(found):
        raise SpecError(f"What a service needs must come from an index. {' '.join(told)}")


def write_hashed(folder: Path) -> bool:
    """Write the locked requirements of a folder once more, with the digests of their files, and tell whether an index gave them.

    Of the wheel of ekiben and of every file that the index of this machine offers for a version, SHA-256 is written: an
    installer then refuses any other. The installed distributions do not hold these digests, so an index is asked, once.
    Without one the file says so, and holds none.
    """
    lines = (folder / "requirements.txt").read_text().splitlines()
    found = _with_hashes(folder)
    head = "# No digests: no index gave them when this was written. To add them, build again where one answers."
    if found is not None:
        head = f"# With the digest of every file. To install: uv pip install --require-hashes --no-deps -r {HASHED}"
    (folder / HASHED).write_text("\n".join([lines[0], head, *(found or lines[1:])]) + "\n")
    return found is not None


def to_install(folder: Path) -> list[str]:
    """Give the locked requirements of a folder, one a line, with their digests where a build wrote those of these very ones."""
    plain = _requirements_in(folder / "requirements.txt")
    hashed = _requirements_in(folder / HASHED)
    return hashed if sorted(line.partition(" ")[0] for line in hashed) == sorted(plain) else plain


def _requirements_in(file: Path) -> list[str]:
    text = re.sub(r"\s*\\\n\s*", " ", file.read_text() if file.is_file() else "")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _with_hashes(folder: Path) -> list[str] | None:
    tool = uv()
    if tool is None:
        return None
    quiet = ("--quiet", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links")
    command = [tool, "pip", "compile", "requirements.txt", "--no-deps", "--generate-hashes", *quiet]
    own = os.environ | {"UV_HTTP_TIMEOUT": "10", "UV_HTTP_RETRIES": "0"}
    try:
        done = subprocess.run(
            [*command, "--python", sys.executable],
            cwd=folder,
            env=own,
            capture_output=True,
            text=True,
            timeout=HASHES_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    lines = done.stdout.splitlines()
    return None if done.returncode or any(map(ADDRESS.search, lines)) else lines


def uv() -> str | None:
    """Find uv beside this Python, or else on PATH."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def write(folder: Path, needed: Iterable[str], *, gpu: bool = False) -> None:
    """Write the wheel, the locked requirements, and `uv.toml` where one of them needs it, into a service's folder."""
    wanted = list(needed)
    write_wheel(folder / "wheels")
    (folder / "requirements.txt").write_text(requirements(wanted, gpu=gpu))
    for old in ("uv.toml", HASHED):  # of other requirements
        (folder / old).unlink(missing_ok=True)
    if told := overrides(wanted):
        (folder / "uv.toml").write_text(told)


def overrides(needed: Iterable[str]) -> str | None:
    """Give the `uv.toml` with which the requirements install as they were locked, where one of them needs it."""
    return OVERRIDES if "alibi" in {canonicalize_name(Requirement(line).name) for line in needed} else None


def wheel_name() -> str:
    """Name ekiben's own wheel, as a bento carries it."""
    return f"ekiben-{importlib.metadata.version('ekiben')}-py3-none-any.whl"


def write_wheel(folder: Path) -> Path:
    """Write the wheel of the ekiben that runs here, the same bytes for the same code; no network, no build tools."""
    found = importlib.metadata.distribution("ekiben")
    info = f"ekiben-{found.version}.dist-info"
    root = Path(str(files("ekiben")))
    contents = {
        f"ekiben/{path.relative_to(root).as_posix()}": path.read_bytes() for path in distributions.sources(root)
    }
    contents[f"{info}/METADATA"] = (found.read_text("METADATA") or "").encode()
    contents[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: ekiben\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents[f"{info}/entry_points.txt"] = (found.read_text("entry_points.txt") or "").encode()
    record = [f"{name},sha256={_urlsafe(data)},{len(data)}" for name, data in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    folder.mkdir(exist_ok=True)
    target = folder / wheel_name()
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as place:  # a build beside it takes a whole one
        made = Path(place) / target.name
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in contents.items():
                archive.writestr(_entry(name), data)
        made.replace(target)
    for old in folder.glob("ekiben-*.whl"):
        if old != target:
            old.unlink(missing_ok=True)
    return target


def _entry(name: str) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    made.external_attr = 0o644 << 16
    made.compress_type = zipfile.ZIP_DEFLATED
    return made


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
