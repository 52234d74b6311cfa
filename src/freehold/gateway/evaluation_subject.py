"""What a run of an evaluation is about: the model whose result it is, and how that is asked."""

from freehold.catalog.deployments import Deployment
from freehold.governance.authorization import decide
from freehold.types.evaluations import JsonlSource, RunRequest
from freehold.types.identity import Action, Principal


def model_of(request: RunRequest) -> str:
    """The model that a run is about: that which it asks or, where it brings answers, that which its metadata names."""
    source = request.data_source
    return (request.metadata or {}).get("model", "") if isinstance(source, JsonlSource) else source.model or ""


def counted_model(principal: Principal, request: RunRequest, subject: Deployment | None) -> str:
    """The catalog's model for which a run counts where a deployment is to change to it; empty if for none.

    Nobody can know whose answers are brought. They count only where they are brought by somebody who may change
    deployments, and so could lift the condition itself.

    Args:
        principal: who makes the run.
        request: the run.
        subject: the deployment that it asks or, where it brings answers, names.
    """
    source = request.data_source
    if isinstance(source, JsonlSource):
        counts = decide(principal, Action.WRITE_DEPLOYMENTS, "deployments").allowed
    else:
        counts = source.model is not None
    return subject.settings.model if counts and subject is not None else ""


def defaults_of(subject: Deployment | None) -> dict[str, float]:
    """How a deployment samples where nothing else is said."""
    if subject is None:
        return {}
    said = subject.settings.defaults
    return {
        "temperature": 1.0 if said.temperature is None else said.temperature,
        "top_p": 1.0 if said.top_p is None else said.top_p,
        "max_completion_tokens": said.max_tokens or subject.settings.context_length or 0,
    }
