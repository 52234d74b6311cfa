"""A model that was trained from nothing has a lineage back to the text: what its folder states is recorded."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import orjson
import pytest

from freehold.errors import DigestMismatch, UnsupportedModelFormat
from freehold.types.training_statement import STATEMENT
from tests.catalog.llama_folder import byte_level_tokenizer, llama_files
from tests.catalog.serving import open_catalog
from tests.gateway.test_lineage import names, open_lineage

TEXT, CARD, SHARDS, TOKENIZER, RECIPE, CODE, CHECKPOINT = (digit * 64 for digit in "1234567")


def statement(weights: bytes) -> dict[str, Any]:
    """What a folder says of weights."""
    return {
        "version": 1,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "licence": "CC0-1.0",
        "data": {
            "name": "play",
            "sha256": SHARDS,
            "card_sha256": CARD,
            "tokenizer_sha256": TOKENIZER,
            "tokens": 1000,
            "sources": [{"name": "play.txt", "sha256": TEXT, "bytes": 4000, "licence": "CC0-1.0"}],
        },
        "recipe": {"name": "speedrun", "sha256": RECIPE, "facts": {"steps": 10}},
        "code": {"name": "freehold 0.1.0", "sha256": CODE, "facts": {"torch": "2.13.0"}},
        "checkpoint": {"name": "speedrun/step-10", "sha256": CHECKPOINT, "facts": {"valid_loss": 1.5}},
    }


def lay(folder: Path, changes: dict[str, Any]) -> str:
    """A model's folder with its statement, changed somewhere; its URI."""
    folder.mkdir()
    files = llama_files(byte_level_tokenizer())
    files[STATEMENT] = orjson.dumps(statement(files["model.safetensors"]) | changes)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return f"file://{folder}"


@pytest.mark.slow
def test_lineage_reaches_the_text(tmp_path: Path) -> None:
    """Behind the weights stand the file, the checkpoint, and the data, recipe and code that made it, each recorded."""
    uri = lay(tmp_path / "model", {})

    async def scenario() -> None:
        async with open_lineage(tmp_path) as (lineage, _), open_catalog(tmp_path / "home") as catalog:
            catalog.on_entry(lineage.record_model)
            entry = await catalog.pull(uri, name="play")
            assert entry.details["licence"] == "CC0-1.0"
            made_from: list[object] = [
                ("play", [("play.txt", [], [])], []),
                ("speedrun", [], []),
                ("freehold 0.1.0", [], []),
            ]
            checkpoint: object = ("speedrun/step-10", made_from, [])
            assert names(await lineage.tree(entry.sha256)) == ("play", [(uri, [checkpoint], [])], [])
            found = await lineage.get(SHARDS)
            assert found is not None
            assert found.facts == {"tokens": 1000, "card_sha256": CARD, "tokenizer_sha256": TOKENIZER}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"weights_sha256": "0" * 64}, DigestMismatch, "speaks of weights with the SHA-256 0000"),
        ({"recipe": {"name": "x", "sha256": "short"}}, UnsupportedModelFormat, "recipe.sha256"),
        ({"data": None}, UnsupportedModelFormat, "data"),
        ({"more": 1}, UnsupportedModelFormat, "more"),
    ],
)
def test_a_statement_that_is_not_of_these_weights_is_refused(
    changes: dict[str, Any], error: type[Exception], told: str, tmp_path: Path
) -> None:
    """Weights that were exchanged, and a statement that says nothing that can be recorded, enter no catalog."""
    uri = lay(tmp_path / "model", changes)

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            with pytest.raises(error, match=told):
                await catalog.pull(uri)
            assert await catalog.list() == []

    asyncio.run(scenario())
