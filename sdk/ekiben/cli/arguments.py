"""What the verbs of the shell share: arguments by name, and answers as words or as JSON."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import ekiben
from ekiben.errors import SpecError

if TYPE_CHECKING:
    from ekiben.packages import Package

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Folder = Annotated[Path, typer.Argument(help="A service's folder, as `ekiben scaffold` writes it.")]


def tell(as_json: bool, document: dict[str, Any], words: str) -> None:
    """Print what a verb found, for a program or for people."""
    typer.echo(json.dumps(document, default=str) if as_json else words)


def object_at(path: str) -> Any:
    """Import an object that is named as `module:object`."""
    module, _, name = path.partition(":")
    module = module.removesuffix(".py")
    if not name or "/" in module or not all(module.split(".")):
        raise SpecError(f"An object is named as module:object, such as train:pipeline. Got {path!r}.")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as missing:
        if missing.name is None or not f"{module}.".startswith(f"{missing.name}."):
            raise  # the module is there, and asks for one that is not
        raise SpecError(
            f"The module {module!r} must be importable from this folder. It is not: no {module}.py here."
        ) from None
    except AttributeError:
        raise SpecError(f"The module {module!r} must hold {name!r}. It does not.") from None


def pair_at(path: str) -> tuple[Any, Any]:
    """Import rows and labels that are named as `module:rows,labels`."""
    module, _, names = path.partition(":")
    rows, _, labels = names.partition(",")
    if not labels:
        raise SpecError(f"Held-out data is named as module:rows,labels, such as train:X_test,y_test. Got {path!r}.")
    return object_at(f"{module}:{rows}"), object_at(f"{module}:{labels}")


def package_at(place: str) -> Package:
    """Load a package from its folder, or fetch it by its version or alias."""
    return ekiben.fetch(place) if place.startswith("models:/") else ekiben.load(place)


def assignments(texts: Sequence[str], option: str) -> dict[str, str]:
    """Read several `name=value`, each name once."""
    found: dict[str, str] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign:
            raise SpecError(f"{option} takes name=value. Got {text!r}.")
        if key in found:
            raise SpecError(f"{option} takes each name once. Got {key!r} twice.")
        found[key] = value
    return found


def number(text: str, option: str) -> float:
    """Read the number of an option."""
    try:
        return float(text)
    except ValueError:
        raise SpecError(f"{option} takes a number. Got {text!r}.") from None
