"""Compile the inner loops where there is a compiler; without one ekiben installs as Python alone, and answers slower."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("sdk/ekiben/_loops.c")
MADE = SOURCE.with_name("_loops.abi3.so")
FLAGS = ("-std=c11", "-O3", "-fPIC", "-shared", "-ffp-contract=off", "-fvisibility=hidden")
LINKED = ("-lm", *(("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ()))  # Python's names come with it


class Loops(BuildHookInterface):
    """Puts what was compiled into the wheel, or beside its source for an editable one."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; a wheel that holds what came is for this kind of machine, and for every Python from 3.11 on."""
        made = Path(self.root, MADE)
        made.unlink(missing_ok=True)
        if refused := compiled(Path(self.root, SOURCE), made):
            self.app.display_warning(
                f"ekiben is installed without its inner loops, which make trees quicker: {refused}"
            )
            return
        build_data["artifacts"].append(MADE.as_posix())
        if version != "editable":
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data.update(pure_python=False, tag=f"cp311-abi3-{platform}")


def compiled(source: Path, made: Path) -> str:
    """Compile a file, and say why that failed; nothing where it did not."""
    if os.name != "posix":
        return "they are built on Linux and macOS"
    include = sysconfig.get_paths()["include"]
    command = [*shlex.split(os.environ.get("CC", "cc")), *FLAGS, f"-I{include}", str(source), *LINKED, "-o", str(made)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as reason:
        return f"{command[0]}: {reason.strerror}"
    lines = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else next((line for line in lines if "error" in line), f"{command[0]} failed")
