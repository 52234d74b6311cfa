"""Vectors of labelled texts from a running server, for the head of the content filter."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from freehold.cli.control import open_service
from freehold.content_filter.embedding import pieces


async def embedded(home: Path, deployment: str, texts: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """The vectors of the pieces of every text, and the model that they are from.

    Args:
        home: whose server is asked.
        deployment: an embedding deployment.
        texts: in the order in which the vectors are wanted.
        say: is told how far it is.

    Raises:
        FreeholdError: the server does not run, or has no such deployment.
    """
    vectors: list[list[list[float]]] = []
    async with open_service(home) as service:
        told = await service.request("GET", f"/admin/deployments/{quote(deployment, safe='')}")
        for number, text in enumerate(texts, 1):
            body = {"model": deployment, "input": pieces(text)}
            answer = await service.request("POST", "/v1/embeddings", body)
            vectors.append([item["embedding"] for item in answer["data"]])
            if number % 100 == 0:
                say(f"{number} of {len(texts)} texts have vectors")
    return {"model": told["settings"]["model"], "vectors": vectors}
