"""What llama.cpp makes of a model, asked in tokens, and how far that is what the trainer makes of it."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from freehold.config import engine_environment
from freehold.engines.base import EngineSpec
from freehold.engines.llamacpp import LlamaCppEngine
from freehold.training.finetune.protocol import ENVIRONMENT
from freehold.types.deployment import DeploymentSettings
from tests.engines.llamacpp_models import ask
from tests.engines.subject import running, socket_path, wait_open


@contextmanager
def served(weights: Path, adapter: Path | None = None) -> Iterator[Path]:
    """The socket of a llama.cpp server that serves a model, with an adapter beside it if need be."""
    settings = DeploymentSettings(name="local", model="local", context_length=1024, parallel=1, options={"threads": 1})
    engine, spec = LlamaCppEngine(), EngineSpec(settings, weights, adapter=adapter)
    with socket_path() as socket, running(engine.launch(spec, socket)):
        wait_open(engine, spec, socket)
        yield socket


def answer(socket: Path, messages: Sequence[Mapping[str, Any]], tokens: int = 16) -> str:
    """The likeliest answer to a conversation, by the server's own chat template."""
    body = {"messages": list(messages), "temperature": 0, "max_tokens": tokens}
    return str(ask(socket, "/v1/chat/completions", body)["choices"][0]["message"]["content"])


def prompt_text(socket: Path, messages: Sequence[Mapping[str, Any]]) -> str:
    """A conversation as the server's chat template writes it."""
    return str(ask(socket, "/apply-template", {"messages": list(messages)})["prompt"])


def greedy(socket: Path, prompt: Sequence[int], tokens: int) -> list[int]:
    """The likeliest tokens that follow a prompt, one after another."""
    body = {"prompt": list(prompt), "n_predict": tokens, "temperature": 0, "return_tokens": True, "cache_prompt": False}
    return list(ask(socket, "/completion", body)["tokens"])


def trainers_own(python: str, base: Path, adapter: Path, texts: Sequence[str], tokens: int) -> dict[str, Any]:
    """What the trainer itself would say after each text: tokens of prompts and answers."""
    program = Path(__file__).with_name("greedy_program.py")
    done = subprocess.run(
        [python, str(program), str(base), str(adapter)],
        input=json.dumps({"texts": list(texts), "tokens": tokens}),
        capture_output=True,
        text=True,
        check=True,
        env=engine_environment(ENVIRONMENT),
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def agreement(ours: Sequence[int], theirs: Sequence[int], end: int) -> tuple[int, int]:
    """How many tokens of two answers are equal up to where they part, and how many there are.

    The token that ends an answer counts, whether or not a side tells it.
    """
    left, right = ([*side[: side.index(end)], end] if end in side else list(side) for side in (ours, theirs))
    if len(left) == len(right) + 1 and left[-1] == end:
        right = [*right, end]
    if len(right) == len(left) + 1 and right[-1] == end:
        left = [*left, end]
    same = next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    return same, max(len(left), len(right))
