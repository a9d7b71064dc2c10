"""The same verbs, from a shell."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console

import ekiben
from ekiben import codecs, explanations, keys, recalling, scoring, signing
from ekiben.errors import EkibenError, SpecError
from ekiben.progress import shown

app = typer.Typer(
    name="ekiben",
    help="From a notebook model to a BentoML service that is explained, split, tested and proved.",
    epilog="A model's way: pack → log → scaffold → check → serve → build → containerize → manifests.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Folder = Annotated[Path, typer.Argument(help="A service's folder, as `ekiben scaffold` writes it.")]


def main() -> None:
    """Run the command line; an error of ekiben is one message and exit code 2."""
    try:
        app()
    except EkibenError as error:
        Console(stderr=True, highlight=False).print(f"[red]Error:[/] {_plain(str(error))}", soft_wrap=True)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(ekiben.__version__)
        raise typer.Exit


@app.command()
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
            _object(model),
            name=name,
            reference=_object(reference),
            target=_object(target) if target else None,
            holdout=_pair(holdout) if holdout else None,
            owner=owner,
            explainer=explainer,
            trust=trust or (),
            allow_pickle=allow_pickle or (),
            overview=overview,
            progress=say,
        )
        package.save(out)
    _tell(json_, {"folder": str(out), **package.manifest}, f"{package}\n\nPacked to {out}. Next: ekiben log {out}")


@app.command()
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
    _tell(json_, {"ref": str(ref), **({"contract_change": change} if change else {})}, told)


@app.command()
def fetch(
    ref: Annotated[str, typer.Argument(help="models:/credit_risk/1 or models:/credit_risk@champion")],
    out: Annotated[Path, typer.Option(help="The folder to write the package to.")],
) -> None:
    """Write the package behind a version or an alias to a folder."""
    typer.echo(ekiben.fetch(ref).save(out))


@app.command()
def card(
    package: Annotated[str, typer.Argument(help="A package's folder, a version or an alias.")],
    json_: Json = False,
) -> None:
    """Show what a package is: its contract, metrics and findings."""
    found = ekiben.fetch(package) if package.startswith("models:/") else ekiben.load(package)
    _tell(json_, dict(found.manifest), str(found))


@app.command()
def overview(
    package: Annotated[str, typer.Argument(help="A package's folder, a version or an alias.")],
    out: Annotated[Path | None, typer.Option(help="A file to write it to, as one page of HTML.")] = None,
    json_: Json = False,
) -> None:
    """Show what a model leans on, how, and what it comes down to; or write it as a page."""
    found = ekiben.fetch(package) if package.startswith("models:/") else ekiben.load(package)
    told = found.overview
    if out is not None:
        out.write_text(told.page(), encoding="utf-8")
    _tell(json_, told.to_json(), f"Wrote {out}." if out is not None else repr(told))


@app.command()
def reproduce(
    package: Annotated[str, typer.Argument(help="A package's folder, a version or an alias.")],
    json_: Json = False,
) -> None:
    """Build a package's environment again and replay its examples in it; exit code 1 when something differs."""
    with shown() as say:
        found = ekiben.reproduce(package, progress=say)
    _tell(json_, found.to_json(), str(found))
    raise typer.Exit(0 if found.ok else 1)


@app.command()
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


@app.command()
def sign(
    package: Annotated[Path, typer.Argument(help="A package's folder.")],
    key: Annotated[Path, typer.Option(help="The private key, elliptic-curve, as PEM.")],
) -> None:
    """Sign a package: say who sealed it."""
    typer.echo(f"Signed: {signing.sign(package, key=key)}")


@app.command()
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


@app.command()
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
    arms = dict(_assignment(text, "--arm") for text in arm)
    shares = {
        key: _number(value, "--weight") for key, value in (_assignment(text, "--weight") for text in weight or [])
    }
    route = ekiben.Route(shares, tuple(shadow or ())) if shares else None
    packages = {
        key: value if value.startswith(("models:/", "package:/")) else ekiben.load(value) for key, value in arms.items()
    }
    with shown() as say:
        say("writing the service")
        target = ekiben.scaffold(folder, arms=packages, route=route, unit=unit)
    _tell(json_, {"folder": str(target)}, f"Wrote {target}. Next: ekiben check {target}")


@app.command()
def pin(folder: Folder) -> None:
    """Put the models that a folder names into BentoML's store, and pin what can move."""
    with shown() as say:
        say("fetching the models")
        target = ekiben.pin(folder)
    typer.echo(f"Pinned {target}.")


@app.command()
def check(
    subject: Annotated[Path, typer.Argument(help="A service's folder, or a package's.")],
    json_: Json = False,
) -> None:
    """Try every law; exit code 1 when one is broken."""
    is_package = (subject / "package.json").is_file()
    with shown() as say:
        report = ekiben.check(ekiben.load(subject) if is_package else subject, progress=say)
    _tell(json_, report.to_json(), str(report))
    raise typer.Exit(0 if report.ok else 1)


@app.command()
def serve(
    target: Annotated[str, typer.Argument(help="A service's folder, or a bento's tag.")],
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1.")] = 3000,
) -> None:
    """Serve on this machine until Ctrl-C."""
    with shown() as say:
        say("starting the service")
        server = ekiben.serve(target, port=port)
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


@app.command()
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
    found = ekiben.fetch(package) if package.startswith("models:/") else ekiben.load(package)
    with shown() as say:
        done = scoring.score(found, source, out, keep=keep or (), n_rows=rows, progress=say)
    went_on = f", {done.resumed:,} of them by an earlier run" if done.resumed else ""
    _tell(json_, asdict(done), f"{done.rows:,} rows answered in {done.seconds:,.1f} s{went_on}: {out}")


@app.command()
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
    found = ekiben.fetch(package) if package.startswith("models:/") else ekiben.load(package)
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
        _tell(json_, {"explanations": documents}, "\n\n".join(map(_spoken, told)))


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


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="What the key is called, such as the system that asks with it.")],
    scope: Annotated[list[str], typer.Option(help="What it may do: read, explain, write, admin. Once for each.")],
    days: Annotated[float | None, typer.Option(help="After how many days it ends; never by default.")] = None,
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


@app.command()
def records(
    place: Annotated[str, typer.Argument(help="A service's name, a folder of segments, or the address of a database.")],
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
        typer.echo(found.tail(last).to_json(orient="records", date_format="iso"))
    else:
        shares = ", ".join(f"{arm} {n:,}" for arm, n in found["arm"].value_counts().items())
        typer.echo(f"{len(found):,} decisions: {shares or 'none'}")
        shown_ones = found.tail(last)[[name for name in found if not str(name).startswith("input.")]]
        typer.echo(shown_ones.drop(columns=["digest"]).to_string(index=False))


@app.command()
def build(folder: Folder, json_: Json = False) -> None:
    """Check a service, build its bento, and run the bento before saying that it is done."""
    with shown() as say:
        tag = ekiben.build(folder, progress=say)
    _tell(json_, {"tag": tag}, f"{tag}\nBuilt, run from an empty store, and equal. Next: ekiben containerize {tag}")


@app.command()
def forecast(
    tag: Annotated[str, typer.Argument(help="A bento's tag.")],
    wheels: Annotated[list[Path] | None, typer.Option(help="A folder of wheels. Once for each.")] = None,
    json_: Json = False,
) -> None:
    """Tell how large an image will be, by package and by reason, and what leaving out an arm or a method saves."""
    with shown() as say:
        found = ekiben.forecast(tag, wheels=wheels or (), progress=say)
    _tell(json_, asdict(found), str(found))


@app.command()
def vendor(
    tag: Annotated[str, typer.Argument(help="A bento's tag.")],
    to: Annotated[Path, typer.Option(help="The folder for the wheels.")],
) -> None:
    """Collect the wheels of an image by the digests of its lock; a run that was interrupted goes on where it was."""
    with shown() as say:
        typer.echo(ekiben.vendor(tag, to=to, progress=say))


@app.command()
def containerize(
    tag: Annotated[str, typer.Argument(help="A bento's tag.")],
    image: Annotated[str | None, typer.Option(help="The image's name; by default the tag.")] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="docker, podman or nerdctl; none writes an OCI layout without one. By default the first that runs a container."
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="The image that Python comes from; debian makes one of Debian's packages. By default the public slim one."
        ),
    ] = None,
    wheels: Annotated[
        list[Path] | None, typer.Option(help="A folder of wheels, so that nothing is fetched. Once for each.")
    ] = None,
    context: Annotated[
        Path | None, typer.Option(help="Where to leave the Containerfile and all that it takes, to build it by hand.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="Install all that the bento locks, not what it serves alone.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Build without the engine's cache.")] = False,
    stock: Annotated[bool, typer.Option("--stock", help="Leave it to `bentoml containerize`, as it is.")] = False,
    key: Annotated[
        Path | None, typer.Option(help="A private key, elliptic-curve, as PEM, that signs the image.")
    ] = None,
    allow_licence: Annotated[
        list[str] | None, typer.Option(help="A distribution whose licence may be, as name=reason. Once for each.")
    ] = None,
    allow_leak: Annotated[
        list[str] | None, typer.Option(help="A place that may hold what it does, as pattern=reason. Once for each.")
    ] = None,
    beside: Annotated[Path, typer.Option(help="Where to write what speaks of the image.")] = Path(),
    json_: Json = False,
) -> None:
    """Build a small, hardened image of a bento, and run it before saying that it is done.

    `ekiben containerize credit_risk:latest --image credit_risk:1`

    The image has no shell, runs as nobody with nothing to write to but /tmp, and answers the bento's examples as its packages
    do. Two builds of one bento have one digest. Nothing is fetched while it is built.
    """
    with shown() as say:
        made = ekiben.containerize(
            tag,
            image=image,
            engine="stock" if stock else engine,
            base=base,
            wheels=wheels or (),
            context=context,
            lean=not everything,
            fresh=fresh,
            accounts=ekiben.Accounts(
                key=key,
                allow_licences=dict(_assignment(each, "--allow-licence") for each in allow_licence or ()),
                allow_leaks=dict(_assignment(each, "--allow-leak") for each in allow_leak or ()),
                beside=beside,
            ),
            progress=say,
        )
    _tell(json_, asdict(made), str(made))


@app.command()
def manifests(
    folder: Folder,
    image: Annotated[str, typer.Option(help="The image's reference, with a tag that stays or a digest.")],
    target: Annotated[str, typer.Option(help="kubernetes, kserve, knative or compose.")] = "kubernetes",
    out: Annotated[Path | None, typer.Option(help="Where to; by default deploy/<target> in the folder.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="What `ekiben check --json` printed: a pod then asks for what was measured.")
    ] = None,
    keys: Annotated[bool, typer.Option(help="Whether callers must show a key.")] = True,
    replicas: Annotated[tuple[int, int], typer.Option(help="The fewest and the most pods.")] = (2, 10),
    caller: Annotated[list[str] | None, typer.Option(help="A namespace whose pods may ask. Once for each.")] = None,
    claim: Annotated[str | None, typer.Option(help="A claim of a volume that many pods may write.")] = None,
    ramp: Annotated[
        list[int] | None, typer.Option(help="Per cent of the pods that a new version has. Once for each step.")
    ] = None,
    component: Annotated[
        list[str] | None, typer.Option(help="What production has: monitoring, rollout or none. Once for each.")
    ] = None,
) -> None:
    """Write what runs a service elsewhere, held to the schemas of Kubernetes 1.28 and later."""
    from ekiben.deploying.sites import COMPONENTS

    chosen: Any = COMPONENTS if component is None else [each for each in component if each != "none"]
    written = ekiben.manifests(
        folder,
        image=image,
        target=cast("Any", target),
        out=out,
        report=report,
        keys=keys,
        replicas=replicas,
        callers=caller or (),
        claim=claim,
        ramp=ramp,
        components=chosen,
    )
    run = "docker compose up --wait" if target == "compose" else f"kubectl apply -k {written}"
    if target == "kubernetes":
        run += "/overlays/production"
    typer.echo(f"{written}\nValid. After a change: ekiben validate {written}\nNext: {run}")


@app.command()
def validate(folder: Annotated[Path, typer.Argument(help="A folder of manifests.")]) -> None:
    """Hold a folder of manifests to the schemas of their kinds: every key, and the names between them."""
    from ekiben import deploying

    typer.echo(f"{deploying.validate(folder)} documents, all valid")


@app.command()
def export(
    source: Annotated[str, typer.Argument(help="A bento's tag, or a service's folder.")],
    target: Annotated[str, typer.Option(help="sagemaker, vertex or azureml.")],
    image: Annotated[str, typer.Option(help="The image's reference where the cloud finds it.")],
    out: Annotated[Path | None, typer.Option(help="Where to; by default deploy/<target>.")] = None,
    role: Annotated[str | None, typer.Option(help="The ARN of the role that SageMaker takes on.")] = None,
    instance: Annotated[str | None, typer.Option(help="The kind of machine; by default a small one.")] = None,
    replicas: Annotated[tuple[int, int], typer.Option(help="The fewest and the most machines.")] = (1, 4),
) -> None:
    """Write what a cloud's own SDK takes to run a service's image."""
    written = ekiben.export(
        source, target=cast("Any", target), image=image, out=out, role=role, instance=instance, replicas=replicas
    )
    typer.echo("\n".join(str(path) for path in sorted(written.iterdir())))


def _tell(as_json: bool, document: dict[str, Any], words: str) -> None:
    typer.echo(json.dumps(document, default=str) if as_json else words)


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
        yield f"  type    {_plain_text(name)}"


def _plain_text(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _object(path: str) -> Any:
    import importlib

    module, _, name = path.partition(":")
    module = module.removesuffix(".py")
    if not name:
        raise SpecError(f"An object is named as module:object, such as train:pipeline. Got {path!r}.")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as missing:
        if missing.name != module:
            raise
        raise SpecError(
            f"The module {module!r} must be importable from this folder. It is not: no {module}.py here."
        ) from None
    except AttributeError:
        raise SpecError(f"The module {module!r} must hold {name!r}. It does not.") from None


def _pair(path: str) -> tuple[Any, Any]:
    module, _, names = path.partition(":")
    rows, _, labels = names.partition(",")
    if not labels:
        raise SpecError(f"Held-out data is named as module:rows,labels, such as train:X_test,y_test. Got {path!r}.")
    return _object(f"{module}:{rows}"), _object(f"{module}:{labels}")


def _assignment(text: str, option: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise SpecError(f"{option} takes name=value. Got {text!r}.")
    return key, value


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SpecError(f"{option} takes a number. Got {text!r}.") from None


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
