"""What counts as personal data, and what does not."""

import pytest

from freehold.content_filter.personal_data import PersonalDataDetector
from freehold.types.content_filter import Passage, PersonalData, Side

FOUND = [
    ("email", "write to ana.lopez+news@mail.example.org.", "ana.lopez+news@mail.example.org"),
    ("email", "<bob@example.co.uk>", "bob@example.co.uk"),
    ("email", "Correo: josé@correo.es, gracias", "josé@correo.es"),
    ("email", "mailto:o'neill@example.com?subject=x", "o'neill@example.com"),
    ("email", "🙂 x_y@a-b.museum", "x_y@a-b.museum"),
    ("phone", "Ring +44 20 7946 0958 today", "+44 20 7946 0958"),
    ("phone", "+34600123456", "+34600123456"),
    ("phone", "(+49) 30 901820", "(+49) 30 901820"),
    ("phone", "+49 (0)30 901820-12", "+49 (0)30 901820-12"),
    ("phone", "at (415) 555-2671.", "(415) 555-2671"),
    ("phone", "or 415-555-2671", "415-555-2671"),
    ("phone", "1-415-555-2671", "1-415-555-2671"),
    ("phone", "Telefon: 030 901820", "030 901820"),
    ("phone", "Tél. 06 12 34 56 78", "06 12 34 56 78"),
    ("phone", "call me at 555-2671 now", "555-2671"),
    ("card", "card 4111 1111 1111 1111, exp. 12/29", "4111 1111 1111 1111"),
    ("card", "5500-0055-5555-5559", "5500-0055-5555-5559"),
    ("card", "378282246310005", "378282246310005"),
    ("card", "Amex 3782 822463 10005", "3782 822463 10005"),
    ("card", "no. 1234 4111 1111 1111 1111", "4111 1111 1111 1111"),
    ("iban", "IBAN: DE89 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 00"),
    ("iban", "gb29nwbk60161331926819", "gb29nwbk60161331926819"),
    ("iban", "MT84 MALT 0110 0001 2345 MTLC AST0 01S.", "MT84 MALT 0110 0001 2345 MTLC AST0 01S"),
    ("national_id", "SSN 219-09-9998", "219-09-9998"),
    ("national_id", "my social security number is 219099998", "219099998"),
    ("national_id", "DNI 12345678Z", "12345678Z"),
    ("national_id", "NIE X-1234567-L", "X-1234567-L"),
    ("national_id", "RSSMRA85T10A562S", "RSSMRA85T10A562S"),
    ("national_id", "NIR 2 55 08 14 168 025 38", "2 55 08 14 168 025 38"),
    ("national_id", "BSN 111222333", "111222333"),
    ("national_id", "Steuer-ID: 86095742719", "86095742719"),
    ("national_id", "86 095 742 719", "86 095 742 719"),
    ("national_id", "NI number AB 12 34 56 C", "AB 12 34 56 C"),
    ("national_id", "AB123456C", "AB123456C"),
    ("national_id", "CPF 529.982.247-25", "529.982.247-25"),
    ("national_id", "PESEL 44051401359", "44051401359"),
    ("national_id", "131052-308T", "131052-308T"),
    ("national_id", "811218-9876", "811218-9876"),
    ("national_id", "85.07.30-033.28", "85.07.30-033.28"),
    ("national_id", "756.9217.0769.85", "756.9217.0769.85"),
    ("national_id", "SIN: 046 454 286", "046 454 286"),
    ("ip_address", "from 203.0.113.7 at noon", "203.0.113.7"),
    ("ip_address", "10.1.2.3:8080", "10.1.2.3"),
    ("ip_address", "host 2001:db8::8a2e:370:7334 up", "2001:db8::8a2e:370:7334"),
    ("ip_address", "[fe80::1ff:fe23:4567:890a]", "fe80::1ff:fe23:4567:890a"),
]
EVERYTHING = PersonalDataDetector(frozenset(PersonalData))


def found(text: str, detector: PersonalDataDetector = EVERYTHING) -> list[tuple[str, str]]:
    """The kinds and the pieces of the text that are found."""
    spans = detector(Passage(text, Side.PROMPT)).spans
    assert all(span.kind == "personal_data" for span in spans)
    return [(span.name, text[span.start : span.end]) for span in spans]


@pytest.mark.parametrize(("kind", "text", "piece"), FOUND)
def test_personal_data_is_found(kind: str, text: str, piece: str) -> None:
    """A well-formed number or address is found with its kind, and its span is just it."""
    assert found(text) == [(kind, piece)]


@pytest.mark.parametrize(
    "text",
    [
        "order 4111111111111112",
        "order number 123456789",
        "ISBN 978-3-16-148410-0 and 9783161484100",
        "on 2024-11-27 10:30:45, or 27.11.2024",
        "version 1.2.3.4 and v10.0.19045.3",
        "section 3.1.4.1",
        "OpenID Connect Core, 3.1.3.6",
        "digits[-2::-2]",
        "Decimal('+35236450.6')",
        "127.0.0.1, 0.0.0.0, ::1 and 300.1.2.3",
        "550e8400-e29b-41d4-a716-446655440000",
        "git@github.com:freehold/freehold.git",
        "postgres://user:pw@db.example.com/x",
        "@someone, a@b, user@localhost, x@1.2.3, npm install pkg@1.2.3",
        "1,234,567,890.00 EUR",
        "std::vector<int> x; a::b::c; dead::beef",
        "12:30:45 and 00:1A:2B:3C:4D:5E",
        "12345678A",
        "GB00 NWBK 6016 1331 9268 19",
        "DE89 3704 0044 0532 0130 01",
        "000-12-3456 and 666-12-3456",
        "+1 23",
        "1 + 2 = 3, 10+20",
        "call of duty 2024-11-27",
        "please call on 2024-11-27",
        "invoice 2024/000123456",
        "3.14159265358979",
        "file-4111111111111111.txt",
        "a text without anything",
        "",
    ],
)
def test_what_only_looks_like_it_is_not_found(text: str) -> None:
    """Order numbers, dates, versions, other identifiers and wrong check digits are no personal data."""
    assert found(text) == []


def test_only_the_wanted_kinds_are_found() -> None:
    """A policy that names kinds is told of those alone."""
    text = "ana@example.org, 4111 1111 1111 1111"
    assert found(text, PersonalDataDetector(frozenset({PersonalData.CARD}))) == [("card", "4111 1111 1111 1111")]
    assert found(text, PersonalDataDetector(frozenset({PersonalData.EMAIL}))) == [("email", "ana@example.org")]


def test_several_are_found_in_their_order() -> None:
    """Everything in a text is found, in the text's order and without overlaps."""
    text = "+34600123456 ana@example.org 203.0.113.7 DE89370400440532013000 12345678Z 4111111111111111"
    assert [kind for kind, _ in found(text)] == ["phone", "email", "ip_address", "iban", "national_id", "card"]


@pytest.mark.parametrize(
    ("piece", "times"),
    [
        ("a@b.co ", 3000),
        ("219-09-9998 ", 3000),
        ("call 1234567 ", 3000),
        ("1.", 0),
        ("+1 ", 0),
        ("AA11 ", 0),
        ("@", 0),
        ("1", 0),
        ("::1", 0),
    ],
)
def test_a_long_text_is_examined_to_its_end(piece: str, times: int) -> None:
    """Texts made to be slow are examined, and what is found many times is found each time."""
    assert len(found(piece * 3000)) == times
