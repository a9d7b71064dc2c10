"""Ids, traces, and the access log."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from ekiben import observing
from ekiben.observing import AccessLog, Line, new_id, trace_of

TRACE, PARENT = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
PATIENCE_S = 120


def line(code="ok", **changes):
    told = {"time": datetime.now(UTC), "id": "0" * 32, "endpoint": "predict", "arm": "champion", "model": "models:/r/1"}
    return Line(**{**told, "status": 200, "code": code, "ms": 0.5, "rows": 1, "trace": "", **changes})


def test_ids_are_32_hex_digits_and_never_the_same():
    made = [new_id() for _ in range(5000)]
    assert len({*made}) == 5000
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in made)


def test_a_forked_process_makes_other_ids():
    story = (
        "import os; from ekiben.observing import new_id; new_id(); n = os.fork(); "
        "os.write(1, new_id().encode() + b'\\n'); n and os.waitpid(n, 0)"
    )
    told = subprocess.run([sys.executable, "-c", story], capture_output=True, text=True, check=True).stdout.split()
    assert len({*told}) == 2


@pytest.mark.parametrize(
    ("header", "trace"),
    [
        (b"00-%s-%s-01" % (TRACE, PARENT), TRACE.decode()),
        (b"00-%s-%s-00" % (TRACE, PARENT), TRACE.decode()),
        (b"01-%s-%s-01-more" % (TRACE, PARENT), TRACE.decode()),
        (None, ""),
        (b"", ""),
        (b"00-%s-%s-01-more" % (TRACE, PARENT), ""),
        (b"ff-%s-%s-01" % (TRACE, PARENT), ""),
        (b"00-%s-%s-01" % (b"0" * 32, PARENT), ""),
        (b"00-%s-%s-01" % (TRACE, b"0" * 16), ""),
        (b"00-%s-%s-01" % (TRACE.upper(), PARENT), ""),
        (b"00-%s-%s-01\n" % (TRACE, PARENT), ""),
        (b'"}{"' + b"0" * 51, ""),
    ],
)
def test_a_traceparent_is_read_as_the_standard_says(header, trace):
    assert trace_of(header) == trace


def test_a_request_is_one_line_of_json():
    told = []
    log = AccessLog(write=told.append)
    log.tell(line(trace=TRACE.decode()))
    log.close()
    (text,) = told
    document = json.loads(text)
    assert text.endswith("}\n")
    assert datetime.fromisoformat(document.pop("time")).tzinfo is not None
    assert [*document] == ["id", "endpoint", "arm", "model", "status", "code", "ms", "rows", "trace"]
    assert [*document.values()] == ["0" * 32, "predict", "champion", "models:/r/1", 200, "ok", 0.5, 1, TRACE.decode()]


def test_lines_are_written_whole_in_pieces_that_a_pipe_takes():
    told = []
    log = AccessLog(write=told.append)
    for _ in range(200):
        log.tell(line())
    log.close()
    assert sum(text.count("\n") for text in told) == 200
    assert all(len(text) <= observing.WHOLE_BYTES and text.endswith("\n") for text in told)


PRINTED = """
import os, sys
from ekiben import observing
if sys.argv[1] == "python":
    observing.loops = None
lines = bytearray()
for i in range(3000):
    lines += b"%d" % i * (3000 if i == 300 else i % 90 + 1) + b"\\n"
os.set_blocking(1, sys.argv[2] == "waits")
observing._print(lines)
"""


def pieces_printed(*how):
    """Give what a process writes on standard output, piece by piece."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs, subprocess.Popen([sys.executable, "-c", PRINTED, *how], stdout=theirs) as process:
        ended = threading.Thread(target=lambda: (process.wait(), theirs.send(b"")))
        ended.start()
        pieces = [*iter(lambda: ours.recv(1_000_000), b"")]
        ended.join()
    assert process.returncode == 0
    return pieces


@pytest.mark.skipif(observing.loops is None, reason="ekiben was installed where there is no compiler")
def test_the_loops_write_the_same_pieces_on_standard_output_and_wait_for_its_reader_themselves():
    pieces = pieces_printed("loops", "waits")
    assert len(pieces) > 50
    assert pieces == pieces_printed("python", "waits") == pieces_printed("loops", "does not wait")


@pytest.mark.skipif(observing.loops is None, reason="ekiben was installed where there is no compiler")
def test_the_loops_say_what_cannot_be_written(tmp_path):
    closed, (ours, theirs) = tmp_path / "read_only", os.pipe()
    closed.touch()
    with closed.open("rb") as file, pytest.raises(OSError, match="Bad file descriptor"):
        observing.loops.written(file.fileno(), b"a\n", 4096)
    os.close(ours)
    with pytest.raises(BrokenPipeError):
        observing.loops.written(theirs, b"a\n", 4096)
    os.close(theirs)


def test_a_share_of_the_good_answers_and_every_refusal_is_told():
    told = []
    log = AccessLog(0.0, write=told.append)
    for code in ("ok", "ok", "timeout"):
        log.tell(line(code))
    log.close()
    assert [json.loads(text)["code"] for text in told] == ["timeout"]


def test_lines_are_written_by_themselves_before_long():
    written = threading.Event()
    log = AccessLog(write=lambda text: written.set())
    log.tell(line())
    assert written.wait(PATIENCE_S)
    log.close()


def test_what_is_told_after_the_end_is_written_at_once():
    told = []
    log = AccessLog(write=told.append)
    log.close()
    log.tell(line())
    log.tell(line())
    assert len(told) == 2


def test_a_reader_that_is_gone_stops_nothing():
    def gone(text):
        raise BrokenPipeError

    log = AccessLog(write=gone)
    log.tell(line())
    log.flush()
    log.tell(line())
    log.close()


def test_a_reader_that_has_stopped_keeps_nobody_from_ending():
    stuck, goes_on = threading.Event(), threading.Event()

    def write(_text):
        stuck.set()
        assert goes_on.wait(PATIENCE_S)

    log = AccessLog(write=write)
    log.tell(line())
    assert stuck.wait(PATIENCE_S)
    ending = threading.Thread(target=lambda: (log.close(), log.tell(line())), daemon=True)
    ending.start()
    ending.join(PATIENCE_S / 10)
    has_ended = not ending.is_alive()
    goes_on.set()
    assert has_ended


def test_a_log_that_nobody_reads_is_bounded_and_counts_what_it_drops_and_all_that_came(monkeypatch):
    monkeypatch.setattr(observing, "MOST_BYTES", 1000)
    held, told, counted = threading.Event(), [], []

    def write(text):
        assert held.wait(PATIENCE_S)
        told.append(text)

    log = AccessLog(write=write, count=lambda *what: counted.extend(what[-1]))
    for _ in range(200):
        log.tell(line())
    log.settle()
    held.set()
    log.close()
    n_written = sum(text.count("\n") for text in told)
    assert n_written + log.n_dropped == 200
    assert log.n_dropped > 0
    assert len(counted) == 200


def test_requests_are_counted_by_what_came_of_them_whether_or_not_their_lines_are_written():
    counted = []
    log = AccessLog(0.0, write=lambda text: None, count=lambda *what: counted.append((*what[:-1], [*what[-1]])))
    for code in ("ok", "timeout", "ok"):
        log.tell(line(code))
    log.settle()
    log.close()
    assert counted == [
        ("predict", "champion", "ok", [0.0005, 0.0005]),
        ("predict", "champion", "timeout", [0.0005]),
    ]


def test_nothing_that_several_threads_tell_at_once_is_lost():
    told, counted = [], []
    log = AccessLog(write=told.append, count=lambda *what: counted.extend(what[-1]))
    threads = [threading.Thread(target=lambda: [log.tell(line()) for _ in range(500)]) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    log.close()
    assert len("".join(told).splitlines()) == len(counted) == 2000
    assert all(json.loads(text)["code"] == "ok" for text in "".join(told).splitlines())


def test_what_is_still_gathered_is_written_when_the_process_ends():
    story = (
        "from ekiben.observing import AccessLog, Line; from datetime import UTC, datetime; "
        "AccessLog().tell(Line(datetime.now(UTC), 'a', 'predict', '', '', 200, 'ok', 0.1, 1, ''))"
    )
    told = subprocess.run([sys.executable, "-c", story], capture_output=True, text=True, check=True).stdout
    assert json.loads(told)["id"] == "a"
