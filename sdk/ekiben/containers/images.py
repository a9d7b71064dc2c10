"""An image that was built, and what was found when it ran."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

MB = 1_000_000
HOLDS = ("base", "dependencies", "models", "code")  # what each layer holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer: what it holds, its digest, its bytes without compression, and as many as were forecast of it, if any were."""

    holds: str
    digest: str
    n_bytes: int
    forecast_bytes: int | None = None

    @property
    def expected(self) -> str:
        """Say what was forecast of it, if anything was."""
        return "" if self.forecast_bytes is None else f"  forecast {self.forecast_bytes / MB:,.1f} MB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What was found when the image ran hardened: how long it took, what it took, and what was compared.

    Parameters
    ----------
    start_s
        Seconds from its start to its first answer.
    memory_mb
        Megabytes that its processes held at the first answer.
    n_rows
        Rows that were answered and compared.
    exact
        The arms whose numbers were equal bit for bit; of the others they were within the tolerance.
    stop_s
        Seconds from SIGTERM to its end with code 0.
    """

    start_s: float
    memory_mb: float
    n_rows: int
    exact: tuple[str, ...]
    stop_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image of a bento: what `ek.containerize` gives.

    Parameters
    ----------
    ref
        Its name.
    digest
        SHA-256 of its manifest; of an engine that keeps none, of its configuration.
    tag
        The bento's.
    engine
        What built it, and why that one.
    n_bytes
        Its size without compression.
    layers
        Base, dependencies, models, code.
    ran
        What was found when it ran; None where nothing runs containers here.

    Examples
    --------
    >>> print(Image(ref="churn:1", digest="sha256:ab", tag="churn:1", engine="podman", n_bytes=2 * MB))
    churn:1  sha256:ab
      2 MB, built by podman
      not run: nothing here runs a container
    """

    ref: str
    digest: str
    tag: str
    engine: str
    n_bytes: int
    layers: tuple[Layer, ...] = ()
    ran: Ran | None = None

    @property
    def size_mb(self) -> float:
        """Megabytes without compression."""
        return self.n_bytes / MB

    @property
    def is_proved(self) -> bool:
        """Whether it ran hardened, and answered as its packages do: some row, at least."""
        return self.ran is not None and self.ran.n_rows > 0

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield "size", f"{self.size_mb:,.0f} MB, built by {self.engine}"
        if self.ran is None:
            yield "run", "not run: nothing here runs a container"
            return
        exact = f"; bit for bit: {', '.join(self.ran.exact)}" if self.ran.exact else ""
        yield "run", f"first answer after {self.ran.start_s:.1f} s, with {self.ran.memory_mb:,.0f} MB of memory"
        rows = f"{self.ran.n_rows} rows equal to their packages{exact}"
        yield (
            "compared",
            rows if self.ran.n_rows else "no row: none fits every arm, or service.py answers in its own way",
        )
        yield "stop", f"{self.ran.stop_s:.1f} s after SIGTERM, exit code 0"

    def __str__(self) -> str:
        facts = [f"  {fact}" for _, fact in self._facts()]
        layers = [
            f"  {each.holds:<14}{each.n_bytes / MB:>7,.1f} MB  {each.digest[:19]}{each.expected}"
            for each in self.layers
        ]
        return "\n".join([f"{self.ref}  {self.digest}", *facts, *layers])

    def _repr_html_(self) -> str:
        rows = [(key, fact) for key, fact in self._facts()]
        rows += [
            (f"layer: {each.holds}", f"{each.n_bytes / MB:,.1f} MB {each.digest[:19]}…{each.expected}")
            for each in self.layers
        ]
        cells = "".join(f"<tr><th>{html.escape(key)}</th><td>{html.escape(fact)}</td></tr>" for key, fact in rows)
        return f"<b>{html.escape(self.ref)}</b> <code>{html.escape(self.digest)}</code><table>{cells}</table>"
