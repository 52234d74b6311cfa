"""The texts of a request that its content filter examines, and the request with other texts in their places."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

from freehold.types.chat import (
    AssistantMessage,
    ChatRequest,
    Message,
    RefusalPart,
    TextPart,
)
from freehold.types.completions import CompletionRequest
from freehold.types.content_filter import Source
from freehold.types.values import value_class

Change: TypeAlias = Callable[[str, Source], str]
"""A text of the request and who wrote it → what stands in its place."""

_DOCUMENTS = re.compile(r'("""\s*<documents>)(.*?)(</documents>\s*""")', re.DOTALL)
"""How Azure has callers mark what they bring into a message."""


_SOURCES = {
    "system": Source.SYSTEM,
    "developer": Source.SYSTEM,
    "user": Source.USER,
    "assistant": Source.ASSISTANT,
    "tool": Source.DOCUMENT,
    "function": Source.DOCUMENT,
}


@value_class
class Text:
    """A text and who wrote it."""

    text: str
    source: Source


def chat_texts(request: ChatRequest) -> list[Text]:
    """The texts of a conversation, in its order; pictures are none."""
    found: list[Text] = []
    for message in request.messages:
        if message.role != "assistant" and isinstance(message.content, str) and "<documents>" not in message.content:
            found.append(Text(message.content, _SOURCES[message.role]))  # the same as below, without a copy
        else:
            _message(message, partial(_keep, found))
    return [each for each in found if each.text]


def _keep(found: list[Text], text: str, source: Source) -> str:
    found.append(Text(text, source))
    return text


def joined_texts(request: ChatRequest) -> list[Text]:
    """Of each message whose text comes in several parts all of it, as a model reads it: a word may lie across them."""
    found: list[Text] = []
    for message in request.messages:
        if isinstance(message.content, list):
            parts = [part.text for part in message.content if isinstance(part, TextPart)]
            if len(parts) > 1:
                found.append(Text("".join(parts), _SOURCES[message.role]))
    return found


def with_chat_texts(request: ChatRequest, texts: Sequence[str]) -> ChatRequest:
    """The conversation with other texts, as many as `chat_texts` gives."""
    left = iter(texts)
    return _changed(request, lambda text, _source: next(left) if text else text)


def completion_texts(request: CompletionRequest) -> list[list[Text]]:
    """The texts of each prompt: itself and what is to come after the completion.

    A prompt of tokens has none; whoever examines texts refuses it.
    """
    after = [Text(request.suffix, Source.USER)] if request.suffix else []
    return [[Text(prompt, Source.USER), *after] for prompt in request.prompts if isinstance(prompt, str)]


def with_completion_texts(request: CompletionRequest, texts: Sequence[Sequence[str]]) -> CompletionRequest:
    """The request with other texts, as many as `completion_texts` gives."""
    update: dict[str, Any] = {"prompt": [each[0] for each in texts]}
    if request.suffix:
        update["suffix"] = texts[0][1]
    return request.model_copy(update=update)


def _changed(request: ChatRequest, change: Change) -> ChatRequest:
    return request.model_copy(update={"messages": [_message(message, change) for message in request.messages]})


def _message(message: Message, change: Change) -> Message:
    """A message with its texts changed."""
    if isinstance(message, AssistantMessage):
        return message.model_copy(update=dict(_said(message, change)))
    return message.model_copy(update={"content": _content(message.content, _SOURCES[message.role], change)})


def _content(content: Any, source: Source, change: Change) -> Any:
    """A message's content, a text or parts, with its texts changed."""
    if content is None:
        return None
    if isinstance(content, str):
        return _text(content, source, change)
    return [_part(part, source, change) for part in content]


def _part(part: Any, source: Source, change: Change) -> Any:
    if isinstance(part, TextPart):
        return part.model_copy(update={"text": _text(part.text, source, change)})
    if isinstance(part, RefusalPart):
        return part.model_copy(update={"refusal": change(part.refusal, source)})
    return part


def _text(text: str, source: Source, change: Change) -> str:
    """A text, of a user's what it marks as documents apart from the rest."""
    if source is not Source.USER or "<documents>" not in text:
        return change(text, source)
    pieces: list[str] = []
    end = 0
    for found in _DOCUMENTS.finditer(text):
        pieces += (change(text[end : found.end(1)], source), change(found[2], Source.DOCUMENT))
        end = found.start(3)
    return "".join((*pieces, change(text[end:], source)))


def _said(message: AssistantMessage, change: Change) -> Iterator[tuple[str, Any]]:
    """What changes of an assistant's message: its content, refusals and the arguments of its calls."""
    yield "content", _content(message.content, Source.ASSISTANT, change)
    if message.refusal is not None:
        yield "refusal", change(message.refusal, Source.ASSISTANT)
    if message.tool_calls is not None:
        yield (
            "tool_calls",
            [
                call.model_copy(
                    update={
                        "function": call.function.model_copy(
                            update={"arguments": change(call.function.arguments, Source.ASSISTANT)}
                        )
                    }
                )
                for call in message.tool_calls
            ],
        )
    if message.function_call is not None:
        arguments = change(message.function_call.arguments, Source.ASSISTANT)
        yield "function_call", message.function_call.model_copy(update={"arguments": arguments})


def echoed(request: CompletionRequest) -> dict[int, str]:
    """Of each choice the prompt that the caller is given before it."""
    if not request.echo:
        return {}
    each = request.n or 1
    return {
        n: prompt for n in range(each * len(request.prompts)) if isinstance(prompt := request.prompts[n // each], str)
    }
