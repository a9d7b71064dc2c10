"""From a bento to an image that ran."""

from __future__ import annotations

import errno
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ekiben import storing
from ekiben.containers import accounting, bases, context, debian, engines, layouts, saved, stock, trying
from ekiben.containers.accounting import Accounts, Judged
from ekiben.containers.context import Context
from ekiben.containers.debian import Base, Debian
from ekiben.containers.engines import Engine
from ekiben.containers.images import HOLDS, Image, Layer, Ran
from ekiben.containers.tools import install
from ekiben.errors import BuildError, SpecError
from ekiben.progress import Progress, shown

UNITS = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
LOCAL_BASE = "localhost/ekiben-base"
# How engines take a name: a host of a registry, folders, a version.
NAME = re.compile(r"([\w.-]+(:\d+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:\w[\w.-]{0,127})?", re.ASCII)
ENGINES = (*engines.BUILDERS, "none", "stock")


def containerize(
    tag: str,
    *,
    image: str | None = None,
    engine: str | None = None,
    base: str | None = None,
    wheels: str | Path | Sequence[str | Path] = (),
    context: str | Path | None = None,
    lean: bool = True,
    fresh: bool = False,
    accounts: Accounts | None = None,
    progress: Progress | bool | None = None,
) -> Image:
    """Build a small, hardened image of a bento, and run it before saying that it is done.

    The image holds Python, what the arms need, the models and the code, and no shell. It is started read-only, without
    rights, at one processor and 1 GiB; the bento's examples are replayed and compared; SIGTERM ends it. Two builds of one
    bento have one digest.

    Parameters
    ----------
    tag
        The bento's tag.
    image
        The image's name; by default the tag.
    engine
        `docker`, `podman` or `nerdctl`; `buildah` builds, and writes an OCI layout that is not run; `none` writes one without
        an engine; `stock` leaves
        everything to `bentoml containerize`. By default the first engine that runs a container here.
    base
        The image that Python comes from, of the bento's version of Python on Debian; `debian` makes one of Debian's packages
        here. By default the public slim one, or, where no registry of images answers, one of Debian's packages.
    wheels
        Folders with wheels that were collected beforehand, so that nothing is fetched.
    context
        Where to leave the Containerfile and all that it takes, to read it or to build it by hand.
    lean
        Whether to leave out what nothing in the bento asks for.
    fresh
        Whether to build without the cache of the engine.
    accounts
        The key that signs, what is allowed with a reason, and where to write what speaks of the image.
    progress
        Called with a few words before each step; False keeps them from being shown.

    Returns
    -------
    The image, with its digest, size, layers, and what was found when it ran.

    Raises
    ------
    NotFoundError
        If there is no such bento.
    SpecError
        If there is no such engine, the image cannot be called so, or BentoML's own image was asked for what it does not do.
    BuildError
        If no engine runs a container here, the engine refuses, or the image does not start, answers otherwise or does not
        end. An image that was refused is removed.
    """
    if engine is not None and engine not in ENGINES:
        raise SpecError(f"The 'engine' must be one of {', '.join(ENGINES)}. Got {engine!r}.")
    answered = accounts or Accounts()
    if engine == "stock":
        _refuse_of_stock(answered, base=base, wheels=wheels, context=context, everything=not lean, fresh=fresh)
    if image is not None and not NAME.fullmatch(image):
        raise SpecError(
            f"The 'image' must be a name of lower case letters and digits, perhaps with a version, such as churn:1. Got {image!r}."
        )
    accounting.ready(answered)
    with shown(progress) as say, _having_room(), _folder(context) as place:
        tag = storing.known_bento(tag)
        if engine == "stock":
            return stock.containerize(tag, image, say)
        folders = [Path(each) for each in ([wheels] if isinstance(wheels, str | Path) else wheels)]
        chosen = None
        if engine != "none":
            say("looking for an engine that runs containers")
            chosen = engines.find(engine)
        say("collecting the wheels")
        told = _context(tag, place, base, folders, lean=lean)
        name = image or told.tag
        if chosen is None:
            return _written(told, name, answered, say)
        return _built(chosen, told, name, base, answered, say, fresh=fresh)


def _refuse_of_stock(accounts: Accounts, **asked: object) -> None:
    """Refuse what BentoML's own image would go without, and nobody would see."""
    asked |= {name: getattr(accounts, name) for name in ("key", "allow_licences", "allow_leaks")}
    if given := sorted(name for name, value in asked.items() if value):
        raise SpecError(f"BentoML's own image takes a bento and a name alone. Leave out {', '.join(given)}.")


@contextmanager
def _having_room() -> Iterator[None]:
    """Say what to do where a disk is full."""
    try:
        yield
    except OSError as reason:
        if reason.errno != errno.ENOSPC:
            raise
        raise BuildError(
            f"An image must have room for what it is built of. The disk of {reason.filename2 or reason.filename} is full. "
            "Free some of it, or set TMPDIR and EKIBEN_CACHE to folders with room."
        ) from None


def _context(tag: str, place: Path, base: str | None, folders: list[Path], *, lean: bool) -> Context:
    named = None if base in (None, "debian") else base
    return context.write(tag, place, base=named, wheels=folders, lean=lean)


@contextmanager
def _folder(given: str | Path | None) -> Iterator[Path]:
    if given is not None:
        yield Path(given)
    else:
        with tempfile.TemporaryDirectory(prefix="ekiben-image-") as place:
            yield Path(place) / "context"


def _written(told: Context, name: str, accounts: Accounts, say: Progress) -> Image:
    """Write an image without an engine."""
    tar = bases.make()
    base = Base(name=f"{LOCAL_BASE}:{tar.stem}", packages=debian.installed_in(tar))
    judged = accounting.before(told, base, accounts, say)
    say("writing the image")
    made = judged.forecast.within(layouts.write(told, Path(f"{accounting.stem_of(name)}.oci"), name))
    with _gone_if_refused(Path(made.ref)):
        _look_into(Path(made.ref), told, judged, accounts, say)
        accounting.after(None, made, told, judged, accounts)
    return made


def _pushed(
    engine: Engine,
    told: Context,
    name: str,
    commands: list[list[str]],
    judged: Judged,
    accounts: Accounts,
    say: Progress,
) -> Image:
    """Write what was built as an OCI layout, and describe that: nothing here runs it."""
    to = Path(f"{accounting.stem_of(name)}.oci")
    layouts.refuse_another_s(to)
    shutil.rmtree(to, ignore_errors=True)
    with _gone_if_refused(to):
        engine.call("push", "--quiet", name, f"oci:{to.resolve()}:{name}")
        _look_into(to, told, judged, accounts, say)
        made = judged.forecast.within(layouts.described(to, told.tag, f"{engine.name}: {engine.why}", HOLDS))
        accounting.after(None, made, told, judged, accounts, commands=commands)
    return made


def _look_into(layout: Path, told: Context, judged: Judged, accounts: Accounts, say: Progress) -> None:
    say("looking for leaks in the image")
    accounting.look(layout, told, judged, accounts)


@contextmanager
def _gone_if_refused(layout: Path) -> Iterator[None]:
    """Remove a layout that leaks, or is not accounted for: it must not be there to be pushed."""
    try:
        yield
    except BaseException:
        shutil.rmtree(layout, ignore_errors=True)
        raise


def _built(
    engine: Engine, told: Context, name: str, asked: str | None, accounts: Accounts, say: Progress, *, fresh: bool
) -> Image:
    try:
        chosen = base_image(engine, told, asked, say)
        base = Base(name=chosen, packages=_packages(engine, chosen))
        judged = accounting.before(told, base, accounts, say)
        say(f"building the image with {engine.name}")
        commands = engine.build(told.folder, name, epoch=told.epoch, arguments={"BASE": chosen}, fresh=fresh)
        with _removed_if_refused(engine, name):
            if not engine.runs:
                return _pushed(engine, told, name, commands, judged, accounts, say)
            _look(engine, name, told, judged, accounts, say)
            ran = trying.prove(engine, name, told, say)
            made = judged.forecast.within(described(engine, name, told.tag, ran=ran))
            say("writing what the image is made of beside it")
            accounting.after(engine, made, told, judged, accounts, commands=commands, base=chosen)
            return made
    finally:
        engine.release()


@contextmanager
def _removed_if_refused(engine: Engine, name: str) -> Iterator[None]:
    """Remove what was built and not proved, or not accounted for: it must not be there to be pushed."""
    try:
        yield
    except BaseException:
        engine.call("rmi", name, check=False)  # without force: the same image may run here, from an earlier build
        raise


def _packages(engine: Engine, name: str) -> tuple[Debian, ...]:
    """Read the packages of Debian in a base that an engine has."""
    if engine.runs:
        return debian.of_engine(engine, name)
    if name.startswith(f"{LOCAL_BASE}:"):
        return debian.installed_in(bases.make())
    with saved.of_engine(engine, name) as archive:
        return accounting.of_layout(archive)


def _look(engine: Engine, name: str, told: Context, judged: Judged, accounts: Accounts, say: Progress) -> None:
    say("looking for leaks in the image")
    try:
        with saved.just_built(engine, name) as archive:
            accounting.look(archive, told, judged, accounts)
    except BuildError:
        engine.call("rmi", "-f", name, check=False)  # what leaks must not be there to be pushed
        raise


def base_image(engine: Engine, told: Context, asked: str | None, say: Progress) -> str:
    """Have the image that Python comes from: the one that was asked for, the public one, or one of Debian's packages.

    Raises
    ------
    BuildError
        If it cannot be had.
    """
    if asked != "debian":
        say(f"getting {told.base}")
        pulled = None if engine.has(told.base) else engine.call("pull", told.base, check=False)
        if pulled is None or pulled.returncode == 0:
            return told.base
        if asked is not None or not bases.can_make() or told.python != bases.PYTHON:
            raise BuildError(
                f"The base must be an image that {engine.name} has or can get. {told.base} is not: "
                f"{engines.last(pulled.stderr, 1)} Where mmdebstrap is installed, base='debian' makes one."
            )
    say("making a base of Debian's packages")
    return local_base(engine)


def local_base(engine: Engine, *, more: tuple[str, ...] = ()) -> str:
    """Give the engine a base of Debian's packages, once, and name it."""
    tar = bases.make(more=more)
    name = f"{LOCAL_BASE}:{tar.stem}"
    if not engine.has(name):
        settings = ["ENV PATH=/usr/local/bin:/usr/bin:/bin", 'CMD ["python3"]']
        if not engine.runs:
            return _added(engine, tar, name, settings)
        engine.call("import", *(word for line in settings for word in ("--change", line)), str(tar), name)
    return name


def _added(engine: Engine, tar: Path, name: str, settings: list[str]) -> str:
    """Make an image of a tar by a build, for an engine that imports nothing."""
    with tempfile.TemporaryDirectory(prefix="ekiben-base-") as place:
        shutil.copyfile(tar, Path(place) / "base.tar")
        (Path(place) / "Containerfile").write_text("\n".join(["FROM scratch", "ADD base.tar /", *settings, ""]))
        engine.build(Path(place), name, epoch=install.EPOCH, arguments={})
    return name


def described(engine: Engine, name: str, tag: str, *, ran: Ran | None) -> Image:
    """Read from the engine what an image is: digest, size, layers."""
    (told,) = json.loads(engine.call("image", "inspect", name).stdout)
    digest = told.get("Digest") or told["Id"]
    sizes = _sizes(engine, name)
    found = told["RootFS"]["Layers"]
    layers = tuple(
        Layer(holds=holds, digest=digest, n_bytes=size)
        for holds, digest, size in zip(HOLDS, found, sizes, strict=False)
    )
    if not digest.startswith("sha256:"):
        digest = f"sha256:{digest}"
    return Image(
        ref=name,
        digest=digest,
        tag=tag,
        engine=f"{engine.name}: {engine.why}",
        n_bytes=told["Size"],
        layers=layers,
        ran=ran,
    )


def _sizes(engine: Engine, name: str) -> list[int]:
    """Give the bytes of each layer, the base's first, without those steps that wrote none."""
    lines = engine.call("history", "--format", "{{.Size}}", name).stdout.splitlines()
    return [size for line in reversed(lines) if (size := n_bytes(line))]


def n_bytes(told: str) -> int:
    """Read a size as engines tell it.

    >>> n_bytes("57.5 MB"), n_bytes("1.2kB"), n_bytes("0B")
    (57500000, 1200, 0)
    """
    found = re.fullmatch(r"([\d.]+) ?([kMG]?)B", told.strip())
    return round(float(found[1]) * UNITS[found[2]]) if found else 0
