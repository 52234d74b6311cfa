"""The table of models."""

import asyncio
from dataclasses import replace
from pathlib import Path

from freehold.store.database import Database
from freehold.store.models import all_models, count_users, delete_model, find_model, put_model
from freehold.types.model import ModelEntry

ONE = ModelEntry("one", "file:///one.gguf", "a" * 64, "a" * 64, 3, "gguf", {"licence": "mit"}, 10)


def test_models_are_kept(tmp_path: Path, home_url: str | None) -> None:
    """An entry comes back as it was put, by name and by source, is replaced by name, and goes when it is deleted."""

    async def scenario() -> None:
        database = await Database.open(tmp_path / "freehold.db", url=home_url)
        two = replace(ONE, name="two")
        await put_model(database, two)
        await put_model(database, replace(ONE, size_bytes=5))
        await put_model(database, ONE)
        assert await all_models(database) == [ONE, two]
        assert await find_model(database, "two") == two
        assert await find_model(database, ONE.source) == ONE
        assert await find_model(database, "three") is None
        assert await count_users(database, "a" * 64) == 2
        await delete_model(database, "one")
        assert await all_models(database) == [two]
        await database.close()

    asyncio.run(scenario())
