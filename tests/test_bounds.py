"""How many workers a container starts."""

import http.server
import json
import logging
import os
import socket
import subprocess
import sys
import threading

import pytest

from ekiben import bounds, starting, telling


@pytest.fixture
def cgroup(tmp_path):
    """Give a function: the files of a cgroup → its folder."""

    def make(**files):
        for name, text in files.items():
            (tmp_path / name.replace("_", ".")).write_text(text)
        return tmp_path

    return make


def test_a_quota_bounds_the_workers(cgroup, monkeypatch):
    monkeypatch.setattr(bounds.os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    assert bounds.workers(4, cgroup(cpu_max="150000 100000\n")) == 1
    assert bounds.workers(4, cgroup(cpu_max="300000 100000\n")) == 3
    assert bounds.workers(4, cgroup(cpu_max="max 100000\n")) == 4


def test_memory_bounds_the_workers(cgroup, monkeypatch):
    monkeypatch.setattr(bounds.os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    assert bounds.workers(8, cgroup(memory_max=f"{512 * 2**20}\n")) == 3
    assert bounds.workers(8, cgroup(memory_max=f"{64 * 2**20}\n")) == 1
    assert bounds.memory(cgroup(memory_max="max\n")) is None


def test_a_cgroup_of_version_1_is_read_too(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds.os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    for folder, name, text in (
        ("cpu", "cpu.cfs_quota_us", "200000"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("memory", "memory.limit_in_bytes", "9223372036854771712"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    assert (bounds.processors(tmp_path), bounds.memory(tmp_path)) == (2.0, None)


def test_who_deploys_has_the_last_word(cgroup, monkeypatch):
    monkeypatch.setenv("EKIBEN_WORKERS", "6")
    assert bounds.workers(1, cgroup(cpu_max="100000 100000\n")) == 6


@pytest.mark.parametrize(
    ("command", "environment", "port"),
    [
        (None, {}, 3000),
        ("serve", {}, 8080),
        ("serve", {"BENTOML_PORT": "3000"}, 8080),
        ("serve", {"SAGEMAKER_BIND_TO_PORT": "7001"}, 7001),
        (None, {"AIP_HTTP_PORT": "8081"}, 8081),
        (None, {"PORT": "9000", "BENTOML_PORT": "3000"}, 9000),
        (None, {"PORT": "no number"}, 3000),
        (None, {"BENTOML_PORT": "8080"}, 8080),
    ],
)
def test_the_platform_says_where_a_service_listens(command, environment, port, monkeypatch):
    for name in (*starting.ASKED_AT, starting.OWN):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert starting.port(command) == port


def test_nobody_listens_where_nobody_does():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        assert not starting.is_ready(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("first", "environment", "asked", "where"),
    [
        ("python3 -m ekiben.starting", {}, "", (3000, "0.0.0.0")),
        ("python3 -m ekiben.starting serve", {}, "", (8080, "0.0.0.0")),
        ("python3 -m ekiben.starting serve --port 7001", {}, "", (7001, "0.0.0.0")),
        ("python3 -m ekiben.starting --host 127.0.0.7", {"BENTOML_PORT": "4000"}, "", (4000, "127.0.0.7")),
        ("python3 -m ekiben.starting serve", {}, "--port 9000", (9000, "0.0.0.0")),
        ("python3 -m ekiben.starting", {}, "serve", (8080, "0.0.0.0")),
        ("docker-init -- python3 -m ekiben.starting serve", {"PORT": "5000"}, "", (5000, "0.0.0.0")),
        (None, {"BENTOML_HOST": "::"}, "", (3000, "::")),
    ],
)
def test_the_health_check_asks_where_the_first_process_listens(first, environment, asked, where, tmp_path, monkeypatch):
    for name in (*starting.ASKED_AT, starting.OWN, starting.HOST):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    told = []
    monkeypatch.setattr(starting, "FIRST", tmp_path / "cmdline")
    monkeypatch.setattr(starting, "is_ready", lambda *given: bool(told.append(given)))
    monkeypatch.setattr(sys, "argv", ["starting", "--health", *asked.split()])
    if first is not None:
        (tmp_path / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in first.split()))
    with pytest.raises(SystemExit) as ended:
        starting.main()
    assert (told, ended.value.code) == ([where], 1)


def test_who_listens_on_one_address_is_asked_there():
    class Ready(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.7", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert starting.is_ready(server.server_port, "127.0.0.7")
        assert not starting.is_ready(server.server_port)
        server.shutdown()


def test_an_error_in_the_log_is_one_line_of_json(monkeypatch):
    program = (
        "import os, logging; os.environ['EKIBEN_LOG'] = 'json'; logging.basicConfig();"
        "from ekiben import telling; telling.as_asked(); logging.error('a %s', 'b'); raise ValueError('no')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["level"], first["message"], second["message"]) == ("error", "a b", "no")
    assert "ValueError" in second["exception"]
    assert done.stderr == ""


def test_a_line_of_the_log_is_written_whatever_a_path_is_called():
    record = logging.LogRecord("ekiben", logging.ERROR, "", 0, "no file caf\udce9, é", None, None)
    assert json.loads(telling.JsonLines().format(record).encode())["message"] == "no file caf\\udce9, é"


def test_without_the_word_the_log_stays_as_it_is(monkeypatch):
    monkeypatch.delenv("EKIBEN_LOG", raising=False)
    handler = logging.StreamHandler()
    logging.getLogger("bentoml").addHandler(handler)
    try:
        telling.as_asked()
        assert handler.formatter is None
    finally:
        logging.getLogger("bentoml").removeHandler(handler)


TOLD_TO_END = """
import atexit, os, signal, sys
from ekiben import front, starting
atexit.register(print, "written")
front.Front.live = {live}
signal.signal(signal.SIGTERM, starting._end)
try:
    os.kill(os.getpid(), signal.SIGTERM)
except BaseException:  # as the initialisation of a compiled module does, which tells of a fault of its own then
    if not {live}:
        raise ImportError("it could not be imported") from None
    raise
"""


@pytest.mark.parametrize(("live", "written"), [(None, ""), (True, "written\n")])
def test_told_to_end_while_it_is_read_it_ends_well_whatever_is_being_imported(live, written):
    program = TOLD_TO_END.format(live=live)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, written), done.stderr


def test_a_folder_that_several_workers_serve_is_named_in_full(monkeypatch, tmp_path):
    """BentoML joins the path of a folder to itself where it leads from here, and finds none."""
    monkeypatch.chdir(tmp_path)
    assert starting.arguments("bentos/risk", "127.0.0.1", 3000, 2)[2] == str(tmp_path / "bentos" / "risk")


def test_a_folder_of_counters_that_is_not_there_is_made(monkeypatch, tmp_path):
    monkeypatch.setenv(starting.METRICS, str(tmp_path / "run" / "counters"))
    command = starting.arguments(".", "127.0.0.1", 0, 1)
    os.close(int(command[command.index("--fd") + 1]))
    assert (tmp_path / "run" / "counters").is_dir()
