"""A real image, built and run: what is in it, what it may do, how it starts and ends."""

import errno
import json
import os
import re
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

import ekiben as ek
from ekiben import pinning, routing, spec
from ekiben.checks import Subject
from ekiben.containers import accounting, context, engines, layouts, probes, saved, trying
from ekiben.containers.containerizing import containerize
from ekiben.containers.trying import running_image
from ekiben.errors import BuildError, IntegrityError, NotFoundError, SpecError
from ekiben.loops import loops
from traffic.faults import until

MOST_MB, MOST_MEMORY_MB = 260, 160
DRAINED_S = 4


def test_an_image_of_plans_is_small_and_answers_the_same_bits(image):
    print(image)
    assert image.is_proved
    assert image.size_mb <= MOST_MB
    assert image.ran.memory_mb <= MOST_MEMORY_MB
    assert sorted(image.ran.exact) == ["challenger", "champion"]
    assert image.ran.n_rows > 20
    assert image.digest.startswith("sha256:")
    assert [layer.holds for layer in image.layers] == ["base", "dependencies", "models", "code"]
    assert "podman" in image.engine or "docker" in image.engine
    assert image.digest in str(image)
    assert image.digest in image._repr_html_()


def test_what_was_forecast_of_each_layer_stands_beside_what_it_holds(image):
    base, *ours = image.layers
    assert base.forecast_bytes is None
    for layer in ours:
        assert layer.n_bytes == pytest.approx(layer.forecast_bytes, rel=0.1, abs=500_000)
        told = f"forecast {layer.forecast_bytes / 1e6:,.1f} MB"
        assert told in str(image)
        assert told in image._repr_html_()


def test_what_no_arm_asks_for_is_left_out(boxed, image, python_of):
    named = {wheel.name for wheel in boxed.wheels}
    absent = {"scikit-learn", "xgboost-cpu", "pandas", "scipy", "skops", "mlflow", "alibi"}
    assert boxed.is_lean
    assert absent & named == set()
    assert {"numpy", "bentoml", "ekiben"} <= named
    assert ("onnxruntime" in named) == (loops is None)  # what answers trees where the compiled loops do not
    asked = (
        "import importlib.util as u; print([m for m in ('sklearn', 'xgboost', 'pandas', 'scipy') if u.find_spec(m)])"
    )
    assert python_of(image.ref, asked) == "[]"


@pytest.mark.skipif(loops is None, reason="the inner loops are not compiled here")
def test_an_image_whose_loops_do_not_load_ends_and_says_why(image, engine, tmp_path):
    other = tmp_path / "loops.so"
    other.write_bytes(probes.program())  # no library
    hidden = {other: "/app/site/ekiben/_loops.abi3.so"}
    with running_image(engine, image.ref, volumes=hidden) as container, pytest.raises(BuildError) as refused:
        container.wait()
    told = " ".join(str(refused.value).split())
    assert "inner loops do not load here (/app/site/ekiben/_loops.abi3.so: " in told
    assert "onnxruntime must be installed" in told


def test_there_is_no_command_in_it_but_python(image, python_of):
    program = (
        "import os; print([os.path.join(f, n) for f in ('/bin', '/sbin', '/usr/bin', '/usr/sbin', '/usr/local/bin')"
        " if os.path.isdir(f) for n in os.listdir(f) if not n.startswith('python')])"
    )
    assert python_of(image.ref, program) == "[]"
    program = "import os; print([n for n in ('/usr/lib/apt', '/usr/lib/dpkg', '/etc/apt', '/usr/share/man') if os.path.exists(n)])"
    assert python_of(image.ref, program) == "[]"


def test_it_runs_as_a_number_without_rights_and_writes_to_tmp_alone(image, python_of):
    program = """
import json, os, shutil, subprocess, sys
told = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
def writes(path):
    try:
        open(path, "w").close()
    except OSError:
        return False
    return True
def runs(path):
    shutil.copyfile(os.path.realpath(sys.executable), path)
    os.chmod(path, 0o755)
    try:
        return subprocess.run([path, "-c", ""]).returncode == 0
    except PermissionError:
        return False
print(json.dumps({
    "uid": os.getuid(), "caps": told["CapEff"], "bounding": told["CapBnd"], "no_new": told["NoNewPrivs"],
    "seccomp": told["Seccomp"], "writes": [p for p in ("/x", "/app/x", "/home/bentoml/bento/x", "/etc/x", "/run/x", "/var/tmp/x", "/tmp/x") if writes(p)],
    "runs": runs("/tmp/program"),
    "odd": [p for f, _, names in os.walk("/usr") for n in names for p in [os.path.join(f, n)]
            if not os.path.islink(p) and os.stat(p).st_mode & 0o6000],
}))
"""
    told = json.loads(python_of(image.ref, program))
    assert told["uid"] == 1034
    assert {told["caps"], told["bounding"]} == {"0000000000000000"}
    assert (told["no_new"], told["seccomp"]) == ("1", "2")
    assert told["writes"] == ["/tmp/x"]
    assert not told["runs"]  # what is written there
    assert told["odd"] == []


def test_two_builds_of_one_bento_have_one_digest(image, base, tag, tmp_path, build_again):
    again = context.write(tag, tmp_path / "context", base="debian")
    accounting.before(again, base, ek.Accounts(), print)
    told = build_again(again, "localhost/ekiben-test:again", fresh=True)
    assert [layer.digest for layer in told.layers] == [layer.digest for layer in image.layers]


def test_an_edit_of_the_service_ships_its_last_layer_alone(image, boxed, tmp_path, build_again):
    folder = shutil.copytree(boxed.folder, tmp_path / "edited")
    service = folder / "bento" / "src" / "service.py"
    service.write_text(service.read_text() + "\n# edited\n")
    began = time.monotonic()
    told = build_again(replace(boxed, folder=folder), "localhost/ekiben-test:edited")
    print(f"built again in {time.monotonic() - began:.1f} s")
    changed = [new for new, old in zip(told.layers, image.layers, strict=True) if new.digest != old.digest]
    assert [layer.holds for layer in changed] == ["code"]
    assert changed[0].n_bytes < 1_000_000


def test_layers_that_were_saved_before_are_not_saved_again_and_are_held_against_their_digests(
    image, engine, tmp_path, monkeypatch
):
    monkeypatch.setenv("EKIBEN_CACHE", str(tmp_path))
    base, dependencies = (layer.digest.removeprefix("sha256:") for layer in image.layers[:2])
    kept = tmp_path / "layers"
    with saved.just_built(engine, image.ref) as first:
        whole = saved.read(first)
    if engine.name != "podman":  # it alone leaves out a layer that is there: of others each is read whole
        assert not kept.exists()
        return
    assert {each.name for each in kept.iterdir()} == {base, dependencies}
    written = {each.name: each.stat().st_ino for each in kept.iterdir()}
    with saved.just_built(engine, image.ref) as again:
        assert saved.read(again).id == whole.id
        assert {name: (again / "blobs" / "sha256" / name).stat().st_ino for name in written} == written
    (kept / base).write_bytes((kept / base).read_bytes()[:-1] + b"\1")
    with pytest.raises(IntegrityError, match=base), saved.just_built(engine, image.ref) as changed:
        saved.read(changed)
    with saved.just_built(engine, image.ref) as cured:
        assert saved.read(cured).id == whole.id


def test_a_container_of_one_processor_has_one_process_though_the_spec_wants_three(image, engine):
    with running_image(engine, image.ref, cpus=1) as container:
        container.wait()
        told = "import os; print(sum(p.isdigit() for p in os.listdir('/proc')) - 1)"
        assert engine.call("exec", container.id, "python3", "-c", told).stdout.strip() == "1"


def test_its_health_check_asks_the_port_that_it_listens_on(image, engine):
    health = ("python3", "-m", "ekiben.starting", "--health")
    with running_image(engine, image.ref) as container:
        assert engine.call("exec", container.id, *health, check=False).returncode == 1  # it is not ready yet
        container.wait()
        assert engine.call("exec", container.id, *health).returncode == 0
        assert engine.call("exec", container.id, *health, "--port", "9", check=False).returncode == 1


def test_its_log_is_json_on_standard_output(image, engine, lines):
    with running_image(engine, image.ref) as container:
        container.wait()
        httpx.get(f"{container.url}/schema")
        httpx.post(f"{container.url}/predict", content=b"no json")
        container.stop()
        logged = engine.call("logs", container.id)
    assert lines(logged.stderr) == []
    told = [json.loads(line) for line in lines(logged.stdout)]
    assert any("not ready any more" in each.get("message", "") for each in told)
    assert {each.get("endpoint") for each in told} >= {"schema", "predict"}


def test_told_to_end_under_load_it_fails_no_request(image, engine, credit_packages):
    row = credit_packages["champion"].examples[0]["row"]
    answers, ready = [], threading.Event()
    ready.set()

    def ask(url):
        with httpx.Client(base_url=url, timeout=120, trust_env=False) as http:
            while ready.is_set():  # as a balancer does: nothing is sent to what is not ready
                try:
                    answers.append(http.post("/predict", json={"rows": [row]}).status_code)
                except httpx.TransportError as reason:
                    answers.append(type(reason).__name__)

    def watch(url):
        with httpx.Client(base_url=url, timeout=120, trust_env=False) as http:
            while http.get("/readyz").status_code == 200:
                time.sleep(0.05)
        ready.clear()

    with running_image(engine, image.ref, environment={"EKIBEN_DRAIN_S": str(DRAINED_S)}) as container:
        container.wait()
        threads = [threading.Thread(target=ask, args=[container.url]) for _ in range(4)]
        threads.append(threading.Thread(target=watch, args=[container.url]))
        for thread in threads:
            thread.start()
        until(lambda: len(answers) > 20)
        seconds, code = container.stop()
        for thread in threads:
            thread.join()
    print(f"ended {seconds:.1f} s after SIGTERM, {len(answers)} answers")
    assert len(answers) > 20
    assert set(answers) == {200}
    assert code == 0  # by itself, and not because the engine's patience was at its end


def hears_of_its_end(engine, container):
    """Tell whether the first process of a container has a handler of SIGTERM."""
    told = engine.call("inspect", "-f", "{{.State.Pid}}", container, check=False).stdout.strip()
    if not told.isdigit() or told == "0":
        return False
    status = Path(f"/proc/{told}/status").read_text()
    caught = int(re.search(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def test_told_to_end_before_it_is_ready_it_ends_at_once(image, engine, linux):
    with running_image(engine, image.ref) as container:  # its end is heard of before any model is read
        until(lambda: hears_of_its_end(engine, container.id))
        _, code = container.stop()
    assert code == 0  # an engine kills what does not end


def test_an_image_that_answers_otherwise_than_its_packages_is_refused(image, engine, boxed, tmp_path):
    folder = shutil.copytree(boxed.folder, tmp_path / "other")
    toml = folder / "bento" / "src" / "ekiben.toml"
    described = spec.read(toml)
    salted = routing.Route(dict(described.route.weights), described.route.shadows, salt="another")
    assert salted != described.route
    toml.write_text(toml.read_text().replace("[route]", '[route]\nsalt = "another"'))
    with pytest.raises(BuildError, match="must answer as its packages do"):
        trying.prove(engine, image.ref, replace(boxed, folder=folder), print)


def test_an_image_that_does_not_start_is_refused_with_its_log(image, engine):
    settings = {"EKIBEN_DRAIN_S": "never"}
    says = pytest.raises(BuildError, match="EKIBEN_DRAIN_S must be a number of seconds")
    with running_image(engine, image.ref, environment=settings) as container, says:
        container.wait()


def test_without_an_engine_an_oci_layout_is_written_that_one_runs(tag, engine, boxed, image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = containerize(tag, image="boxed:1", engine="none")
    assert not made.is_proved
    again = layouts.write(boxed, tmp_path / "again.oci", "boxed:1")
    assert made.digest == again.digest
    (pulled,) = engine.call("pull", "-q", f"oci:{Path(made.ref).resolve()}").stdout.split()
    try:
        assert sorted(trying.prove(engine, pulled, boxed, print).exact) == ["challenger", "champion"]
    finally:
        engine.call("rmi", "-f", pulled, check=False)


def test_buildah_alone_builds_the_layers_of_podman_and_says_that_they_did_not_run(
    tag, engine, image, boxed, tmp_path, monkeypatch, lacking
):
    if shutil.which("buildah") is None or engine.name != "podman":
        lacking("buildah must be installed, and podman be the engine that its layers are held against")
    monkeypatch.chdir(tmp_path)
    made = ek.containerize(tag, image="boxed:buildah", engine="buildah", base="debian")
    assert not made.is_proved
    assert "buildah builds alone" in made.engine
    assert [layer.digest for layer in made.layers] == [layer.digest for layer in image.layers]
    assert [layer.holds for layer in made.layers] == ["base", "dependencies", "models", "code"]
    assert ek.verify(made.ref)


def test_each_method_that_a_spec_names_is_asked_whatever_its_explanation_is_called(credit_packages, tmp_path):
    made = spec.Explain(methods=("sampling",))  # what it gives is called permutation-sampling
    route = ek.split(champion=1, challenger=1)
    folder = ek.scaffold(tmp_path / "named", arms=credit_packages, route=route, unit="customer_id", explain=made)
    told, promised = spec.read(folder), pinning.read(folder)
    with ek.serve(folder) as client:
        for arm, package in credit_packages.items():
            served = Subject(arm=arm, package=package, spec=told, client=client, promised=promised)
            assert trying._explains(served, served.askable.head(1)) == []
            other = replace(served, spec=replace(told, explain=spec.Explain(methods=("counterfactual",))))
            (fault,) = trying._explains(other, served.askable.head(1))
            assert fault.startswith(f"{arm}: it does not explain by counterfactual")


def test_a_full_disk_is_told_with_what_to_do(tag, tmp_path, monkeypatch):
    full = engines.Engine(name=str(tmp_path / "engine"))
    (tmp_path / "engine").write_text("#!/bin/sh\necho 'writing blob: No space left on device' >&2\nexit 125\n")
    (tmp_path / "engine").chmod(0o755)
    with pytest.raises(BuildError, match="The disk where it keeps them is full"):
        full.call("build")

    def write(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "numpy.whl", None, "context/numpy.whl")

    monkeypatch.setattr(context, "write", write)
    with pytest.raises(BuildError, match=r"The disk of context/numpy.whl is full\. .* set TMPDIR and EKIBEN_CACHE"):
        ek.containerize(tag, engine="none")


def test_an_engine_that_nobody_knows_is_refused(tag):
    with pytest.raises(SpecError, match="must be one of docker, podman, nerdctl, buildah, none, stock"):
        ek.containerize(tag, engine="dockr")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"image": "Credit Risk:1"}, "The 'image' must be a name of lower case letters"),
        ({"image": "credit_risk:1:2"}, "Got 'credit_risk:1:2'."),
        ({"accounts": ek.Accounts(key="no/such.pem")}, "The 'key' must be a PEM file. There is none at 'no/such.pem'."),
        ({"accounts": ek.Accounts(key=__file__)}, "The 'key' must be a private elliptic-curve key as PEM."),
        ({"accounts": ek.Accounts(beside="/proc/no")}, "The folder 'beside' must be one that can be written to."),
        (
            {"engine": "stock", "accounts": ek.Accounts(key=__file__), "base": "debian", "lean": False},
            "BentoML's own image takes a bento and a name alone. Leave out base, everything, key.",
        ),
    ],
)
def test_what_would_fail_at_the_end_is_refused_before_anything_is_built(given, says, monkeypatch):
    monkeypatch.setattr(engines, "find", lambda *_: pytest.fail("it looked for an engine"))
    with pytest.raises((SpecError, NotFoundError), match=re.escape(says)):
        ek.containerize("churn:1", **given)


@pytest.mark.parametrize("name", ["churn", "churn:1", "localhost:5000/risk/churn_2-b.c:v1.0", "GHCR.io/acme/churn:1"])
def test_a_name_that_engines_take_is_taken(name):
    with pytest.raises(NotFoundError, match=re.escape("No bento 'nosuch:1'")):
        ek.containerize("nosuch:1", image=name)


@pytest.mark.parametrize("moment", ["yesterday", "-5", "4294967296", "1e9"])
def test_a_time_that_is_none_is_refused(monkeypatch, moment):
    monkeypatch.setenv(context.EPOCH, moment)
    with pytest.raises(SpecError, match=rf"SOURCE_DATE_EPOCH must be whole seconds since 1970.*Got '{moment}'"):
        context.epoch()


def test_an_image_that_was_refused_does_not_stay_under_its_name(engine, tag, tmp_path, monkeypatch):
    def refuse(*_):
        raise BuildError("The image must start. It ended.")

    name = "localhost/ekiben-test:refused"
    monkeypatch.setattr(trying, "prove", refuse)
    with pytest.raises(BuildError, match="must start"):
        ek.containerize(tag, image=name, base="debian", accounts=ek.Accounts(beside=tmp_path))
    assert engine.call("image", "inspect", name, check=False).returncode
    assert [*tmp_path.iterdir()] == []


def test_folders_of_the_code_that_are_called_as_bentoml_s_own_are_in_the_image(tmp_path):
    source = tmp_path / "unpacked"
    for name in ("env", "apis", "src/wheels", "src/env", "src/apis", "src/lib/wheels", "src/lib/__pycache__"):
        (source / name).mkdir(parents=True)
        (source / name / "a.py").write_text("")
    left = {
        f"{at}/{name}".removeprefix("./")
        for at in (".", "src", "src/lib")
        for name in context._not_served(Path(at), [each.name for each in (source / at).iterdir()])
    }
    assert left == {"env", "apis", "src/wheels", "src/lib/__pycache__"}


def test_where_no_engine_is_installed_the_error_says_of_each(tag, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"docker is not installed.*podman is not installed.*nerdctl is not installed"):
        ek.containerize(tag)
