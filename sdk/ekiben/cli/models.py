"""The verbs of a model's package: made, registered, looked at, trusted, signed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

import ekiben
from ekiben import signing
from ekiben.cli.arguments import Json, object_at, package_at, pair_at, tell
from ekiben.progress import shown

verbs = typer.Typer()


@verbs.command()
def pack(
    model: Annotated[str, typer.Argument(help="The fitted model as `module:object`, such as `train:pipeline`.")],
    name: Annotated[str, typer.Option(help="The name under which versions are registered.")],
    reference: Annotated[str, typer.Option(help="The rows it was fitted on, as `module:object`.")],
    out: Annotated[Path, typer.Option(help="The folder to write the package to.")],
    target: Annotated[str | None, typer.Option(help="Their labels or values, as `module:object`.")] = None,
    holdout: Annotated[
        str | None, typer.Option(help="Rows and labels it has not seen, as `module:rows,labels`.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Who answers for the model.")] = None,
    explainer: Annotated[str, typer.Option(help="auto, or a method: linear, trees, sampling, anchor, …")] = "auto",
    trust: Annotated[
        list[str] | None, typer.Option(help="A library whose classes the model may hold. Once for each.")
    ] = None,
    allow_pickle: Annotated[
        list[str] | None, typer.Option(help="A class that may be kept as a pickle. Once for each.")
    ] = None,
    overview: Annotated[bool, typer.Option(help="Keep a report on the model as a whole.")] = True,
    json_: Json = False,
) -> None:
    """Make a model servable: its contract, its explainer, real examples.

    The module is imported from the current folder: `ekiben pack train:pipeline --reference train:X --name churn --out churn`.
    """
    with shown() as say:
        package = ekiben.pack(
            object_at(model),
            name=name,
            reference=object_at(reference),
            target=object_at(target) if target else None,
            holdout=pair_at(holdout) if holdout else None,
            owner=owner,
            explainer=explainer,
            trust=trust or (),
            allow_pickle=allow_pickle or (),
            overview=overview,
            progress=say,
        )
        package.save(out)
    tell(json_, {"folder": str(out), **package.manifest}, f"{package}\n\nPacked to {out}. Next: ekiben log {out}")


@verbs.command()
def log(
    package: Annotated[Path, typer.Argument(help="A package's folder, as `ekiben pack` writes it.")],
    alias: Annotated[str | None, typer.Option(help="An alias to point at the version, such as champion.")] = None,
    json_: Json = False,
) -> None:
    """Register a package as a version in MLflow."""
    from ekiben import tracking

    with shown() as say:
        say("logging")
        ref = ekiben.log(ekiben.load(package), alias=alias)
        change = tracking.contract_change(ref)
    told = f"{ref}\nThe contract since the version before: {change}" if change else str(ref)
    tell(json_, {"ref": str(ref), **({"contract_change": change} if change else {})}, told)


@verbs.command()
def fetch(
    ref: Annotated[str, typer.Argument(help="models:/credit_risk/1 or models:/credit_risk@champion")],
    out: Annotated[Path, typer.Option(help="The folder to write the package to.")],
) -> None:
    """Write the package behind a version or an alias to a folder."""
    typer.echo(ekiben.fetch(ref).save(out))


@verbs.command()
def card(
    package: Annotated[str, typer.Argument(help="A package's folder, a version or an alias.")],
    json_: Json = False,
) -> None:
    """Show what a package is: its contract, metrics and findings."""
    found = package_at(package)
    tell(json_, dict(found.manifest), str(found))


@verbs.command()
def overview(
    package: Annotated[str, typer.Argument(help="A package's folder, a version or an alias.")],
    out: Annotated[Path | None, typer.Option(help="A file to write it to, as one page of HTML.")] = None,
    json_: Json = False,
) -> None:
    """Show what a model leans on, how, and what it comes down to; or write it as a page."""
    found = package_at(package)
    told = found.overview
    if out is not None:
        out.write_text(told.page(), encoding="utf-8")
    tell(json_, told.to_json(), f"Wrote {out}." if out is not None else repr(told))


@verbs.command()
def reproduce(
    package: Annotated[str, typer.Argument(help="A package's folder, a version or an alias.")],
    json_: Json = False,
) -> None:
    """Build a package's environment again and replay its examples in it; exit code 1 when something differs."""
    with shown() as say:
        found = ekiben.reproduce(package, progress=say)
    tell(json_, found.to_json(), str(found))
    raise typer.Exit(0 if found.ok else 1)


@verbs.command()
def trust(
    package: Annotated[str, typer.Argument(help="A package's folder, a version or an alias.")],
    why: Annotated[str, typer.Option(help="Who looked at it, for people who read the list.")] = "trusted from a shell",
    yes: Annotated[bool, typer.Option("--yes", help="Trust it without asking.")] = False,
) -> None:
    """Show what makes a package code, and trust it: from then on it is loaded here."""
    from ekiben import packages, tracking

    with tempfile.TemporaryDirectory(prefix="ekiben-trust-") as target:
        folder = tracking.download(package, Path(target)) if package.startswith("models:/") else Path(package)
        manifest, found = packages.inspect(folder)
        if not found:
            typer.echo(f"{manifest['name']} carries no code: it is loaded everywhere.")
            return
        typer.echo("\n".join(_carried(folder, manifest, found)))
    if not yes:
        typer.confirm(f"Trust {manifest['name']} {manifest['digest'][:12]}?", abort=True)
    ekiben.trust(manifest["digest"], name=manifest["name"], why=why)
    typer.echo(f"Trusted {manifest['name']} {manifest['digest']}.")


def _carried(folder: Path, manifest: dict[str, Any], found: dict[str, list[str]]) -> Iterator[str]:
    """Show what a person must look at before trusting: each file of code, each name that a pickle calls for."""
    from ekiben import packages

    yield f"{manifest['name']} {manifest['digest'][:12]} is code:"
    for name in found.get("code", []):
        lines = len((folder / name).read_bytes().splitlines())
        yield f"  code    {folder / name} ({lines} lines)"
    for name in found.get("pickle", []):
        yield f"  pickle  {name} calls for {', '.join(packages.called_for(folder / name))}"
    for name in found.get("types", []):
        yield f"  type    {_plain(name)}"


def _plain(text: str) -> str:
    return text if text.isprintable() else repr(text)


@verbs.command()
def sign(
    package: Annotated[Path, typer.Argument(help="A package's folder.")],
    key: Annotated[Path, typer.Option(help="The private key, elliptic-curve, as PEM.")],
) -> None:
    """Sign a package: say who sealed it."""
    typer.echo(f"Signed: {signing.sign(package, key=key)}")


@verbs.command()
def verify(
    subject: Annotated[
        str,
        typer.Argument(help="A package's folder, an image as an OCI layout or archive, or its name, such as churn:1."),
    ],
    key: Annotated[Path | None, typer.Option(help="The signer's public key, as PEM.")] = None,
    digest: Annotated[str | None, typer.Option(help="What its digest must be, or the first 12 digits.")] = None,
    name: Annotated[str | None, typer.Option(help="What its name must be.")] = None,
    signature: Annotated[
        Path | None, typer.Option(help="Where the signature is; by default in the package, or beside the image.")
    ] = None,
) -> None:
    """Compare every byte with what was packed or built, and the signature with a key; nothing is run."""
    found = ekiben.verify(subject, key=key, digest=digest, name=name, signature=signature)
    typer.echo(f"{found} {'is signed by this key' if key else 'has the bytes that were packed'}.")
