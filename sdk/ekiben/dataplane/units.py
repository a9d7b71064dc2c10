"""Who asks, and sticks to an arm: the unit that a request names by a field, a header or a cookie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ekiben.dialects import Read, Request
from ekiben.errors import Fault, SchemaError
from ekiben.observing import new_id
from ekiben.spec import Unit


def asking(unit: Unit | None, request: Request, read: Read) -> tuple[str | None, dict[str, str]]:
    """Tell who asks, and the cookie that is to be set for somebody new."""
    if unit is None:
        return None, {}
    if unit.source == "header":
        return request.headers.get(unit.name), {}
    if unit.source == "cookie":
        known = request.cookies.get(unit.name)
        fresh = known or new_id()
        return fresh, {} if known else {"set-cookie": cookie_of(unit.name, fresh)}
    return _named(unit.name, read.units), {}


def _named(name: str, sent: Sequence[Any]) -> str | None:
    """Give the one unit that a request names; None when it names none."""
    if any(isinstance(value, bool) or not isinstance(value, str | int) for value in sent):
        message = f"The unit {name!r} must be a text or an integer. Got something else."
        raise SchemaError.of([Fault(message=message, column=name)])
    units = {str(value) for value in sent}
    if len(units) > 1:
        message = f"A request serves one unit. Got {len(units)} values of {name!r}. Send one request for each."
        raise SchemaError.of([Fault(message=message, column=name)])
    return units.pop() if units else None


def cookie_of(name: str, unit: str) -> str:
    """Set the cookie of a new unit, for 30 days."""
    return f"{name}={unit}; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax"
