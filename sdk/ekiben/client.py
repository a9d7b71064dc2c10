"""A table in, a table out: ask a running service."""

from __future__ import annotations

import os
import time
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx

from ekiben import codecs, explanations, protocol, schema, spec, tables
from ekiben.errors import RequestError, SchemaError, UnreachableError
from ekiben.explanations import Explanations
from ekiben.schema import Signature

if TYPE_CHECKING:
    import pandas as pd

FIRST_WAIT_S = 0.1  # before a connection is tried again; twice as long each time
COME_BACK = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)


class Client:
    """A running service, asked with frames.

    Parameters
    ----------
    url
        The service's address, such as `http://127.0.0.1:3000`.
    timeout_s
        How long an answer may take, in seconds.
    token
        What the service knows this client by; by default what `EKIBEN_TOKEN` holds.
    retries
        How often a request is sent again that was never taken: nobody listened, or the service said when to come back.
        What may have been answered is not sent twice.

    Examples
    --------
    >>> Client("http://127.0.0.1:9").url
    'http://127.0.0.1:9'
    """

    def __init__(self, url: str, *, timeout_s: float = 60, token: str | None = None, retries: int = 2) -> None:
        self.url, self._timeout_s, self._retries = url.rstrip("/"), timeout_s, retries
        token = token or os.environ.get("EKIBEN_TOKEN")
        shown = {"authorization": f"Bearer {token}"} if token else {}
        # trust_env=False: a proxy of the environment has no business between a client and its own machine
        self._http = httpx.Client(
            base_url=self.url, timeout=timeout_s, headers=shown, trust_env=not self.url.startswith("http://127.")
        )

    def predict(self, frame: pd.DataFrame, *, unit: str | None = None) -> pd.DataFrame:
        """Ask for an answer to each row.

        Parameters
        ----------
        frame
            Rows of shape (n_rows, n_columns).
        unit
            Who asks; the same unit is answered by the same arm.

        Returns
        -------
        What the package's own `predict` gives; which arm answered is in `attrs`.

        Raises
        ------
        RequestError
            If the service refuses the rows, with every fault.
        SchemaError
            If the rows hold what no JSON can.
        UnreachableError
            If the service does not answer.
        """
        import pandas as pd

        answer = self._ask("/predict", "predictions", frame, unit)
        made = pd.DataFrame([protocol.flat(prediction) for prediction in answer["predictions"]], index=frame.index)
        made.attrs.update({key: answer[key] for key in ("id", "arm", "model")})
        return made

    def explain(self, frame: pd.DataFrame, *, unit: str | None = None) -> Explanations:
        """Ask why, for each row."""
        answer = self._ask("/explain", "explanations", frame, unit)
        return Explanations([explanations.from_json(each) for each in answer["explanations"]])

    def schema(self) -> dict[str, Any]:
        """Give the service's contract."""
        return self._get("/schema")

    def card(self) -> dict[str, Any]:
        """Give the model card of every arm."""
        return self._get("/card")

    def routing(self) -> dict[str, Any]:
        """Give which arm answers how often."""
        return self._get("/routing")

    @cached_property
    def signature(self) -> Signature:
        """The contract as a signature."""
        return schema.from_json(self.schema())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {self.url}>"

    def _repr_html_(self) -> str:
        return f'<a href="{self.url}" target="_blank">{self.url}</a>'

    def _ask(self, path: str, field: str, frame: pd.DataFrame, unit: str | None) -> dict[str, Any]:
        if not hasattr(frame, "columns") or not len(frame):
            raise SchemaError(
                f"The rows must come as a pandas DataFrame of at least one row. Got {type(frame).__name__}."
            )
        body: dict[str, Any] = {"rows": tables.as_rows(frame)}
        headers = {"content-type": "application/json"}
        cookies: dict[str, str] = {}
        if unit is not None:
            self._name(str(unit), body, headers, cookies)
        answer = self._send("POST", path, content=_encoded(body), headers=headers, cookies=cookies)
        found = answer.get(field)
        if not isinstance(found, list) or len(found) != len(frame):
            raise RequestError(
                f"A service must answer with {field!r}, one a row. Got something else. Is there a service of ekiben at {self.url}?",
                status=200,
                code="unknown",
            )
        return answer

    def _name(self, unit: str, body: dict[str, Any], headers: dict[str, str], cookies: dict[str, str]) -> None:
        """Put the unit where the service looks for it."""
        wanted = spec.parse_unit(self._unit_of_service)
        {"header": headers, "cookie": cookies, "field": body}[wanted.source][wanted.name] = unit

    @cached_property
    def _unit_of_service(self) -> str:
        unit = self.schema()["unit"]
        if unit is None:
            raise RequestError(
                "A 'unit' needs a service that knows units. This one has none: set `unit` in its ekiben.toml.",
                status=400,
                code="no_unit",
            )
        return str(unit)

    def _get(self, path: str) -> dict[str, Any]:
        return self._send("GET", path)

    def _send(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        try:
            if "cookies" in what:  # httpx wants them on the client or in the header
                pairs = what.pop("cookies")
                what["headers"] |= (
                    {"cookie": "; ".join(f"{key}={value}" for key, value in pairs.items())} if pairs else {}
                )
            answer = self._taken(method, path, **what)
        except httpx.TransportError as reason:
            raise UnreachableError(
                f"The service at {self.url} must answer. It did not: {type(reason).__name__}. Is it running?"
            ) from reason
        document = _document(answer)
        if answer.status_code != httpx.codes.OK:
            raise _refused(answer.status_code, document)
        return document

    def _taken(self, method: str, path: str, **what: Any) -> httpx.Response:
        """Send a request until it is taken, or was sent too often."""
        end, n_sent = time.monotonic() + self._timeout_s, 0
        while True:
            try:
                answer = self._http.request(method, path, **what)
            except httpx.ConnectError:
                wait_s = FIRST_WAIT_S * 2**n_sent
                if n_sent >= self._retries or time.monotonic() + wait_s > end:
                    raise
            else:
                asked_s = _wait_s(answer)
                if asked_s is None or n_sent >= self._retries or time.monotonic() + asked_s > end:
                    return answer
                wait_s = asked_s
            time.sleep(wait_s)  # as long as the service says, or twice as long as before
            n_sent += 1


def _wait_s(answer: httpx.Response) -> float | None:
    """Give in how many seconds a service that took nothing wants to be asked again; None where it does not say so."""
    told = answer.headers.get("retry-after", "")
    return float(told) if answer.status_code in COME_BACK and told.isascii() and told.isdigit() else None


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return codecs.encode(body)
    except (SchemaError, TypeError, OverflowError):
        raise SchemaError("The rows must hold finite numbers, booleans and texts. Got something else.") from None


def _document(answer: httpx.Response) -> dict[str, Any]:
    """Read the body of an answer; whatever is no JSON object is as good as nothing."""
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _refused(status: int, document: dict[str, Any]) -> RequestError:
    found = document.get("error") if isinstance(document.get("error"), dict) else None
    if found is None:
        return RequestError(f"The service refused with status {status}.", status=status, code="unknown")
    faults = [protocol.fault_of(field) for field in found.get("fields", [])]
    message = str(found.get("message", f"The service refused with status {status}."))
    return RequestError(message, status=status, code=str(found.get("code", "unknown")), faults=faults)
