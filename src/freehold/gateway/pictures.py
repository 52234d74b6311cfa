"""Pictures on their way through the gateway: what they are made from, and what finished ones become.

An engine gives PNGs without loss. A `Finisher` makes the files that callers get of them, of unfinished states too: it
is the one place where the output format is made and where a picture is marked with where it comes from.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from freehold.errors import InvalidRequest
from freehold.gateway.account import Account
from freehold.gateway.picture_studio import Sources, Studio
from freehold.types.generation import Usage
from freehold.types.images import (
    ImageRequest,
    OutputFormat,
    PaintEvent,
    PartialPicture,
    Picture,
    PictureFacts,
    PictureOperation,
    Upload,
)


class Finisher(Protocol):
    """Makes a file of what an engine painted."""

    async def finish(
        self,
        png: bytes,
        *,
        format: OutputFormat,  # noqa: A002  # what it is called on the wire
        compression: int,
        facts: PictureFacts,
    ) -> bytes:
        """The file.

        Args:
            png: the picture, as the engine painted it.
            format: of the file.
            compression: for JPEG and WebP: 0 is the smallest file, 100 the best picture.
            facts: what is known of the picture.

        Raises:
            InternalError: it cannot be made.
        """


@dataclass(frozen=True, slots=True)
class Uploads:
    """The files that came with a request."""

    image: Upload | None = None
    mask: Upload | None = None


NO_UPLOADS = Uploads()


class Pictures:
    """What the pipeline needs beyond an engine, to paint.

    Args:
        studio: decodes uploads.
        finisher: makes the files.
    """

    def __init__(self, studio: Studio, finisher: Finisher) -> None:
        self._studio = studio
        self._finisher = finisher

    async def sources(
        self, operation: PictureOperation, uploads: Uploads, sizes: list[tuple[int, int]]
    ) -> Sources | None:
        """What an edit or a variation is made from; None for what is made from a text alone.

        Raises:
            InvalidRequest: there is no picture, or it is not to be used.
        """
        if operation is PictureOperation.GENERATION:
            return None
        if uploads.image is None:
            raise InvalidRequest(
                "Missing required parameter: 'image'.", param="image", code="missing_required_parameter"
            )
        edit = operation is PictureOperation.EDIT
        return await self._studio.sources(uploads.image, uploads.mask, sizes, edit=edit)

    async def finished(
        self,
        events: AsyncGenerator[PaintEvent],
        request: ImageRequest,
        uploads: Uploads,
        account: Account,
    ) -> AsyncGenerator[PaintEvent]:
        """The events with files instead of an engine's PNGs.

        An upload is read again for each picture: one that waits for an engine holds none in memory.
        """
        compression = 100 if request.output_compression is None else request.output_compression
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Usage):
                    yield event
                    continue
                parents = () if uploads.image is None else (await uploads.image.read(),)
                file = await self._finisher.finish(
                    event.data,
                    format=request.format,
                    compression=compression,
                    facts=_facts(event, request, account, parents),
                )
                yield replace(event, data=file)


def _facts(
    event: PartialPicture | Picture, request: ImageRequest, account: Account, parents: tuple[bytes, ...]
) -> PictureFacts:
    deployment, lease = account.deployment, account.lease
    assert deployment is not None, "what is painted was admitted"
    return PictureFacts(
        request_id=account.request_id,
        operation=request.operation,
        deployment=deployment.name,
        model=deployment.settings.model,
        weights_sha256=lease.weights_sha256 if lease else "",
        prompt_digest=account.prompt_digest,
        seed=event.seed if isinstance(event, Picture) else None,
        created=int(time.time()),
        parents=parents,
        unfinished=event.partial_index if isinstance(event, PartialPicture) else None,
    )


async def in_order(events: AsyncGenerator[PaintEvent]) -> AsyncGenerator[PaintEvent]:
    """The events with each picture's behind those of the picture before it, for callers who are told no index."""
    waiting: dict[int, list[PartialPicture | Picture]] = {}
    turn = 0
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Usage):
                yield event
                continue
            waiting.setdefault(event.index, []).append(event)
            while turn in waiting:
                ready = waiting.pop(turn)
                for each in ready:
                    yield each
                if not isinstance(ready[-1], Picture):
                    break
                turn += 1
