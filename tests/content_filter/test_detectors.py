"""The contract of detectors, on every one of them."""

import string
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.content_filter.base import Detector
from freehold.content_filter.chain import Chain
from freehold.content_filter.detectors import detectors_for
from freehold.types.content_filter import (
    NOTHING,
    BlocklistItem,
    BlocklistSettings,
    FilterSettings,
    Findings,
    Passage,
    PersonalData,
    Side,
    Source,
)
from tests.content_filter.test_personal_data import FOUND
from tests.content_filter.test_secrets import SECRETS

MOST_PENDING = 256
EVERYTHING = FilterSettings.model_validate(
    {
        "name": "everything",
        "indirect_attack": "block",
        "blocklists": ["words"],
        "personal_data": {"prompt": "mask", "completion": "mask"},
        "secrets": {"prompt": "mask", "completion": "mask"},
    }
)
WORDS = BlocklistSettings(
    name="words",
    items=(
        BlocklistItem(term="bananaphone"),
        BlocklistItem(term="red falcon"),
        BlocklistItem(pattern=r"project [a-z]+ heron"),
    ),
)
TEXTS = [
    *(text for _, text, _ in FOUND),
    *SECRETS.values(),
    *(f"api_key = '{secret}' and so on" for secret in SECRETS.values()),
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END PRIVATE KEY-----\nthe end",
    "a bananaphone, a b.a n-a.n a p h o n e, a red falcon, b\u200banana\u200bph0ne and the project grey heron",
    "Write ana@example.org or +34 600 123 456, pay with 4111 1111 1111 1111 or DE89 3704 0044 0532 0130 00, now.",
    "🙂 ana@example.org\u00a0+34600123456\n\n12345678Z",
    "Nothing at all is in this text.",
    "",
]


def _all() -> Iterator[tuple[Side, Detector]]:
    """Every detector that a policy can want, for each half of a request."""
    for side in Side:
        for detector in detectors_for(EVERYTHING, [WORDS], side):
            yield side, detector


DETECTORS = [pytest.param(side, detector, id=f"{detector.name}-{side}") for side, detector in _all()]
every_detector = pytest.mark.parametrize(("side", "detector"), DETECTORS)


def passage(text: str, side: Side, *, whole: bool = True) -> Passage:
    """A text of one half of a request."""
    return Passage(text, side, Source.USER if side is Side.PROMPT else Source.ASSISTANT, whole)


def check_spans(text: str, findings: Findings) -> None:
    """Spans lie within the text, and have something in them."""
    assert all(0 <= span.start < span.end <= len(text) for span in findings.spans), (text, findings.spans)


def check_pending(detector: Detector, text: str, findings: Findings) -> None:
    """Wherever a text is cut within a match, all of the match that has come is pending."""
    for span in findings.spans:
        for cut in range(span.start + 1, span.end):
            begun = cut - span.start
            if begun <= MOST_PENDING:
                assert detector.pending(text[:cut]) >= begun, (span, text[:cut])


@every_detector
def test_the_same_text_gives_the_same_findings(side: Side, detector: Detector) -> None:
    """A detector keeps nothing of a text that would change what it finds in the next, or in the same again."""
    first = [detector(passage(text, side)) for text in TEXTS]
    assert [detector(passage(text, side)) for text in reversed(TEXTS)] == first[::-1]


@every_detector
def test_an_empty_text_has_nothing(side: Side, detector: Detector) -> None:
    """In a text without characters nothing is found, and nothing is pending."""
    assert not detector(passage("", side))
    assert detector.pending("") == 0


@every_detector
def test_spans_lie_within_the_text(side: Side, detector: Detector) -> None:
    """Offsets are code points of the text as it was written, whatever is in it."""
    for text in TEXTS:
        check_spans(text, detector(passage(text, side)))


@every_detector
def test_what_could_become_a_match_is_pending(side: Side, detector: Detector) -> None:
    """No piece of a match leaves before the whole of it is known, wherever the text is cut."""
    for text in TEXTS:
        check_pending(detector, text, detector(passage(text, side)))


@every_detector
def test_no_more_is_pending_than_may_be(side: Side, detector: Detector) -> None:  # noqa: ARG001  # one list of both
    """However long a text has no boundary, at most 256 code points of it are held back, and never more than it has."""
    for text in (*TEXTS, "a" * 5000, "1 " * 5000, "-----BEGIN " + "x" * 5000, "@" * 5000, "A1B2 " * 5000, "\n" * 5000):
        assert 0 <= detector.pending(text) <= min(MOST_PENDING, len(text))


@every_detector
@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(
        st.sampled_from(
            [*string.digits, *" -.+()/:@\n\u00a0", "GB29", "NWBK", "4111", "1111", "key=", "sk-", "eyJ", "::"]
        )
        | st.sampled_from([piece for _, _, piece in FOUND])
        | st.sampled_from(sorted(SECRETS.values())),
        max_size=12,
    )
)
def test_any_text_keeps_the_contract(side: Side, detector: Detector, pieces: list[str]) -> None:
    """Of numbers and keys put together at random, spans lie within the text, and what could be a match is pending."""
    text = "".join(pieces)
    findings = detector(passage(text, side))
    check_spans(text, findings)
    check_pending(detector, text, findings)
    assert detector.pending(text) <= min(MOST_PENDING, len(text))


def test_detectors_are_told_apart() -> None:
    """Each detector of a policy has a name of its own and a version, which receipts show."""
    for side in Side:
        detectors = detectors_for(EVERYTHING, [WORDS], side)
        assert len({detector.name for detector in detectors}) == len(detectors)
        assert all(detector.version for detector in detectors)
        assert Chain(detectors).versions == {detector.name: detector.version for detector in detectors}


def test_only_what_a_policy_wants_is_asked() -> None:
    """Personal data and secrets are looked for on the sides where the policy says what becomes of them."""
    prompts_only = FilterSettings.model_validate(
        {"name": "p", "personal_data": {"prompt": "annotate", "kinds": ["card"]}, "secrets": {"completion": "block"}}
    )
    names = {
        side: {detector.name for detector in detectors_for(prompts_only, [], side)} & {"personal_data", "secrets"}
        for side in Side
    }
    assert names == {Side.PROMPT: {"personal_data"}, Side.COMPLETION: {"secrets"}}
    (detector,) = (each for each in detectors_for(prompts_only, [], Side.PROMPT) if each.name == "personal_data")
    text = "ana@example.org 4111111111111111"
    assert [span.name for span in detector(passage(text, Side.PROMPT)).spans] == [PersonalData.CARD]
    assert detector(passage("nothing", Side.PROMPT)) == NOTHING
