"""A real service gives a page for one decision: at once, and by a ticket."""

import httpx
import pandas as pd
import pytest

import ekiben as ek
import pages
from traffic.faults import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
PATIENCE_S = 120


def test_a_service_gives_pages_and_a_ticket_is_one_too(challenger, tmp_path):
    folder = ek.scaffold(tmp_path / "risk", arms={"champion": challenger})
    with (
        ek.serve(folder, environment={"EKIBEN_HOME": str(tmp_path / "home")}) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE_S, trust_env=False) as http,
    ):
        row = http.get("/schema").json()["example"]["row"]
        accepts = {"accept": "text/html", "accept-language": "fr"}
        answer = http.post("/explain?wait=60&top=2", json={"rows": [row]}, headers=accepts)
        page = pages.read(answer.text)
        assert (answer.status_code, page.all("html")[0].attributes["lang"]) == (200, "fr")
        assert "le reste" in page.text  # what the columns that were not asked for added
        assert challenger.digest in page.text
        later = http.post("/explain?wait=0", json={"rows": [row]}, headers=accepts)
        assert later.status_code == 202

        def fetched():
            got = http.get(later.headers["location"], headers=accepts)
            return [got] if got.status_code != 202 else []

        (found,) = until(fetched, PATIENCE_S)
        page = pages.read(found.text)
        assert found.headers["content-type"] == "text/html; charset=utf-8"
        assert later.json()["id"] in page.text
        assert not page.all("details")  # a ticket does not keep the row
        assert http.get(later.headers["location"]).json()["explanations"][0]["kind"] == "attribution"
        told = server.explain(pd.DataFrame([row]))
        assert challenger.digest not in told[0].page()  # what nobody told is not shown
        assert str(challenger.ref) in told[0].page()
