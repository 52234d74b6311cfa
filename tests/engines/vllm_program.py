"""A program that speaks as vLLM does, for machines without GPUs: the server of `vllm serve` without a model.

Arguments, paths, bodies, chunks, errors and metrics are those that vLLM documents
(https://docs.vllm.ai/en/stable/serving/openai_compatible_server/); it is served by uvicorn, as vLLM is. What it answers
is the echo engine's: the "model" says back what it is asked, with an adapter in capitals, and its tokens are words. It
refuses what vLLM refuses.

Run by what `tests.engines.vllm_subject` lays where Python finds `vllm.entrypoints.cli.main`.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import prometheus_client
import uvicorn
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from freehold.engines import echo_model
from freehold.engines.echo_schema import UnmeetableSchemaError
from tests.engines.vllm_arguments import ServeRefusedError, parse
from tests.engines.vllm_nodes import meet

VERSION = "0.33.0"
VOCABULARY = 2**24
PACE_S = 0.002
"""Between two tokens."""
HANG = "hang-here"
"""A prompt that contains this is never answered, as by an engine that has stopped computing."""
DIMENSIONS = 64
UNLIKELY = -5.0
"""The log probability of a token that was chosen though others were likelier; see `_entries`."""


class RefusedError(ValueError):
    """The request is answered with an error of vLLM's form."""

    def __init__(
        self, message: str, *, status: int = 400, kind: str = "BadRequestError", param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": status}}


class Server:
    """Answers requests.

    Args:
        given: the command line.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given
        config = json.loads((Path(given.model_tag) / "config.json").read_text(encoding="utf-8"))
        self._length: int = given.max_model_len or config.get("max_position_embeddings", 2048)
        self._names = [given.served_model_name, *(module["name"] for module in given.lora_modules)]
        self._pools = given.runner == "pooling"
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        labels = ["model_name", "engine"]
        own = (given.served_model_name, "0")

        def counter(name: str) -> Counter:
            return Counter(name, "As vLLM's.", labels, registry=self.registry).labels(*own)

        self._running = Gauge("vllm:num_requests_running", "Running.", labels, registry=self.registry).labels(*own)
        self._read, self._made = counter("vllm:prompt_tokens"), counter("vllm:generation_tokens")
        self._steps = Histogram(
            "vllm:iteration_tokens_total", "Tokens per step.", labels, registry=self.registry, buckets=[1, 8, 64]
        ).labels(*own)

    def routes(self) -> list[Route]:
        """The paths that there are."""
        posts = {
            "/v1/chat/completions": self._chat,
            "/v1/completions": self._complete,
            "/v1/embeddings": self._embed,
            "/tokenize": self._tokenize,
        }
        gets = {
            "/health": Response,
            "/ping": Response,
            "/version": lambda: JSONResponse({"version": VERSION}),
            "/metrics": self._metrics,
            "/v1/models": self._models,
        }
        return [
            *(Route(path, _reading(answer), methods=["GET"]) for path, answer in gets.items()),
            *(Route(path, _posting(answer), methods=["POST"]) for path, answer in posts.items()),
        ]

    def _metrics(self) -> Response:
        return Response(prometheus_client.generate_latest(self.registry), media_type="text/plain; version=0.0.4")

    def _models(self) -> Response:
        data: list[dict[str, Any]] = [
            {"id": name, "object": "model", "owned_by": "vllm", "parent": name if index else None}
            for index, name in enumerate(self._names)
        ]
        data[0]["max_model_len"] = self._length
        return JSONResponse({"object": "list", "data": data})

    # What is asked for

    def _chat(self, body: Mapping[str, Any]) -> Response:
        self._check_model(body, pools=False, what="Chat Completions")
        if body.get("top_logprobs") and not body.get("logprobs"):
            raise RefusedError("when using `top_logprobs`, `logprobs` must be set to true.", param="top_logprobs")
        self._check_logprobs(body.get("top_logprobs"))
        self._check_tools(body)
        prompt = _prompt(body)
        most, count = self._room(body.get("max_completion_tokens", body.get("max_tokens")), prompt)
        free = {**body, "tool_choice": body.get("tool_choice") or ("auto" if body.get("tools") else "none")}
        answer = echo_model.answer_chat(free, most)
        if body["model"] != self._given.served_model_name:
            answer = replace(answer, tokens=tuple(token.upper() for token in answer.tokens))
        return self._stream(body, count, answer, "chat.completion.chunk", _chat_choices)

    def _complete(self, body: Mapping[str, Any]) -> Response:
        self._check_model(body, pools=False, what="Completions")
        if body.get("suffix"):
            raise RefusedError("suffix is not currently supported", param="suffix")
        self._check_logprobs(body.get("logprobs"))
        text = echo_model.prompt_text(body["prompt"])
        most, count = self._room(body.get("max_tokens", 16), text)
        return self._stream(
            body, count, echo_model.answer_text(text, body, most), "text_completion", _completion_choices
        )

    def _embed(self, body: Mapping[str, Any]) -> Response:
        self._check_model(body, pools=True, what="Embeddings")
        if body.get("dimensions") is not None:
            raise RefusedError(
                f'Model "{body["model"]}" does not support matryoshka representation, changing output dimensions will '
                "lead to poor results."
            )
        given = body["input"]
        inputs = [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else given
        texts = [echo_model.prompt_text(each) for each in inputs]
        count = sum(len(echo_model.tokenize(text)) for text in texts)
        self._read.inc(count)
        data = [
            {"index": index, "object": "embedding", "embedding": echo_model.embed(text, DIMENSIONS, DIMENSIONS)}
            for index, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": count, "total_tokens": count, "completion_tokens": 0}
        return JSONResponse({"id": "embd-1", "object": "list", "model": body["model"], "data": data, "usage": usage})

    def _tokenize(self, body: Mapping[str, Any]) -> Response:
        text = _prompt(body) if "messages" in body else body["prompt"]
        tokens = [echo_model.token_id(token) for token in echo_model.tokenize(text)]
        return JSONResponse({"count": len(tokens), "max_model_len": self._length, "tokens": tokens})

    # What is refused

    def _check_model(self, body: Mapping[str, Any], *, pools: bool, what: str) -> None:
        if body.get("model") not in self._names:
            raise RefusedError(f"The model `{body.get('model')}` does not exist.", status=404, kind="NotFoundError")
        if pools != self._pools:
            raise RefusedError(f"The model does not support {what} API")
        if body.get("stream_options") and not body.get("stream"):
            raise RefusedError("Stream options can only be defined when `stream=True`.")
        for token in body.get("logit_bias") or ():
            if not 0 <= int(token) < VOCABULARY:
                raise RefusedError(f"token_id(s) [{token}] in logit_bias contain out-of-vocab token ids.")

    def _check_logprobs(self, asked: int | None) -> None:
        most = self._given.max_logprobs or 20
        if (asked or 0) > most:
            raise RefusedError(
                f"Requested sample logprobs of {asked}, which is greater than max allowed: {most}", param="logprobs"
            )

    def _check_tools(self, body: Mapping[str, Any]) -> None:
        choice = body.get("tool_choice") or ("auto" if body.get("tools") else "none")
        if choice == "auto" and not self._given.enable_auto_tool_choice:
            raise RefusedError('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')
        if choice != "none" and not body.get("tools"):
            raise RefusedError("When using `tool_choice`, `tools` must be set.")
        if choice == "required" and not self._given.tool_call_parser:
            raise RefusedError('tool_choice="required" requires --tool-call-parser to be set')

    def _room(self, asked: int | None, prompt: str) -> tuple[int, int]:
        """How many tokens may be produced, and how many the prompt has."""
        count = len(echo_model.tokenize(prompt))
        if count + (asked or 1) > self._length:
            raise RefusedError(
                f"You passed {count} input tokens and requested {asked or 0} output tokens. However, the model's "
                f"context length is only {self._length} tokens, resulting in a maximum input length of "
                f"{self._length - (asked or 0)} tokens. Please reduce the length of the input prompt. "
                f"(parameter=input_tokens, value={count})",
                param="input_tokens",
            )
        return (self._length - count if asked is None else asked), count

    # What is answered

    def _stream(
        self, body: Mapping[str, Any], count: int, answer: echo_model.Answer, kind: str, choices: Any
    ) -> Response:
        if not body.get("stream"):
            raise RefusedError("only streams are spoken here")
        return StreamingResponse(self._events(body, count, answer, kind, choices), media_type="text/event-stream")

    async def _events(
        self, body: Mapping[str, Any], count: int, answer: echo_model.Answer, kind: str, choices: Any
    ) -> AsyncGenerator[str]:
        """The chunks of an answer; work ends when the caller goes."""
        head = {"id": "cmpl-1", "object": kind, "created": int(time.time()), "model": body["model"]}
        made = 0
        self._running.inc()
        self._read.inc(count)
        try:
            for token, piece in choices(body, answer):
                if HANG in "".join(answer.tokens):
                    await asyncio.Event().wait()
                if token:
                    await asyncio.sleep(PACE_S)
                    made += 1
                    self._made.inc()
                    self._steps.observe(1)
                yield f"data: {json.dumps({**head, 'choices': [piece]})}\n\n"
            usage: dict[str, Any] = {
                "prompt_tokens": count, "total_tokens": count + made, "completion_tokens": made
            }  # fmt: skip
            if self._given.enable_prompt_tokens_details:
                usage["prompt_tokens_details"] = {"cached_tokens": 0}
            if (body.get("stream_options") or {}).get("include_usage"):
                yield f"data: {json.dumps({**head, 'choices': [], 'usage': usage})}\n\n"
            yield "data: [DONE]\n\n"
        finally:
            self._running.dec()


def _reading(answer: Any) -> Any:
    async def endpoint(_request: Request) -> Response:
        found: Response = answer()
        return found

    return endpoint


def _posting(answer: Any) -> Any:
    async def endpoint(request: Request) -> Response:
        try:
            found: Response = answer(json.loads(await request.body()))
        except RefusedError as exc:
            return JSONResponse(exc.body, exc.status)
        except (UnmeetableSchemaError, KeyError, TypeError, ValueError, AttributeError) as exc:
            return JSONResponse(RefusedError(f"{type(exc).__name__}: {exc}").body, 400)
        return found

    return endpoint


def _prompt(body: Mapping[str, Any]) -> str:
    """The conversation as its template writes it: a line of each, and the tools before them."""
    tools = [json.dumps(tool) for tool in body.get("tools") or ()]
    return "\n".join([*tools, *(echo_model.message_text(message) for message in body["messages"])])


def _entries(token: str, top: int) -> list[tuple[str, float]]:
    """The chosen token, then the likeliest, of which it need not be one: words with an even number are not."""
    logprob, likely = echo_model.token_likelihoods(token, top)
    if echo_model.token_id(token) % 2:
        return [(token, logprob), *likely[1:]]
    return [(token, UNLIKELY), *((f" likelier{index}", -1.0 - index) for index in range(top))][: top + 1]


def _chat_choices(body: Mapping[str, Any], answer: echo_model.Answer) -> Any:
    """The choice of each chunk of a chat, and whether it is a token."""
    top = (body.get("top_logprobs") or 0) if body.get("logprobs") else None
    yield False, {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    for token in answer.tokens:
        logprobs = None
        if top is not None:
            entries = [
                {"token": word, "logprob": value, "bytes": list(word.encode())} for word, value in _entries(token, top)
            ]
            logprobs = {"content": [{**entries[0], "top_logprobs": entries[:top]}]}
        yield True, {"index": 0, "delta": {"content": token}, "logprobs": logprobs, "finish_reason": None}
    for number, call in enumerate(answer.calls):
        begun = {
            "id": f"chatcmpl-tool-{number}",
            "type": "function",
            "index": number,
            "function": {"name": call.name, "arguments": ""},
        }
        yield True, {"index": 0, "delta": {"tool_calls": [begun]}, "logprobs": None, "finish_reason": None}
        for token in call.arguments:
            more = {"index": number, "function": {"arguments": token}}
            yield True, {"index": 0, "delta": {"tool_calls": [more]}, "logprobs": None, "finish_reason": None}
    yield False, {"index": 0, "delta": {"content": ""}, "finish_reason": answer.finish_reason, "stop_reason": None}


def _completion_choices(body: Mapping[str, Any], answer: echo_model.Answer) -> Any:
    """The choice of each chunk of a completion, and whether it is a token."""
    top = body.get("logprobs")
    for token in answer.tokens:
        logprobs = None
        if top is not None:
            entries = _entries(token, top)
            logprobs = {
                "text_offset": [0],
                "tokens": [token],
                "token_logprobs": [entries[0][1]],
                "top_logprobs": [dict(entries[: top + 1])],
            }
        yield True, {"index": 0, "text": token, "logprobs": logprobs, "finish_reason": None}
    yield False, {"index": 0, "text": "", "logprobs": None, "finish_reason": answer.finish_reason}


def main() -> None:
    """What the program `vllm` does."""
    try:
        given = parse(sys.argv[1:])
    except ServeRefusedError as exc:
        sys.exit(f"ValueError: {exc}")
    if given.nnodes > 1:
        meet(given, os.environ)
    application = Starlette(routes=Server(given).routes())
    where = {"uds": given.uds} if given.uds else {"host": given.host or "127.0.0.1", "port": given.port or 8000}
    uvicorn.run(application, **where, log_level="warning", access_log=not given.disable_uvicorn_access_log)


if __name__ == "__main__":
    main()
