"""Tool calls in the way of llama.cpp's models: grammars that make them, and a parser that reads them as they come.

A call is written `{"name": "…", "arguments": {…}}`. Models whose templates follow Hermes and Qwen put
`<tool_call>` around it and may say something before; the others write the bare object.
"""

import re
import secrets
from collections.abc import Sequence
from enum import Enum, auto
from typing import Any, Final

from freehold.engines.grammar_pieces import literal
from freehold.engines.grammar_rules import Bounds, Piece, Rules, any_object, fit
from freehold.engines.grammar_schema import SchemaReader
from freehold.errors import InvalidRequest
from freehold.types.chat import ChatRequest, FunctionDefinition, JsonObjectFormat, JsonSchemaFormat, NamedToolChoice
from freehold.types.generation import ToolCallDelta

OPENER: Final = "<tool_call>"
CLOSER: Final = "</tool_call>"
MAX_CALLS: Final = 8
"""Calls in one answer, where the caller allows several."""
_HEAD: Final = re.compile(r'\s*\{"name": "([^"]*)", "arguments": ')
_HEAD_BEGIN: Final = '\n{"name": "'
_HEAD_END: Final = '", "arguments": '


def call_trigger() -> str:
    """The regular expression at whose match llama.cpp begins to hold a text to the grammar of `tagged_grammar`.

    It matches only where the text so far ends within the beginning of a call: one token may have the tag's end and
    more, and llama.cpp fails where the text behind a trigger is none of the grammar's.
    """
    tail = ""
    for char in reversed(_HEAD_BEGIN):
        tail = f"(?:{re.escape(char) if char != chr(10) else chr(10)}{tail})?"
    return f"({re.escape(OPENER)}{tail})$"


def allowed_tools(request: ChatRequest) -> list[FunctionDefinition]:
    """The functions that may be called in answer to the request."""
    functions = [tool.function for tool in request.tools or ()]
    if isinstance(request.tool_choice, NamedToolChoice):
        return [function for function in functions if function.name == request.tool_choice.function.name]
    return [] if request.tool_choice == "none" else functions


def call_grammar(functions: Sequence[FunctionDefinition], tokens: int) -> str:
    """The grammar of exactly one bare call.

    Args:
        functions: those that may be called.
        tokens: how many there are for the answer.

    Raises:
        UnsupportedParameter: a function is `strict`, and a keyword of its schema cannot be held.
        InvalidRequest: a schema is not one, or allows nothing.
    """
    return fit(lambda rules, bounds: _call(functions, rules, bounds), tokens)


def tagged_grammar(functions: Sequence[FunctionDefinition], request: ChatRequest, tokens: int) -> str:
    """The grammar of calls within their tags or, where the request wants JSON, of that instead.

    Args:
        functions: those that may be called.
        request: says whether several calls are allowed, and what other answers must look like.
        tokens: how many there are for the answer.

    Raises: as `call_grammar`.
    """

    def build(rules: Rules, bounds: Bounds) -> Piece:
        call = _call(functions, rules, bounds)
        tagged = rules.add(f"{literal(OPENER)} [\\n] {call.text} [\\n] {literal(CLOSER)}")
        more = 0 if request.parallel_tool_calls is False else MAX_CALLS - 1
        calls = Piece(rules.add(f"{tagged} ([\\n] {tagged}){{0,{more}}}"), call.most)
        answer = answer_rule(request, rules, bounds)
        if answer is None:
            return calls
        return Piece(rules.add(f"{calls.text} | {answer.text}"), max(calls.most, answer.most))

    return fit(build, tokens)


def answer_rule(request: ChatRequest, rules: Rules, bounds: Bounds) -> Piece | None:
    """The rule for what `response_format` demands; None where it demands nothing.

    Raises: as `freehold.engines.grammar_schema.schema_grammar`.
    """
    wanted = request.response_format
    if isinstance(wanted, JsonSchemaFormat) and wanted.json_schema.schema_ is not None:
        schema = wanted.json_schema.schema_
        return SchemaReader(schema, rules, bounds, param="response_format", lenient=False).root()
    if isinstance(wanted, JsonObjectFormat | JsonSchemaFormat):
        return any_object(rules, bounds)
    return None


def _call(functions: Sequence[FunctionDefinition], rules: Rules, bounds: Bounds) -> Piece:
    choices: list[str] = []
    most = 0
    for function in functions:
        schema: dict[str, Any] = function.parameters or {"type": "object", "additionalProperties": False}
        if "type" not in schema and not schema.keys() & {"$ref", "anyOf", "oneOf", "allOf"}:
            schema = {**schema, "type": "object"}  # arguments are an object, whatever the schema leaves open
        if schema.get("type", "object") != "object":
            raise InvalidRequest(
                f"Invalid schema for function '{function.name}': its 'type' must be 'object'.", param="tools"
            )
        arguments = SchemaReader(schema, rules, bounds, param="tools", lenient=not function.strict).root()
        head = literal(f'{{"name": "{function.name}", "arguments": ')
        choices.append(f'{head} {arguments.text} "}}"')
        most = max(most, arguments.most + len(head))
    return Piece(rules.add(" | ".join(choices)), most)


class _State(Enum):
    TEXT = auto()
    HEAD = auto()
    ARGUMENTS = auto()
    BETWEEN = auto()


class CallParser:
    """Reads text as it is generated, in whatever pieces, into plain text and tool calls.

    Args:
        tagged: plain text may come, and calls have tags; otherwise a call begins at once.
    """

    def __init__(self, *, tagged: bool) -> None:
        self._tagged = tagged
        self._state = _State.TEXT if tagged else _State.HEAD
        self._held = ""
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self.calls = 0

    def feed(self, piece: str) -> tuple[str, tuple[ToolCallDelta, ...]]:
        """What the next piece adds: text, and pieces of calls."""
        self._held += piece
        text: list[str] = []
        calls: list[ToolCallDelta] = []
        while self._held and self._step(text, calls):
            continue
        return "".join(text), tuple(calls)

    @property
    def within(self) -> bool:
        """Whether a call's arguments have not come to their end."""
        return self._state is _State.ARGUMENTS

    def rest(self) -> str:
        """The text that was held back when the answer ended."""
        held, self._held = self._held, ""
        if self._state is _State.HEAD and self._tagged:
            return OPENER + held
        return held if self._state is _State.TEXT else ""

    def _step(self, text: list[str], calls: list[ToolCallDelta]) -> bool:
        """Take what can be taken from what is held; whether there may be more to take."""
        match self._state:
            case _State.TEXT:
                return self._read_text(text)
            case _State.HEAD:
                return self._read_head(text, calls)
            case _State.ARGUMENTS:
                return self._read_arguments(calls)
            case _State.BETWEEN:
                return self._read_between()

    def _read_text(self, text: list[str]) -> bool:
        before, tag, after = self._held.partition(OPENER)
        if tag:
            text.append(before)
            self._held, self._state = after, _State.HEAD
            return True
        keep = next((n for n in range(min(len(OPENER) - 1, len(before)), 0, -1) if OPENER.startswith(before[-n:])), 0)
        text.append(before[: len(before) - keep])
        self._held = before[len(before) - keep :]
        return False

    def _read_head(self, text: list[str], calls: list[ToolCallDelta]) -> bool:
        if self._tagged and not _may_begin_call(self._held):
            text.append(OPENER)
            self._state = _State.TEXT
            return True
        head = _HEAD.match(self._held)
        if head is None:
            return False
        calls.append(ToolCallDelta(self.calls, f"call_{secrets.token_hex(12)}", head[1]))
        self.calls += 1
        self._held, self._state = self._held[head.end() :], _State.ARGUMENTS
        return True

    def _read_arguments(self, calls: list[ToolCallDelta]) -> bool:
        for at, char in enumerate(self._held):
            if self._escaped:
                self._escaped = False
            elif self._in_string:
                self._escaped = char == "\\"
                self._in_string = char != '"'
            elif char == '"':
                self._in_string = True
            elif char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if self._depth == 0:
                    calls.append(ToolCallDelta(self.calls - 1, arguments=self._held[: at + 1]))
                    self._held, self._state = self._held[at + 1 :], _State.BETWEEN
                    return True
        calls.append(ToolCallDelta(self.calls - 1, arguments=self._held))
        self._held = ""
        return False

    def _read_between(self) -> bool:
        """Skip the outer brace, the closing tag and line ends; another opening tag begins another call."""
        _, tag, after = self._held.partition(OPENER)
        if not tag:
            self._held = self._held[-(len(OPENER) - 1) :]
            return False
        self._held, self._state = after, _State.HEAD
        return True


def _may_begin_call(text: str) -> bool:
    """Whether what follows a tag is a call, or may become one."""
    if len(text) < len(_HEAD_BEGIN):
        return _HEAD_BEGIN.startswith(text)
    _, quote, rest = text.removeprefix(_HEAD_BEGIN).partition('"')
    after = quote + rest
    return text.startswith(_HEAD_BEGIN) and (after.startswith(_HEAD_END) or _HEAD_END.startswith(after))
