"""Write the folder of a service: plain BentoML, the user's to edit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from ekiben import cards, compatibility, explainers, locking, pinning, routing, spec, storing, tracking
from ekiben.errors import EkibenError, NotFoundError, SpecError, nearest
from ekiben.packages import Package
from ekiben.pinning import Contract, Pin
from ekiben.refs import ModelRef, parse
from ekiben.routing import Route
from ekiben.schema import Schema
from ekiben.sealing import MANIFEST
from ekiben.spec import ServiceSpec
from ekiben.spec.writing import dumps
from ekiben.values import misfit

Arm = Package | ModelRef | str
# what a service may be told beside the arguments that `scaffold` names
SETTINGS = sorted({each.name for each in fields(ServiceSpec)} - {"name", "arms", "route", "unit", "remake"})


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
    if not hasattr(arms, "items") or not arms:
        got = "none" if hasattr(arms, "items") else type(arms).__name__
        raise SpecError(
            f"The 'arms' must name at least one package or version: arms={{'champion': package}}. Got {got}."
        )
    for setting in settings:
        if setting not in SETTINGS:
            known = ", ".join(SETTINGS)
            raise SpecError(f"A setting must be one of {known}. Got {setting!r}.{nearest(setting, SETTINGS)}")
    if faults := [fault for arm in arms for fault in routing.faults_of_arm(arm)]:
        raise SpecError("\n".join(faults))
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
        raise SpecError(
            f"The 'folder' must be new, empty, or hold a service of ekiben. Got {str(target)!r}, which holds other files."
        )


def _the_only(arms: tuple[str, ...]) -> Route:
    if len(arms) > 1:
        first, second = arms[:2]
        raise SpecError(
            f"More than one arm needs a 'route', such as ek.canary(stable={first!r}, canary={second!r}, percent=10). Got none."
        )
    return routing.only(arms[0])


def _package(given: Arm) -> tuple[ModelRef, Package]:
    """Give the pinned reference of an arm, and its package."""
    if isinstance(given, Package):
        return given.ref, given
    if not isinstance(given, str | ModelRef):
        raise SpecError(
            f"An arm must be a package, a version or an alias. Got {type(given).__name__}. Pack it: ek.pack(model, …)"
        )
    if isinstance(given, str) and (Path(given) / MANIFEST).is_file():
        raise SpecError(
            f"An arm must be a package, a version or an alias. Got the folder {given!r}. Load it: ek.load({given!r})"
        )
    ref = parse(given) if isinstance(given, str) else given
    if ref.digest is not None:
        return ref, _stored(ref)
    pinned = tracking.resolve(ref)
    return pinned, tracking.fetch(pinned)


def _stored(ref: ModelRef) -> Package:
    tag = storing.tag_of(ref.name, str(ref.digest))
    if not storing.holds(tag):
        raise NotFoundError(
            f"{ref} was never logged, and is not in BentoML's store. Pack it again, or log it: ek.log(package)."
        )
    return storing.get(tag)


def _contract(packages: Mapping[str, Package], described: ServiceSpec) -> Contract:
    """Join the arms' contracts into what the service can promise."""
    first, *others = packages.items()
    signature = first[1].signature
    for arm, package in others:
        if package.signature.outputs != signature.outputs:
            raise SpecError(
                f"The arms of one service must answer alike. {first[0]!r} gives {_says(first[1])}, {arm!r} gives {_says(package)}. "
                f"{_remedy(first[1], package)}"
            )
        signature = replace(signature, inputs=compatibility.union(signature.inputs, package.schema))
    pins = {
        arm: Pin(ref=str(described.arms[arm]), tag=storing.put(package), digest=package.digest)
        for arm, package in packages.items()
    }
    row, answer = _example(packages, signature.inputs)
    takers = compatibility.takers({arm: package.schema for arm, package in packages.items()})
    _unit_is_no_alias(described, signature.inputs)
    return Contract(signature=signature, pins=pins, row=row, answer=answer, takers=takers)


def _example(packages: Mapping[str, Package], promised: Schema) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give a real row that every arm takes, the other arms' columns from their own examples, and the first arm's answer."""
    first, *others = packages.values()
    beside = {name: value for other in reversed(others) for name, value in other.examples[0]["row"].items()}
    whole = [({**beside, **example["row"]}, example["answer"]) for example in first.examples]
    fits = (pair for pair in whole if all(misfit(column, pair[0][column.name]) is None for column in promised))
    row, answer = next(fits, whole[0])
    return {name: row[name] for name in promised.names}, answer


def _unit_is_no_alias(described: ServiceSpec, promised: Schema) -> None:
    if described.unit is not None and described.unit.source == "field" and described.unit.name in promised.aliases:
        raise SpecError(
            f"The 'unit' must not be the alias of a column. Got {described.unit.name!r}, which stands for "
            f"{promised.aliases[described.unit.name]!r}. Take another alias: ek.contract(X).edit(…, alias=…)"
        )


def _remedy(*packages: Package) -> str:
    parts = {output.parts for package in packages for output in package.signature.outputs}
    if parts == {("label",), ("label", "scores")}:
        return "Give both scores: CalibratedClassifierCV(model) makes them for a model that has none."
    return "Give both the same labels in the same order."


def _says(package: Package) -> str:
    told = []
    for output in package.signature.outputs:
        parts = " and ".join(f"a {part}" for part in output.parts if part != "scores")
        what = f"scores of {list(output.classes)}" if output.classes and "scores" in output.parts else parts
        told.append(f"{output.name}: {what}" if output.name else what)
    return ", ".join(told)


# ── the files ───────────────────────────────────────────────────────────────────────────────────────────────────


def _write(target: Path, described: ServiceSpec, made: Contract, packages: Mapping[str, Package]) -> None:
    (target / "tests").mkdir(parents=True, exist_ok=True)
    if not _says_already(target, described):
        (target / spec.FILE).write_text(dumps(described))
    pinning.write(made, target)
    words = {"name": described.name, "Class": "".join(part.title() for part in described.name.split("_"))}
    if not (target / "service.py").exists():
        (target / "service.py").write_text(_template("service.py", words))
    (target / "bentofile.yaml").write_text(_template("bentofile.yaml", words))
    (target / "tests" / "test_laws.py").write_text(_template("test_laws.py", words))
    (target / "README.md").write_text(_readme(described, packages, made))
    locking.write(target, [*described.requirements, *_needs(packages, described.explain.methods)], gpu=described.gpu)


def _says_already(target: Path, described: ServiceSpec) -> bool:
    """Tell whether the folder's own file says the same: then its comments stay."""
    try:
        return spec.read(target) == described
    except EkibenError:
        return False


def _needs(packages: Mapping[str, Package], methods: Iterable[str]) -> list[str]:
    lines = [line for package in packages.values() for line in package.manifest["requirements"]]
    return [*lines, *(name for method in methods for name in explainers.requirements(method))]


def _template(name: str, words: Mapping[str, str]) -> str:
    return Template((files("ekiben") / "templates" / f"{name}.txt").read_text()).substitute(words)


def _readme(described: ServiceSpec, packages: Mapping[str, Package], made: Contract) -> str:
    arms = "\n".join(
        f"- `{arm}`: {described.arms[arm]}, {described.route.share(arm):.0%} of the units" for arm in packages
    )
    shown = [
        cards.markdown(p.manifest, p.signature, title=f"{arm}: {described.arms[arm]}") for arm, p in packages.items()
    ]
    usage = "```\nbentoml serve        # on http://127.0.0.1:3000\npytest               # the laws that this service keeps\nbentoml build        # a bento\n```\n"
    return f"# {described.name}\n\n{arms}\n\n{usage}\n{_apart(packages, made)}" + "\n".join(shown)


def _apart(packages: Mapping[str, Package], made: Contract) -> str:
    """Tell where the arms' contracts differ: nothing when they do not."""
    (first, package), *others = packages.items()
    changes = {arm: compatibility.compare(package.schema, other.schema) for arm, other in others}
    lines = [f"- Only {' and '.join(f'`{arm}`' for arm in arms)} takes `{name}`." for name, arms in made.takers.items()]
    for arm, change in changes.items():
        told = [difference for difference in change.differences if difference.what != "column"]
        lines += [f"- From `{first}` to `{arm}`, {difference.verdict}: {difference.sentence}" for difference in told]
    if not lines:
        return ""
    words = "Every row must bring the columns of all arms; each arm is given its own."
    return f"## Where the arms differ\n\n{words}\n\n" + "\n".join(lines) + "\n\n"
