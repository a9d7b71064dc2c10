"""Records: written before the answer, torn by nobody, packed, kept so long, and read back."""

import errno
import gzip
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from array import array
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zlib import crc32

import msgspec
import pytest

import ekiben as ek
from ekiben.errors import IntegrityError, NotFoundError, RecordsError
from ekiben.loops import loops
from ekiben.recording import tidying, writing
from ekiben.recording.keeping import Keeper, key_of
from ekiben.recording.opening import opened
from ekiben.recording.reading import read
from ekiben.recording.segments import FRAME, OPEN, PACKED, WHOLE, Header, Record, segments
from ekiben.recording.tidying import tidy
from ekiben.recording.writing import Recorder
from ekiben.spec import Records

HEADER = Header(service="risk", columns=("age", "job"), arms={"champion": ("models:/risk/1", "0" * 64)})
built = pytest.mark.skipif(loops is None, reason="ekiben was installed where there is no compiler")


def record(number=0, **changes):
    told = {"id": f"{number:032x}", "ns": 1, "endpoint": "predict", "arm": "champion", "unit": "c-7", "propensity": 0.9}
    told |= {"us": 12.5, "inputs": ((30, "cook"), (41, None)), "outputs": b'[{"label":"bad"},{"label":"good"}]'}
    return msgspec.structs.astuple(Record(**{**told, **changes}))


@pytest.fixture(params=[pytest.param(True, marks=built), False], ids=["by the loop", "by Python"])
def recorder(request, tmp_path, monkeypatch):
    """Make recorders that append by the loop in C, and without it."""
    if not request.param:
        monkeypatch.setattr(writing, "_kept", None)
    made = []

    def make(**settings):
        made.append(Recorder(tmp_path / "risk", HEADER, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def of(folder):
    return [each for path in segments(folder) for each in read(path)[1]]


def test_a_record_that_was_written_counts_though_no_other_segment_can_begin_behind_it(recorder, tmp_path):
    one = recorder(segment_bytes=400)
    one.write(record(0))
    away = tmp_path / "away"
    one.folder.rename(away)  # where the next segment should be, there is no folder any more
    n = 1
    while one._file >= 0:
        one.write(record(n))
        n += 1
    with pytest.raises(RecordsError, match="was not: No such file or directory"):
        one.write(record(n))
    away.rename(one.folder)
    one.write(record(n))
    assert [each.id for each in of(one.folder)] == [record(i)[0] for i in range(n + 1)]


def test_a_record_is_read_back_as_it_was_written(recorder):
    first = recorder()
    first.write(record(1))
    (segment,) = segments(first.folder)
    header, (found,) = read(segment)
    assert (header.service, header.columns, header.arms) == (HEADER.service, HEADER.columns, HEADER.arms)
    assert [*map(tuple, found.inputs)] == [(30, "cook"), (41, None)]
    assert (found.id, found.unit, found.outputs) == (record(1)[0], "c-7", record()[-1])


def test_an_integer_of_any_size_is_kept_as_its_number(recorder):
    one = recorder()
    one.write(record(1, inputs=((10**30, "cook"), (-(2**63), None), (2**64 - 1, "x"))))
    one.write(record(2, inputs=(([10**30, 1], "cook"),)))
    first, second = of(one.folder)
    assert [row[0] for row in first.inputs] == [1e30, -(2**63), 2**64 - 1]
    assert second.inputs[0][0] == [1e30, 1]


class Unheard:
    """Nobody who counts."""

    def unrecorded(self, n):
        raise AssertionError


@pytest.mark.parametrize(("keep_mb", "n"), [(1000, 1), (8, 3)])
def test_a_segment_is_begun_anew_at_a_quarter_of_what_is_kept(tmp_path, keep_mb, n):
    told, written = Records(keep_mb=keep_mb, keep_days=1), "x" * 500_000
    keeper = opened(tmp_path / "risk", ("job",), {"champion": ("risk/1", "0")}, told, unit="", counted=Unheard())
    for number in range(10):
        keeper.keep((f"{number:032x}", time.time_ns(), "predict", "champion", None, 1.0, 1.0, [(written,)], b"[]"))
    made = segments(tmp_path / "risk")
    keeper.close()
    assert len(made) == n


def filled(recorder, n, segment_bytes):
    """Write records into small segments, and pack them all."""
    one = recorder(segment_bytes=segment_bytes)
    for number in range(n):
        one.write(record(number))
    one.close()
    tidy(one.folder)
    return one.folder


def test_segments_are_closed_packed_and_read_like_open_ones(recorder):
    folder = filled(recorder, 100, 2000)
    assert [each.id for each in of(folder)] == [record(number)[0] for number in range(100)]
    assert {path.name.rpartition(".")[2] for path in segments(folder)} == {"gz"}
    assert len(segments(folder)) > 3


def test_a_segment_that_is_a_day_old_is_closed_before_the_next_record(recorder):
    one = recorder()
    one.write(record(1))
    one.write(record(2, ns=time.time_ns() + writing.SEGMENT_S * 10**9))
    one.write(record(3))
    one.close()
    tidy(one.folder)
    assert [len(list(read(path)[1])) for path in segments(one.folder)] == [1, 2]


@pytest.mark.parametrize("gone", ["the folder", "the segment"])
def test_records_that_are_deleted_while_they_are_written_begin_anew_within_a_second(recorder, caplog, gone):
    one = recorder()
    one.write(record(1))
    (path,) = segments(one.folder)
    shutil.rmtree(one.folder) if gone == "the folder" else path.unlink()
    one.write(record(2))  # nobody has looked yet
    later = time.time_ns() + writing.LOOKED_NS + 1
    for number in (3, 4):
        one.write(record(number, ns=later))
    assert [each.id for each in of(one.folder)] == [record(3)[0], record(4)[0]]
    assert caplog.text.count("were deleted while they were written; a new segment begins") == 1


def test_a_segment_may_be_packed_between_two_looks(recorder):
    one = recorder()
    one.write(record(1))
    (seen,) = segments(one.folder)
    one.close()
    tidy(one.folder)
    assert not seen.exists()
    assert [each.id for each in read(seen)[1]] == [record(1)[0]]


def test_a_segment_is_on_the_disk_as_packed_before_the_plain_one_goes(recorder, monkeypatch):
    settled, fsync = [], os.fsync

    def spied(file):
        beside = Path(f"/proc/self/fd/{file}").readlink()
        settled.append((beside.suffix, bool(list(beside.parent.glob(f"*{WHOLE}")))))
        fsync(file)

    monkeypatch.setattr(os, "fsync", spied)
    one = recorder()
    one.write(record(1))
    one.close()
    tidy(one.folder)
    assert settled == [(".part", True)]
    assert not list(one.folder.glob(f"*{WHOLE}"))


def test_the_name_of_a_segment_is_on_the_disk_before_a_record_counts_where_that_is_asked(tmp_path, monkeypatch):
    settled, folder = [], tmp_path / "records" / "risk"

    def spied(file):
        if (named := Path(f"/proc/self/fd/{file}").readlink()).is_dir():
            settled.append((named, len(segments(folder))))

    monkeypatch.setattr(os, "fsync", spied)
    Recorder(tmp_path / "other", HEADER).close()
    assert settled == []
    Recorder(folder, HEADER, sync=True).close()
    assert settled == [(folder, 1), (folder.parent, 1)]


def test_records_wait_for_no_name_in_a_folder_that_may_not_be_listed(tmp_path, monkeypatch):
    opened = os.open

    def barred(path, *how):
        if path == tmp_path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, *how)

    monkeypatch.setattr(os, "open", barred)
    one = Recorder(tmp_path / "records", HEADER, sync=True)
    one.write(record(1))
    one.close()
    assert [each.id for path in segments(one.folder) for each in read(path)[1]] == [record(1)[0]]


def test_a_segment_whose_name_is_not_on_the_disk_is_none(tmp_path, monkeypatch):
    def fail(_file):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RecordsError, match="Input/output error"):
        Recorder(tmp_path, HEADER, sync=True)
    assert not list(tmp_path.iterdir())


def test_processes_that_begin_together_share_one_key_of_hashes(tmp_path):
    with ThreadPoolExecutor(8) as several:
        keys = set(several.map(key_of, [tmp_path] * 32))
    assert [len(key) for key in keys] == [32]
    assert [path.name for path in tmp_path.iterdir()] == ["hashes.key"]
    assert (tmp_path / "hashes.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("left", [b"", b"short"])
def test_a_key_of_hashes_that_was_cut_short_is_refused(tmp_path, left):
    (tmp_path / "hashes.key").write_bytes(left)
    with pytest.raises(RecordsError, match=rf"must hold 32 bytes\. .*hashes\.key holds {len(left)}\. Bring it back"):
        key_of(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["hashes.key"]


class Moving(type(Path())):
    """A folder whose only segment goes on to what is next after each look that is taken for one kind."""

    def glob(self, pattern):
        found = list(super().glob(pattern))
        for before, after in ((WHOLE, PACKED), (OPEN, WHOLE)):
            for path in self.iterdir():
                if path.name.endswith(before):
                    path.rename(path.with_name(f"one{after}"))
                    return found
        return found


@pytest.mark.parametrize("state", [OPEN, WHOLE, PACKED])
def test_a_segment_that_is_closed_and_packed_meanwhile_is_listed_once(tmp_path, state):
    (tmp_path / f"one{state}").touch()
    assert [path.name.partition(".")[0] for path in segments(Moving(tmp_path))] == ["one"]


def test_a_folder_that_was_deleted_is_tidied_without_a_word(tmp_path):
    tidy(tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


def test_a_segment_that_was_deleted_is_told_of(recorder):
    folder = filled(recorder, 3, 10_000)
    (seen,) = segments(folder)
    seen.unlink()
    with pytest.raises(RecordsError, match="it was deleted"):
        read(seen)


@pytest.mark.parametrize("change", [lambda data: data[:-9], lambda data: b"xx" + data[2:]], ids=["cut", "changed"])
def test_a_packed_segment_that_is_broken_is_found(recorder, change):
    (path,) = segments(filled(recorder, 3, 10_000))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(IntegrityError, match="as it was written"):
        list(read(path)[1])


def test_what_a_process_left_open_is_adopted_and_what_another_writes_is_not(recorder, tmp_path):
    one = recorder()
    one.write(record(1))
    tidy(one.folder)
    assert [path.name.endswith(OPEN) for path in segments(one.folder)] == [True]
    story = (
        "import os, sys; from pathlib import Path; from ekiben.recording.segments import *; from ekiben.recording.writing import Recorder; "
        "r = Recorder(Path(sys.argv[1]), Header(service='risk', columns=('age',), arms={})); "
        "r.write(('2' * 32, 1, 'predict', 'champion', None, 1.0, 1.0, ((30,),), b'[]')); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", story, one.folder], check=False)
    tidy(one.folder)
    assert sorted(path.name.partition(".")[2] for path in segments(one.folder)) == ["open", "records.gz"]
    assert len(of(one.folder)) == 2


@pytest.mark.parametrize("seed", range(8))
def test_a_process_that_is_killed_loses_nothing_it_said_was_written(tmp_path, seed):
    """Kill a writer at any moment: each record that it told of is there, once, and none is torn."""
    story = (
        "import sys; from pathlib import Path; from ekiben.recording.segments import *; from ekiben.recording.writing import Recorder\n"
        "r = Recorder(Path(sys.argv[1]), Header(service='risk', columns=('age',), arms={}), segment_bytes=20000)\n"
        "n = 0\n"
        "while True:\n"
        "    r.write((f'{n:032x}', 1, 'predict', 'champion', None, 1.0, 1.0, ((30,),), b'[]'))\n"
        "    print(n, flush=True)\n"
        "    n += 1\n"
    )
    with subprocess.Popen([sys.executable, "-c", story, tmp_path], stdout=subprocess.PIPE, text=True) as writer:
        for _ in range(1 + 37 * seed):
            told = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)  # in the midst of a later one
        for line in writer.stdout:
            told = int(line) if line.endswith("\n") else told
    tidy(tmp_path)
    found = [int(each.id, 16) for each in of(tmp_path)]
    assert found == list(range(len(found)))
    assert told <= len(found) - 1 <= told + 1


def test_several_threads_write_whole_records(recorder):
    one = recorder(segment_bytes=5000)
    threads = [
        threading.Thread(target=lambda k=k: [one.write(record(1000 * k + n)) for n in range(100)]) for k in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    one.close()
    assert sorted(int(each.id, 16) for each in of(one.folder)) == sorted(
        1000 * k + n for k in range(4) for n in range(100)
    )


@pytest.mark.parametrize("can_cut", [True, False])
def test_a_full_disk_is_told_of_and_tears_nothing(recorder, monkeypatch, can_cut):
    """Let no file grow beyond a size, as a full disk does, in the middle of a record; the torn one may be there to stay."""
    one = recorder()
    one.write(record(1))
    if not can_cut:
        monkeypatch.setattr("os.ftruncate", refusing)
    size = segments(one.folder)[0].stat().st_size
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    try:
        for _ in range(2 if can_cut else 1):  # the next segment is small enough
            with pytest.raises(RecordsError, match="must be written before its answer"):
                one.write(record(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    one.write(record(3))
    assert [int(each.id, 16) for each in of(one.folder)] == [1, 3]


def refusing(*_):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_nothing_follows_a_torn_record_in_its_segment(recorder):
    one = recorder()
    one.write(record(1))
    one._state[writing.FILE] = writing.TORN  # as where half a record could not be cut off again
    one.write(record(2))
    assert [len(list(read(path)[1])) for path in segments(one.folder)] == [1, 1]


def test_what_is_answered_and_not_recorded_is_counted_and_the_log_says_so_once(recorder, caplog):
    one, lost = recorder(), []
    keeper = Keeper(one, HEADER.columns, refuse=False, lost=lost.append)
    for _ in range(2):
        one.barred = "no room"
        keeper.keep(record())
        keeper.keep(record())
        one.barred = ""
        keeper.keep(record())
        keeper.keep(record())
    assert lost == [1] * 4
    assert [each.getMessage() for each in caplog.records] == [
        "decisions are answered that are not recorded: A record must be written before its answer. It was not: no room.",
        "decisions are recorded again",
    ] * 2


def test_what_is_barred_is_refused_until_it_is_not(recorder):
    one = recorder()
    one.write(record(1))
    one.barred = "the database takes none"
    with pytest.raises(RecordsError, match="the database takes none"):
        one.write(record(2))
    one.barred = ""
    one.write(record(3))
    assert [int(each.id, 16) for each in of(one.folder)] == [1, 3]


@built
def test_the_loop_appends_what_python_appends(tmp_path):
    path = tmp_path / "one"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    state, wanted = array("q", [file, 0, 10**9, 5]), b""
    for sizes in (*((n,) for n in range(300)), (16_375,), (16_376,), (16_377,), (70_000,), (), (0, 40, 7), (300,) * 60):
        records = [random.Random(n).randbytes(n) for n in sizes]
        assert loops.kept(state, tuple(records) if len(sizes) == 1 else records, 5)
        wanted += b"".join(FRAME.pack(len(each), crc32(each)) + each for each in records)
        assert (path.read_bytes(), state[writing.SIZE]) == (wanted, len(wanted))
    before = list(state)
    state[2] = before[1] + 10
    for records, ns in (
        ((b"12",), 5),
        ((b"", b""), 5),
        ((b"",), 6),
    ):  # the last comes too late, the others have no room
        assert not loops.kept(state, records, ns)
    assert loops.kept(state, (b"1",), 5)
    os.close(file)
    state[writing.FILE] = -1
    assert not loops.kept(state, (b"",), 5)
    state[writing.FILE] = os.open(path, os.O_RDONLY)
    assert not loops.kept(state, (b"",), 5)
    os.close(state[writing.FILE])
    assert path.read_bytes() == wanted + FRAME.pack(1, crc32(b"1")) + b"1"


@built
def test_the_loop_appends_all_of_several_records_or_none(tmp_path):
    path = tmp_path / "one"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    state, most = array("q", [file, 0, 10**9, 5]), resource.getrlimit(resource.RLIMIT_FSIZE)
    assert loops.kept(state, (b"a" * 90,), 5)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (250, most[1]))
    try:
        assert not loops.kept(state, [b"b" * 90] * 3, 5)
        assert (path.stat().st_size, state[writing.SIZE]) == (98, 98)
        assert loops.kept(state, [b"c" * 60] * 2, 5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
        signal.signal(signal.SIGXFSZ, ignored)
        os.close(file)


@built
@pytest.mark.parametrize(
    "given",
    [
        (),
        (None, (b"",), 1),
        (array("q", [1]), (b"",), 1),
        (array("q", [1] * 4), ("",), 1),
        (array("q", [1] * 4), [b"", None], 1),
        (array("q", [1] * 4), 1, 1),
        (b"x" * 32, (b"",), 1),
        (array("q", [1] * 4), (b"",), 2**64),
    ],
)
def test_what_is_no_segment_takes_no_record(given):
    with pytest.raises((TypeError, ValueError, BufferError, OverflowError)):
        loops.kept(*given)


def test_a_folder_that_cannot_be_written_is_named_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordsError, match="must be written to risk"):
        Recorder(tmp_path / "file" / "risk", HEADER)


def test_the_oldest_segments_go_when_there_is_too_much(recorder):
    folder = filled(recorder, 60, 1500)
    sizes = [path.stat().st_size for path in segments(folder)]
    tidy(folder, keep_bytes=sum(sizes[-2:]))
    assert len(segments(folder)) == 2
    assert of(folder)[-1].id == record(59)[0]


def test_segments_go_when_they_are_too_old(recorder):
    folder = filled(recorder, 20, 1500)
    old, *_ = segments(folder)
    os.utime(old, (1, 1))
    tidy(folder, keep_s=tidying.DAY_S)
    assert old not in segments(folder)


def test_what_a_killed_process_left_half_made_goes_after_a_day(recorder):
    folder = filled(recorder, 3, 1500)
    halves = [folder / "20260101T000000-000000-00000000.records.7.part", folder / "20260101T000000-000000-00000000.new"]
    for path in halves:
        path.write_bytes(b"half")
    tidy(folder)
    assert all(path.exists() for path in halves)
    for path in halves:
        os.utime(path, (1, 1))
    tidy(folder)
    assert not any(path.exists() for path in halves)
    assert len(of(folder)) == 3


def test_a_record_that_was_changed_is_found(recorder):
    one = recorder()
    for number in range(3):
        one.write(record(number))
    (path,) = segments(one.folder)
    data = bytearray(path.read_bytes())
    data[-150] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="as it was written"):
        list(read(path)[1])


@pytest.mark.parametrize("bit", range(32))
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_size_that_was_changed_is_found_and_is_no_torn_end(tmp_path, bit, is_packed):
    one = Recorder(tmp_path / "risk", HEADER)
    (path,) = segments(one.folder)
    one.write(record(0))
    begins = one._state[writing.SIZE]
    one.write(record(1))
    one.write(record(2))
    data = bytearray(path.read_bytes())
    one.close()
    data[begins + bit // 8] ^= 1 << bit % 8
    path = tmp_path / f"changed{PACKED if is_packed else WHOLE}"
    path.write_bytes(gzip.compress(data) if is_packed else data)
    with pytest.raises(IntegrityError, match="as it was written"):
        list(read(path)[1])


@pytest.mark.parametrize("n", [1, 7, 8, 9, 5000])
def test_zeros_that_a_machine_left_without_power_are_an_end_and_are_none_before_a_record(recorder, tmp_path, n):
    one = recorder()
    one.write(record(1))
    (path,) = segments(one.folder)
    data, after = path.read_bytes(), tmp_path / "after.records"
    after.write_bytes(data + bytes(n))
    assert [each.id for each in read(after)[1]] == [record(1)[0]]
    one.write(record(2))
    after.write_bytes(data + bytes(n) + path.read_bytes()[len(data) :])
    with pytest.raises(IntegrityError, match="as it was written"):
        list(read(after)[1])


@pytest.mark.parametrize("data", [b"", b"something else", gzip.compress(b"x")], ids=["empty", "text", "packed"])
def test_another_file_is_no_segment(tmp_path, data):
    path = tmp_path / "x.records"
    path.write_bytes(data)
    with pytest.raises(IntegrityError):
        read(path)


def test_records_are_read_by_their_owner_alone(recorder):
    one = recorder()
    assert one.folder.stat().st_mode & 0o077 == 0
    assert segments(one.folder)[0].stat().st_mode & 0o077 == 0


def test_what_the_system_says_when_it_takes_no_record_is_told(recorder, monkeypatch):
    one = recorder()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing, "_kept", None)
    monkeypatch.setattr(writing, "_append", full)
    with pytest.raises(RecordsError, match="No space left"):
        one.write(record())


GOLDEN = sorted((Path(__file__).parent / "golden" / "records").iterdir())


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_a_golden_segment_is_read_as_it_was_written(path):
    header, found = read(path)
    assert header.columns == ("age", "job", "scores")
    assert header.arms == {"champion": ("models:/risk/1", "0" * 64), "challenger": ("models:/risk/2", "1" * 64)}
    first, second = found
    assert first.inputs == [[30, "cook", [0.5, None]], [41, None, [1, 2]]]
    assert (first.id, first.ns, first.endpoint, first.arm) == (
        "a" * 32,
        1_764_000_000_123_456_789,
        "predict",
        "champion",
    )
    assert (first.unit, first.propensity, first.us) == ("c-7", 0.9, 12.5)
    assert second.inputs == [[1e30, "n\0ul", [float("inf")]]]
    assert (second.unit, second.outputs) == (None, b'[{"label":"bad","score":1e16}]')


def test_a_service_without_records_is_told_whose_there_are(tmp_path, monkeypatch):
    monkeypatch.setenv("EKIBEN_RECORDS", str(tmp_path))
    with pytest.raises(NotFoundError, match=r"'flats' has none\. Nothing was recorded here yet\.$"):
        ek.records("flats")
    (tmp_path / "risk").mkdir()
    (tmp_path / "risk" / "20261128T213954-492758-4a41be8e.records").touch()
    with pytest.raises(NotFoundError, match=r"'flats' has none\. There are records of risk\.$"):
        ek.records("flats")
    monkeypatch.setenv("EKIBEN_RECORDS", str(tmp_path / "other"))
    with pytest.raises(NotFoundError, match=r" has none\. There are records in it of risk\.$"):
        ek.records(tmp_path)
    monkeypatch.setenv("EKIBEN_RECORDS", str(tmp_path))
    with pytest.raises(NotFoundError, match=r"'rsik' has none\. Did you mean 'risk'\?$"):
        ek.records("rsik")


def test_records_are_found_by_the_service_its_folder_their_folder_and_their_file(recorder, tmp_path, monkeypatch):
    monkeypatch.setenv("EKIBEN_RECORDS", str(tmp_path))
    recorder().write(record(1))
    (tmp_path / "bentos").mkdir()
    (tmp_path / "bentos" / "ekiben.toml").write_text('format = 1\nname = "risk"\n[arms]\nchampion = "models:/risk/1"\n')
    (one,) = segments(tmp_path / "risk")
    for place in ("risk", tmp_path / "bentos", str(tmp_path / "bentos"), tmp_path / "risk", one):
        assert ek.records(place)["id"].tolist() == [f"{1:032x}"] * 2, place
    with pytest.raises(
        IntegrityError, match=r"A segment of records must be one that ekiben wrote\. ekiben\.toml is not"
    ):
        ek.records(tmp_path / "bentos" / "ekiben.toml")
