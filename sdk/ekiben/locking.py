"""The environment of a bento: its requirements at the versions in which it was proved, and ekiben's own wheel."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import sys
import zipfile
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ekiben.errors import SpecError

# What a training machine has → what a server needs: the same import name, without the code for graphics cards.
LEANER = {"xgboost": "xgboost-cpu"}
GPU_ONLY = ("nvidia-nccl-",)
# What alibi asks for and no explainer of tables imports, and ceilings that have grown stale; as uv is told to leave out.
UNUSED = ("blis", "spacy", "transformers")
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


def requirements(needed: Iterable[str]) -> str:
    """Lock ekiben and what the arms need to the versions of this environment; no network, and no address of an index.

    Raises
    ------
    SpecError
        If a distribution is not installed here.

    Examples
    --------
    >>> "msgspec==" in requirements([])
    True
    """
    roots = {canonicalize_name(Requirement(line).name) for line in needed}
    pinned: dict[str, str] = {}
    for root in ("ekiben", *sorted(roots)):
        _close_over(root, pinned)
    wheel = f"./wheels/{wheel_name()}"
    lines = [f"{LEANER.get(name, name)}=={number}" for name, number in sorted(pinned.items()) if name != "ekiben"]
    head = f"# Locked for Python {sys.version_info.major}.{sys.version_info.minor} to the versions in which the service was proved."
    return "\n".join([head, wheel, *lines]) + "\n"


def _close_over(name: str, pinned: dict[str, str], extras: frozenset[str] = frozenset()) -> None:
    """Collect a distribution and all that it needs, at the versions that are installed."""
    key = canonicalize_name(name)
    if key.startswith(GPU_ONLY) or (key in UNUSED and pinned):  # one that was asked for by itself stays
        return
    seen = key in pinned
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise SpecError(
            f"A service's requirements must be installed here. {name} is not. Run: pip install {name}"
        ) from None
    pinned[key] = found.version
    if seen and not extras:
        return
    for needed in _needs(found, extras):
        if canonicalize_name(needed.name) not in pinned or needed.extras:
            _close_over(needed.name, pinned, frozenset(needed.extras))


def _needs(found: importlib.metadata.Distribution, extras: frozenset[str]) -> Iterator[Requirement]:
    for line in found.requires or []:
        requirement = Requirement(line)
        wanted = [{"extra": extra} for extra in (extras or {""})]
        if requirement.marker is None or any(requirement.marker.evaluate(environment) for environment in wanted):
            yield requirement


def write(folder: Path, needed: Iterable[str]) -> None:
    """Write the wheel, the locked requirements, and `uv.toml` where one of them needs it, into a service's folder."""
    wanted = list(needed)
    write_wheel(folder / "wheels")
    (folder / "requirements.txt").write_text(requirements(wanted))
    (folder / "uv.toml").unlink(missing_ok=True)
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
    contents = {f"ekiben/{path.relative_to(root).as_posix()}": path.read_bytes() for path in sorted(_sources(root))}
    contents[f"{info}/METADATA"] = (found.read_text("METADATA") or "").encode()
    contents[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: ekiben\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents[f"{info}/entry_points.txt"] = (found.read_text("entry_points.txt") or "").encode()
    record = [f"{name},sha256={_urlsafe(data)},{len(data)}" for name, data in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    folder.mkdir(exist_ok=True)
    for old in folder.glob("ekiben-*.whl"):
        old.unlink()
    with zipfile.ZipFile(folder / wheel_name(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(_entry(name), data)
    return folder / wheel_name()


def _sources(root: Path) -> Iterator[Path]:
    return (
        path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts
    )


def _entry(name: str) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    made.external_attr = 0o644 << 16
    made.compress_type = zipfile.ZIP_DEFLATED
    return made


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
