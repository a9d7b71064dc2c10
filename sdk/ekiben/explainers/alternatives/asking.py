"""Ask a model about rows in columns of plain values: by its plan, or by itself in one call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ekiben.compiling import NO_ANSWER
from ekiben.explainers._context import Context
from ekiben.explainers.alternatives.wanted import Answered
from ekiben.models import Answers, explained, numbers
from ekiben.schema import Part

MOST_ROWS = 8_000  # in one call


@dataclass(frozen=True, slots=True)
class Asking:
    """How the explained output of a model answers columns."""

    context: Context

    @property
    def output(self) -> str:
        """Say what is answered."""
        name = repr(self.context.output.name) if self.context.output.name else ""
        noun = "the label" if self.context.classes else "the value"
        return f"{noun} of {name}" if name else noun

    def many(self, columns: Sequence[Sequence[Any]], n_rows: int) -> Answered:
        """Answer many rows at once."""
        if n_rows > MOST_ROWS:
            starts = range(0, n_rows, MOST_ROWS)
            parts = [
                self._many([each[at : at + MOST_ROWS] for each in columns], min(MOST_ROWS, n_rows - at))
                for at in starts
            ]
            labels = None if parts[0].labels is None else np.concatenate([part.labels for part in parts])
            return Answered(numbers=np.concatenate([part.numbers for part in parts]), labels=labels)
        return self._many(columns, n_rows)

    def _many(self, columns: Sequence[Sequence[Any]], n_rows: int) -> Answered:
        plan = self.context.plan
        if plan is not None:
            with suppress(*NO_ANSWER):
                if self._labels_alone:  # a plan may choose them sooner than it has the numbers behind them
                    labels = np.array(self.context.classes, dtype=object)[plan.label_numbers(columns, n_rows)]
                    return self._answered(Answers(labels=labels))
                return self._answered(plan.answers_by_column(columns, n_rows)[self.context.which])
        return self._by_model(columns)

    @property
    def _labels_alone(self) -> bool:
        """Whether the explained output is the model's first, and has labels and nothing else."""
        return self.context.which == 0 and self.context.output.parts == ("label",) and bool(self.context.classes)

    def alone(self, columns: Sequence[Sequence[Any]], n_rows: int) -> Answered:
        """Answer each row as a request for it alone is answered."""
        plan = self.context.plan
        if plan is not None:
            with suppress(*NO_ANSWER):
                return self._answered(plan.answers_by_row(list(zip(*columns, strict=True)))[self.context.which])
        each = [self._by_model([[column[i]] for column in columns]) for i in range(n_rows)]
        labels = None if each[0].labels is None else np.concatenate([one.labels for one in each])
        return Answered(numbers=np.concatenate([one.numbers for one in each]), labels=labels)

    def _by_model(self, columns: Sequence[Sequence[Any]]) -> Answered:
        from ekiben.tables import as_frame

        context = self.context
        frame = as_frame(dict(zip(context.names, map(list, columns), strict=True)), context.schema)
        return self._answered(context.adapter.answers(context.live, frame, self._parts)[context.which])

    @property
    def _parts(self) -> tuple[Part, ...]:
        parts = explained(self.context.output)
        return (*parts, "label") if self.context.classes and "label" not in parts else parts

    def _answered(self, answers: Answers) -> Answered:
        """Take what is explained of an answer; labels only where the output has classes."""
        output = replace(self.context.output, classes=self.context.classes)
        kept = replace(answers, scores=answers.scores if "scores" in output.parts else None)
        if not self.context.classes:
            return Answered(numbers=numbers(kept, output), labels=None)
        labels = np.asarray(answers.labels, dtype=object)
        found = kept if kept.scores is not None else Answers(labels=labels)
        return Answered(numbers=numbers(found, output), labels=labels)
