"""What tests share: the profile of hypothesis, and a tracking store with nothing in it."""

import hypothesis
import pytest

hypothesis.settings.register_profile("ekiben", deadline=None, max_examples=50, print_blob=True)
hypothesis.settings.load_profile("ekiben")


@pytest.fixture
def tracking_uri(tmp_path, monkeypatch):
    """Give a test its own, empty MLflow store; without it, the tests of one worker share one."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(tmp_path / "mlartifacts"))
    return uri
