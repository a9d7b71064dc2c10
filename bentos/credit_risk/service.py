import bentoml
from ekiben.serving import Front, ModelService, config, read_spec

SPEC = read_spec(__file__)


@bentoml.service(name=SPEC.name, **config(SPEC))
class CreditRisk(ModelService, spec=SPEC):
    """Answers and explanations of credit_risk."""

    # Override `preprocess`, `postprocess` or `unit_of` here; the rest is in ekiben.toml.


CreditRisk.add_asgi_middleware(Front)
