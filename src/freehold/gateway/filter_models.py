"""The models that the content filter asks: embedding deployments and guards.

These calls are the service's own: they are on nobody's bill and pass no filter themselves.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import structlog

from freehold.catalog.deployments import DeploymentRegistry
from freehold.content_filter.base import Question
from freehold.content_filter.embedding import pieces
from freehold.engines.base import Connection
from freehold.errors import FilterUnavailable, FreeholdError
from freehold.gateway.validation import require_features
from freehold.serving.lender import Lender
from freehold.serving.own_use import OwnCall
from freehold.types.chat import ChatRequest, Message, SystemMessage, UserMessage
from freehold.types.completions import CompletionRequest
from freehold.types.deployment import ReplicaState
from freehold.types.engine import Feature
from freehold.types.generation import Delta, Event

log = structlog.get_logger(__name__)


class FilterModels:
    """Calls deployments for the content filter.

    Args:
        deployments: which there are.
        supervisor: lends their replicas.
        embedding_model: the catalog's name of the model whose vectors the filter's head reads; empty for none.
    """

    def __init__(self, deployments: DeploymentRegistry, supervisor: Lender, *, embedding_model: str) -> None:
        self._deployments = deployments
        self._supervisor = supervisor
        self._embedding_model = embedding_model

    async def embed(self, text: str) -> Sequence[Sequence[float]] | None:
        """Vectors of the pieces of a text; None where no deployment of the model runs, or it does not answer at once.

        The filter then decides by what it has: an embedding model makes it surer, it does not make it whole.
        """
        name = self._embedder()
        if name is None:
            return None
        try:
            async with self._supervisor.acquire(name, frozenset({Feature.EMBEDDINGS}), patience_s=0) as lease:
                with lease.own.call() as call:
                    found = await lease.connection.embed(pieces(text), None)
                    call.usage = found.usage
                return found.vectors
        except FreeholdError as exc:
            log.warning("filter_without_embeddings", deployment=name, code=exc.code)
            return None

    def _embedder(self) -> str | None:
        """A deployment of the embedding model that runs."""
        for deployment in self._deployments.all():
            settings = deployment.settings
            if settings.task == "embeddings" and settings.model == self._embedding_model and self._runs(settings.name):
                return settings.name
        return None

    def _runs(self, name: str) -> bool:
        return name in self._supervisor.names() and self._supervisor.status(name).state == ReplicaState.READY

    async def ask(self, name: str, question: Question) -> str:
        """A deployment's answer to a question.

        Raises:
            FilterUnavailable: there is no such deployment, or it does not answer.
        """
        try:
            deployment = self._deployments.resolve(name)
            needed = Feature.CHAT if question.prompt is None else Feature.COMPLETION
            async with self._supervisor.acquire(deployment.name, frozenset({needed})) as lease:
                require_features({"model": needed}, lease.traits, deployment)
                begun = _begin(lease.connection, deployment.settings.model, question)
                with lease.own.call() as call:
                    async with aclosing(begun) as events:
                        return await _answer(events, call)
        except FreeholdError as exc:
            log.warning("guard_failed", deployment=name, code=exc.code)
            raise FilterUnavailable(
                f"The guard model '{name}' of the content filter does not answer; try again in a moment."
            ) from exc


async def _answer(events: AsyncGenerator[Event], call: OwnCall) -> str:
    """The text of an answer; what it used is noted."""
    texts: list[str] = []
    async for event in events:
        if isinstance(event, Delta):
            texts.append(event.text)
        else:
            call.usage = event
    return "".join(texts)


def _begin(connection: Connection, model: str, question: Question) -> AsyncGenerator[Event]:
    """The call, as engines take it."""
    if question.prompt is not None:
        request = CompletionRequest(
            model=model, prompt=question.prompt, temperature=0, max_tokens=question.max_tokens, stream=True
        )
        return connection.complete(request, question.prompt)
    messages: list[Message] = [
        SystemMessage(role="system", content=text) if role == "system" else UserMessage(role="user", content=text)
        for role, text in question.messages
    ]
    return connection.chat(
        ChatRequest(
            model=model, messages=messages, temperature=0, max_completion_tokens=question.max_tokens, stream=True
        )
    )
