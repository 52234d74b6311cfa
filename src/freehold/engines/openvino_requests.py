"""OpenAI's requests as orders for the pipeline, and its texts as OpenAI's answers."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from freehold.engines import conversation
from freehold.engines.openvino_answer import THINK, THOUGHT, Order, Sampling
from freehold.engines.openvino_text_model import TextModel
from freehold.engines.tool_calls import OPENER, CallParser, allowed_tools, call_grammar, tagged_grammar
from freehold.errors import ContextLengthExceeded, InvalidRequest, UnsupportedParameter
from freehold.types.chat import ChatRequest
from freehold.types.completions import CompletionRequest
from freehold.types.generation import ToolCallDelta

CLOSED_THOUGHT: Final = f"\n{THOUGHT}\n\n"


@dataclass(frozen=True, slots=True)
class Said:
    """What a piece of text turned out to be."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[ToolCallDelta, ...] = ()
    finish: str | None = None


class Reader(Protocol):
    """Tells what the text of an answer is, as it comes."""

    def read(self, text: str, finish: str | None) -> Said:
        """What the next piece adds; `finish` comes with the last."""


@dataclass(frozen=True, slots=True)
class Work:
    """A request, ready to be generated.

    Args:
        order: for the pipeline.
        reader: of what it writes.
    """

    order: Order
    reader: Reader


class Requests:
    """Reads the requests for one model.

    Args:
        model: is asked.
    """

    def __init__(self, model: TextModel) -> None:
        self._model = model
        self.calls_tools = OPENER in model.template_source
        self._thinks = THINK in model.template_source

    def chat(self, body: Mapping[str, Any]) -> Work:
        """A conversation.

        Raises:
            ValueError: the body is none.
            FreeholdError: it cannot be answered; says why.
        """
        request = ChatRequest.model_validate(body)
        functions, demanded = allowed_tools(request), conversation.demands_call(request)
        if request.tools and not functions and request.tool_choice != "none":
            raise InvalidRequest("Invalid value for 'tool_choice': no tool has that name.", param="tool_choice")
        if functions and not self.calls_tools:
            raise UnsupportedParameter("The model's chat template knows no tools.", param="tools")
        prompt, thinking = self._prompt(request)
        ids = self._model.encode(prompt)
        left = self._room(len(ids), "messages")
        limit = left if request.completion_limit is None else min(left, request.completion_limit)
        room = limit // 2  # grammars count two characters a token, and digits are tokens of one
        grammar = conversation.response_grammar(request, room)
        opener = None
        if demanded:
            grammar = call_grammar(functions, room)
        elif functions:
            opener = OPENER if grammar is None else None
            grammar = tagged_grammar(functions, request, room)
        stops = () if demanded else _stops(request)  # one would break the call
        sampling = _sampling(request, logprobs=bool(request.logprobs))
        order = Order(ids, limit, sampling, stops, grammar, opener, thinking=thinking)
        parser = CallParser(tagged=not demanded) if functions else None
        constrained = grammar is not None and opener is None
        return Work(order, AnswerReader(parser, thinks=self._thinks and not constrained, thinking=thinking))

    def completion(self, body: Mapping[str, Any]) -> Work:
        """A text, or token ids, to go on from.

        Raises: as `chat`.
        """
        request = CompletionRequest.model_validate(body)
        (prompt,) = request.prompts
        ids = self._model.encode(prompt, whole=True) if isinstance(prompt, str) else list(prompt)
        if not ids or any(number >= len(self._model.vocabulary.pieces) for number in ids):
            problem = "it has a token id that this model does not know" if ids else "it has no token to begin with"
            raise InvalidRequest(f"Invalid 'prompt': {problem}.", param="prompt")
        left = self._room(len(ids), "prompt")
        limit = left if request.max_tokens is None else min(left, request.max_tokens)
        sampling = _sampling(request, logprobs=request.logprobs is not None)
        return Work(Order(ids, limit, sampling, _stops(request)), AnswerReader(None, thinks=False, thinking=False))

    def count(self, body: Mapping[str, Any]) -> int:
        """The tokens of a conversation's prompt.

        Raises: as `chat`.
        """
        return len(self._model.encode(self._prompt(ChatRequest.model_validate(body))[0]))

    # Inside

    def _prompt(self, request: ChatRequest) -> tuple[str, bool]:
        """The conversation in the model's template, and whether the model is in its reasoning behind it."""
        if self._model.template is None:
            raise UnsupportedParameter("The model has no chat template; it can only complete texts.", param="messages")
        if conversation.has_pictures(request):
            raise UnsupportedParameter("The model sees no pictures.", param="messages")
        functions, demanded = allowed_tools(request), conversation.demands_call(request)
        tools = conversation.tools(request) if functions else []
        prompt = self._model.template.render(conversation.messages(request), tools)
        thinking = prompt.rstrip().endswith(THINK)
        wants_json = request.response_format is not None and request.response_format.type != "text"
        if thinking and (demanded or wants_json):
            prompt, thinking = prompt.rstrip() + CLOSED_THOUGHT, False
        return (f"{prompt}{OPENER}\n" if demanded else prompt), thinking

    def _room(self, tokens: int, param: str) -> int:
        """How many tokens the prompt leaves.

        Raises:
            ContextLengthExceeded: none.
        """
        left = self._model.context_length - tokens
        if left < 1:
            raise ContextLengthExceeded(limit=self._model.context_length, requested=tokens + 1, param=param)
        return left


class AnswerReader:
    """Takes reasoning and tool calls out of an answer's text.

    Args:
        parser: of tool calls; None where there are none.
        thinks: the answer may begin with the model's reasoning.
        thinking: it has begun already.
    """

    def __init__(self, parser: CallParser | None, *, thinks: bool, thinking: bool) -> None:
        self._parser = parser
        self._thoughts = Thoughts(thinking=thinking) if thinks else None

    def read(self, text: str, finish: str | None) -> Said:
        """See `Reader.read`."""
        reasoning = ""
        if self._thoughts is not None:
            reasoning, text = self._thoughts.feed(text, last=finish is not None)
        calls: tuple[ToolCallDelta, ...] = ()
        if self._parser is not None:
            text, calls = self._parser.feed(text)
            if finish is not None:
                text += self._parser.rest()
            if finish == "stop" and self._parser.calls:
                finish = "length" if self._parser.within else "tool_calls"  # a stop sequence may cut a call off
        return Said(text, reasoning, calls, finish)


class Thoughts:
    """Parts a model's reasoning, which it writes between tags at the beginning, from its answer.

    Args:
        thinking: the prompt's end has the opening tag already.
    """

    def __init__(self, *, thinking: bool) -> None:
        self._within = thinking
        self._done = False
        self._at_start = True
        self._held = ""

    def feed(self, text: str, *, last: bool) -> tuple[str, str]:
        """What the next piece adds to the reasoning and to the answer."""
        if self._done:
            return "", self._trimmed(text)
        self._held += text
        if not self._within:
            begun = self._held.lstrip()
            if begun.startswith(THINK):
                self._within, self._held = True, begun.removeprefix(THINK)
            elif last or not THINK.startswith(begun):
                self._done, self._at_start = True, False
                return "", self._held
            else:
                return "", ""
        thought, tag, after = self._held.partition(THOUGHT)
        if tag:
            said = self._trimmed(thought.rstrip("\n"))
            self._done = self._at_start = True
            return said, self._trimmed(after)
        keep = 0 if last else _overlap(self._held)
        self._held = thought[len(thought) - keep :]
        return self._trimmed(thought[: len(thought) - keep]), ""

    def _trimmed(self, text: str) -> str:
        """The text without line ends at the beginning of the reasoning, or of the answer behind it."""
        if self._at_start:
            text = text.lstrip("\n")
            self._at_start = not text
        return text


def _overlap(text: str) -> int:
    """How many characters at the end may be the line end before the closing tag, or its beginning."""
    tag = f"\n{THOUGHT}"
    lengths = range(min(len(tag), len(text)), 0, -1)
    return next((n for n in lengths if tag.startswith(text[-n:]) or THOUGHT.startswith(text[-n:])), 0)


def _sampling(request: ChatRequest | CompletionRequest, *, logprobs: bool) -> Sampling:
    return Sampling(
        1.0 if request.temperature is None else request.temperature,
        1.0 if request.top_p is None else request.top_p,
        request.frequency_penalty or 0.0,
        request.presence_penalty or 0.0,
        random.getrandbits(31) if request.seed is None else _folded(request.seed),  # not for secrets
        logprobs,
    )


def _folded(seed: int) -> int:
    """The seed in the library's 32 bits."""
    return seed if 0 <= seed < 2**32 else (seed ^ (seed >> 32)) & 0xFFFFFFFF


def _stops(request: ChatRequest | CompletionRequest) -> tuple[str, ...]:
    if request.stop is None:
        return ()
    return (request.stop,) if isinstance(request.stop, str) else tuple(request.stop)
