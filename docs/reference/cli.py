"""Write docs/reference/cli.md from the help texts: `python docs/reference/cli.py`."""

import os
import sys
from pathlib import Path

HEAD = """# Command line

Every verb of the library, from a shell. This page is the help itself; `python docs/reference/cli.py` writes it again.

An error of ekiben is one message on the error stream and exit code 2. `ekiben check` ends with 1 when a law is broken.
`--json` prints one JSON document on the output stream, for a program to read. Steps at hand are shown on the error
stream, and only on a terminal.
"""


def page() -> str:
    """Give the text of the page."""
    _settle()
    import typer.main

    from ekiben.cli import app

    commands = typer.main.get_command(app).commands
    sections = [f"## ekiben\n\n{_help()}"] + [f"## ekiben {name}\n\n{_help(name)}" for name in commands]
    return HEAD + "\n" + "\n\n".join(sections) + "\n"


def _settle() -> None:
    """Ask for the same width and no colours, wherever this runs; typer looks when it is imported."""
    for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS"):
        os.environ.pop(name, None)
    os.environ.update(COLUMNS="100", TERMINAL_WIDTH="100", NO_COLOR="1", TERM="dumb")


def _help(*command: str) -> str:
    from typer.testing import CliRunner

    from ekiben.cli import app

    shown = CliRunner().invoke(app, [*command, "--help"], prog_name="ekiben").output
    lines = [line.rstrip() for line in shown.strip("\n").splitlines()]
    return "```text\n" + "\n".join(line.removeprefix(" ") for line in lines if line) + "\n```"


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        sys.stdout.write(page())
    else:
        Path(__file__).with_suffix(".md").write_text(page(), encoding="utf-8")
