"""An explainer of one's own that does what it must not, as the row says: it hangs, ends its process, or fills the memory."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ekiben.explanations import Attribution

HANGS, CRASHES, GROWS, RAISES = 1001.0, 1002.0, 1003.0, 1004.0
DISTRIBUTION = "ekiben_odd_explainers-1.0.dist-info"


@dataclass(frozen=True, kw_only=True)
class Odd:
    """Explain by one number, unless the first column asks for something else; it marks that it has begun."""

    method: ClassVar[str] = "odd"
    exact: ClassVar[bool] = True

    context: Any

    @classmethod
    def fit(cls, context):
        return cls(context=context)

    def explain(self, frame, *, seed=0):
        return [self._explain(float(frame.iloc[i, 0]), seed) for i in range(len(frame))]

    def _explain(self, asks, seed):
        marks = os.environ.get("ODD_MARKS")
        if marks and asks in (HANGS, CRASHES, GROWS):
            Path(marks, f"{os.getpid()}").write_text(str(asks))
        if asks == HANGS:
            while True:  # holds the GIL, too
                pass
        if asks == CRASHES:
            os.abort()
        if asks == GROWS:
            held = []
            while True:
                held.append(bytearray(os.urandom(1)) * 20_000_000)
                time.sleep(0.02)  # a gigabyte a second: as fast as a process is looked after, and no faster
        if asks == RAISES:
            raise RuntimeError(f"a value: {asks}")
        amount = asks + seed
        names = self.context.names
        return Attribution.of(
            method="odd",
            output="target",
            units="target",
            base_value=0.0,
            value=amount,
            contributions={name: amount if name == names[0] else 0.0 for name in names},
            elapsed_ms=0.0,
        )

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "explainer.json").write_text(json.dumps({"format": 1, "method": self.method}))

    @classmethod
    def load(cls, folder, context):
        return cls(context=context)


def offered(folder):
    """Offer the method as a distribution does, to whoever has the folder on its path."""
    made = Path(folder) / DISTRIBUTION
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: ekiben-odd-explainers\nVersion: 1.0\n")
    (made / "entry_points.txt").write_text("[ekiben.explainers]\nodd = odd_explainers:Odd\n")
    (Path(folder) / "odd_explainers.py").write_text(Path(__file__).read_text())
    return str(folder)
