"""Records on their way into a real database: each once, in whatever way processes and servers end."""

import errno
import gzip
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

import databases
import ekiben as ek
from ekiben.cli import services
from ekiben.errors import EkibenError, MissingExtraError, NotFoundError, RecordsError, SpecError, UnreachableError
from ekiben.recording import database, shipping
from ekiben.recording.database import Database
from ekiben.recording.reading import read
from ekiben.recording.segments import Header, segments
from ekiben.recording.shipping import DONE, Cursor, Shipper
from ekiben.recording.tidying import tidy
from ekiben.recording.writing import Recorder
from traffic.faults import until

HEADER = Header(service="risk", columns=("z", "a"), arms={"champion": ("models:/risk/1", "0" * 64)})
MOMENT = 1_764_000_000_123_456_789


class Counted:
    """Remember what was told."""

    def __init__(self):
        self.waits, self.n_shipped, self.n_failed = [], 0, 0

    def waiting(self, n_bytes):
        self.waits.append(n_bytes)

    def shipped(self, n):
        self.n_shipped += n

    def ship_failed(self, n):
        self.n_failed += n


def fields(number=0, **changes):
    told = {
        "id": f"{number:032x}",
        "ns": MOMENT + number,
        "endpoint": "predict",
        "arm": "champion",
        "unit": f"c-{number}",
    }
    told |= {"propensity": 0.9, "us": 12.5, "inputs": ((30, "cook"), (41, None))}
    told |= {"outputs": b'[{"label":"no","score":0.75,"a":1},{"label":"yes","score":1.0,"a":2}]'}
    return tuple({**told, **changes}.values())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a service's records."""
    monkeypatch.setenv("EKIBEN_RECORDS", str(tmp_path))
    return tmp_path / "risk"


@pytest.fixture
def recorder(folder):
    made = []

    def make(header=HEADER, to=folder, **settings):
        made.append(Recorder(to, header, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def ship(folder):
    """Ship a folder; what was begun is ended."""
    begun = []

    def begin(dsn, to=folder, most_bytes=float("inf"), keep_s=float("inf"), bar=lambda _why: None):
        told = Counted()
        to_database = Database(lambda: dsn)
        begun.append(Shipper(to, to_database, most_bytes=most_bytes, keep_s=keep_s, told=told, bar=bar))
        return begun[-1], told

    yield begin
    for each in begun:
        each.close()


def ids(dsn):
    try:
        return [each["id"] for each in databases.ask(dsn, "SELECT id FROM ekiben_records WHERE row = 0 ORDER BY ns")]
    except databases.asyncpg.UndefinedTableError:
        return []


def same(dsn, folder, service="risk"):
    """Hold what a database gives against what the segments give."""
    by_file, by_dsn = ek.records(folder), ek.records(dsn, service=service)
    pd.testing.assert_frame_equal(by_file, by_dsn, check_exact=True)
    for left, right in zip(by_file.to_dict("records"), by_dsn.to_dict("records"), strict=True):
        assert [*map(type, left.values())] == [*map(type, right.values())]
    return by_file


ODD = {
    "plain": {},
    "nul": {"inputs": ((1, "n\0ul"),), "unit": "c\0", "outputs": b'[{"l\\u0000abel":"x\\u0000"}]'},
    "a sign for nul": {"inputs": ((1, "\N{SYMBOL FOR NULL}\\u0000"),), "outputs": b'[{"label":"\\\\u0000"}]'},
    "not finite": {"inputs": ((float("nan"), float("-inf")), (1.0, [float("inf"), None]))},
    "large": {"inputs": ((1e16, 2**63), (1e300, -(2**63))), "outputs": b'[{"value":1e16},{"value":1e300}]'},
    "small": {"inputs": ((5e-324, -0.0), (1e-7, 0.1)), "outputs": b'[{"value":1e-7},{"value":2.5e-9}]'},
    "whole floats": {"inputs": ((1.0, 2),), "outputs": b'[{"value":1.0}]'},
    "lists and truth": {"inputs": ((True, [1, 2.5, "x", None]),), "outputs": b'[{"label":false}]'},
    "texts": {
        "inputs": (('"quoted" \\ \n\t', "\N{SNOWMAN}\U0001f371"),),
        "unit": "x" * 9000,
        "outputs": b'[{"label":""}]',
    },
    "nobody": {"unit": None},
    "another arm": {"arm": "gone"},
}


@pytest.mark.parametrize("name", ODD)
def test_the_same_records_come_from_files_and_from_the_database(recorder, ship, dsn, folder, name):
    one = recorder()
    one.write(fields(1, **ODD[name]))
    one.write(fields(2))
    ship(dsn)
    until(lambda: len(ids(dsn)) == 2)
    found = same(dsn, folder)
    assert found["id"].nunique() == 2
    kept = databases.ask(dsn, "SELECT service, at, inputs ->> 'a' AS a FROM ekiben_records WHERE ns = $1", MOMENT + 2)
    assert [each["a"] for each in kept] == ["cook", None]
    assert kept[0]["service"] == "risk"
    assert kept[0]["at"] == pd.Timestamp(MOMENT, tz="UTC").floor("us").to_pydatetime()


def test_names_of_columns_may_hold_anything(recorder, ship, dsn, folder):
    one = recorder(Header(service="risk", columns=("n\0ul", "x'\"$1"), arms={}))
    one.write(fields(1))
    ship(dsn)
    until(lambda: ids(dsn))
    assert "input.n\0ul" in same(dsn, folder)


def test_golden_segments_are_shipped_as_they_are_read(ship, dsn, folder):
    folder.mkdir()
    for path in (Path(__file__).parent / "golden" / "records").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    _, told = ship(dsn)
    until(lambda: told.n_shipped == 4)  # the same two, plain and packed
    assert len(ids(dsn)) == 2
    until(lambda: Cursor(folder).read() == {"format-1": DONE, "format-1-packed": DONE})
    assert len(ek.records(dsn)) == 3


def test_a_name_is_looked_for_in_the_database_of_the_environment(recorder, ship, dsn, folder, monkeypatch, tmp_path):
    recorder().write(fields(1))
    ship(dsn)
    until(lambda: ids(dsn))
    monkeypatch.setenv("EKIBEN_RECORDS", str(tmp_path / "elsewhere"))
    with pytest.raises(NotFoundError):
        ek.records("risk")
    monkeypatch.setenv(database.TEXT, dsn)
    assert len(ek.records("risk")) == 2
    assert len(ek.records("risk", since=pd.Timestamp(MOMENT + 1, tz="UTC"))) == 2
    assert len(ek.records("risk", since=pd.Timestamp(MOMENT + 2, tz="UTC"))) == 0
    with pytest.raises(NotFoundError, match="Did you mean 'risk'"):
        ek.records("rusk")
    monkeypatch.delenv(database.TEXT)
    (tmp_path / "secret").write_text(f"{dsn}\n")
    monkeypatch.setenv(database.FILE, str(tmp_path / "secret"))
    command = [Path(sys.executable).with_name("ekiben"), "records", "risk"]
    assert "2 decisions: champion 2" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def read_by_two(recorder, ship, dsn, monkeypatch):
    """A connection to a database of seven decisions, which reads two rows at a time."""
    recorded = recorder()
    for i in range(7):
        recorded.write(fields(i))
    ship(dsn)
    until(lambda: len(ids(dsn)) == 7)
    monkeypatch.setattr(database, "FETCHED", 2)
    to = Database(lambda: dsn)
    yield to
    to.close()


def test_a_database_is_read_a_few_rows_at_a_time_and_left_in_the_middle(read_by_two, dsn, folder):
    read = read_by_two.fetch("risk")
    assert next(read)[1].id == fields(0)[0]
    assert read_by_two._connection.is_in_transaction()  # the others are still there
    read.close()
    assert not read_by_two._connection.is_in_transaction()
    assert [told.id for _, told in read_by_two.fetch("risk") if told.row == 0] == [fields(i)[0] for i in range(7)]
    assert len(same(dsn, folder)) == 14


def test_a_database_that_goes_while_it_is_read_is_named(read_by_two):
    read = read_by_two.fetch("risk")
    next(read)
    read_by_two._connection.terminate()
    with pytest.raises(UnreachableError, match="must answer"):
        list(read)


def test_two_services_share_a_database(recorder, ship, dsn, tmp_path):
    for name in ("risk", "churn"):
        header = Header(service=name, columns=("z", "a"), arms={})
        recorder(header, to=tmp_path / name).write(fields(len(name)))
        ship(dsn, to=tmp_path / name)
    until(lambda: len(ids(dsn)) == 2)
    with pytest.raises(SpecError, match="several services: churn, risk"):
        ek.records(dsn)
    assert same(dsn, tmp_path / "churn", "churn")["id"].tolist() == [fields(5)[0]] * 2
    with pytest.raises(SpecError, match="leave it out"):
        ek.records(tmp_path / "churn", service="churn")


def test_a_folder_is_shipped_by_one_process_and_taken_over_by_another(recorder, ship, dsn, folder):
    one = recorder()
    (first, told), (_, other) = ship(dsn), ship(dsn)
    one.write(fields(1))
    until(lambda: len(ids(dsn)) == 1)
    until(lambda: told.n_shipped + other.n_shipped == 1)
    first.close()
    one.write(fields(2))
    until(lambda: len(ids(dsn)) == 2)
    until(lambda: other.n_shipped >= 1)  # told once the database has it


def test_a_backlog_is_shipped_whole_and_what_is_whole_may_be_deleted_only_then(recorder, ship, dsn, folder):
    one = recorder(segment_bytes=20_000, keep_s=3600, may_go=Cursor(folder).may_go)
    for number in range(3000):
        one.write(fields(number))
    one.close()
    for path in segments(folder):
        os.utime(path, (1, 1))
    tidy(folder, keep_s=3600, may_go=Cursor(folder).may_go)
    assert len(segments(folder)) > 20
    _, told = ship(dsn)
    until(lambda: told.n_shipped == 3000 and told.waits[-1:] == [0])
    assert ids(dsn) == [fields(number)[0] for number in range(3000)]
    tidy(folder, keep_s=3600, may_go=Cursor(folder).may_go)
    assert segments(folder) == []


def test_rows_that_are_too_old_are_deleted_a_few_at_a_time(recorder, ship, dsn, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shipping, "TIDIED", 3)
    now = time.time_ns()
    recorder(to=tmp_path / "fraud", header=Header(service="fraud", columns=("z", "a"), arms={})).write(fields(99))
    ship(dsn, to=tmp_path / "fraud")
    writer = recorder()
    for i in range(8):
        writer.write(fields(i))
    for i in range(8, 11):
        writer.write(fields(i, ns=now + i))
    until(lambda: ids(dsn) == [fields(99)[0]])
    ship(dsn, keep_s=3600)
    kept = [fields(i)[0] for i in (99, 8, 9, 10)]  # the other service keeps its own
    until(lambda: ids(dsn) == kept)
    writer.write(fields(11, ns=now + 11))
    until(lambda: ids(dsn) == [*kept, fields(11)[0]])


def test_a_user_who_may_not_delete_ships_and_is_told_of_once(recorder, ship, dsn, folder, caplog):
    owner, writes = Database(lambda: dsn), f"writer_{time.time_ns()}"
    owner.ask()
    owner.close()
    databases.ask(dsn, f"CREATE ROLE {writes} LOGIN")
    databases.ask(dsn, f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {writes}")
    writer = recorder()
    writer.write(fields(1))
    with caplog.at_level(logging.ERROR):
        _, told = ship(dsn.replace("//ekiben@", f"//{writes}@"), keep_s=3600)
        until(lambda: "too old" in caplog.text)
        writer.write(fields(2))
        until(lambda: told.n_shipped == 2)
    assert (told.n_failed, caplog.text.count("too old")) == (0, 1)
    assert ids(dsn) == [fields(1)[0], fields(2)[0]]


def test_nothing_is_shipped_twice_where_the_cursor_is_lost(recorder, ship, dsn, folder):
    one = recorder()
    for number in range(500):
        one.write(fields(number))
    first, told = ship(dsn)
    until(lambda: told.n_shipped == 500)
    first.close()
    (folder / shipping.CURSOR).unlink()
    _, again = ship(dsn)
    until(lambda: again.n_shipped == 500)
    assert len(ids(dsn)) == 500


def test_a_full_backlog_bars_what_is_written(recorder, ship, dsn, folder, postgres):
    one = recorder()
    away = postgres.dsn("nowhere")
    shipper, told = ship(away, most_bytes=50_000, bar=lambda why: setattr(one, "barred", why))
    n_written = 500
    for number in range(n_written):
        one.write(fields(number))
    until(lambda: one.barred)
    with pytest.raises(RecordsError, match="MB of records wait for the database"):
        one.write(fields(n_written))
    until(lambda: max(told.waits, default=0) > 50_000)
    shipper.close()
    _, told = ship(dsn, most_bytes=50_000, bar=lambda why: setattr(one, "barred", why))
    until(lambda: not one.barred)
    one.write(fields(200_000))
    until(lambda: len(ids(dsn)) == n_written + 1)


# ── a database that is away, or refuses


def told_by_us(caplog):
    return [record.getMessage() for record in caplog.records if record.name.startswith("ekiben")]


def test_a_database_that_goes_is_told_of_once_and_nothing_is_lost(recorder, ship, caplog, folder, monkeypatch):
    monkeypatch.setattr(shipping, "MOST_PAUSE_S", 0.5)
    server = databases.Postgres(password="s3cret-pw").start()
    try:
        one, dsn = recorder(), server.dsn()
        _, told = ship(dsn)
        one.write(fields(1))
        until(lambda: told.n_shipped == 1)
        with caplog.at_level(logging.WARNING):
            server.stop()
            one.write(fields(2))
            until(lambda: told.n_failed >= 3)
            one.write(fields(3))
            server.start()
            until(lambda: told.n_shipped == 3)
            until(lambda: len(told_by_us(caplog)) == 2)
        assert ids(dsn) == [fields(number)[0] for number in (1, 2, 3)]
        assert "wait in their folder" in told_by_us(caplog)[0]
        assert "takes records again" in told_by_us(caplog)[1]
        assert "s3cret-pw" not in caplog.text
        assert str(server.port) not in caplog.text
        same(dsn, folder)
    finally:
        server.remove()


def test_a_database_that_hangs_is_left_and_asked_again(recorder, ship, folder, monkeypatch):
    monkeypatch.setattr(shipping, "MOST_PAUSE_S", 0.5)
    monkeypatch.setattr(database, "CONNECT_S", 2.0)
    monkeypatch.setattr(database, "COMMAND_S", 2.0)
    server = databases.Postgres().start()
    try:
        one = recorder()
        _, told = ship(server.dsn())
        one.write(fields(1))
        until(lambda: told.n_shipped == 1)
        server.halt()
        for number in range(2, 500):
            one.write(fields(number))
        until(lambda: told.n_failed >= 2)
        server.go_on()
        until(lambda: told.n_shipped >= 499)
        assert len(ids(server.dsn())) == 499
    finally:
        server.remove()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda dsn: dsn.replace("s3cret-pw", "wrong-pw"), "does not take the user or the password (SQLSTATE 28P01)"),
        (lambda dsn: dsn.replace("/postgres", "/nowhere"), "has no database of that name (SQLSTATE 3D000)"),
        (lambda dsn: dsn.replace("127.0.0.1", "127.0.0.9"), "ConnectionRefusedError"),
    ],
    ids=["password", "database", "port"],
)
def test_what_stands_in_the_way_is_named_at_the_start(recorder, ship, caplog, change, told):
    server = databases.Postgres(password="s3cret-pw").start()
    try:
        wrong = change(server.dsn())
        recorder().write(fields(1))
        ship(wrong)
        until(lambda: told in caplog.text)
        for secret in ("s3cret-pw", "wrong-pw", str(server.port)):
            assert secret not in caplog.text
        with pytest.raises(UnreachableError, match="The database of records must answer") as refused:
            ek.records(wrong)
        assert told in str(refused.value)
    finally:
        server.remove()


def test_tables_of_a_newer_ekiben_are_left_alone(recorder, ship, dsn, caplog):
    recorder().write(fields(1))
    shipper, _ = ship(dsn)
    until(lambda: ids(dsn))
    shipper.close()
    databases.ask(dsn, "UPDATE ekiben_schema SET version = 2")
    with pytest.raises(RecordsError, match=r"They are of 2\. Install a newer one"):
        ek.records(dsn)
    ship(dsn)
    until(lambda: "They are of 2" in caplog.text)


def test_several_processes_make_the_tables_at_once(dsn):
    failed = []

    def make():
        to = Database(lambda: dsn)
        try:
            to.ask()
        except Exception as reason:
            failed.append(reason)
        finally:
            to.close()

    threads = [threading.Thread(target=make) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []
    assert databases.ask(dsn, "SELECT version FROM ekiben_schema") == [(1,)]


def aside(folder):
    """Give the ids of the records that were laid aside, as far as they are written."""
    with suppress(EkibenError):
        return sorted(each.id for path in segments(folder / shipping.REFUSED) for each in read(path)[1])
    return []


def test_a_record_that_no_table_can_hold_is_laid_aside_and_the_others_go_on(recorder, ship, dsn, folder):
    one = recorder()
    one.write(fields(1))
    ship(dsn)
    until(lambda: ids(dsn))
    databases.ask(dsn, "ALTER TABLE ekiben_records ADD CHECK (unit <> 'c-50')")
    for number in range(2, 100):
        one.write(fields(number))
    one.write(fields(100, outputs=b"[]"))
    until(lambda: len(ids(dsn)) == 98)
    until(lambda: aside(folder) == [fields(50)[0], fields(100)[0]])


def test_a_broken_segment_is_moved_aside_and_the_others_go_on(recorder, ship, dsn, folder):
    first = recorder()
    for number in range(10):
        first.write(fields(number))
    first.close()
    tidy(folder)
    (path,) = segments(folder)
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[-20] ^= 1
    path.write_bytes(gzip.compress(bytes(data)))
    recorder().write(fields(20))
    ship(dsn)
    until(lambda: fields(20)[0] in ids(dsn))
    assert (folder / shipping.REFUSED / path.name).exists()
    assert ids(dsn) == sorted(fields(number)[0] for number in (*range(9), 20))  # all before the broken one, too


@pytest.mark.parametrize("seed", range(4))
def test_a_shipper_that_is_killed_at_any_moment_loses_and_doubles_nothing(recorder, dsn, folder, seed):
    one = recorder(segment_bytes=100_000)
    story = (
        "import sys, time; from pathlib import Path; from ekiben.recording.database import Database\n"
        "from ekiben.recording.shipping import Shipper\n"
        "class Told:\n"
        "    ship_failed = lambda self, n: None\n"
        "    waiting = lambda self, n: print('waits', n, flush=True)\n"
        "    shipped = lambda self, n: print('shipped', n, flush=True)\n"
        "s = Shipper(Path(sys.argv[1]), Database(lambda: sys.argv[2]), most_bytes=1e9, told=Told(), bar=print)\n"
        "time.sleep(600)\n"
    )
    for number in range(4000):
        one.write(fields(number))
    for kill in range(4):
        with subprocess.Popen([sys.executable, "-c", story, folder, dsn], stdout=subprocess.PIPE) as shipper:
            n_heard, wanted = 0, 1 + (3 * seed + kill) % 5
            while n_heard < wanted and (line := shipper.stdout.readline()) != b"waits 0\n":  # or all is shipped
                assert line
                n_heard += line.startswith(b"shipped")
            shipper.send_signal(signal.SIGKILL)
        for number in range(4000 + 100 * kill, 4100 + 100 * kill):
            one.write(fields(number))
    with subprocess.Popen([sys.executable, "-c", story, folder, dsn], stdout=subprocess.DEVNULL) as shipper:
        try:
            until(lambda: len(ids(dsn)) == 4400)
        finally:
            shipper.kill()
    assert ids(dsn) == [fields(number)[0] for number in range(4400)]


# ── the address


def test_a_lock_that_no_process_can_hold_leaves_no_file_open(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(threading.Thread, "start", lambda _thread: None)
    shipper = Shipper(tmp_path, None, most_bytes=1e6, told=Counted(), bar=lambda _why: None)
    monkeypatch.setattr(shipping.fcntl, "flock", fail)
    before = len([*Path("/proc/self/fd").iterdir()])
    for _ in range(3):
        with pytest.raises(OSError, match="No locks available"):
            shipper._is_ours()
    assert len([*Path("/proc/self/fd").iterdir()]) == before


@pytest.mark.parametrize(
    ("dsn", "told"),
    [
        ("mysql://me:hush@host/db", "Its scheme is another"),
        ("host=x password=hush", "Its scheme is another"),
        ("", "Its scheme is another"),
        ("postgresql://me:hush@host:port/db", "Its host or port is none"),
        ("postgresql://me:hu/sh@host/db", "Its host or port is none"),
        ("postgresql://me:hush@[::1/db", "cannot be read"),
        ("postgresql://me:hush@host/db?sslmode=perhaps", "Its sslmode must be one of disable"),
        ("postgresql://me:hush@host/db?sslrootcert=hush/none.pem", "The files of sslrootcert must be there"),
    ],
)
def test_an_address_that_is_none_is_refused_and_not_told(dsn, told):
    with pytest.raises(SpecError, match=told) as refused:
        database.checked(dsn)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:p%40ss@host:5432/db?sslmode=verify-full&application_name=x",
        "postgres:///db?host=/tmp",
        "postgresql://[::1]:5432/db",
        "postgresql://one:5432,two:5433/db",
    ],
)
def test_addresses_of_every_form_are_taken(dsn):
    assert database.checked(dsn) == dsn


def test_the_file_of_the_address_is_told_of_where_it_cannot_be_read(monkeypatch, tmp_path):
    monkeypatch.setenv(database.FILE, str(tmp_path / "none"))
    with pytest.raises(SpecError, match="EKIBEN_RECORDS_DSN_FILE names must hold an address"):
        database.address()


def test_without_the_driver_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ekiben\[postgres\]'"):
        Database(lambda: "")


# ── TLS


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A server that is asked by TLS alone, and the certificate that says who it is."""
    server = databases.Postgres(tls=True, password="s3cret-pw")
    data = server.folder / "data"
    for name in ("server", "other"):
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        files = ["-keyout", data / f"{name}.key", "-out", data / f"{name}.crt"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
        subprocess.run(command, check=True, capture_output=True, user=databases.USER)
    (data / "server.key").chmod(0o600)
    server.settings("ssl = on\n")
    (data / "pg_hba.conf").write_text("hostssl all all all scram-sha-256\n")
    yield server.start()
    server.remove()


@pytest.mark.parametrize(
    ("host", "query", "fails"),
    [
        ("localhost", {"sslmode": "require"}, None),
        ("127.0.0.1", {"sslmode": "require"}, None),
        ("localhost", {}, None),
        ("localhost", {"sslmode": "verify-full", "sslrootcert": "server.crt"}, None),
        ("127.0.0.1", {"sslmode": "verify-ca", "sslrootcert": "server.crt"}, None),
        ("127.0.0.1", {"sslmode": "verify-full", "sslrootcert": "server.crt"}, "CertificateVerificationError|SSLCert"),
        ("localhost", {"sslmode": "verify-full", "sslrootcert": "other.crt"}, "SSLCertVerificationError"),
        ("localhost", {"sslmode": "disable"}, "SQLSTATE 28000"),
    ],
)
def test_tls_is_as_the_address_says(secure, host, query, fails):
    query = {name: str(secure.folder / "data" / value) if "cert" in name else value for name, value in query.items()}
    dsn = database.checked(secure.dsn(**query).replace("127.0.0.1", host))
    to = Database(lambda: dsn)
    try:
        if fails:
            with pytest.raises(UnreachableError, match=fails):
                to.ask()
        else:
            to.ask()
    finally:
        to.close()


def test_parquet_without_pyarrow_says_what_to_install(recorder, folder, monkeypatch, tmp_path):
    recorder().write(fields(1))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"To write Parquet, pyarrow must be installed"):
        services.records(str(folder), out=tmp_path / "x.parquet", since=None, service=None)
