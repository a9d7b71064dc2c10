"""Turn a failed import of an optional library into what to install."""

from __future__ import annotations

import importlib
from typing import Any

from ekiben.errors import MissingExtraError

# module → the extra of ekiben that brings it
EXTRAS = {
    "alibi": "explain",
    "asyncpg": "postgres",
    "cryptography": "containers",
    "cyclonedx": "containers",
    "jsonschema": "kube",
    "jsonschema_rs": "containers",
    "kubernetes_validate": "kube",
    "license_expression": "containers",
    "lightgbm": "lightgbm",
    "matplotlib": "notebook",
    "mlflow": "track",
    "model_signing": "sign",
    "onnxruntime": "compile",
    "packageurl": "containers",
    "pyarrow": "batch",
    "pyarrow.feather": "batch",
    "pyarrow.parquet": "batch",
    "referencing": "kube",
    "shap": "kernel",
    "skops.io": "sklearn",
    "sklearn": "sklearn",
    "xgboost": "xgboost",
}


def require(module: str, *, to: str) -> Any:
    """Import `module`, or say which extra is missing `to` do what.

    Examples
    --------
    >>> require("json", to="read a file").dumps([1])
    '[1]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name is None or not module.startswith(missing.name):
            raise
        extra = EXTRAS.get(module, "all")
        raise MissingExtraError(
            f"To {to}, {module.split('.', maxsplit=1)[0]} must be installed. It is not. Run: pip install 'ekiben[{extra}]'"
        ) from missing
