"""Pictures over HTTP: the contract between the gateway and engines that paint, whichever they are.

`POST /v1/images/{generations,edits,variations}` takes JSON: `model`, `n`, `size` ("WxH"), `seed`, `partial_images`,
`stream` (true); generations and edits have `prompt`; edits and variations have `image`, base64 of an RGB PNG of that
size; edits have `mask`, base64 of a grey PNG of that size (255 paints anew, 0 keeps); and `quality`, `style` and
`background` where they are given and the engine has the feature. The answer is a stream of server-sent events,
interleaved over `index` in any way, and then `[DONE]`:

    {"type": "image.partial", "index", "partial_image_index", "b64_json"}      a PNG, before the picture is finished
    {"type": "image.completed", "index", "b64_json", "seed"}                   a PNG, RGB or RGBA, of the size asked for
    {"type": "usage", "input_tokens", "steps"}                                 once

Errors before the stream have OpenAI's envelope. Besides, `GET /health`, `GET /counters` (`EngineCounters`) and
`GET /traits`: `{"features": […], "sizes": ["256x256", …], "fingerprint": "…"}`.
"""

import base64
import binascii
import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from freehold.engines.openai_http import OpenAIConnection
from freehold.engines.openai_transport import NONSENSE
from freehold.errors import EngineFailed, EngineUnavailable, FreeholdError
from freehold.types.address import Address
from freehold.types.engine import EngineCounters, Feature, Traits
from freehold.types.generation import Usage
from freehold.types.images import PaintEvent, PaintRequest, PartialPicture, Picture, PictureOperation

OPERATIONS = {
    PictureOperation.GENERATION: "images/generations",
    PictureOperation.EDIT: "images/edits",
    PictureOperation.VARIATION: "images/variations",
}
"""The paths, after `/v1/`."""
MAX_PICTURE_EVENT_BYTES = 128 * 1024 * 1024
"""One event: a picture of 4096 x 4096 that does not compress has 64 MiB, and a third more in base64."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = 24
"""The signature, and IHDR up to the height."""


class PictureConnection(OpenAIConnection):
    """Talks to an engine of ours that paints.

    Args:
        model: what bodies name as the model.
        socket: where the process listens.
        parallel: requests that it works on at once; more wait.
    """

    def __init__(self, *, model: str, socket: Address, parallel: int | None = None) -> None:
        super().__init__(model=model, socket=socket)
        self._parallel = parallel

    async def open(self) -> Traits:
        """See `Connection.open`."""
        await self.check()
        told = await self.fetch("GET", self.url("traits"), timeout_s=10.0)
        try:
            return Traits(
                features=frozenset(Feature(name) for name in told["features"]),
                sizes=tuple(str(size) for size in told["sizes"]),
                fingerprint=str(told["fingerprint"]),
                parallel=self._parallel,
            )
        except NONSENSE as exc:
            raise EngineFailed("the engine's traits cannot be read") from exc

    async def check(self) -> None:
        """See `Connection.check`."""
        try:
            await self.fetch("GET", self.url("health"), timeout_s=10.0)
        except FreeholdError as exc:
            raise EngineUnavailable("the engine does not answer") from exc

    async def counters(self) -> EngineCounters:
        """See `Connection.counters`. Tokens that were made for a stream which broke off are counted."""
        answer = await self.fetch("GET", self.url("counters"), timeout_s=10.0)
        try:
            return EngineCounters(**answer)
        except NONSENSE as exc:
            raise EngineFailed("the engine's counters cannot be read") from exc

    async def paint(self, request: PaintRequest) -> AsyncGenerator[PaintEvent]:
        """See `Connection.paint`."""
        grammar = PaintGrammar(request)
        operation = OPERATIONS[request.operation]
        stream = self.events(
            operation, paint_body(request, self._model), param="prompt", max_event_bytes=MAX_PICTURE_EVENT_BYTES
        )
        clean = False
        async with aclosing(stream) as events:
            async for event in events:
                if event is None:
                    clean = True
                    break
                found = paint_event(event)
                grammar.admit(found)
                if not isinstance(found, Usage):
                    yield found
        yield grammar.close(clean=clean)


class PaintGrammar:
    """Holds an engine to what it was asked: so many pictures, each once, of the right size, and one usage."""

    def __init__(self, request: PaintRequest) -> None:
        self._request = request
        self._finished: set[int] = set()
        self._usage: Usage | None = None

    def admit(self, event: PaintEvent) -> None:
        """Look at the next event.

        Raises:
            EngineFailed: it must not come, or the picture is not what was asked for.
        """
        if self._usage is not None:
            raise EngineFailed("the engine went on after its usage")
        if isinstance(event, Usage):
            self._usage = event
            return
        if not 0 <= event.index < self._request.n or event.index in self._finished:
            raise EngineFailed("the engine painted a picture that it was not asked for")
        size = png_size(event.data)
        if isinstance(event, Picture):
            self._finished.add(event.index)
            if self._request.size not in {"auto", "{}x{}".format(*size)}:
                raise EngineFailed("the engine painted a picture of another size")

    def close(self, *, clean: bool) -> Usage:
        """The usage, once all has come; an estimate where the engine told none.

        Raises:
            EngineFailed: the stream broke off, or a picture is missing.
        """
        if not clean or len(self._finished) < self._request.n:
            raise EngineFailed("the engine broke off before all pictures were finished")
        return self._usage or Usage(math.ceil(len(self._request.prompt) / 4), estimated=True)


def paint_body(request: PaintRequest, model: str) -> dict[str, Any]:
    """The body of a request, by the contract."""
    body: dict[str, Any] = {
        "model": model,
        "n": request.n,
        "size": request.size,
        "seed": request.seed,
        "partial_images": request.partial_images,
        "stream": True,
        **request.extras,
    }
    if request.operation is not PictureOperation.VARIATION:
        body["prompt"] = request.prompt
    for name, data in (("image", request.image), ("mask", request.mask)):
        if data is not None:
            body[name] = base64.b64encode(data).decode("ascii")
    return body


def paint_event(event: Mapping[str, Any]) -> PaintEvent:
    """An event of the stream, decoded.

    Raises:
        EngineFailed: it is none of the contract's.
    """
    try:
        match event["type"]:
            case "image.partial":
                return PartialPicture(event["index"], event["partial_image_index"], decoded_png(event["b64_json"]))
            case "image.completed":
                return Picture(event["index"], decoded_png(event["b64_json"]), int(event["seed"]))
            case "usage":
                return Usage(prompt_tokens=int(event["input_tokens"]))
    except NONSENSE as exc:
        raise EngineFailed("the engine's answer cannot be read") from exc
    raise EngineFailed("the engine's answer has an event that is not known")


def decoded_png(text: str) -> bytes:
    """The PNG in a base64 text.

    Raises:
        ValueError: there is none.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ValueError("not base64") from exc
    png_size(data)
    return data


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels that a PNG says it has.

    Raises:
        ValueError: it is no PNG.
    """
    if len(data) < _HEADER_BYTES or not data.startswith(PNG_SIGNATURE) or data[12:16] != b"IHDR":
        raise ValueError("not a PNG")
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
