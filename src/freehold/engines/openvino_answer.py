"""One answer while it is generated: tokens become text, and what the text must be is held.

Knows nothing of OpenVINO: the tokens come from whoever generates them, and what is to be done next is said by a `Next`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from freehold.engines.grammar_machine import GrammarMachine
from freehold.engines.token_text import Detokenizer, StopSequences, Vocabulary

THINK: Final = "<think>"
THOUGHT: Final = "</think>"
"""Within which a model that reasons does it."""

Encode: TypeAlias = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen: OpenAI's parameters, `temperature` 0 for always the likeliest."""

    temperature: float = 1.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int = 0
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """An answer to generate.

    Args:
        prompt: token ids.
        limit: the most tokens to generate.
        sampling: how they are chosen.
        stops: sequences that end the answer.
        grammar: what the text must be; of all of it or, with `opener`, from there on.
        opener: where the grammar begins, if the text comes to it outside of the model's reasoning.
        thinking: the prompt's end has begun the reasoning.
    """

    prompt: Sequence[int]
    limit: int
    sampling: Sampling = Sampling()
    stops: tuple[str, ...] = ()
    grammar: str | None = None
    opener: str | None = None
    thinking: bool = False


@dataclass(frozen=True, slots=True)
class Likelihood:
    """A token that was chosen: its text, and the logarithm of the probability that the model gave it."""

    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Piece:
    """What has been added to an answer since the piece before."""

    text: str
    likelihoods: tuple[Likelihood, ...] = ()
    finish: str | None = None


class Next(Enum):
    """What is to be done about an answer after a token."""

    GO_ON = auto()
    BEGIN_ANEW = auto()
    """Give up what was begun, and generate behind `prompt` under `grammar`."""
    END = auto()


class Answer:
    """Reads the tokens of one answer.

    Args:
        order: what is wanted.
        vocabulary: what tokens stand for.
        encode: makes tokens of a text, without any before or behind it.
    """

    def __init__(self, order: Order, vocabulary: Vocabulary, encode: Encode) -> None:
        self.order = order
        self.tokens: list[int] = []
        """What was generated so far, without the token that ends an answer."""
        self.anew = 0
        """How often it was begun anew."""
        self._vocabulary = vocabulary
        self._encode = encode
        self._detokenizer = Detokenizer(vocabulary)
        self._stops = StopSequences(order.stops)
        self._machine = GrammarMachine(order.grammar) if order.grammar and order.opener is None else None
        self._opener = _Opener(order.opener, thinking=order.thinking) if order.opener else None
        self._settled = 0
        self._since = ""
        self._text: list[str] = []
        self._due: deque[tuple[Likelihood, int]] = deque()
        self._ahead = 0
        self._finish: str | None = None

    @property
    def prompt(self) -> list[int]:
        """What the rest of the answer is generated behind."""
        return [*self.order.prompt, *self.tokens]

    @property
    def left(self) -> int:
        """How many tokens may still come."""
        return self.order.limit - len(self.tokens)

    @property
    def grammar(self) -> str | None:
        """What the rest must be, for a library that would be slow with large bounds; None for anything."""
        return None if self._machine is None else self._machine.remainder()

    def take(self, token: int, logprob: float) -> Next:
        """Read the next token."""
        if token in self._vocabulary.ends:
            if self._machine is not None and not self._machine.may_end:
                return self._again()
            return self._end("stop")
        if self._detokenizer.between:
            self._settled, self._since = len(self.tokens), ""
        self.tokens.append(token)
        text = self._detokenizer.feed(token)
        kept = self._fitting(text)
        self._since += text[:kept]
        if self._say(text[:kept], logprob):
            return self._end("stop")
        if self._machine is not None and self._machine.must_end:
            return self._end("stop")
        if kept < len(text) or (self._opener is not None and self._opener.found):
            return self._again()
        return Next.GO_ON if self.left > 0 else self._end("length")

    def piece(self) -> Piece | None:
        """What was added since the last time; None where nothing was."""
        text, self._text = "".join(self._text), []
        self._ahead += len(text)
        likelihoods = []
        while self._due and self._due[0][1] <= self._ahead:
            likelihood, length = self._due.popleft()
            self._ahead -= length
            likelihoods.append(likelihood)
        if not text and not likelihoods and self._finish is None:
            return None
        return Piece(text, tuple(likelihoods), self._finish)

    # Inside

    def _fitting(self, text: str) -> int:
        """How many characters of the text may stand."""
        if self._machine is not None:
            return self._machine.feed(text)
        if self._opener is not None:
            kept = self._opener.feed(text)
            if self._opener.found:
                assert self.order.grammar is not None, "an opener opens a grammar"
                assert self.order.opener is not None, "it was found"
                self._machine = GrammarMachine(self.order.grammar)
                self._machine.feed(self.order.opener)
            return kept
        return len(text)

    def _say(self, text: str, logprob: float) -> bool:
        """Add to the text; whether a stop sequence has come."""
        said, stopped = self._stops.feed(text)
        self._text.append(said)
        if self.order.sampling.logprobs:
            self._due.append((Likelihood(text, logprob), len(text)))
        return stopped

    def _again(self) -> Next:
        """Put tokens of the text that stands in the place of those that went too far."""
        if self.left <= 0:
            return self._end("length")
        self._opener = None
        self.anew += 1
        del self.tokens[self._settled :]
        self.tokens += self._encode(self._since) if self._since else ()
        self._settled, self._since = len(self.tokens), ""
        self._detokenizer.reset()
        return Next.BEGIN_ANEW if self.left > 0 else self._end("length")

    def _end(self, finish: str) -> Next:
        self._finish = finish
        self._text.append(self._stops.rest())
        return Next.END


class _Opener:
    """Finds where a grammar is to begin.

    Args:
        opener: the text behind which it begins.
        thinking: the model reasons already; nothing counts in there.
    """

    def __init__(self, opener: str, *, thinking: bool) -> None:
        self.found = False
        self._opener = opener
        self._awaited = THOUGHT if thinking else None
        self._tail = ""
        self._at_start = not thinking

    def feed(self, text: str) -> int:
        """Read on; how many characters stand before the grammar begins, the opener included."""
        behind = len(self._tail) + len(text)
        held = self._tail + text
        if self._at_start:
            begun = held.lstrip()
            self._at_start = THINK.startswith(begun)
            if begun.startswith(THINK):
                self._at_start, self._awaited = False, THOUGHT
        if self._awaited is not None and self._awaited in held:
            held = held.partition(self._awaited)[2]
            self._awaited = None
        if self._awaited is None and self._opener in held:
            self.found = True
            end = behind - len(held) + held.index(self._opener) + len(self._opener)
            return end - len(self._tail)
        keep = 2 * len(THOUGHT) if self._at_start else max(len(self._opener), len(THOUGHT)) - 1
        self._tail = held[-keep:]
        return len(text)
