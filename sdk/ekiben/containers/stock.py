"""BentoML's own way from a bento to an image, as it is."""

from __future__ import annotations

import subprocess
import sys

from ekiben.containers import engines
from ekiben.containers.images import Image
from ekiben.errors import BuildError
from ekiben.progress import Progress
from ekiben.running import child_environment


def containerize(tag: str, image: str | None, say: Progress) -> Image:
    """Let `bentoml containerize` build an image; it needs a package index and a registry of images, and is not run here.

    Raises
    ------
    BuildError
        If no engine runs a container here, or it refuses.
    """
    engine = engines.find()
    name = image or tag
    command = [sys.executable, "-m", "bentoml", "containerize", tag, "--backend", engine.name, "--image-tag", name]
    say(f"building BentoML's own image with {engine.name}")
    environment = child_environment(engine.environment)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    inspected = engine.call("image", "inspect", "-f", "{{.Id}} {{.Size}}", name, check=False)
    if done.returncode or inspected.returncode:  # it ends with 0 without an image, too
        raise BuildError(
            f"{engine.name} must build the image. It refused:\n{engines.last(done.stdout + done.stderr, 25)}"
        )
    digest, size = inspected.stdout.split()
    digest = digest if digest.startswith("sha256:") else f"sha256:{digest}"
    return Image(ref=name, digest=digest, tag=tag, engine=f"bentoml containerize, {engine.name}", n_bytes=int(size))
