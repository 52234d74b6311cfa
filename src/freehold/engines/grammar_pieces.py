"""Pieces of llama.cpp's grammars (GBNF) for JSON: literals, digits in a range, numbers, strings, formats.

Source: llama.cpp's `grammars/README.md`; RFC 8259 for what JSON allows. Everything here makes texts of bounded
length, because a small model that may go on without end does.
"""

import json
from decimal import Decimal
from typing import Any

INTEGER_DIGITS = 15
"""Digits of an integer without a bound: all of these are exact in a double."""
FRACTION_DIGITS = 9
NUMBER = '"-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,9})? ([eE] [-+]? [0-9]{1,2})?'
NUMBER_LENGTH = 30
CHAR = r'[^"\\\x7F\x00-\x1F] | "\\" ["\\/bfnrt]'
"""One character of a JSON string. No `\\u`: it is never needed, and half a surrogate pair is not text."""

FORMATS = {
    "date": r"[12]\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))",
    "time": r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-](0\d|1[0-3]):[0-5]\d)",
    "duration": r"P([1-9]\d{0,2}D|T[1-9]\d{0,2}[HMS])",
    "email": r"[a-z0-9]{1,24}([._-][a-z0-9]{1,24})?@[a-z0-9]{1,24}(-[a-z0-9]{1,24})?\.[a-z]{2,8}",
    "hostname": r"[a-z0-9]{1,24}(-[a-z0-9]{1,24})?(\.[a-z0-9]{1,24}){0,3}",
    "ipv4": r"((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)",
    "ipv6": r"[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "uri": r"https?://[a-z0-9]{1,24}(\.[a-z0-9]{1,24}){1,3}(/[A-Za-z0-9._~-]{1,40}){0,5}/?",
}
"""Formats of strings as regular expressions; each describes a part of what the format allows."""
FORMATS["date-time"] = f"{FORMATS['date']}T{FORMATS['time']}"


def literal(text: str) -> str:
    """The grammar of exactly this text."""
    escaped = "".join(_ESCAPES.get(char) or (char if char.isprintable() else _code(char)) for char in text)
    return f'"{escaped}"'


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _code(char: str) -> str:
    point = ord(char)
    return f"\\x{point:02X}" if point < 0x100 else f"\\u{point:04X}" if point < 0x10000 else f"\\U{point:08X}"


def json_text(value: Any) -> str:
    """A value in the one spelling that these grammars produce."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text) else json.dumps(value)


def alternatives(choices: list[str]) -> str:
    """Any of the choices, each once, in parentheses where there is more than one."""
    unique = list(dict.fromkeys(choices))
    return unique[0] if len(unique) == 1 else f"({' | '.join(unique)})"


def digits_between(low: str, high: str) -> str:
    """All numbers from `low` to `high`, written with as many digits as both have."""
    if low == high:
        return literal(low)
    if low[0] == high[0]:
        return f"{literal(low[0])} {digits_between(low[1:], high[1:])}"
    rest = len(low) - 1
    if not rest:
        return f"[{low}-{high}]"
    first, last = int(low[0]), int(high[0])
    choices: list[str] = []
    if low[1:] != "0" * rest:
        choices.append(f"{literal(low[0])} {digits_between(low[1:], '9' * rest)}")
        first += 1
    tail: str | None = None
    if high[1:] != "9" * rest:
        tail = f"{literal(high[0])} {digits_between('0' * rest, high[1:])}"
        last -= 1
    if first <= last:
        choices.append(f"[{first}-{last}] [0-9]{{{rest}}}")
    if tail:
        choices.append(tail)
    return alternatives(choices)


def _naturals(low: int, high: int) -> list[str]:
    """The numbers from `low` to `high`, both at least 0, without leading zeros."""
    choices = []
    for length in range(len(str(low)), len(str(high)) + 1):
        least, most = max(low, 10 ** (length - 1) if length > 1 else 0), min(high, 10**length - 1)
        if least <= most:
            choices.append(digits_between(str(least), str(most)))
    return choices


def integer(low: int | None, high: int | None) -> str | None:
    """The integers from `low` to `high`; None where there is none."""
    if low is None and high is None:
        return f'("-"? [1-9] [0-9]{{0,{INTEGER_DIGITS - 1}}} | "0")'
    span: int = 10**INTEGER_DIGITS - 1
    if low is None:
        low = min(-span, (high or 0) * 2)
    if high is None:
        high = max(span, low * 2)
    if low > high:
        return None
    choices = _naturals(max(low, 0), high) if high >= 0 else []
    if low < 0:
        choices += [f'"-" {natural}' for natural in _naturals(max(1, -high), -low)]
    return alternatives(choices)


def number(low: Decimal | None, high: Decimal | None, *, above: bool, below: bool) -> str | None:
    """The decimal numbers from `low` to `high`, without exponents; None where there is none that can be written.

    Args:
        low: the least, or None.
        high: the most, or None.
        above: `low` itself is not allowed.
        below: `high` itself is not allowed.
    """
    if low is None and high is None:
        return f"({NUMBER})"
    span = Decimal(10**INTEGER_DIGITS - 1)
    low = min(-span, (high or span) * 2) if low is None else low
    high = max(span, low * 2) if high is None else high
    if low > high:
        return None
    choices: list[str] = []
    if high >= 0:
        choices += _decimals(max(low, Decimal(0)), high, above=above and low >= 0, below=below)
    if low < 0:
        least, exclusive = (-high, below) if high < 0 else (Decimal(0), below and high == 0)
        choices += [f'"-" {choice}' for choice in _decimals(least, -low, above=exclusive, below=above)]
    return alternatives(choices) if choices else None


def _decimals(low: Decimal, high: Decimal, *, above: bool, below: bool) -> list[str]:
    """The decimal numbers from `low` to `high`, both at least 0."""
    places = max(FRACTION_DIGITS, -int(low.as_tuple().exponent), -int(high.as_tuple().exponent))
    scale: int = 10**places
    least, most = int(low * scale) + above, int(high * scale) - below
    if least > most:
        return []
    first, last = -(-least // scale), most // scale  # the integers within
    choices = _naturals(first, last) if first <= last else []
    filled = (most + 1) // scale - 1  # up to this integer, any fraction may follow
    if first <= filled:
        choices += [f'{natural} "." [0-9]{{1,{FRACTION_DIGITS}}}' for natural in _naturals(first, filled)]
    bottom, top = least // scale, most // scale
    if least % scale:
        choices.append(_fraction(bottom, least % scale, most % scale if bottom == top else scale - 1, places))
    if top > filled and (bottom < top or not least % scale):
        choices.append(_fraction(top, 0, most % scale, places))
    return choices


def _fraction(whole: int, low: int, high: int, places: int) -> str:
    """The numbers with this integer part whose fraction, in units of the last place, lies between the two."""
    if low == 1 and high == 10**places - 1:  # anything but zero
        return f'"{whole}." [0-9]{{0,{places - 1}}} [1-9]'
    return f'"{whole}." {digits_between(f"{low:0{places}d}", f"{high:0{places}d}")}'
