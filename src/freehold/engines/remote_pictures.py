"""Pictures from somebody else's endpoint, by OpenAI's images API: JSON for generations, forms for edits and variations.

An endpoint is asked for a stream only where unfinished states are wanted: not all can. Only base64 is taken: an address
would have to be fetched, and nothing here opens a connection that an answer names.
"""

import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import aiohttp

from freehold.engines.openai_transport import NONSENSE, HttpConnection
from freehold.engines.picture_http import MAX_PICTURE_EVENT_BYTES, OPERATIONS, PaintGrammar, decoded_png
from freehold.errors import EngineFailed
from freehold.types.generation import Usage
from freehold.types.images import PaintEvent, PaintRequest, PartialPicture, Picture, PictureOperation

_BASE64_ONLY = ("gpt-image", "chatgpt-image")
"""Models whose names have this answer with base64 always, and refuse to be asked for it."""


async def paint_remotely(connection: HttpConnection, request: PaintRequest, model: str) -> AsyncGenerator[PaintEvent]:
    """The pictures that an endpoint paints; see `Connection.paint`.

    Args:
        connection: to the endpoint.
        request: what to paint.
        model: what the endpoint calls the model.
    """
    body, operation = _body(request, model), OPERATIONS[request.operation]
    grammar = PaintGrammar(request)
    events = _streamed(connection, operation, body) if request.partial_images else _whole(connection, operation, body)
    usage: Usage | None = None
    async with aclosing(events) as found:
        async for event in found:
            if isinstance(event, Usage):
                usage = event
                continue
            grammar.admit(event)
            yield event
    estimate = grammar.close(clean=True)
    yield usage or estimate


def _body(request: PaintRequest, model: str) -> Mapping[str, Any] | aiohttp.FormData:
    """The body, with what was asked for and nothing else."""
    fields: dict[str, Any] = {"model": model, "n": request.n, **request.extras}
    if request.operation is not PictureOperation.VARIATION:
        fields["prompt"] = request.prompt
    if request.size != "auto":
        fields["size"] = request.size
    if request.seed_given:
        fields["seed"] = request.seed
    if request.partial_images:
        fields |= {"stream": True, "partial_images": request.partial_images}
    elif not any(name in model for name in _BASE64_ONLY):
        fields["response_format"] = "b64_json"
    if request.operation is PictureOperation.GENERATION:
        return fields
    form = aiohttp.FormData()
    for name, value in fields.items():
        form.add_field(name, str(value).lower() if isinstance(value, bool) else str(value))
    for name, data in (("image", request.image), ("mask", request.alpha_mask)):
        if data is not None:
            form.add_field(name, data, filename=f"{name}.png", content_type="image/png")
    return form


async def _whole(
    connection: HttpConnection, operation: str, body: Mapping[str, Any] | aiohttp.FormData
) -> AsyncGenerator[PaintEvent]:
    answer = await connection.fetch("POST", connection.url(operation), body, param="prompt")
    try:
        pictures = [_picture(index, image) for index, image in enumerate(answer["data"])]
        usage = _usage(answer.get("usage"))
    except NONSENSE as exc:
        raise EngineFailed("the endpoint answered with something other than PNG pictures in base64") from exc
    for picture in pictures:
        yield picture
    if usage is not None:
        yield usage


async def _streamed(
    connection: HttpConnection, operation: str, body: Mapping[str, Any] | aiohttp.FormData
) -> AsyncGenerator[PaintEvent]:
    """The events of a stream. They name no index: each picture's come before those of the next."""
    index, usages = 0, list[Usage]()
    stream = connection.events(operation, body, param="prompt", max_event_bytes=MAX_PICTURE_EVENT_BYTES)
    async with aclosing(stream) as events:
        async for event in events:
            if event is None:
                break
            try:
                kind = str(event["type"])
                if kind.endswith(".partial_image"):
                    yield PartialPicture(index, int(event["partial_image_index"]), decoded_png(event["b64_json"]))
                elif kind.endswith(".completed"):
                    yield _picture(index, event)
                    index += 1
                    usages += [usage] if (usage := _usage(event.get("usage"))) is not None else []
            except NONSENSE as exc:
                raise EngineFailed("the endpoint's answer cannot be read") from exc
    if usages:
        yield Usage(sum(usage.prompt_tokens for usage in usages), sum(usage.completion_tokens for usage in usages))


def _picture(index: int, image: Mapping[str, Any]) -> Picture:
    revised = image.get("revised_prompt")
    return Picture(
        index, decoded_png(image["b64_json"]), revised_prompt=revised if isinstance(revised, str) and revised else None
    )


def _usage(told: Any) -> Usage | None:
    """The usage, where the endpoint tells one."""
    if not isinstance(told, Mapping):
        return None
    return Usage(max(0, math.ceil(told["input_tokens"])), max(0, math.ceil(told["output_tokens"])))
