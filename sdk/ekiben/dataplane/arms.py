"""The arms of one service in one process: what each predicts, and how that is explained."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from ekiben import explainers, explanations, packages, protocol, tables
from ekiben.dialects import Refusal, Request, Routed
from ekiben.errors import EkibenError, ExplainError, place_of
from ekiben.explaining import answering, refusals, wishes
from ekiben.explaining.answering import Begun, Explaining, Found
from ekiben.explaining.apart import Full
from ekiben.explaining.wishes import PLAIN, Wish
from ekiben.observing import Seldom
from ekiben.packages import Package
from ekiben.spec import ServiceSpec

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("ekiben")
NOT_SHOWN = (
    "Reference rows leave a service only where its spec says so. This one's does not. "
    "Set in ekiben.toml: [explain] show_reference = true"
)
HOOKS = ("preprocess", "postprocess", "unit_of")

Columns = Mapping[str, list[Any]]
Explain = Callable[[Sequence[Sequence[Any]]], tuple[list[dict[str, Any]], float]]


class Hooks:
    """What the author of a service may override; as it stands, it changes nothing."""

    def preprocess(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Change the rows before the model sees them; they fit the contract, and must still."""
        return frame

    def postprocess(self, predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Change the predictions before they leave."""
        return predictions

    def unit_of(self, request: Request, body: Mapping[str, Any]) -> str | None:  # noqa: ARG002 -- for who overrides it
        """Tell who sticks to an arm; None leaves it to the spec's `unit`."""
        return None

    def changed(self, hooks: Sequence[str] = ("preprocess", "postprocess")) -> list[str]:
        """Name the hooks that somebody overrode; by default those that change what the models answer."""
        return [name for name in hooks if getattr(getattr(self, name), "__func__", None) is not getattr(Hooks, name)]


class HookError(EkibenError, RuntimeError):
    """A hook gave what no model takes; its words hold no values."""


class Escaped(EkibenError, RuntimeError):  # noqa: N818 -- named for what it tells
    """A model or a hook ended by what is no error; its words hold no values."""


class Unplanned(EkibenError):  # noqa: N818 -- nothing is wrong
    """Rows that a plan cannot explain at once, and more than the plan may be asked about."""


class Arms:
    """The packages of a service's arms, asked as its spec and its hooks say.

    Parameters
    ----------
    spec
        What is served.
    packages
        The package of each arm.
    hooks
        The service's own `preprocess` and `postprocess`.
    explaining
        What explains within a time, slow methods in a process of their own; None explains here, whatever it takes.
    """

    def __init__(
        self, spec: ServiceSpec, packages: Mapping[str, Package], hooks: Hooks, explaining: Explaining | None = None
    ) -> None:
        self.spec, self.packages, self.hooks, self.explaining = spec, packages, hooks, explaining
        self.known_texts = {arm: _seen(package) for arm, package in packages.items()}
        self.hidden = {name for each in packages.values() for name in spec.hidden(each.schema)}
        self._at_once = dict[str, bool]()
        self._prepares = "preprocess" in hooks.changed()
        self._error, self._warning = Seldom(logger.error), Seldom(logger.warning)

    def predictions(self, arm: str, columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
        """Answer columns that fit the contract, as the body's `predictions`.

        Raises
        ------
        Refusal
            If the model has no answer for them.
        """
        package = self.packages[arm]
        with contained():
            rows = self._asked(columns, package)
            with self._answering(package):
                found = self._predictions(package, rows)
            return self.hooks.postprocess(found)

    def batch(self, arm: str, asked: Sequence[Mapping[str, list[Any]]]) -> list[list[dict[str, Any]]]:
        """Answer the columns of several requests by asking the model once."""
        joined = {name: [value for columns in asked for value in columns[name]] for name in asked[0]}
        found = iter(self.predictions(arm, joined))
        return [list(islice(found, n_rows(columns))) for columns in asked]

    def _asked(self, columns: Columns, package: Package) -> Columns | pd.DataFrame:
        """Give columns as they are; or where the service has a hook of its own the frame that it makes, in the model's order."""
        if not self._prepares:
            return columns
        made, names = self.hooks.preprocess(tables.as_frame(columns, package.schema)), list(package.schema.names)
        if not hasattr(made, "columns"):
            raise HookError(f"`preprocess` must return a frame. It returned {type(made).__name__}.")
        if missing := [name for name in names if name not in made.columns]:
            raise HookError(f"`preprocess` must return every column of the contract. It returned none of {missing}.")
        return made[names]

    @contextmanager
    def _answering(self, package: Package) -> Iterator[None]:
        try:
            yield
        except (ValueError, ArithmeticError) as reason:
            raise self._unanswerable(package, reason) from reason

    def _unanswerable(self, package: Package, reason: Exception) -> Refusal:
        self._warning(f"{package.ref} could not answer rows that fit its contract: {type(reason).__name__}")
        message = "The model must have an answer for rows that fit the contract. It has none for these."
        return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "unanswerable", message)

    def _predictions(self, package: Package, rows: Columns | pd.DataFrame) -> list[dict[str, Any]]:
        if isinstance(rows, Mapping):
            return package.predictions(rows)
        answered = packages.table(package.answers(rows), package.signature, rows.index)
        return protocol.predictions(tables.as_records(answered), package.signature)

    def begin(self, routed: Routed, wish: Wish, left_s: float, *, at_once: bool = False) -> Found | Begun:
        """Explain at once, or begin what the time allows; `at_once` explains here by the plan alone.

        Raises
        ------
        Unplanned
            If that is not enough.
        Refusal, SpecError
            If it cannot be explained, or not now, or not as it is wished.
        """
        arm, package = routed.choice.arm, self.packages[routed.choice.arm]
        scales = explainers.scales_of(package.signature.outputs[0])
        wishes.checked(wish, package.method, self.spec.explain.methods, package.schema.names, scales)
        if (wish.method or package.method) == "examples" and not self.spec.explain.show_reference:
            raise Refusal(HTTPStatus.FORBIDDEN, "not_shown", NOT_SHOWN)
        self._refuse_wide(arm, wish)
        with contained():
            rows = self._asked(routed.columns, package)
        if self.explaining is None or self.is_here(arm, wish):
            return self._explained_here(arm, rows, wish, at_once=at_once)
        columns = rows if isinstance(rows, Mapping) else dict(zip(rows.columns, tables.as_columns(rows), strict=True))
        try:
            return self.explaining.begin(arm, columns, wish, left_s)
        except Full:
            raise refusals.full() from None

    def is_here(self, arm: str, wish: Wish) -> bool:
        """Tell whether this process itself explains."""
        return self.explaining is None or self.explaining.is_quick(arm, wish)

    def beside(self, arm: str, rows: Sequence[Sequence[Any]], *, at_once: bool = False) -> Found:
        """Explain what is predicted for rows, in the order of the model's columns; `at_once` by the plan alone."""
        self._refuse_wide(arm, PLAIN)
        return self._made_here(arm, rows, PLAIN, at_once=at_once)

    def explainer(self, arm: str) -> Explain:
        """Give what explains rows of an arm by its plan alone, and tells how many seconds it took; it is for arms of which all may be told."""
        documents, counts = self.packages[arm].documents, self._counts(arm)

        def explain(rows: Sequence[Sequence[Any]]) -> tuple[list[dict[str, Any]], float]:
            began = time.perf_counter()
            made = documents(rows)
            seconds = time.perf_counter() - began
            counts(seconds)
            return made, seconds

        return explain

    def untimed(self, arm: str) -> Found:
        """Give what is told of every explanation of an arm by its plan, but for the time that it took."""
        return answering.here(self.packages[arm], arm, [{}], PLAIN, 0.0)

    def _counts(self, arm: str) -> Callable[[float], None]:
        if self.explaining is None:
            return lambda _seconds: None
        found = self.untimed(arm)
        return partial(self.explaining.counted.explained_here, arm, found.method, found.rung)

    def row_by_row(self, arm: str, rows: Sequence[Sequence[Any]]) -> Generator[None, None, Found]:
        """Explain as `beside` does at once, and let others go first between two rows."""
        self._refuse_wide(arm, PLAIN)
        made: list[dict[str, Any]] = []
        seconds = 0.0
        for row in rows:
            if made:
                yield
            documents, took_s = self._documents(arm, Package.documents, [row], at_once=True)
            made, seconds = [*made, *documents], seconds + took_s
        return answering.here(self.packages[arm], arm, made, PLAIN, seconds, self.explaining)

    def why(self, found: Found) -> list[dict[str, Any]]:
        """Say for each row how its explanation was made, for its record."""
        return [] if self.explaining is None else self.explaining.audit(found)

    def explains_at_once(self, arm: str) -> bool:
        """Tell whether an explanation takes microseconds: it needs the plan alone."""
        if arm not in self._at_once:
            quick = self.is_here(arm, PLAIN)
            self._at_once[arm] = quick and not self.hooks.changed() and self.packages[arm].explains_by_plan
        return self._at_once[arm]

    def tells_all(self, arm: str) -> bool:
        """Tell whether an explanation of every column is within the limits."""
        most = self.spec.limits.explain_columns
        return most is None or self._n_told(arm, PLAIN) <= most

    def _refuse_wide(self, arm: str, wish: Wish) -> None:
        most = self.spec.limits.explain_columns
        if most is not None and (n_told := self._n_told(arm, wish)) > most:
            raise refusals.too_wide(most, n_told)

    def _n_told(self, arm: str, wish: Wish) -> int:
        package = self.packages[arm]
        method, names = wish.method or package.method, package.schema.names
        return wishes.n_told(wish, method, [name for name in names if method != "examples" or name not in self.hidden])

    def _explained_here(self, arm: str, rows: Columns | pd.DataFrame, wish: Wish, *, at_once: bool) -> Found:
        package = self.packages[arm]
        if isinstance(rows, Mapping):
            return self._made_here(arm, rows_of(rows, package), wish, at_once=at_once)
        if at_once and package.explains_beyond:  # whose frame its library might explain, in milliseconds
            return self._made_here(arm, list(zip(*tables.as_columns(rows), strict=True)), wish, at_once=True)
        made, seconds = self._documents(arm, _explained, rows, wish.seed)
        return answering.here(package, arm, made, wish, seconds, self.explaining)

    def _made_here(self, arm: str, rows: Sequence[Sequence[Any]], wish: Wish, *, at_once: bool) -> Found:
        make = Package.documents if at_once else Package.documents_of_all
        made, seconds = self._documents(arm, make, rows, at_once=at_once)
        return answering.here(self.packages[arm], arm, made, wish, seconds, self.explaining)

    def _documents(
        self, arm: str, make: Callable[..., list[dict[str, Any]]], *given: Any, at_once: bool = False
    ) -> tuple[list[dict[str, Any]], float]:
        """Make what travels, and tell how long it took."""
        package, began = self.packages[arm], time.perf_counter()
        try:
            with contained():
                return make(package, *given), time.perf_counter() - began
        except ExplainError as reason:
            raise refusals.unexplainable(str(reason)) from reason
        except (ValueError, ArithmeticError) as reason:
            if at_once and package.explains_beyond:
                raise Unplanned from reason
            raise self._unanswerable(package, reason) from reason

    def _shown(self, arm: str, found: Found) -> Found:
        """Leave out of reference rows what is private, and what the records do not keep in clear."""
        hidden = [name for name in self.packages[arm].schema.names if name in self.hidden]
        kinds = {each["kind"] for each in found.explanations}
        if not hidden or explanations.Examples.kind not in kinds:
            return found
        told = map(explanations.from_json, found.explanations)
        shown = [each.without(hidden) if isinstance(each, explanations.Examples) else each for each in told]
        return msgspec.structs.replace(found, explanations=[explanations.to_json(each) for each in shown])


@contextmanager
def contained() -> Iterator[None]:
    """Make an error of what is none, such as an exit or a panic of Rust: it would end a thread, or the service.

    Raises
    ------
    Escaped
        In its place.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as reason:
        raise Escaped(place_of(reason)) from reason


def n_rows(columns: Mapping[str, list[Any]]) -> int:
    """Count the rows of columns."""
    return len(next(iter(columns.values()), ()))


def rows_of(columns: Columns, package: Package) -> list[tuple[Any, ...]]:
    """Turn columns into rows, in the order in which a model takes them."""
    return list(zip(*(columns[name] for name in package.schema.names), strict=True))


def _explained(package: Package, rows: pd.DataFrame, seed: int) -> list[dict[str, Any]]:
    return list(map(explanations.to_json, package.explainer.explain(rows, seed=seed)))


def _seen(package: Package) -> dict[str, frozenset[Any]]:
    """Give the texts that an arm has seen in each column where it takes others too."""
    return {
        column.name: frozenset(column.categories)
        for column in package.schema.columns
        if column.categories is not None and not column.is_closed
    }
