"""What the policies say to a request: which deployments may serve it, and what of it is cut."""

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Any, TypeVar

from freehold.catalog.deployments import Deployment
from freehold.errors import PolicyDenied
from freehold.gateway.account import Account
from freehold.gateway.versions import Versions
from freehold.governance.policies import PolicyRegistry, policy_request
from freehold.governance.suspensions import Suspensions
from freehold.types.base import RequestModel
from freehold.types.chat import ChatRequest
from freehold.types.completions import CompletionRequest
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Traits
from freehold.types.identity import Principal
from freehold.types.images import ImageRequest, size_pixels
from freehold.types.policy import Number, PolicyDecision, PolicyRequest
from freehold.types.values import value_class

TextRequest = TypeVar("TextRequest", ChatRequest, CompletionRequest)
ImageRequestT = TypeVar("ImageRequestT", bound=ImageRequest)
ServedT = TypeVar("ServedT", bound=RequestModel)


@value_class
class Permit:
    """A request that is allowed.

    Args:
        candidates: the deployments that may serve it, in the order in which they are tried.
        ceilings: the lowest that hold on any of them, by name.
        clamped: what is asked for beyond them, and what it is cut to.
    """

    candidates: list[Deployment]
    ceilings: Mapping[str, Any] = field(default_factory=dict)
    clamped: Mapping[str, Number] = field(default_factory=dict)


class Permits:
    """Asks the policies that are in force, and whether somebody is suspended.

    Args:
        policies: knows the policies.
        suspensions: knows who is suspended.
        versions: knows which models are retired.
    """

    def __init__(self, policies: PolicyRegistry, suspensions: Suspensions, versions: Versions | None = None) -> None:
        self._policies = policies
        self._suspensions = suspensions
        self._versions = versions

    def check_caller(self, principal: Principal, account: Account) -> None:
        """Let a caller pass, with the end user it acts for if that is known already.

        Raises:
            Suspended: one of them is suspended.
        """
        account.refused(self._suspensions.objection(principal, account.end_user))

    def enter(self, principal: Principal, deployment: Deployment, account: Account) -> None:
        """Let a request pass that names a deployment, before anything is done for it, such as loading a model.

        Raises:
            Suspended: the principal, or the end user it acts for, is suspended.
            PolicyDenied: a policy closes the deployment to the principal, whatever is asked of it.
            ModelRetired: its model serves no more.
        """
        self.check_caller(principal, account)
        policies = self._policies.current
        if policies:
            account.policy_sha256 = policies.sha256
            _require(policies.decide(self._request(principal, deployment.settings), {}), account)
        if self._versions is not None:
            self._versions.check(deployment.settings)
            account.retirement = self._versions.retirement(deployment.settings)

    def grant(self, principal: Principal, candidates: list[Deployment], account: Account) -> Permit:
        """Let a request pass whose parameters are known, and note the decision for its receipt.

        Args:
            principal: who asks.
            candidates: the deployment that the caller names, perhaps one that it names for a spillover, then fallbacks.
            account: has the parameters; is told the decision.

        Raises:
            PolicyDenied: a policy does not allow a deployment that the caller names. Fallbacks are only left out.
        """
        policies = self._policies.current
        if not policies:
            return Permit(candidates)
        parameters = {**(account.parameters or {}), "prompt_bytes": account.prompt_bytes}
        account.policy_sha256 = policies.sha256
        named = 1 if account.spill_to is None else 2
        allowed: list[tuple[Deployment, PolicyDecision]] = []
        for position, deployment in enumerate(candidates):
            decision = policies.decide(self._request(principal, deployment.settings), parameters)
            if decision.allowed:
                allowed.append((deployment, decision))
            elif position < named:
                _require(decision, account)
        decisions = [decision for _, decision in allowed]
        account.decision = decisions[0]
        ceilings = _least([decision.ceilings for decision in decisions])
        clamped = _least([decision.clamped for decision in decisions])
        return Permit([deployment for deployment, _ in allowed], ceilings, clamped)

    def narrowed(self, principal: Principal, deployment: Deployment, traits: Traits) -> Traits:
        """What a deployment can do, of the sizes of its pictures only those within the ceiling if there are such."""
        policies = self._policies.current
        if not policies or not traits.sizes:
            return traits
        ceiling = policies.ceilings(self._request(principal, deployment.settings)).get("size")
        fitting = tuple(size for size in traits.sizes if ceiling is None or _measure(size) <= _measure(ceiling))
        return replace(traits, sizes=fitting) if fitting else traits

    def admits(self, principal: Principal, deployment: Deployment) -> bool:
        """Whether a deployment is open to the principal at all, whatever is asked of it, and its model serves."""
        policies = self._policies.current
        if self._versions is not None and not self._versions.serves(deployment.settings):
            return False
        return not policies or policies.admits(self._request(principal, deployment.settings))

    def _request(self, principal: Principal, deployment: DeploymentSettings) -> PolicyRequest:
        """The words of policies for who asks for what."""
        return policy_request(
            organization_id=principal.organization_id,
            project_id=principal.project_id,
            roles=principal.roles,
            member_id=principal.id,
            key_id=principal.key_id,
            deployment=deployment,
            origin=self._policies.has_origin(deployment),
        )


def owns(principal: Principal, deployment: Deployment) -> bool:
    """Whether the deployment is everybody's, or the principal's own project's."""
    return deployment.settings.project in {None, principal.project_id}


def sees(principal: Principal, deployment: Deployment) -> bool:
    """Whether the deployment exists for the principal."""
    return owns(principal, deployment) and principal.reaches(deployment.name, *deployment.settings.aliases)


def _require(decision: PolicyDecision, account: Account) -> None:
    """Return if a request is allowed; else note the decision for its receipt.

    Raises:
        PolicyDenied: it is not.
    """
    if not decision.allowed:
        account.decision = decision
        raise PolicyDenied(
            f"Denied by the policy '{decision.policies[0]}', rule '{decision.rule}': {decision.reason}.",
            param=decision.param,
        )


def bounded_text(request: TextRequest, permit: Permit, deployment: Deployment, account: Account) -> TextRequest:
    """The request within its ceilings, also where it leaves out what would otherwise have a higher default."""
    if not permit.ceilings:
        return request
    clamped = dict(permit.clamped)
    defaults = deployment.settings.defaults
    for name, value, default in (
        ("max_tokens", _completion_limit(request), defaults.max_tokens),
        ("temperature", request.temperature, 1.0 if defaults.temperature is None else defaults.temperature),
        ("top_p", request.top_p, 1.0 if defaults.top_p is None else defaults.top_p),
    ):
        ceiling = permit.ceilings.get(name)
        if ceiling is not None and value is None and (default is None or default > ceiling):
            clamped[name] = ceiling
    update: dict[str, Any] = dict(clamped)
    if isinstance(request, ChatRequest) and "max_tokens" in update:
        update |= {"max_tokens": None, "max_completion_tokens": update["max_tokens"]}
    return _cut(request, clamped, update, account)


def bounded_images(request: ImageRequestT, permit: Permit, account: Account) -> ImageRequestT:
    """The request with as many pictures as it may have."""
    counts = [value for name, value in permit.clamped.items() if name in {"n", "images"}]
    cut: dict[str, Number] = {"n": min(counts)} if counts else {}
    return _cut(request, cut, cut, account)


def as_served(request: ServedT, account: Account) -> ServedT:
    """What the caller sent with as many choices or pictures as it gets, for whoever makes the answer."""
    return request.model_copy(update={"n": account.clamped["n"]}) if "n" in account.clamped else request


def allowed_sizes(sizes: list[tuple[int, int]], permit: Permit) -> list[tuple[int, int]]:
    """Of some sizes those within the ceiling."""
    ceiling = permit.ceilings.get("size")
    if ceiling is None:
        return sizes
    width, height = size_pixels(ceiling)
    return [size for size in sizes if size[0] * size[1] <= width * height]


def _completion_limit(request: ChatRequest | CompletionRequest) -> int | None:
    """The most tokens; a text completion that names none has a small limit of its own."""
    if isinstance(request, ChatRequest):
        return request.completion_limit
    return 16 if request.max_tokens is None else request.max_tokens


def _cut(request: ServedT, clamped: dict[str, Number], update: Mapping[str, Any], account: Account) -> ServedT:
    """The request with other values, of which the receipt and a header tell."""
    if not clamped:
        return request
    account.clamped = clamped
    return request.model_copy(update=update)


def _least(of: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The lowest value of each name."""
    found: dict[str, Any] = {}
    for values in of:
        for name, value in values.items():
            if name not in found or _measure(value) < _measure(found[name]):
                found[name] = value
    return found


def _measure(value: Any) -> Number:
    """What is comparable of a ceiling: the area of a size."""
    if isinstance(value, str):
        width, height = size_pixels(value)
        return width * height
    number: Number = value
    return number
