"""The harness adds up: tried on the null server and on ekiben, never on a clock."""

import re
import socket
import threading

import pytest

from bench import drawing, environments, explaining, load, measuring, models, ours, reporting, running
from bench.contenders import Installed, Place
from bench.environments import OURS
from bench.figures import HEADLINE
from bench.goals import Goal
from bench.load import Work
from bench.measuring import Run
from bench.peers import NULL, PEERS
from bench.results import Plan, Results, read

PLAN = Plan(rounds=1, seconds=0.3, clients=(1, HEADLINE))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Measure the cheapest case once: one round of a moment."""
    measured, case = Results(), models.linear()
    among = [ours.Ekiben(), Installed(NULL, OURS)]
    measured.about = running.about([case], among, PLAN)
    place = Place(tmp_path_factory.mktemp("bench"))
    measuring.compare(Run(plan=PLAN, place=place, results=measured, say=lambda words: None), case, among)
    return measured


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.xdist_group("bench")
def test_every_request_is_answered_and_costs_something(results):
    assert results.missing == []
    assert {(each["contender"], each["clients"]) for each in results.loads} == {
        (name, clients) for name in ("ekiben", "null") for clients in PLAN.clients
    }
    for each in results.loads:
        assert each["sent"] >= each["clients"]
        assert each["answered"] == each["sent"]
        assert each["cpu_s"] > 0
        assert each["memory_mib"] > 0


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.xdist_group("bench")
def test_ekiben_answers_what_the_model_answers(results):
    (told,) = [each for each in results.agreement if each["contender"] == "ekiben"]
    assert told["agrees"], told


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.xdist_group("bench")
def test_what_was_measured_is_kept_written_and_drawn(results, tmp_path):
    results.keep(tmp_path / "results.json")
    again = read(tmp_path / "results.json")
    assert again == results
    page = reporting.page(again)
    assert re.search(r"^\| ekiben \| [\d,]+ \| 1\.00 \|", page, re.MULTILINE)
    assert re.search(r"^\| null server \| ", page, re.MULTILINE)
    drawing.draw(again, tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").read_text().startswith("<?xml")


# ── the client ──


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "answered"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "answered"),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "refused"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{", "lost"),
    ],
)
def test_a_request_has_one_outcome(answer, outcome):
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer_once, args=(server, answer), daemon=True).start()
        work = Work(port=server.getsockname()[1], path="/", bodies=["{}"], clients=1, seconds=0)
        told = load.drive(work)
    assert (told.sent, getattr(told, outcome)) == (1, 1)
    assert told.answered + told.refused + told.lost == told.sent


def test_a_server_that_hangs_up_after_its_answer_is_no_loss():
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer_one_early, args=(server,), daemon=True).start()
        told = load.drive(Work(port=server.getsockname()[1], path="/", bodies=["{}"], clients=2, seconds=0))
    assert (told.sent, told.answered, told.lost) == (2, 2, 0)


def answer_one_early(server):
    """Answer one client and hang up, and the other only once that was seen."""
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    first, _ = server.accept()
    second, _ = server.accept()
    with second:
        with first:
            first.recv(4096)
            first.sendall(whole)
            first.shutdown(socket.SHUT_WR)
            first.recv(4096)
        second.recv(4096)
        second.sendall(whole)


def answer_once(server, answer):
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(answer)


# ── the peers ──


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_is_pinned_and_names_no_index(name):
    requirements = (environments.FOLDER / name / "requirements.txt").read_text()
    assert environments.pinned(name)
    assert "//" not in requirements
    assert "--index" not in requirements


def test_a_peer_that_cannot_be_installed_says_why(tmp_path, monkeypatch):
    (tmp_path / "peers" / "nobody").mkdir(parents=True)
    (tmp_path / "peers" / "nobody" / "requirements.txt").write_text("a name that is none\n")
    (tmp_path / "peers" / "models.txt").write_text("")
    monkeypatch.setattr(environments, "FOLDER", tmp_path / "peers")
    with pytest.raises(environments.UnavailableError, match="a name that is none"):
        environments.build("nobody", tmp_path / "cache")


def test_a_goal_is_met_missed_or_not_measured():
    met = [Goal(says="", measured=measured, at_most=1 / 50).is_met for measured in (0.01, 0.5, None)]
    assert met == [True, False, None]
    assert Goal(says="", measured=640, at_least=500).is_met


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.xdist_group("bench")
def test_what_explanations_cost_is_told_as_it_is_found(tmp_path):
    said = []
    bench = explaining.Bench(folder=tmp_path, plan=explaining.SHORT, say=said.append)
    for name, (model, frame) in explaining.explained_at_once().items():
        found = explaining.together(bench, name, model, frame)
        assert said.pop().startswith(f"{name} together, p50 ms, round 1 of 1: predict ")
        assert not said
        assert set(found) == {"predict", "with explanations", "explain", "ratio"}
        assert all(value > 0 for value in found.values())
