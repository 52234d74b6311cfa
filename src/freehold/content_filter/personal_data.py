"""Personal data that is told by its form: addresses, and numbers most of which have check digits.

What is found must be right more than it must be complete: an order number is not a card, a date is not a phone number.
So a number counts whose check digits are right and which looks like one that is given out; where that proves little, a
word before it must say what it is.
"""

import re
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from freehold.content_filter import checksums
from freehold.content_filter.forms import form
from freehold.content_filter.identity_numbers import LIKE_IDENTITY, identity_numbers, stands_alone
from freehold.content_filter.phones import LIKE_PHONE, phone_numbers
from freehold.content_filter.tails import last_numbers, last_word
from freehold.types.content_filter import NOTHING, Findings, Passage, PersonalData, Span

_DIGITS = "0123456789"
_LOCAL_SIGNS = frozenset("._%+-'")
_MOST_LOCAL = 64
_DOMAIN = re.compile("[A-Za-z0-9.\u00c0-\u024f-]{1,253}")
_TOP_LEVEL = re.compile(r"[^\W\d_]{2,63}|xn--[a-z0-9-]{2,59}", re.IGNORECASE)
_CARD = re.compile(
    r"(?<![0-9])(?:[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,4}(?:\1[0-9]{1,3})?|3[0-9]{3}([ -])[0-9]{6}\2[0-9]{4,5}"
    r"|[0-9]{13,19})(?![0-9])"
)
_LIKE_CARD = r"\b[0-9]{4}[ -][0-9]{4,6}[ -][0-9]{4,5}|[0-9]{13}"
_CARD_LIKE = form(_LIKE_CARD)
_MOST_CARD = 24
"""Characters of a card's number, spaces included, and one more."""
_LIKE_IBAN = r"\b[A-Za-z]{2}[0-9]{2} ?[A-Za-z0-9]{4}"
_IBAN = form(_LIKE_IBAN)
_LIKE_IPV4 = r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b"
_IPV4 = form(_LIKE_IPV4)
_LIKE_IPV6 = r"(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}"
_IPV6 = form(_LIKE_IPV6)
_IPV6_BEGINS = re.compile(r"(?:2[0-9a-f]{3}|f[cde][0-9a-f]{2}):", re.IGNORECASE)
"""What a global, a local or a link's own address begins with: enough of a proof for one of two groups."""
_WORTH_LOOKING = form(f"{_LIKE_CARD}|{_LIKE_IBAN}|{_LIKE_IPV4}|{_LIKE_IPV6}|{LIKE_IDENTITY}|{LIKE_PHONE}")
"""Whether there may be anything but an e-mail address: one pass, with which most texts are done."""
_NUMBERED = re.compile(r"(?:\bv|versions?|release|section|chapter|build|firmware|§)[ .:]{0,2}\Z", re.IGNORECASE)
"""What makes of four numbers with dots between them a version or a section."""


class PersonalDataDetector:
    """Finds personal data.

    Args:
        kinds: which to look for.
    """

    name = "personal_data"
    version = "1"

    def __init__(self, kinds: frozenset[PersonalData]) -> None:
        self._finders = tuple((kind, find) for kind, find in _FINDERS.items() if kind in kinds)
        self._addresses_only = kinds == {PersonalData.EMAIL}

    def __call__(self, passage: Passage) -> Findings:
        """Where it is; of two that overlap, the kind that proves more."""
        text = passage.text
        numbers = any(digit in text for digit in _DIGITS) and _WORTH_LOOKING.search(text) is not None
        if not numbers and "@" not in text:
            return NOTHING
        found: list[Span] = []
        taken: list[tuple[int, int]] = []
        for kind, find in self._finders:
            if numbers or kind is PersonalData.EMAIL:
                found += [Span("personal_data", kind, *span) for span in _free(find(text), taken)]
        return Findings(spans=tuple(sorted(found, key=lambda span: span.start))) if found else NOTHING

    def pending(self, text: str) -> int:
        """The last word, and the groups of digits before it."""
        return last_word(text) if self._addresses_only else last_numbers(text)


def _free(spans: Iterable[tuple[int, int]], taken: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Those spans that overlap nothing of what is taken, which is in order; they are taken then."""
    for span in sorted(set(spans)):
        place = bisect_left(taken, span)
        free_before = place == 0 or taken[place - 1][1] <= span[0]
        if free_before and (place == len(taken) or span[1] <= taken[place][0]):
            insort(taken, span)
            yield span


def _emails(text: str) -> Iterator[tuple[int, int]]:
    at = text.find("@")
    while at >= 0:
        start = at
        while start > max(0, at - _MOST_LOCAL) and _is_local(text[start - 1]):
            start -= 1
        while start < at and text[start] in ".'-+%":
            start += 1
        domain = _DOMAIN.match(text, at + 1)
        if domain and start < at and text[at - 1] != ".":
            labels = _labels(domain[0])
            end = at + 1 + len(".".join(labels))
            if len(labels) > 1 and not _is_login(text, start, at, end):
                yield start, end
        at = text.find("@", at + 1)


def _is_local(character: str) -> bool:
    """Whether it may stand before an at sign: a Latin letter, a digit, or a sign that addresses have."""
    return (character < "\u0250" and character.isalnum()) or character in _LOCAL_SIGNS


def _labels(domain: str) -> list[str]:
    """The labels of a domain's name, as far as they are some; empty without a top level domain."""
    labels: list[str] = []
    for label in domain.split("."):
        if not label or label[0] == "-" or "_" in label:
            break
        labels.append(label)
    if labels:
        labels[-1] = labels[-1].rstrip("-")
    while labels and not _TOP_LEVEL.fullmatch(labels[-1]):
        labels.pop()
    return labels


def _is_login(text: str, start: int, at: int, end: int) -> bool:
    """Whether it is the end of `https://user:password@host`, or `git@host:path`."""
    scheme = text.rfind("://", max(0, start - 128), at)
    if scheme >= 0 and not re.search(r"[\s/?#]", text[scheme + 3 : at]):
        return True
    return text[start:at] == "git" and text[end : end + 1] == ":"


def _cards(text: str) -> Iterator[tuple[int, int]]:
    last = 0
    for like in _CARD_LIKE.finditer(text):
        start, near = like.span()
        match = _CARD.search(text, max(start, last), near + _MOST_CARD)
        while match:
            start, last = match.span()
            if stands_alone(text, start, last) and checksums.card(match[0].replace(" ", "").replace("-", "")):
                yield start, last
            else:
                last = start + 1
            match = _CARD.search(text, last, near + _MOST_CARD)


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(text):
        start, _ = match.span()
        length = checksums.iban_length(match.group()[:2].upper())
        found = length and _characters(text, start, length)
        if found and checksums.iban(found[0]):
            yield start, found[1]


def _characters(text: str, start: int, wanted: int) -> tuple[str, int] | None:
    """So many letters and digits in capitals, single spaces left out, and where they end; None if there are not."""
    taken: list[str] = []
    place = start
    spaced = False
    while len(taken) < wanted:
        character = text[place : place + 1]
        if character == " " and text[place - 1] != " ":
            spaced = True
        elif character.isascii() and character.isalnum():
            taken.append(character)
        else:
            return None
        place += 1
    characters = "".join(taken)
    if text[place : place + 1].isalnum() or (spaced and characters != characters.upper()):
        return None
    return characters.upper(), place


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    """IP addresses, but for those that every machine has."""
    for match in _IPV4.finditer(text):
        start, end = match.span()
        numbered = _NUMBERED.search(text, max(0, start - 12), start)
        told = end - start > len("1.2.3.4") and not numbered  # four digits are rather a section's number
        if told and stands_alone(text, start, end) and _is_somewhere(IPv4Address, match.group()):
            yield start, end
    if text.count(":") >= 2:
        for match in _IPV6.finditer(text):
            start, end = match.span()
            address = match.group()
            groups = [group for group in address.split(":") if group]
            told = len(groups) > 2 or _IPV6_BEGINS.match(address) is not None
            bounded = not any(
                each.isalnum() or each in ":_" for each in text[max(0, start - 1) : start] + text[end : end + 1]
            )
            if told and bounded and any(digit in address for digit in _DIGITS) and _is_somewhere(IPv6Address, address):
                yield start, end


def _is_somewhere(kind: type[IPv4Address] | type[IPv6Address], text: str) -> bool:
    try:
        address = kind(text)
    except AddressValueError:
        return False
    return not (
        address.is_loopback or address.is_unspecified or address.is_multicast or text.startswith(("0.", "255."))
    )


_FINDERS: dict[PersonalData, Callable[[str], Iterable[tuple[int, int]]]] = {
    PersonalData.EMAIL: _emails,
    PersonalData.IBAN: _ibans,
    PersonalData.CARD: _cards,
    PersonalData.NATIONAL_ID: identity_numbers,
    PersonalData.IP_ADDRESS: _addresses,
    PersonalData.PHONE: phone_numbers,
}
"""By kind, first what proves most: of two that overlap, the first counts."""
