"""Verdicts as Azure writes them: `content_filter_results`, and the `content_filter_offsets` of what follows later.

The shapes are those of Azure's specification (2024-10-21, and v1 for `indirect_attack`, `custom_blocklists` and
`personally_identifiable_information`); `secrets` is Freehold's own, in the same shape. What a policy does not look for
is not annotated.
"""

from collections.abc import Mapping
from typing import Any

from freehold.types.content_filter import Category, PersonalData, Shield, Side
from freehold.types.verdict import Offsets, Verdict

FAILED = {"error": {"code": "content_filter_error", "message": "The contents are not filtered"}}
"""What stands for an examination that failed, where the policy is open."""


def annotations(verdict: Verdict) -> dict[str, Any]:
    """`content_filter_results`: of the categories the severity, of the other signals whether they were detected."""
    if verdict.failed:
        return {**FAILED, **_signals(verdict)} if verdict.found else dict(FAILED)
    settings = verdict.settings
    results: dict[str, Any] = {
        category.value: {
            "filtered": category.value in verdict.blocked,
            "severity": verdict.found.get(category.value, "safe"),
        }
        for category in Category
        if settings.rule(category, verdict.side).action != "off"
    }
    if verdict.side is Side.PROMPT:
        results |= {
            shield.value: {"filtered": shield.value in verdict.blocked, "detected": shield.value in verdict.found}
            for shield in Shield
            if getattr(settings, shield.value) != "off"
        }
    return results | _signals(verdict)


def offsets(found: Offsets) -> dict[str, int]:
    """`content_filter_offsets`."""
    return {"check_offset": found.check, "start_offset": found.start, "end_offset": found.end}


def _signals(verdict: Verdict) -> dict[str, Any]:
    """Lists, personal data and secrets."""
    results: dict[str, Any] = {}
    names = [name.partition(":")[2] for name in verdict.found if name.startswith("blocklist:")]
    if names or verdict.lists:
        details = [{"filtered": f"blocklist:{name}" in verdict.blocked, "id": name} for name in names]
        results["custom_blocklists"] = {"filtered": any(each["filtered"] for each in details), "details": details}
    side = verdict.side.value
    if getattr(verdict.settings.personal_data, side) != "off":
        kinds = [kind.value for kind in PersonalData if kind in verdict.settings.personal_data.kinds]
        results["personally_identifiable_information"] = _spans(verdict, "personal_data", "personal_data", kinds)
    if getattr(verdict.settings.secrets, side) != "off":
        kinds = [name.partition(":")[2] for name in verdict.found if name.startswith("secret:")]
        results["secrets"] = _spans(verdict, "secret", "secrets", kinds)
    return results


def _spans(verdict: Verdict, kind: str, blocked: str, names: list[str]) -> Mapping[str, Any]:
    """Which kinds were found; those that were not are left out of the details."""
    found = [name for name in names if f"{kind}:{name}" in verdict.found]
    filtered = blocked in verdict.blocked
    return {
        "filtered": filtered,
        "detected": bool(found),
        "sub_categories": [
            {
                "sub_category": name,
                "filtered": filtered,
                "detected": True,
                "redacted": f"{kind}:{name}" in verdict.masked,
            }
            for name in found
        ],
    }
