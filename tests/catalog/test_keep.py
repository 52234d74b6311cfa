"""Taking in models that were trained here."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from freehold.errors import CatalogError, UnknownModel, UnsafePath, UnsupportedModelFormat
from tests.catalog.making import gguf_bytes
from tests.catalog.serving import open_catalog

NAME = "ft:m:proj-default:style:0123abcd"
TRAINED = gguf_bytes(seed=2)


def test_a_trained_model_is_kept_with_its_parent(tmp_path: Path) -> None:
    """The file moves into the catalog under its digest, and the entry tells what it was made from."""
    (tmp_path / "m.gguf").write_bytes(gguf_bytes())
    file = tmp_path / "home" / "trained.gguf"

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            parent = await catalog.pull(f"file://{tmp_path}/m.gguf")
            file.write_bytes(TRAINED)
            kept = await catalog.keep(file, name=NAME, source="job://ftjob-1", parent=parent, details={"project": "p"})
            assert not file.exists()
            assert kept.sha256 == kept.source_sha256 == hashlib.sha256(TRAINED).hexdigest()
            assert kept.details["parent"] == "m"
            assert kept.details["parent_sha256"] == parent.sha256
            assert (kept.format, kept.details["project"], kept.details["architecture"]) == ("gguf", "p", "llama")
            assert await catalog.find(NAME) == await catalog.find("job://ftjob-1") == kept
            assert await catalog.base_of(kept) is None
            await catalog.verify(NAME)
            file.write_bytes(gguf_bytes(seed=3))
            again = await catalog.keep(file, name=NAME, source="job://ftjob-1", parent=parent)
            assert [entry.name for entry in await catalog.list()] == [NAME, "m"]
            assert not catalog.path(kept).exists()
            assert catalog.path(again).exists()

    asyncio.run(scenario())


def test_an_adapter_keeps_its_base(tmp_path: Path) -> None:
    """An adapter names the model that it is served with, which cannot be deleted while the adapter is there."""
    (tmp_path / "m.gguf").write_bytes(gguf_bytes())
    file = tmp_path / "home" / "adapter.gguf"

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            parent = await catalog.pull(f"file://{tmp_path}/m.gguf")
            file.write_bytes(TRAINED)
            kept = await catalog.keep(file, name=NAME, source="job://ftjob-1", parent=parent, adapter=True)
            assert kept.format == "lora"
            assert kept.details["context_length"] == parent.details["context_length"]
            assert await catalog.base_of(kept) == parent
            with pytest.raises(CatalogError, match=NAME):
                await catalog.delete("m")
            catalog.path(parent).unlink()
            with pytest.raises(UnknownModel, match="pull it again"):
                await catalog.base_of(kept)
            await catalog.delete(NAME)
            await catalog.delete("m")

    asyncio.run(scenario())


def test_what_is_no_model_is_not_kept(tmp_path: Path) -> None:
    """A file that is no GGUF, a name that leads elsewhere, and one that is taken are refused; the file stays."""
    (tmp_path / "m.gguf").write_bytes(gguf_bytes())
    file = tmp_path / "home" / "trained.gguf"

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            parent = await catalog.pull(f"file://{tmp_path}/m.gguf")
            file.write_bytes(b"no model")
            with pytest.raises(UnsupportedModelFormat):
                await catalog.keep(file, name=NAME, source="job://ftjob-1", parent=parent)
            file.write_bytes(TRAINED)
            for name in ("../m", "ft:m", "ft:m:p:s:short", "ft:../m:p:s:0123abcd"):
                with pytest.raises(UnsafePath):
                    await catalog.keep(file, name=name, source="job://ftjob-1", parent=parent)
            with pytest.raises(CatalogError, match="is taken"):
                await catalog.keep(file, name="m", source="job://ftjob-1", parent=parent)
            assert file.read_bytes() == TRAINED

    asyncio.run(scenario())
