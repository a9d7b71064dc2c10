"""The explaining process: reads packages as the worker does, and explains one task after another until the worker is gone."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

from ekiben import explainers, explanations, packages
from ekiben.errors import EkibenError, ExplainError, IntegrityError, PlanError, place_of
from ekiben.explaining import messages
from ekiben.explaining.messages import Done, Failed, Known, Measured, Task, Warm
from ekiben.following import end_with_parent
from ekiben.packages import Package

logger = logging.getLogger("ekiben")
NICE = 10  # behind whoever predicts: at 5, who wakes up to answer may wait 3 ms for the rest of a slice
OOM_SCORE = b"800"  # the first that the system ends when memory is short
N_MEASURED = 2  # the first explanation reads what the others find there


def main(descriptor: int, parent: int, *, is_first: bool) -> None:
    """Answer what comes through a socket until its other end is closed."""
    _end_with(parent)
    yields = not is_first  # while a service starts, nobody is kept from an answer
    if yields:
        _yield()
    with socket.socket(fileno=descriptor) as worker:
        held = Held()
        while (asked := messages.asked(worker)) is not None:
            if not yields and isinstance(asked, Task):
                yields = True
                _yield()
            messages.send(worker, _safely(held.answered, asked))


def _end_with(parent: int) -> None:
    """End with the worker, however it ends, and not before: it may be answering its last requests."""
    for told in (signal.SIGINT, signal.SIGTERM):  # a terminal and a supervisor tell the whole group
        signal.signal(told, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL, parent)


def _yield() -> None:
    """Let whoever predicts go first, and be the first to go when memory is short."""
    with suppress(AttributeError, OSError):
        os.nice(NICE)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(OOM_SCORE)


def _safely(act: Callable[[Any], Measured | Done], asked: Task | Warm) -> Measured | Done | Failed:
    """Answer, or tell what failed; the words of an error that is not ekiben's own may hold values, and stay here."""
    try:
        return act(asked)
    except ExplainError as reason:
        return Failed(code="unexplainable", says=str(reason))
    except PlanError as reason:
        return Failed(code="unanswerable", says=str(reason))
    except EkibenError as reason:
        return Failed(code="internal", says=str(reason))
    except (ValueError, ArithmeticError) as reason:
        return Failed(code="unanswerable", says=place_of(reason))
    except MemoryError:
        return Failed(code="memory", says="")
    except Exception as reason:  # noqa: BLE001 -- an explainer may fail in any way
        return Failed(code="internal", says=place_of(reason))


class Held:
    """The packages that were read, by their digests, and the explainers that were fitted beside the packed ones."""

    def __init__(self) -> None:
        self._packages: dict[str, Package] = {}
        self._others: dict[tuple[str, str | None, str | None], Any] = {}

    def answered(self, asked: Task | Warm) -> Measured | Done:
        """Answer one message."""
        package = self._package(asked.folder, asked.digest)
        return self._measured(package, asked) if isinstance(asked, Warm) else self._explained(package, asked)

    def _package(self, folder: str, digest: str) -> Package:
        """Read a package once, its bytes verified; the digest is the word of whoever deploys."""
        if digest not in self._packages:
            manifest = packages.verify(Path(folder))
            if manifest["digest"] != digest:
                raise IntegrityError(f"The package must be {digest[:12]}. Got {str(manifest['digest'])[:12]}.")
            self._packages[digest] = packages.build(Path(folder), manifest, trust=digest)
        return self._packages[digest]

    def _explained(self, package: Package, task: Task) -> Done:
        began = perf_counter()
        chosen = self._explainer(package, task)
        told: dict[str, Any] = {"seed": task.seed}
        rounds = None
        if explainers.draws_rounds(chosen):
            left_s = None if task.seconds is None else task.seconds - (perf_counter() - began)
            rows = package.rows(task.columns)
            found, rounds = chosen.explain_rounds(rows, seconds=left_s, n_rounds=task.rounds, **told)
        elif chosen is package.explainer and package.explains_by_plan:
            found = package.explanations(task.columns)
        else:
            found = chosen.explain(package.rows(task.columns), **told)
        made = [explanations.to_json(each) for each in found]
        return Done(
            explanations=made,
            method=chosen.method,
            is_exact=explainers.is_exact(chosen.method) and getattr(chosen, "exact", True),
            rounds=rounds,
            ms=(perf_counter() - began) * 1e3,
        )

    def _explainer(self, package: Package, task: Task) -> Any:
        packed = task.method == package.method
        if packed and task.units in (None, getattr(package.explainer, "units", None)):
            return package.explainer
        named = None if packed and not task.is_named else task.method
        key = (package.digest, named, task.units)
        if key not in self._others:
            self._others[key] = package.fitted(named, task.units)
        return self._others[key]

    def _measured(self, package: Package, asked: Warm) -> Measured:
        """Explain a real row, and a second time by the clock; a method that is too slow has sampling stand by."""
        row = {name: [value] for name, value in package.examples[0]["row"].items()}
        found: dict[str, Known] = {}
        for method in dict.fromkeys((package.method, "sampling")):
            if found and found[package.method].ms <= asked.most_ms:
                break
            task = Task(folder=asked.folder, digest=asked.digest, method=method, columns=row, rounds=1)
            try:
                ms = min(self._explained(package, task).ms for _ in range(N_MEASURED))
            except ImportError:
                if not found:
                    raise
                break  # an image of plans alone has no library to draw by: what takes long comes later
            draws = explainers.draws_rounds(self._explainer(package, task))
            found[method] = Known(ms=ms, exact=explainers.is_exact(method), draws=draws)
        return Measured(methods=found)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), is_first=sys.argv[3] == "first")
