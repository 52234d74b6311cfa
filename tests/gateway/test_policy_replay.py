"""What a replay of policies tells of the past, and what it does not."""

from pathlib import Path
from typing import Any

import pytest

from freehold.gateway.policy_replay import EXAMPLES, Marks
from tests.gateway.past import Past
from tests.governance.policies import policy

EU = policy("eu", zones=["eu"])


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path)


def test_what_a_policy_denies_is_counted_by_reason_and_by_whose_it_is(past: Past) -> None:
    """Denied requests stand under reason, key, project and deployment, the first few by name; the others are served."""
    for number in range(EXAMPLES + 2):
        past.request(f"abroad-{number}", number, zone="us", key_id="key-a")
    past.request("home", 10, zone="eu")
    past.request("nowhere", 11, deployment="other")
    found = past.replay(EU)
    assert (found.served.total, found.refused.total) == (9, 8)
    reason = "policy 'eu', rule 'zones': the deployment 'chat' is not in an allowed zone"
    assert found.refused.reasons[reason] == 7
    assert found.refused.examples[reason] == [f"abroad-{number}" for number in range(EXAMPLES)]
    assert dict(found.refused.keys) == {"key-a": 7, "key": 1}
    assert dict(found.refused.deployments) == {"chat": 7, "other": 1}
    assert found.undetermined.total == 0


def test_only_the_stretch_of_time_that_is_asked_for_counts(past: Past) -> None:
    """A request belongs to the moment at which it came, the end left out."""
    for name, at_s in (("before", -1), ("first", 0), ("last", 9), ("after", 10)):
        past.request(name, at_s, zone="us")
    found = past.replay(EU, since_s=0, until_s=10)
    assert [name for names in found.refused.examples.values() for name in names] == ["first", "last"]


def test_ceilings_are_held_against_what_was_asked_for(past: Past) -> None:
    """More than a ceiling is refused or, where the policy clamps, cut; requests of different size count together."""
    for number, most in enumerate((5, 11, 20)):
        past.request(f"r{number}", number, parameters={"messages": 1, "max_tokens": most})
    refusing = past.replay(policy("p", ceilings={"max_tokens": 10}))
    assert dict(refusing.refused.reasons) == {"policy 'p', rule 'ceilings.max_tokens'": 2}
    cutting = past.replay(policy("p", ceilings={"max_tokens": 10}, on_exceed="clamp"))
    assert (cutting.refused.total, cutting.clamped.total) == (0, 2)
    assert dict(cutting.clamped.reasons) == {"'max_tokens' is cut to 10": 2}


def test_what_was_cut_then_is_not_told_as_new(past: Past) -> None:
    """A request that a policy cut then, and would cut again, is no change."""
    decision = {"allowed": True, "policies": ["p"], "clamped": {"max_tokens": 10}}
    past.request("cut", 0, parameters={"max_tokens": 20}, decision=decision)
    assert past.replay(policy("p", ceilings={"max_tokens": 10}, on_exceed="clamp")).clamped.total == 0


@pytest.mark.parametrize(
    ("settings", "older"),
    [
        ({"applies_to": {"roles": ["owner"]}, "deployments": {"deny": ["chat"]}}, {"roles": None}),
        ({"applies_to": {"members": ["user-*"]}, "deployments": {"deny": ["chat"]}}, {"roles": None}),
        ({"zones": ["eu"]}, {"roles": None}),
        ({"models": {"allow": ["small"]}}, {"model": None}),
        ({"ceilings": {"max_tokens": 10}}, {"parameters": None}),
    ],
)
def test_what_a_receipt_does_not_tell_is_not_guessed(past: Past, settings: Any, older: Any) -> None:
    """A receipt without the fact that a policy needs is undetermined: neither refused nor let through."""
    past.request("old", 0, **older)
    past.request("other", 1, deployment="embed", model="small", zone="eu", key_id="key-b")
    found = past.replay(policy("p", **settings))
    assert (found.served.total, found.refused.total, found.undetermined.total) == (2, 0, 1)
    assert [*found.undetermined.examples.values()] == [["old"]]
    assert "known" in next(iter(found.undetermined.reasons))


def test_a_receipt_without_zone_is_of_a_deployment_without_one(past: Past) -> None:
    """Receipts with roles would tell a zone if there was one, so they are denied where one is required."""
    past.request("new", 0)
    assert past.replay(EU).refused.total == 1


def test_a_request_that_spilled_over_must_be_allowed_at_both_ends(past: Past) -> None:
    """The deployment that served and the one that the caller named are both held against the policies."""
    past.request("spilled", 0, deployment="spare", requested="chat")
    for denied in ("chat", "spare"):
        assert past.replay(policy("p", deployments={"deny": [denied]})).refused.total == 1
    assert past.replay(policy("p", deployments={"deny": ["other"]})).refused.total == 0


def test_what_was_refused_then_is_told_apart(past: Past) -> None:
    """Refused requests are counted by code; those that a policy denied and these would allow are named."""
    refused: dict[str, Any] = {"admitted": False, "outcome": "refused", "cost": 0, "deployment": None, "model": None}
    past.request("denied", 0, **refused, error_code="policy_denied", requested="chat")
    past.request("limited", 1, **refused, error_code="rate_limit_exceeded", requested="chat")
    past.request("elsewhere", 2, **refused, error_code="invalid_api_key", requested=None)
    found = past.replay(policy("p", deployments={"allow": ["chat"]}))
    assert (found.served.total, dict(found.refused_then)) == (0, {"policy_denied": 1, "rate_limit_exceeded": 1})
    assert found.allowed.examples == {"allowed by the policies": ["denied"]}
    assert past.replay(policy("p", deployments={"deny": ["chat"]})).allowed.total == 0


def test_segments_before_the_stretch_are_not_read(past: Past) -> None:
    """Reading begins with the last segment that can matter: a broken line in an older one is not met."""
    for number in range(600):
        past.request(f"old-{number}", -9000 + number)
    past.request("new", 0, zone="us")
    (folder,) = past.write()
    first = folder / "00000001.jsonl"
    assert (folder / "00000002.jsonl").exists()
    head, _, rest = first.read_bytes().partition(b"\n")
    first.write_bytes(head + b"\nbroken\n" + rest)
    assert past.replay(EU).refused.total == 1


def test_marks_are_kept_by_writer_and_number() -> None:
    """A mark is found again under its writer and number, and nowhere else."""
    marks = Marks()
    for seq in (1, 8, 32_767, 32_768, 10**9):
        marks.add("main", seq)
        assert marks.has("main", seq)
    assert not any(marks.has("main", seq) for seq in (0, 2, 7, 9, 32_766, 32_769, 10**9 + 1))
    assert not marks.has("other", 1)
