"""The contract of detectors.

A `Detector` is a small callable: a passage goes in, findings come out, nothing else happens. It runs on the event
loop of the gateway, so it is cheap, at most tens of microseconds for a kilobyte, and its cost grows linearly with the
text, whatever the text is. A `Stage` may wait for a model. A chain asks detectors, cheapest first, then stages; what
they found is merged.

What every implementation holds, and the shared suite in tests/content_filter/ checks:

- The same text gives the same findings; `version` changes whenever they could change.
- Nothing is kept of a text between calls but caches of words.
- An error is raised, never hidden as "nothing found".
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from freehold.types.content_filter import Findings, Passage


class Detector(Protocol):
    """Finds things in a text at once."""

    name: str
    version: str
    """Of its weights or rules: what a receipt names."""

    def __call__(self, passage: Passage) -> Findings:
        """What is in the text. The offsets of spans are those of `passage.text`."""
        ...

    def pending(self, text: str) -> int:
        """How many code points at the end of an unfinished text may still become part of something to be found.

        A stream holds them back: an incomplete word, the beginning of a listed term, half a card number. At most
        256, so that no text can stop a stream; 0 where the detector judges by the whole anyway.
        """
        ...


class Stage(Protocol):
    """Finds things in a text with the help of a model."""

    name: str
    version: str

    def wants(self, passage: Passage, so_far: Findings) -> bool:
        """Whether the text is worth what the model costs, given what was found before."""
        ...

    async def __call__(self, passage: Passage, so_far: Findings) -> Findings:
        """What is in the text, given what was found before; it may take findings back, unlike a detector.

        Raises:
            FilterUnavailable: the model cannot be asked.
        """
        ...


Embed: TypeAlias = Callable[[str], Awaitable[Sequence[Sequence[float]] | None]]
"""Of a text the sentence vectors of its `embedding.pieces`, of unit length, from the deployment that the classifier's
head was trained for; None where there is none running."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked: messages (role, text) for its chat template, or a prompt that is complete as it is.

    Args:
        messages: the conversation; empty where `prompt` is given.
        prompt: the text to continue.
        max_tokens: of the answer, reasoning included.
    """

    messages: tuple[tuple[str, str], ...] = ()
    prompt: str | None = None
    max_tokens: int = 64


Ask: TypeAlias = Callable[[str, Question], Awaitable[str]]
"""A deployment's answer at temperature 0, without its reasoning.

Raises FilterUnavailable: there is none.
"""
