import asyncio
from pathlib import Path

import pytest

from freehold.catalog.catalog import Catalog
from freehold.catalog.starter import STARTER
from freehold.config import CatalogSettings
from freehold.store.database import Database
from tests.conftest import StarterModels


@pytest.mark.slow
def test_starter_models_are_in_the_catalog(starter_home: Path) -> None:
    """Both starter models are found by name and by URI, are what was pinned, and are not fetched again."""

    async def scenario() -> None:
        database = await Database.open(starter_home / "freehold.db")
        catalog = Catalog(database, starter_home / "models", CatalogSettings())
        for name, starter in STARTER.items():
            entry = await catalog.find(name)
            assert await catalog.find(starter.uri) == entry == await catalog.pull(name)
            assert entry.source_sha256 == starter.sha256
            assert entry.details["licence"] == "Apache-2.0"
            await catalog.verify(name)
        chat, embed = [await catalog.find(name) for name in STARTER]
        assert (chat.format, chat.details["task"], chat.details["quantization"]) == ("gguf", "chat", "Q4_1")
        assert (chat.details["context_length"], chat.details["chat_template"]) == (8192, True)
        assert (embed.format, embed.details["task"]) == ("safetensors", "embeddings")
        await database.close()

    asyncio.run(scenario())


@pytest.mark.slow
def test_starter_models_are_files(starter_models: StarterModels) -> None:
    """What is served is GGUF, for the converted model too."""
    for file in (starter_models.chat, starter_models.embed):
        assert file.read_bytes()[:4] == b"GGUF"
