"""Write the strangers' requirements.txt again, with hashes, from what is named in requirements.in."""

import subprocess

from bench.environments import OURS
from strangers import HERE, NAMES

OPTIONS = ("--quiet", "--python-version", "3.11", "--universal", "--generate-hashes", "--no-annotate")
NO_HOST = ("--no-emit-index-url", "--no-emit-find-links", "--no-header")

for name in NAMES:
    files = [HERE / name / "requirements.in", "-o", HERE / name / "requirements.txt"]
    subprocess.run([OURS.command("uv"), "pip", "compile", *OPTIONS, *NO_HOST, *files], check=True)
