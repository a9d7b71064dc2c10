"""The MLflow registry: a client that has answered, and what it knows of a version."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from ekiben._optional import require
from ekiben.errors import NotFoundError, SpecError, UnreachableError, nearest
from ekiben.refs import ModelRef

PATIENCE_S = 3  # for the first word of a registry
TO = "ask the registry"


@contextmanager
def client() -> Iterator[Any]:
    """Give a client of the registry that has answered, and that is asked once for each thing."""
    mlflow = require("mlflow", to=TO)
    uri = mlflow.get_registry_uri()
    if uri.startswith(("http://", "https://")):
        _knock(uri)
    with _no_retries(), _few_words():
        try:
            yield mlflow.MlflowClient()
        except mlflow.exceptions.MlflowException as reason:
            if reason.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"):
                raise UnreachableError(
                    f"The tracking server at {_public(uri)} must answer. It failed: {_first_line(reason).replace(uri.rstrip('/'), _public(uri))}"
                ) from reason
            raise


def version(client: Any, ref: ModelRef) -> Any:
    """Find a version, by its number or by an alias.

    Raises
    ------
    NotFoundError
        If there is no such model, version or alias, with the nearest name.
    """
    if ref.digest is not None:
        raise SpecError(f"A version must be of the form models:/{ref.name}/1. Got {ref}, which was never logged.")
    exceptions = require("mlflow.exceptions", to=TO)
    try:
        if ref.alias is not None:
            return client.get_model_version_by_alias(ref.name, ref.alias)
        return client.get_model_version(ref.name, str(ref.version))
    except exceptions.MlflowException as reason:
        if reason.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise NotFoundError(_absent(client, ref)) from reason


def _knock(uri: str) -> None:
    """See that somebody answers; nothing secret is sent, so it may be anybody."""
    try:
        with httpx.Client(verify=False, timeout=PATIENCE_S) as client:  # noqa: S501 -- MLflow verifies what it sends to
            status = client.get(f"{_public(uri).rstrip('/')}/health").status_code
    except (httpx.HTTPError, httpx.InvalidURL) as silence:
        raise _unreachable(uri, str(silence)) from silence
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise _unreachable(uri, f"status {status}")


def _unreachable(uri: str, reason: str) -> UnreachableError:
    return UnreachableError(
        f"The tracking server at {_public(uri)} must answer. It did not: {reason}. "
        "Start it, or unset MLFLOW_TRACKING_URI to keep versions in a local file."
    )


@contextmanager
def _no_retries() -> Iterator[None]:
    defaults = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(2 * PATIENCE_S),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    added = {key: value for key, value in defaults.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)  # another thread may have asked, and ended, beside this one


@contextmanager
def _few_words() -> Iterator[None]:
    """Keep MLflow's running commentary out of the notebook; its warnings stay."""
    loggers = {name: logging.getLogger(name) for name in ("mlflow", "alembic")}
    before = {name: logger.level for name, logger in loggers.items()}
    for logger in loggers.values():
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for name, logger in loggers.items():
            logger.setLevel(before[name])


def _public(uri: str) -> str:
    """Leave a user and password out of an address."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _first_line(reason: Exception) -> str:
    return str(reason).partition("\n")[0]


def _absent(client: Any, ref: ModelRef) -> str:
    names = [model.name for model in client.search_registered_models()]
    if ref.name not in names:
        return f"No model {ref.name!r} is registered.{nearest(ref.name, names)} Known: {sorted(names)}."
    if ref.alias is not None:
        aliases = list(client.get_registered_model(ref.name).aliases)
        return f"No alias {ref.alias!r} of {ref.name!r}.{nearest(ref.alias, aliases)} Known: {sorted(aliases)}."
    versions = sorted(int(version.version) for version in client.search_model_versions(f"name = '{ref.name}'"))
    return f"No version {ref.version} of {ref.name!r}. Known: {versions}."
