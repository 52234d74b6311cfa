"""What policies decide: every one that applies must allow, and a denial wins."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.governance.policy import PolicySet
from freehold.types.policy import PolicyDecision, PolicyRequest, PolicySettings
from freehold.types.receipt import Scalar
from tests.governance.policies import REQUEST, asking, parameters, policy, policy_lists, requests


def decide(*policies: PolicySettings, request: PolicyRequest = REQUEST, **asked: Any) -> PolicyDecision:
    """What some policies decide."""
    return PolicySet(policies).decide(request, asked)


def test_without_policies_everything_is_allowed() -> None:
    """No policy applies, and the decision says so."""
    decision = decide()
    assert (decision.allowed, decision.policies, decision.reason) == (True, (), "no policy applies")


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"deployments": {"deny": ["ch?t"]}}, "deployments.deny"),
        ({"deployments": {"allow": ["embed", "paint*"]}}, "deployments.allow"),
        ({"models": {"deny": ["smol*"]}}, "models.deny"),
        ({"models": {"allow": ["llama*"]}}, "models.allow"),
        ({"require_filter": ["strict"]}, "require_filter"),
        ({"zones": ["us"]}, "zones"),
        ({"deployments": {"allow": ["*"], "deny": ["chat"]}}, "deployments.deny"),
    ],
)
def test_a_rule_denies_and_is_named(settings: dict[str, Any], rule: str) -> None:
    """A deployment that a rule does not allow is denied by that policy and that rule."""
    decision = decide(policy(**settings))
    assert (decision.allowed, decision.policies, decision.rule, decision.known) == (False, ("p",), rule, True)


@pytest.mark.parametrize(
    "settings",
    [
        {"deployments": {"allow": ["ch*"], "deny": ["chat-large"]}},
        {"models": {"allow": ["smollm2"]}},
        {"require_filter": ["strict", "default"]},
        {"zones": ["eu", "us"]},
        {"ceilings": {"max_tokens": 10}},
    ],
)
def test_a_rule_allows(settings: dict[str, Any]) -> None:
    """A deployment that fits every rule is allowed, and the policy is named."""
    decision = decide(policy(**settings), max_tokens=10)
    assert (decision.allowed, decision.policies) == (True, ("p",))


def test_names_are_compared_with_their_capitals() -> None:
    """A pattern for `chat` does not mean `Chat`."""
    assert decide(policy(deployments={"deny": ["chat"]}), request=asking(deployment="Chat")).allowed


@pytest.mark.parametrize(
    ("where", "names"), [("zone", {"zones": ["*"]}), ("content_filter", {"require_filter": ["*"]})]
)
def test_what_a_deployment_does_not_have_fits_nothing(where: str, names: dict[str, Any]) -> None:
    """A deployment without a zone or a content filter is denied where any is required, also by a pattern."""
    assert not decide(policy(**names), request=asking(**{where: ""})).allowed


@pytest.mark.parametrize(
    ("applies_to", "applies"),
    [
        ({}, True),
        ({"organizations": ["org-default"]}, True),
        ({"projects": ["proj-b", "proj-?"]}, True),
        ({"projects": ["proj-b"]}, False),
        ({"roles": ["owner", "user"]}, True),
        ({"roles": ["owner"]}, False),
        ({"members": ["user-*"]}, True),
        ({"keys": ["key_2"]}, False),
        ({"deployments": ["chat"]}, True),
        ({"deployments": ["embed"]}, False),
        ({"projects": ["proj-a"], "roles": ["owner"]}, False),
        ({"projects": ["proj-a"], "roles": ["user"]}, True),
    ],
)
def test_a_policy_is_only_for_whom_it_applies_to(applies_to: dict[str, Any], applies: bool) -> None:
    """Of each key that is given one name must fit; a policy that does not apply denies nothing."""
    decision = decide(policy(applies_to=applies_to, deployments={"deny": ["*"]}))
    assert decision.allowed is not applies


def test_a_policy_for_keys_is_not_for_who_signs_in_without_one() -> None:
    """Nobody without a key is meant by a policy for keys, whatever the pattern."""
    assert decide(policy(applies_to={"keys": ["*"]}, deployments={"deny": ["*"]}), request=asking(key="")).allowed


@pytest.mark.parametrize(
    ("name", "most", "asked", "param"),
    [
        ("max_tokens", 10, {"max_tokens": 11}, "max_tokens"),
        ("max_tokens", 10, {"max_completion_tokens": 11, "max_tokens": 1}, "max_completion_tokens"),
        ("n", 2, {"n": 3}, "n"),
        ("images", 2, {"n": 3, "size": "256x256"}, "n"),
        ("temperature", 0.5, {"temperature": "0.51"}, "temperature"),
        ("top_logprobs", 1, {"logprobs": 2}, "top_logprobs"),
        ("size", "512x512", {"size": "1024x257"}, "size"),
        ("size", "512x512", {"size": "auto"}, "size"),
        ("prompt_bytes", 1000, {"prompt_bytes": 1001}, None),
        ("inputs", 1, {"inputs": 2}, "input"),
    ],
)
def test_a_ceiling_is_a_ceiling(name: str, most: Any, asked: dict[str, Any], param: str | None) -> None:
    """More than a ceiling is refused, with the ceiling and the parameter."""
    decision = decide(policy(ceilings={name: most}), **asked)
    assert (decision.allowed, decision.rule, decision.param) == (False, f"ceilings.{name}", param)
    assert f"may be at most {most}" in decision.reason


@pytest.mark.parametrize(
    ("name", "most", "asked"),
    [
        ("max_tokens", 10, {"max_tokens": 10}),
        ("max_tokens", 10, {}),
        ("images", 1, {"n": 3}),
        ("images", 1, {"size": "256x256"}),
        ("temperature", 0.5, {"temperature": "0.5"}),
        ("top_logprobs", 1, {"logprobs": True}),
        ("size", "512x512", {"size": "1024x256"}),
    ],
)
def test_what_is_within_a_ceiling_or_left_out_is_allowed(name: str, most: Any, asked: dict[str, Any]) -> None:
    """As much as the ceiling is allowed, and what is left out is told as a ceiling."""
    decision = decide(policy(ceilings={name: most}), **asked)
    assert (decision.allowed, decision.ceilings) == (True, {name: most})


def test_a_ceiling_clamps_where_the_policy_says_so() -> None:
    """What can be cut is cut to the lowest ceiling; what cannot is refused all the same."""
    low = policy("low", ceilings={"max_tokens": 5, "messages": 2}, on_exceed="clamp")
    high = policy("high", ceilings={"max_tokens": 9}, on_exceed="clamp")
    decision = decide(high, low, max_tokens=20)
    assert (decision.allowed, decision.clamped) == (True, {"max_tokens": 5})
    assert decision.reason == "allowed by policies 'high', 'low'; 'max_tokens' is cut to 5"
    assert decide(high, low, messages=3).rule == "ceilings.messages"


def test_one_policy_that_refuses_goes_before_one_that_clamps() -> None:
    """What is asked for counts, not what another policy would cut it to."""
    clamping = policy("a", ceilings={"max_tokens": 5}, on_exceed="clamp")
    refusing = policy("b", ceilings={"max_tokens": 10})
    assert not decide(clamping, refusing, max_tokens=11).allowed
    assert decide(clamping, refusing, max_tokens=10).clamped == {"max_tokens": 5}


def test_the_digest_names_the_whole_set() -> None:
    """The order does not matter to the digest; a changed rule does."""
    a, b = policy("a", zones=["eu"]), policy("b", zones=["us"])
    assert PolicySet([a, b]).sha256 == PolicySet([b, a]).sha256
    assert PolicySet([a, b]).sha256 != PolicySet([a, policy("b", zones=["eu"])]).sha256


@settings(max_examples=50, deadline=None)
@given(policy_lists(), policy_lists(), requests, parameters)
def test_one_more_policy_never_allows_more(
    first: list[PolicySettings], more: list[PolicySettings], request: PolicyRequest, asked: dict[str, Scalar]
) -> None:
    """What all of some policies allow each part of them allows; and nothing is cut the less, nor bounded higher."""
    second = [replaced.model_copy(update={"name": f"q{i}"}) for i, replaced in enumerate(more)]
    alone, together = PolicySet(first).decide(request, asked), PolicySet([*first, *second]).decide(request, asked)
    assert alone.allowed or not together.allowed
    if together.allowed:
        assert all(together.clamped[name] <= value for name, value in alone.clamped.items())
        assert alone.ceilings.keys() <= together.ceilings.keys()


@settings(max_examples=50, deadline=None)
@given(policy_lists(), requests, parameters)
def test_a_denial_wins(policies: list[PolicySettings], request: PolicyRequest, asked: dict[str, Scalar]) -> None:
    """Whatever else is allowed, a deployment that a policy for everybody denies is closed to everybody."""
    closed = policy("closed", deployments={"allow": ["*"], "deny": [request.deployment]})
    assert not PolicySet([*policies, closed]).decide(request, asked).allowed


@settings(max_examples=50, deadline=None)
@given(policy_lists(), requests, parameters, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(
    policies: list[PolicySettings], request: PolicyRequest, asked: dict[str, Scalar], random: Any
) -> None:
    """Policies decide alike in whatever order they were given, and alike again when asked twice."""
    shuffled = list(policies)
    random.shuffle(shuffled)
    policy_set = PolicySet(shuffled)
    decision = PolicySet(policies).decide(request, asked)
    assert decision == policy_set.decide(request, asked) == policy_set.decide(request, asked)


UNKNOWABLE = ("roles", "model", "zone", "content_filter", "key", "project")


@settings(max_examples=50, deadline=None)
@given(policy_lists(), requests, parameters, st.sets(st.sampled_from(UNKNOWABLE), min_size=1))
def test_what_is_not_known_is_not_guessed(
    policies: list[PolicySettings], request: PolicyRequest, asked: dict[str, Scalar], hidden: set[str]
) -> None:
    """A decision that is made without some facts is the one that is made with them, or says that it is not known."""
    policy_set = PolicySet(policies)
    unknown: dict[str, Any] = dict.fromkeys(hidden)
    partial = replace(request, **unknown)
    guess, fact = policy_set.decide(partial, asked), policy_set.decide(request, asked)
    assert guess.allowed == fact.allowed or not guess.known
    assert guess.known or not guess.allowed


@settings(max_examples=50, deadline=None)
@given(policy_lists())
def test_a_policy_is_read_back_as_it_was_written(policies: list[PolicySettings]) -> None:
    """What is stored and sent of a policy is all of it."""
    assert [PolicySettings.model_validate(policy.wire()) for policy in policies] == policies
