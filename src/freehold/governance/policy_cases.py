"""Whether policies decide what their cases expect."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from freehold.errors import ConfigError
from freehold.governance.policy import PolicySet
from freehold.types.deployment import DeploymentSettings
from freehold.types.policy import CaseRequest, CaseSettings, PolicyDecision, PolicyRequest, Quantities, scalar
from freehold.types.receipt import Scalar


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of a case."""

    case: CaseSettings
    decision: PolicyDecision
    passed: bool

    @property
    def got(self) -> str:
        """The decision in the word of `expect`."""
        return "allow" if self.decision.allowed else "deny"

    @property
    def reason(self) -> str:
        """Why, with the policy and the rule of a denial: what the case's `reason` must be a part of."""
        return told(self.decision)


def run_cases(
    policies: PolicySet, cases: Iterable[CaseSettings], deployments: Iterable[DeploymentSettings]
) -> list[CaseResult]:
    """Decide each case.

    Args:
        policies: that decide.
        cases: what to decide, and what is expected.
        deployments: tell model, zone and content filter where a case does not.
    """
    known = {name: settings for settings in deployments for name in (settings.name, *settings.aliases)}
    return [_run(policies, case, known) for case in cases]


def require_cases(results: Iterable[CaseResult]) -> None:
    """Return if all cases have passed.

    Raises:
        ConfigError: names the first that has not.
    """
    for index, result in enumerate(results):
        if not result.passed:
            wanted = f"'{result.case.expect}'" + (f" and '{result.case.reason}'" if result.case.reason else "")
            raise ConfigError(
                f"case[{index}]: the case '{result.case.name}' expects {wanted}; "
                f"the decision is '{result.got}': {result.reason}",
                param=f"case[{index}]",
                code="policy_case_failed",
            )


def told(decision: PolicyDecision) -> str:
    """A decision's reason, with the policy and the rule of a denial."""
    if decision.allowed:
        return decision.reason
    return f"policy '{decision.policies[0]}', rule '{decision.rule}': {decision.reason}"


def _run(policies: PolicySet, case: CaseSettings, known: Mapping[str, DeploymentSettings]) -> CaseResult:
    decision = policies.decide(_request(case.request, known.get(case.request.deployment)), _parameters(case.request))
    result = CaseResult(case, decision, passed=False)
    passed = result.got == case.expect and case.reason in result.reason
    return CaseResult(case, decision, passed)


def _request(asked: CaseRequest, deployment: DeploymentSettings | None) -> PolicyRequest:
    """Who asks for what; nobody whom a policy could name where a case names no member or key."""
    return PolicyRequest(
        organization=asked.organization,
        project=asked.project,
        roles=frozenset(asked.roles),
        member=asked.member or "",
        key=asked.key or "",
        deployment=deployment.name if deployment else asked.deployment,
        model=asked.model or (deployment.model if deployment else None),
        zone=asked.zone or ((deployment.zone or "") if deployment else None),
        content_filter=asked.content_filter or (deployment.content_filter if deployment else None),
        origin=None if asked.origin is None else asked.origin == "recorded",
    )


def _parameters(asked: CaseRequest) -> dict[str, Scalar]:
    """The parameters as receipts have them."""
    return as_parameters(asked.parameters)


def as_parameters(quantities: Quantities) -> dict[str, Scalar]:
    """Quantities as the parameters of a receipt."""
    return {name: value if isinstance(value, str) else scalar(value) for name, value in quantities.given().items()}
