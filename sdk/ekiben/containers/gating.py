"""The gate that lets no part with an unknown or forbidding licence into an image, unless it is allowed by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from packaging.utils import canonicalize_name

from ekiben.containers.licences import Licence, of_wheel
from ekiben.errors import BuildError, SpecError

MOST_TOLD = 20


def gate(
    wheels: Iterable[Path],
    *,
    base: Iterable[Licence] = (),
    allow: Mapping[str, str] | None = None,
    may: Mapping[str, str] | None = None,
) -> tuple[Licence, ...]:
    """Read the licence of every wheel, and refuse each part of an image that may not be there, unless it is allowed.

    Of Python what is neither permissive nor weak copyleft is refused; of Debian what forbids some uses.

    Parameters
    ----------
    wheels
        What an image installs.
    base
        The licences of the packages that its base holds.
    allow
        Parts that are let through all the same, each with the reason.
    may
        The same, but they need not be there: what a spec says for every image of its service.

    Returns
    -------
    Every licence, Python's first, by name.

    Raises
    ------
    SpecError
        If a reason is empty, or what is allowed is not there.
    BuildError
        If a licence is refused, with every such part.

    Examples
    --------
    >>> gate([])
    ()
    """
    found = [*sorted(map(of_wheel, wheels), key=_name), *sorted(base, key=_name)]
    allowed = _by_name(allow or {})
    if silent := sorted(name for name, reason in allowed.items() if not reason):
        raise SpecError(f"A licence is allowed with a reason. There is none for {', '.join(silent)}.")
    if absent := sorted(allowed.keys() - {canonicalize_name(each.name) for each in found}):
        raise SpecError(f"What is allowed must be in the image. {', '.join(absent)} is not. Take it off the list.")
    judged = tuple(_judged(each, _by_name(may or {}) | allowed) for each in found)
    if refused := [each for each in judged if not each.passes]:
        raise BuildError(_refusal(refused))
    return judged


def _name(found: Licence) -> str:
    return found.name


def _by_name(reasons: Mapping[str, str]) -> dict[str, str]:
    return {canonicalize_name(name): reason.strip() for name, reason in reasons.items()}


def _judged(found: Licence, allowed: Mapping[str, str]) -> Licence:
    reason = allowed.get(canonicalize_name(found.name))
    return found if found.passes or reason is None else replace(found, allowed=reason)


def _refusal(refused: list[Licence]) -> str:
    first = refused[0].name
    more = f"; and {len(refused) - MOST_TOLD} more" if len(refused) > MOST_TOLD else ""
    return (
        "An image must hold parts whose licences let it serve: permissive ones, or weak copyleft used as a library. "
        f"Got {'; '.join(map(str, refused[:MOST_TOLD]))}{more}. Drop the arm or method that needs it, take another base, or "
        f"allow it by name with a reason: --allow-licence '{first}=bought, contract 17', or in ekiben.toml, below "
        f'[containers.allow_licences], {first} = "bought, contract 17".'
    )
