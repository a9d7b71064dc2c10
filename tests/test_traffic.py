"""The traffic that tests send, and the judges of its answers, tested on a small server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from itertools import islice, repeat
from pathlib import Path

import pytest

from traffic.hostile import DIGITS, KINDS, LIMIT, MARKER, Hostile, hostile, pickles
from traffic.load import Answer, Request, Tally, drive, mix, read_answer, run
from traffic.spelling import PATHS, Spelling
from traffic.verify import faults_of, judge, leaks_of, listener

ROW = {"age": 41, "income": 1200.5, "owner": True, "job": "fixed", "note": None}
COLUMNS = {"age": "integer", "income": "number", "owner": "boolean", "job": "text", "note": "text"}
NULLABLE = {"note"}
PROMISED = {
    *("missing", "null", "wrong type", "nested", "nan", "huge", "bad json", "bad utf-8", "wrong root"),
    *("wrong container", "deep", "ragged", "wrong width", "empty", "content type", "duplicate keys"),
}


def draw(n: int, seed: int = 7) -> Iterator[Hostile]:
    return islice(hostile(ROW, COLUMNS, NULLABLE, seed=seed), n)


@pytest.fixture(scope="module")
def by_kind() -> dict[str, list[Hostile]]:
    found = defaultdict(list)
    for one in draw(2000):
        found[one.kind].append(one)
    return found


def parses(body: bytes) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(body.decode("utf-8"), parse_constant=refuse)
    except RecursionError:
        return False
    except ValueError as reason:
        return "Exceeds the limit" in str(reason)  # Python's own limit on digits, not JSON's
    return True


def rows_of(body: bytes) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(body)["rows"]
    return rows


# ── the attacks ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_seed_gives_the_same_stream() -> None:
    assert list(draw(300)) == list(draw(300))
    assert [one.body for one in draw(50, seed=1)] != [one.body for one in draw(50, seed=2)]


def test_a_seed_gives_the_stream_that_it_always_gave() -> None:
    found = blake2b(digest_size=8)
    for one in islice(hostile(ROW, COLUMNS, NULLABLE, seed=7, touch="/nowhere/touched"), 1000):
        told = (one.kind, one.method, one.path, sorted(one.headers.items()), sorted(one.expect))
        found.update(repr(told).encode() + one.body)
    assert found.hexdigest() == "58633464938c89e4"


def test_another_spelling_changes_what_is_written_and_not_what_is_tried() -> None:
    other = Spelling(name=b'"inputs"', before=b'"id":"1",', paths=("/infer", "/infer"))
    pairs = list(zip(draw(2000), islice(hostile(ROW, COLUMNS, NULLABLE, seed=7, spelling=other), 2000), strict=True))
    assert all(
        (ours.kind, ours.headers, ours.expect) == (theirs.kind, theirs.headers, theirs.expect) for ours, theirs in pairs
    )
    assert {theirs.path for _, theirs in pairs} == {"/infer"}
    assert not any(b'"rows"' in theirs.body for _, theirs in pairs if theirs.kind != "content type")
    for ours, theirs in pairs:
        if ours.kind == "wrong type":
            assert json.loads(theirs.body) == {"id": "1", "inputs": rows_of(ours.body)}


def test_every_kind_appears_on_both_paths_within_2000(by_kind: dict[str, list[Hostile]]) -> None:
    assert set(by_kind) == set(KINDS) >= PROMISED
    assert all({one.path for one in found} == set(PATHS) for found in by_kind.values())


def test_every_attack_expects_a_refusal_or_a_fair_answer(by_kind: dict[str, list[Hostile]]) -> None:
    for found in by_kind.values():
        for one in found:
            assert one.expect
            assert all(status == 200 or 400 <= status < 500 for status in one.expect)


def test_a_valid_row_is_never_refused_for_a_body_alone(by_kind: dict[str, list[Hostile]]) -> None:
    valid = b'{"rows":[' + json.dumps(ROW, separators=(",", ":")).encode() + b"]}"
    closed = {"content type"}
    hits = [one for kind, found in by_kind.items() for one in found if one.body == valid]
    assert hits
    assert all(200 in one.expect or one.kind in closed for one in hits)


@pytest.mark.parametrize("kind", ["missing", "null", "wrong type", "nested", "wrong root", "wrong container", "ragged"])
def test_what_is_wrong_by_structure_is_still_json(kind: str, by_kind: dict[str, list[Hostile]]) -> None:
    assert all(parses(one.body) for one in by_kind[kind])


def test_bad_json_does_not_parse(by_kind: dict[str, list[Hostile]]) -> None:
    assert not any(parses(one.body) for one in by_kind["bad json"])


def test_missing_and_null_spare_the_nullable_column(by_kind: dict[str, list[Hostile]]) -> None:
    for one in [*by_kind["missing"], *by_kind["null"]]:
        for row in json.loads(one.body).get("rows", []):
            assert row is None or "note" in row


def test_wrong_type_changes_one_value_to_another_type(by_kind: dict[str, list[Hostile]]) -> None:
    for one in by_kind["wrong type"]:
        odd = [row for row in rows_of(one.body) if row != ROW]
        assert len(odd) == 1
        assert sum(odd[0][name] is not ROW[name] and odd[0][name] != ROW[name] for name in ROW) <= 1


def test_ragged_rows_differ_in_their_columns(by_kind: dict[str, list[Hostile]]) -> None:
    assert all(len({frozenset(row) for row in rows_of(one.body)}) > 1 for one in by_kind["ragged"])


def test_wrong_width_has_all_columns_and_more(by_kind: dict[str, list[Hostile]]) -> None:
    assert all(any(set(row) > set(ROW) for row in rows_of(one.body)) for one in by_kind["wrong width"])


def test_nan_holds_what_is_no_finite_number(by_kind: dict[str, list[Hostile]]) -> None:
    signs = (b"NaN", b"Infinity", b"nan", b"1e999")
    assert {sign for one in by_kind["nan"] for sign in signs if sign in one.body} == set(signs)


def test_huge_reaches_beyond_the_limit_only_to_be_told_413(by_kind: dict[str, list[Hostile]]) -> None:
    bodies = by_kind["huge"]
    assert {len(one.body) > LIMIT for one in bodies} == {True, False}
    assert all((one.expect == {413}) == (len(one.body) > LIMIT) for one in bodies)
    assert any(DIGITS.encode() * 715 in one.body for one in bodies)
    assert any(2**20 <= len(one.body) < LIMIT for one in bodies)


def test_deep_nests_100_000_levels(by_kind: dict[str, list[Hostile]]) -> None:
    assert all(max(one.body.count(b"["), one.body.count(b"{")) >= 100_000 for one in by_kind["deep"])


def test_bad_utf8_is_no_utf8_or_has_a_mark_of_order(by_kind: dict[str, list[Hostile]]) -> None:
    for one in by_kind["bad utf-8"]:
        if not one.body.startswith((b"\xef\xbb\xbf", b"\xff\xfe")):
            with pytest.raises(UnicodeDecodeError):
                one.body.decode()


def test_a_lone_surrogate_cannot_be_written_again(by_kind: dict[str, list[Hostile]]) -> None:
    for one in by_kind["surrogate"]:
        with pytest.raises(UnicodeEncodeError):
            str(json.dumps(json.loads(one.body), ensure_ascii=False)).encode()


def test_duplicate_keys_are_lost_on_reading(by_kind: dict[str, list[Hostile]]) -> None:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len({name for name, _ in pairs}) == len(pairs)
        return dict(pairs)

    for one in by_kind["duplicate keys"]:
        with pytest.raises(AssertionError):
            json.loads(one.body, object_pairs_hook=once)


def test_a_nul_stands_in_the_body(by_kind: dict[str, list[Hostile]]) -> None:
    assert all(b"\0" in one.body or rb"\u0000" in one.body for one in by_kind["nul"])


def test_urls_only_point_to_this_machine(by_kind: dict[str, list[Hostile]]) -> None:
    assert all(b"://127.0.0.1:9/" in one.body for one in by_kind["url"])


def test_every_other_text_and_number_is_marked(by_kind: dict[str, list[Hostile]]) -> None:
    known = {*ROW, *map(str, ROW.values()), "rows", "row", "a", "b", "url", ""}
    for kind in ("wrong type", "nested", "wrong root", "wrong container", "ragged", "url"):
        for body in (one.body for one in by_kind[kind] if parses(one.body)):
            for text in islice(strings(json.loads(body)), 5000):
                assert text in known or text.startswith("unheard_of") or MARKER in text or DIGITS in text


def strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        yield from (text for item in value for text in strings(item))
    elif isinstance(value, str) or type(value) in (int, float):
        yield str(value)


def test_no_header_can_end_its_line(by_kind: dict[str, list[Hostile]]) -> None:
    values = [value for found in by_kind.values() for one in found for value in one.headers.values()]
    assert not any("\r" in value or "\n" in value for value in values)


def test_the_pickles_act_when_they_are_unpickled(tmp_path: Path) -> None:
    with listener() as calls:
        touches, connects = pickles(port=calls.port, touch=tmp_path / "touched")
        pickle.loads(touches).close()
        pickle.loads(connects).close()
        assert calls.connections == 1
    assert (tmp_path / "touched").exists()


def test_pickles_are_sent_as_bentoml_names_them(by_kind: dict[str, list[Hostile]]) -> None:
    sent = [one for one in by_kind["content type"] if one.body.startswith(b"\x80\x04")]
    assert "application/vnd.bentoml+pickle" in {one.headers["content-type"] for one in sent}


def test_a_row_without_a_required_column_is_attacked_all_the_same() -> None:
    stream = hostile({"note": None}, {"note": "text"}, {"note"}, seed=3)
    assert {one.kind for one in islice(stream, 2000)} == set(KINDS)


def test_a_row_that_lacks_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="The 'valid_row' must have the columns"):
        next(hostile({}, COLUMNS, NULLABLE, seed=0))


# ── the client ──────────────────────────────────────────────────────────────────────────────────────────────────

Handler = Callable[[str, asyncio.StreamWriter], bool]  # answers a path; True keeps the connection
REFUSAL = b'{"error":{"code":"bad","message":"The rows must be a list. Got a text.","fields":[]}}'


def answer_bytes(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "content-type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def misbehave(path: str, writer: asyncio.StreamWriter) -> bool:
    if path == "/drop":
        return False
    if path == "/half":
        writer.write(answer_bytes(200, b"whole")[:-2])
        return False
    if path == "/close":
        writer.write(answer_bytes(200, b"{}", "connection: close"))
        return False
    if path == "/garbled":
        writer.write(b"220 smtp ready\r\n\r\n")
        return False
    if path == "/chunked":
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
        return True
    if path != "/silent":
        writer.write(answer_bytes(int(path[1:]), REFUSAL))
    return True


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[str]:
    """Give the url of a server that hands each connection to `serve`, and see every connection to its end."""
    under_way = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way.add(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # the client has left
            await serve(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*filter(None, under_way))


class Server:
    """A tiny HTTP server that counts for itself what it was asked."""

    def __init__(self, handler: Handler) -> None:
        self.handler, self.seen, self.connections = handler, Counter[str](), 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while await self.once(reader, writer):
            pass

    async def once(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
        path = head.split(" ")[1]
        self.seen[path] += 1
        return self.handler(path, writer)


@asynccontextmanager
async def serving(handler: Handler = misbehave) -> AsyncIterator[Server]:
    server = Server(handler)
    async with listening(server.serve) as server.url:
        yield server


def ask(path: str, *expect: int, kind: str = "valid") -> Request:
    return Request(kind, "POST", path, {"content-type": "application/json"}, b'{"rows":[]}', frozenset(expect or {200}))


def sent_to_server(requests: list[Request], *, clients: int = 4, timeout_s: float = 5) -> tuple[Tally, Server]:
    async def both() -> tuple[Tally, Server]:
        async with serving() as server:
            return await drive(server.url, requests, clients=clients, timeout_s=timeout_s, judge=judge), server

    return asyncio.run(both())


def test_every_request_is_accounted_for() -> None:
    paths = {"/200": 400, "/422": 50, "/500": 30, "/503": 7, "/drop": 20, "/half": 5, "/close": 9, "/garbled": 3}
    requests = [ask(path) for path, n in paths.items() for _ in range(n)]
    tally, server = sent_to_server(requests, clients=7)
    assert tally.outcomes == {200: 409, 422: 50, 500: 30, 503: 7, "closed": 25, "garbled": 3}
    assert server.seen == paths
    assert tally.sent == sum(paths.values())
    assert tally.dropped == 28
    assert tally.n_unexpected == 115
    assert len(tally.odd) == 20


def test_a_connection_is_kept_until_it_is_closed() -> None:
    _, kept = sent_to_server([ask("/200")] * 100, clients=3)
    _, closed = sent_to_server([ask("/close")] * 10, clients=1)
    assert (kept.connections, closed.connections) == (3, 10)


def test_silence_is_a_timeout() -> None:
    tally, _ = sent_to_server([ask("/silent"), ask("/200")], clients=1, timeout_s=0.05)
    assert tally.outcomes == {"timeout": 1, 200: 1}


def test_a_server_that_is_down_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert run(f"http://127.0.0.1:{port}", [ask("/200")] * 3, clients=2).outcomes == {"refused": 3}


def test_counts_go_by_kind_and_keep_the_odd_bodies() -> None:
    requests = [ask("/422", 422, kind="null"), ask("/500", 422, kind="null"), ask("/200")]
    tally, _ = sent_to_server(requests)
    assert tally.by_kind == {"null": {422: 1, 500: 1}, "valid": {200: 1}}
    assert [(odd.request.kind, odd.outcome, odd.body) for odd in tally.odd] == [("null", 500, REFUSAL)]


def test_faults_of_answers_are_counted() -> None:
    def leak(path: str, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer_bytes(int(path[1:]), b"Traceback"))
        return True

    async def both() -> Tally:
        async with serving(leak) as server:
            return await drive(server.url, [ask("/422", 422), ask("/200")], clients=1, judge=judge)

    tally = asyncio.run(both())
    assert tally.faults == {"the body is not JSON": 1, "it gives away a traceback": 1}
    assert (tally.n_unexpected, len(tally.odd)) == (0, 1)
    assert "1 × it gives away a traceback" in tally.table()


def test_the_time_ends_an_endless_stream() -> None:
    async def both() -> tuple[Tally, Server]:
        async with serving() as server:
            return await drive(server.url, repeat(ask("/200")), clients=10, seconds=0.2), server

    tally, server = asyncio.run(both())
    assert tally.outcomes == {200: server.seen["/200"]}
    assert 0 < tally.percentile_ms(50) <= tally.percentile_ms(99, status=200)


def test_n_ends_an_endless_stream() -> None:
    async def both() -> Tally:
        async with serving() as server:
            return await drive(server.url, repeat(ask("/200")), clients=10, n=123)

    assert asyncio.run(both()).sent == 123


def test_a_refusal_before_the_body_is_read_is_an_answer() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer_bytes(413, REFUSAL))
        while await reader.read(2**16):
            pass

    async def both() -> Tally:
        async with listening(early) as url:
            huge = Request("huge", "POST", "/predict", {}, b"x" * 20 * 2**20, frozenset({413}))
            return await drive(url, [huge] * 3, clients=1)

    assert asyncio.run(both()).outcomes == {413: 3}


def test_the_table_has_a_line_a_kind_and_a_total() -> None:
    tally, _ = sent_to_server([ask("/200"), ask("/drop"), ask("/422", 422, kind="null")])
    lines = tally.table().splitlines()
    assert lines[0].split() == ["sent", "200", "422", "closed"]
    assert [line.split() for line in lines[1:4]] == [
        ["null", "1", "0", "1", "0"],
        ["valid", "2", "1", "0", "1"],
        ["total", "3", "1", "1", "1"],
    ]
    assert "1 unexpected, 1 dropped, 0 faults" in lines[4]


def test_only_this_machine_is_asked() -> None:
    with pytest.raises(ValueError, match=r"The 'url' must be http://127\.0\.0\.1:PORT\. Got 'http://example\.com:80'"):
        run("http://example.com:80", [], clients=1)


def test_a_mix_holds_its_chance_and_is_the_same_for_the_same_seed() -> None:
    def mixed() -> list[Request]:
        attacks = (ask(f"/{i}", kind="hostile") for i in range(10_000))
        return list(islice(mix(lambda i: ask(f"/{i}"), attacks, chance=0.01, seed=5), 10_000))

    assert mixed() == mixed()
    assert 60 < sum(one.kind == "hostile" for one in mixed()) < 140


@pytest.mark.parametrize(
    ("got", "ended", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", False, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", False, b"abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", False, b"a"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", False, None),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", False, b"abcde"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False, b""),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", False, None),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", True, b"until the end"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", True, None),
    ],
)
def test_an_answer_is_read_when_it_is_whole(got: bytes, ended: bool, body: bytes | None) -> None:
    answer = read_answer(got, ended=ended)
    assert (answer.body if answer else None) == body


# ── the judges ──────────────────────────────────────────────────────────────────────────────────────────────────

FIELD = {"column": "age", "row": 0, "expected": "an integer", "got": "a text", "message": "The column 'age' …"}


def refused(body: object, kind: str = "application/json") -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(422, {"content-type": kind}, raw)


def error(**changes: object) -> dict[str, object]:
    return {"error": {"code": "schema", "message": "The rows do not fit.", "fields": [FIELD], **changes}}


def test_a_well_made_refusal_has_no_fault() -> None:
    assert faults_of(refused(error())) == []
    assert faults_of(refused(error(fields=[{"message": "The body …"}]), "application/json; charset=utf-8")) == []


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (refused(error(), "text/plain"), "the content type is 'text/plain'"),
        (refused(b"Bad Request"), "the body is not JSON"),
        (refused(b'{"error": NaN}'), "the body is not JSON"),
        (refused({"detail": "bad"}), "the body is not one object 'error'"),
        (refused(error(code=400)), "error.code is not a text"),
        (refused(error(message=" ")), "error.message is not a text"),
        (refused(error(fields=None)), "error.fields is not a list"),
        (refused(error(input=1)), "error.input is not expected"),
        (refused(error(fields=["age"])), "a field is not an object"),
        (refused(error(fields=[{**FIELD, "message": None}])), "a field has no message"),
        (refused(error(fields=[{**FIELD, "row": "0"}])), "a field's row is not of type int"),
        (refused(error(fields=[{**FIELD, "value": "a"}])), "a field's value is not expected"),
    ],
)
def test_a_fault_of_form_is_named(answer: Answer, fault: str) -> None:
    assert faults_of(answer) == [fault]


@pytest.mark.parametrize(
    ("message", "leak"),
    [
        (f"Got {MARKER}.", "a marked text"),
        (f"Got {DIGITS}.5", "a marked number"),
        ("Traceback (most recent call last)", "a traceback"),
        (f"in {Path(__file__).parents[1]}/sdk", "a path of this checkout"),
        ("in site-packages", "a path of a library"),
        ('File "app.py", line 3', "a path of a module"),
    ],
)
def test_what_is_given_away_is_named(message: str, leak: str) -> None:
    assert faults_of(refused(error(message=message))) == [f"it gives away {leak}"]


def test_a_leak_in_escapes_or_headers_is_found() -> None:
    escaped = MARKER.replace("s", r"\u0073").encode()
    assert leaks_of(refused(b'{"error": "' + escaped + b'"}')) == ["it gives away a marked text"]
    assert leaks_of(Answer(400, {"x-unit": MARKER}, b"")) == ["it gives away a marked text"]


def test_a_parser_may_refuse_without_json_but_may_not_leak() -> None:
    request = ask("/predict", 400, kind="header bytes")
    assert judge(request, Answer(400, {"content-type": "text/plain"}, b"Invalid HTTP request received.")) == []
    assert judge(request, Answer(400, {}, MARKER.encode())) == ["it gives away a marked text"]
    assert judge(ask("/predict"), Answer(200, {}, MARKER.encode())) == []


def test_a_listener_counts_every_call_and_none_is_quiet() -> None:
    with listener() as quiet, listener() as calls:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", calls.port), timeout=120) as caller:
                assert caller.recv(1) == b""
        assert calls.connections == 5
    assert (quiet.connections, calls.connections) == (0, 5)
