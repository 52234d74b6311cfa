"""`POST /images/generations`, `/images/edits` and `/images/variations`."""

import base64
import binascii
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeVar

from freehold.api.annotating import annotator
from freehold.api.body import parse
from freehold.api.reply import Call, Handler, Reply
from freehold.errors import InvalidRequest, UnknownParameter, UnsupportedParameter
from freehold.gateway.answers import PaintAnswer
from freehold.gateway.permits import as_served
from freehold.gateway.pictures import NO_UPLOADS, Uploads, in_order
from freehold.types.generation import Usage
from freehold.types.images import (
    HeldUpload,
    ImageEditRequest,
    ImageGenerationRequest,
    ImageRef,
    ImageRequest,
    ImageVariationRequest,
    PartialPicture,
    Picture,
    PromptedImageRequest,
    Upload,
)

_INTEGERS = frozenset({"n", "output_compression", "partial_images", "seed"})
_BOOLEANS = {"true": True, "false": False}
_TOLD_QUALITIES = frozenset({"low", "medium", "high"})
"""Those that an answer can name."""
_EVENTS = {ImageGenerationRequest: "image_generation", ImageEditRequest: "image_edit"}

RequestT = TypeVar("RequestT", bound=ImageRequest)


async def create_image(call: Call) -> Reply:
    """Paint pictures from a text."""
    request = parse(ImageGenerationRequest, call.body)
    return await _painted(call, request, NO_UPLOADS)


async def edit_image(call: Call) -> Reply:
    """Paint a part of a picture anew, or all of it, after a text."""
    request = _parsed(ImageEditRequest, call)
    image, mask = _file(call, "image"), _file(call, "mask")
    if request.images is not None:
        if len(request.images) > 1:
            raise _too_many("images")
        image = _referenced(request.images[0], "images[0]")
    if request.mask is not None:
        mask = _referenced(request.mask, "mask")
    return await _painted(call, request, Uploads(image, mask))


async def vary_image(call: Call) -> Reply:
    """Paint pictures that are like a picture."""
    request = _parsed(ImageVariationRequest, call)
    return await _painted(call, request, Uploads(_file(call, "image")))


WITH_FILES: frozenset[Handler] = frozenset({edit_image, vary_image})
"""The operations whose body may be a form."""


async def _painted(call: Call, request: ImageRequest, uploads: Uploads) -> Reply:
    call.account.called_by(request.user)
    answer = await call.gateway.paint(call.principal, request, uploads, call.account)
    request = as_served(request, call.account)
    if isinstance(request, PromptedImageRequest) and request.stream:
        return _stream(request, answer)
    return await _whole(call, request, answer)


async def _whole(call: Call, request: ImageRequest, answer: PaintAnswer) -> dict[str, Any]:
    """`ImagesResponse`."""
    pictures: dict[int, Picture] = {}
    usage = Usage()
    async with aclosing(answer.events) as events:
        async for event in events:
            if isinstance(event, Usage):
                usage = event
            elif isinstance(event, Picture):
                pictures[event.index] = event
    body: dict[str, Any] = {
        "created": answer.created,
        "data": [await _image(call, request, pictures[index]) for index in sorted(pictures)],
        "background": "transparent" if _given(request, "background") == "transparent" else "opaque",
        "output_format": request.format,
        "usage": _usage(usage),
    }
    if answer.size != "auto":
        body["size"] = answer.size
    if _given(request, "quality") in _TOLD_QUALITIES:
        body["quality"] = _given(request, "quality")
    return body


async def _image(call: Call, request: ImageRequest, picture: Picture) -> dict[str, Any]:
    """`Image`: the file itself, or an address of it."""
    body: dict[str, Any] = dict(annotator(call.dialect, call.account).picture())
    if request.by_url:
        path = await call.gateway.keep(call.principal, picture.data, request.format, call.account)
        body["url"] = call.origin + path
    else:
        body["b64_json"] = base64.b64encode(picture.data).decode("ascii")
    if picture.revised_prompt is not None:
        body["revised_prompt"] = picture.revised_prompt
    return body


async def _stream(request: PromptedImageRequest, answer: PaintAnswer) -> AsyncGenerator[dict[str, Any]]:
    """`ImageGenStreamEvent` or `ImageEditStreamEvent`, picture after picture.

    The usage of the whole request stands in its last event, which waits for it; in those of the pictures before it is
    nothing, so that their sum is right.
    """
    kind = _EVENTS[type(request)]
    last: dict[str, Any] | None = None
    async with aclosing(in_order(answer.events)) as events:
        async for event in events:
            if isinstance(event, Usage):
                assert last is not None, "a usage follows the pictures"
                yield {**last, "usage": _usage(event)}
                continue
            head = {
                "b64_json": base64.b64encode(event.data).decode("ascii"),
                "created_at": answer.created,
                "size": answer.size,
                "quality": request.quality if request.quality in _TOLD_QUALITIES else "auto",
                "background": request.background or "auto",
                "output_format": request.format,
            }
            if isinstance(event, PartialPicture):
                yield {"type": f"{kind}.partial_image", **head, "partial_image_index": event.partial_index}
                continue
            completed = {"type": f"{kind}.completed", **head, "usage": _usage(Usage())}
            if event.index < request.count - 1:
                yield completed
            else:
                last = completed


def _usage(usage: Usage) -> dict[str, Any]:
    """`ImageGenUsage`, and `ImagesUsage`, which is the same."""
    return {
        "total_tokens": usage.total_tokens,
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "input_tokens_details": {"text_tokens": usage.prompt_tokens, "image_tokens": 0},
    }


def _given(request: ImageRequest, name: str) -> Any:
    return getattr(request, name, None)


# Reading what was sent


def _parsed(model: type[RequestT], call: Call) -> RequestT:
    """The request in a JSON body or in a form's text fields, which become what they stand for."""
    if call.files is None:
        return parse(model, call.body)
    for name in call.files:
        if name not in {"image", "mask"}:
            raise UnknownParameter(f"Unknown parameter: '{name}'.", param=name)
    for name in ("image", "mask"):
        if name in call.body:
            raise InvalidRequest(f"Invalid type for '{name}': expected a file, but got a text instead.", param=name)
    return parse(model, {name: _typed(name, value) for name, value in call.body.items()})


def _typed(name: str, value: Any) -> Any:
    """A text field as the value that it stands for; as text where it stands for none, to be refused by its name."""
    if not isinstance(value, str):
        return value
    if name in _INTEGERS and value.isascii() and value.isdecimal() and len(value) <= 18:
        return int(value)
    return _BOOLEANS.get(value, value) if name == "stream" else value


def _file(call: Call, name: str) -> Upload | None:
    """The file of that name in a form; None if there is none."""
    found = (call.files or {}).get(name, ())
    if len(found) > 1:
        raise _too_many(name)
    return found[0] if found else None


def _too_many(name: str) -> UnsupportedParameter:
    return UnsupportedParameter(
        f"Unsupported value: '{name}' can be one picture only; several cannot be put together here.", param=name
    )


def _referenced(ref: ImageRef, param: str) -> Upload:
    """The picture in a data URL.

    Raises:
        UnsupportedParameter: it lies elsewhere.
        InvalidRequest: the URL cannot be read.
    """
    if ref.image_url is None:
        raise UnsupportedParameter(
            f"Unsupported parameter: '{param}.file_id': there are no uploaded files; send the picture itself.",
            param=f"{param}.file_id",
        )
    scheme, _, rest = ref.image_url.partition(":")
    head, comma, data = rest.partition(",")
    if scheme.lower() != "data" or not comma or not head.lower().endswith(";base64"):
        raise UnsupportedParameter(
            f"Unsupported value: '{param}.image_url' can only be a base64 data URL: this service fetches no pictures "
            "from other places.",
            param=f"{param}.image_url",
        )
    try:
        return HeldUpload(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError) as exc:
        raise InvalidRequest(f"Invalid value: '{param}.image_url' is not base64.", param=f"{param}.image_url") from exc
