"""Start the service of an image on the port where the platform that runs it asks: `python -m ekiben.entering [serve]`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

BENTO, PORT = "BENTO_PATH", "BENTOML_PORT"
ASKED_AT = ("SAGEMAKER_BIND_TO_PORT", "AIP_HTTP_PORT", "PORT")  # SageMaker, Vertex, and those that run any container
SAGEMAKER = "serve", "8080"  # what SageMaker runs an image with, and where it asks then


def told(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Give BentoML's command and its environment.

    Parameters
    ----------
    arguments
        What the image was run with; `serve` alone is SageMaker's word, and what follows is BentoML's.
    environment
        What it was run in.

    Examples
    --------
    >>> command, environment = told(["serve"], {"BENTO_PATH": "/bento"})
    >>> command[1:], environment["BENTOML_PORT"]
    (['-m', 'bentoml', 'serve', '/bento'], '8080')
    >>> told([], {"AIP_HTTP_PORT": "7080"})[1]["BENTOML_PORT"]
    '7080'
    """
    is_sagemakers = [*arguments[:1]] == [SAGEMAKER[0]]
    rest = [*arguments[1:]] if is_sagemakers else [*arguments]
    named = next((environment[name] for name in ASKED_AT if environment.get(name, "").isdigit()), None)
    port = named or (SAGEMAKER[1] if is_sagemakers else None)
    command = [sys.executable, "-m", "bentoml", "serve", environment.get(BENTO, "."), *rest]
    return command, {**environment, **({PORT: port} if port else {})}


if __name__ == "__main__":
    command, environment = told(sys.argv[1:], os.environ)
    os.execve(command[0], command, environment)  # noqa: S606 -- BentoML takes this process's place, and its signals
