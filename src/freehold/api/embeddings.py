"""`POST /embeddings`."""

import base64
import struct
from collections.abc import Sequence
from typing import Any

from freehold.api.body import parse
from freehold.api.reply import Call, Reply
from freehold.types.embeddings import EmbeddingRequest


async def create_embedding(call: Call) -> Reply:
    """Turn texts into vectors of unit length."""
    request = parse(EmbeddingRequest, call.body)
    call.account.called_by(request.user)
    answer = await call.gateway.embed(call.principal, request, call.account)
    usage = answer.embeddings.usage
    encode = _base64 if request.encoding_format == "base64" else list
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(vector)}
            for index, vector in enumerate(answer.embeddings.vectors)
        ],
        "model": answer.deployment,
        "usage": {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens},
    }


def _base64(vector: Sequence[float]) -> Any:
    """The vector as base64 of little-endian 32-bit floats, which is what OpenAI's clients decode."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
