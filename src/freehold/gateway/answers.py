"""Answers that have begun: their first event has arrived, so everything that can be refused was refused."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from freehold.catalog.deployments import Deployment
from freehold.serving.supervisor import Lease
from freehold.types.engine import Traits
from freehold.types.generation import Embeddings, Event
from freehold.types.ids import new_id
from freehold.types.images import PaintEvent
from freehold.types.values import value_class

EventT = TypeVar("EventT")


@value_class
class Answer:
    """A text that has begun. Iterate `events` to its end, or close it."""

    id: str
    created: int
    deployment: str
    fingerprint: str
    events: AsyncGenerator[Event]


@dataclass(frozen=True, slots=True)
class PaintAnswer:
    """Pictures that have begun. Iterate `events` to its end, or close it.

    `size` is theirs, or "auto" where only the engine knows.
    """

    created: int
    deployment: str
    size: str
    events: AsyncGenerator[PaintEvent]


@dataclass(frozen=True, slots=True)
class EmbeddingAnswer:
    """Vectors, and the deployment that made them."""

    deployment: str
    embeddings: Embeddings


def text_answer(
    prefix: str, deployment: Deployment, lease: Lease | None, traits: Traits, events: AsyncGenerator[Event]
) -> Answer:
    """A text that has begun, with the fingerprint of the engine that makes it, if one does."""
    return Answer(
        id=new_id(f"{prefix}-"),
        created=int(time.time()),
        deployment=deployment.name,
        fingerprint=(traits if lease is None else lease.traits).fingerprint,
        events=events,
    )


async def begun(events: AsyncGenerator[EventT]) -> EventT:
    """Wait for the first event, so that a refusal by the engine is still a refusal and not half an answer."""
    try:
        return await anext(events)
    except BaseException:
        await events.aclose()
        raise


async def rejoined(first: EventT, rest: AsyncGenerator[EventT]) -> AsyncGenerator[EventT]:
    """The events of an answer that has begun as one stream again; closing it closes the rest."""
    async with aclosing(rest):
        yield first
        async for event in rest:
            yield event
