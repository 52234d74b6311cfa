r"""JSON text as whoever decodes it reads it: the arguments of a tool call may spell a word as `\u0062anana`."""

import re
from collections.abc import Sequence
from dataclasses import replace

from freehold.types.content_filter import Span

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([^u]))")
_UNFINISHED = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": " ", "f": " "}


class Decoded:
    """A piece of JSON text with its escapes undone.

    Args:
        raw: as it was written; where it goes on, its end may be half an escape.
    """

    def __init__(self, raw: str) -> None:
        pieces: list[str] = []
        starts: list[int] = []
        end = 0
        for escape in _ESCAPE.finditer(raw):
            pieces += (raw[end : escape.start()], _meant(escape))
            starts += range(end, escape.start() + 1)
            end = escape.end()
        rest = _UNFINISHED.search(raw, end)
        last = rest.start() if rest else len(raw)
        self.text = "".join((*pieces, raw[end:last]))
        """Without half an escape at its end."""
        self._starts: list[int] = [*starts, *range(end, last), last]
        self._length = len(raw)

    def held(self, pending: int) -> int:
        """How much of the raw text is held when so much of this one is; half an escape is."""
        return self._length - self._starts[max(0, len(self.text) - pending)]

    def raw(self, spans: Sequence[Span]) -> tuple[Span, ...]:
        """Spans of this text as those of the raw one."""
        return tuple(replace(s, start=self._starts[s.start], end=self._starts[s.end]) for s in spans)


def _meant(escape: re.Match[str]) -> str:
    """What an escape stands for; a half of a surrogate pair stands for nothing by itself."""
    if escape[1] is None:
        return _SHORT.get(escape[2], escape[2])
    code = int(escape[1], 16)
    return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)
