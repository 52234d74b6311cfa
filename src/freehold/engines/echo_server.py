"""The echo engine's process: a subset of the OpenAI API, always streaming, deterministic and instant.

It answers what it is asked and invents the rest by rule, see `echo_model` and `echo_pictures`. Faults come by option:
a slow start, a slow stream, a crash, a hang, a failure. It is the mock engine of tests and of the gateway's
benchmarks, so it imports little and writes a whole answer at once unless it is told to be slow. SIGTERM ends it at
once, also hung.

Run as `python -m freehold.engines.echo_server (--socket PATH | --port PORT) [--options JSON]`. With `--port 0` the
first line of standard output is the port.
"""

import argparse
import asyncio
import base64
import os
import struct
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import uvloop

from freehold.engines import echo_model, echo_pictures
from freehold.engines.echo_http import STREAM_END, STREAM_HEAD, EchoProtocol, Steps, chunk, plain
from freehold.engines.echo_schema import UnmeetableSchemaError
from freehold.types.engine import features_for

CREATED = 1_700_000_000
MAX_READY = 64
"""How many events share a chunk of HTTP when nothing slows them down."""
CRASH_STATUS = 70
"""The exit status of a crash that was asked for."""


@dataclass(frozen=True, slots=True)
class EchoOptions:
    """How the engine behaves. Times are seconds, lengths are tokens.

    Args:
        delay_s: wait after each token.
        first_delay_s: wait before the first.
        context_length: prompt and completion together.
        dimensions: length of vectors.
        crash_on: a prompt that contains this text kills the process after two tokens.
        hang_on: a prompt that contains this text stops the process from answering anything, ever.
        fail_on: a prompt that contains this text is answered with status 500.
        piece_length: tokens of answers have that many characters instead of being words; 0 for words.
    """

    delay_s: float = 0.0
    first_delay_s: float = 0.0
    context_length: int = 32_768
    dimensions: int = 64
    crash_on: str = ""
    hang_on: str = ""
    fail_on: str = ""
    piece_length: int = 0


class RefusedError(ValueError):
    """The request is answered with status 400.

    Args:
        message: what is wrong.
        code: OpenAI's code for it.
        param: the parameter at fault.
    """

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}


class EchoService:
    """Answers requests; the same for every connection."""

    def __init__(self, options: EchoOptions) -> None:
        self._options = options
        self._active = 0
        self._requests = 0
        self._counters = {"since": time.time(), "requests": 0, "prompt_tokens": 0, "completion_tokens": 0}

    def respond(self, method: str, path: str, body: bytes) -> Steps:
        """The answer to a request, as steps; matches the end of the path, so that Azure's routes work as well."""
        if method == "GET":
            yield 0.0, self._state(path)
            return
        try:
            request = orjson.loads(body)
            if path.endswith("/count"):
                yield 0.0, plain(200, orjson.dumps({"tokens": len(echo_model.tokenize(_prompt(request)))}))
                return
            if path.endswith("/chat/completions"):
                prompt = _prompt(request)
                most, count = self._room(request, len(echo_model.tokenize(prompt)))
                answer = echo_model.answer_chat(request, most)
                steps = self._stream(request, prompt, count, answer, _chat_choice)
            elif path.endswith("/completions"):
                prompt = echo_model.prompt_text(request["prompt"])
                most, count = self._room(request, len(echo_model.tokenize(prompt)))
                answer = echo_model.answer_text(prompt, request, most)
                steps = self._stream(request, prompt, count, answer, _completion_choice)
            elif path.endswith("/embeddings"):
                steps = self._embeddings(request)
            elif "/images/" in path:
                steps = self._pictures(request, *echo_pictures.read_request(request, path))
            else:
                yield 0.0, plain(404, _error({"message": "no such path", "type": "invalid_request_error"}))
                return
        except RefusedError as exc:
            yield 0.0, plain(400, _error(exc.error))
        except (UnmeetableSchemaError, KeyError, TypeError, ValueError, AttributeError, IndexError) as exc:
            yield 0.0, plain(400, _error(RefusedError(f"the request cannot be read: {exc}").error))
        else:
            yield from steps

    def _state(self, path: str) -> bytes:
        if path.endswith("/health"):
            return plain(200, orjson.dumps({"status": "ok"}))
        if path.endswith("/models"):
            return plain(200, orjson.dumps({"object": "list", "data": [{"id": "echo", "object": "model"}]}))
        if path.endswith("/traits"):
            features = sorted(features_for("images"))
            told = {"features": features, "sizes": echo_pictures.SIZES, "fingerprint": "fp_echo"}
            return plain(200, orjson.dumps(told))
        if path.endswith("/counters"):
            return plain(200, orjson.dumps(self._counters))
        if path.endswith("/stats"):
            return plain(200, orjson.dumps({"active": self._active, "requests": self._requests}))
        return plain(404, _error({"message": "no such path", "type": "invalid_request_error"}))

    def _count(self, requests: int, prompt_tokens: int, completion_tokens: int) -> None:
        """Add to what `/counters` tells."""
        self._counters["requests"] += requests
        self._counters["prompt_tokens"] += prompt_tokens
        self._counters["completion_tokens"] += completion_tokens

    def _room(self, request: Mapping[str, Any], prompt_tokens: int) -> tuple[int, int]:
        """How many tokens may be produced, and how many the prompt has."""
        limit = self._options.context_length
        asked = request.get("max_completion_tokens", request.get("max_tokens"))
        needed = prompt_tokens + (1 if asked is None else asked)
        if needed > limit:
            raise RefusedError(
                f"This model's maximum context length is {limit} tokens. However, you requested {needed} tokens.",
                code="context_length_exceeded",
                param="messages" if "messages" in request else "prompt",
            )
        return (limit - prompt_tokens if asked is None else asked), prompt_tokens

    def _stream(
        self,
        request: Mapping[str, Any],
        prompt: str,
        prompt_tokens: int,
        answer: echo_model.Answer,
        choice: Any,
    ) -> Steps:
        """An answer, token by token, for each choice."""
        options = self._options
        answer = answer.in_pieces(options.piece_length)
        self._requests += 1
        self._hang(prompt)
        if options.fail_on and options.fail_on in prompt:
            yield 0.0, FAILED
            return
        crash_after = 2 if options.crash_on and options.crash_on in prompt else -1
        model = request.get("model")
        choices = request.get("n") or 1
        made, whole = 0, choices * answer.count
        self._active += 1
        try:
            yield options.first_delay_s, STREAM_HEAD
            ready: list[bytes] = []
            for index in range(choices):
                for piece in choice(request, answer, index):
                    ready.append(_event(model, piece))
                    made += 1
                    crash_after -= 1
                    if options.delay_s or crash_after >= 0 or len(ready) >= MAX_READY:
                        yield options.delay_s, chunk(*ready)
                        ready = []
                    if crash_after == 0:
                        yield 0.05, b""
                        os._exit(CRASH_STATUS)
            last = _event(model, None, _usage(prompt_tokens, whole))
            self._count(choices, prompt_tokens, whole)
            made = -1
            yield 0.0, chunk(*ready, last, b"[DONE]") + STREAM_END
        finally:
            self._active -= 1
            if made >= 0:  # it broke off
                self._count(0, prompt_tokens, min(made, whole))

    def _pictures(self, request: Mapping[str, Any], prompt: str, count: int, partials: int) -> Steps:
        """Pictures, one after the other; a crash that is asked for comes after the first event."""
        options = self._options
        self._requests += 1
        self._hang(prompt)
        if options.fail_on and options.fail_on in prompt:
            yield 0.0, FAILED
            return
        self._active += 1
        try:
            yield options.first_delay_s, STREAM_HEAD
            for index in range(count):
                for event in echo_pictures.paint(request, prompt, index, partials):
                    yield options.delay_s, chunk(orjson.dumps(event))
                    if options.crash_on and options.crash_on in prompt:
                        yield 0.05, b""
                        os._exit(CRASH_STATUS)
            tokens = len(echo_model.tokenize(prompt))
            self._count(1, tokens, 0)
            usage = {"type": "usage", "input_tokens": tokens, "steps": count}
            yield 0.0, chunk(orjson.dumps(usage), b"[DONE]") + STREAM_END
        finally:
            self._active -= 1

    def _hang(self, prompt: str) -> None:
        """Hold the only loop, so that nothing is answered from here on, if the prompt says so."""
        if self._options.hang_on and self._options.hang_on in prompt:
            threading.Event().wait()

    def _embeddings(self, request: Mapping[str, Any]) -> Steps:
        """A vector for each input."""
        options = self._options
        self._requests += 1
        given = request["input"]
        inputs = [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else given
        texts = [echo_model.prompt_text(prompt) for prompt in inputs]
        for text in texts:
            self._hang(text)
        if any(options.fail_on and options.fail_on in text for text in texts):
            yield 0.0, FAILED
            return
        dimensions = request.get("dimensions") or options.dimensions
        if dimensions > options.dimensions:
            raise RefusedError(f"dimensions: at most {options.dimensions}", param="dimensions")
        vectors = [echo_model.embed(text, options.dimensions, dimensions) for text in texts]
        if request.get("encoding_format") == "base64":
            encoded: list[Any] = [
                base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() for vector in vectors
            ]
        else:
            encoded = vectors
        count = sum(len(echo_model.tokenize(text)) for text in texts)
        answer = {
            "object": "list",
            "model": request.get("model"),
            "data": [
                {"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(encoded)
            ],
            "usage": {"prompt_tokens": count, "total_tokens": count},
        }
        yield options.first_delay_s, b""
        self._count(1, count, 0)
        yield 0.0, plain(200, orjson.dumps(answer))


def _prompt(request: Mapping[str, Any]) -> str:
    """The conversation as one text, which is what is counted."""
    return "\n".join(echo_model.message_text(message) for message in request["messages"])


def _chat_choice(request: Mapping[str, Any], answer: echo_model.Answer, index: int) -> Any:
    """The choices of each chunk of a chat answer."""
    likelihoods = (request.get("top_logprobs") or 0) if request.get("logprobs") else None
    for token in answer.tokens:
        piece: dict[str, Any] = {"index": index, "delta": {"content": token}, "finish_reason": None}
        if likelihoods is not None:
            logprob, top = echo_model.token_likelihoods(token, likelihoods)
            entry = {**_entry(token, logprob), "top_logprobs": [_entry(*other) for other in top]}
            piece["logprobs"] = {"content": [entry], "refusal": None}
        yield piece
    for number, call in enumerate(answer.calls):
        head = {
            "index": number,
            "id": f"call_{index}_{number}",
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        yield {"index": index, "delta": {"tool_calls": [head]}, "finish_reason": None}
        for token in call.arguments:
            more = {"index": number, "function": {"arguments": token}}
            yield {"index": index, "delta": {"tool_calls": [more]}, "finish_reason": None}
    yield {"index": index, "delta": {}, "finish_reason": answer.finish_reason}


def _completion_choice(request: Mapping[str, Any], answer: echo_model.Answer, index: int) -> Any:
    """The choices of each chunk of a completion."""
    likelihoods = request.get("logprobs")
    for token in answer.tokens:
        piece: dict[str, Any] = {"index": index, "text": token, "finish_reason": None}
        if likelihoods is not None:
            logprob, top = echo_model.token_likelihoods(token, likelihoods)
            piece["logprobs"] = {"tokens": [token], "token_logprobs": [logprob], "top_logprobs": [dict(top)]}
        yield piece
    yield {"index": index, "text": "", "finish_reason": answer.finish_reason}


def _entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def _event(model: Any, choice: Mapping[str, Any] | None, usage: Mapping[str, int] | None = None) -> bytes:
    """A chunk of a stream; chat and completions differ only in their choices."""
    event = {
        "id": "echo",
        "object": "completion.chunk",
        "created": CREATED,
        "model": model,
        "choices": [] if choice is None else [choice],
    }
    if usage is not None:
        event["usage"] = usage
    return orjson.dumps(event)


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _error(error: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"error": error})


FAILED = plain(500, _error({"message": "failed as asked", "type": "server_error"}))


def _remove_old(socket: Path) -> None:
    """Remove the socket of a process that was killed; anything else that lies there stays and makes `serve` fail."""
    if socket.is_socket():
        socket.unlink()


async def serve(service: EchoService, socket: Path | None, port: int) -> None:
    """Listen until the process is killed."""
    loop = asyncio.get_running_loop()
    if socket is not None:
        _remove_old(socket)
        server = await loop.create_unix_server(lambda: EchoProtocol(service.respond), str(socket), backlog=1024)
    else:
        server = await loop.create_server(lambda: EchoProtocol(service.respond), "127.0.0.1", port, backlog=1024)
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
    async with server:
        await server.serve_forever()


def main() -> None:
    """Read the arguments and serve. SIGTERM keeps its default action, which ends the process at once."""
    parser = argparse.ArgumentParser(prog="echo_server")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", type=Path)
    where.add_argument("--port", type=int)
    parser.add_argument("--options", type=orjson.loads, default={})
    arguments = parser.parse_args()
    service = EchoService(EchoOptions(**arguments.options))
    uvloop.run(serve(service, arguments.socket, arguments.port))


if __name__ == "__main__":
    main()
