"""Regular expressions of blocklists: of the kind that takes linear time, whatever the text is.

RE2's syntax: what Python's `re` has, without look-around and back-references. Capital and small letters are the same,
unless the pattern begins with `(?-i)`.
"""

from collections.abc import Iterator
from functools import cache
from typing import Protocol

import re2

from freehold.errors import InvalidRequest

MAX_MEMORY = 1 << 20
"""Bytes that one compiled expression may take; its automata included."""
PROBES = ("", "a", "a 0", " ~ ", "\n", "a\nb\n")
"""Short texts with every kind of boundary in them."""


class Match(Protocol):
    """Where a pattern matched."""

    def start(self) -> int:
        """Of the text, in code points."""
        ...

    def end(self) -> int:
        """The first code point after it."""
        ...


class Pattern(Protocol):
    """A compiled regular expression."""

    def search(self, text: str) -> Match | None:
        """The first match, if there is one."""
        ...

    def finditer(self, text: str) -> Iterator[Match]:
        """All matches that do not overlap, from the left."""
        ...


def check_pattern(text: str) -> Pattern:
    """The compiled pattern of a blocklist's item.

    Raises:
        InvalidRequest: it is not an expression of RE2, would take too much memory, or matches the empty text, and with
            it everything.
    """
    try:
        compiled: Pattern = re2.compile(text, _options())
    except re2.error as error:
        raise InvalidRequest(f"The pattern '{text}' cannot be used: {_reason(error)}.", param="pattern") from error
    except UnicodeEncodeError as error:
        raise InvalidRequest("The pattern has a character that is not text (a lone surrogate).") from error
    if any(match.start() == match.end() for probe in PROBES for match in compiled.finditer(probe)):
        raise InvalidRequest(
            f"The pattern '{text}' matches where there is nothing, and so every text. Let it match at least one "
            "character, for example with + in place of *.",
            param="pattern",
        )
    return compiled


def _reason(error: Exception) -> str:
    """What RE2 says, in words that tell what to do."""
    said = error.args[0] if error.args else ""
    said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    if "too large" in said:
        return "it needs too much memory; make its repetitions smaller"
    if "(?" in said or "invalid escape sequence" in said:
        return f"{said} (look-around and back-references do not exist in RE2)"
    return said


@cache
def _options() -> "re2.Options":
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    options.case_sensitive = False
    options.never_capture = True
    return options
