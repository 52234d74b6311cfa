"""Phone numbers in a text: international ones by the lengths of their country's numbers, others by what announces them.

A library for this takes a tenth of a millisecond a candidate, which is too long on the way of a request.
"""

import re
from collections.abc import Iterator

from freehold.content_filter.forms import form
from freehold.content_filter.identity_numbers import stands_alone

_BETWEEN = "(?:[ .\\-/\u00a0\u202f\u2010\u2011]|\\)[ .\\-]?| ?\\()?"
"""What stands between two digits."""
_INTERNATIONAL = re.compile(r"\+[1-9](?:" + _BETWEEN + r"[0-9]){7,14}(?![0-9A-Za-z])")
_LIKE_AMERICAN = (
    r"\b(?:1[ .-])?[2-9][0-8][0-9](?:-[2-9][0-9]{2}-|\.[2-9][0-9]{2}\.)[0-9]{4}\b"
    r"|\([2-9][0-8][0-9]\) ?[2-9][0-9]{2}[.-][0-9]{4}\b"
)
_AMERICAN = form(_LIKE_AMERICAN)
_LIKE_ANNOUNCED = (
    r"(?i:\b(?:phone|tele(?:phone|fon[oe]?)|tel|t[eé]l[eé]phone|t[eé]l|mobile|m[oó]vil|cell(?: ?phone|ulare?)?|handy|"
    r"fax|whats ?app|call(?: me| us)?|ring(?: me| us)|text(?: me| us)|sms|rufnummer|celular|portable|"
    r"telefoon|telem[oó]vel)\.?(?:[ -](?:number|no\.?|nr\.?|is|at|on))*[:=]?\s{0,2}(\(?[0-9](?:"
    + _BETWEEN
    + r"[0-9]){6,13})\b)"
)
_ANNOUNCED = form(_LIKE_ANNOUNCED)
LIKE_PHONE = rf"\+[1-9](?:{_BETWEEN}[0-9]){{7}}|{_LIKE_AMERICAN}|{_LIKE_ANNOUNCED}"
"""How any of them looks."""
_DECIMAL = re.compile(r"\+[0-9]+\.[0-9]+")
_DATE = re.compile(r"(?:19|20)[0-9]{2}([-./])[0-9]{2}\1[0-9]{2}|[0-9]{2}([-./])[0-9]{2}\2(?:19|20)[0-9]{2}")

_LENGTHS = {
    code: range(*(int(bound) + extra for extra, bound in enumerate(bounds.split("-"))))
    for bounds, codes in (
        line.split(":")
        for line in (
            "4-5:290",
            "4-11:352",
            "4-13:43",
            "5-5:247 500 682",
            "5-7:676 677 678 683 688 690",
            "5-9:27 686",
            "5-10:82 358 685",
            "5-15:49",
            "6-6:298 299 672 681 687",
            "6-7:597",
            "6-9:40 252 359 376 421 508",
            "6-10:53 63 95 98 880",
            "6-12:39",
            "7-7:238 239 246 248 269 291 297 501 592 673 674 679 680 691 692 960",
            "7-8:230 241 267 372 507 599 670 675 961 975",
            "7-9:46 48 220 231 254 265 354 423 595 967",
            "7-10:243 353",
            "7-11:86",
            "7-12:62 381 882",
            "8-8:45 47 65 216 222 223 226 227 228 232 235 236 253 257 266 268 350 356 357 370 371 373 374 382 386 389",
            "8-8:502 503 504 505 506 509 591 598 689 800 808 852 853 965 968 973 974 993",
            "8-9:32 36 51 66 213 224 250 258 264 355 377 385 387 593 855 886 962 963 970 971",
            "8-10:20 57 60 64 378 850 856 964 976 977",
            "8-12:383 883 972",
            "9-9:33 34 41 56 61 93 94 211 212 218 221 233 237 240 242 244 245 249 251 255 256 260 261 262 263 351 375",
            "9-9:380 420 590 594 596 966 979 992 994 995 996 998",
            "9-10:44 81 84 92 881",
            "9-11:31",
            "9-12:870",
            "10-10:1 7 30 52 58 90 91 225 229 234",
            "10-11:54 55",
            "11-11:888",
            "12-12:878",
        )
    )
    for code in codes.split()
}
"""Calling code → how many digits may follow it (recommendation E.164, and the countries' numbering plans)."""


def phone_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Where phone numbers stand, in no order; one may be found twice."""
    plus = text.find("+")
    while plus >= 0:
        match = _INTERNATIONAL.match(text, plus)
        if match and not text[max(0, plus - 1) : plus].isalnum() and not _DECIMAL.fullmatch(match[0]):
            digits = "".join(character for character in match[0] if "0" <= character <= "9")
            if any(len(digits) - length in _LENGTHS.get(digits[:length], ()) for length in (1, 2, 3)):
                yield plus - (text[max(0, plus - 1) : plus] == "("), match.end()
        plus = text.find("+", plus + 1)
    for found in _AMERICAN.finditer(text):
        start, end = found.span()
        if text[max(0, start - 1) : start] not in {"+", "=", "_"} and stands_alone(text, start, end):
            yield start, end
    for found in _ANNOUNCED.finditer(text):
        if not _DATE.match(found.group(1)):
            yield found.span(1)
