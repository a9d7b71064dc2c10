"""Where a package comes from: the notebook, the commit, the run, the Python and the seeds; no name of a person or machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

SEEDS = ("random_seed", "random_state", "seed")  # as scikit-learn, XGBoost, LightGBM and CatBoost name them


def here() -> dict[str, Any]:
    """Tell the time, the environment, the notebook and its commit; whatever cannot be known is None.

    Examples
    --------
    >>> sorted(here())
    ['ekiben', 'git_commit', 'git_dirty', 'machine', 'mlflow_run', 'notebook', 'packed_at', 'platform', 'python']
    """
    notebook = _notebook()
    return {
        "packed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "ekiben": version("ekiben"),
        "python": platform.python_version(),
        "platform": platform.system(),
        "machine": platform.machine(),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": _is_dirty(notebook),
        "notebook": _relative(notebook) if notebook else None,
        "mlflow_run": os.environ.get("MLFLOW_RUN_ID") or None,  # as `mlflow run` sets it
    }


def _notebook() -> Path | None:
    """Find the notebook that runs this: Jupyter tells it in the environment, VS Code in the notebook's own names."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    told = os.environ.get("JPY_SESSION_NAME") or getattr(shell, "user_ns", {}).get("__vsc_ipynb_file__")
    return Path(told) if told else None


def _relative(notebook: Path) -> str:
    """Name a notebook from the root of its repository, or by its file's name: what is above is nobody's business."""
    root = _git("rev-parse", "--show-toplevel")
    if root is not None and notebook.is_absolute() and notebook.resolve().is_relative_to(Path(root).resolve()):
        return notebook.resolve().relative_to(Path(root).resolve()).as_posix()
    return notebook.name


def _is_dirty(notebook: Path | None) -> bool | None:
    """Tell whether a file of the repository was changed since the commit, or the notebook was never committed."""
    if _git("rev-parse", "HEAD") is None:
        return None
    changed = _git("status", "--porcelain", "--untracked-files=no")
    is_new = notebook is not None and notebook.is_file() and not _git("ls-files", "--", str(notebook))
    return None if changed is None else bool(changed) or is_new


def _git(*arguments: str) -> str | None:
    """Ask git, and give None where there is none, it refuses, or a large repository takes it too long."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout.strip()


def seeds_of(model: Any) -> dict[str, int]:
    """Find the seeds that were set in a model and in its parts.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> seeds_of(make_pipeline(RandomForestClassifier(random_state=7)))
    {'randomforestclassifier__random_state': 7}
    """
    found = {name: value for name, value in _parameters(model).items() if name.rpartition("__")[2] in SEEDS}
    return {name: int(value) for name, value in sorted(found.items()) if _is_whole(value)}


def _parameters(model: Any) -> Mapping[str, Any]:
    if hasattr(model, "get_params"):
        try:
            return dict(model.get_params(deep=True))
        except TypeError:  # a class of somebody's own, which has no parts to tell of
            return dict(model.get_params())
    if hasattr(model, "save_config"):  # XGBoost's own Booster
        generic = json.loads(model.save_config())["learner"].get("generic_param", {})
        return {name: int(value) for name, value in generic.items() if name == "seed"}
    return {}


def _is_whole(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def sentence(provenance: Mapping[str, Any]) -> str:
    """Say in one line where a package comes from.

    Examples
    --------
    >>> sentence(
    ...     {"notebook": "churn.ipynb", "git_commit": "1a2b3c4d5e6f", "git_dirty": True, "seeds": {"random_state": 0}}
    ... )
    'packed from churn.ipynb at 1a2b3c4 (with uncommitted changes), seeds 0'
    """
    place = f" from {provenance['notebook']}" if provenance.get("notebook") else ""
    commit = f" at {provenance['git_commit'][:7]}" if provenance.get("git_commit") else ""
    dirty = " (with uncommitted changes)" if provenance.get("git_dirty") else ""
    python = f"Python {provenance['python']}" if provenance.get("python") else ""
    machine = f" on {provenance['platform']} {provenance['machine']}" if provenance.get("platform") else ""
    seeds = ", ".join(map(str, sorted(set(provenance.get("seeds", {}).values()))))
    parts = [f"packed{place}{commit}{dirty}", f"{python}{machine}".strip(), f"seeds {seeds}" if seeds else ""]
    return ", ".join(part for part in parts if part)
