"""What an image costs, measured: `pytest -m long tests/containers/test_goals.py -s`. Sizes are held, times are shown."""

import itertools
import resource
import time
from dataclasses import replace

import pytest

import ekiben as ek
from ekiben import building, locking, spec
from ekiben.containers import context
from ekiben.containers.containerizing import containerize, local_base

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def heavy(engine, credit_packages, tmp_path_factory):
    """An image whose arms need scikit-learn and XGBoost: another method may be asked for."""
    folder = tmp_path_factory.mktemp("heavy") / "credit_heavy"
    route = ek.split(champion=1, challenger=1)
    ek.scaffold(folder, arms=credit_packages, route=route, unit="id", explain=spec.Explain(methods=("sampling",)))
    locking.write_hashed(folder)
    name = "localhost/ekiben-test:heavy"
    accounts = ek.Accounts(beside=folder.parent)
    yield containerize(building._build_in_child(folder), image=name, base="debian", accounts=accounts, progress=print)
    engine.call("rmi", "-f", name, check=False)


def test_an_image_with_the_libraries_of_its_models_is_a_quarter_of_bentoml_s(heavy):
    print(heavy)
    assert heavy.size_mb <= 335  # BentoML's own of the same bento has 1,340
    assert heavy.ran.memory_mb <= 256


def cpu_s():
    told = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in told)


def test_an_edit_of_the_service_is_a_proved_image_again(engine, service_folder, image, tmp_path):
    service, steps = service_folder / "service.py", []
    name = "localhost/ekiben-test:again"
    for n in range(2):  # the first one fills the caches
        service.write_text(f"{service.read_text()}\n# edited {n}\n")
        tag = building._build_in_child(service_folder)
        steps.clear()
        accounts = ek.Accounts(beside=tmp_path)
        made = containerize(
            tag,
            image=name,
            base="debian",
            accounts=accounts,
            progress=lambda words: steps.append((time.monotonic(), cpu_s(), words)),
        )
        steps.append((time.monotonic(), cpu_s(), ""))
    for (began, used, words), (ended, by_then, _) in itertools.pairwise(steps):
        print(f"{ended - began:6.2f} s {by_then - used:6.2f} s of processors  {words}")
    print(f"{steps[-1][0] - steps[0][0]:6.2f} s {steps[-1][1] - steps[0][1]:6.2f} s of processors  in all")
    engine.call("rmi", "-f", name, check=False)
    assert made.is_proved
    changed = [new for new, old in zip(made.layers, image.layers, strict=True) if new.digest != old.digest]
    assert [layer.holds for layer in changed] == ["code"]
    assert changed[0].n_bytes < 1_000_000


def test_a_build_without_a_cache_and_a_network_is_timed(engine, boxed, image, build_again):
    base = local_base(engine)
    began = time.monotonic()
    told = build_again(replace(boxed, base=base), "localhost/ekiben-test:timed", fresh=True)
    print(f"built from nothing in {time.monotonic() - began:.1f} s")
    assert [layer.digest for layer in told.layers] == [layer.digest for layer in image.layers]


def test_a_context_is_written_from_wheels_alone(tag, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("EKIBEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    began = time.monotonic()
    told = context.write(tag, tmp_path / "context", wheels=[cache / "wheels"])
    print(f"written in {time.monotonic() - began:.1f} s")
    assert len(told.wheels) > 20
