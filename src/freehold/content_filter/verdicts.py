"""From findings to verdicts: names as receipts have them, and the sum of several."""

from collections.abc import Sequence
from dataclasses import replace

from freehold.content_filter.filter import Filter, Judgement
from freehold.types.content_filter import Category, Severity, Shield, Side, Span
from freehold.types.verdict import Verdict

DETECTED = "detected"
_PLAIN = {*(category.value for category in Category), *(shield.value for shield in Shield), "personal_data", "secrets"}
"""What is blocked under a name of its own; every other name is a list's."""


def clean(policy: Filter, side: Side) -> Verdict:
    """The verdict on a text in which nothing is."""
    return policy.clean[side]


def verdict(policy: Filter, side: Side, judgement: Judgement) -> Verdict:
    """What a policy made of a text; what the policy does not look for is left out."""
    nothing = clean(policy, side)
    if not judgement.findings:
        return nothing
    settings, findings = policy.settings, judgement.findings
    found = {
        category.value: findings.severities[category].label
        for category in Category
        if findings.severities.get(category) and settings.rule(category, side).action != "off"
    }
    if side is Side.PROMPT:
        found |= {
            shield.value: DETECTED
            for shield in Shield
            if shield in findings.shields and getattr(settings, shield.value) != "off"
        }
    found |= {span_name(span): DETECTED for span in findings.spans}
    return replace(
        nothing,
        found=found,
        blocked=tuple(name if name in _PLAIN else f"blocklist:{name}" for name in judgement.blocked),
        masked=frozenset(span_name(span) for span in judgement.masked),
    )


def span_name(span: Span) -> str:
    """What receipts call the kind of thing that a span is."""
    return f"{span.kind}:{span.name}"


def total(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict on several texts of one side: of each category the highest severity. There is at least one."""
    first, *others = verdicts
    if not any(each.found or each.failed for each in others):
        return replace(first, offsets=None) if first.offsets else first
    found: dict[str, str] = {}
    for each in verdicts:
        for name, label in each.found.items():
            if name not in found or _rank(label) > _rank(found[name]):
                found[name] = label
    return replace(
        first,
        found=found,
        blocked=tuple(dict.fromkeys(name for each in verdicts for name in each.blocked)),
        masked=frozenset().union(*(each.masked for each in verdicts)),
        failed=any(each.failed for each in verdicts),
        offsets=None,
    )


def _rank(label: str) -> int:
    return 0 if label == DETECTED else int(Severity[label.upper()])
