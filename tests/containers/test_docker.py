"""Docker itself, an engine of these tests' own: what is built by it, how it runs, and that its bytes are even."""

import json
import os
import shutil
import tarfile
from dataclasses import replace

import pytest

import dockers
import ekiben as ek
from ekiben.containers import context, engines, even
from ekiben.containers.containerizing import described, local_base

NAME = "localhost/ekiben-test:docker"
pytestmark = pytest.mark.xdist_group("engine")  # beside the tests of podman, which share the bento


@pytest.fixture(scope="module")
def docker(cache, lacking):
    """An engine of Docker that runs containers here."""
    server = dockers.Docker()
    try:
        server.start()
    except OSError as reason:
        lacking(str(reason))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
    server.remove()


@pytest.fixture(scope="module")
def made(docker, tag, tmp_path_factory):
    folder = tmp_path_factory.mktemp("docker")
    accounts = ek.Accounts(beside=folder)
    given = {"image": NAME, "base": "debian", "context": folder / "context", "accounts": accounts}
    return ek.containerize(tag, engine="docker", progress=print, **given), context.read(folder / "context")


@pytest.fixture(scope="module")
def engine_of_docker(docker):
    return engines.find("docker")


def built_again(engine, told, name, **settings):
    engine.build(told.folder, name, epoch=told.epoch, arguments={"BASE": local_base(engine)}, **settings)
    return described(engine, name, told.tag, ran=None)


def test_docker_builds_it_and_its_container_answers_the_same_bits(made):
    image, _ = made
    print(image)
    assert image.is_proved
    assert image.engine.startswith("docker")
    assert sorted(image.ran.exact) == ["challenger", "champion"]
    assert [layer.holds for layer in image.layers] == ["base", "dependencies", "models", "code"]
    assert image.size_mb <= 260
    assert f"sha256:{ek.verify(NAME)}" == image.digest


def test_two_builds_by_docker_have_one_digest(made, engine_of_docker):
    image, told = made
    assert built_again(engine_of_docker, told, "localhost/ekiben-test:again", fresh=True).digest == image.digest


def test_an_edit_of_the_service_is_the_last_layer_of_docker_alone(made, engine_of_docker, tmp_path):
    image, told = made
    folder = shutil.copytree(told.folder, tmp_path / "edited")
    service = folder / "bento" / "src" / "service.py"
    service.write_text(service.read_text() + "\n# edited\n")
    edited = built_again(engine_of_docker, replace(told, folder=folder), "localhost/ekiben-test:edited")
    changed = [new.holds for new, old in zip(edited.layers, image.layers, strict=True) if new.digest != old.digest]
    assert changed == ["code"]


@pytest.mark.long
def test_without_buildkit_the_layers_are_the_same(made, docker, engine_of_docker):
    image, told = made
    if not docker.has_buildkit():
        pytest.skip("the docker here has no BuildKit: every test above was without")
    plain = replace(engine_of_docker, environment=engines.NO_BUILDKIT, mounts=False)
    again = built_again(plain, told, "localhost/ekiben-test:plain", fresh=True)
    assert [layer.digest for layer in again.layers] == [layer.digest for layer in image.layers]


def test_an_image_with_the_times_of_a_day_becomes_even(tmp_path):
    made = []
    for day in (1, 2):
        place = tmp_path / str(day)
        place.mkdir()
        with tarfile.open(place / "layer.tar", "w") as layer:
            (place / "file").write_text("same")
            os.utime(place / "file", (day, day))
            layer.add(place / "file", "file")
        told = {"os": "linux", "config": {}, "created": f"day {day}", "history": [{"created": f"day {day}"}]}
        (place / "config.json").write_text(json.dumps(told))
        (place / "manifest.json").write_text(json.dumps([{"Config": "config.json", "Layers": ["layer.tar"]}]))
        with tarfile.open(place / "saved.tar", "w") as saved:
            for name in ("manifest.json", "config.json", "layer.tar"):
                saved.add(place / name, name)
        even.rewrite(place / "saved.tar", place / "even.tar", "even:1", 0)
        with tarfile.open(place / "even.tar") as written:
            made.append({entry.name: written.extractfile(entry).read() for entry in written})
    assert made[0] == made[1]
