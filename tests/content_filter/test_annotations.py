"""Verdicts in the words of receipts, and as Azure writes them."""

from dataclasses import replace

from freehold.content_filter.annotations import annotations
from freehold.content_filter.examination import Examiner
from freehold.content_filter.filter import Filter
from freehold.content_filter.report import Report
from freehold.content_filter.verdicts import clean, total, verdict
from freehold.types.content_filter import (
    Category,
    CategoryRule,
    CategoryRules,
    FilterSettings,
    Findings,
    PersonalDataRules,
    SecretRules,
    Severity,
    Shield,
    Side,
    Span,
)
from freehold.types.verdict import Verdict
from tests.content_filter.filters import filter_of

SETTINGS = FilterSettings(
    name="strict",
    violence=CategoryRules(completion=CategoryRule(action="annotate")),
    self_harm=CategoryRules(prompt=CategoryRule(action="off"), completion=CategoryRule(action="off")),
    indirect_attack="annotate",
    personal_data=PersonalDataRules(prompt="annotate", completion="mask"),
    secrets=SecretRules(prompt="block"),
)
POLICY = filter_of(settings=SETTINGS)
FINDINGS = Findings(
    severities={Category.HATE: Severity.MEDIUM, Category.VIOLENCE: Severity.HIGH, Category.SELF_HARM: Severity.HIGH},
    shields=frozenset({Shield.INDIRECT_ATTACK}),
    spans=(
        Span("blocklist", "fruit", 0, 3),
        Span("blocklist", "other", 4, 6),
        Span("personal_data", "email", 7, 9),
        Span("secret", "github_token", 10, 12),
    ),
)


def of(side: Side, findings: Findings = FINDINGS, policy: Filter = POLICY) -> Verdict:
    """The verdict on findings."""
    return verdict(policy, side, policy.judge(findings, side))


def test_a_verdict_names_what_was_found_and_blocked() -> None:
    """Names are those of receipts; what the policy does not look for is left out."""
    prompt = of(Side.PROMPT)
    assert prompt.found == {
        "hate": "medium",
        "violence": "high",
        "indirect_attack": "detected",
        "blocklist:fruit": "detected",
        "blocklist:other": "detected",
        "personal_data:email": "detected",
        "secret:github_token": "detected",
    }
    assert set(prompt.blocked) == {"hate", "violence", "blocklist:fruit", "secrets"}
    completion = of(Side.COMPLETION)
    assert "indirect_attack" not in completion.found
    assert set(completion.blocked) == {"hate", "blocklist:fruit"}
    assert completion.masked == {"personal_data:email"}


def test_annotations_are_azures() -> None:
    """Severities, shields, lists and personal data stand under Azure's names."""
    assert annotations(of(Side.PROMPT)) == {
        "hate": {"filtered": True, "severity": "medium"},
        "sexual": {"filtered": False, "severity": "safe"},
        "violence": {"filtered": True, "severity": "high"},
        "jailbreak": {"filtered": False, "detected": False},
        "indirect_attack": {"filtered": False, "detected": True},
        "custom_blocklists": {
            "filtered": True,
            "details": [{"filtered": True, "id": "fruit"}, {"filtered": False, "id": "other"}],
        },
        "personally_identifiable_information": {
            "filtered": False,
            "detected": True,
            "sub_categories": [{"sub_category": "email", "filtered": False, "detected": True, "redacted": False}],
        },
        "secrets": {
            "filtered": True,
            "detected": True,
            "sub_categories": [{"sub_category": "github_token", "filtered": True, "detected": True, "redacted": False}],
        },
    }
    completion = annotations(of(Side.COMPLETION))
    assert "jailbreak" not in completion
    assert completion["violence"] == {"filtered": False, "severity": "high"}
    assert completion["personally_identifiable_information"]["sub_categories"][0]["redacted"] is True


def test_what_was_not_examined_is_not_called_safe() -> None:
    """A failed examination is annotated with Azure's error and nothing else."""
    failed = replace(clean(POLICY, Side.PROMPT), failed=True)
    assert annotations(failed) == {
        "error": {"code": "content_filter_error", "message": "The contents are not filtered"}
    }


def test_of_several_verdicts_the_worst_counts() -> None:
    """The sum has of each category the highest severity, and everything that was blocked."""
    low = of(Side.PROMPT, Findings({Category.HATE: Severity.LOW, Category.SEXUAL: Severity.LOW}))
    both = total([low, of(Side.PROMPT), clean(POLICY, Side.PROMPT)])
    assert (both.found["hate"], both.found["sexual"]) == ("medium", "low")
    assert "hate" in both.blocked
    assert total([low]) == low
    assert total([clean(POLICY, Side.PROMPT), replace(low, failed=True)]).failed


def test_a_report_says_scanned_only_of_what_was() -> None:
    """A half that failed is never among those that were examined to their end."""
    report = Report(POLICY)
    report.scanned(Side.PROMPT)
    report.scanned(Side.COMPLETION)
    examiner = Examiner(POLICY, Side.COMPLETION)
    examiner.failed, examiner.spent_s = True, 0.25
    report.examined(examiner)
    report.add(of(Side.PROMPT))
    report.masked = 2
    record = report.record()
    assert (record["scanned"], record["failed"]) == (["prompt"], ["completion"])
    assert set(record["blocked"]) == {"prompt:hate", "prompt:violence", "prompt:blocklist:fruit", "prompt:secrets"}
    assert (record["policy"], record["mode"], record["masked"]) == ("strict", "blocking", 2)
    assert "completion" not in record
    assert record["examine_us"] == 250_000
