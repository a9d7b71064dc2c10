"""The verbs of a service: its folder, its answers, who may ask, what it recorded, its bento."""

from __future__ import annotations

import signal
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

import ekiben
from ekiben import codecs, dumping, explanations, keys, recalling, scoring
from ekiben.cli.arguments import Folder, Json, assignments, number, package_at, tell
from ekiben.errors import SpecError
from ekiben.progress import shown

verbs = typer.Typer()


@verbs.command()
def scaffold(
    folder: Annotated[Path, typer.Argument(help="Where to write the service.")],
    arm: Annotated[
        list[str], typer.Option(help="An arm and its model: `champion=models:/credit_risk/1`. Once for each arm.")
    ],
    weight: Annotated[
        list[str] | None, typer.Option(help="An arm's share of the units: `champion=90`. Once for each arm.")
    ] = None,
    shadow: Annotated[list[str] | None, typer.Option(help="An arm that sees each request and never answers.")] = None,
    unit: Annotated[
        str | None, typer.Option(help="Who sticks to an arm: a field, `header:name` or `cookie:name`.")
    ] = None,
    json_: Json = False,
) -> None:
    """Write a service's folder, and put its models into BentoML's store.

    `ekiben scaffold bentos/credit_risk --arm champion=models:/credit_risk/1 --arm challenger=models:/credit_risk/2
    --weight champion=90 --weight challenger=10 --unit customer_id`
    """
    arms = assignments(arm, "--arm")
    shares = {key: number(value, "--weight") for key, value in assignments(weight or [], "--weight").items()}
    route = ekiben.Route(shares, tuple(shadow or ())) if shares else None
    packages = {
        key: value if value.startswith(("models:/", "package:/")) else ekiben.load(value) for key, value in arms.items()
    }
    with shown() as say:
        say("writing the service")
        target = ekiben.scaffold(folder, arms=packages, route=route, unit=unit)
    tell(json_, {"folder": str(target)}, f"Wrote {target}. Next: ekiben check {target}")


@verbs.command()
def pin(folder: Folder) -> None:
    """Put the models that a folder names into BentoML's store, and pin what can move."""
    with shown() as say:
        say("fetching the models")
        target = ekiben.pin(folder)
    typer.echo(f"Pinned {target}.")


@verbs.command()
def check(
    subject: Annotated[Path, typer.Argument(help="A service's folder, or a package's.")],
    json_: Json = False,
) -> None:
    """Try every law; exit code 1 when one is broken."""
    is_package = (subject / "package.json").is_file()
    with shown() as say:
        report = ekiben.check(ekiben.load(subject) if is_package else subject, progress=say)
    tell(json_, report.to_json(), str(report))
    raise typer.Exit(0 if report.ok else 1)


@verbs.command()
def serve(
    target: Annotated[str, typer.Argument(help="A service's folder, or a bento's tag.")],
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1.")] = 3000,
) -> None:
    """Serve on this machine until Ctrl-C."""
    with shown() as say:
        say("starting the service")
        server = ekiben.serve(target, port=port, supervised=True)
    typer.echo(f"{server.url} answers; its log is {server.log}. Ctrl-C stops it.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's word is Ctrl-C's
    with server:
        try:
            while server.is_running:
                time.sleep(0.2)
        except KeyboardInterrupt:
            typer.echo("Stopping.")
            return
    typer.echo(f"The server ended by itself; see {server.log}.", err=True)
    raise typer.Exit(1)


@verbs.command()
def batch(
    package: Annotated[str, typer.Argument(help="A package's folder, a version or an alias.")],
    source: Annotated[Path, typer.Argument(help="A file of Parquet or CSV.")],
    out: Annotated[Path, typer.Argument(help="The file of Parquet to write.")],
    keep: Annotated[
        list[str] | None, typer.Option(help="A column to keep beside the answers, such as an id. Once for each.")
    ] = None,
    rows: Annotated[int, typer.Option(help="Rows that are answered at once.")] = scoring.N_ROWS,
    json_: Json = False,
) -> None:
    """Answer every row of a file; a run that was killed goes on where it was."""
    found = package_at(package)
    with shown() as say:
        done = scoring.score(found, source, out, keep=keep or (), n_rows=rows, progress=say)
    went_on = f", {done.resumed:,} of them by an earlier run" if done.resumed else ""
    tell(json_, asdict(done), f"{done.rows:,} rows answered in {done.seconds:,.1f} s{went_on}: {out}")


@verbs.command()
def explain(
    package: Annotated[str, typer.Argument(help="A package's folder, a version or an alias.")],
    source: Annotated[Path, typer.Argument(help="A file of JSON: a row, a list of rows, or the body of a request.")],
    method: Annotated[str | None, typer.Option(help="Another method than the packed one.")] = None,
    seed: Annotated[int, typer.Option(help="Seeds a method that draws.")] = 0,
    page: Annotated[Path | None, typer.Option(help="A file of HTML to write, on the decision for one row.")] = None,
    language: Annotated[str, typer.Option(help="Of the page: en or fr.")] = "en",
    json_: Json = False,
) -> None:
    """Explain the answers for some rows, or write the page of one decision."""
    found = package_at(package)
    columns = codecs.columns_of(_rows(source), found.schema)
    frame = found.rows(columns)
    if page is not None and len(frame) != 1:
        raise SpecError(f"A page is for one row. Got {len(frame)} in {source.name!r}. Give one, or leave --page out.")
    told = found.explain(frame, method=method, seed=seed)
    if page is not None:
        told = told.deciding(found.predictions(columns))
        page.write_text(told[0].page(language), encoding="utf-8")
        typer.echo(page)
    else:
        documents = [explanations.to_json(each) for each in told]
        tell(json_, {"explanations": documents}, "\n\n".join(map(_spoken, told)))


def _spoken(one: explanations.Explanation) -> str:
    """Say an explanation for a terminal: bars, or a sentence."""
    return str(one) if isinstance(one, explanations.Attribution) else " ".join(filter(None, one.line()))


def _rows(source: Path) -> list[Any]:
    """Read the rows of a file of JSON."""
    try:
        document = codecs.decode(source.read_bytes())
    except OSError as reason:
        raise SpecError(f"The rows must be in a file that can be read. {source} cannot: {reason.strerror}.") from reason
    document = document["rows"] if isinstance(document, dict) and isinstance(document.get("rows"), list) else document
    return document if isinstance(document, list) else [document]


@verbs.command()
def key(
    name: Annotated[str, typer.Argument(help="What the key is called, such as the system that asks with it.")],
    scope: Annotated[list[str], typer.Option(help="What it may do: read, explain, write, admin. Once for each.")],
    days: Annotated[
        float | None, typer.Option(min=0, max=keys.LONGEST_DAYS, help="After how many days it ends; never by default.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="The file of keys to add it to; by default its lines are shown.")
    ] = None,
) -> None:
    """Make a key for a service: the token for who asks, and the lines for the file of keys, which hold its hash alone."""
    token, lines = keys.make(name, scope, days=days)
    if to is None:
        typer.echo(lines)
    else:
        keys.add(to, lines)
    typer.echo(f"The token is shown once: {token}", err=True)


@verbs.command()
def records(
    place: Annotated[
        str, typer.Argument(help="A service's name or folder, a segment or a folder of them, or a database's address.")
    ],
    out: Annotated[Path | None, typer.Option(help="A file to write them to: .csv, .json or .parquet.")] = None,
    since: Annotated[
        str | None, typer.Option(help="A moment, such as 2026-11-26; what was answered before is left out.")
    ] = None,
    service: Annotated[str | None, typer.Option(help="Which of the services in a database.")] = None,
    endpoint: Annotated[
        str, typer.Option(help="predict for decisions, explain for how explanations were made.")
    ] = "predict",
    last: Annotated[int, typer.Option(help="How many to show.")] = 10,
    json_: Json = False,
) -> None:
    """Show the decisions that a service has recorded, or write them to a file."""
    if out is not None:
        n = recalling.write(place, out, since=since, service=service, endpoint=endpoint)
        typer.echo(f"{n:,} decisions written to {out}")
        return
    found = ekiben.records(place, since=since, service=service, endpoint=endpoint)
    if json_:
        typer.echo(dumping.as_json(found.tail(last)))
    else:
        shares = ", ".join(f"{arm} {n:,}" for arm, n in found["arm"].value_counts().items())
        typer.echo(f"{len(found):,} decisions: {shares or 'none'}")
        shown_ones = found.tail(last)[[name for name in found if not str(name).startswith("input.")]]
        typer.echo(shown_ones.drop(columns=["digest"]).to_string(index=False))


@verbs.command()
def build(folder: Folder, json_: Json = False) -> None:
    """Check a service, build its bento, and run the bento before saying that it is done."""
    with shown() as say:
        tag = ekiben.build(folder, progress=say)
    tell(json_, {"tag": tag}, f"{tag}\nBuilt, run from an empty store, and equal. Next: ekiben containerize {tag}")
