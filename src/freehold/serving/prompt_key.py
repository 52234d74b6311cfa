"""How the beginning of a prompt is known again, without its tokens and without the model's template.

The text of a conversation, role by role, is cut into blocks; each block's number is a checksum over all up to its end.
So two conversations share as many first numbers as they share beginnings, and comparing costs nothing that grows with
the text. The same way is gone by llm-d's approximate prefix cache and by vLLM for its own blocks of tokens. A collision
sends a request to a replica that has nothing for it, which is all the harm it does.
"""

import zlib
from collections.abc import Iterator
from typing import Final, Self

from freehold.types.chat import ChatRequest
from freehold.types.completions import Prompt

BLOCK: Final = 256
"""Bytes of a block: some 60 tokens of English."""
MOST: Final = 128
"""Blocks that are looked at, so that a long prompt costs no more than 32 KiB of checksums."""


class PromptKey:
    """What a request says of where it had better be served. Nothing is computed before it is asked for.

    Args:
        text: requests with the same text prefer the same replica, whatever their prompts are.
        prompt: the conversation, or the text or tokens to be continued.
    """

    __slots__ = ("_blocks", "_prompt", "text")

    def __init__(self, text: str | None, prompt: ChatRequest | Prompt) -> None:
        self.text = text
        self._prompt = prompt
        self._blocks: tuple[int, ...] | None = None

    @classmethod
    def known(cls, text: str | None, blocks: tuple[int, ...]) -> Self:
        """The key of a prompt whose blocks another process has numbered."""
        key = cls(text, "")
        key._blocks = blocks
        return key

    @property
    def blocks(self) -> tuple[int, ...]:
        """A number for each whole block of the prompt's beginning; none for a prompt that is shorter."""
        if self._blocks is None:
            self._blocks = _numbers(_beginning(self._prompt))
        return self._blocks


def _numbers(text: bytes) -> tuple[int, ...]:
    """The running checksum at the end of each whole block."""
    number, numbers = 0, []
    for start in range(0, min(len(text), MOST * BLOCK) - BLOCK + 1, BLOCK):
        number = zlib.crc32(text[start : start + BLOCK], number)
        numbers.append(number)
    return tuple(numbers)


def _beginning(prompt: ChatRequest | Prompt) -> bytes:
    """So many first bytes of what the model will read as can matter."""
    if isinstance(prompt, str):
        return prompt[: MOST * BLOCK].encode(errors="replace")
    if not isinstance(prompt, ChatRequest):
        return b"".join(b"%d," % token for token in prompt[: MOST * BLOCK])
    found, length = [], 0
    for piece in _pieces(prompt):
        found.append(data := piece[: MOST * BLOCK].encode(errors="replace"))
        length += len(data)
        if length >= MOST * BLOCK:
            break
    return b"".join(found)


def _pieces(request: ChatRequest) -> Iterator[str]:
    """What templates put into a prompt, in their order: the tools, then one message after the other."""
    for tool in request.tools or ():
        yield tool.model_dump_json(exclude_none=True)
    for message in request.messages:
        yield f"\n<{message.role}>\n"
        content = message.content
        if isinstance(content, str):
            yield content
        else:
            for part in content or ():
                yield part.model_dump_json(exclude_none=True)
        for call in getattr(message, "tool_calls", None) or ():
            yield call.model_dump_json(exclude_none=True)
