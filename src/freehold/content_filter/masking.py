"""Hiding what was found in a text."""

from collections.abc import Sequence

from freehold.types.content_filter import Span


def masked(text: str, spans: Sequence[Span]) -> str:
    """The text with a word in brackets in the place of each span: `[EMAIL]`, `[CARD]`, `[SECRET]`.

    Args:
        text: as it was written.
        spans: of this text, in its order and without overlaps, as `Judgement.masked` has them.
    """
    pieces: list[str] = []
    end = 0
    for span in spans:
        assert end <= span.start < span.end <= len(text), "spans come in order and do not overlap"
        pieces += (text[end : span.start], label(span))
        end = span.end
    return "".join((*pieces, text[end:]))


def label(span: Span) -> str:
    """What stands for a span."""
    return f"[{span.name.upper()}]" if span.kind == "personal_data" else f"[{span.kind.upper()}]"
