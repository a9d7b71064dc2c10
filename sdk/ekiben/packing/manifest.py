"""What package.json says of a model that is packed, but for the digests."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ekiben import describing, distributions, dtypes, explainers, imports, locking, models, schema, tables
from ekiben.compiling import Outcome
from ekiben.errors import SpecError
from ekiben.packing.live import Live
from ekiben.provenance import seeds_of
from ekiben.schema import Signature
from ekiben.sealing import FORMAT

if TYPE_CHECKING:
    import pandas as pd


def describe(live: Live, holdout: tuple[pd.DataFrame, Any] | None, method: str, outcome: Outcome) -> dict[str, Any]:
    """Tell what the package is, and what it was measured to be."""
    metrics, findings = describing.measured(live.model, live.adapter, live.signature, holdout, live.rows)
    arrow = ("pyarrow",) if dtypes.needs_arrow(live.signature.inputs) else ()
    named = (*live.adapter.requirements(live.bound), *explainers.requirements(method), *outcome.requirements, *arrow)
    found = (*imports.modules_of(live.bound), *(live.code.imports if live.code else ()))
    needed = locking.pins(named, [module for module in found if module.partition(".")[0] != live.adapter.library])
    return {
        "format": FORMAT,
        "kind": live.adapter.library,
        "class": live.class_name,
        "signature": schema.to_json(live.signature),
        "metrics": metrics,
        "findings": [*findings, *describing.findings(live.signature, live.rows), *locking.doubts(needed)],
        "n_reference": len(live.rows),
        "explainer": method,
        "plan": outcome.to_json(),
        "requirements": needed,
        "python": platform.python_version(),
    }


def whence(
    live: Live, needed: list[str], training: tuple[pd.DataFrame, Any] | None, source: str | None
) -> dict[str, Any]:
    """Tell what of the manifest is not the package itself: where it was packed, and from what."""
    provenance = {"seeds": seeds_of(live.model), **_trained_on(training, live.signature)}
    provenance |= {"source": source} if source else {}
    return {"environment": locking.environment(needed), "provenance": provenance}


def _trained_on(training: tuple[pd.DataFrame, Any] | None, signature: Signature) -> dict[str, Any]:
    if training is None:
        return {}
    if type(training) not in (tuple, list) or len(training) != 2:
        raise SpecError(
            "The 'training' must be rows and their labels: training=(X_train, y_train). Got something else."
        )
    rows = tables.given("training", training[0])
    describing.fits_outputs("training", training[1], rows, signature)
    return {"training_digest": describing.data_digest(rows, training[1]), "n_training": len(rows)}


def with_what_it_carries(manifest: dict[str, Any], found: Mapping[str, list[str]], live: Live) -> dict[str, Any]:
    """Add what makes the package code: the words `carries`, and what was allowed by the user's word."""
    allowed = {}
    notes = []
    foreign = [name for name in found.get("types", []) if not name.startswith(distributions.CODE)]
    if foreign:
        allowed["types"] = foreign
        notes.append(f"Holds types of other libraries: {', '.join(foreign)}. It is loaded only where trusted.")
    if "pickle" in found:
        name = "mlflow.pyfunc" if live.adapter.library == "pyfunc" else models.class_of(live.model)
        allowed["pickle"] = [name]
        notes.append(f"Holds a pickle of {name}: it is loaded only where trusted.")
    return {
        **manifest,
        "findings": [*manifest["findings"], *notes],
        "carries": sorted(found),
        "code": found.get("code", []),
        "allowed": allowed,
    }
