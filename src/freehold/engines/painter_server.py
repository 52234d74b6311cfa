"""The starter painter's process: pictures over HTTP on a Unix socket, by the contract of `picture_http`.

Run as `python -m freehold.engines.painter_server --spec JSON`. Pictures are painted by one thread, step by step, in
the order in which their steps are asked for: several requests progress side by side, a caller who goes stops his own
at its next step, and `/health` waits in the same queue, so that a hung painter shows. Ends at once on SIGTERM, and
when the process that started it is gone. Exits with status 1 and one line on stderr where it cannot paint.
"""

import argparse
import asyncio
import json
import math
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson
import uvloop
from aiohttp import web

from freehold.engines import painter_pictures as pictures
from freehold.engines.painter_model import SIDE, Condition, Kept, PainterModel, Sampling
from freehold.engines.painter_traits import FEATURES, SIZES
from freehold.engines.parent import follow_parent

MAX_BODY_BYTES = 64 * 1024 * 1024
"""A request: two pictures of 1024 x 1024 that do not compress, in base64, take a sixth of it."""
MAX_PICTURES = 10
MAX_PARTIALS = 3
MAX_SEED = 2**53
STEPS = {"low": 0.5, "auto": 1.0, "standard": 1.0, "medium": 1.0, "high": 2.0, "hd": 2.0}
"""How many steps a quality takes, in multiples of those that the sampling has."""

T = TypeVar("T")


class RefusedError(ValueError):
    """The request is answered with status 400.

    Args:
        message: what is wrong.
        param: the parameter at fault.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Order:
    """A request, read: what every operation has, and of pictures what the operation needs.

    Args:
        side: of the finished pictures, in pixels.
        partials: how many unfinished states of each picture are shown.
        quality: one of `STEPS`.
        prompt: None for a variation.
        image: what is edited or varied.
        mask: of an edit.
    """

    n: int
    side: int
    seed: int
    partials: int
    quality: str
    prompt: str | None
    image: pictures.Picture | None
    mask: pictures.Picture | None


def read_order(operation: str, written: bytes) -> Order:
    """The request of an operation.

    Raises:
        RefusedError, PictureError: something in it cannot be used.
    """
    try:
        body = orjson.loads(written)
    except orjson.JSONDecodeError as exc:
        raise RefusedError(f"the body is not JSON: {exc}") from exc
    if not isinstance(body, dict):
        raise RefusedError("the body must be an object")
    side = pictures.size_of(body.get("size"))
    quality = body.get("quality", "auto")
    if not isinstance(quality, str) or quality not in STEPS:
        raise RefusedError(f"quality: must be one of: {', '.join(STEPS)}", "quality")
    prompt = body.get("prompt")
    image = mask = None
    if operation == "variations":
        prompt = None
    elif not isinstance(prompt, str):
        raise RefusedError("prompt: a text is needed", "prompt")
    if operation != "generations":
        image = pictures.opened(body.get("image"), side, mode="RGB", param="image")
    if operation == "edits":
        mask = pictures.opened(body.get("mask"), side, mode="L", param="mask")
    return Order(
        n=_whole(body, "n", 1, 1, MAX_PICTURES),
        side=side,
        seed=_whole(body, "seed", 0, 0, MAX_SEED),
        partials=_whole(body, "partial_images", 0, 0, MAX_PARTIALS),
        quality=quality,
        prompt=prompt,
        image=image,
        mask=mask,
    )


def _whole(body: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = body.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise RefusedError(f"{name}: must be a whole number from {least} to {most}", name)
    return value


class PainterService:
    """Answers requests.

    Args:
        model: what paints.
        sampling: how, at a standard quality.
    """

    def __init__(self, model: PainterModel, sampling: Sampling) -> None:
        self._model = model
        self._sampling = sampling
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="painter")
        self._counters = {"since": time.time(), "requests": 0, "prompt_tokens": 0, "completion_tokens": 0}
        self._active = 0

    def application(self) -> web.Application:
        """The routes."""
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.add_routes(
            [
                web.get("/v1/health", self._health),
                web.get("/v1/counters", self._told(lambda: self._counters)),
                web.get("/v1/traits", self._told(self._traits)),
                web.get("/stats", self._told(lambda: {"active": self._active})),
                web.post("/v1/images/{operation:generations|edits|variations}", self._paint),
            ]
        )
        return application

    def _traits(self) -> dict[str, Any]:
        return {"features": FEATURES, "sizes": SIZES, "fingerprint": self._model.fingerprint}

    def _told(self, tell: Callable[[], Mapping[str, Any]]) -> Callable[[web.Request], Any]:
        async def handler(_: web.Request) -> web.Response:
            return web.json_response(body=orjson.dumps(tell()))

        return handler

    async def _health(self, _: web.Request) -> web.Response:
        await self._work(time.monotonic)  # waits its turn
        return web.json_response({"status": "ok"})

    async def _paint(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        try:
            order = await self._work(partial(read_order, request.match_info["operation"], body))
        except (RefusedError, pictures.PictureError) as exc:
            return _refusal(str(exc), exc.param)
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        self._active += 1
        try:
            async for event in self._events(order):
                await answer.write(b"data: %b\n\n" % orjson.dumps(event))
            await answer.write(b"data: [DONE]\n\n")
        finally:
            self._active -= 1
        return answer

    async def _events(self, order: Order) -> AsyncIterator[dict[str, Any]]:
        """The pictures of an order, one after the other, and what they took."""
        sampling = replace(self._sampling, steps=math.ceil(self._sampling.steps * STEPS[order.quality]))
        tokens = 0
        for index in range(order.n):
            seed = order.seed + index
            condition = await self._work(partial(self._condition, order, seed))
            tokens = condition.tokens
            async for event in self._picture(order, condition, seed, sampling):
                yield {**event, "index": index}
        self._counters["requests"] += order.n
        self._counters["prompt_tokens"] += tokens
        yield {"type": "usage", "input_tokens": tokens, "steps": order.n * sampling.steps}

    def _condition(self, order: Order, seed: int) -> Condition:
        if order.prompt is not None:
            return self._model.caption(order.prompt, seed)
        assert order.image is not None
        return self._model.look(pictures.shrunk(order.image, SIDE), seed)

    async def _picture(
        self, order: Order, condition: Condition, seed: int, sampling: Sampling
    ) -> AsyncIterator[dict[str, Any]]:
        """One picture's events."""
        kept = None
        if order.image is not None and order.mask is not None:
            kept = Kept(pictures.shrunk(order.image, SIDE), pictures.shrunk_mask(order.mask, SIDE))
        painting = self._model.paint(condition, seed, sampling, kept)
        steps = sampling.steps
        shown = [max(1, steps * (k + 1) // (order.partials + 1)) for k in range(order.partials)]
        for step in range(1, steps + 1):
            foreseen = await self._work(partial(next, painting))
            for number, at in enumerate(shown):
                if at == step:
                    text = await self._work(partial(self._file, order, foreseen, draft=True))
                    yield {"type": "image.partial", "partial_image_index": number, "b64_json": text}
        text = await self._work(partial(self._file, order, foreseen, draft=False))
        yield {"type": "image.completed", "b64_json": text, "seed": seed}

    def _file(self, order: Order, array: pictures.Array, *, draft: bool) -> str:
        """A picture of the size wanted, as a file; of an edit, with what is kept as it was."""
        picture = pictures.enlarged(array, order.side, self._model.enlarge, draft=draft)
        if order.mask is not None and order.image is not None:
            picture = pictures.merged(picture, order.image, order.mask)
        return pictures.file_of(picture)

    async def _work(self, work: Callable[[], T]) -> T:
        """Have the painting thread do something, in its turn."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _refusal(message: str, param: str | None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return web.json_response({"error": error}, status=400)


async def serve(service: PainterService, socket: Path) -> None:
    """Listen until the process is killed."""
    runner = web.AppRunner(service.application(), handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    await asyncio.Event().wait()


def _remove_old(socket: Path) -> None:
    """Remove the socket of a process that was killed; anything else that lies there stays and makes `serve` fail."""
    if socket.is_socket():
        socket.unlink()


def main() -> None:
    """Load the networks and serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="painter_server")
    parser.add_argument(
        "--spec", required=True, type=json.loads, help="socket, folder and the engine's options, as JSON"
    )
    spec = parser.parse_args().spec
    follow_parent()
    usual = Sampling()
    sampling = Sampling(*(spec.get(name, getattr(usual, name)) for name in ("steps", "guidance", "start")))
    try:
        model = PainterModel(Path(spec["folder"]), spec.get("threads", 0))
    except (OSError, ValueError, RuntimeError) as exc:
        sys.stderr.write(f"the painter cannot be served: {' '.join(str(exc).split())}\n")
        sys.exit(1)
    _remove_old(Path(spec["socket"]))
    uvloop.run(serve(PainterService(model, sampling), Path(spec["socket"])))


if __name__ == "__main__":
    main()
