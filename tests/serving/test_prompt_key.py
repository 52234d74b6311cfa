"""How the beginnings of prompts are known again."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from freehold.serving.prompt_key import BLOCK, MOST, PromptKey
from freehold.types.chat import ChatRequest


def conversation(*texts: str, **more: Any) -> PromptKey:
    """The key of a conversation whose turns alternate, the first one the system's."""
    roles = ("system", *(("user", "assistant")[place % 2] for place in range(len(texts))))
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    return PromptKey(None, ChatRequest.model_validate({"model": "chat", "messages": messages, **more}))


def shared(one: PromptKey, other: PromptKey) -> int:
    """How many first blocks two keys have in common."""
    count = 0
    for left, right in zip(one.blocks, other.blocks, strict=False):
        if left != right:
            break
        count += 1
    return count


@given(st.text(max_size=3000), st.text(max_size=600), st.text(max_size=600))
def test_as_many_blocks_are_shared_as_the_texts_share(common: str, one: str, other: str) -> None:
    """Two prompts have the first blocks in common that lie in their common beginning, and no others."""
    left, right = common + one, common + other
    whole = [text.encode(errors="replace") for text in (left, right)]
    same = next((place for place, pair in enumerate(zip(*whole, strict=False)) if pair[0] != pair[1]), None)
    length = min(map(len, whole)) if same is None else same
    assert shared(PromptKey(None, left), PromptKey(None, right)) == length // BLOCK


def test_a_next_turn_shares_all_that_was_said() -> None:
    """The conversation that goes on begins with the one before."""
    first = conversation("You are kind. " * 50, "A long question " * 50)
    second = conversation("You are kind. " * 50, "A long question " * 50, "An answer " * 50, "And now?")
    assert shared(first, second) == len(first.blocks) > 4
    assert len(second.blocks) > len(first.blocks)


def test_what_the_model_reads_first_counts_first() -> None:
    """Other tools are another beginning, and so is the same text said by another role."""
    text = "word " * 200
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    assert shared(conversation(text), conversation(text, tools=[tool])) == 0
    as_user = PromptKey(
        None, ChatRequest.model_validate({"model": "chat", "messages": [{"role": "user", "content": text}]})
    )
    assert shared(conversation(text), as_user) == 0


def test_tokens_have_keys_too() -> None:
    """A prompt of token ids is known again like one of text."""
    tokens = list(range(2000))
    assert shared(PromptKey(None, tokens), PromptKey(None, [*tokens[:1000], 7, *tokens[1001:]])) > 10


def test_short_and_long_prompts_cost_little() -> None:
    """One that is shorter than a block has no key; of a long one only the beginning is looked at."""
    assert PromptKey("user", "hi").blocks == ()
    assert len(PromptKey(None, "x" * 10_000_000).blocks) == MOST
    assert len(conversation("x" * 10_000_000).blocks) == MOST
