"""The package: a fitted model with its contract, its plan, its explainer and where they came from."""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben import cards, compiling, explainers, explanations, protocol, tables
from ekiben.compiling import NO_ANSWER, Certificate, Costs, Plan
from ekiben.errors import EkibenError, SpecError, nearest
from ekiben.explainers import Context, Explainer, Later
from ekiben.explainers.whole import Whole, reporting
from ekiben.explainers.whole.asking import Table
from ekiben.explanations import Explanation, Explanations, Facts
from ekiben.models import Adapter, Answers, explained
from ekiben.overviews import Overview
from ekiben.packages.documents import read, understood
from ekiben.refs import ModelRef
from ekiben.schema import Schema, Signature

if TYPE_CHECKING:
    import pandas as pd

OVERVIEW = "overview.json"
ROW_BY_ROW = ("lightgbm", "sklearn", "xgboost")  # kinds whose answer for a row does not depend on the rows beside it


@dataclass(frozen=True, kw_only=True, eq=False)
class Package(Whole):
    """A model made servable: what `pack` makes, `log` keeps and `scaffold` serves.

    Parameters
    ----------
    folder
        Where its files are; they were read and verified when the package was made.
    manifest
        The content of `package.json`.
    adapter, signature
        How to ask the model, and what it takes and gives.
    read_model
        Builds the model from its files; called when it is first needed.

    Examples
    --------
    >>> import ekiben, pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> X = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0]})
    >>> package = ekiben.pack(LinearRegression().fit(X, [20, 30, 40, 60]), name="flat", reference=X)
    >>> package.predict(X.head(1)).round(6)
       value
    0   20.0
    >>> package.explain(X.head(1))[0].contributions["rooms"].__round__(6)
    -17.5
    """

    folder: Path
    manifest: Mapping[str, Any]
    adapter: Adapter
    signature: Signature
    read_model: Callable[[], Any] = field(repr=False)

    @cached_property
    def model(self) -> Any:
        """The model itself, as read back from its files; a plan may spare it."""
        return self.read_model()

    @cached_property
    def plan(self) -> Plan | None:
        """The compiled plan; None where the model serves itself."""
        if not self.manifest.get("plan", {}).get("compiled"):
            return None
        with understood("The plan"):
            costs = Costs(**self.manifest["costs"])
        return compiling.load(
            self.folder / "plan", self.schema, self.signature.outputs, costs, model=lambda: self.model
        )

    @property
    def certificate(self) -> Certificate | None:
        """What was tried when the plan was held against the model; None where there is no plan."""
        told = self.manifest.get("plan", {}).get("certificate")
        with understood("The certificate"):
            return None if told is None else Certificate.from_json(told)

    @property
    def name(self) -> str:
        """The name under which versions are registered."""
        return str(self.manifest["name"])

    @property
    def digest(self) -> str:
        """SHA-256 of what the package holds; the same model and data give the same digest."""
        return str(self.manifest["digest"])

    @property
    def ref(self) -> ModelRef:
        """The package by its digest, for one that was never logged."""
        return ModelRef(name=self.name, digest=self.digest[:12])

    @property
    def schema(self) -> Schema:
        """The contract of the rows."""
        return self.signature.inputs

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Metrics on held-out rows with their 95 % intervals; empty when no such rows were given."""
        found: Mapping[str, Mapping[str, float]] = self.manifest["metrics"]
        return found

    @property
    def method(self) -> str:
        """The name of the method that explains."""
        return str(self.manifest["explainer"])

    @cached_property
    def profile(self) -> Mapping[str, Any]:
        """Quantiles, counts and shares of each column of the reference data."""
        with understood("profile.json"):
            found: dict[str, Any] = read(self.folder / "reference" / "profile.json")
            return {str(name): dict(column) for name, column in found.items()}

    @cached_property
    def sample(self) -> pd.DataFrame:
        """At most 1,000 rows of the reference data; private columns hold values that nobody has."""
        return _frame_in(self.folder / "reference" / "sample.json", self.schema)

    @cached_property
    def examples(self) -> tuple[dict[str, Any], ...]:
        """A few rows of the reference, each as `row` and the `answer` that was recorded; private columns as in `sample`."""
        with understood("examples.json"):
            found: list[dict[str, Any]] = read(self.folder / "examples.json")
            return tuple({"row": dict(each["row"]), "answer": dict(each["answer"])} for each in found)

    @cached_property
    def example_frame(self) -> pd.DataFrame:
        """The rows of `examples` as a frame."""
        rows = [example["row"] for example in self.examples]
        with understood("examples.json"):
            return tables.as_frame({name: [row[name] for row in rows] for name in self.schema.names}, self.schema)

    @cached_property
    def explainer(self) -> Explainer:
        """What explains, read back from its files."""
        with understood("explainer/"):
            return explainers.load(self.folder / "explainer", self._context(fitted=True))

    def predict(self, frame: pd.DataFrame, *, compiled: bool = True) -> pd.DataFrame:
        """Answer exactly as the service will.

        Parameters
        ----------
        frame
            Rows of shape (n_rows, n_columns), columns in any order.
        compiled
            False asks the model itself, whether there is a plan or not.

        Returns
        -------
        One row an answer, with the index of `frame`: `label` and `score_<class>` in [0, 1], or `value`; of several
        outputs each under its own name.

        Raises
        ------
        SchemaError
            If the rows do not fit the contract, with every fault.
        """
        rows = tables.conform(frame, self.schema)
        answers = self.answers(rows) if compiled else ask(self.adapter, self.model, rows)
        return table(answers, self.signature, rows.index)

    def answers(self, rows: pd.DataFrame) -> tuple[Answers, ...]:
        """Answer rows that fit the contract: by the plan, or by the model where it is quicker or there is no plan."""
        plan = self.plan
        if plan is not None and not plan.costs.plans_frames:
            plan = self.plan_for(len(rows))
        if plan is not None:
            with suppress(*NO_ANSWER):
                return plan.answers(compiling.columns_of(rows), len(rows))
        return ask(self.adapter, self.model, rows)

    def predictions(self, columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        """Answer columns of plain values that fit the contract, as the body of an answer holds them; without a frame by the plan."""
        chosen = [columns[name] for name in self.schema.names]
        if (plan := self.plan_for(len(chosen[0]))) is None:
            return self._asked(columns)
        try:
            return plan.predictions(list(zip(*chosen, strict=True)))
        except NO_ANSWER as reason:
            try:
                return self._asked(columns)
            except ImportError:  # an image of plans alone
                raise reason from None

    def _asked(self, columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        rows = tables.as_frame(columns, self.schema)
        found = table(ask(self.adapter, self.model, rows), self.signature, rows.index)
        return protocol.predictions(tables.as_records(found), self.signature)

    @cached_property
    def is_row_by_row(self) -> bool:
        """Whether a row is answered beside any others as it is alone; a row of gaps beside another is tried once.

        Code of its own may do anything, and some imputers fill a row of gaps otherwise where all rows are such.
        """
        if self.manifest["kind"] not in ROW_BY_ROW or self.manifest.get("carries"):
            return False
        row = self.examples[0]["row"]
        gaps = {**row, **{each.name: None for each in self.schema.columns if each.nullable}}
        try:
            alone = self.predictions({name: [gaps[name]] for name in row})
            beside = self.predictions({name: [gaps[name], row[name]] for name in row})
        except Exception:  # noqa: BLE001 -- a model that refuses the row, however it does, gives no other answer
            return True
        return _alike(alone[0], beside[0])

    def plan_for(self, n_rows: int) -> Plan | None:
        """Give the plan, where it is the quicker way to answer so many rows.

        From the crossover on that is the model itself. One that nobody has built yet is built beside the requests, which the
        plan goes on answering.
        """
        plan = self.plan
        if plan is None or n_rows < plan.costs.most_planned:
            return plan
        if "model" in vars(self):
            return None
        _ = self._building
        return plan

    @cached_property
    def _building(self) -> threading.Thread:
        """Build the model in a thread of its own; one that cannot be built here leaves everything to the plan."""

        def build() -> None:
            with suppress(EkibenError):
                _ = self.model

        thread = threading.Thread(target=build, daemon=True, name=f"ekiben-build-{self.name}")
        thread.start()
        return thread

    def explain(
        self,
        frame: pd.DataFrame,
        *,
        method: str | None = None,
        settings: Mapping[str, Any] | None = None,
        units: str | None = None,
        output: str | None = None,
        seed: int = 0,
        rounds: int | None = None,
    ) -> Explanations:
        """Explain the answer for each row on the raw columns.

        Parameters
        ----------
        frame
            Rows of shape (n_rows, n_columns), columns in any order.
        method
            One of ekiben's methods; by default the one that was packed.
        settings
            Settings of the method, such as `{"wanted": "good"}`; what is left out is as it was packed.
        units
            The scale to explain on: `probability`, `log-odds`, `margin` or `target`; by default that of the method. Where no
            method is named and the packed one has no such scale, `sampling` explains.
        output
            Which of several outputs to explain, by name; by default the first.
        seed
            Seeds the methods that draw samples; the same seed explains the same.
        rounds
            How many rounds a method draws that draws several, such as `sampling`: more make smaller errors. One by default.

        Raises
        ------
        SchemaError
            If the rows do not fit the contract.
        ExplainError
            If the method cannot explain this model.
        SpecError
            If there is no such method, setting or output, or it draws no rounds.
        """
        rows = tables.conform(frame, self.schema)
        which = self._which(output)
        is_packed = which == 0 and method in (None, self.method)
        if is_packed and not settings and units is not None and getattr(self.explainer, "units", None) == units:
            units = None
        if units is not None:
            told = {**(settings or {}), "units": units}
            chosen = explainers.in_units(method, self.method, self._context(which), told)
        elif not is_packed:
            chosen = explainers.choose(method or self.method, self._context(which), settings=settings)
        else:
            chosen = explainers.adjusted(self.explainer, settings) if settings else self.explainer
        if rounds is None:
            found = Explanations(chosen.explain(rows, seed=seed))
        elif explainers.draws_rounds(chosen):
            found = Explanations(chosen.explain_rounds(rows, seed=seed, n_rounds=rounds)[0])  # type: ignore[attr-defined]
        else:
            raise SpecError(
                f"The 'rounds' are for a method that draws them. {chosen.method!r} does not. Leave them out."
            )
        facts = Facts(model=str(self.ref), digest=self.digest)
        known = self.schema
        return found.about(tables.as_rows(rows), labels=known.labels, units=known.units, days=known.days, facts=facts)

    def explanations(self, columns: Mapping[str, Sequence[Any]]) -> Explanations:
        """Explain answers for columns of plain values that fit the contract; by the plan, without a frame, where the method can."""
        explain = getattr(self.explainer, "explain_columns", None) if self.plan is not None else None
        if explain is not None:
            chosen = [columns[name] for name in self.schema.names]
            found: list[Explanation] | None = explain(chosen, len(chosen[0]))
            if found is not None:
                return Explanations(found)
        return Explanations(self.explainer.explain(self.rows(columns)))

    def documents(self, rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
        """Explain answers for rows of plain values, in the order of the contract's columns, and give what travels."""
        if self._documents is not None:
            return self._documents(rows)
        columns = dict(zip(self.schema.names, map(list, zip(*rows, strict=True)), strict=True))
        return [explanations.to_json(each) for each in self.explanations(columns)]

    def documents_of_all(self, rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
        """Explain as `documents` does, and by the model's own library what the plan has no answer for, where the method can."""
        try:
            return self.documents(rows)
        except NO_ANSWER:
            if not self.explains_beyond:
                raise
        columns = dict(zip(self.schema.names, map(list, zip(*rows, strict=True)), strict=True))
        return [explanations.to_json(each) for each in self.explanations(columns)]

    @property
    def explains_beyond(self) -> bool:
        """Whether the model's own library may explain what the plan has no answer for; it takes longer, or has to be read."""
        return self.explains_by_plan and bool(getattr(self.explainer, "beyond", False))

    @cached_property
    def _documents(self) -> Callable[[Sequence[Sequence[Any]]], list[dict[str, Any]]] | None:
        """What explains rows without making an object of each explanation, where the method has such a way."""
        return getattr(self.explainer, "documents", None) if self.explains_by_plan else None

    def rows(self, columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
        """Make a frame of columns of plain values that fit the contract."""
        return tables.as_frame(columns, self.schema)

    def fitted(self, method: str | None, units: str | None = None) -> Explainer:
        """Fit another method than the packed one, or on another scale, to the model and the sample of its reference.

        Raises
        ------
        ExplainError
            If the method cannot explain this model.
        SpecError
            If there is no such method.
        """
        if units is not None:
            return explainers.in_units(method, self.method, self._context(), {"units": units})
        return explainers.choose(method or self.method, self._context())

    @property
    def explains_by_plan(self) -> bool:
        """Whether explanations need nothing but the plan."""
        if self.plan is None or not getattr(explainers.method(self.method), "by_plan", False):
            return False  # to read one of another method takes the model
        return bool(getattr(self.explainer, "quick", False))

    def _context(self, which: int = 0, *, fitted: bool = False) -> Context:
        """Give what a method is told; one that is fitted already has what it needs, but for labels that nobody listed."""
        output = self.signature.outputs[which]
        spared = fitted and (bool(output.classes) or explained(output) == ("value",))
        return Context(
            model=Later(lambda: self.model),
            adapter=self.adapter,
            schema=self.schema,
            reference=None if spared else self.sample,
            plan=self.plan if which == 0 else None,
            outputs=self.signature.outputs,
            which=which,
        )

    def _which(self, output: str | None) -> int:
        names = [each.name for each in self.signature.outputs]
        if output is not None and names == [""]:
            raise SpecError(
                f"The 'output' chooses one of several. Got {output!r}, and the model has one. Leave it out."
            )
        if output is not None and output not in names:
            raise SpecError(f"The 'output' must be one of {names}. Got {output!r}.{nearest(output, names)}")
        return 0 if output is None else names.index(output)

    @cached_property
    def overview(self) -> Overview:
        """What explains the model as a whole: as it was packed, and for a package that keeps none as it is told now."""
        path = self.folder / OVERVIEW
        if not path.exists():
            return reporting.report(self._context(), self.name)
        with understood(OVERVIEW):
            return Overview.of_json(read(path))

    def _table(self, X: pd.DataFrame | None, output: str | None) -> Table:
        context = self._context(self._which(output))
        return Table(context, self.sample if X is None else tables.conformed("X", X, self.schema))

    def save(self, folder: str | Path) -> Path:
        """Copy the package into a new folder."""
        target = Path(folder)
        if target.is_file() or (target.is_dir() and any(target.iterdir())):
            what = "is a file" if target.is_file() else "holds files"
            raise SpecError(f"The 'folder' must be new or empty. Got {str(folder)!r}, which {what}.")
        shutil.copytree(self.folder, target, dirs_exist_ok=True)
        return target

    def __str__(self) -> str:
        return cards.text(self.manifest, self.signature)

    def __repr__(self) -> str:
        return f"<Package {self.ref} {self.manifest['class']} explained by {self.method}>"

    def _repr_html_(self) -> str:
        return cards.html(self.manifest, self.signature, self.profile)


def ask(adapter: Adapter, model: Any, rows: pd.DataFrame) -> tuple[Answers, ...]:
    """Ask a model about rows that fit its contract; for each output, what it answered."""
    return adapter.answers(model, rows)


def table(answers: Sequence[Answers], signature: Signature, index: pd.Index[Any]) -> pd.DataFrame:
    """Put answers into a frame: for each output label, one score a class, value, as its `columns` say."""
    import pandas as pd

    made: dict[str, Any] = {}
    for output, answered in zip(signature.outputs, answers, strict=True):
        found: dict[str, Any] = {"label": answered.labels, "value": answered.values, "scores": answered.scores}
        for part in output.parts:
            names, values = output.columns_of(part), found[part]
            made |= {name: values[:, i] for i, name in enumerate(names)} if part == "scores" else {names[0]: values}
    return pd.DataFrame(made, index=index)


def _frame_in(path: Path, contract: Schema) -> pd.DataFrame:
    with understood(path.name):
        return tables.as_frame(read(path), contract)


def _alike(one: Any, other: Any) -> bool:
    """Compare two answers up to the rounding of sums in another order."""
    if isinstance(one, dict):
        return all(_alike(each, other[name]) for name, each in one.items())
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9) if isinstance(one, float) else bool(one == other)
