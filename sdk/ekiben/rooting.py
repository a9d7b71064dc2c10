"""Make the paths that the environment names whole, where a service is started: it runs in the folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PATHS = (
    "EKIBEN_HOME",
    "EKIBEN_KEYS_FILE",
    "EKIBEN_RECORDS",
    "EKIBEN_RECORDS_DSN_FILE",
    "EKIBEN_ROUTE_FILE",
    "EKIBEN_TICKETS",
)
OFF = "off"


def rooted(environment: Mapping[str, str]) -> dict[str, str]:
    """Give what must be said instead of the paths that lead from this process's folder.

    >>> told = rooted({"EKIBEN_KEYS_FILE": "keys.toml", "EKIBEN_RECORDS": "off", "EKIBEN_HOME": "/srv", "HOME": "here"})
    >>> {name: path == str(Path("keys.toml").absolute()) for name, path in told.items()}
    {'EKIBEN_KEYS_FILE': True}
    """
    told = {name: environment.get(name, "") for name in PATHS}
    return {
        name: str(Path(path).absolute())  # a link in it stays one, and may lead elsewhere tomorrow
        for name, path in told.items()
        if path.strip() and path != OFF and not Path(path).is_absolute()
    }
