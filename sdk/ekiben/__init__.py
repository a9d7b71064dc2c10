"""From a notebook model to a BentoML service that is explained, split, tested and proved.

>>> import ekiben as ek
>>> ek.canary(stable="champion", canary="challenger", percent=10).share("challenger")
0.1
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ekiben.building import build
    from ekiben.checks import check
    from ekiben.client import connect
    from ekiben.containers.accounting import Accounts
    from ekiben.containers.containerizing import containerize
    from ekiben.containers.forecasting import forecast
    from ekiben.containers.vendoring import vendor
    from ekiben.deploying import manifests
    from ekiben.errors import EkibenError
    from ekiben.exporting import export
    from ekiben.learning import contract
    from ekiben.packages import Package, load
    from ekiben.packing import pack
    from ekiben.recalling import records
    from ekiben.reproducing import reproduce
    from ekiben.routing import Route, canary, only, shadow, split
    from ekiben.running import serve
    from ekiben.scaffolding import pin, scaffold
    from ekiben.spec import Budgets, Limits
    from ekiben.tracking import fetch, log
    from ekiben.trusting import trust
    from ekiben.verifying import verify

__version__ = version("ekiben")

# the public names → the module that each is loaded from on first use, so that `import ekiben` imports no framework
_HOMES = {
    "Accounts": "containers.accounting",
    "Budgets": "spec",
    "EkibenError": "errors",
    "Limits": "spec",
    "Package": "packages",
    "Route": "routing",
    "build": "building",
    "canary": "routing",
    "check": "checks",
    "connect": "client",
    "containerize": "containers.containerizing",
    "contract": "learning",
    "export": "exporting",
    "fetch": "tracking",
    "forecast": "containers.forecasting",
    "load": "packages",
    "log": "tracking",
    "manifests": "deploying",
    "only": "routing",
    "pack": "packing",
    "pin": "scaffolding",
    "records": "recalling",
    "reproduce": "reproducing",
    "scaffold": "scaffolding",
    "serve": "running",
    "shadow": "routing",
    "split": "routing",
    "trust": "trusting",
    "vendor": "containers.vendoring",
    "verify": "verifying",
}

__all__ = [
    "Accounts",
    "Budgets",
    "EkibenError",
    "Limits",
    "Package",
    "Route",
    "build",
    "canary",
    "check",
    "connect",
    "containerize",
    "contract",
    "export",
    "fetch",
    "forecast",
    "load",
    "log",
    "manifests",
    "only",
    "pack",
    "pin",
    "records",
    "reproduce",
    "scaffold",
    "serve",
    "shadow",
    "split",
    "trust",
    "vendor",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        from ekiben.errors import nearest

        raise AttributeError(f"module 'ekiben' has no attribute {name!r}.{nearest(name, __all__)}")
    return getattr(importlib.import_module(f"ekiben.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
