"""National identity numbers in a text: how each looks, and what tells it from other numbers."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from freehold.content_filter import checksums
from freehold.content_filter.forms import form

_CONTEXT_CHARACTERS = 40
"""How far before a number a word may stand that tells what it is."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of number.

    Args:
        form: how it looks.
        check: whether its check digits are right, without what stands between the groups, in capitals.
        context: words of which one must stand before it, in small letters, where its form and check digit prove little.
    """

    form: str
    check: Callable[[str], bool]
    context: tuple[str, ...] = ()


_FISCAL_DIGIT = "[0-9LMNPQRSTUV]"
_KINDS = (
    _Kind(r"[0-9]{3}-[0-9]{2}-[0-9]{4}", checksums.ssn),
    _Kind(r"[0-9]{3} [0-9]{2} [0-9]{4}|[0-9]{9}", checksums.ssn, ("ssn", "social security")),
    _Kind(r"(?:[0-9]{8}|[XYZ]-?[0-9]{7})-?[A-HJ-NP-TV-Za-hj-np-tv-z]", checksums.dni),
    _Kind(
        rf"[A-Z]{{6}}{_FISCAL_DIGIT}{{2}}[A-EHLMPRST]{_FISCAL_DIGIT}{{2}}[A-Z]{_FISCAL_DIGIT}{{3}}[A-Z]",
        checksums.codice_fiscale,
    ),
    _Kind(
        r"[1-478](?:[0-9]{4}(?:[0-9]{2}|2[ABab])[0-9]{8}"
        r"| [0-9]{2} [0-9]{2} (?:[0-9]{2}|2[ABab]) [0-9]{3} [0-9]{3} [0-9]{2})",
        checksums.nir,
    ),
    _Kind(r"[0-9]{9}|[0-9]{4}\.[0-9]{2}\.[0-9]{3}", checksums.bsn, ("bsn", "burgerservice", "sofi", "citizen service")),
    _Kind(r"[1-9][0-9] [0-9]{3} [0-9]{3} [0-9]{3}", checksums.steuer_id),
    _Kind(r"[1-9][0-9]{10}", checksums.steuer_id, ("steuer", "tax id", "idnr", "identifikation")),
    _Kind(
        r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?:[0-9]{6}| [0-9]{2} [0-9]{2} [0-9]{2} )[A-D]",
        lambda text: text[:2] not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"},
    ),
    _Kind(r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", checksums.cpf),
    _Kind(r"[0-9]{11}", checksums.cpf, ("cpf", "cadastro")),
    _Kind(r"[0-9]{11}", checksums.pesel),
    _Kind(r"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]", checksums.hetu),
    _Kind(r"(?:19|20)?[0-9]{6}[-+][0-9]{4}", lambda text: checksums.personnummer(text[-10:])),
    _Kind(r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", checksums.rijksregister),
    _Kind(r"756(?:\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}|[0-9]{10})", checksums.ahv),
    _Kind(r"[2-9][0-9]{3}(?: [0-9]{4} |-[0-9]{4}-)[0-9]{4}", checksums.aadhaar),
    _Kind(r"[2-9][0-9]{11}", checksums.aadhaar, ("aadhaar", "aadhar", "uidai")),
    _Kind(
        r"[0-9]{3}(?: [0-9]{3} |-[0-9]{3}-|[0-9]{3})[0-9]{3}",
        checksums.luhn,
        ("sin ", "sin:", "s.i.n", "social insurance"),
    ),
)
_KEEPING_SIGNS = frozenset({checksums.hetu})
_KINDS_BY_FORM = tuple((re.compile(kind.form), kind) for kind in _KINDS)
LIKE_IDENTITY = r"\b(?:" + "|".join(kind.form for kind in _KINDS) + r")\b"
"""How any of them looks."""
_ANY = form(LIKE_IDENTITY, longest=True)


def identity_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Where identity numbers stand."""
    for match in _ANY.finditer(text):
        start, end = match.span()
        if stands_alone(text, start, end) and _is_identity(text, start, match.group()):
            yield start, end


def _is_identity(text: str, start: int, number: str) -> bool:
    bare = number.upper()
    digits = re.sub(r"[ .+-]", "", bare)
    for pattern, kind in _KINDS_BY_FORM:
        if pattern.fullmatch(number) and kind.check(bare if kind.check in _KEEPING_SIGNS else digits):
            before = text[max(0, start - _CONTEXT_CHARACTERS) : start].lower() if kind.context else ""
            if not kind.context or any(word in before for word in kind.context):
                return True
    return False


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether a number is no part of a longer name: of a UUID, a file's name, a serial number."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    return not (
        before[-1:].isalnum()
        or after[:1].isalnum()
        or (before[-1:] in {"-", ".", "_", "/"} and before[:1].isalnum())
        or (after[:1] in {"-", "_"} and after[1:].isalnum())
        or (after[:1] in {".", ","} and after[1:].isdigit())
    )
