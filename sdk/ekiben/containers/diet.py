"""What an image must hold for what it serves, and why: an arm that has a plan needs no library of models."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ekiben import explainers, packages, pinning, spec
from ekiben.compiling.forest import Forest
from ekiben.compiling.nodes.trees import are_taken
from ekiben.distributions import GPU_ONLY, LEANER, UNUSED
from ekiben.packages import Package

# Of what ekiben names for everybody, what only an arm without a plan, or tables, are asked with.
FOR_FRAMES = ("pandas",)
# Of what a library asks for, what it needs for other work than serving: a command line, model cards, making models.
NOT_SERVED = {
    "bentoml": ("rich-toolkit",),
    "ekiben": ("typer",),
    "onnxruntime": ("flatbuffers", "protobuf"),
    "skops": ("prettytable",),
}
LEAVE_ROWS = ("neighbours",)  # steps of a plan that have no answer for some rows, where the model has one
GPU = "gpu"  # the reason for what only graphics cards are asked with
ENGINE = "onnxruntime"  # what answers the trees of a plan where the inner loops do not
NOBODY = "no arm, method or protocol of the bento asks for it"
BY_LOOPS = "ekiben's own loops answer the trees"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diet:
    """What is needed, by name, with every reason; and what the lock names and the image leaves out.

    Parameters
    ----------
    needed
        Distribution → reasons, such as `ekiben`, `arm champion (its model)` or `tables`.
    left_out
        Distribution → why nothing asks for it.
    by_plan
        The arms that are answered and explained by their plans alone.
    """

    needed: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str]
    by_plan: tuple[str, ...]


def roots(
    source: Path, *, models: Path | None = None, without: Collection[str] = (), loops: bool = False
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Name what a bento needs beside ekiben itself, with the reasons, and the arms that their plans suffice.

    Parameters
    ----------
    source
        A bento's folder.
    models
        Where its models lie; by default in it.
    without
        Methods of explaining that are left out.
    loops
        Whether the image has the inner loops, so that trees need no other engine.
    """
    described, pins = spec.read(source / "src"), pinning.read(source / "src").pins
    methods = [name for name in described.explain.methods if name not in without]
    found: dict[str, list[str]] = {}
    by_plan = []
    for arm in described.arms:
        package = package_of(models or source / "models", pins[arm].tag, pins[arm].digest)
        if needs_its_plan_alone(package, methods, without):
            by_plan.append(arm)
            _add(found, engine(package, loops=loops), f"arm {arm} (its plan)")
        else:
            reason = f"arm {arm} ({_why(package, methods)})"
            more = [name for method in methods for name in explainers.requirements(method)]
            _add(found, [*beside_the_plan(package, loops=loops), *FOR_FRAMES, *more], reason)
    if described.tables:
        _add(found, ["pyarrow", *FOR_FRAMES], "tables")
    if described.records.to == "postgres":
        _add(found, ["asyncpg"], "records")
    return found, tuple(by_plan)


def methods_of(source: Path, models: Path) -> dict[str, tuple[str, ...]]:
    """Name each method of explaining that a bento has, and the arms that it is packed with or may be asked of."""
    described, pins = spec.read(source / "src"), pinning.read(source / "src").pins
    found = dict.fromkeys(described.explain.methods, tuple(described.arms))
    for arm in described.arms:
        packed = package_of(models, pins[arm].tag, pins[arm].digest).method
        found[packed] = tuple(sorted({*found.get(packed, ()), arm}))
    return found


def package_of(models: Path, tag: str, digest: str) -> Package:
    """Load a package of a bento's models, its bytes verified; the digest that the contract pins is the word of who deploys."""
    name, _, version = tag.partition(":")
    folder = models / name / version / "package"
    return packages.build(folder, packages.verify(folder), trust=digest)


def needs_its_plan_alone(package: Package, methods: Sequence[str] = (), without: Collection[str] = ()) -> bool:
    """Tell whether a package answers and explains by its plan, whatever it is asked, with no library of models beside it."""
    if methods or package.plan is None or package.plan.native or asks_the_model(package.plan.document):
        return False
    return package.method in without or package.explains_by_plan


def asks_the_model(document: Any) -> bool:
    """Tell whether a plan leaves some rows to the model, such as those whose nearest neighbours are as near as others.

    >>> asks_the_model({"outputs": [{"core": {"op": "neighbours"}}]}), asks_the_model({"op": "linear"})
    (True, False)
    """
    if isinstance(document, Mapping):
        return document.get("op") in LEAVE_ROWS or any(map(asks_the_model, document.values()))
    return isinstance(document, list | tuple) and any(map(asks_the_model, document))


def _why(package: Package, methods: Sequence[str]) -> str:
    if package.plan is None:
        return "its model: it has no plan"
    if package.plan.native:
        return "steps of its plan are the model's own"
    if asks_the_model(package.plan.document):
        return "its plan leaves some rows to the model"
    return f"its explanations: {', '.join(methods) or package.method}"


def engine(package: Package, *, loops: bool) -> list[str]:
    """Name what the trees of a plan need beside ekiben; nothing where it has none, or where the inner loops answer them."""
    named = {canonicalize_name(Requirement(line).name) for line in package.manifest["requirements"]}
    return [ENGINE] if ENGINE in named and not (loops and are_all_taken(package)) else []


def beside_the_plan(package: Package, *, loops: bool) -> list[str]:
    """Give what a package asks for, without the engine of its trees where the inner loops answer them.

    What carries code of the user's or types of other libraries may ask for that engine itself.
    """
    told: list[str] = package.manifest["requirements"]
    if not loops or package.manifest["carries"] or not are_all_taken(package):
        return told
    return [line for line in told if canonicalize_name(Requirement(line).name) != ENGINE]


def are_all_taken(package: Package) -> bool:
    """Tell whether the inner loops answer every tree of a package's plan."""
    return package.plan is not None and all(map(are_taken, forests(package.plan.document)))


def forests(document: Any) -> Iterator[Forest]:
    """Give the trees of a plan's document."""
    if isinstance(document, Forest):
        yield document
    elif isinstance(document, Mapping):
        yield from forests(list(document.values()))
    elif isinstance(document, list | tuple):
        for each in document:
            yield from forests(each)


def _add(found: dict[str, list[str]], lines: Iterable[str], reason: str) -> None:
    for line in lines:
        name = canonicalize_name(Requirement(line).name)
        reasons = found.setdefault(name, [])
        if reason not in reasons:
            reasons.append(reason)


def plan(
    locked: Iterable[str],
    wanted: Mapping[str, Sequence[str]],
    by_plan: tuple[str, ...],
    needs: Callable[[str], Iterable[str]],
) -> Diet:
    """Follow what is wanted through what each distribution needs, as far as the lock goes.

    Parameters
    ----------
    locked
        Every name of the lock.
    wanted
        Where to begin, beside ekiben: name → reasons.
    by_plan
        The arms that need their plans alone.
    needs
        Gives the names that a distribution needs; `ekiben` is asked for as well.

    Examples
    --------
    >>> needed = {"ekiben": ["numpy", "pandas"], "scikit-learn": ["scipy"]}
    >>> found = plan(["numpy", "pandas", "scipy"], {}, ("champion",), lambda name: needed.get(name, []))
    >>> dict(found.needed), sorted(found.left_out)
    ({'numpy': ('ekiben',)}, ['pandas', 'scipy'])
    """
    every = set(locked)
    found: dict[str, list[str]] = {}
    for name in _served("ekiben", needs):
        if name not in FOR_FRAMES:
            _follow(name, "ekiben", found, every, needs)
    for name, reasons in wanted.items():
        for reason in reasons:
            _follow(name, reason, found, every, needs)
    left = {name: BY_LOOPS if name == ENGINE else NOBODY for name in sorted(every - found.keys())}
    return Diet(needed={name: tuple(found[name]) for name in sorted(found)}, left_out=left, by_plan=by_plan)


def _follow(
    name: str, reason: str, found: dict[str, list[str]], every: set[str], needs: Callable[[str], Iterable[str]]
) -> None:
    asked = [name]
    while asked:
        each = asked.pop()
        each = each if each in every else LEANER.get(each, each)  # the lock says which of two that are alike
        why = GPU if each.startswith(GPU_ONLY) else reason
        if each not in every or why in found.get(each, ()) or each in UNUSED:
            continue
        found.setdefault(each, []).append(why)
        asked += _served(each, needs)


def _served(name: str, needs: Callable[[str], Iterable[str]]) -> list[str]:
    """Give what a distribution needs to serve."""
    return [each for each in needs(name) if each not in NOT_SERVED.get(name, ())]


def everything(locked: Iterable[str]) -> Diet:
    """Give what the lock names, all of it.

    >>> everything(["numpy"]).needed
    {'numpy': ('locked',)}
    """
    return Diet(needed=dict.fromkeys(sorted(locked), ("locked",)), left_out={}, by_plan=())
