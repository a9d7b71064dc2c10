"""How large an image will be, by package and by reason, before anything is built; and beside it, how large it became."""

from __future__ import annotations

import html
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ekiben import pinning, spec
from ekiben.containers import context, diet, saved
from ekiben.containers.images import MB, Image
from ekiben.containers.remembering import remembered
from ekiben.containers.tools import install
from ekiben.containers.wheels import Wheel, carries_loops
from ekiben.containers.wheels import needs as needed_by
from ekiben.progress import Progress, shown

if TYPE_CHECKING:
    import pandas as pd

COMPILED = 1.17  # bytes that Python compiles one byte of source to, as the modules of an image were measured
COMPILED_WORDLESS = 1.4  # the same, of a source without its documentation
# What is left out of the source of an undocumented library, nearly: to read its syntax takes ten times as long.
WORDS = re.compile(rb"^[ \t]*+(?:#.*|[rRuU]?(?:\"{3}[^\0]*?\"{3}|'{3}[^\0]*?'{3}))", re.MULTILINE)
SITE = "app/site/"
BLOCK = 512  # of a layer: each file begins with one that names it, and ends with a whole one
MOST_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of an image: a distribution, an arm's model, the code or the base; its bytes, and what asks for it."""

    name: str
    version: str = ""
    layer: str = "dependencies"
    n_bytes: int
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What an image will hold: what `ek.forecast` gives.

    Parameters
    ----------
    tag
        The bento's tag.
    parts
        The largest first. The base is among them where it is known, and else not.
    saves
        Reason → bytes that an image without it would not hold, because nothing else asks for them: an arm, a method of
        explaining with the arms that it explains, a protocol.

    Examples
    --------
    >>> parts = (Part(name="scipy", n_bytes=90 * MB, reasons=("arm champion (its model: it has no plan)",)),)
    >>> print(Forecast(tag="churn:1", parts=parts, saves=savings(parts)))
    churn:1  90 MB
          90.0 MB  scipy  for arm champion (its model: it has no plan)
      without arm champion (its model: it has no plan): 90.0 MB less
      the base is not counted: its size is not known here
    """

    tag: str
    parts: tuple[Part, ...]
    saves: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_bytes(self) -> int:
        """Bytes of all parts, without compression."""
        return sum(each.n_bytes for each in self.parts)

    @property
    def size_mb(self) -> float:
        """Megabytes without compression."""
        return self.n_bytes / MB

    def by_layer(self) -> dict[str, int]:
        """Give the bytes of base, dependencies, models and code, as far as they are known."""
        found: dict[str, int] = {}
        for each in self.parts:
            found[each.layer] = found.get(each.layer, 0) + each.n_bytes
        return found

    def to_frame(self) -> pd.DataFrame:
        """Give one row a part: name, version, layer, megabytes, and why it is there."""
        import pandas as pd

        rows = [
            {
                "name": each.name,
                "version": each.version,
                "layer": each.layer,
                "mb": each.n_bytes / MB,
                "reasons": "; ".join(each.reasons),
            }
            for each in self.parts
        ]
        return pd.DataFrame(rows, columns=["name", "version", "layer", "mb", "reasons"])

    def within(self, image: Image) -> Image:
        """Put what was forecast of each layer into a built image, as far as it is known."""
        told = self.by_layer()
        return replace(
            image, layers=tuple(replace(layer, forecast_bytes=told.get(layer.holds)) for layer in image.layers)
        )

    def _lines(self) -> Iterator[str]:
        yield f"{self.tag}  {self.size_mb:,.0f} MB"
        for each in self.parts[:MOST_SHOWN]:
            yield f"  {each.n_bytes / MB:>8,.1f} MB  {each.name}  for {'; '.join(each.reasons)}"
        if rest := self.parts[MOST_SHOWN:]:
            yield f"  {sum(each.n_bytes for each in rest) / MB:>8,.1f} MB  {len(rest)} more"
        for reason, n_bytes in self.saves.items():
            yield f"  without {reason}: {n_bytes / MB:,.1f} MB less"
        if "base" not in self.by_layer():
            yield "  the base is not counted: its size is not known here"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(each.name)}</td><td>{each.n_bytes / MB:,.1f}</td>"
            f"<td>{html.escape('; '.join(each.reasons))}</td></tr>"
            for each in self.parts[:MOST_SHOWN]
        )
        less = "".join(
            f"<li>without {html.escape(reason)}: {n_bytes / MB:,.1f} MB less</li>"
            for reason, n_bytes in self.saves.items()
        )
        head = "<tr><th>part</th><th>MB</th><th>for</th></tr>"
        return f"<b>{html.escape(self.tag)}</b> {self.size_mb:,.0f} MB<table>{head}{rows}</table><ul>{less}</ul>"


def forecast(
    tag: str,
    *,
    wheels: str | Path | Sequence[str | Path] = (),
    base: Path | None = None,
    lean: bool = True,
    progress: Progress | bool | None = None,
) -> Forecast:
    """Tell how large a bento's image will be, by package and by reason, and what leaving out an arm or a method saves.

    Parameters
    ----------
    tag
        The bento's tag.
    wheels
        Folders with wheels that were collected beforehand. What is missing there is fetched into the cache, from which the
        image is then built.
    base
        The root of the base, a tar or a folder, to be counted too.
    lean
        Whether what nothing asks for is left out, as `ek.containerize` does.
    progress
        Called with a few words before each step; False keeps them from being shown.

    Raises
    ------
    NotFoundError
        If there is no such bento.
    BuildError
        If a wheel cannot be had.

    Examples
    --------
    >>> forecast("churn:nosuchversion")
    Traceback (most recent call last):
    ...
    ekiben.errors.NotFoundError: No bento 'churn:nosuchversion'. ...
    """
    folders = [Path(each) for each in ([wheels] if isinstance(wheels, str | Path) else wheels)]
    with tempfile.TemporaryDirectory(prefix="ekiben-forecast-") as place, shown(progress) as say:
        say("collecting the wheels")
        told = context.write(tag, Path(place) / "context", wheels=folders, lean=lean)
        return of_context(told, base=base)


def of_context(told: context.Context, *, base: Path | None = None) -> Forecast:
    """Forecast the image of a build context."""
    parts = [_distribution(each) for each in told.wheels]
    pins = pinning.read(told.folder / "bento" / "src").pins
    for arm, pin in pins.items():
        name, _, version = pin.tag.partition(":")
        folder = told.folder / "models" / name / version
        parts.append(
            Part(name=f"model {arm}", version=version, layer="models", n_bytes=_below(folder), reasons=(f"arm {arm}",))
        )
    parts.append(Part(name="code", layer="code", n_bytes=_below(told.folder / "bento"), reasons=("the service",)))
    if base is not None:
        parts.append(Part(name="base", layer="base", n_bytes=_below(base), reasons=("Python",)))
    ordered = tuple(sorted(parts, key=lambda each: (-each.n_bytes, each.name)))
    saves = {**savings(ordered), **_of_methods(told, ordered)}
    return Forecast(
        tag=told.tag, parts=ordered, saves=dict(sorted(saves.items(), key=lambda item: (-item[1], item[0])))
    )


def _of_methods(told: context.Context, parts: Iterable[Part]) -> dict[str, int]:
    """Tell what the image would not hold without a method of explaining, and without all that may be asked for."""
    if any("locked" in each.reasons for each in told.wheels):
        return {}  # all of the lock is installed, whatever asks for it
    source, models = told.folder / "bento", told.folder / "models"
    files = {each.name: each.file for each in told.wheels}
    needs = cache(lambda name: needed_by(files[name], told.python))
    loops = carries_loops(files["ekiben"])
    sizes = {each.name: each.n_bytes for each in parts if each.layer == "dependencies" and each.name != "ekiben"}
    methods = diet.methods_of(source, models)
    every: dict[tuple[str, ...], tuple[str, ...]] = {(name,): arms for name, arms in methods.items()}
    asked = sorted(spec.read(source / "src").explain.methods)
    if len(asked) > 1:  # each of them may need what another needs too
        every[tuple(asked)] = methods[asked[0]]
    found = {}
    for without, arms in every.items():
        wanted, by_plan = diet.roots(source, models=models, without=without, loops=loops)
        left = diet.plan(files.keys() - {"ekiben"}, wanted, by_plan, needs).needed
        if saved_bytes := sum(n_bytes for name, n_bytes in sizes.items() if name not in left):
            found[_of_which(without, arms)] = saved_bytes
    return found


def _of_which(methods: Sequence[str], arms: Sequence[str]) -> str:
    """Name methods and the arms that they explain.

    >>> _of_which(("anchor", "sampling"), ("champion",))
    'methods anchor, sampling (of arm champion)'
    """
    named = f"method{'s' if len(methods) > 1 else ''} {', '.join(methods)}"
    return f"{named} (of arm{'s' if len(arms) > 1 else ''} {', '.join(sorted(arms))})"


def savings(parts: Iterable[Part]) -> dict[str, int]:
    """Tell for each arm, method and protocol how many bytes nothing else asks for, the largest first.

    An arm's reasons count as one: without the arm its model and all that only it needs are gone.

    Examples
    --------
    >>> one = Part(name="a", n_bytes=5, reasons=("arm x (its plan)", "tables"))
    >>> savings(
    ...     [
    ...         one,
    ...         Part(name="b", n_bytes=2, reasons=("arm x (its plan)",)),
    ...         Part(name="m", n_bytes=1, reasons=("arm x",)),
    ...     ]
    ... )
    {'arm x (its plan)': 3}
    """
    every = list(parts)
    found: dict[str, int] = {}
    for each in every:
        groups = {_group(reason) for reason in each.reasons}
        if len(groups) == 1 and (group := groups.pop()) is not None:
            found[group] = found.get(group, 0) + each.n_bytes
    told = {_group(reason): reason for each in every for reason in each.reasons if "(" in reason}
    named = {told.get(group) or group: n_bytes for group, n_bytes in found.items()}
    return dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))


def _group(reason: str) -> str | None:
    if reason in ("ekiben", "locked", "the service", "Python"):
        return None
    return reason.partition(" (")[0]


def _distribution(wheel: Wheel) -> Part:
    parts = [wheel.sha256, Path(str(install.__file__)).read_bytes(), Path(__file__).read_bytes()]
    n_bytes = remembered("sizes", parts, lambda: _unpacked(wheel))
    return Part(name=wheel.name, version=wheel.version, n_bytes=n_bytes, reasons=wheel.reasons)


def _unpacked(wheel: Wheel) -> int:
    """Tell how many bytes of a wheel are installed, and compiled of it."""
    with zipfile.ZipFile(wheel.file) as packed:
        kept = install.asked_for(packed)
        files = [each for each in packed.infolist() if each.filename in kept or install.is_used(each.filename)]
        return sum(_kept(packed, each) for each in files)


def _kept(packed: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """Tell how many bytes a file is installed as: of a compiled library what its debugger asks for is not, a module is compiled too."""
    if ".so" in entry.filename:
        return _in_layer(len(install.shed(packed.read(entry))))
    if not entry.filename.endswith(".py"):
        return _in_layer(entry.file_size)
    if entry.filename.partition("/")[0].removesuffix(".py") not in install.UNDOCUMENTED:
        return _in_layer(entry.file_size) + _in_layer(round(entry.file_size * COMPILED))
    source = packed.read(entry)
    left = len(source) - sum(len(found) - found.count(b"\n") for found in WORDS.findall(source))
    return _in_layer(left) + _in_layer(round(left * COMPILED_WORDLESS))


def _in_layer(n_bytes: int) -> int:
    """Tell how much of a layer a file takes.

    >>> _in_layer(0), _in_layer(1)
    (512, 1024)
    """
    return BLOCK + -(-n_bytes // BLOCK) * BLOCK


def _below(place: Path) -> int:
    if place.is_file():
        return place.stat().st_size
    return sum(
        _in_layer(path.lstat().st_size if path.is_file() and not path.is_symlink() else 0) for path in place.rglob("*")
    )


def measured(image: str | Path) -> dict[str, int]:
    """Tell the bytes of each distribution in an image that was written or saved: what its RECORD names, and what Python compiled.

    Parameters
    ----------
    image
        An OCI layout, or an archive of one.

    Raises
    ------
    NotFoundError
        If there is no image.
    IntegrityError
        If a byte of it was changed.
    """
    sizes: dict[str, int] = {}
    owners: dict[str, str] = {}
    for name, size, file in saved.files_of(saved.read(Path(image))):
        if not name.startswith(SITE):
            continue
        inner = name.removeprefix(SITE)
        sizes[inner] = size
        if inner.endswith(".dist-info/RECORD") and file is not None:
            owner = inner.partition("-")[0].replace("_", "-").lower()
            owners |= {line.partition(",")[0].strip('"'): owner for line in file.read().decode().splitlines()}
    found: dict[str, int] = {}
    for inner, size in sizes.items():
        owner = owners.get(_source(inner), "nobody's")
        found[owner] = found.get(owner, 0) + size
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _source(name: str) -> str:
    """Name the module that Python compiled to a file, or the file itself."""
    folder, cached, compiled = name.rpartition("__pycache__/")
    return f"{folder}{compiled.partition('.')[0]}.py" if cached else name
