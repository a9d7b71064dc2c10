"""A data plane of real packages in this process, and behind a small HTTP server."""

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from asking import ask
from ekiben import codecs, compatibility, refs, routing, scaffolding
from ekiben.dataplane import DataPlane, Hooks
from ekiben.dialects import Request, refuse
from ekiben.front import Front
from ekiben.pacing import Pace
from ekiben.pinning import Contract
from ekiben.schema import Schema, Signature
from ekiben.spec import Limits, ServiceSpec, parse_unit

PATIENCE_S = 120


def plane_of(arms, *, hooks=None, paces=None, unit="customer_id", route=None, **settings):
    """Make a data plane of packages, the first of which promises the contract; what it observed is in `seen`."""
    described = ServiceSpec(
        name="risk",
        arms={arm: package.ref for arm, package in arms.items()},
        route=route or routing.only(next(iter(arms))),
        unit=parse_unit(unit) if unit else None,
        **settings,
    )
    first, *others = arms.values()
    signature = first.signature
    for other in others:
        signature = replace(signature, inputs=compatibility.union(signature.inputs, other.schema))
    row, answer = scaffolding._example(arms, signature.inputs)
    takers = compatibility.takers({arm: package.schema for arm, package in arms.items()})
    promised = Contract(signature=signature, pins={}, row=row, answer=answer, takers=takers)
    seen, unseen = [], []
    plane = DataPlane(
        described,
        promised,
        arms,
        hooks or Hooks(),
        lambda *what: seen.extend((*what[:-1], each) for each in what[-1]),
        "Answers.",
        lambda *what: unseen.append(what),
        paces=paces,
    )
    plane.seen, plane.unseen = seen, unseen
    return plane


def contract_of(columns, outputs, *, unit=None, **limits):
    """Make what a service of one arm promises, without a model behind it."""
    told = ServiceSpec(
        name="risk",
        arms={"champion": refs.parse("models:/risk/1")},
        route=routing.only("champion"),
        unit=parse_unit(unit) if unit else None,
        limits=Limits(**limits),
    )
    task = "classification" if "label" in outputs[0].parts else "regression"
    signature = Signature(inputs=Schema(columns=tuple(columns)), task=task, outputs=tuple(outputs))
    return told, Contract(signature=signature, pins={}, row={}, answer={})


def asked_in(plane, path, body, headers, *, method="POST", app=None):
    """Ask the front of a data plane."""
    before, Front.live = Front.live, plane
    front = Front(app)
    try:
        return asyncio.run(ask(front, method, path, body, headers=headers))
    finally:
        if front._opened is not None:
            front._opened.close()
        Front.live = before


def unplanned(package, **changes):
    """Give a package whose model serves itself, with these changes."""
    made = replace(package, **changes)
    made.__dict__["plan"] = None
    if "manifest" not in changes:
        made.__dict__["is_row_by_row"] = package.is_row_by_row  # as the real one was found, without asking the other
    return made


@contextmanager
def http_server(handler):
    """Serve a handler of requests on any free port of this machine, and give the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Quiet(BaseHTTPRequestHandler):
    """A handler that answers bytes and logs nothing."""

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json", headers=()):
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(body)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length", 0)))


def served(plane):
    """Serve a data plane over HTTP."""
    pages = {"/schema": plane.schema, "/card": plane.card, "/routing": plane.routing}
    acts = {"/predict": plane.predict, "/explain": plane.explain}

    class Handler(Quiet):
        def do_GET(self):
            self.answer(200, codecs.encode(pages[self.path]()))

        def do_POST(self):
            headers = {name.lower(): value for name, value in self.headers.items()}
            cookies = {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
            body = self.body()
            if self.path not in acts:
                found = refuse(404, "not_found", "No such path.")
            else:
                found = acts[self.path](Request(body=body, headers=headers, cookies=cookies))
            self.answer(found.status, found.body, headers=found.headers)

    return http_server(Handler)


class Held:
    """An adapter that counts what it is asked, and answers when it is let go."""

    def __init__(self, adapter, *, held=True, change=lambda answers: answers):
        self.adapter, self.change, self.sizes = adapter, change, []
        self.began, self.go = threading.Event(), threading.Event()
        if not held:
            self.go.set()

    def __getattr__(self, name):
        return getattr(self.adapter, name)

    def answers(self, model, frame):
        self.sizes.append(len(frame))
        self.began.set()
        assert self.go.wait(PATIENCE_S)
        return self.change(self.adapter.answers(model, frame))


def held(package, *, manifest=None, **settings):
    changes = {} if manifest is None else {"manifest": manifest}
    return unplanned(package, adapter=Held(package.adapter, **settings), **changes)


@contextmanager
def let_go(*adapters):
    """Let held models go at the end, whatever happens."""
    try:
        yield
    finally:
        for each in adapters:
            each.go.set()


def slowly(seconds):
    pace = Pace()
    pace.took(seconds, 1)
    return pace
