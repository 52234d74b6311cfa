"""The process of an engine that paints one picture at a time: the contract of `freehold.engines.picture_http`.

Pictures are painted one after the other in a thread of their own; the event loop stays free for health. When a caller
goes, the work on his picture is stopped as soon as the engine can. Exits with status 1 and one line on stderr where the
model cannot be served.
"""

import argparse
import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from freehold.engines.picture_orders import Abandoned, Order, Painter, Unsafe, UnusableModel, read_order

MAX_BODY_BYTES = 256 << 20


class Service:
    """Answers requests.

    Args:
        painter: paints.
    """

    def __init__(self, painter: Painter) -> None:
        self._painter = painter
        self._turn = asyncio.Lock()
        self._counters = {"since": time.time(), "requests": 0, "prompt_tokens": 0, "completion_tokens": 0}

    def application(self) -> web.Application:
        """The routes."""
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_get("/health", self._health)
        application.router.add_get("/v1/health", self._health)
        application.router.add_get("/v1/traits", self._traits)
        application.router.add_get("/traits", self._traits)
        application.router.add_get("/v1/counters", self._count)
        application.router.add_get("/counters", self._count)
        application.router.add_post("/v1/images/{operation}", self._paint)
        return application

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _traits(self, _request: web.Request) -> web.Response:
        can = self._painter.abilities
        return web.json_response({"features": can.features, "sizes": can.sizes, "fingerprint": can.fingerprint})

    async def _count(self, _request: web.Request) -> web.Response:
        return web.json_response(self._counters)

    async def _paint(self, request: web.Request) -> web.StreamResponse:
        """Paint, and tell as it goes."""
        operation = request.match_info["operation"]
        if operation not in self._painter.abilities.operations:
            return _refused(404, "the model does not do this")
        try:
            body = await request.json()
            order = await asyncio.to_thread(read_order, operation, body, self._painter.abilities.sizes)
        except (ValueError, RecursionError) as exc:
            return _refused(400, str(exc))
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        async with self._turn:
            await self._stream(order, response)
        return response

    async def _stream(self, order: Order, response: web.StreamResponse) -> None:
        """Send the events of one order; when this is cancelled, the work in the thread ends too."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()
        stop = threading.Event()

        def emit(event: Mapping[str, Any] | None) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        work = asyncio.create_task(asyncio.to_thread(self._work, order, emit, stop))
        try:
            while (event := await events.get()) is not None:
                await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
                if event.get("type") == "usage":
                    self._counters["requests"] += 1
                    self._counters["prompt_tokens"] += event["input_tokens"]
            await work
            await response.write(b"data: [DONE]\n\n")
        finally:
            stop.set()
            await asyncio.wait({work})

    def _work(self, order: Order, emit: Any, stop: threading.Event) -> None:
        """Paint in this thread; what goes wrong is told as an event, and never as a picture."""
        try:
            self._painter.paint(order, emit, stop)
        except Abandoned:
            pass
        except Unsafe:
            message = "Your request was rejected: the model's safety checker has refused the picture."
            kind = {"type": "invalid_request_error", "code": "content_policy_violation"}
            emit({"error": {"message": message, "param": "prompt", **kind}})
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, MemoryError) as exc:
            sys.stderr.write(f"painting failed: {type(exc).__name__}: {exc}\n")
            sys.stderr.flush()
            emit({"error": {"message": "the pipeline failed", "type": "server_error"}})
        finally:
            emit(None)


def _refused(status: int, message: str) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return web.json_response({"error": error}, status=status)


async def serve(service: Service, socket: Path) -> None:
    """Listen until the process is ended."""
    runner = web.AppRunner(service.application(), handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    await asyncio.Event().wait()


def run(name: str, load: Callable[[Path, str, Mapping[str, Any]], Painter]) -> None:
    """Load the model that the argument `--spec` names, and serve it.

    Args:
        name: of the program.
        load: makes a painter of a model's folder, its fingerprint and the deployment's options; raises UnusableModel
            where it cannot.
    """
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("--spec", required=True, help="what to serve, as JSON")
    spec = json.loads(parser.parse_args().spec)
    try:
        painter = load(Path(spec["model"]), spec["fingerprint"], spec["options"])
    except UnusableModel as exc:
        sys.exit(f"the model cannot be served: {' '.join(str(exc).split())}")
    socket = Path(spec["socket"])
    if socket.is_socket():
        socket.unlink()  # of a process that was killed
    asyncio.run(serve(Service(painter), socket))
