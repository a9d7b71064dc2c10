import bentoml
from ekiben.serving import ModelService, config, front, read_spec

SPEC = read_spec(__file__)


@bentoml.service(name=SPEC.name, **config(SPEC))
class CreditRisk(ModelService, spec=SPEC):
    """Answers and explanations of credit_risk."""

    # Override `preprocess`, `postprocess` or `unit_of` here; the rest is in ekiben.toml.


front(CreditRisk)
