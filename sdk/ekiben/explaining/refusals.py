"""Why there is no explanation, as the refusal of a request."""

from __future__ import annotations

import logging
from http import HTTPStatus

from ekiben.dialects import Refusal
from ekiben.explaining.apart import Broken

logger = logging.getLogger("ekiben")
ENDED = {
    "hung": "An explanation must be there within `explain.longest_s` seconds. It was not, and was given up.",
    "memory": "An explanation must do with `explain.memory_mb` megabytes. It did not, and was given up.",
    "crashed": "An explanation must not end its process. It did, or none could be started. Come back in a second.",
    "cancelled": "The service is about to end. Ask another.",
}
RETRY = {"retry-after": "1"}


def full() -> Refusal:
    """Refuse what would have to wait too long."""
    says = "Every place for slow explanations is taken. Come back in a second."
    return Refusal(HTTPStatus.TOO_MANY_REQUESTS, "busy", says, headers=RETRY)


def too_wide(most: int, n_told: int) -> Refusal:
    """Refuse an explanation of more columns than one may tell."""
    says = f"An explanation may tell {most:,} columns here. This one would tell {n_told:,}. Ask POST /explain with ?top={most}."
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_many_columns", says)


def late(seconds: float) -> Refusal:
    """Refuse what was not there in time."""
    says = f"An explanation must be there within {seconds:g} s. It was not. Send fewer rows, or fetch it by a ticket."
    return Refusal(HTTPStatus.GATEWAY_TIMEOUT, "timeout", says)


def unkept() -> Refusal:
    """Refuse what would come later, where nothing can be kept until then."""
    says = "A ticket must be written before its work goes on. It cannot be now. Come back in a second."
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "not_kept", says, headers=RETRY)


def unexplainable(says: str) -> Refusal:
    """Refuse rows that a method cannot explain."""
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "unexplainable", says)


def broken(reason: Broken) -> Refusal:
    """Refuse a task that came to no explanation."""
    if reason.code == "unexplainable":
        return unexplainable(str(reason))
    if reason.code == "unanswerable":
        logger.warning("an explanation had no answer for rows that fit the contract: %s", reason)
        says = "The model must have an answer for rows that fit the contract. It has none for these."
        return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "unanswerable", says)
    if reason.code in ENDED:
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "explainer_failed", ENDED[reason.code], headers=RETRY)
    logger.error("explain failed apart: %s", reason)
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "The service failed. Its log says why.")
