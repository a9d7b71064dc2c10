"""Write the folder of a service: plain BentoML, the user's to edit."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ekiben import cards, contract, routing, schema, spec, storing, tracking
from ekiben.contract import Contract, Pin
from ekiben.errors import NotFoundError, SpecError
from ekiben.packing import Package
from ekiben.refs import ModelRef, parse
from ekiben.routing import Route
from ekiben.spec import ServiceSpec

Arm = Package | ModelRef | str

# What a training machine has → what a server needs: the same import name, without the code for graphics cards.
LEANER = {"xgboost": "xgboost-cpu"}
GPU_ONLY = ("nvidia-",)


def scaffold(
    folder: str | Path,
    *,
    arms: Mapping[str, Arm],
    route: Route | None = None,
    unit: str | None = None,
    name: str | None = None,
    remake: str | None = None,
    **settings: Any,
) -> Path:
    """Write a service's folder, and put its models into BentoML's store.

    Parameters
    ----------
    folder
        Where; a folder that holds a service of ekiben is written again, but its `service.py` stays as it is.
    arms
        For each arm a package, a version (`models:/credit_risk/1`) or an alias, which is pinned to its version now.
    route
        Which arm answers: `ek.canary(…)`, `ek.split(…)`, `ek.shadow(…)`; may be left out when there is one arm.
    unit
        Who sticks to an arm: `customer_id` (a field), `header:x-customer-id` or `cookie:session`.
    name
        The service's name; by default the folder's.
    remake
        The command that makes these models again, shown when one is missing.
    settings
        Any other field of `ServiceSpec`, such as `workers=2` or `budgets=Budgets(…)`.

    Returns
    -------
    The folder.

    Raises
    ------
    SpecError
        If the parts do not fit: the arms' contracts differ, the route names an unknown arm, the folder is another's.
    NotFoundError
        If there is no such version or alias.
    """
    target = Path(folder)
    if not arms:
        raise SpecError('The \'arms\' must name at least one package or version: arms={"champion": package}. Got none.')
    _is_ours(target)
    packages = {arm: _package(given) for arm, given in arms.items()}
    described = ServiceSpec(
        name=name or re.sub(r"\W+", "_", target.resolve().name.lower()),
        arms={arm: ref for arm, (ref, _) in packages.items()},
        route=route or _the_only(tuple(arms)),
        unit=spec.parse_unit(unit) if unit else None,
        remake=remake,
        **settings,
    )
    made = _contract({arm: package for arm, (_, package) in packages.items()}, described)
    _write(target, described, made, {arm: package for arm, (_, package) in packages.items()})
    return target


def pin(folder: str | Path) -> Path:
    """Put the models that a folder's `ekiben.toml` names into BentoML's store, aliases pinned, and write its contract.

    Raises
    ------
    NotFoundError
        If a version is in no registry here, with what makes it again.
    """
    target = Path(folder)
    described = spec.read(target)
    packages = {}
    for arm, ref in described.arms.items():
        try:
            packages[arm] = _package(ref)
        except NotFoundError as reason:
            again = f" To make the models again, run: {described.remake}" if described.remake else ""
            raise NotFoundError(f"{reason}{again}") from reason
    pinned = replace(described, arms={arm: ref for arm, (ref, _) in packages.items()})
    bare = {arm: package for arm, (_, package) in packages.items()}
    _write(target, pinned, _contract(bare, pinned), bare)
    return target


def _is_ours(target: Path) -> None:
    if target.exists() and any(target.iterdir()) and not (target / spec.FILE).is_file():
        raise SpecError(f"The 'folder' must be new, empty, or hold a service of ekiben. Got {str(target)!r}, which holds other files.")


def _the_only(arms: tuple[str, ...]) -> Route:
    if len(arms) > 1:
        first, second = arms[:2]
        raise SpecError(f"More than one arm needs a 'route', such as ek.canary(stable={first!r}, canary={second!r}, percent=10). Got none.")
    return routing.only(arms[0])


def _package(given: Arm) -> tuple[ModelRef, Package]:
    """Give the pinned reference of an arm, and its package."""
    if isinstance(given, Package):
        return given.ref, given
    ref = parse(given) if isinstance(given, str) else given
    if ref.digest is not None:
        return ref, _stored(ref)
    pinned = tracking.resolve(ref)
    return pinned, tracking.fetch(pinned)


def _stored(ref: ModelRef) -> Package:
    tag = storing.tag_of(ref.name, str(ref.digest))
    if not storing.holds(tag):
        raise NotFoundError(f"{ref} was never logged, and is not in BentoML's store. Pack it again, or log it: ek.log(package).")
    return storing.get(tag)


def _contract(packages: Mapping[str, Package], described: ServiceSpec) -> Contract:
    """Join the arms' contracts into what the service can promise."""
    first, *others = packages.items()
    signature = first[1].signature
    for arm, package in others:
        if (package.signature.task, package.signature.classes) != (signature.task, signature.classes):
            raise SpecError(
                f"The arms of one service must answer alike. {first[0]!r} gives {_says(first[1])}, {arm!r} gives {_says(package)}. "
                "Give both the same labels in the same order."
            )
        signature = replace(signature, inputs=schema.union(signature.inputs, package.signature.inputs))
    pins = {
        arm: Pin(ref=str(described.arms[arm]), tag=storing.put(package), digest=package.digest)
        for arm, package in packages.items()
    }
    example = first[1].examples[0]
    return Contract(signature=signature, pins=pins, row=example["row"], answer=example["answer"])


def _says(package: Package) -> str:
    return str(list(package.signature.classes)) if package.signature.classes else "a value"


# ── the files ───────────────────────────────────────────────────────────────────────────────────────────────────


def _write(target: Path, described: ServiceSpec, made: Contract, packages: Mapping[str, Package]) -> None:
    (target / "tests").mkdir(parents=True, exist_ok=True)
    (target / spec.FILE).write_text(spec.dumps(described))
    contract.write(made, target)
    words = {"name": described.name, "Class": "".join(part.title() for part in described.name.split("_"))}
    if not (target / "service.py").exists():
        (target / "service.py").write_text(_template("service.py", words))
    (target / "bentofile.yaml").write_text(_template("bentofile.yaml", words))
    (target / "tests" / "test_laws.py").write_text(_template("test_laws.py", words))
    (target / "README.md").write_text(_readme(described, packages))
    write_wheel(target / "wheels")
    (target / "requirements.txt").write_text(_requirements(packages.values()))


def _template(name: str, words: Mapping[str, str]) -> str:
    return Template((files("ekiben") / "templates" / f"{name}.txt").read_text()).substitute(words)


def _readme(described: ServiceSpec, packages: Mapping[str, Package]) -> str:
    arms = "\n".join(f"- `{arm}`: {described.arms[arm]}, {described.route.share(arm):.0%} of the units" for arm in packages)
    shown = [cards.markdown(p.manifest, p.signature, title=f"{arm}: {described.arms[arm]}") for arm, p in packages.items()]
    usage = "```\nbentoml serve        # on http://127.0.0.1:3000\npytest               # the laws that this service keeps\nbentoml build        # a bento\n```\n"
    return f"# {described.name}\n\n{arms}\n\n{usage}\n" + "\n".join(shown)


# ── the environment ─────────────────────────────────────────────────────────────────────────────────────────────


def _requirements(packages: Any) -> str:
    """Lock what the arms need to the versions of this environment, in which they were proved."""
    roots = {canonicalize_name(Requirement(line).name) for package in packages for line in package.manifest["requirements"]}
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
    if key.startswith(GPU_ONLY):
        return
    seen = key in pinned
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise SpecError(f"A service's requirements must be installed here. {name} is not. Run: pip install {name}") from None
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
    return (path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts)


def _entry(name: str) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    made.external_attr = 0o644 << 16
    made.compress_type = zipfile.ZIP_DEFLATED
    return made


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
