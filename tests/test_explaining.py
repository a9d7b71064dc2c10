"""Explanations within a time: what is wished, which rung the time allows, what is near, and the tickets of what comes later."""

import errno
import os
import re
import resource
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import msgspec
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xgboost import XGBClassifier

import ekiben as ek
from ekiben import errors, explainers, protocol
from ekiben.errors import SpecError
from ekiben.explaining import child, nearby, rungs, tickets, wishes
from ekiben.explaining.apart import STARTS_S, Broken, Full, Job, Pool
from ekiben.explaining.messages import Known, Task, Warm
from ekiben.explaining.nearby import Nearby
from ekiben.explaining.tickets import Tickets
from ekiben.explaining.wishes import Wish
from ekiben.pacing import Rate
from ekiben.schema import Output
from traffic.faults import until

PATIENCE_S = 240


# ── wishes


def test_a_query_is_read_and_an_empty_one_wishes_nothing():
    assert wishes.read("") == Wish()
    assert wishes.read("method=sampling&columns=age,job&top=2&seed=7&wait=0.5") == Wish(
        method="sampling", columns=("age", "job"), top=2, seed=7, wait_s=0.5
    )
    assert wishes.read("columns=a%20b").columns == ("a b",)
    assert wishes.read("columns=a,%22b,%20c%22").columns == ("a", "b, c")


@pytest.mark.parametrize(
    "names", [wishes.OTHER[:1], wishes.OTHER[:2], wishes.OTHER, (*wishes.OTHER, "all other columns (2)")]
)
def test_what_others_added_has_a_name_that_no_column_has(names):
    parts = {**dict.fromkeys(names, 1.0), "most": 9.0}
    (rest,) = {*wishes.told({"contributions": parts}, Wish(top=1))["contributions"]} - {"most"}
    assert rest not in parts


def test_of_many_columns_each_is_looked_at_once():
    class Name(str):
        __slots__ = ()
        compared = 0

        def __eq__(self, other):
            Name.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    names = [Name(f"column {i}") for i in range(1_000)]
    contributions = dict(zip(names, map(float, range(1_000)), strict=True))
    asked = tuple(f"column {i}" for i in range(500))
    told = wishes.told({"contributions": contributions}, wishes.checked(Wish(columns=asked, top=400), "m", (), names))
    assert len(told["contributions"]) == 401
    assert Name.compared < 10_000


def test_a_hint_compares_no_more_than_it_is_worth(monkeypatch):
    compared = []
    monkeypatch.setattr(errors.difflib, "get_close_matches", lambda _, known, n: compared.extend(known) or [])
    long = ["column " * 20 + str(i) for i in range(10_000)]
    for names in (long, ["age", "job"]):
        with pytest.raises(SpecError, match="must be columns of the contract"):
            wishes.checked(Wish(columns=("column " * 20,)), "m", (), names)
    assert compared[-2:] == ["age", "job"]
    assert len(compared) < 100


@given(st.lists(st.text(max_size=5), min_size=1, max_size=4))
def test_names_in_a_query_are_read_as_they_were_written(names):
    assert protocol.names_in(protocol.listed(names)) == tuple(names)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("metod=sampling", "A query of /explain may hold method, units, columns, top, seed, wait. Got something else."),
        ("top=1&top=2", "must name each thing once"),
        ("top=0", "`top` must be a whole number from 1"),
        ("seed=-1", "`seed` must be a whole number from 0"),
        ("wait=nan", "`wait` must be a number of seconds from 0"),
        ("wait=1e99", "`wait` must be a number of seconds from 0"),
        ("columns=a,a", "must name each column once"),
        ("columns=", "must name each column once"),
        ("columns=a,%22b", "must name each column once"),
        ("columns=" + "a" * 9000, "A query may hold 8,192 bytes"),
    ],
)
def test_a_query_that_cannot_be_is_refused_without_its_values(query, says):
    with pytest.raises(SpecError, match=re.escape(says)):
        wishes.read(query)


def test_a_service_is_wished_what_it_offers():
    assert wishes.checked(Wish(method="trees"), "trees", (), ("a",)).method == "trees"
    assert wishes.checked(Wish(method="sampling", columns=("a",)), "trees", ("sampling",), ("a",))
    with pytest.raises(SpecError, match=r"offers: trees\. Got another"):
        wishes.checked(Wish(method="sampling"), "trees", (), ("a",))
    with pytest.raises(SpecError, match="1 of them is none"):
        wishes.checked(Wish(columns=("a", "b")), "trees", (), ("a",))


@pytest.mark.parametrize(
    ("parts", "has"),
    [
        (("label", "scores"), {"probability", "log-odds", "margin"}),
        (("value",), {"target", "margin"}),
        (("label", "value"), {"target", "margin"}),
        (("label",), {"margin"}),
    ],
)
def test_a_scale_is_one_of_the_model_s_answers(parts, has):
    scales = explainers.scales_of(Output(parts=parts))
    for units in explainers.UNITS:
        refused = nullcontext() if units in has else pytest.raises(SpecError, match="a scale of this model's answers")
        with refused:
            wishes.checked(Wish(units=units), "trees", (), ("a",), scales)


AMOUNTS = st.dictionaries(st.sampled_from([*"abcdef", "other"]), st.floats(-100, 100), min_size=1)


@given(AMOUNTS, st.integers(1, 7), st.sets(st.sampled_from([*"abc"])))
def test_what_is_left_out_is_told_as_one_number_so_that_all_still_adds_up(amounts, top, columns):
    one = {"contributions": amounts, "standard_errors": {name: abs(amount) for name, amount in amounts.items()}}
    told = wishes.told(one, Wish(top=top, columns=tuple(sorted(columns))))
    parts = told["contributions"]
    assert sum(parts.values()) == pytest.approx(sum(amounts.values()), abs=1e-9)
    assert {*told["standard_errors"]} == {*parts}
    assert len(parts) <= top + 1
    assert all(parts[name] == amounts[name] for name in {*parts} & {*amounts})


def test_a_rule_is_told_whole():
    rule = {"kind": "rule", "conditions": ["a > 1", "b > 1"]}
    assert wishes.told(rule, Wish(top=1)) == rule


# ── rungs


SLOW = {"trees": Known(ms=900, exact=True), "sampling": Known(ms=30, draws=True), "anchor": Known(ms=400)}


def chosen(left_ms, *, packed="trees", wished=None, known=SLOW, **more):
    return rungs.choose(packed=packed, wished=wished, known=known.get, n_rows=1, left_ms=left_ms, **more)


def test_the_ladder_goes_down_with_the_time():
    assert [chosen(ms).rung for ms in (5000, 1200, 1000, 50, 30, 0)] == [
        "exact", "exact", "sampled", "sampled", "later", "later"
    ]  # fmt: skip
    assert [chosen(ms).method for ms in (5000, 50, 30)] == ["trees", "sampling", "trees"]


def test_a_method_that_is_named_is_never_replaced():
    assert (chosen(100, wished="trees").rung, chosen(100, wished="trees").method) == ("later", "trees")
    assert chosen(1000, packed="anchor").rung == "sampled"
    assert (chosen(100, packed="anchor").rung, chosen(100, packed="anchor").method) == ("later", "anchor")


def test_who_waits_before_one_counts():
    assert chosen(1200, waits_ms=100).rung == "sampled"
    assert chosen(1200, waits_ms=1190).rung == "later"


def test_who_finds_no_process_that_is_ready_is_told_so_where_it_would_wait_too_long():
    for known in ({}, SLOW):
        choice = chosen(1200, known=known, waits_ms=2000, is_warm=False)
        assert (choice.rung, choice.why) == ("later", "the process that explains is not ready yet")
    assert chosen(5000, known={}, waits_ms=2000, is_warm=False).rung == "exact"


def test_what_was_not_measured_yet_is_tried():
    assert (chosen(10, known={}).rung, chosen(10, known={}, packed="anchor").rung) == ("exact", "sampled")


def test_a_choice_says_why():
    assert chosen(1000).why == "'trees' needs 1125 ms, and there are 1000; 'sampling' fits"
    assert chosen(5000).why == "'trees' is exact, and fits into the time"


# ── nearby


def test_the_nearest_row_stands_in_where_it_is_near_enough():
    kept = Nearby(0.1)
    key, spans = ("digest", "trees"), (100.0, 0.0)
    kept.keep(key, [(30, "cook"), (60, "cook")], [{"of": 30}, {"of": 60}])
    assert kept.find(key, [(32, "cook")], spans) == ([{"of": 30}], pytest.approx(0.01))
    assert kept.find(key, [(58, "cook"), (30, "cook")], spans) == ([{"of": 60}, {"of": 30}], pytest.approx(0.01))
    assert kept.find(key, [(30, "baker")], spans) is None
    assert kept.find(("another", "trees"), [(30, "cook")], spans) is None
    assert kept.find(("digest", "anchor"), [(30, "cook")], spans) is None


def test_what_is_kept_is_bounded_and_the_least_lately_added_goes():
    kept = Nearby(0.0)
    for i in range(2 * nearby.MOST):
        kept.keep(("d", "m"), [(float(i),)], [{"of": i}])
    assert kept.find(("d", "m"), [(0.0,)], (1e9,)) is None
    assert kept.find(("d", "m"), [(2.0 * nearby.MOST - 1,)], (1e9,)) == ([{"of": 2 * nearby.MOST - 1}], 0.0)


@given(st.lists(st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=2)), min_size=3, max_size=3))
def test_a_row_is_at_no_distance_from_itself_and_at_most_one_from_others(row):
    assert nearby.distance(row, row, (1.0, 0.0, 5.0)) == 0
    assert 0 <= nearby.distance(row, (1.0, "x", None), (1.0, 0.0, 5.0)) <= 1


# ── tickets


@pytest.fixture
def worker(tmp_path):
    made = []

    def make(**settings):
        told = {"keep_s": 60, "most": 10, "most_bytes": 1e6} | settings
        made.append(Tickets(tmp_path / "service", **told))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_any_worker_answers_for_a_ticket_and_only_to_its_owner(worker):
    one, other = worker(), worker()
    ticket = one.open("me", lambda: None, expected_s=10, of=("i", "champion", "models:/risk/1"))
    assert re.fullmatch("[0-9a-f]{32}", ticket)
    assert other.look(ticket, "me").state == "running"
    assert other.look(ticket, "you").state == "unknown"
    assert 0 <= other.look(ticket, "me").progress < 0.1
    one.settle(ticket, "done", 200, b'{"a":1}\n2')
    seen = other.look(ticket, "me")
    assert (seen.state, seen.head.status, seen.head.arm, seen.body) == ("done", 200, "champion", b'{"a":1}\n2')
    assert other.look("../" + ticket, "me").state == "unknown"


def test_a_ticket_is_for_its_owner_s_eyes_on_the_disk_too(worker, tmp_path):
    one = worker()
    one.settle(one.open("token", lambda: None), "done", 200, b"{}")
    (file,) = (tmp_path / "service").glob("*.ticket")
    assert file.stat().st_mode & 0o077 == 0
    assert b"token" not in file.read_bytes()


def test_another_worker_cancels_the_work_and_a_result_that_comes_then_is_not_kept(worker):
    one, other, stopped = worker(), worker(), []
    ticket = one.open("", lambda: stopped.append(1))
    assert other.cancel(ticket, "nobody").state == "unknown"
    assert other.cancel(ticket, "").state == "cancelled"
    until(lambda: stopped, PATIENCE_S)
    one.settle(ticket, "done", 200, b"{}")
    assert one.look(ticket, "").state == "cancelled"


def test_what_a_worker_answered_before_it_ended_is_not_lost_to_who_looked_meanwhile(worker, monkeypatch):
    one, other = worker(), worker()
    ticket = one.open("", lambda: None)

    def ends(_worker):
        one.settle(ticket, "done", 200, b"{}")
        return False

    monkeypatch.setattr(other, "_lives", ends)
    assert (other.look(ticket, "").state, other.look(ticket, "").body) == ("done", b"{}")


def test_a_file_that_goes_while_the_folder_is_looked_through_costs_no_ticket(worker, tmp_path, monkeypatch):
    one, scandir = worker(), os.scandir

    @contextmanager
    def late(folder):
        passing = tmp_path / "service" / "passing.part"
        passing.write_bytes(b"")
        with scandir(folder) as found:
            listed = [*found]
        passing.unlink()
        yield listed

    monkeypatch.setattr(os, "scandir", late)
    assert one.look(one.open("", lambda: None), "").state == "running"


def test_a_ticket_that_cannot_be_written_leaves_nothing_behind(worker, tmp_path, monkeypatch):
    one = worker()
    monkeypatch.setattr(tickets, "_encode", lambda _head: b"x" * 100_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            one.open("", lambda: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.suffix for path in (tmp_path / "service").iterdir()] == [".worker"]


def test_who_hands_results_out_goes_on_where_nobody_could_be_let_in(tmp_path, monkeypatch):
    one, other = (Tickets(tmp_path, keep_s=60, most=10, most_bytes=1e6, in_memory=True) for _ in range(2))
    try:
        ticket = one.open("", lambda: None)
        one.settle(ticket, "done", 200, b"{}")
        own, fails = one._kept._socket, [OSError(errno.EMFILE, "Too many open files")]

        def accept():
            if fails:
                raise fails.pop()
            return own.accept()

        one._kept._socket = SimpleNamespace(accept=accept, shutdown=own.shutdown, close=own.close)
        assert [other.look(ticket, "").state for _ in range(3)] == ["done"] * 3
        assert not fails
    finally:
        one.close()
        other.close()


def test_a_ticket_whose_worker_has_ended_says_so(worker, tmp_path):
    program = (
        "import sys; from pathlib import Path; from ekiben.explaining.tickets import Tickets\n"
        "made = Tickets(Path(sys.argv[1]), keep_s=60, most=10, most_bytes=1e6)\n"
        "print(made.open('', lambda: None), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "service"], stdin=-1, stdout=subprocess.PIPE, text=True
    ) as child:
        ticket, here = child.stdout.readline().strip(), worker()
        assert here.look(ticket, "").state == "running"
        child.kill()
        child.wait()
        assert here.look(ticket, "").state == "lost"


def test_what_is_too_old_or_too_much_is_deleted(worker, tmp_path, monkeypatch):
    monkeypatch.setattr(tickets, "SWEPT_S", 0)
    one = worker(most=3)
    made = [one.open("", lambda: None) for _ in range(5)]
    for ticket in made[2:]:
        one.settle(ticket, "done", 200, b"x" * 100)
    last = one.open("", lambda: None)
    assert [one.look(ticket, "").state for ticket in made[:3]] == ["unknown"] * 3
    assert one.look(last, "").state == "running"
    assert len(list((tmp_path / "service").glob("*.ticket"))) == 3
    old = worker(keep_s=-1)
    ticket = old.open("", lambda: None)
    old.settle(ticket, "done", 200, b"{}")
    assert old.look(ticket, "").state == "unknown"


@pytest.mark.parametrize("place", ["service", f"a{'b' * 120}"])  # the path of a socket may be short alone
def test_a_result_in_memory_is_handed_to_every_worker_and_is_in_no_file(tmp_path, place, monkeypatch):
    monkeypatch.setattr(tickets, "SWEPT_S", 0)
    told = {"keep_s": 60, "most": 10, "most_bytes": 1e6, "in_memory": True}
    body = b'{"income":54321.125}' * 10_000
    one, other = (Tickets(tmp_path / place, **told) for _ in range(2))
    try:
        done, failed, dropped = (one.open("me", lambda: None) for _ in range(3))
        one.settle(done, "done", 200, body)
        one.settle(failed, "failed", 422, b"54321.125")
        one.settle(dropped, "done", 200, body)
        for each in (one, other):
            assert (each.look(done, "me").body, each.look(done, "you").state) == (body, "unknown")
            assert (each.look(failed, "me").body, each.look(failed, "me").head.status) == (b"54321.125", 422)
        assert other.cancel(dropped, "me").state == "cancelled"
        until(lambda: one._kept.find(dropped, one.worker) is None, PATIENCE_S)
        files = [path for path in (tmp_path / place).iterdir() if path.is_file()]
        assert len(files) == 5  # three tickets, two workers
        assert not [path for path in files if b"54321" in path.read_bytes()]
        one.close()
        assert other.look(done, "me").state == "lost"
    finally:
        other.close()


def test_what_is_too_old_or_too_much_is_forgotten_in_memory_too(tmp_path, monkeypatch):
    monkeypatch.setattr(tickets, "SWEPT_S", 0)
    one = Tickets(tmp_path, keep_s=60, most=10, most_bytes=1500, in_memory=True)
    made = [one.open("", lambda: None) for _ in range(3)]
    for ticket in made:
        one.settle(ticket, "done", 200, b"x" * 700)
    until(lambda: list(one._kept.tickets()) == made[1:], PATIENCE_S)
    assert [one.look(ticket, "").state for ticket in made] == ["unknown", "done", "done"]
    one.close()


# ── a rate


def test_a_rate_lets_in_what_it_says_and_tells_when_to_come_back():
    now = [0.0]
    rate = Rate(5, clock=lambda: now[0])
    assert [rate.waits_s() for _ in range(5)] == [0.0] * 5
    assert rate.waits_s() == pytest.approx(0.2)
    now[0] = 0.2
    assert (rate.waits_s(), rate.waits_s() > 0) == (0.0, True)


# ── a process of its own


def test_a_process_explains_what_the_package_explains_is_ended_when_nobody_wants_it_and_comes_back(challenger, people):
    """One long test: a process takes seconds to start."""
    ended, row = [], challenger.examples[0]["row"]
    columns = {name: [value] for name, value in row.items()}
    task = Task(folder=str(challenger.folder), digest=challenger.digest, method="sampling", columns=columns, seed=3)
    warm = Warm(folder=task.folder, digest=task.digest, most_ms=1e6)
    pool = Pool(1, most_waiting=2, longest_s=60, most_bytes=4e9, warm=[warm], killed=ended.append)
    try:
        done = pool.submit(Job(task)).future.result(PATIENCE_S)
        wanted = challenger.explain(challenger.example_frame.head(1), seed=3)[0]
        assert done.explanations[0]["contributions"] == wanted.contributions
        known = pool.known[challenger.digest, "sampling"]
        assert (known.draws, known.exact, known.ms > 0) == (True, False, True)

        drawn = pool.submit(Job(task, until=time.monotonic() + 1)).future.result(PATIENCE_S)
        again = challenger.explain(challenger.example_frame.head(1), seed=3, rounds=drawn.rounds)[0]
        assert drawn.explanations[0]["contributions"] == again.contributions

        unwanted = pool.submit(Job(task, until=time.monotonic() + 3600))
        waiting = [pool.submit(Job(task)) for _ in range(2) if _begun(unwanted)]
        with pytest.raises(Full):
            pool.submit(Job(task))
        assert not pool.takes(0)
        unwanted.cancel()
        with pytest.raises(Broken) as refused:
            unwanted.future.result(PATIENCE_S)
        assert (refused.value.code, ended) == ("cancelled", ["cancelled"])
        for job in waiting:
            assert job.future.result(PATIENCE_S).explanations[0]["contributions"] == wanted.contributions

        pool._slots[0]._process.kill()
        until(lambda: not pool.is_warm, PATIENCE_S)
        assert pool.waits_ms() == 1e3 * pool.started_s  # of the one that is to come

        wrong = msgspec.structs.replace(task, digest="0" * 64)
        with pytest.raises(Broken) as refused:
            pool.submit(Job(wrong)).future.result(PATIENCE_S)
        assert refused.value.code == "internal"

        unwanted = pool.submit(Job(task, until=time.monotonic() + 3600))
        assert _begun(unwanted)
        unwanted.cancel()
        until(lambda: ended == ["cancelled", "crashed", "cancelled"], PATIENCE_S)
        until(lambda: pool.is_warm, PATIENCE_S)  # another takes its place before anybody asks
    finally:
        pool.close()


def test_a_process_that_is_not_warm_yet_is_waited_for(monkeypatch, tmp_path):
    never = tmp_path / "never"
    never.write_text("#!/bin/sh\nexec sleep 10000\n")
    never.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(never))
    pool = Pool(1, most_waiting=2, longest_s=60, most_bytes=4e9, warm=[Warm(folder="x", digest="0", most_ms=1.0)])
    try:
        assert (pool.is_warm, pool.waits_ms()) == (False, 1e3 * STARTS_S)  # before it begins
        pool.start()
        assert pool.waits_ms() >= 1e3 * STARTS_S / 2
        assert not pool.is_warm
        pool.started_s = 0.0  # what takes longer than the last one may take as long again
        assert pool.waits_ms() > 0
    finally:
        pool.close()


def test_a_task_waits_for_the_process_that_is_free_first():
    pool = Pool(2, most_waiting=9, longest_s=60, most_bytes=4e9)
    pool._slots = [SimpleNamespace(left_ms=lambda: 5000.0), SimpleNamespace(left_ms=lambda: 0.0)]
    assert pool.waits_ms() == 0
    pool.known["0", "anchor"] = Known(ms=1000)
    for waits_ms in (2000, 4000, 5000, 6000):
        pool._waiting[0].append(Job(Task(folder="x", digest="0", method="anchor", columns={"age": [1, 2]})))
        assert pool.waits_ms() == waits_ms


def test_a_task_that_nobody_wants_any_more_gives_its_place_to_another(monkeypatch):
    pool = Pool(1, most_waiting=2, longest_s=60, most_bytes=4e9)
    monkeypatch.setattr(pool, "start", lambda: None)
    pool.known["0", "anchor"] = Known(ms=1000)
    task = Task(folder="x", digest="0", method="anchor", columns={"age": [1]})
    waiting = [pool.submit(Job(task), later=later) for later in (False, True)]
    assert (pool.n_waiting, pool.is_full, pool.takes(0)) == (2, True, False)
    for job in waiting:
        job.cancel()
    assert (pool.n_waiting, pool.is_full, pool.takes(0)) == (0, False, True)
    assert pool.waits_ms() == 1e3 * STARTS_S
    last = [pool.submit(Job(task)) for _ in range(2)]
    pool.close()
    assert all(job.future.cancelled() for job in last)


def test_a_process_is_heard_where_a_thousand_files_are_open():
    softly, hardly = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hardly, 4096), hardly))
    many = [os.dup(0) for _ in range(1100)]
    pool = Pool(1, most_waiting=2, longest_s=60, most_bytes=4e9)
    try:
        with pytest.raises(Broken) as told:
            pool.submit(Job(Task(folder="/nowhere", digest="0", method="sampling", columns={}))).future.result(
                PATIENCE_S
            )
        assert "FileNotFoundError" in str(told.value) or "nowhere" in str(told.value)  # the process's own words
    finally:
        pool.close()
        for each in many:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (softly, hardly))


def test_a_process_that_ends_before_it_is_asked_costs_its_task_and_not_the_slot(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    never_read = Warm(folder="x" * 10_000_000, digest="0" * 64, most_ms=1.0)  # more than a socket holds
    pool = Pool(1, most_waiting=2, longest_s=60, most_bytes=4e9, warm=[never_read])
    assert [pool.takes(n_coming) for n_coming in (0, 2, 3)] == [True, True, False]
    task = Task(folder="x", digest="0" * 64, method="sampling", columns={"age": [1]})
    try:
        for _ in range(2):
            with pytest.raises(Broken) as told:
                pool.submit(Job(task)).future.result(PATIENCE_S)
            assert told.value.code == "crashed"
    finally:
        pool.close()


def test_a_process_that_cannot_be_made_ready_costs_no_slot(monkeypatch):
    def fail(*_):
        raise OSError

    monkeypatch.setattr(socket, "socketpair", fail)
    pool = Pool(1, most_waiting=2, longest_s=60, most_bytes=4e9)
    task = Task(folder="x", digest="0" * 64, method="sampling", columns={"age": [1]})
    try:
        for _ in range(2):
            with pytest.raises(Broken) as told:
                pool.submit(Job(task)).future.result(PATIENCE_S)
            assert told.value.code == "internal"
    finally:
        pool.close()


def test_a_number_that_no_tree_can_hold_is_the_callers_fault_in_a_process_too():
    X = pd.DataFrame({"income": [1.0, 2.0, 3.0, 4.0] * 10, "age": [4.0, 3.0, 2.0, 1.0] * 10})
    booster = XGBClassifier(n_estimators=3).fit(X, [0, 1] * 20).get_booster()  # it refuses such a number itself
    package = ek.pack(booster, name="x", reference=X, overview=False)
    columns = {"income": [1e64], "age": [1.0]}
    task = Task(folder=str(package.folder), digest=package.digest, method=package.method, columns=columns)
    failed = child._safely(child.Held().answered, task)
    assert (failed.code, failed.says) == (
        "unanswerable",
        "A number must be one that 32 bits can hold. Got a larger one.",
    )


def _begun(job):
    return until(lambda: job.began is not None, PATIENCE_S)
