"""From a spec to a BentoML service: `service.py` needs nothing else."""

# No `from __future__ import annotations` here: BentoML reads the annotations of the endpoints at run time.

import ctypes
import gc
import inspect
import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import bentoml
from bentoml.exceptions import BentoMLException

from ekiben import bounds, draining, keys, pinning, recording, spec, storing, supervising, telling
from ekiben.dataplane import DataPlane, Hooks
from ekiben.dataplane.arms import HOOKS
from ekiben.dialects import Request
from ekiben.draining import Drain
from ekiben.errors import EkibenError, RecordsError, SpecError, nearest
from ekiben.explaining import tickets
from ekiben.explaining.answering import Explaining
from ekiben.explaining.tickets import Tickets
from ekiben.front import Front
from ekiben.metering import meter
from ekiben.pacing import Pace, measured
from ekiben.packages import Package
from ekiben.pinning import Contract
from ekiben.recording.keeping import Keeper
from ekiben.recording.opening import Counted, opened
from ekiben.serving import typed
from ekiben.spec import ServiceSpec
from ekiben.watching import Watched

logger = logging.getLogger("bentoml.ekiben")
__all__ = ["Front", "ModelService", "Request", "Served", "config", "front", "read_spec"]

# A request of few rows gains nothing from more threads inside a model: the workers are what runs side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REQUIREMENTS = "requirements.txt"
ROUTE_FILE = "EKIBEN_ROUTE_FILE"  # a file whose route takes the place of the spec's
VERTEX_PORT = "AIP_HTTP_PORT"  # where Vertex asks, when it runs this container


class ServiceError(EkibenError, BentoMLException):
    """A service that cannot start, as one line that BentoML's commands show."""


class Served:
    """A spec with the folder that it was read from, and the contract beside it; `route_text` is the route's own file, if there is one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.route_text = _route_text()
        self.spec: ServiceSpec = _rerouted(spec.read(folder), self.route_text)
        self.contract: Contract = pinning.read(folder)
        self.name = self.spec.name


def _rerouted(told: ServiceSpec, text: str | None) -> ServiceSpec:
    """Take the route that whoever deploys has set, in place of the one that was built."""
    return told if text is None else spec.rerouted(told, text, source=Path(os.environ[ROUTE_FILE]).name)


def _route_text() -> str | None:
    name = os.environ.get(ROUTE_FILE)
    if not name:
        return None
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as reason:
        says = f"{ROUTE_FILE} must name a file with a table [route]. {Path(name).name} cannot be read"
        raise SpecError(f"{says}: {type(reason).__name__}.") from None


def read_spec(service_file: str) -> Served:
    """Read `ekiben.toml` and `contract.json` beside a `service.py`, and see that the models are here.

    Parameters
    ----------
    service_file
        The service's `__file__`.

    Raises
    ------
    ServiceError
        If the spec is broken, disagrees with the contract, or a model is not in BentoML's store.
    """
    folder = Path(service_file).resolve().parent
    try:
        served = Served(folder)
    except EkibenError as reason:
        raise ServiceError(str(reason)) from None
    for arm, ref in served.spec.arms.items():
        _check_pin(served, arm, str(ref))
    if gone := sorted(set(served.contract.pins) - set(served.spec.arms)):
        raise ServiceError(
            f"ekiben.toml and contract.json must agree. The arms {gone} are in the contract alone. Run: ekiben pin {folder.name}"
        )
    return served


def _check_pin(served: Served, arm: str, ref: str) -> None:
    pin = served.contract.pins.get(arm)
    where = served.folder.name
    if pin is None or pin.ref != ref:
        promised = "no such arm" if pin is None else pin.ref
        raise ServiceError(
            f"ekiben.toml and contract.json must agree. The arm {arm!r} is {ref} in one and {promised} in the other. Run: ekiben pin {where}"
        )
    named = served.spec.arms[arm].digest
    if not pin.tag.endswith(f":{pin.digest[:12]}") or named not in (None, pin.digest[:12]):
        raise ServiceError(
            f"contract.json must name one package for an arm. The arm {arm!r} has several: {ref}, {pin.tag}, {pin.digest[:12]}. "
            f"Run: ekiben pin {where}"
        )
    if not storing.holds(pin.tag):
        remake = served.spec.remake or f"ekiben pin {where}"
        raise ServiceError(
            f"The models of a service must be in BentoML's store. {pin.tag} of the arm {arm!r} ({ref}) is not. Run: {remake}"
        )
    try:
        storing.verify(pin.tag, pin.digest)
    except EkibenError as reason:
        raise ServiceError(
            f"{pin.tag} of the arm {arm!r} is not what was packed. {reason} Run: ekiben pin {where}"
        ) from None


def config(served: Served) -> dict[str, Any]:
    """Give `@bentoml.service` what the spec says: workers, threads, the timeout, and the image's packages."""
    telling.as_asked()
    settings = served.spec
    is_bounded = "BENTOML_CONTAINERIZED" in os.environ
    made: dict[str, Any] = {
        "workers": bounds.workers(settings.workers) if is_bounded else settings.workers,
        "threads": settings.threads,
        "traffic": {"timeout": settings.timeout_s + 5},  # ours is first, and says more
        "metrics": {"enabled": True},
        "logging": {"access": {"enabled": False}},  # it writes paths as they came, and the front tells its own
    }
    requirements = served.folder / REQUIREMENTS
    if requirements.is_file() and not is_bounded:
        from ekiben import locking

        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        image = bentoml.images.Image(python_version=python, lock_python_packages=False)
        lines = locking.to_install(served.folder)
        beside = [name for name in ("wheels", "uv.toml") if (served.folder / name).exists()]
        made["image"] = image.python_packages(*lines).build_include(*beside)
    return made


class ModelService(Hooks):
    """The base of a service: `class CreditRisk(ModelService, spec=SPEC)` under `@bentoml.service`.

    Override `preprocess`, `postprocess` or `unit_of`; the rest is in the spec.
    """

    served: ClassVar[Served]
    plane: DataPlane

    def __init_subclass__(cls, spec: Served, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        _check_hooks(cls)
        cls.served = spec
        for arm in spec.spec.arms:
            setattr(cls, f"model_{arm}", bentoml.models.BentoModel(spec.contract.pins[arm].tag))
        inputs = spec.contract.signature.inputs
        for endpoint in (typed.predict(spec.spec, inputs), typed.explain(spec.spec, inputs)):
            endpoint.func.__module__ = cls.__module__
            setattr(cls, endpoint.name, endpoint)

    def __init__(self) -> None:
        supervising.follow()
        Front.keys, Front.drain = _told(keys.of_environment), Drain(_told(draining.seconds))
        pins = self.served.contract.pins  # the word of whoever deploys: a package of that digest may be code
        packages = {arm: storing.get(pin.tag, digest=pin.digest) for arm, pin in pins.items()}
        paces: dict[str, Pace] = {}
        for arm, package in packages.items():
            # read now, so that no request waits for it; what needs more than a plan is read when it is first asked for
            if package.plan is None or package.plan.native:
                _ = package.model
                paces |= _paced(arm, package)
                _ = package.is_row_by_row  # asks the model, and is asked for when the first request comes
            else:
                package.predictions({name: [value] for name, value in package.examples[0]["row"].items()})
        counted = meter()
        self.plane = DataPlane(
            self.served.spec,
            self.served.contract,
            packages,
            hooks=self,
            observe=counted.count,
            description=inspect.getdoc(type(self)) or "",
            unseen=counted.unseen,
            keeper=_keeper(self.served, packages, counted),
            paces=paces,
            explaining=Explaining(self.served.spec, packages, counted, _tickets(self.served)),
            may_explain=_may_explain,
        )
        counted.expect(self.plane.known_texts)
        _settle()
        Front.tracers = _tracers()
        Front.live = self.plane
        name = os.environ.get(ROUTE_FILE)
        self._watched = (
            None if not name else Watched(Path(name), self.served.route_text, self._reroute, counted.rerouted)
        )
        if not Front.is_mounted:
            name = type(self).__name__
            logger.warning("service.py must end with front(%s): without it there are no pages", name)
        elif not Front.stands_first:
            logger.info(
                "the front is a middleware here; end service.py with front(%s), and a request costs less",
                type(self).__name__,
            )

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def _attend() -> None:
        """Have the supervisor, before it starts the workers, look after them."""
        supervising.attend()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def finish(self) -> None:
        """Let the shadows finish, and end the records, before the process ends."""
        if self._watched is not None:
            self._watched.close()
        self.plane.close()

    def _reroute(self, text: str) -> None:
        """Answer by another route from the next request on; what was begun ends as it began."""
        told = _rerouted(self.served.spec, text)
        former, self.plane = self.plane, self.plane.rerouted(told.route)
        Front.live = self.plane
        former.finish()

    def __is_ready__(self) -> bool:
        return Front.live is not None


def _check_hooks(made: type) -> None:
    """Refuse a method that is nearly named as a hook: nobody would ever call it."""
    for name, value in vars(made).items():
        near = "" if name in HOOKS or name.startswith("_") or not inspect.isfunction(value) else nearest(name, HOOKS)
        if near:
            raise ServiceError(
                f"A service's hooks are {', '.join(HOOKS)}. Got {name!r}.{near} Another method must be named otherwise."
            )


# ── the front ───────────────────────────────────────────────────────────────────────────────────────────────────

S = TypeVar("S")
FRONTED = "_Fronted"


def front(service: S) -> S:
    """Put the front before everything that BentoML does with a request: the last line of a `service.py`.

    A middleware that was added to the service, before or after, stands before the front, the first outermost. Where
    BentoML's own parts are not as they are known here, the front is the last of its middlewares, and one warning says so.

    Parameters
    ----------
    service
        What `@bentoml.service` made of a `ModelService`.

    Returns
    -------
    The same service.
    """
    given: Any = service
    if (port := os.environ.get(VERTEX_PORT, "")).isdigit():
        given.config["http"] = {**given.config.get("http", {}), "port": int(port)}  # beside CORS, which is its author's
    try:
        if type(given).__name__ != FRONTED:
            given.__class__ = _fronted(type(given), given)
    except (AttributeError, TypeError, ValueError) as reason:
        logger.warning("the front stands behind BentoML's own middlewares, and is slower: %s", reason)
        given.add_asgi_middleware(Front)
    return service


def _fronted(kind: Any, service: Any) -> Any:
    """Make a kind of service whose application stands behind the front, and both behind its author's middlewares."""
    arguments = list(inspect.signature(kind.to_asgi).parameters)
    if arguments != ["self", "is_main"] or not isinstance(service.middlewares, list):
        raise TypeError("a service of this BentoML is not made as it is known here")

    def to_asgi(self: Any, is_main: bool = True) -> Any:
        middlewares, self.middlewares = self.middlewares, []  # they must see what the front answers, too
        logging.getLogger("uvicorn.access").propagate = False  # prepared for every request, and shown for none
        try:
            app: Any = Front(kind.to_asgi(self, is_main=is_main))
            Front.stands_first = True
        finally:
            self.middlewares = middlewares
        app = _let_in(app)
        _wired()  # it answers at once only where nobody is to see a request before the front
        for make, options in reversed(middlewares):
            app = make(app, **options)
        return app

    return type(FRONTED, (kind,), {"__slots__": (), "to_asgi": to_asgi, "__module__": kind.__module__})


def _let_in(app: Any) -> Any:
    """Let pages of other origins ask, where BentoML's configuration of CORS does: it stands before the front, which asks for keys."""
    try:
        from bentoml._internal.configuration.containers import BentoMLContainer
        from starlette.middleware.cors import CORSMiddleware

        if not BentoMLContainer.http.cors.enabled.get():
            return app
        options: dict[str, Any] = {**BentoMLContainer.access_control_options.get()}
        return CORSMiddleware(app, **options)
    except (AttributeError, ImportError, TypeError) as reason:
        logger.warning("BentoML's CORS is not told to the front; add Starlette's middleware: %s", reason)
        return app


def _wired() -> None:
    """Let the server of this process ask the front at once."""
    try:
        from ekiben import wire

        wire.install()
    except (AttributeError, ImportError, TypeError) as reason:
        logger.warning("every request goes through ASGI, and is slower: %s", reason)


def _told(read: Callable[[], S]) -> S:
    """Read what the environment says."""
    try:
        return read()
    except EkibenError as reason:
        raise ServiceError(str(reason)) from None


def _paced(arm: str, package: Package) -> dict[str, Pace]:
    """Measure how long a model takes for its own example, so that it is known before many ask."""
    row = package.examples[0]["row"]
    try:
        return {arm: measured(lambda n: package.predictions({name: [value] * n for name, value in row.items()}))}
    except Exception as reason:  # noqa: BLE001 -- a model may fail in any way; requests will tell
        logger.warning("the arm %s does not answer its own example: %s", arm, type(reason).__name__)
        return {}


def _keeper(served: Served, packages: Mapping[str, Package], counted: Counted) -> Keeper | None:
    """Open the records of this process; None where the spec keeps none."""
    told = served.spec.records
    if "off" in (told.to, os.environ.get(recording.HOME)):
        return None
    inputs = served.contract.signature.inputs
    private = [name for name in served.spec.hidden(inputs) if name not in (*told.hash, *told.drop)]
    arms = {arm: (str(served.spec.arms[arm]), package.digest) for arm, package in packages.items()}
    unit = served.spec.unit.name if served.spec.unit else ""
    folder, kept = recording.home() / served.name, replace(told, hash=(*told.hash, *private))
    try:
        return opened(folder, inputs.names, arms, kept, unit=unit, counted=counted)
    except EkibenError as reason:
        fix = f'Set {recording.HOME} to a folder of yours, or `to = "off"` under [records] in ekiben.toml.'
        raise ServiceError(f"{reason} {fix}" if isinstance(reason, RecordsError) else str(reason)) from None


def _may_explain(shown: bytes | None) -> bool:
    """Tell whether a key that is shown is for explanations."""
    return Front.keys is None or Front.keys.judge(shown, "explain") is None


def _tickets(served: Served) -> Tickets | None:
    """Open the folder of tickets; None where it cannot be written, and nothing may come later."""
    told = served.spec.explain
    if os.name != "posix":
        return None
    try:
        return Tickets(
            tickets.home() / served.name,
            keep_s=told.keep_s,
            most=told.keep_tickets,
            most_bytes=told.keep_mb * 1e6,
            in_memory=bool(served.spec.hidden(served.contract.signature.inputs)),
        )
    except OSError as reason:
        logger.warning(
            "no explanation can be fetched later: %s. Set %s to a folder", type(reason).__name__, tickets.HOME
        )
        return None


def _settle() -> None:
    """Give back what loading took, and let no collection look through what stays while somebody waits."""
    gc.collect()
    gc.freeze()
    gc.enable()  # the first process of an image imports without
    with suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def _tracers() -> Any:
    """Give the provider of spans that BentoML's `tracing` configuration makes; None when it exports none."""
    try:
        from bentoml._internal.configuration.containers import BentoMLContainer

        settings = BentoMLContainer.tracing.get()
        exports = settings.get("sample_rate") and settings.get("exporter_type")
        return BentoMLContainer.tracer_provider.get() if exports else None
    except (AttributeError, ImportError):  # another BentoML: OpenTelemetry's global provider is still looked for
        return None
