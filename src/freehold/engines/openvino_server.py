"""The process of the `openvino` engine: a language model behind a subset of the OpenAI API on a Unix socket.

Run as `python -m freehold.engines.openvino_server --spec JSON`. Answers are always streamed. Besides the API's own
there are `GET /health`, `/traits`, `/counters` and `/stats`, and `POST /count`, which tells a conversation's tokens.
Ends at once on SIGTERM, and when the process that started it is gone. Exits with status 1 and one line on stderr where
the model cannot be served.
"""

import argparse
import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop
from aiohttp import web
from pydantic import ValidationError

from freehold.engines.openvino_answer import Likelihood, Order, Piece
from freehold.engines.openvino_requests import Requests, Said, Work
from freehold.engines.openvino_stepping import Delivery, Full, Stepper, Ticket
from freehold.engines.openvino_text_model import EXACT, TextModel, UnusableModel, fingerprint, load
from freehold.engines.parent import follow_parent
from freehold.errors import ContextLengthExceeded, FreeholdError
from freehold.types.generation import ToolCallDelta

MAX_BODY_BYTES: Final = 64 << 20
RETRY_AFTER_S: Final = 1
DONE: Final = b"data: [DONE]\n\n"

Chunk = Callable[[Said, tuple[Likelihood, ...]], dict[str, Any]]


class Inbox:
    """The pieces of one answer on their way from the thread to whoever streams them."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._arrived = asyncio.Event()

    def put(self, piece: Piece) -> None:
        """Called in the event loop."""
        self._pieces.append(piece)
        self._arrived.set()

    async def take(self) -> list[Piece]:
        """All pieces that have come since the last time; waits for one."""
        await self._arrived.wait()
        self._arrived.clear()
        pieces, self._pieces = self._pieces, []
        return pieces


class Service:
    """Answers requests.

    Args:
        model: writes the answers.
        traits: what is told of it.
        parallel: how many answers at once.
        max_waiting: how many requests more may wait.
    """

    def __init__(self, model: TextModel, traits: Mapping[str, Any], *, parallel: int, max_waiting: int) -> None:
        self._traits = traits
        self._requests = Requests(model)
        self._loop = asyncio.get_running_loop()
        self._inboxes: dict[Ticket, Inbox] = {}
        self._since = time.time()
        self._stepper = Stepper(model, parallel=parallel, max_waiting=max_waiting, deliver=self._from_thread)
        self._stepper.start()

    def application(self) -> web.Application:
        """The routes."""
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.add_routes(
            [
                web.get("/v1/health", self._health),
                web.get("/v1/traits", self._tell_traits),
                web.get("/v1/counters", self._count),
                web.get("/v1/stats", self._stats),
                web.post("/v1/count", self._count_tokens),
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/completions", self._complete),
            ]
        )
        return application

    async def _health(self, _request: web.Request) -> web.Response:
        """Answered by the thread that generates, between two steps, so that a hung one shows."""
        turn = self._loop.create_future()
        self._stepper.call(partial(self._loop.call_soon_threadsafe, _resolve, turn))
        await turn
        return web.json_response({"status": "ok"})

    async def _tell_traits(self, _request: web.Request) -> web.Response:
        return web.json_response({**self._traits, "tools": self._requests.calls_tools})

    async def _count(self, _request: web.Request) -> web.Response:
        counts = self._stepper.counts
        told = {"prompt_tokens": counts.prompt_tokens, "completion_tokens": counts.completion_tokens}
        return web.json_response({"since": self._since, "requests": counts.requests, **told})

    async def _stats(self, _request: web.Request) -> web.Response:
        return web.json_response({"active": self._stepper.active})

    async def _count_tokens(self, request: web.Request) -> web.Response:
        try:
            return web.json_response({"tokens": self._requests.count(orjson.loads(await request.read()))})
        except (FreeholdError, ValueError) as exc:
            return _refused(exc)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, self._requests.chat, _chat_chunk)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, self._requests.completion, _completion_chunk)

    async def _answer(
        self, request: web.Request, read: Callable[[Mapping[str, Any]], Work], chunk: Chunk
    ) -> web.StreamResponse:
        try:
            work = read(orjson.loads(await request.read()))
        except (FreeholdError, ValueError) as exc:
            return _refused(exc)
        inbox = Inbox()
        ticket: Ticket | None = None
        if work.order.limit < 1:
            inbox.put(Piece("", finish="length"))
        else:
            try:
                ticket = self._stepper.submit(work.order)
            except Full:
                return _busy()
            self._inboxes[ticket] = inbox
        try:
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            await _stream(response, inbox, work, ticket, chunk)
        finally:
            if ticket is not None and self._inboxes.pop(ticket, None) is not None:
                self._stepper.cancel(ticket)  # nothing is left of one that has finished
        return response

    def _from_thread(self, delivery: Delivery) -> None:
        self._loop.call_soon_threadsafe(self._deliver, delivery)

    def _deliver(self, delivery: Delivery) -> None:
        for ticket, piece in delivery:
            inbox = self._inboxes.get(ticket)
            if inbox is not None:
                inbox.put(piece)
                if piece.finish is not None:
                    del self._inboxes[ticket]


async def _stream(response: web.StreamResponse, inbox: Inbox, work: Work, ticket: Ticket | None, chunk: Chunk) -> None:
    """Send the pieces of an answer as they come, then its usage."""
    finish: str | None = None
    while finish is None:
        events = []
        for piece in await inbox.take():
            finish = piece.finish
            said = work.reader.read(piece.text, finish)
            if said.text or said.reasoning or said.calls or said.finish or piece.likelihoods:
                events.append(_event({"choices": [chunk(said, piece.likelihoods)]}))
        if finish is not None:
            events += [_event({"choices": [], "usage": _usage(work.order, ticket)}), DONE]
        if events:
            await response.write(b"".join(events))


def _resolve(turn: "asyncio.Future[None]") -> None:
    if not turn.done():
        turn.set_result(None)


def _event(body: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(body)


def _usage(order: Order, ticket: Ticket | None) -> dict[str, int]:
    prompt, completion = len(order.prompt), len(ticket.answer.tokens) if ticket is not None else 0
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _chat_chunk(said: Said, likelihoods: tuple[Likelihood, ...]) -> dict[str, Any]:
    delta: dict[str, Any] = {}
    if said.text:
        delta["content"] = said.text
    if said.reasoning:
        delta["reasoning_content"] = said.reasoning
    if said.calls:
        delta["tool_calls"] = [_call(call) for call in said.calls]
    choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": said.finish}
    if likelihoods:
        choice["logprobs"] = {"content": [_entry(each) for each in likelihoods]}
    return choice


def _entry(likelihood: Likelihood) -> dict[str, Any]:
    text = likelihood.text
    return {"token": text, "logprob": likelihood.logprob, "bytes": list(text.encode()), "top_logprobs": []}


def _completion_chunk(said: Said, likelihoods: tuple[Likelihood, ...]) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "text": said.text, "finish_reason": said.finish}
    if likelihoods:
        tokens, values = [each.text for each in likelihoods], [each.logprob for each in likelihoods]
        choice["logprobs"] = {"tokens": tokens, "token_logprobs": values, "top_logprobs": None}
    return choice


def _call(call: ToolCallDelta) -> dict[str, Any]:
    if call.name is None:
        return {"index": call.index, "function": {"arguments": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments}
    return {"index": call.index, "id": call.id, "type": "function", "function": function}


def _refused(problem: FreeholdError | ValueError) -> web.Response:
    """The answer to a request that cannot be answered."""
    error: dict[str, Any] = {"type": "invalid_request_error", "param": None, "code": None}
    if isinstance(problem, FreeholdError):
        error |= {"message": problem.message, "param": problem.param, "code": problem.code}
    elif isinstance(problem, ValidationError):
        first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
        error["message"] = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    else:
        error["message"] = f"the request cannot be read: {problem}"
    if isinstance(problem, ContextLengthExceeded):
        error |= {"n_ctx": problem.limit, "n_prompt_tokens": problem.requested}
    return web.json_response({"error": error}, status=400)


def _busy() -> web.Response:
    error = {"message": "as many requests wait as may", "type": "server_error", "param": None, "code": "overloaded"}
    return web.json_response({"error": error}, status=429, headers={"retry-after": str(RETRY_AFTER_S)})


async def serve(model: TextModel, spec: Mapping[str, Any]) -> None:
    """Listen until the process is ended."""
    traits = {
        "context_length": model.context_length,
        "parallel": spec["parallel"],
        "fingerprint": fingerprint(spec["weights_sha256"], spec["options"]),
        "template_sha256": hashlib.sha256(model.template_source.encode()).hexdigest(),
        "chat": model.template is not None,
        "exact": spec["options"].get("activations") == EXACT,
    }
    service = Service(model, traits, parallel=spec["parallel"], max_waiting=spec["max_waiting"])
    runner = web.AppRunner(service.application(), handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, spec["socket"], backlog=1024).start()
    await asyncio.Event().wait()


def main() -> None:
    """Load the model and serve it."""
    parser = argparse.ArgumentParser(prog="openvino_server")
    parser.add_argument("--spec", required=True, help="what to serve, as JSON")
    spec = json.loads(parser.parse_args().spec)
    follow_parent()
    try:
        model = load(
            Path(spec["model"]), spec["options"], context_length=spec["context_length"], parallel=spec["parallel"]
        )
    except UnusableModel as exc:
        sys.exit(f"the model cannot be served: {' '.join(str(exc).split())}")
    socket = Path(spec["socket"])
    if socket.is_socket():
        socket.unlink()  # of a process that was killed
    uvloop.run(serve(model, spec))


if __name__ == "__main__":
    main()
