"""What the echo engine says: a "model" whose tokens are words and whose answer is the question.

Everything here is a function of the request alone, so that two runs never differ.
"""

import hashlib
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import orjson

from freehold.engines.echo_schema import minimal_instance

_TOKEN = re.compile(r"\s*\S+|\s+")


def tokenize(text: str) -> list[str]:
    """The tokens of a text: its words, each with the white space before it. Joined, they are the text."""
    return _TOKEN.findall(text)


@lru_cache(maxsize=4096)
def token_id(token: str) -> int:
    """The number of a token, below 2**24: the beginning of its digest."""
    return int.from_bytes(hashlib.blake2b(token.encode(), digest_size=3).digest())


def prompt_text(prompt: str | Sequence[int]) -> str:
    """A prompt as text; token 7 reads `<7>`, because digests cannot be turned around."""
    return prompt if isinstance(prompt, str) else " ".join(f"<{number}>" for number in prompt)


def message_text(message: Mapping[str, Any]) -> str:
    """The text of a message; pictures and other parts say nothing."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call: the function's name and its arguments as tokens of JSON text."""

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one choice says: tokens of text, or tool calls, and why it ends."""

    tokens: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    finish_reason: Literal["stop", "length", "tool_calls"] = "stop"

    @property
    def count(self) -> int:
        """The tokens produced; a call's name is one."""
        return len(self.tokens) + sum(1 + len(call.arguments) for call in self.calls)

    def in_pieces(self, length: int) -> "Answer":
        """The same in tokens of that many characters; as it is for 0."""
        if length == 0:
            return self
        calls = tuple(Call(call.name, _pieces("".join(call.arguments), length)) for call in self.calls)
        return Answer(_pieces("".join(self.tokens), length), calls, self.finish_reason)


def _pieces(text: str, length: int) -> tuple[str, ...]:
    return tuple(text[start : start + length] for start in range(0, len(text), length))


def answer_chat(body: Mapping[str, Any], most: int) -> Answer:
    """The answer to a conversation, of at most so many tokens.

    Raises:
        UnmeetableSchemaError: the response format's schema, or a tool's, cannot be met.
    """
    last = next((m for m in reversed(body["messages"]) if m["role"] in {"user", "tool"}), body["messages"][-1])
    text = message_text(last)
    calls = _calls(body, text, asked_by_user=last["role"] == "user")
    if calls:
        return _limited(Answer(calls=calls, finish_reason="tool_calls"), most)
    response_format = body.get("response_format") or {}
    match response_format.get("type"):
        case "json_object":
            text = orjson.dumps({"echo": text}).decode()
        case "json_schema":
            schema = response_format["json_schema"].get("schema") or {"type": "object"}
            text = orjson.dumps(minimal_instance(schema)).decode()
        case _:
            pass
    return answer_text(text, body, most)


def answer_text(text: str, body: Mapping[str, Any], most: int) -> Answer:
    """The text said back, less banned tokens, up to a stop or the limit."""
    bias = body.get("logit_bias")
    if bias:
        banned = {int(number) for number, value in bias.items() if value <= -100}
        text = "".join(token for token in tokenize(text) if token_id(token) not in banned)
    stop = body.get("stop")
    for ending in [stop] if isinstance(stop, str) else stop or ():
        text = text.split(ending, 1)[0]
    return _limited(Answer(tuple(tokenize(text))), most)


def _calls(body: Mapping[str, Any], text: str, *, asked_by_user: bool) -> tuple[Call, ...]:
    """The calls to make: those demanded, or, left free, of every function that the user's text names."""
    functions = {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or ()}
    choice = body.get("tool_choice") or "auto"
    if not functions or choice == "none":
        return ()
    names = [name for name in functions if name in text and asked_by_user]
    if isinstance(choice, dict):
        names = [choice["function"]["name"]]
    elif choice == "required":
        names = names or [next(iter(functions))]
    if body.get("parallel_tool_calls") is False:
        names = names[:1]
    return tuple(Call(name, tuple(tokenize(_arguments(functions[name])))) for name in names)


def _arguments(function: Mapping[str, Any]) -> str:
    return orjson.dumps(minimal_instance(function.get("parameters") or {"type": "object"})).decode()


def _limited(answer: Answer, most: int) -> Answer:
    """The answer cut to the limit; a call that does not fit is cut within its arguments."""
    if answer.count <= most:
        return answer
    left = most
    calls: list[Call] = []
    for call in answer.calls:
        if left > 0:
            calls.append(Call(call.name, call.arguments[: left - 1]))
            left -= 1 + len(calls[-1].arguments)
    return Answer(answer.tokens[:most], tuple(calls), "length")


def token_likelihoods(token: str, alternatives: int) -> tuple[float, list[tuple[str, float]]]:
    """A log probability for a token, and the likeliest tokens at its position; with the rest they sum to one."""
    probability = 0.5 + token_id(token) % 400 / 1000
    top = [(token, math.log(probability))]
    left = 1 - probability
    for index in range(1, alternatives):
        left /= 2
        top.append((f" other{index}", math.log(left)))
    return top[0][1], top[:alternatives]


def embed(text: str, length: int, dimensions: int) -> list[float]:
    """A vector of unit length made from the text's digest: `dimensions` of the `length` numbers it has."""
    blocks = (hashlib.sha256(b"%d:%b" % (index, text.encode())).digest() for index in range(-(-length // 8)))
    numbers = struct.unpack(f"<{-(-length // 8) * 8}i", b"".join(blocks))[:dimensions]
    size = math.hypot(*numbers)
    return [number / size for number in numbers]
