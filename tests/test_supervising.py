"""What the supervisor is told of its workers' ends, and the parts of BentoML that it stands on."""

import inspect
import os
import subprocess
from types import SimpleNamespace

import pytest

from ekiben import supervising
from ekiben.supervising import FAILED_START, Ends


class Workers(SimpleNamespace):
    """What circus calls a watcher: the processes of one service."""

    def __init__(self, numprocesses=2):
        super().__init__(
            name="service", numprocesses=numprocesses, hooks={}, respawn=False, stopping=False, processes={}
        )

    def is_stopping(self):
        return self.stopping

    def start(self, n=1):
        for _ in range(n):
            pid = len(self.processes) + 1
            self.processes[pid] = SimpleNamespace(poll=lambda: None)
            self.hooks["after_spawn"](watcher=self, arbiter=None, hook_name="after_spawn", pid=pid)

    def end(self, code):
        self.hooks["after_reap"](watcher=self, arbiter=None, hook_name="after_reap", exit_code=code, process_pid=1)


@pytest.fixture
def workers():
    return Workers()


@pytest.fixture
def ends(workers):
    return Ends([workers])


def test_a_worker_that_died_is_replaced_at_once(ends, workers):
    workers.start(2)
    workers.end(-9)
    assert workers.respawn
    assert not ends.pauses
    assert not ends.gave_up


def test_where_no_worker_could_start_there_is_no_other_try(ends, workers):
    workers.start(2)
    workers.end(FAILED_START)
    assert (ends.pauses, ends.gave_up) == (True, False)
    workers.end(FAILED_START)
    assert (ends.pauses, ends.gave_up, workers.respawn) == (False, True, False)


def test_a_worker_that_cannot_start_beside_one_that_did_is_tried_again_ever_later(ends, workers, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(supervising, "time", SimpleNamespace(monotonic=lambda: now[0]))
    waited = []
    workers.start(1)
    for _ in range(6):
        workers.start(1)
        workers.end(FAILED_START)
        before = now[0]
        while ends.pauses:
            now[0] += 0.5
        waited.append(now[0] - before)
    assert waited == [2, 4, 8, 16, 30, 30]
    assert not ends.gave_up


def test_a_worker_that_circus_found_dead_by_itself_is_heard_of_once(ends, workers, caplog):
    dead = subprocess.Popen(["sleep", "60"])
    workers.start(1)
    workers.processes[dead.pid] = dead
    workers.hooks["after_spawn"](watcher=workers, arbiter=None, hook_name="after_spawn", pid=dead.pid)
    ends.hear()
    dead.kill()
    dead.wait()
    ends.hear()
    assert not caplog.records  # circus still has it, and will tell
    del workers.processes[dead.pid]  # what it does with a process that it finds dead
    ends.hear()
    ends.hear()
    assert [each.message for each in caplog.records] == ["a worker ended with code -9; another takes its place"]


def test_a_worker_that_is_told_to_end_is_not_missed(ends, workers, caplog):
    workers.start(2)
    workers.stopping = True
    workers.end(0)
    assert not caplog.records


def test_the_supervisor_of_this_bentoml_is_made_as_it_is_known_here(monkeypatch):
    """When this fails, BentoML's internals have moved: see docs/decisions/0016, and `supervising.attend`."""
    from _bentoml_impl.server import serving
    from bentoml._internal.utils import circus
    from circus.watcher import Watcher

    monkeypatch.setattr(circus, "Arbiter", circus.Arbiter)
    supervising.attend()
    first = circus.Arbiter
    supervising.attend()
    assert circus.Arbiter is first
    assert first.ekiben
    source = inspect.getsource(serving.serve_http)
    assert source.index("server_on_deployment(svc)") < source.index("create_standalone_arbiter(**")
    spawns = inspect.getsource(Watcher.spawn_process)
    assert spawns.index("self.processes[process.pid] = process") < spawns.index("'after_spawn', pid=process.pid")
    watcher = Watcher("service", "true", numprocesses=1, respawn=False)
    made = circus.create_standalone_arbiter([watcher])
    assert isinstance(made, first)
    assert (made.check_delay, watcher.respawn, {*watcher.hooks}) == (1, True, {"after_spawn", "after_reap"})
    assert made.manage_watchers.__func__ is first.manage_watchers


def test_paths_lead_from_where_the_supervisor_was_started(monkeypatch, tmp_path):
    """The workers run in the service's folder, where a file of keys by its bare name was looked for and not found."""
    from bentoml._internal.utils import circus

    monkeypatch.setattr(circus, "Arbiter", circus.Arbiter)
    monkeypatch.chdir(tmp_path)
    for name, value in {"KEYS_FILE": "keys.toml", "RECORDS": "off", "TICKETS": "", "HOME": "/srv"}.items():
        monkeypatch.setenv(f"EKIBEN_{name}", value)
    supervising.attend()
    told = [os.environ[f"EKIBEN_{name}"] for name in ("KEYS_FILE", "RECORDS", "TICKETS", "HOME")]
    assert told == [str(tmp_path / "keys.toml"), "off", "", "/srv"]


def test_another_bentoml_is_left_alone_and_one_warning_says_so(monkeypatch, caplog):
    from bentoml._internal.utils import circus

    monkeypatch.setattr(circus, "Arbiter", type("Arbiter", (), {}))
    before = circus.Arbiter
    supervising.attend()
    assert circus.Arbiter is before
    assert ["at BentoML's own pace" in record.message for record in caplog.records] == [True]
