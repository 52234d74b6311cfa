"""Conversations as the model reads them: through the chat template that serves it, with what is to be learnt marked.

A text is cut into tokens at the places where the model itself begins to write, since that is where serving cuts: what
came before is the prompt, and what follows is made token by token.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import TemplateError

from freehold.engines.model_defaults import chat_template
from freehold.training.finetune.base_model import BaseModel
from freehold.training.finetune.protocol import TaskInvalid

IGNORED: Final = -100
"""The label of tokens that are read and not learnt; torch's own."""


class Unrenderable(Exception):
    """An example does not go into the model's chat template; says why."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """An example in tokens; the label of each is itself where it is learnt, else `IGNORED`."""

    ids: list[int]
    labels: list[int]

    @property
    def learnt(self) -> int:
        """How many tokens are learnt."""
        return sum(label != IGNORED for label in self.labels)

    def cut(self, length: int) -> "Tokens":
        """Its beginning."""
        return Tokens(self.ids[:length], self.labels[:length])


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt with the answer that is preferred and the one that is not."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


class Conversations:
    """Turns examples into tokens.

    Args:
        base: the model whose tokenizer and chat template count.

    Raises:
        TaskInvalid: the model has no chat template.
    """

    def __init__(self, base: BaseModel) -> None:
        self._tokenizer = base.tokenizer
        self._end = str(base.tokenizer.tokens[base.tokenizer.eos])
        self._template = chat_template(base.template, None) or base.template
        if not self._template:
            raise TaskInvalid("The model has no chat template; choose one that is made for chat.", param="model")

    def learnt(self, example: Mapping[str, Any]) -> Tokens:
        """An example of supervised learning: what the assistant says is learnt, as far as its weight is not 0.

        Raises:
            Unrenderable: the template refuses it, or writes what came before otherwise once more has come.
        """
        if "messages" not in example:
            prompt = self._tokenizer.beginning(example["prompt"])
            completion = [*self._tokenizer.rest(example["completion"]), self._tokenizer.eos]
            return Tokens([*prompt, *completion], [IGNORED] * len(prompt) + completion)
        messages, tools = _messages(example["messages"]), example.get("tools")
        whole = self._render(messages, tools)
        spans = []
        for index, message in enumerate(example["messages"]):
            if message["role"] == "assistant" and message.get("weight", 1) != 0:
                spans.append(self._span(messages, index, tools, whole))
        ids: list[int] = []
        labels: list[int] = []
        done = 0
        for start, end in spans:
            read, written = self._cut(whole[done:start], first=not ids), self._tokenizer.rest(whole[start:end])
            ids += [*read, *written]
            labels += [*([IGNORED] * len(read)), *written]
            done = end
        return Tokens(ids, labels)  # what follows the last answer is not read by anything that is learnt

    def pair(self, example: Mapping[str, Any]) -> Pair:
        """An example of preferences.

        Raises:
            Unrenderable: as `learnt`.
        """
        given = example["input"]
        before, tools = _messages(given["messages"]), given.get("tools")
        prompt = self._render(before, tools, answer=True)
        outputs = []
        for name in ("preferred_output", "non_preferred_output"):
            whole = self._render([*before, *_messages(example[name])], tools)
            if not whole.startswith(prompt):
                raise Unrenderable("the chat template writes the prompt otherwise once the answer has come")
            outputs.append(self._tokenizer.rest(self._until_end(whole[len(prompt) :])))
        return Pair(self._tokenizer.beginning(prompt), *outputs)

    def prompt(self, example: Mapping[str, Any], instruction: str | None = None) -> str:
        """The text of a prompt that is to be answered.

        Args:
            example: has the messages and, if need be, tools.
            instruction: said as the system, behind what it says already.

        Raises:
            Unrenderable: the template refuses it.
        """
        messages = _messages(example["messages"])
        if instruction is not None:
            own = messages[0]["content"] + "\n\n" if messages[0]["role"] == "system" else ""
            rest = messages[1:] if own else messages
            messages = [{"role": "system", "content": own + instruction}, *rest]
        return self._render(messages, example.get("tools"), answer=True)

    def _span(self, messages: Sequence[Mapping[str, Any]], index: int, tools: Any, whole: str) -> tuple[int, int]:
        """Where in the whole text the model would write the message."""
        before = self._render(messages[:index], tools, answer=True) if index else ""
        through = self._render(messages[: index + 1], tools)
        if not through.startswith(before) or not whole.startswith(through):
            raise Unrenderable(
                "the chat template writes earlier messages otherwise once later ones have come; "
                "give the earlier messages of the assistant weight 0, or make each an example of its own"
            )
        return len(before), len(before) + len(self._until_end(through[len(before) :]))

    def _until_end(self, text: str) -> str:
        """An answer up to the token that ends it: a line end that the template puts behind that is not the model's."""
        last = text.rfind(self._end)
        return text if last < 0 else text[: last + len(self._end)]

    def _cut(self, text: str, *, first: bool) -> list[int]:
        return self._tokenizer.beginning(text) if first else self._tokenizer.rest(text)

    def _render(self, messages: Sequence[Mapping[str, Any]], tools: Any, *, answer: bool = False) -> str:
        try:
            text = self._tokenizer.fast.apply_chat_template(
                list(messages),
                tools=tools,
                chat_template=self._template,
                add_generation_prompt=answer,
                tokenize=False,
            )
        except (TemplateError, TypeError, ValueError, KeyError) as exc:
            raise Unrenderable(f"the model's chat template refuses it: {exc}") from exc
        bos = self._tokenizer.bos
        start = "" if bos is None else str(self._tokenizer.tokens[bos])
        return str(text).removeprefix(start) if start else str(text)


def _messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages as templates expect them, and as the engine hands them over."""
    return [_message(message) for message in messages]


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part["text"] for part in content)
    role = "system" if message["role"] == "developer" else message["role"]
    made: dict[str, Any] = {"role": role, "content": content or ""}
    if message.get("tool_calls"):
        made["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
            for call in message["tool_calls"]
        ]
    if "tool_call_id" in message:
        made["tool_call_id"] = message["tool_call_id"]
    return made
