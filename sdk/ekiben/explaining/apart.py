"""Explaining processes beside a worker: each has one task at a time, and is ended when it hangs, grows or is not wanted."""

from __future__ import annotations

import heapq
import logging
import os
import select
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from ekiben.errors import EkibenError
from ekiben.explaining import messages
from ekiben.explaining.messages import Done, Failed, Known, Measured, Task, Warm

logger = logging.getLogger("ekiben")
LOOKED_S = 0.05  # how often a process at work is looked after
READ_S = 120.0  # how long it may take to read a package: it goes last on a busy machine
LEFT_S = 2.0  # a task that nobody wants is let end when it takes no longer: another process costs more
ENDED_S = 5.0  # how long one that was killed may take to be gone
LONGEST_PAUSE_S = 30.0
STARTS_S = 2.0  # how long a process takes to read its packages and to be measured, where none has done it yet
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Full(EkibenError):  # noqa: N818 -- nothing is wrong
    """As many tasks wait as may."""


class Broken(EkibenError):  # noqa: N818 -- named for what it tells
    """A task that came to no explanation: `code` says why."""

    def __init__(self, code: str, says: str) -> None:
        super().__init__(says)
        self.code = code


class Job:
    """A task on its way.

    Attributes
    ----------
    future
        What becomes of it: `Done`, or `Broken`.
    until
        When it must stop, by `monotonic`, for a method that draws rounds; None for one that stops by itself.
    began
        When it was given to a process; None before.
    """

    def __init__(self, task: Task, *, until: float | None = None) -> None:
        self.task, self.until = task, until
        self.future: Future[Done] = Future()
        self.began: float | None = None
        self.is_cancelled = False

    def cancel(self) -> None:
        """Want it no more: it is not begun, or its process is ended."""
        self.is_cancelled = True
        self.future.cancel()


Tell = Callable[[str], object]


class Pool:
    """Some explaining processes, and what waits for them.

    Parameters
    ----------
    n
        How many processes.
    most_waiting
        How many tasks may wait; more are `Full`.
    longest_s, most_bytes
        How long one task may take, and how much memory its process.
    warm
        What each process reads before its first task.
    killed
        Called with why a process ended: `hung`, `memory`, `cancelled`, `crashed`.

    Examples
    --------
    >>> pool = Pool(1, most_waiting=4, longest_s=10, most_bytes=2e9)
    >>> pool.n_waiting, pool.n_busy
    (0, 0)
    >>> pool.close()
    """

    def __init__(
        self,
        n: int,
        *,
        most_waiting: int,
        longest_s: float,
        most_bytes: float,
        warm: Sequence[Warm] = (),
        killed: Tell = lambda _why: None,
    ) -> None:
        self._most, self.longest_s, self.most_bytes = most_waiting, longest_s, most_bytes
        self.warm, self.killed = warm, killed
        self._waiting: tuple[deque[Job], deque[Job]] = (deque(), deque())  # who waits now, and who comes back later
        self._some, self._is_closed = threading.Condition(), False
        self._slots: list[_Slot] = []
        self._n = n
        self.known: dict[tuple[str, str], Known] = {}  # by digest and method
        self.started_s: float | None = None  # how long the last process took until it was warm

    @property
    def n_waiting(self) -> int:
        """How many tasks wait."""
        return sum(map(len, self._waiting))

    @property
    def is_full(self) -> bool:
        """Whether no task is taken at this moment."""
        return self.n_waiting >= self._most

    def takes(self, n_coming: int) -> bool:
        """Tell whether one more will find room behind so many that are on their way here."""
        return not self.is_full and self.n_waiting + self.n_busy + n_coming < self._most + self._n

    @property
    def is_warm(self) -> bool:
        """Whether a process is ready to explain, as soon as it is free."""
        return any(slot.is_warm for slot in self._slots)

    @property
    def n_busy(self) -> int:
        """How many processes are at work."""
        return sum(slot.is_busy for slot in self._slots)

    def waits_ms(self) -> float:
        """Estimate how long a new task waits: until a process is free that is warm, by what the tasks before it cost."""
        with self._some:
            free_ms = [slot.left_ms() for slot in self._slots] or [self.starts_ms()] * self._n
            heapq.heapify(free_ms)
            for job in self._waiting[0]:
                heapq.heapreplace(free_ms, free_ms[0] + self.cost_ms(job))
        return free_ms[0]

    def starts_ms(self, began: float | None = None) -> float:
        """Estimate how long it takes until a process is warm that began to start then; None for one that has not begun.

        What takes longer than was expected may take as long again.
        """
        ran_s = 0.0 if began is None else monotonic() - began
        left_s = (STARTS_S if self.started_s is None else self.started_s) - ran_s
        return 1e3 * (max(left_s, ran_s) if self.started_s is None or left_s < 0 else left_s)

    def cost_ms(self, job: Job) -> float:
        """Estimate what a task costs; 0 where nothing was measured."""
        if job.until is not None:
            return max(0.0, job.until - monotonic()) * 1e3
        rows = len(next(iter(job.task.columns.values()), ()))
        known = self.known.get((job.task.digest, job.task.method))
        if known is None:
            return 0.0
        return job.task.seconds * 1e3 if known.draws and job.task.seconds is not None else rows * known.ms

    def start(self) -> None:
        """Start the processes now, so that the first task finds them warm."""
        with self._some:
            if not self._slots and not self._is_closed:
                self._slots = [_Slot(self) for _ in range(self._n)]

    def submit(self, job: Job, *, later: bool = False) -> Job:
        """Put a task in line; one that somebody comes back for lets the others go first.

        Raises
        ------
        Full
            If too many wait.
        """
        self.start()
        with self._some:
            if self.is_full or self._is_closed:
                raise Full("Too many tasks wait.")
            self._waiting[later].append(job)
            self._some.notify()
        job.future.add_done_callback(lambda _done: self._left(job))
        return job

    def close(self) -> None:
        """End the processes; what waits is cancelled."""
        with self._some:
            self._is_closed = True
            for line in self._waiting:
                for job in [*line]:
                    job.cancel()
            self._some.notify_all()
        for slot in self._slots:
            slot.join()

    def _left(self, job: Job) -> None:
        """Give the place of a task that nobody wants any more to another."""
        if job.is_cancelled:
            with self._some:
                for line in self._waiting:
                    with suppress(ValueError):
                        line.remove(job)

    # ── for the slots ──

    def next(self) -> Job | None:
        """Wait for a task; None once the pool is closed."""
        with self._some:
            while not self._is_closed:
                for line in self._waiting:
                    if line:
                        return line.popleft()
                self._some.wait()
        return None

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is done."""
        return self._is_closed


class _Slot:
    """A thread that has one process do one task after another.

    The thread lives as long as the pool: Linux ends a process whose parent asked for that with the thread that made it.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool, self._process, self._worker = pool, None, None
        self._job: Job | None = None
        self._n_failed, self._pauses_until, self._is_first = 0, 0.0, True
        self._is_warm, self._starts = False, None
        self._thread = threading.Thread(target=self._run, daemon=True, name="ekiben-explaining")
        self._thread.start()

    _process: subprocess.Popen[bytes] | None
    _worker: socket.socket | None
    _starts: float | None  # when the process began to start that is not warm yet

    @property
    def is_busy(self) -> bool:
        return self._job is not None

    @property
    def is_warm(self) -> bool:
        """Whether a process lives, and has read what it needs."""
        process = self._process
        return self._is_warm and process is not None and process.poll() is None

    def left_ms(self) -> float:
        """Estimate for how long it is still at work, or on its way to be warm."""
        job = self._job
        pauses = monotonic() < self._pauses_until  # a task is told at once that there is none
        starts_ms = 0.0 if self.is_warm or pauses else self._pool.starts_ms(self._starts)
        if job is None:
            return starts_ms
        ran_ms = 0.0 if job.began is None or job.until is not None else (monotonic() - job.began) * 1e3
        return starts_ms + max(0.0, self._pool.cost_ms(job) - ran_ms)

    def join(self) -> None:
        self._thread.join(ENDED_S)

    def _run(self) -> None:
        self._readied()
        while (job := self._pool.next()) is not None:
            if not job.is_cancelled and job.future.set_running_or_notify_cancel():
                self._job = job
                try:
                    found = self._done(job)
                except Broken as reason:
                    job.future.set_exception(reason)
                except Exception as reason:  # noqa: BLE001 -- a slot must not be lost to a fault
                    self._end("crashed")
                    job.future.set_exception(Broken("internal", type(reason).__name__))
                else:
                    job.future.set_result(found)
                finally:
                    self._job = None
                self._readied()
        self._end("")

    def _readied(self) -> None:
        """Let a process be warm before anybody asks, the first one and each that takes the place of one that was ended."""
        if self._worker is None and not self._pool.is_closed:
            try:
                self._ready()
            except Broken:
                pass  # the next task is told
            except Exception as reason:  # noqa: BLE001 -- a slot must not be lost to a fault
                logger.error("no explaining process could be made ready: %s", type(reason).__name__)
                self._end("crashed")

    def _done(self, job: Job) -> Done:
        """Have one task done, or say why it is not."""
        worker = self._ready()
        job.began = monotonic()
        task = job.task
        if job.until is not None:
            task = msgspec.structs.replace(task, seconds=max(0.0, job.until - job.began))
        told = self._asked(worker, task, self._pool.longest_s, lambda: job.is_cancelled and self._lasts(job))
        self._is_warm, self._starts = True, None  # one that had nothing to read before, too
        if isinstance(told, Failed):
            if told.code == "memory":
                self._end("memory")
            raise Broken(told.code, told.says)
        if not isinstance(told, Done):
            raise Broken("crashed", "")
        return told

    def _lasts(self, job: Job) -> bool:
        """Tell whether a task has long to go, or nobody knows."""
        if job.until is not None:
            return job.until - monotonic() > LEFT_S
        known = self._pool.cost_ms(job) / 1e3
        return not known or abs(known - (monotonic() - (job.began or 0.0))) > LEFT_S

    def _asked(
        self, worker: socket.socket, message: Task | Warm, longest_s: float, unwanted: Callable[[], bool]
    ) -> messages.Told:
        """Send a message and wait for its answer, while the process behaves."""
        try:
            messages.send(worker, message)
        except OSError:  # it ended before it was asked
            self._end("crashed")
            raise Broken("crashed", "") from None
        began, answers = monotonic(), select.poll()  # `select` knows no descriptor from 1024 on
        answers.register(worker, select.POLLIN)
        while not answers.poll(LOOKED_S * 1e3):
            if why := self._at_fault(unwanted, late=monotonic() - began > longest_s):
                self._end(why)
                raise Broken(why, "")
        told = messages.told(worker)
        if told is None:
            self._end("crashed")
            raise Broken("crashed", "")
        return told

    def _at_fault(self, unwanted: Callable[[], bool], *, late: bool) -> str:
        if unwanted() or self._pool.is_closed:
            return "cancelled"
        if late:
            return "hung"
        return "memory" if self._process is not None and _bytes_of(self._process.pid) > self._pool.most_bytes else ""

    def _ready(self) -> socket.socket:
        """Give the way to a process that lives, and has read what it needs."""
        if self._worker is not None and self._process is not None and self._process.poll() is None:
            return self._worker
        if monotonic() < self._pauses_until:
            raise Broken("crashed", "")
        if self._worker is not None:
            self._end("crashed")  # while it had nothing to do
        self._starts = began = monotonic()
        self._process, self._worker = _started("first" if self._is_first else "next")
        self._is_first = False
        for message in self._pool.warm:
            try:
                told = self._asked(self._worker, message, READ_S, lambda: False)
            except Broken:
                self._pause()
                raise
            if isinstance(told, Measured):
                self._pool.known |= {(message.digest, method): known for method, known in told.methods.items()}
            elif isinstance(told, Failed):
                logger.error("an explanation could not be tried at the start: %s %s", told.code, told.says)
        self._n_failed = 0
        if self._pool.warm:
            self._is_warm, self._starts, self._pool.started_s = True, None, monotonic() - began
        return self._worker

    def _pause(self) -> None:
        """Try again ever later, where not even a package can be read."""
        self._n_failed += 1
        self._pauses_until = monotonic() + min(2.0**self._n_failed, LONGEST_PAUSE_S)

    def _end(self, why: str) -> None:
        """End the process, and say why; the next task gets another."""
        process, worker, self._process, self._worker = self._process, self._worker, None, None
        self._is_warm, self._starts = False, None
        if process is None or worker is None:
            return
        worker.close()
        code = process.poll()
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDED_S)
        if why:
            logger.warning("the explaining process was ended: %s%s", why, "" if code is None else f", code {code}")
            self._pool.killed(why)


def _started(why: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        environment: Mapping[str, Any] = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-P", "-m", "ekiben.explaining.child", str(theirs.fileno()), str(os.getpid()), why]
        try:
            return subprocess.Popen(
                command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, env=environment
            ), ours
        except OSError as reason:
            ours.close()
            logger.error("no explaining process could be started: %s", type(reason).__name__)
            raise Broken("crashed", "") from None


def _bytes_of(pid: int) -> int:
    """Tell how much memory a process holds; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * PAGE
    except (OSError, IndexError, ValueError):
        return 0
