"""A way to one server of the `openvino` engine, which speaks the OpenAI API as the gateway does."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from freehold.engines.base import EngineSpec
from freehold.engines.openai_http import OpenAIConnection
from freehold.engines.openai_transport import NONSENSE
from freehold.errors import EngineFailed, EngineTimeout, EngineUnavailable, UnsupportedParameter
from freehold.types.address import Address
from freehold.types.chat import ChatRequest
from freehold.types.completions import Prompt
from freehold.types.engine import EngineCounters, Feature, Traits

PROBE_TIMEOUT_S: Final = 10.0
OPEN_TIMEOUT_S: Final = 5.0
WRITING: Final = frozenset(
    {
        Feature.COMPLETION,
        Feature.STOP,
        Feature.PENALTIES,
        Feature.TOKEN_PROMPT,
    }
)
CHATTING: Final = frozenset({Feature.CHAT, Feature.JSON_OBJECT, Feature.JSON_SCHEMA})
"""What a model with a chat template does besides."""


def declared(*, chat: bool, tools: bool, exact: bool) -> frozenset[Feature]:
    """What the engine does.

    Args:
        chat: the model has a chat template.
        tools: which knows how calls are written.
        exact: what goes into the weights is not rounded, so that a seed draws alike whoever else asks.
    """
    features = set(WRITING)
    if chat:
        features |= CHATTING
    if chat and tools:
        features.add(Feature.TOOLS)
    if exact:
        features.add(Feature.SEED)
    return frozenset(features)


class OpenVinoConnection(OpenAIConnection):
    """A way to one server.

    Args:
        spec: what the server was started for.
        socket: where it listens.
    """

    def __init__(self, spec: EngineSpec, socket: Address) -> None:
        super().__init__(model=spec.settings.name, socket=socket)

    async def open(self) -> Traits:
        """See `Connection.open`."""
        try:
            told = await self.fetch("GET", self.url("traits"), timeout_s=OPEN_TIMEOUT_S)
        except EngineTimeout as exc:
            raise EngineUnavailable("the engine did not answer in time") from exc
        try:
            return Traits(
                features=declared(chat=told["chat"], tools=told["tools"], exact=told["exact"]),
                context_length=int(told["context_length"]),
                fingerprint=str(told["fingerprint"]),
                parallel=int(told["parallel"]),
                template_sha256=str(told["template_sha256"]),
            )
        except NONSENSE as exc:
            raise EngineFailed("the engine's description of itself cannot be read") from exc

    async def check(self) -> None:
        """See `Connection.check`. The thread that generates answers, so that a hung one shows."""
        try:
            await self.fetch("GET", self.url("health"), timeout_s=PROBE_TIMEOUT_S)
        except (EngineTimeout, EngineFailed) as exc:
            raise EngineUnavailable("the engine does not answer") from exc

    async def count_tokens(self, request: ChatRequest) -> int:
        """See `Connection.count_tokens`."""
        answer = await self.fetch("POST", self.url("count"), self.chat_body(request), param="messages")
        try:
            return int(answer["tokens"])
        except NONSENSE as exc:
            raise EngineFailed("the engine's tokens cannot be read") from exc

    async def counters(self) -> EngineCounters:
        """See `Connection.counters`. Tokens that were made for a stream which broke off are counted."""
        answer: Mapping[str, Any] = await self.fetch("GET", self.url("counters"), timeout_s=PROBE_TIMEOUT_S)
        try:
            return EngineCounters(**answer)
        except NONSENSE as exc:
            raise EngineFailed("the engine's counters cannot be read") from exc

    async def embed(self, inputs: Sequence[Prompt], dimensions: int | None) -> NoReturn:  # noqa: ARG002  # it has none
        """See `Connection.embed`."""
        raise UnsupportedParameter("The engine 'openvino' makes no embeddings.", param="model")
