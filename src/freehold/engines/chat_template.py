"""Chat templates of models, rendered as the library that they are written for renders them.

A template is a program that comes with the weights, so it runs in jinja's sandbox, and in the engine's process. What it
may use is what `apply_chat_template` of Hugging Face's transformers gives it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from freehold.errors import InvalidRequest

_GENERATION: Final = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
"""Marks what the assistant says, for training; means nothing here."""


class ChatTemplate:
    """One model's template.

    Args:
        source: its text.
        tokens: the special tokens that it may name, such as `bos_token`.

    Raises:
        ValueError: it is no template.
    """

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.now(UTC).strftime(form)
        try:
            self._template = environment.from_string(_GENERATION.sub("", source))
        except TemplateSyntaxError as exc:
            raise ValueError(f"its chat template cannot be read: {exc}") from exc
        self._tokens = tokens

    def render(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], *, answer: bool = True
    ) -> str:
        """The prompt of a conversation, up to where the assistant begins to write.

        Args:
            messages: as `freehold.engines.conversation.messages` makes them.
            tools: the tools as templates show them.
            answer: whether the assistant is to begin; without, the text ends with the last message.

        Raises:
            InvalidRequest: the template refuses the conversation.
        """
        values = {**self._tokens, "messages": [_readable(message) for message in messages], "tools": tools or None}
        try:
            return str(self._template.render(values, add_generation_prompt=answer))
        except (TemplateError, TypeError, ValueError, AttributeError, LookupError) as exc:
            raise InvalidRequest(f"The model's chat template refuses the messages: {exc}", param="messages") from exc


def _readable(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message with the arguments of its calls as objects, which templates write as JSON themselves."""
    if "tool_calls" not in message:
        return message
    calls = [
        {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


def _to_json(value: Any, indent: int | None = None) -> str:
    """JSON as it is, without the escapes that jinja makes for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)
