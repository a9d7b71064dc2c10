"""What rows cost by a plan and by its model, as it was measured where a model was packed, and which of both is the quicker."""

from __future__ import annotations

import math
from dataclasses import dataclass

VERY_MANY = 16_384  # rows, more than are measured where a model is packed
CLEARLY = 4  # so many times as dear is no noise of a busy machine
CLEARLY_LESS = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What rows cost, in microseconds, as it was measured where the model was packed.

    Parameters
    ----------
    row_us
        One row by the plan.
    many_us
        One more row in a large table, by the plan.
    few
        Up to so many rows are answered one by one.
    native_row_us, native_many_us
        The same by the model itself.
    crossover
        From so many rows on the model itself is quicker; None where it never is.
    frame_us, native_frame_us
        A row of a large frame, by the plan and by the model itself; None where that was not measured.
    """

    row_us: float
    many_us: float
    few: int
    native_row_us: float
    native_many_us: float
    crossover: int | None
    frame_us: float | None = None
    native_frame_us: float | None = None

    @property
    def plans_frames(self) -> bool:
        """Whether the plan is the quicker one for frames of any size; where both take about as long, the model is asked."""
        if self.frame_us is None or self.native_frame_us is None:
            return False
        return self.frame_us < CLEARLY_LESS * self.native_frame_us

    @property
    def most_planned(self) -> float:
        """Up to so many rows the plan is quicker, as far as that was measured: of very many, no model pays for each call any more."""
        is_dear = self.native_many_us > CLEARLY * self.many_us
        turn = math.inf if self.crossover is None else self.crossover
        return turn if is_dear else min(turn, VERY_MANY)


UNMEASURED = Costs(
    row_us=math.inf, many_us=math.inf, few=8, native_row_us=math.inf, native_many_us=math.inf, crossover=None
)
