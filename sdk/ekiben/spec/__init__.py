"""Read `ekiben.toml`, which says what one bento serves."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from ekiben.errors import NotFoundError, SpecError, nearest
from ekiben.refs import parse
from ekiben.routing import Route, shown
from ekiben.spec import rules
from ekiben.spec.parts import TABLES, Budgets, Containers, Explain, Limits, Log, Records, Unit, parse_unit
from ekiben.spec.service import FORMAT, ServiceSpec, faults, faults_of_rerouting

__all__ = [
    "FILE",
    "FORMAT",
    "Budgets",
    "Containers",
    "Explain",
    "Limits",
    "Log",
    "Records",
    "ServiceSpec",
    "Unit",
    "loads",
    "parse_unit",
    "read",
    "rerouted",
]

FILE = "ekiben.toml"


def read(path: str | PathLike[str]) -> ServiceSpec:
    """Read the spec of a bento's folder, or of a file.

    Raises
    ------
    NotFoundError
        If there is no such file.
    SpecError
        If the file says what cannot be; the message lists every fault.

    Examples
    --------
    >>> read("bentos/nowhere")
    Traceback (most recent call last):
    ...
    ekiben.errors.NotFoundError: A bento's folder must have a file ekiben.toml. Got 'bentos/nowhere', which has none. \
To make one, run: ekiben scaffold bentos/nowhere
    """
    if not isinstance(path, str | PathLike):
        raise SpecError(
            f"What is read must be a service's folder, as ek.scaffold writes it. Got {type(path).__name__}."
        )
    given = Path(path)
    file = given if given.suffix == ".toml" and not given.is_dir() else given / FILE
    if not file.is_file():
        folder = file.parent
        make = f" To make one, run: ekiben scaffold {shlex.quote(str(folder))}"
        raise NotFoundError(
            f"A bento's folder must have a file {file.name}. Got {str(folder)!r}, which has none.{beside(folder) or make}"
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{file} must be text in UTF-8. Got {error}. Save it again as UTF-8.") from error
    return loads(text, source=str(file))


def beside(folder: Path) -> str:
    """Suggest the service whose folder lies beside one that is none and has nearly its name, or nothing."""
    return nearest(folder.name, sorted(file.parent.name for file in folder.parent.glob(f"*/{FILE}")))


def loads(text: str, *, source: str = FILE) -> ServiceSpec:
    """Read a spec from TOML.

    Parameters
    ----------
    text
        What `ekiben.toml` holds.
    source
        The file to name in an error.

    Raises
    ------
    SpecError
        If the text says what cannot be; the message lists every fault.

    Examples
    --------
    >>> spec = loads('''
    ... format = 1
    ... name = "credit_risk"
    ... [arms]
    ... champion = "models:/credit_risk/1"
    ... ''')
    >>> str(spec.route)
    'champion 100 %'
    """
    document = _parsed(text, source)
    _refuse_the_future(source, document.get("format"))
    rules.refuse(source, faults(document))
    return _spec(document)


def rerouted(spec: ServiceSpec, text: str, *, source: str) -> ServiceSpec:
    r"""Give a spec the route of another file, which holds the table `[route]` alone.

    Raises
    ------
    SpecError
        If the text holds anything else, or a route that does not fit the arms.

    Examples
    --------
    >>> both = {arm: parse(f"models:/risk/{i}") for i, arm in enumerate(("old", "new"), 1)}
    >>> spec = ServiceSpec(name="risk", arms=both, route=Route({"old": 1}))
    >>> str(rerouted(spec, "[route]\nweights = { old = 3, new = 1 }", source="route.toml").route)
    'old 75 % · new 25 %'
    """
    document = _parsed(text, source)
    rules.refuse(source, faults_of_rerouting(document, spec))
    return replace(spec, route=_route_of(document))


def _parsed(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{source} must be TOML. Got: {error}.") from error


def _refuse_the_future(source: str, given: object) -> None:
    # Alone, before any other fault: a newer format may well hold keys that this one does not know.
    if type(given) is int and given > FORMAT:
        raise SpecError(
            f"{source} must have format {FORMAT}. Got {shown(given)}: it was written by a newer ekiben. "
            "To read it, run: pip install --upgrade ekiben"
        )


def _spec(document: Mapping[str, Any]) -> ServiceSpec:
    told = {key: value for key, value in document.items() if key != "format"}
    told |= {key: kind(**told[key]) for key, kind in TABLES.items() if key in told}
    if "unit" in told:
        told["unit"] = parse_unit(told["unit"])
    told["arms"] = {arm: parse(ref) for arm, ref in told["arms"].items()}
    return ServiceSpec(**(told | {"route": _route_of(document)}))


def _route_of(document: Mapping[str, Any]) -> Route:
    if "route" not in document:  # then there is one arm
        return Route(dict.fromkeys(document["arms"], 1.0))
    return Route(**document["route"])
