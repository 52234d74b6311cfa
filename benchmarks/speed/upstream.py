"""An upstream that answers at once: what gateways are measured against, in a process of its own.

Speaks just enough of the OpenAI API: any POST is answered with a whole chat completion, or with 32 frames where the
body has `"stream":true`; a GET with an empty list. Answers are rendered once, at the start, and each goes out in one
write. It must be much faster than what is measured; `python -m benchmarks.speed` measures it too.

    python -m benchmarks.speed.upstream --port 0
"""

import argparse
import asyncio
import json
import re
from typing import Any

import httptools
import uvloop

FRAMES = 32
"""Pieces of text in a stream; the frames with the role, the end and the usage come besides."""
ANSWER = "The quick brown fox jumps over the lazy dog and rests."
MODEL = "mock"
_WORDS = ANSWER.split()
_TEXTS = [f" {_WORDS[i % len(_WORDS)]}" for i in range(FRAMES)]
STREAM_TEXT = "".join(_TEXTS)
"""What a stream says in all."""
_STREAM = re.compile(rb'"stream"\s*:\s*true')


def _whole() -> bytes:
    body = json.dumps(
        {
            "id": "chatcmpl-mock",
            "object": "chat.completion",
            "created": 1700000000,
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": ANSWER},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 12, "completion_tokens": 12, "total_tokens": 24},
        }
    ).encode()
    return _answer(body)


def _answer(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _frame(delta: dict[str, Any] | None, finish: str | None = None) -> bytes:
    """One event; without a delta, the one with the usage."""
    event: dict[str, Any] = {
        "id": "chatcmpl-mock",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": MODEL,
        "choices": [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
    }
    if delta is None:
        event["usage"] = {"prompt_tokens": 12, "completion_tokens": FRAMES, "total_tokens": 12 + FRAMES}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def _stream() -> bytes:
    frames = [_frame({"role": "assistant", "content": ""})]
    frames += [_frame({"content": text}) for text in _TEXTS]
    frames += [_frame({}, "stop"), _frame(None), b"data: [DONE]\n\n"]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames) + b"0\r\n\r\n"


WHOLE, STREAM = _whole(), _stream()
MODELS = _answer(b'{"object":"list","data":[]}')


class Upstream(asyncio.Protocol):
    """One connection, kept alive; requests on it are answered in order."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._body = b""

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        self._body += body

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._parser.get_method() != b"POST":
            self._transport.write(MODELS)
        else:
            self._transport.write(STREAM if _STREAM.search(self._body) else WHOLE)


async def main(port: int) -> None:
    """Serve until the process is ended; the first line printed is the port."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    uvloop.run(main(parser.parse_args().port))
