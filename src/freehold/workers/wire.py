"""The values of messages between core and workers, as JSON has them."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

from freehold import errors
from freehold.engines.base import EngineSpec
from freehold.errors import FreeholdError, InternalError
from freehold.serving.choice import Affinity
from freehold.serving.prompt_key import PromptKey
from freehold.serving.status import Lease
from freehold.types.address import Address, TlsAddress
from freehold.types.capacity import Work
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature, Traits
from freehold.types.generation import Usage
from freehold.types.limits import Claim, Scope, Subject

_ERRORS: Final[Mapping[str, type[FreeholdError]]] = {
    name: found for name, found in vars(errors).items() if isinstance(found, type) and issubclass(found, FreeholdError)
}


def wire_of_error(error: FreeholdError) -> list[Any]:
    """An error, with all that it carries."""
    return [type(error).__name__, {name: _plain(value) for name, value in vars(error).items()}]


def error_of(wire: Sequence[Any]) -> FreeholdError:
    """The same error; one that this process does not know is a defect."""
    name, values = wire
    found = _ERRORS.get(name)
    if found is None:
        return InternalError("The server had an error while processing your request.")
    error = found.__new__(found, values["message"])
    vars(error).update(values)
    return error


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def wire_of_claim(claim: Claim) -> list[Any]:
    """A claim; its subjects are pairs of scope and id."""
    subjects = [(subject.scope, subject.id) for subject in claim.subjects]
    work = None if claim.work is None else astuple(claim.work)
    return [subjects, claim.tokens, claim.cost_micro, claim.at, work]


def claim_of(wire: Sequence[Any]) -> Claim:
    """The same claim."""
    subjects, tokens, cost_micro, at, work = wire
    return Claim(
        tuple(Subject(_SCOPES[scope], name) for scope, name in subjects),
        tokens,
        cost_micro,
        at,
        None if work is None else Work(*work),
    )


_SCOPES: Final[Mapping[str, Scope]] = {scope.value: scope for scope in Scope}


def wire_of_traits(traits: Traits) -> dict[str, Any]:
    """What an engine turned out to be."""
    return {
        "features": sorted(traits.features),
        "context_length": traits.context_length,
        "embedding_dimensions": traits.embedding_dimensions,
        "fingerprint": traits.fingerprint,
        "parallel": traits.parallel,
        "template_sha256": traits.template_sha256,
        "sizes": traits.sizes,
    }


def traits_of(wire: Mapping[str, Any]) -> Traits:
    """The same traits."""
    features = frozenset(Feature(name) for name in wire["features"])
    return Traits(**{**wire, "features": features, "sizes": tuple(wire["sizes"])})


def wire_of_affinity(affinity: Affinity | None, *, blocks: bool) -> list[Any] | None:
    """What tells the replica that has a prompt in its cache.

    Args:
        affinity: that.
        blocks: whether the blocks of a prompt matter, because there are several replicas.
    """
    if affinity is None:
        return None
    text = affinity.text if isinstance(affinity, PromptKey) else affinity
    sound = None if text is None else text.encode(errors="replace").decode()
    return [sound, affinity.blocks if blocks else ()] if isinstance(affinity, PromptKey) else [sound]


def affinity_of(wire: Sequence[Any] | None) -> Affinity | None:
    """The same."""
    if wire is None:
        return None
    return PromptKey.known(wire[0], tuple(wire[1])) if len(wire) > 1 else str(wire[0])


def wire_of_engine(lease: Lease) -> dict[str, Any]:
    """All that is needed to make a connection of one's own to the engine of a lease."""
    where = lease.whereabouts
    assert where is not None, "the process that lends has started the engine"
    spec = where.spec
    return {
        "settings": spec.settings.wire(),
        "weights": None if spec.weights is None else str(spec.weights),
        "weights_sha256": spec.weights_sha256,
        "api_key": spec.api_key,
        "adapter": None if spec.adapter is None else str(spec.adapter),
        "address": wire_of_address(where.address),
        "engine": lease.engine,
    }


def wire_of_address(address: Address) -> list[Any]:
    """Where an engine is reached: one value, the path of a Unix socket, or four."""
    if isinstance(address, TlsAddress):
        return [address.host, address.port, address.name, str(address.credentials)]
    return [str(address)]


def address_of(wire: Sequence[Any]) -> Address:
    """The same address."""
    if len(wire) == 1:
        return Path(wire[0])
    host, port, name, credentials = wire
    return TlsAddress(host, port, name, Path(credentials))


def spec_of(wire: Mapping[str, Any]) -> EngineSpec:
    """What an engine was started with."""
    # A canary's candidate has a name that no deployment could be given.
    settings = DeploymentSettings.model_validate({**wire["settings"], "name": "candidate"})
    return EngineSpec(
        settings.model_copy(update={"name": wire["settings"]["name"]}),
        None if wire["weights"] is None else Path(wire["weights"]),
        wire["weights_sha256"],
        wire["api_key"],
        None if wire["adapter"] is None else Path(wire["adapter"]),
    )


def wire_of_usage(usage: Usage | None) -> list[Any] | None:
    """What a call has used, as far as the core wants to know."""
    if usage is None:
        return None
    return [usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.estimated]


def usage_of(wire: Sequence[Any] | None) -> Usage | None:
    """The same usage."""
    return None if wire is None else Usage(wire[0], wire[1], wire[2], estimated=wire[3])
