"""Keys: who may ask what, and that nothing else is let in."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from ekiben import keys
from ekiben.errors import SpecError
from ekiben.front import Front
from ekiben.keys import Key, Keys, hashed, make, of_environment, parse
from planes import asked_in, plane_of

PATIENCE = ("read", "explain", "write", "admin")


def bearer(token):
    return f"Bearer {token}".encode()


def test_a_token_is_let_in_for_its_scopes_alone():
    token, lines = make("batch", ["read", "explain"])
    known = Keys(parse(lines))
    assert [known.judge(bearer(token), scope) for scope in PATIENCE] == [None, None, "forbidden", "forbidden"]


@pytest.mark.parametrize(
    "shown",
    [None, b"", b"Bearer", b"Bearer ", b"Basic eDp5", b"bearer wrong", b"Bearer \xff\xfe", b"Bearer " + b"x" * 10_000],
)
def test_whatever_else_is_shown_is_not(shown):
    assert Keys(parse(make("batch", ["read"])[1])).judge(shown, "read") == "unauthorized"


def test_the_scheme_s_letters_may_be_of_any_case():
    token, lines = make("batch", ["read"])
    assert Keys(parse(lines)).judge(f"bearer {token}".encode(), "read") is None


def test_the_hash_is_no_token():
    token, lines = make("batch", ["read"])
    assert Keys(parse(lines)).judge(bearer(hashed(token)), "read") == "unauthorized"


def test_a_key_ends():
    token = "t" * 40
    for ends, expected in ((timedelta(days=1), None), (timedelta(seconds=-1), "unauthorized")):
        key = Key(name="batch", sha256=hashed(token), scopes=("read",), until=datetime.now(UTC) + ends)
        assert Keys([key]).judge(bearer(token), "read") == expected


def test_tokens_differ_and_are_not_in_the_file():
    made = [make(f"k{n}", ["read"], days=30) for n in range(20)]
    assert len({token for token, _ in made}) == 20
    assert not any(token in lines for token, lines in made)
    assert len(parse("".join(lines for _, lines in made))) == 20


HASH = "0" * 64
BROKEN = {
    "nothing": "",
    "no_toml": "[keys",
    "something_else": "x = 1",
    "no_table": "keys = 3",
    "a_key_is_no_table": "[keys]\nbatch = 1",
    "no_hash": '[keys.batch]\nscopes = ["read"]',
    "a_token_instead": '[keys.batch]\nsha256 = "ek_k3pt-0ut"\nscopes = ["read"]',
    "no_scopes": f'[keys.batch]\nsha256 = "{HASH}"',
    "empty_scopes": f'[keys.batch]\nsha256 = "{HASH}"\nscopes = []',
    "another_scope": f'[keys.batch]\nsha256 = "{HASH}"\nscopes = ["k3pt-0ut"]',
    "a_date_without_an_offset": f'[keys.batch]\nsha256 = "{HASH}"\nscopes = ["read"]\nuntil = 2027-01-01T00:00:00',
    "a_field_too_many": f'[keys.batch]\nsha256 = "{HASH}"\nscopes = ["read"]\nk3pt-0ut = 1',
    "a_bad_name": f'[keys."k3pt-0ut/x"]\nsha256 = "{HASH}"\nscopes = ["read"]',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_broken_keys_are_refused_and_not_repeated(text):
    with pytest.raises(SpecError) as refused:
        parse(text)
    assert "k3pt" not in str(refused.value)
    assert HASH not in str(refused.value)


def test_a_scope_that_is_none_makes_no_key():
    with pytest.raises(SpecError, match="scopes must be some of"):
        make("batch", ["everything"])


def test_a_file_is_read_again_when_it_changes_and_a_broken_one_changes_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(keys, "LOOKED_S", -1)
    (old, first), (new, second) = make("old", ["read"]), make("new", ["read"])
    file = tmp_path / "keys.toml"
    file.write_text(first)
    monkeypatch.setenv(keys.FILE, str(file))
    known = of_environment()
    assert [known.judge(bearer(token), "read") for token in (old, new)] == [None, "unauthorized"]
    file.write_text(first + second)
    assert [known.judge(bearer(token), "read") for token in (old, new)] == [None, None]
    file.write_text("[keys")
    os.utime(file, ns=(1, 1))
    assert [known.judge(bearer(token), "read") for token in (old, new)] == [None, None]
    assert "the keys stay as they were" in caplog.text
    file.write_text(second)
    assert [known.judge(bearer(token), "read") for token in (old, new)] == ["unauthorized", None]


def test_a_file_that_changes_while_it_is_read_first_is_read_again(tmp_path, monkeypatch):
    (old, first), (new, second) = make("old", ["read"]), make("new", ["read"])
    file, read = tmp_path / "keys.toml", keys._read
    file.write_text(first)
    monkeypatch.setenv(keys.FILE, str(file))
    monkeypatch.setattr(keys, "LOOKED_S", -1)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(keys, "_read", lambda file: (read(file), file.write_text(first + second))[0])
        known = of_environment()
    assert [known.judge(bearer(token), "read") for token in (old, new)] == [None, None]


def test_keys_are_added_to_a_file_of_its_owner_s(tmp_path):
    file = tmp_path / "keys.toml"
    tokens = []
    for name in ("shop", "batch"):
        token, lines = make(name, ["read"])
        keys.add(file, lines)
        tokens.append(token)
    known = Keys(parse(file.read_text()))
    assert [known.judge(bearer(token), "read") for token in tokens] == [None, None]
    assert file.stat().st_mode & 0o077 == 0
    before = file.read_text()
    with pytest.raises(SpecError, match=r"keys\.toml has one called 'shop' already"):
        keys.add(file, make("shop", ["read"])[1])
    assert file.read_text() == before


def test_whoever_may_read_a_file_of_keys_may_read_it_when_one_was_added(tmp_path, monkeypatch):
    file = tmp_path / "keys.toml"
    keys.add(file, make("shop", ["read"])[1])
    file.chmod(0o640)  # the service is another user of the same group
    owners = []
    monkeypatch.setattr(os, "chown", lambda _file, *ids: owners.append(ids))
    keys.add(file, make("batch", ["read"])[1])
    assert file.stat().st_mode & 0o777 == 0o640
    assert owners == [(file.stat().st_uid, file.stat().st_gid)]


def test_the_environment_names_one_source(tmp_path, monkeypatch):
    token, lines = make("batch", ["read"])
    assert of_environment() is None
    monkeypatch.setenv(keys.TEXT, lines)
    assert of_environment().judge(bearer(token), "read") is None
    monkeypatch.setenv(keys.FILE, str(tmp_path / "nowhere"))
    with pytest.raises(SpecError, match="Both are set"):
        of_environment()
    monkeypatch.delenv(keys.TEXT)
    with pytest.raises(SpecError, match="must be readable"):
        of_environment()


@pytest.mark.parametrize("variable", [keys.TEXT, keys.FILE])
@pytest.mark.parametrize("empty", ["", " \n"])
def test_a_secret_that_was_not_filled_opens_no_door(monkeypatch, variable, empty):
    monkeypatch.setenv(variable, empty)
    with pytest.raises(
        SpecError, match=rf"{variable} must hold keys\. It is set and empty\. .* unset it, or set it to off"
    ):
        of_environment()


def test_a_service_is_open_where_that_is_said(monkeypatch):
    monkeypatch.setenv(keys.TEXT, keys.OFF)
    monkeypatch.setenv(keys.FILE, keys.OFF)
    assert of_environment() is None


# ── at the door ─────────────────────────────────────────────────────────────────────────────────────────────────────

OPEN = ("/livez", "/readyz", "/healthz", "/health", "/ping", "/v2/health/live", "/v2/health/ready")
SHOWN = ("/", "/docs.json", "/schema", "/card", "/routing", "/metrics", "/v2", "/v2/models/risk", "/static_content/x")
ASKED = ("/predict", "/explain", "/invocations", "/v2/models/risk/infer", "/nowhere")


async def behind(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def door(champion, monkeypatch):
    tokens = {name: make(name, [name]) for name in ("read", "explain", "write", "admin")}
    ended = make("ended", ["read", "explain", "write", "admin"], days=-1)
    plane = plane_of({"champion": champion})
    monkeypatch.setattr(Front, "keys", Keys(parse("".join(lines for _, lines in (*tokens.values(), ended)))))

    def knock(method, path, who):
        token = {"ended": ended[0], "wrong": "ek_wrong", **{name: token for name, (token, _) in tokens.items()}}.get(
            who
        )
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        return asked_in(plane, path, b"{}", headers, method=method, app=behind)

    yield knock
    plane.close()


@pytest.mark.parametrize("who", ["nobody", "wrong", "ended", "write", "admin", "explain", "read"])
def test_every_route_lets_in_whom_it_may_and_nobody_else(door, who):
    for method, paths in (("GET", SHOWN), ("POST", ASKED), ("PUT", ("/routing",)), ("POST", OPEN)):
        for path in paths:
            needs = "explain" if path == "/explain" else "read"
            answer = door(method, path, who)
            if who == needs:
                assert answer.status not in (401, 403), (method, path)
                continue
            assert answer.status == (401 if who in ("nobody", "wrong", "ended") else 403), (method, path)
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert all(door("GET", path, who).status == 200 for path in OPEN)
