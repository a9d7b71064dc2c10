"""The Containerfile of an image: two stages, four layers, no shell and no network in either."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

PUBLIC_BASE = "python:{python}-slim"
USER = 1034  # the number that BentoML's own images use
PORT = 3000
HOME = "/home/bentoml/bento"
SITE = "/app/site"
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONPATH": SITE,
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "HOME": "/tmp",
    "BENTO_PATH": HOME,
    "BENTOML_HOME": "/tmp/bentoml",
    "BENTOML_CONTAINERIZED": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "EKIBEN_HOME": "/tmp/ekiben",
    "EKIBEN_LOG": "json",
    "EKIBEN_DRAIN_S": "2",
    "MALLOC_ARENA_MAX": "2",
}
ENTRYPOINT = ("python3", "-m", "ekiben.starting")
MOUNT = re.compile(r"^RUN --mount=type=bind,source=(?P<source>\S+),target=(?P<target>\S+) ", re.MULTILINE)
LAST = "FROM kept\n"  # the stage that an edit of the code builds again
HEALTH = (*ENTRYPOINT, "--health")

TEMPLATE = """\
# The image of {tag}, by ekiben. Everything that it takes lies in this folder: it is built without a network, by
#     podman build --build-arg BASE={base} -t {name} .
# or docker, buildah or nerdctl in podman's place. BASE is any image with Python {python} on Debian.
ARG BASE={base}

# What is built: Python without a shell beside it, and the wheels of the lock, each by its digest. No command needs a shell.
FROM ${{BASE}} AS build
ENV PYTHONDONTWRITEBYTECODE=1 SOURCE_DATE_EPOCH={epoch}
COPY tools /tools
RUN ["python3", "/tools/strip.py", "/", "/out"]
COPY requirements.txt /requirements.txt
RUN --mount=type=bind,source=wheels,target=/wheels ["python3", "/tools/install.py", "/wheels", "/requirements.txt", "{site}"]

# What is shipped, a layer each: base, dependencies, models, code. An edit of the code ships the last one alone.
FROM scratch AS kept
COPY --from=build /out/ /
COPY --from=build {site}/ {site}/

FROM kept
COPY models/ {home}/models/
COPY bento/ {home}/
ENV {environment}
LABEL {labels}
WORKDIR {home}
USER {user}:{user}
EXPOSE {port}
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD {health}
ENTRYPOINT {entrypoint}
"""


def containerfile(*, tag: str, base: str, python: str, epoch: int, labels: Mapping[str, str]) -> str:
    """Write the Containerfile.

    Examples
    --------
    >>> 'RUN ["python3"' in containerfile(tag="a:1", base="python:3.11-slim", python="3.11", epoch=0, labels={"a": "b"})
    True
    """
    return TEMPLATE.format(
        tag=tag,
        name=tag,
        base=base,
        python=python,
        epoch=epoch,
        site=SITE,
        home=HOME,
        user=USER,
        port=PORT,
        environment=_pairs(ENVIRONMENT),
        labels=_pairs(labels),
        health=json.dumps(HEALTH),
        entrypoint=json.dumps(ENTRYPOINT),
    )


def parted(text: str) -> tuple[str, str] | None:
    r"""Part a Containerfile into what is the same for every edit of the code, and the rest; None where it has no such parts.

    Examples
    --------
    >>> parted("FROM scratch AS kept\nCOPY a /\n\nFROM kept\nCOPY b /\n")
    ('FROM scratch AS kept\nCOPY a /\n\n', 'FROM kept\nCOPY b /\n')
    """
    before, mark, after = text.partition(LAST)
    return (before, mark + after) if mark else None


def without_mounts(text: str) -> str:
    """Copy what a step mounts, for a builder that mounts nothing.

    Examples
    --------
    >>> print(without_mounts('RUN --mount=type=bind,source=wheels,target=/wheels ["python3"]'))
    COPY wheels /wheels
    RUN ["python3"]
    """
    return MOUNT.sub(r"COPY \g<source> \g<target>\nRUN ", text)


def _pairs(told: Mapping[str, str]) -> str:
    return " \\\n    ".join(f"{key}={_quoted(value)}" for key, value in sorted(told.items()))


def _quoted(value: str) -> str:
    r"""Quote a value so that a Containerfile takes it as it is.

    >>> print(_quoted("costs $5"))
    "costs \$5"
    """
    plain = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("\n", " ")
    return f'"{plain}"'
