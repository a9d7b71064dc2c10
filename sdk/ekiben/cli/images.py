"""The verbs of an image: how large it will be, how it is built, and what runs it elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import typer

import ekiben
from ekiben.cli.arguments import Folder, Json, assignments, tell
from ekiben.errors import SpecError
from ekiben.progress import shown

verbs = typer.Typer()


@verbs.command()
def forecast(
    tag: Annotated[str, typer.Argument(help="A bento's tag.")],
    wheels: Annotated[list[Path] | None, typer.Option(help="A folder of wheels. Once for each.")] = None,
    json_: Json = False,
) -> None:
    """Tell how large an image will be, by package and by reason, and what leaving out an arm or a method saves."""
    with shown() as say:
        found = ekiben.forecast(tag, wheels=wheels or (), progress=say)
    tell(json_, asdict(found), str(found))


@verbs.command()
def vendor(
    tag: Annotated[str, typer.Argument(help="A bento's tag.")],
    to: Annotated[Path, typer.Option(help="The folder for the wheels.")] = Path("wheels"),
) -> None:
    """Collect the wheels of an image by the digests of its lock; a run that was interrupted goes on where it was."""
    with shown() as say:
        typer.echo(ekiben.vendor(tag, to=to, progress=say))


@verbs.command()
def containerize(
    tag: Annotated[str, typer.Argument(help="A bento's tag.")],
    image: Annotated[str | None, typer.Option(help="The image's name; by default the tag.")] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="docker, podman or nerdctl; buildah builds alone, and none writes an OCI layout without one. By default the first "
            "that runs a container."
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
    if stock and engine not in (None, "stock"):
        raise SpecError("'--stock' takes the first engine that runs a container here. Leave out --engine.")
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
                allow_licences=assignments(allow_licence or [], "--allow-licence"),
                allow_leaks=assignments(allow_leak or [], "--allow-leak"),
                beside=beside,
            ),
            progress=say,
        )
    tell(json_, asdict(made), str(made))


@verbs.command()
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
    explainer: Annotated[
        Path | None,
        typer.Option(help="The folder of a second service of the same arms, which explains by other methods."),
    ] = None,
    explainer_image: Annotated[str | None, typer.Option(help="The image's reference of that one.")] = None,
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
        explainer=explainer,
        explainer_image=explainer_image,
    )
    run = "docker compose up --wait" if target == "compose" else f"kubectl apply -k {written}"
    if target == "kubernetes":
        run += "/overlays/production"
    typer.echo(f"{written}\nValid. After a change: ekiben validate {written}\nNext: {run}")


@verbs.command()
def validate(
    folder: Annotated[Path, typer.Argument(help="A folder of manifests.")],
    service: Annotated[
        Path | None,
        typer.Option(help="The service's folder, whose arms a route may name; by default one around the manifests."),
    ] = None,
) -> None:
    """Hold a folder of manifests to the schemas of their kinds: every key, and the names between them."""
    from ekiben import deploying

    typer.echo(f"{deploying.validate(folder, service=service)} documents, all valid")


@verbs.command()
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
