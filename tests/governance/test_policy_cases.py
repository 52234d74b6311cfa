"""Cases: what a policy file says that its policies decide."""

from typing import Any

import pytest

from freehold.errors import ConfigError
from freehold.governance.policy import PolicySet
from freehold.governance.policy_cases import CaseResult, require_cases, run_cases
from freehold.types.deployment import DeploymentSettings
from freehold.types.policy import CaseSettings
from tests.governance.policies import policy

POLICIES = PolicySet(
    [
        policy("eu-only", applies_to={"projects": ["proj-eu"]}, zones=["eu"]),
        policy("no-large", models={"deny": ["*-70b"]}),
        policy("short", applies_to={"members": ["user-1"]}, ceilings={"max_tokens": 10}),
    ]
)
DEPLOYMENTS = [
    DeploymentSettings(name="chat", model="llama-8b", engine="echo", zone="eu", aliases=["gpt-4o"]),
    DeploymentSettings(name="large", model="llama-70b", engine="echo"),
]


def run(expect: str = "allow", reason: str = "", **request: Any) -> CaseResult:
    """The result of one case."""
    case = CaseSettings.model_validate({"name": "c", "request": request, "expect": expect, "reason": reason})
    (result,) = run_cases(POLICIES, [case], DEPLOYMENTS)
    return result


def test_a_case_passes_if_the_decision_is_the_expected_one() -> None:
    """A case passes with the expected decision, and with its reason in the decision's."""
    assert run("allow", deployment="chat").passed
    assert not run("deny", deployment="chat").passed
    assert run("deny", "rule 'models.deny'", deployment="large").passed
    assert not run("deny", "another reason", deployment="large").passed


def test_a_deployment_of_the_file_tells_its_model_and_zone() -> None:
    """What a case leaves out of a deployment comes from the file, also by an alias; the case's own goes before."""
    assert run("allow", deployment="gpt-4o", project="proj-eu").passed
    assert run("deny", "eu-only", deployment="gpt-4o", project="proj-eu", zone="us").passed
    assert run("deny", "eu-only", deployment="large", project="proj-eu", model="small").passed


def test_what_nobody_tells_is_denied_and_said() -> None:
    """A case about a deployment that nobody knows is denied where a rule needs its model, and the reason says why."""
    result = run("deny", "what the rule needs is not known", deployment="other")
    assert result.passed
    assert run("allow", deployment="other", model="small").passed


def test_a_case_without_a_member_is_about_nobody_in_particular() -> None:
    """A policy for one user does not apply to a case that names none."""
    assert run("allow", deployment="chat", parameters={"max_tokens": 20}).passed
    assert run("deny", "ceilings.max_tokens", deployment="chat", member="user-1", parameters={"max_tokens": 20}).passed


def test_the_first_case_that_fails_is_named() -> None:
    """What is to pass and does not is an error with the place, the name and both decisions."""
    results = [run("allow", deployment="chat"), run("allow", deployment="large")]
    with pytest.raises(ConfigError, match=r"case\[1\]: the case 'c' expects 'allow'; the decision is 'deny'") as caught:
        require_cases(results)
    assert caught.value.code == "policy_case_failed"
    require_cases(results[:1])
