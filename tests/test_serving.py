"""What a service refuses before it starts: a contract, a store or a spec that is not what was written."""

import asyncio
import json
import re
from contextlib import closing
from types import SimpleNamespace

import pytest
import uvicorn.config
from uvicorn.server import ServerState

import ekiben as ek
from ekiben import storing, wire
from ekiben.errors import NotFoundError, SpecError
from ekiben.serving import Front, ModelService, ServiceError, _tracers, config, front, read_spec


@pytest.fixture
def folder(champion, challenger, tmp_path):
    arms = {"champion": champion, "challenger": challenger}
    return ek.scaffold(tmp_path / "risk", arms=arms, route=ek.split(champion=1, challenger=1), remake="make models")


def read(folder):
    return read_spec(str(folder / "service.py"))


def rewrite(folder, change):
    path = folder / "contract.json"
    document = json.loads(path.read_text())
    change(document["pins"])
    path.write_text(json.dumps(document))


def test_a_folder_as_it_was_written_is_read(folder):
    assert read(folder).name == "risk"
    assert config(read(folder))["threads"] == 4


@pytest.mark.parametrize("parts", [("tag",), ("digest",), ("tag", "digest")])
def test_an_arm_that_is_pinned_to_another_package_is_refused(folder, parts):
    def swap(pins):
        pins["champion"] |= {part: pins["challenger"][part] for part in parts}

    rewrite(folder, swap)
    with pytest.raises(ServiceError, match="must name one package for an arm"):
        read(folder)


def test_an_arm_of_the_contract_alone_is_refused(folder):
    rewrite(folder, lambda pins: pins.update(third=pins["champion"]))
    with pytest.raises(ServiceError, match=re.escape("The arms ['third'] are in the contract alone")):
        read(folder)


def test_a_changed_byte_in_the_store_is_refused_by_name_and_pinning_mends_it(folder, champion):
    tag = storing.tag_of(champion.name, champion.digest)
    stored = storing.get(tag).folder / "examples.json"
    kept = stored.read_bytes()
    try:
        stored.write_bytes(kept.replace(b"row", b"raw", 1))
        with pytest.raises(ServiceError, match=r"examples\.json was changed"):
            read(folder)
        storing.put(champion)
        assert read(folder).name == "risk"
    finally:
        storing.put(champion)


def test_a_link_in_a_package_is_refused(champion, tmp_path):
    copy = champion.save(tmp_path / "copy")
    (copy / "examples.json").rename(tmp_path / "elsewhere.json")
    (copy / "examples.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ek.EkibenError, match=r"examples\.json is a link"):
        ek.load(copy)


def test_a_hook_that_is_misspelt_is_refused_and_another_method_is_not(folder):
    class Named(ModelService, spec=read(folder)):
        def preprocess(self, frame):
            return self.in_months(frame)

        def in_months(self, frame):
            return frame

    with pytest.raises(ServiceError, match=r"Got 'preproces'\. Did you mean 'preprocess'\?"):

        class Misspelt(ModelService, spec=read(folder)):
            def preproces(self, frame):
                return frame


def test_a_tag_that_is_no_bento_is_not_taken_for_a_module_which_would_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.py").write_text("open('ran', 'w').close()")
    with pytest.raises(NotFoundError, match=r"No bento 'notes:final'\. Known: none\. To build one, run: ekiben build"):
        ek.serve("notes:final")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("port", ["3000", 70_000, -1, True])
def test_a_port_that_is_none_is_refused(folder, port):
    with pytest.raises(SpecError, match="must be a whole number from 1 to 65,535"):
        ek.serve(folder, port=port)


def test_a_folder_for_a_tag_is_told_to_be_built(folder):
    with pytest.raises(NotFoundError, match=re.escape(f"To build one, run: ekiben build {folder}")):
        storing.known_bento(str(folder))


# ── the front before BentoML


class Outer:
    """A middleware as an author of a service writes it."""

    def __init__(self, app, name="outer"):
        self.app, self.name = app, name

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)


@pytest.fixture
def service():
    """Make a service of BentoML's own."""
    import bentoml

    @bentoml.service(name="plain")
    class Plain:
        @bentoml.api
        def echo(self, text: str) -> str:
            return text

    return Plain


def test_a_service_of_this_bentoml_is_made_as_the_front_knows_it(service, caplog):
    """When this fails, BentoML's internals have moved: see docs/decisions/0011, and `serving.front`."""
    kind = type(service)
    assert front(service) is service
    assert not caplog.records
    assert isinstance(service, kind)
    assert (kind.__name__, service.name, list(service.apis)) == ("Service", "plain", ["echo"])
    app = service.to_asgi()
    assert type(app) is Front
    assert {route.path for route in app.app.routes} >= {"/readyz", "/livez", "/metrics", "/echo"}


def test_the_front_is_put_in_front_once(service):
    front(front(service))
    app = service.to_asgi()
    assert type(app) is Front
    assert type(app.app) is not Front


@pytest.fixture
def protocol(monkeypatch):
    """Give what a server takes that is told nothing of protocols."""
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", wire.AUTO)
    return lambda: uvicorn.config.HTTP_PROTOCOLS["auto"]


def test_the_worker_s_server_asks_the_front_at_once(service, protocol):
    front(service).to_asgi()
    assert protocol() == "ekiben.wire:Wire"


def test_a_server_does_not_pass_an_author_s_middleware_by(service, protocol):
    service.add_asgi_middleware(Outer, name="guard")
    config = uvicorn.Config(front(service).to_asgi(), log_config=None)
    config.load()
    assert protocol() == "ekiben.wire:Wire"  # whose limits hold all the same
    with closing(asyncio.new_event_loop()) as loop:
        assert config.http_protocol_class(config, ServerState(), {}, loop)._front is None


def test_an_author_s_middlewares_stand_before_the_front_the_first_outermost(service):
    service.add_asgi_middleware(Outer, name="first")
    front(service)
    service.add_asgi_middleware(Outer, name="second")
    app = service.to_asgi()
    assert [app.name, app.app.name, type(app.app.app)] == ["first", "second", Front]
    assert Outer not in [middleware.cls for middleware in app.app.app.app.user_middleware]
    assert len(service.middlewares) == 2


class Unknown:
    """A service of a BentoML that is not known."""

    def __init__(self):
        self.middlewares = []

    def add_asgi_middleware(self, middleware, **options):
        self.middlewares.append((middleware, options))


class OfAnotherSignature(Unknown):
    def to_asgi(self, is_main=True, more=None):
        return "app"


class OfAnotherLayout(Unknown):
    __slots__ = ("more",)

    def __init__(self):
        self.middlewares = ()

    def add_asgi_middleware(self, middleware, **options):
        self.middlewares = (*self.middlewares, (middleware, options))

    def to_asgi(self, is_main=True):
        return "app"


@pytest.mark.parametrize("kind", [Unknown, OfAnotherSignature, OfAnotherLayout])
def test_in_a_bentoml_that_is_not_known_the_front_is_a_middleware_and_says_so_once(kind, caplog):
    service = front(kind())
    assert [*service.middlewares] == [(Front, {})]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the front stands behind BentoML's own middlewares" in caplog.text


def test_what_is_told_by_the_front_is_not_told_by_bentoml_too_which_writes_paths_as_they_came(folder):
    assert config(read(folder))["logging"]["access"] == {"enabled": False}


def test_the_port_that_vertex_names_is_taken_beside_what_the_author_says_of_http(folder, monkeypatch):
    import bentoml

    monkeypatch.setenv("AIP_HTTP_PORT", "8123")

    @bentoml.service(name="plain", **config(read(folder)), http={"cors": {"enabled": True}})
    class Plain:
        pass

    assert front(Plain).config["http"] == {"cors": {"enabled": True}, "port": 8123}


def test_bentoml_s_tracing_is_told_to_the_front_only_where_it_exports(monkeypatch):
    """When this fails, BentoML's internals have moved: spans then come from OpenTelemetry's global provider alone."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    assert _tracers() is None
    settings = {**BentoMLContainer.tracing.get(), "sample_rate": 1.0, "exporter_type": "otlp"}
    monkeypatch.setattr(BentoMLContainer, "tracing", SimpleNamespace(get=lambda: settings))
    monkeypatch.setattr(BentoMLContainer, "tracer_provider", SimpleNamespace(get=lambda: "a provider"))
    assert _tracers() == "a provider"
