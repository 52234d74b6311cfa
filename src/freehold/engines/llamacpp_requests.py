"""OpenAI's requests in the words of llama.cpp's server, whose defaults and names differ."""

import random
from collections.abc import Mapping
from typing import Any

from freehold.errors import InvalidRequest
from freehold.types.chat import ChatRequest
from freehold.types.completions import CompletionRequest

ANY_SEED = 2**32 - 1
"""What llama.cpp takes for "no seed"."""
BANNED = -100.0


PENALTY_WINDOW = 65_536
"""Tokens that the penalties look back on: more than a context has here, for llama.cpp knows no "all"."""


def sampling(request: ChatRequest | CompletionRequest, vocabulary: int) -> dict[str, Any]:
    """The sampling parameters, each said outright: llama.cpp's own defaults are not OpenAI's.

    Args:
        request: what the caller wants.
        vocabulary: how many tokens the model knows.

    Raises:
        InvalidRequest: `logit_bias` names a token that does not exist.
    """
    frequency, presence = request.frequency_penalty or 0.0, request.presence_penalty or 0.0
    body: dict[str, Any] = {
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "top_k": 0,
        "min_p": 0.0,
        "typical_p": 1.0,
        "repeat_penalty": 1.0,
        "frequency_penalty": frequency,
        "presence_penalty": presence,
        "repeat_last_n": PENALTY_WINDOW if frequency or presence else 0,
        "seed": _seed(request.seed),
        "cache_prompt": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.stop is not None:
        body["stop"] = [request.stop] if isinstance(request.stop, str) else list(request.stop)
    if request.logit_bias:
        body["logit_bias"] = _logit_bias(request.logit_bias, vocabulary)
    return body


def _seed(seed: int | None) -> int:
    """The seed in llama.cpp's 32 bits. Without one a random number, for otherwise parallel requests would share one."""
    if seed is None:
        return random.getrandbits(31)  # not for secrets
    folded = (seed ^ (seed >> 32)) & 0xFFFFFFFF if not 0 <= seed < ANY_SEED else seed
    return folded if folded != ANY_SEED else 0


def _logit_bias(bias: Mapping[str, float], vocabulary: int) -> list[list[float | bool]]:
    for token in bias:
        if int(token) >= vocabulary:
            raise InvalidRequest(
                f"Invalid key in 'logit_bias': {token}. This model's token ids go from 0 to {vocabulary - 1}.",
                param="logit_bias",
            )
    return [[int(token), False if value <= BANNED else value] for token, value in bias.items()]
