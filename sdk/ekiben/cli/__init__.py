"""The same verbs, from a shell."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import ekiben
from ekiben.cli import images, models, services
from ekiben.errors import EkibenError

app = typer.Typer(
    name="ekiben",
    help="From a notebook model to a BentoML service that is explained, split, tested and proved.",
    epilog="A model's way: pack → log → scaffold → check → serve → build → containerize → manifests.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for each in (models, services, images):  # as a model goes, and as the help lists them
    app.add_typer(each.verbs)


def main() -> None:
    """Run the command line; an error of ekiben is one message and exit code 2."""
    try:
        app()
    except EkibenError as error:
        typer.echo(f"{typer.style('Error:', fg='red')} {error}", err=True)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(ekiben.__version__)
        raise typer.Exit
