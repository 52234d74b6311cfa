"""What is made of the C2PA library's finding, where no file can easily be made to show it."""

from typing import Any

import pytest

from freehold.provenance.report import MAX_DEPTH, report_of

UNTRUSTED = "signingCredential.untrusted"


def finding(*codes: str, delta: str | None = None, **manifest: Any) -> dict[str, Any]:
    """A finding about one manifest, with failures of these codes."""
    deltas = [{"validationDeltas": {"failure": [{"code": delta}]}}] if delta else []
    return {
        "active_manifest": "a",
        "simple": {"a": manifest},
        "validation_results": {
            "activeManifest": {"failure": [{"code": code, "explanation": "why"} for code in codes]},
            "ingredientDeltas": deltas,
        },
    }


@pytest.mark.parametrize(
    ("codes", "state", "signature", "unchanged"),
    [
        ((), "intact", True, True),
        ((UNTRUSTED,), "intact", True, True),
        (("signingCredential.expired",), "lapsed", False, True),
        (("signingCredential.expired", "assertion.dataHash.mismatch"), "changed", False, False),
        (("assertion.dataHash.mismatch",), "changed", True, False),
        (("claimSignature.mismatch", UNTRUSTED), "changed", False, True),
        (("assertion.hashedURI.mismatch",), "changed", True, True),
    ],
)
def test_failures_come_to_a_state(codes: tuple[str, ...], state: str, signature: bool, unchanged: bool) -> None:
    """A certificate whose time is over is told apart from a change, and an unknown signer is no failure of the file."""
    report = report_of("png", finding(*codes), None, expecting=True)
    assert (report.state, report.signature_valid, report.unchanged) == (state, signature, unchanged)
    assert report.convincing is (codes == ())


def test_a_failure_of_the_history_counts() -> None:
    """A parent's manifest that is not what it was when it was taken in makes the picture a changed one."""
    assert report_of("png", finding(delta="ingredient.manifest.mismatch"), None, expecting=False).state == "changed"


def test_a_history_without_an_end_is_cut() -> None:
    """Manifests that name each other as parents are told to a bounded depth."""
    circle = finding(ingredients=[{"active_manifest": "a", "relationship": "parentOf"}])
    origin = report_of("png", circle, None, expecting=False).origin
    depth = 0
    while origin is not None:
        depth += 1
        origin = origin.made_from[0].origin
    assert depth == MAX_DEPTH


@pytest.mark.parametrize(
    "actions", [None, 7, [], {"actions": 7}, {"actions": [7] * 1000}, {"actions": [{"action": 7}]}]
)
def test_what_others_sign_is_bounded(actions: Any) -> None:
    """Names, titles and facts of any length or kind are cut or left out."""
    facts = {"request_id": "x" * 10_000, "nested": {"a": 1}, "parents": [{"sha256": "y" * 10_000}] * 1000, "seed": 1}
    manifest: dict[str, Any] = {
        "title": "t" * 10_000,
        "signature_info": {"issuer": ["not", "text"]},
        "assertions": [{"label": "freehold.picture", "data": facts}, {"label": "c2pa.actions", "data": actions}],
    }
    origin = report_of("png", finding(**manifest), None, expecting=False).origin
    assert origin is not None
    assert len(str(origin.title)) < 1000
    assert origin.signed_by.organization is None
    assert origin.picture is not None
    assert len(repr(origin.picture)) < 20_000
    assert "nested" not in origin.picture
    assert origin.picture["seed"] == 1
