"""What BentoML's supervisor owes a service: a worker that died is replaced within seconds, in a container too."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bentoml.exceptions import BentoMLException

from ekiben.following import end_with_caller, end_with_parent
from ekiben.rooting import rooted

logger = logging.getLogger("bentoml.ekiben")

CHECK_S = 1.0  # how often the supervisor looks after its workers; BentoML's own pace is ten seconds
SUPERVISOR = "EKIBEN_SUPERVISOR"  # its process id, which it tells its workers
WORKER = "_bentoml_impl.worker.service"  # the module that a worker is started with
AGAIN_S = 0.05  # after which it looks again whether it can end
FAILED_START = 3  # the exit code of a worker whose service could not be made
LONGEST_PAUSE_S = 30.0


def attend() -> None:
    """Let the supervisor of this process look after its workers each second, replace those that died, and end with its caller.

    BentoML looks every ten seconds, and in a container never. Where its parts are not as they are known here, it is
    left alone, and one warning says so.
    """
    os.environ[SUPERVISOR] = str(os.getpid())
    os.environ |= rooted(os.environ)  # the workers run in the service's folder
    end_with_caller()
    try:
        from bentoml._internal.utils import circus

        if not hasattr(circus.Arbiter, "ekiben"):
            circus.Arbiter = _attentive(circus.Arbiter)  # type: ignore[misc]
    except (AttributeError, ImportError, TypeError) as reason:
        logger.warning(
            "a worker that dies is replaced at BentoML's own pace, and in a container not at all: %s", reason
        )


def follow() -> None:
    """Let a worker be told to end when its supervisor dies, so that it does not hold the port for ever; on Linux."""
    started, supervisor = sys.modules["__main__"].__spec__, os.environ.get(SUPERVISOR)
    if started is not None and started.name == WORKER and supervisor is not None:
        end_with_parent(signal.SIGTERM, int(supervisor))


class Ends:
    """How often workers were started, how they ended, and whether another try is worth it."""

    def __init__(self, watchers: Sequence[Any]) -> None:
        self._started, self._failed = Counter[str](), Counter[str]()
        self._n_in_a_row, self._pauses_until = 0, 0.0
        self._alive: dict[int, tuple[Any, Any]] = {}  # of each worker that was not heard of: its watcher, and itself
        self.gave_up = False
        for each in watchers:
            each.respawn = True
            each.hooks |= {"after_spawn": self._spawned, "after_reap": self._reaped}

    @property
    def pauses(self) -> bool:
        """Whether the next try is still to come."""
        return time.monotonic() < self._pauses_until

    def hear(self) -> None:
        """Hear of workers that circus found dead by itself, just as it looked what to start: it tells nobody of these."""
        for pid, (watcher, worker) in [*self._alive.items()]:
            if pid not in watcher.processes and (code := worker.poll()) is not None:
                self._reaped(watcher=watcher, process_pid=pid, exit_code=code)

    def _spawned(self, *, watcher: Any, pid: int, **_: Any) -> bool:
        self._started[watcher.name] += 1
        self._alive[pid] = watcher, watcher.processes[pid]
        return True

    def _reaped(self, *, watcher: Any, process_pid: int, exit_code: int, **_: Any) -> bool:
        """Hear of a worker's end: one that could not start is tried again ever later, and never if none ever could."""
        self._alive.pop(process_pid, None)
        if watcher.is_stopping():
            return True
        self._n_in_a_row = self._n_in_a_row + 1 if exit_code == FAILED_START else 0
        self._failed[watcher.name] += exit_code == FAILED_START
        if self._started[watcher.name] == self._failed[watcher.name] >= watcher.numprocesses:
            self.gave_up, watcher.respawn, self._pauses_until = True, False, 0.0
            return True
        logger.error("a worker ended with code %d; another takes its place", exit_code)
        if self._n_in_a_row:
            self._pauses_until = time.monotonic() + min(2.0**self._n_in_a_row, LONGEST_PAUSE_S)
        return True


def _attentive(kind: Any) -> Any:
    """Make a kind of supervisor that replaces workers soon, and ends when none can start, or when it is told to."""
    _look_at(kind)

    class Attentive(kind):  # type: ignore[misc]
        ekiben = True

        def __init__(self, watchers: Sequence[Any], *rest: Any, **settings: Any) -> None:
            self._ends, self._is_told = Ends(watchers), False
            super().__init__(watchers, *rest, **(settings | {"check_delay": CHECK_S}))

        def start(self, cb: Any = None) -> None:
            """Start the workers, and look after them until the service is stopped."""
            try:
                super().start(cb)
            except RuntimeError as reason:
                if not self._ends.gave_up:
                    raise
                says = "The service must start. No worker could: the log above says why."
                raise BentoMLException(says) from reason

        def stop(self) -> Any:
            """End as soon as no worker is being started: what the supervisor is told meanwhile it would forget."""
            self._is_told = True
            if not self._is_at_it():
                return super().stop()
            self.loop.call_later(AGAIN_S, self.stop)
            return None

        def _is_at_it(self) -> bool:
            return self._restarting or self._exclusive_running_command is not None

        def manage_watchers(self) -> Any:
            """Look after the workers, unless the supervisor starts or stops them, or pauses before it tries again."""
            if self._is_told or self._is_at_it():
                return None
            self._ends.hear()
            self.reap_processes()  # heard of before anything is tried again
            return None if self._ends.pauses else super().manage_watchers()

    return Attentive


def _look_at(kind: Any) -> None:
    if not (callable(getattr(kind, "manage_watchers", None)) and callable(getattr(kind, "stop", None))):
        raise TypeError("a supervisor of this BentoML is not made as it is known here")
