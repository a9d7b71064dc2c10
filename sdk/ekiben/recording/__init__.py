"""One decision, one record: on its way to the disk before its answer leaves, so that a process that is killed loses none."""

from __future__ import annotations

import os
from pathlib import Path

HOME = "EKIBEN_RECORDS"  # the folder in which each service has its own; `off` records nothing, whatever the spec says


def home() -> Path:
    """Give the folder in which each service has the folder of its records."""
    own = os.environ.get(HOME)
    return Path(own) if own else Path(os.environ.get("EKIBEN_HOME") or Path.home() / ".ekiben") / "records"
