"""The wire: what is answered before an ASGI cycle is made is, to the byte, what uvicorn and the front answer in one."""

import asyncio
import json
import logging
import os
import re
import socket
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from types import SimpleNamespace

import pytest
import uvicorn
from hypothesis import event, given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

import ekiben as ek
from ekiben import endpoints, keys, observing, routing, shortcut, spec, tracing, wire
from ekiben.draining import Drain
from ekiben.endpoints import ALONE, SMALL_BYTES, Endpoint
from ekiben.front import Front
from ekiben.recording.keeping import Keeper
from ekiben.recording.reading import read
from ekiben.recording.segments import Header, segments
from ekiben.recording.writing import Recorder
from ekiben.shortcut import Lane
from ekiben.waiting import FEW
from ekiben.wire import Wire
from planes import held, let_go, plane_of, slowly

DATE = (b"date", b"Thu, 26 Nov 2026 22:00:00 GMT")
TRACE = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PATIENCE_S = 120
TIMEOUT_S = 4  # of the service: so long it waits for a body that never ends, of which laws send many


class Counted(Wire):
    """The wire, how often it answered, and how often it knew a head."""

    n = n_known = 0

    def _answers(self, endpoint, **how):
        done = super()._answers(endpoint, **how)
        Counted.n += done
        return done

    def _answers_known(self, data):
        done = super()._answers_known(data)
        Counted.n_known += done
        return done


class Server:
    """One of uvicorn's protocols before a front, and all that came of the connections to it."""

    def __init__(self, kind, **settings):
        self.kind, self.front, self.lines = kind, Front(None), []
        given = {"app": self.front, "timeout_keep_alive": 60, "server_header": False} | settings
        self.config = uvicorn.Config(log_config=None, http=kind, **given)
        self.config.load()
        self.state = ServerState()
        self.state.default_headers = [DATE]

    async def connect(self):
        """Give a client's socket, and the protocol at the other end."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        _, protocol = await loop.connect_accepted_socket(lambda: self.kind(self.config, self.state, {}), theirs)
        return ours, protocol

    async def converse(self, segments):
        """Send each segment when the one before was read, or, behind a None, when all before were answered."""
        ours, _ = await self.connect()
        loop, came = asyncio.get_running_loop(), b""
        with ours:
            for segment in segments:
                if segment is None:
                    await self.answered()
                    continue
                try:
                    await asyncio.wait_for(loop.sock_sendall(ours, segment), PATIENCE_S)
                except (BrokenPipeError, ConnectionResetError):  # the server hung up
                    break
                await turns()
            await turns(40)
            ours.shutdown(socket.SHUT_WR)
            while part := await asyncio.wait_for(loop.sock_recv(ours, 1 << 16), PATIENCE_S):
                came += part
        await self.answered()
        return came

    async def answered(self):
        """Wait until nothing is under way."""
        while self.state.tasks:
            await asyncio.wait(self.state.tasks, timeout=PATIENCE_S)

    def told(self):
        """Give what was logged of every request, but for its time."""
        if self.front._opened is None:
            return []
        self.front._opened.log.flush()
        lines = [json.loads(line) for text in self.lines for line in text.splitlines()]
        return [{name: line[name] for name in line if name not in ("time", "ms")} for line in lines]

    def close(self):
        if self.front._opened is not None:
            self.front._opened.close()


async def turns(n=4):
    """Let the loop read what was sent, and begin what follows from it."""
    for _ in range(n):
        await asyncio.sleep(0)


def tasks_of(server, *segments):
    """Count the ASGI cycles that some segments make, and give what was answered without any."""

    async def ask():
        ours, protocol = await server.connect()
        with ours:
            for segment in segments:
                await asyncio.get_running_loop().sock_sendall(ours, segment)
                await turns()
            made = 0 if protocol.cycle is None else 1
            answered = b"" if made else ours.recv(1 << 16)
            await server.answered()
        await turns()
        return made, answered

    return asyncio.run(ask())


def talked(segments, *, lines=None, **settings):
    """Hold one conversation with each of the two, and give what either answered and told."""
    found = []
    for kind in (Counted, HttpToolsProtocol):
        server = Server(kind, **settings)
        Front.live.seen.clear()
        with heard(server):
            came = asyncio.run(server.converse(segments))
            told = server.told()
            server.close()
        counted = sorted(each[:3] for each in Front.live.seen)
        found.append(SimpleNamespace(came=came, told=told, counted=counted, n=server.state))
    wired, plain = found
    assert wired.came == plain.came, segments
    assert wired.told == plain.told
    assert wired.counted == plain.counted
    assert wired.n.total_requests == plain.n.total_requests
    return wired


class Same:
    """Ids that do not differ, so that answers can be held against each other."""

    def pop(self):
        return "ab" * 16


@pytest.fixture(autouse=True)
def _as_in_a_worker(monkeypatch):
    monkeypatch.setattr(observing, "_ids", Same())
    monkeypatch.setattr(observing, "_print", lambda lines: None)  # what nobody listens to
    monkeypatch.setattr(wire, "_heads", {})
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "hasHandlers", lambda: False)


@contextmanager
def heard(server):
    """Write lines of the access log where the test can read them."""
    before, observing._print = observing._print, server.lines.append
    try:
        yield
    finally:
        observing._print = before


@pytest.fixture(params=["field", "cookie", "none", "synced"])
def live(champion, challenger, monkeypatch, request, tmp_path):
    unit = {"field": "customer_id", "cookie": "cookie:visitor"}.get(request.param)
    arms = {"champion": champion, "challenger": challenger}
    route = routing.only("champion") if request.param == "cookie" else routing.split(champion=1, challenger=1)
    with living(plane_of(arms, unit=unit, route=route, timeout_s=TIMEOUT_S), monkeypatch) as plane:
        if request.param == "synced":
            plane.keeper = keeper_of(plane, tmp_path)
        yield plane


def keeper_of(plane, folder, *, sync=True):
    """Make what records the decisions of a plane, and waits for the disk."""
    columns = plane.contract.signature.inputs.names
    return Keeper(Recorder(folder / "risk", Header(service="risk", columns=columns, arms={}), sync=sync), columns)


@pytest.fixture
def synced(alone, tmp_path, monkeypatch):
    """A service that waits for the disk before it answers, and how often it did."""
    alone.keeper, waits, wait = keeper_of(alone, tmp_path), [], os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (waits.append(file), wait(file)))
    return SimpleNamespace(folder=tmp_path / "risk", waits=waits, recorder=alone.keeper._recorder)


@pytest.fixture
def gathered(alone, tmp_path, monkeypatch):
    """A service that records its decisions and waits for no disk, and how many records those had that were held."""
    alone.keeper, sizes = keeper_of(alone, tmp_path, sync=False), []
    append = alone.keeper.append
    alone.keeper.append = lambda records, ns: (sizes.append(len(records)), append(records, ns))
    return SimpleNamespace(folder=tmp_path / "risk", sizes=sizes, recorder=alone.keeper._recorder)


@pytest.fixture
def alone(champion, monkeypatch):
    with living(plane_of({"champion": champion}, unit=None, timeout_s=TIMEOUT_S), monkeypatch) as plane:
        yield plane


@contextmanager
def living(plane, monkeypatch):
    monkeypatch.setattr(Front, "live", plane)
    yield plane
    plane.close()


@pytest.fixture
def row(champion):
    return champion.examples[0]["row"]


def request(body, *headers, method="POST", path="/predict", version="1.1", length=None):
    """Write a request."""
    lines = [f"{method} {path} HTTP/{version}", "host: a", *headers]
    if length != "none":
        lines.append(f"content-length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
def plain(row):
    return request(json.dumps({"rows": [row]}).encode(), "content-type: application/json")


# ── equal to ASGI


def bodies(row):
    good = [{"rows": [row]}, {"rows": [row], "customer_id": "7"}, {"rows": [row] * 3, "customer_id": 7}]
    other = [{"rows": [row | {"job": "never seen"}]}, {"rows": [row | {"income": None}]}]
    bad = [{"rows": []}, {"rows": [row | {"age": "x"}]}, {"rows": [{}]}, {}, [], 3, {"rows": [row], "more": 1}]
    made = [json.dumps(each).encode() for each in (*good * 4, *other, *bad)]
    torn = [b"", b"{", b"\xff", made[0][:-1], made[0] + b" ", made[0] + b"x", b" " * 9000 + made[0], b'{"rows": NaN}']
    return st.sampled_from(made + torn)


def often(usual, *odd):
    return st.sampled_from([usual] * 6 + [*odd])


KINDS = often("content-type: application/json", "content-type: text/csv", "x-a: b", "Content-Type: application/json")
WANTS = often("accept: */*", "accept: application/vnd.apache.arrow.stream", "accept: text/html, */*;q=0.1", "x-b: c")
ENDS = often("x-c: d", "connection: close", "connection: keep-alive", "expect: 100-continue", "upgrade: websocket")
BESIDE = often(TRACE, "x-ekiben-deadline-ms: 9000", "x-ekiben-deadline-ms: 0", "x-ekiben-deadline-ms: soon")
UNITS = often("x-d: e", "cookie: visitor=anna", "cookie: a=b; visitor=bo", "x-d: \xfc")
INFER = "/v2/models/risk/infer"
WAYS = often(("POST", "/predict"), ("POST", INFER), ("GET", "/predict"), ("HEAD", "/schema"), ("PUT", "/nowhere"))
PATHS = often("", "?a=b", "/")
LENGTHS = often(None, "none", "+5", "007", 3, "x", "10\r\ncontent-length: 11")


@st.composite
def requests(draw, row):
    """Draw a request, and whether it is one; half of them are as most are."""
    if draw(st.booleans()):
        return request(json.dumps({"rows": [row]}).encode(), *draw(st.sets(BESIDE | UNITS, max_size=1))), True
    body, headers = draw(bodies(row)), [draw(each) for each in (KINDS, WANTS, ENDS, BESIDE, UNITS)]
    (method, path), length = draw(WAYS), draw(LENGTHS)
    if body and draw(often(False, True)):
        body, headers, length = (
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
            [*headers, "transfer-encoding: chunked"],
            "none",
        )
    version = draw(often("1.1", "1.0", "2.0"))
    is_one = length is None and version != "2.0"
    return request(body, *headers, method=method, path=path + draw(PATHS), version=version, length=length), is_one


@st.composite
def conversations(draw, row):
    """Draw segments of some requests; what is none comes when those before it were answered."""
    drawn, runs = draw(st.lists(requests(row), min_size=1, max_size=4)), [b""]
    for sent, is_one in drawn:
        if not is_one or draw(st.booleans()):
            runs.append(b"")
        runs[-1] += sent
    if not (is_whole := draw(often(True, False))):
        runs[-1] = runs[-1][: draw(st.integers(1, len(runs[-1])))]
    segments = []
    for run in filter(None, runs):
        cuts = sorted(draw(st.sets(st.integers(1, max(1, len(run) - 1)), max_size=2)))
        segments += [None, *(run[a:b] for a, b in zip([0, *cuts], [*cuts, len(run)], strict=True) if run[a:b])]
    return [*segments, None] if is_whole and all(is_one for _, is_one in drawn) else segments


def test_whatever_is_sent_is_answered_and_told_as_through_asgi(live, row, plain):
    before, before_known = Counted.n, Counted.n_known

    @settings(max_examples=60)
    @given(conversations(row))
    def law(segments):
        found = talked([plain, None, *segments])
        event(f"{len(found.told)} told, {len(segments)} segments")

    law()
    assert Counted.n - before > 10
    assert Counted.n_known - before_known > 5


@pytest.mark.parametrize("n", [1, 2, 5])
def test_pipelined_requests_are_answered_in_order(alone, row, n):
    rows = [row | {"age": 20 + i} for i in range(n)]
    sent = [request(json.dumps({"rows": [each]}).encode(), "content-type: application/json") for each in rows]
    separate = [talked([each, None]).came for each in sent]
    assert talked([b"".join(sent), None]).came == b"".join(separate)
    assert talked([*sent, None]).came == b"".join(separate)
    assert len({*separate}) == n


@pytest.mark.parametrize("behind", [b"GET /schema HTTP/1.1\r\nhost: a\r\n\r\n", b"POST /pre"])
def test_what_follows_in_the_same_segment_has_its_turn(alone, plain, behind):
    assert talked([plain + behind, None]).came.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_request_is_answered_before_nonsense_that_follows_it_is_refused(alone, plain):
    server = Server(Wire)
    came = asyncio.run(server.converse([plain + b"nonsense\r\n\r\n"]))
    server.close()
    assert re.findall(rb"HTTP/1.1 (\d+)", came) == [b"200", b"400"]


def test_a_request_waits_for_the_one_before_that_is_not_answered_yet(alone, plain, row):
    slow = request(json.dumps({"rows": [row] * 300}).encode(), "content-type: application/json")
    assert [each["rows"] for each in talked([slow + plain, plain, None]).told] == [300, 1, 1]


def test_a_body_that_never_ends_is_refused_in_time(champion, plain, monkeypatch):
    with living(plane_of({"champion": champion}, unit=None, timeout_s=0.05), monkeypatch):
        found = talked([plain[:-1], None])
    assert b'"slow_body"' in found.came
    assert found.told[0]["status"] == 408


# ── what never ends


HEAD = b"POST /predict HTTP/1.1\r\nhost: a\r\n"
ENDLESS = {
    "a_header": (HEAD + b"x-a: ", b"a" * 8192),
    "headers": (HEAD, b"x-a: b\r\n" * 1024),
    "a_name": (HEAD, b"a" * 8192),
    "trailers": (HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n", b"x-a: b\r\n" * 1024),
    "what_stands_beside_a_chunk": (HEAD + b"transfer-encoding: chunked\r\n\r\n1;a=", b"a" * 8192),
}


@pytest.mark.parametrize(("begin", "more"), ENDLESS.values(), ids=ENDLESS)
def test_a_head_or_a_tail_without_end_is_refused(alone, begin, more):
    server = Server(Wire)
    came = asyncio.run(server.converse([begin, *[more] * 12]))
    server.close()
    assert b"HTTP/1.1 400" in came
    assert came.endswith(b"The head of a request is too long.")


def test_a_long_head_and_a_long_body_are_read(alone, plain, row):
    body = json.dumps({"rows": [row]}).encode()
    sent = request(body, "content-type: application/json", "x-a: " + "a" * 60_000)
    assert talked([sent[:30_000], sent[30_000:60_000], sent[60_000:], None]).came.startswith(b"HTTP/1.1 200")
    chunks = b"".join(b"1\r\n \r\n" for _ in range(20_000)) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    sent = request(b"", "content-type: application/json", "transfer-encoding: chunked", length="none") + chunks
    assert talked([sent[i : i + 8192] for i in range(0, len(sent), 8192)] + [None]).came.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", b"POST /predict HTTP/1.1\r\nhost: a\r\n"])
def test_a_head_that_does_not_come_in_time_is_not_waited_for(alone, sent, monkeypatch):
    monkeypatch.setattr(wire, "HEAD_S", 0.01)

    async def wait():
        ours, _ = await Server(Wire).connect()
        loop = asyncio.get_running_loop()
        with ours:
            await loop.sock_sendall(ours, sent)
            return await asyncio.wait_for(loop.sock_recv(ours, 100), PATIENCE_S)

    assert asyncio.run(wait()) == b""


# ── an offer to speak otherwise


OFFER = "connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAEAAEAAAAIAAAABAAMAAABk"


def test_who_offers_http_2_is_answered_all_the_same(alone, plain, row):
    body = json.dumps({"rows": [row]}).encode()
    offers = request(body, *OFFER, "content-type: application/json")
    server = Server(Wire)
    came = asyncio.run(server.converse([offers, None, offers[:40], offers[40:-9], offers[-9:], None, plain, None]))
    server.close()
    assert re.findall(rb"HTTP/1.1 (\d+)", came) == [b"200"] * 3


def test_a_body_behind_another_offer_is_not_read_as_a_request(alone, plain):
    hidden = b"GET /schema HTTP/1.1\r\nhost: a\r\n\r\n"
    head = request(b"", "connection: Upgrade", "upgrade: other/1", length=len(hidden))
    for parts in ([head + hidden], [head, hidden], [head, None, hidden]):
        server = Server(Wire)
        came = asyncio.run(server.converse([*parts, None]))
        server.close()
        assert re.findall(rb"HTTP/1.1 (\d+)", came) == [b"400"], parts


# ── heads that were read before


def known_of(segments):
    """Tell how often the wire knew a head in a conversation that is the same through ASGI."""
    before = Counted.n_known
    talked(segments)
    return Counted.n_known - before


def test_a_head_that_was_read_before_is_not_read_again_on_whichever_connection(alone, plain, row):
    other = request(json.dumps({"rows": [row | {"age": 33}]}).encode(), "content-type: application/json")
    assert len(other) == len(plain)
    assert known_of([plain, None, other, None, plain, None]) == 2
    assert known_of([plain, None]) == 1
    assert known_of([plain.replace(b"host: a", b"host: b"), None]) == 0


@pytest.mark.parametrize(
    "segments",
    [
        pytest.param(lambda sent: [sent[:40], sent[40:], None], id="its head comes in parts"),
        pytest.param(lambda sent: [sent[:-9], sent[-9:], None], id="its body comes in parts"),
        pytest.param(lambda sent: [sent + sent, None], id="another one is behind it"),
        pytest.param(lambda sent: [sent + sent[:30], sent[30:], None], id="a part of another one is behind it"),
        pytest.param(lambda sent: [sent[:7], sent, None], id="a part of another one is before it"),
        pytest.param(lambda sent: [b"\r\n" + sent, None], id="an empty line is before it"),
        pytest.param(lambda sent: [sent.replace(b'"rows"', b'"sows"'), None], id="its body does not fit"),
    ],
)
def test_a_head_is_known_only_where_a_segment_is_its_request_and_nothing_else(alone, plain, segments):
    assert known_of([plain, None, *segments(plain)]) == 0


def test_a_known_head_waits_for_the_request_before(alone, plain):
    assert known_of([plain, None]) == 0

    async def ask():
        ours, protocol = await Server(Wire).connect()
        with ours:
            protocol.cycle = SimpleNamespace(response_complete=False, message_event=asyncio.Event())
            waits = not protocol._answers_known(plain)
            protocol.cycle.response_complete = True
            return waits, protocol._answers_known(plain)

    assert asyncio.run(ask()) == (True, True)


def test_what_could_not_be_answered_behind_a_known_head_is_not_asked_again(alone, plain, monkeypatch):
    asked, at_once = [], Endpoint.at_once

    def counted(*given, **named):
        asked.append(given)
        return at_once(*given, **named)

    monkeypatch.setattr(Endpoint, "at_once", counted)
    odd = plain.replace(b'"rows"', b'"sows"')
    came = talked([plain, None, odd, None, plain, None]).came
    assert re.findall(rb"HTTP/1.1 (\d+)", came) == [b"200", b"400", b"200"]
    assert len(asked) == 3


def test_an_empty_line_between_two_requests_is_passed_over(alone, plain):
    assert known_of([plain, None, b"\r\n", plain, None]) == 1


def test_what_is_known_of_a_head_opens_no_door_that_was_closed_since(alone, plain, monkeypatch):
    token, lines = keys.make("batch", ["read"])
    shown = plain.replace(b"host", f"authorization: Bearer {token}\r\nhost".encode())
    assert known_of([shown, None, shown, None]) == 1
    monkeypatch.setattr(Front, "keys", keys.Keys(keys.parse(keys.make("other", ["read"])[1])))
    assert talked([shown, None]).came.startswith(b"HTTP/1.1 401")
    monkeypatch.setattr(Front, "keys", keys.Keys(keys.parse(lines)))
    assert known_of([shown, None]) == 1
    monkeypatch.setattr(Front, "drain", begun())
    assert known_of([shown, None]) == 0


def test_few_and_short_heads_are_known(alone, plain, monkeypatch):
    monkeypatch.setattr(wire, "MOST_KNOWN", 2)
    for i in range(5):
        talked([plain.replace(b"host: a", b"host: %d" % i), None])
        assert len(wire._heads) in (1, 2)
    known = {*wire._heads}
    talked([plain.replace(b"host: a", b"host: " + b"a" * 2000), None])
    assert {*wire._heads} == known


def test_a_connection_is_kept_as_long_as_it_is_used(alone, plain):
    async def ask():
        ours, protocol = await Server(Wire).connect()
        with ours:
            loop = asyncio.get_running_loop()
            for _ in range(3):
                await loop.sock_sendall(ours, plain)
                assert (await loop.sock_recv(ours, 1 << 16)).startswith(b"HTTP/1.1 200")
            before = protocol.timeout_keep_alive_task
            protocol.timeout_keep_alive_handler()
            after, is_closing = protocol.timeout_keep_alive_task, protocol.transport.is_closing()
            before.cancel()
            assert after is not before
            assert loop.time() + 50 < after.when() <= loop.time() + 60
            protocol._used -= 60
            protocol.timeout_keep_alive_handler()
            assert not is_closing
            return await asyncio.wait_for(loop.sock_recv(ours, 1), PATIENCE_S)

    assert asyncio.run(ask()) == b""


# ── what takes the quick way


def test_a_whole_small_request_makes_no_cycle(alone, plain):
    made, answered = tasks_of(Server(Wire), plain)
    assert made == 0
    assert answered.startswith(
        b"HTTP/1.1 200 OK\r\ndate: Thu, 26 Nov 2026 22:00:00 GMT\r\ncontent-type: application/json"
    )
    assert tasks_of(Server(Wire), plain[:40], plain[40:])[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda sent: [sent[:-9], sent[-9:]], id="its body comes in parts"),
        pytest.param(lambda sent: [sent.replace(b"host", b"connection: close\r\nhost")], id="it closes"),
        pytest.param(lambda sent: [sent.replace(b"host", b"expect: 100-continue\r\nhost")], id="it expects"),
        pytest.param(lambda sent: [sent.replace(b"1.1", b"1.0")], id="it is of HTTP/1.0"),
        pytest.param(lambda sent: [sent.replace(b"predict", b"explain?top=2")], id="it asks for the strongest reasons"),
        pytest.param(lambda sent: [sent.replace(b"rows", b"sows")], id="it does not fit"),
        pytest.param(lambda sent: [sent.replace(b"application/json", b"text/csv")], id="it is a table"),
        pytest.param(lambda sent: [sent.replace(b"host", b"content-encoding: br\r\nhost")], id="it is packed"),
    ],
)
def test_all_else_makes_one(alone, plain, change):
    assert tasks_of(Server(Wire), *change(plain))[0] == 1
    if b"/explain" not in change(plain)[0]:  # it says how long it took
        talked([*change(plain), None])


def test_an_explanation_by_the_plan_makes_none_and_is_the_same(alone, plain):
    sent = plain.replace(b"predict", b"explain")
    assert tasks_of(Server(Wire), sent)[0] == 0
    wired, usual = (explained(kind, sent) for kind in (Wire, HttpToolsProtocol))
    assert wired == usual
    assert wired[1]["explanations"][0]["contributions"]
    assert wired[2][0]["endpoint"] == "explain"


def test_explanations_are_counted_as_they_are_let_in(champion, plain, monkeypatch):
    limits = spec.Limits(explain_per_s=1)
    with living(plane_of({"champion": champion}, unit=None, limits=limits), monkeypatch):
        sent = plain.replace(b"predict", b"explain")
        server = Server(Wire)
        came = asyncio.run(server.converse([sent, sent, None]))
        server.close()
    assert came.count(b"HTTP/1.1 200 ") == 1
    assert came.count(b"HTTP/1.1 429 ") == 1
    assert b'"too_many_explanations"' in came


def explained(kind, sent):
    """Ask for an explanation, and give what came and was told, but for the time it took."""
    server = Server(kind)
    with heard(server):
        came = asyncio.run(server.converse([sent, None]))
        told = [{key: value for key, value in each.items() if key not in ("ms", "at")} for each in server.told()]
        server.close()
    head, _, body = came.partition(b"\r\n\r\n")
    document = json.loads(body)
    for timed in (document, *document["explanations"]):
        assert timed.pop("elapsed_ms") >= 0
    return sorted(line for line in head.split(b"\r\n") if b"content-length" not in line), document, told


def test_a_server_that_counts_its_connections_makes_one(alone, plain):
    assert tasks_of(Server(Wire, limit_concurrency=9), plain)[0] == 1


def test_a_server_of_another_application_is_left_alone(plain):
    async def other(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    server = Server(Wire, app=other)
    assert tasks_of(server, plain)[0] == 1


# ── what else holds


def in_chunks(sent, *trailers):
    """Send a body in chunks, and fields behind it."""
    head, _, body = sent.partition(b"\r\n\r\n")
    head = re.sub(rb"content-length: \d+", b"transfer-encoding: chunked", head)
    return head + b"\r\n\r\n%x\r\n%b\r\n0\r\n%b\r\n" % (
        len(body),
        body,
        b"".join(b"%b\r\n" % each for each in trailers),
    )


def test_what_follows_a_body_in_chunks_is_no_header(alone, plain):
    heads = []

    async def other(scope, receive, send):
        heads.append([value for name, value in scope["headers"] if name == b"x-customer"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    sent = in_chunks(plain.replace(b"host", b"x-customer: as the proxy says\r\nhost"), b"x-customer: another's")
    asyncio.run(Server(Wire, app=other).converse([sent, None, plain, None, sent[:-60], sent[-60:]]))
    assert heads == [[b"as the proxy says"], [], [b"as the proxy says"]]


def test_a_key_behind_a_body_lets_nobody_in(alone, plain, monkeypatch):
    token, lines = keys.make("batch", ["read"])
    monkeypatch.setattr(Front, "keys", keys.Keys(keys.parse(lines)))
    shows = b"authorization: Bearer " + token.encode()
    behind, both = (
        in_chunks(plain, shows),
        in_chunks(plain.replace(b"host", shows + b"\r\nhost"), b"authorization: none"),
    )
    server = Server(Wire)
    came = asyncio.run(server.converse([behind, None, both, None]))
    server.close()
    assert re.findall(rb"HTTP/1.1 (\d+)", came) == [b"401", b"200"]


def begun():
    drain = Drain(1)
    drain.has_begun = True
    return drain


def test_a_process_that_is_about_to_end_closes_each_connection(alone, plain, monkeypatch):
    monkeypatch.setattr(Front, "drain", begun())
    assert talked([plain, None, plain, None]).came.count(b"connection: close") == 1


def test_who_shows_no_key_is_refused(alone, plain, monkeypatch):
    token, lines = keys.make("batch", ["read"])
    monkeypatch.setattr(Front, "keys", keys.Keys(keys.parse(lines)))
    shown = plain.replace(b"host", f"authorization: Bearer {token}\r\nhost".encode())
    twice = shown.replace(b"host", b"authorization: Bearer ek_none\r\nhost")
    same = shown.replace(b"host", f"authorization: Bearer {token}\r\nhost".encode())
    statuses = [found[9:12] for found in (talked([sent, None]).came for sent in (plain, shown, twice, same))]
    assert statuses == [b"401", b"200", b"401", b"401"]
    assert tasks_of(Server(Wire), shown)[0] == 0


def test_one_too_many_at_once_is_told_so(champion, plain, monkeypatch):
    limits = spec.Limits(concurrency=1)
    with living(plane_of({"champion": champion}, unit=None, timeout_s=5, limits=limits), monkeypatch):
        held, found = {}, {}
        for kind in (Wire, HttpToolsProtocol):
            server = Server(kind)

            async def ask(server=server, kind=kind):
                endpoint = server.front._endpoints()["/predict"]
                ours, _ = await server.connect()
                with ours:  # a body that is still to come holds no slot
                    await asyncio.get_running_loop().sock_sendall(ours, plain[:-1])
                    await turns()
                    held[kind] = endpoint.n_asked
                    endpoint.n_asked = 1  # and one that is being answered holds the only one
                    found[kind] = await server_answers(server)
                    endpoint.n_asked = 0
                await turns()

            async def server_answers(server):
                other, _ = await server.connect()
                with other:
                    await asyncio.get_running_loop().sock_sendall(other, plain)
                    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(other, 1 << 16), PATIENCE_S)

            asyncio.run(ask())
            server.close()
        assert held == {Wire: 0, HttpToolsProtocol: 0}
        assert found[Wire].startswith(b"HTTP/1.1 429 ")
        assert found[Wire] == found[HttpToolsProtocol]


@pytest.mark.parametrize("path", ["/predict", "/v2/models/risk/infer", "/invocations"])
@pytest.mark.parametrize(("headers", "n_before"), [([], FEW), (["x-ekiben-deadline-ms: 5000"], 1)])
@pytest.mark.parametrize("n_rows", [1, 200])
def test_what_would_wait_in_vain_for_a_slow_model_makes_no_cycle(
    champion, plain, row, monkeypatch, path, headers, n_before, n_rows
):
    late = request(json.dumps({"rows": [row] * n_rows}).encode(), "content-type: application/json", *headers, path=path)
    assert (len(late) > SMALL_BYTES) is (n_rows > 1)

    async def refused(server, adapter):
        loop = asyncio.get_running_loop()
        with let_go(adapter), ExitStack() as kept:
            for _ in range(n_before):
                ours = kept.enter_context((await server.connect())[0])
                await loop.sock_sendall(ours, plain)
                await turns()
            assert await asyncio.to_thread(adapter.began.wait, PATIENCE_S)
            assert len(server.state.tasks) == n_before
            ours, protocol = await server.connect()
            with ours:
                came = b""
                for _ in range(2):  # on the same connection
                    for part in (late,) if n_rows == 1 else (late[:100], late[100:-9], late[-9:]):
                        await loop.sock_sendall(ours, part)
                        await turns()
                    came += await asyncio.wait_for(loop.sock_recv(ours, 1 << 16), PATIENCE_S)
                if server.kind is Wire:
                    assert protocol.timeout_keep_alive_task is not None
                    assert protocol._too_late is None
            adapter.go.set()
            await server.answered()
        await turns()
        return came, protocol.cycle is not None

    found = {}
    for kind in (Wire, HttpToolsProtocol):
        slow, server = held(champion), Server(kind)
        told = {"paces": {"champion": slowly(30.0)}, "timeout_s": PATIENCE_S}
        with living(plane_of({"champion": slow}, unit=None, **told), monkeypatch), heard(server):
            came, made_cycle = asyncio.run(refused(server, slow.adapter))
            found[kind] = came, sorted((line["status"], line["endpoint"], line["code"]) for line in server.told())
            server.close()
        assert made_cycle is (kind is HttpToolsProtocol)
    assert found[Wire] == found[HttpToolsProtocol]
    assert found[Wire][0].count(b"HTTP/1.1 429 ") == found[Wire][0].count(b"retry-after: 30") == 2


def test_what_would_wait_in_vain_for_a_plan_is_refused_by_its_length(champion, plain, row, monkeypatch):
    monkeypatch.setattr(shortcut, "INLINE_US", 2 * champion.plan.row_us)
    large = request(json.dumps({"rows": [row] * 200}).encode(), "content-type: application/json")

    async def story():
        server, told = Server(Wire), []
        for _ in range(3):  # the first tells how long a row is
            ours, protocol = await server.connect()
            with ours:
                loop, came = asyncio.get_running_loop(), []
                for segment in (large, plain):
                    await loop.sock_sendall(ours, segment)
                    came.append((await asyncio.wait_for(loop.sock_recv(ours, 1 << 18), PATIENCE_S))[9:12])
                    await turns()
                told.append((came, protocol.cycle is None))
            busy = server.front._opened.endpoints["/predict"]._turns
            busy.n_unanswered, busy._ahead_s = 100, 1000.0
        server.close()
        return told

    with living(plane_of({"champion": champion}, unit=None), monkeypatch):
        first, *others = asyncio.run(story())
    assert first == ([b"200", b"200"], False)
    assert others == [([b"429", b"200"], True)] * 2


def test_a_few_long_rows_are_not_taken_for_many(champion, row, monkeypatch):
    monkeypatch.setattr(shortcut, "INLINE_US", 60 * champion.plan.row_us)
    many, few = (
        request(json.dumps({"rows": rows}).encode(), "content-type: application/json")
        for rows in ([row] * 5000, [row | {"job": "freelance" + " " * 2000}] * 8)
    )

    async def story():
        server, told = Server(Wire), []
        for segment in (few, many, few):
            ours, _ = await server.connect()
            with ours:
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(ours, segment)
                told.append((await asyncio.wait_for(loop.sock_recv(ours, 1 << 20), PATIENCE_S))[9:12])
                await turns()
            if segment is many:
                busy = server.front._opened.endpoints["/predict"]._turns
                busy.n_unanswered, busy._ahead_s = 100, 1000.0
        server.close()
        return told

    with living(plane_of({"champion": champion}, unit=None, limits=spec.Limits(max_rows=10_000)), monkeypatch):
        assert asyncio.run(story()) == [b"200"] * 3


def test_what_is_announced_as_too_large_makes_no_cycle_and_who_follows_is_answered(champion, plain, row, monkeypatch):
    limits = spec.Limits(max_body_mb=0.01)
    large = request(json.dumps({"rows": [row] * 300}).encode(), "content-type: application/json")
    with living(plane_of({"champion": champion}, unit=None, limits=limits), monkeypatch):
        assert tasks_of(Server(Wire), large)[0] == 0
        came = talked([large[:9000], large[9000:-5], large[-5:] + plain, None, plain, None]).came
    assert re.findall(rb"HTTP/1.1 (\d+)", came) == [b"413", b"200", b"200"]


def test_a_body_that_is_skipped_must_end_in_time(champion, row, monkeypatch):
    monkeypatch.setattr(wire, "HEAD_S", 0.05)
    large = request(json.dumps({"rows": [row] * 300}).encode(), "content-type: application/json")

    async def trickle():
        ours, _ = await Server(Wire).connect()
        loop, came = asyncio.get_running_loop(), b""
        with ours:
            await loop.sock_sendall(ours, large[:9000])
            for byte in large[9000:9200]:  # 2 s of them
                with suppress(BrokenPipeError, ConnectionResetError):
                    await loop.sock_sendall(ours, bytes([byte]))
                await asyncio.sleep(0.01)
            with suppress(ConnectionResetError):
                while part := await asyncio.wait_for(loop.sock_recv(ours, 1 << 16), PATIENCE_S):
                    came += part
        return came

    limits = spec.Limits(max_body_mb=0.01)
    with living(plane_of({"champion": champion}, unit=None, limits=limits), monkeypatch):
        assert asyncio.run(trickle()).startswith(b"HTTP/1.1 413 ")


def test_spans_are_made_where_somebody_configured_them(alone, plain, monkeypatch):
    made = []
    monkeypatch.setattr(
        tracing, "found", lambda _: SimpleNamespace(begin=lambda *_: 1, end=lambda *_, **__: made.append(1))
    )
    monkeypatch.setattr("ekiben.endpoints.trace_id", lambda _span: "")
    talked([plain, None])
    assert len(made) == 2


# ── records that are written together


async def asked_together(server, segments):
    """Send each segment on a connection of its own, all before the server looks, and give what came."""
    loop = asyncio.get_running_loop()
    with ExitStack() as kept:
        clients = [kept.enter_context((await server.connect())[0]) for _ in segments]
        for client, segment in zip(clients, segments, strict=True):
            await loop.sock_sendall(client, segment)
        return [await asyncio.wait_for(loop.sock_recv(client, 1 << 16), PATIENCE_S) for client in clients]


def recorded(folder):
    return [record.id for path in segments(folder) for record in read(path)[1]]


def ids(came):
    return [json.loads(each.partition(b"\r\n\r\n")[2])["id"] for each in came]


def test_all_that_come_at_once_wait_for_the_disk_once(synced, plain, monkeypatch):
    monkeypatch.setattr(observing, "_ids", deque())

    async def story():
        server = Server(Wire)
        first = await asked_together(server, [plain])
        synced.waits.clear()
        return server, first, await asked_together(server, [plain] * 12)

    server, first, came = asyncio.run(story())
    assert {each[:12] for each in came} == {b"HTTP/1.1 200"}
    assert len(synced.waits) == 1
    assert sorted(recorded(synced.folder)) == sorted(ids(first + came))
    assert server.state.total_requests == 13
    server.close()


def test_all_that_come_at_once_are_recorded_by_one_write_and_who_comes_alone_is_not_kept_waiting(
    gathered, plain, monkeypatch
):
    monkeypatch.setattr(observing, "_ids", deque())
    monkeypatch.setattr(endpoints, "HELD_S", 60.0)  # however slow the machine is

    async def story():
        server, came = Server(Wire), []
        for n in (1, 12, 1, *[1] * ALONE, 11, 1, 1):  # the first is not known by its head yet
            came += await asked_together(server, [plain] * n)
        server.close()
        return came

    came = asyncio.run(story())
    assert {each[:12] for each in came} == {b"HTTP/1.1 200"}
    assert sorted(recorded(gathered.folder)) == sorted(ids(came))
    assert gathered.sizes == [12, 1, 11, 1]  # behind one that was held in vain the next ones are not


@pytest.mark.parametrize(("follows", "n_held"), [("what is brief", 2), ("what takes long", 1), ("what comes later", 0)])
def test_no_answer_is_held_for_long(gathered, plain, monkeypatch, follows, n_held):
    monkeypatch.setattr(endpoints, "HELD_S", 60.0)  # however slow the machine is

    async def story():
        server = Server(Wire)
        await asked_together(server, [plain])
        (ours, first), (theirs, second) = [await server.connect() for _ in range(2)]
        with ours, theirs:
            first.data_received(plain)
            assert first._held_by is not None
            if follows == "what takes long":
                monkeypatch.setattr(Lane, "long_s", lambda *_: 1e-6)
            elif follows == "what comes later":
                monkeypatch.setattr(endpoints, "HELD_S", -1.0)
            second.data_received(plain)
            held = [each._held_by is not None for each in (first, second)]
            n_recorded = len(recorded(gathered.folder))
            await turns()
            came = [each.recv(1 << 16)[:12] for each in (ours, theirs)]
        server.close()
        return held, n_recorded, came

    held, n_recorded, came = asyncio.run(story())
    assert sum(held) == n_held
    assert held != [True, False]
    assert n_recorded == 3 - n_held
    assert came == [b"HTTP/1.1 200"] * 2
    assert len(recorded(gathered.folder)) == 3


def test_where_the_disk_takes_no_record_all_that_waited_for_it_are_refused(synced, plain, monkeypatch):
    monkeypatch.setattr(observing, "_ids", deque())

    async def story():
        server = Server(Wire)
        first = await asked_together(server, [plain])
        synced.recorder.barred = "The disk is full."
        refused = await asked_together(server, [plain] * 3)
        synced.recorder.barred = ""
        return server, refused, first + await asked_together(server, [plain] * 3)

    server, refused, answered = asyncio.run(story())
    assert {each[:12] for each in refused} == {b"HTTP/1.1 503"}
    assert all(b"not_recorded" in each for each in refused)
    assert {each[:12] for each in answered} == {b"HTTP/1.1 200"}
    assert sorted(recorded(synced.folder)) == sorted(ids(answered))
    server.close()


@pytest.mark.parametrize(
    "leaves",
    ["it sends no more", "it is gone", "the server ends", "it asks for something else", "it is closed in time"],
)
def test_whatever_becomes_of_a_connection_what_is_held_is_sent_before(synced, plain, leaves):
    async def story():
        server, loop = Server(Wire), asyncio.get_running_loop()
        await asked_together(server, [plain])
        ours, protocol = await server.connect()
        other, _ = await server.connect()
        with ours, other:
            await loop.sock_sendall(other, plain)
            protocol.data_received(plain)
            assert protocol._held_by is not None
            assert len(recorded(synced.folder)) == 1
            if leaves == "it sends no more":
                ours.shutdown(socket.SHUT_WR)
            elif leaves == "it is gone":
                ours.close()
            elif leaves == "the server ends":
                protocol.shutdown()
            elif leaves == "it is closed in time":
                protocol.timeout_keep_alive = 0
                protocol.timeout_keep_alive_handler()
            else:
                protocol.data_received(b"GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\n")
            theirs = await asyncio.wait_for(loop.sock_recv(other, 1 << 16), PATIENCE_S)
            await server.answered()
            await turns()
            came = b"" if leaves == "it is gone" else ours.recv(1 << 16)
        server.close()
        return theirs, came, server.state.total_requests

    theirs, came, n_requests = asyncio.run(story())
    assert theirs.startswith(b"HTTP/1.1 200 ")
    assert came.startswith(b"HTTP/1.1 200 " if leaves != "it is gone" else b"")
    assert (b"HTTP/1.1 404 " in came) is (leaves == "it asks for something else")
    assert len(recorded(synced.folder)) == 3
    assert n_requests == 3 + (leaves == "it asks for something else")


def test_an_answer_that_cannot_be_sent_keeps_none_behind_it_from_being_sent(synced, plain, monkeypatch):
    def fail(*_):
        raise RuntimeError

    async def story():
        server, loop = Server(Wire), asyncio.get_running_loop()
        await asked_together(server, [plain])
        (broken, first), (ours, second) = [await server.connect() for _ in range(2)]
        with broken, ours:
            monkeypatch.setattr(first, "send", fail)
            for protocol in (first, second):
                protocol.data_received(plain)
            return await asyncio.wait_for(loop.sock_recv(ours, 1 << 16), PATIENCE_S)

    assert asyncio.run(story()).startswith(b"HTTP/1.1 200 ")


def test_a_connection_that_is_kept_and_not_used_is_closed_in_time(alone, plain):
    async def ask():
        ours, protocol = await Server(Wire, timeout_keep_alive=0.05).connect()
        with ours:
            loop = asyncio.get_running_loop()
            for _ in range(2):
                await loop.sock_sendall(ours, plain)
                assert (await loop.sock_recv(ours, 1 << 16)).startswith(b"HTTP/1.1 200")
                assert protocol.timeout_keep_alive_task is not None
            return await asyncio.wait_for(loop.sock_recv(ours, 1), PATIENCE_S)

    assert asyncio.run(ask()) == b""


def test_a_server_that_ends_closes_connections_that_wait(alone, plain):
    async def ask():
        server = Server(Wire)
        ours, protocol = await server.connect()
        with ours:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(ours, plain)
            await loop.sock_recv(ours, 1 << 16)
            protocol.shutdown()
            return await asyncio.wait_for(loop.sock_recv(ours, 1), PATIENCE_S), len(server.state.connections)

    assert asyncio.run(ask()) == (b"", 0)


def test_a_decision_that_cannot_be_recorded_is_refused_in_the_one_shape(alone, plain, monkeypatch):
    def keep(*_):
        raise ek.EkibenError("No room.")

    monkeypatch.setattr(alone, "keeper", SimpleNamespace(keep=keep, append=None, syncs=False, close=list))
    assert talked([plain, None]).came.startswith(b"HTTP/1.1 500")
