"""The service that explains by alibi, as an image of its own beside the one that answers; with `pytest -m long`."""

import re

import pytest

import ekiben as ek
from ekiben import building, locking, spec
from ekiben.client import Client
from ekiben.containers.containerizing import containerize
from ekiben.containers.trying import running_image
from ekiben.errors import RequestError
from ekiben.explaining import wishes

pytestmark = pytest.mark.long
METHOD = "anchor-alibi"


@pytest.fixture(scope="module")
def second(engine, credit_packages, tmp_path_factory):
    """An image of the same arms, which explains by alibi as well."""
    folder = tmp_path_factory.mktemp("second") / "credit_risk_alibi"
    route = ek.canary(stable="champion", canary="challenger", percent=30)
    ek.scaffold(folder, arms=credit_packages, route=route, unit="customer_id", explain=spec.Explain(methods=(METHOD,)))
    locking.write_hashed(folder)
    name = "localhost/ekiben-test:alibi"
    accounts = ek.Accounts(beside=folder.parent)
    yield containerize(building._build_in_child(folder), image=name, base="debian", accounts=accounts, progress=print)
    engine.call("rmi", "-f", name, check=False)


def test_the_service_that_explains_is_an_image_that_was_proved(second, python_of):
    print(second)
    assert second.is_proved
    assert python_of(second.ref, "import importlib.metadata as m; print(m.version('alibi'))") == "0.9.4"


def test_who_asks_the_first_image_for_alibi_is_told_of_the_second_which_explains(
    second, image, engine, credit_packages, python_of
):
    assert python_of(image.ref, "import importlib.util as u; print(u.find_spec('alibi'))") == "None"
    rows = credit_packages["champion"].example_frame.head(1)
    with (
        running_image(engine, second.ref) as explainer,
        running_image(engine, image.ref, environment={wishes.ELSEWHERE: explainer.url}) as answering,
        Client(explainer.url, timeout_s=300) as other,
        Client(answering.url, timeout_s=300) as client,
    ):
        explainer.wait()
        answering.wait()
        whole = rows.assign(customer_id="c-1")
        with pytest.raises(RequestError, match=re.escape(f"asked at {explainer.url}.")) as refused:
            client.explain(whole, method=METHOD)
        assert refused.value.status < 500
        (rule,) = other.explain(whole, method=METHOD)
        assert rule.method == METHOD
        assert client.predict(whole).equals(other.predict(whole))
