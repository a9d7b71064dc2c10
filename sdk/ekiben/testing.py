"""Helpers for the tests of your own services: the same laws that `ek.check` tries, one test each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ekiben import checks, pinning, running, spec, storing
from ekiben.checks.laws import HTTP_LAWS, LAWS
from ekiben.checks.subjects import Law
from ekiben.errors import NotFoundError
from ekiben.running import Server

__all__ = ["BoundLaw", "laws", "server"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundLaw:
    """One law of one arm, to be tried when its test runs."""

    law: Law
    arm: str
    folder: Path
    subjects: Callable[[Path], list[checks.Subject]]

    def must_hold(self) -> None:
        """Try the law; `AssertionError` says what is broken."""
        subject = next(subject for subject in self.subjects(self.folder) if subject.arm == self.arm)
        finding = checks.examine(self.law, subject)
        assert finding.state != "broken", f"{finding.law} {finding.facts}"

    def __str__(self) -> str:
        return f"{self.arm}-{self.law.__name__}"


def laws(folder: str | Path) -> list[BoundLaw]:
    """Give every law of a service's folder, for `pytest.mark.parametrize`.

    Raises
    ------
    NotFoundError
        If there is no service in the folder.

    Examples
    --------
    >>> laws("no/such/folder")
    Traceback (most recent call last):
    ...
    ekiben.errors.NotFoundError: ...
    """
    target = Path(folder)
    described = spec.read(target)
    _models_are_here(target, described)
    answering = [arm for arm in described.arms if described.route.share(arm) > 0]
    bound = [BoundLaw(law=law, arm=arm, folder=target, subjects=_packages) for arm in described.arms for law in LAWS]
    return bound + [
        BoundLaw(law=law, arm=arm, folder=target, subjects=_over_http) for arm in answering for law in HTTP_LAWS
    ]


def _models_are_here(folder: Path, described: spec.ServiceSpec) -> None:
    """Fail once, when tests are collected, and not in each of them."""
    for arm, pin in pinning.read(folder).pins.items():
        if not storing.holds(pin.tag):
            remake = described.remake or f"ekiben pin {folder}"
            raise NotFoundError(f"{pin.tag} of the arm {arm!r} must be in BentoML's store. It is not. Run: {remake}")


@cache
def server(folder: str | Path) -> Server:
    """Start the folder's service once for all tests of this process; it ends with them."""
    return running.serve(Path(folder), environment=running.TRIED)


@cache
def _packages(folder: Path) -> list[checks.Subject]:
    return checks.package_subjects(folder)


@cache
def _over_http(folder: Path) -> list[checks.Subject]:
    return checks.http_subjects(folder, server(folder))
