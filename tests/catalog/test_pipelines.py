"""Pipelines: models that are a folder."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from freehold.catalog.pipelines import choose_files, read_index
from freehold.cli.checks.models import check_models
from freehold.errors import DigestMismatch, SourceUnavailable, UnsafePath, UnsupportedModelFormat
from tests.catalog.making import safetensors_bytes
from tests.catalog.serving import FileServer, open_catalog

INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.30.0",
    "scheduler": ["diffusers", "DDIMScheduler"],
    "safety_checker": [None, None],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "requires_safety_checker": False,
}
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def pipeline_files(**changes: bytes) -> dict[str, bytes]:
    """A small pipeline, among files that do not belong to it."""
    files = {
        "model_index.json": json.dumps(INDEX).encode(),
        "scheduler/scheduler_config.json": b"{}",
        "tokenizer/vocab.json": b"{}",
        "tokenizer/merges.txt": b"a b\n",
        "unet/config.json": b"{}",
        WEIGHTS: safetensors_bytes(),
        "unet/diffusion_pytorch_model.fp16.safetensors": safetensors_bytes(data=bytes(16)),
        "unet/diffusion_pytorch_model.bin": b"\x80\x02pickle",
        "unet/pipeline.py": b"raise SystemExit",
        "other/secret.json": b"{}",
        "README.md": b"hello",
    }
    return files | changes


TAKEN = sorted(
    {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "unet/config.json",
        WEIGHTS,
    }
)


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files into a folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def hub_of(files: dict[str, bytes]) -> FileServer:
    """A hub with one repository, org/tiny."""
    listing = {"siblings": [{"rfilename": name} for name in files]}
    return FileServer(
        {"/api/models/org/tiny": json.dumps(listing).encode()}
        | {f"/org/tiny/resolve/main/{name}": data for name, data in files.items()}
    )


def digest_of(files: dict[str, bytes]) -> str:
    """The digest of the files that are taken, as the catalog defines it."""
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in TAKEN)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("place", ["hub", "folder"])
def test_a_pipeline_is_kept_as_a_folder(tmp_path: Path, place: str) -> None:
    """From a hub and from a folder exactly the files that a pipeline needs are fetched, under one digest."""
    files = pipeline_files()
    lay(tmp_path / "pipe", files)

    async def scenario() -> None:
        async with hub_of(files).running() as hub, open_catalog(tmp_path / "home", hf_endpoint=hub.url) as catalog:
            uri = "hf://org/tiny" if place == "hub" else f"file://{tmp_path / 'pipe'}"
            entry = await catalog.pull(uri, sha256=digest_of(files))
            kept = catalog.path(entry)
            assert sorted(str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()) == TAKEN
            assert (entry.sha256, entry.source_sha256) == (digest_of(files), digest_of(files))
            assert entry.size_bytes == sum(len(files[name]) for name in TAKEN)
            assert entry.details == {"task": "images", "architecture": "StableDiffusionPipeline", "pinned": True}
            assert await catalog.pull(uri) == entry
            await catalog.verify(entry.name)
            (kept / WEIGHTS).write_bytes(safetensors_bytes(data=b"x" * 16))
            with pytest.raises(DigestMismatch):
                await catalog.verify(entry.name)
            await catalog.delete(entry.name)
            assert not kept.exists()

    asyncio.run(scenario())


def test_the_same_pipeline_twice_is_kept_once(tmp_path: Path) -> None:
    """A pipeline that is there under another name is fetched, found to be the same, and outlives the first name."""
    lay(tmp_path / "a", pipeline_files())
    lay(tmp_path / "b", pipeline_files())

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            first = await catalog.pull(f"file://{tmp_path / 'a'}", name="first")
            second = await catalog.pull(f"file://{tmp_path / 'b'}", name="second")
            assert first.sha256 == second.sha256
            await catalog.delete("first")
            assert (catalog.path(second) / WEIGHTS).is_file()
            await catalog.verify("second")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({WEIGHTS: b"\x80\x02" + bytes(100)}, UnsupportedModelFormat),
        ({WEIGHTS: b"PK\x03\x04" + bytes(100)}, UnsupportedModelFormat),
        ({"model_index.json": b"{"}, UnsupportedModelFormat),
        ({"model_index.json": b"[" * 100_000}, UnsupportedModelFormat),
        ({"model_index.json": json.dumps({**INDEX, "_class_name": ["code", "Mine"]}).encode()}, UnsupportedModelFormat),
        ({"model_index.json": json.dumps({**INDEX, "../x": ["diffusers", "A"]}).encode()}, UnsupportedModelFormat),
        ({"model_index.json": json.dumps({**INDEX, "vae": ["my.code", "A"]}).encode()}, UnsupportedModelFormat),
    ],
)
def test_what_could_run_code_is_refused(
    tmp_path: Path, changes: dict[str, bytes], error: type[UnsupportedModelFormat]
) -> None:
    """Pickles under any name, code of the pipeline's own and damaged indexes are refused, and nothing is kept."""
    lay(tmp_path / "pipe", pipeline_files(**changes))

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            with pytest.raises(error):
                await catalog.pull(f"file://{tmp_path / 'pipe'}")
            assert await catalog.list() == []

    asyncio.run(scenario())


def test_a_component_that_has_only_pickles_is_refused(tmp_path: Path) -> None:
    """A component without safetensors is told by its name."""
    files = pipeline_files()
    del files[WEIGHTS], files["unet/diffusion_pytorch_model.fp16.safetensors"]
    lay(tmp_path / "pipe", files)

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            with pytest.raises(UnsupportedModelFormat, match="'unet'"):
                await catalog.pull(f"file://{tmp_path / 'pipe'}")

    asyncio.run(scenario())


def test_a_wrong_pin_and_a_lone_file_are_refused(tmp_path: Path) -> None:
    """A pipeline with another digest than the pinned one is discarded; its index alone is no pipeline."""
    files = pipeline_files()

    async def scenario() -> None:
        async with hub_of(files).running() as hub, open_catalog(tmp_path / "home", hf_endpoint=hub.url) as catalog:
            with pytest.raises(DigestMismatch):
                await catalog.pull("hf://org/tiny", sha256="0" * 64)
            with pytest.raises(SourceUnavailable):
                await catalog.pull("hf://org/tiny/model_index.json")
            assert await catalog.list() == []

    asyncio.run(scenario())


def test_a_hub_cannot_lead_elsewhere(tmp_path: Path) -> None:
    """A listed path that would leave the folder is refused or not taken."""
    lay(tmp_path, {"model_index.json": json.dumps(INDEX).encode()})
    index = read_index(tmp_path / "model_index.json")
    assert choose_files(["unet/../../x.json", "/unet/x.json", "other/x.json", "unet/a/b.json"], index) == []
    with pytest.raises(UnsafePath):
        choose_files(["unet/.."], index)


@pytest.mark.parametrize(
    ("weights", "taken"),
    [
        (["w.safetensors", "w.fp16.safetensors"], ["w.safetensors"]),
        (["w.fp16.safetensors", "w.bf16.safetensors"], ["w.fp16.safetensors"]),
        (["w.non_ema.safetensors", "w.safetensors"], ["w.safetensors"]),
        (
            ["w-00001-of-00002.safetensors", "w-00002-of-00002.safetensors", "w.fp16-00001-of-00001.safetensors"],
            ["w-00001-of-00002.safetensors", "w-00002-of-00002.safetensors"],
        ),
        (["w-00001-of-00001.fp16.safetensors"], ["w-00001-of-00001.fp16.safetensors"]),
    ],
)
def test_one_edition_of_the_weights_is_taken(tmp_path: Path, weights: list[str], taken: list[str]) -> None:
    """The full weights are taken or, where there are none, the smaller ones, whole."""
    lay(tmp_path, {"model_index.json": json.dumps(INDEX).encode()})
    index = read_index(tmp_path / "model_index.json")
    assert choose_files([f"unet/{name}" for name in weights], index) == [f"unet/{name}" for name in taken]


def test_the_doctor_knows_folders(tmp_path: Path) -> None:
    """`freehold doctor --verify` checks a pipeline as it does a file."""
    lay(tmp_path / "pipe", pipeline_files())

    async def scenario() -> list[str]:
        async with open_catalog(tmp_path / "home") as catalog:
            entry = await catalog.pull(f"file://{tmp_path / 'pipe'}")
            before = await check_models(tmp_path / "home", [entry.wire()], verify=True)
            (catalog.path(entry) / "unet" / "config.json").write_bytes(b"[]")
            after = await check_models(tmp_path / "home", [entry.wire()], verify=True)
            return [finding.verdict for finding in (*before, *after)]

    assert asyncio.run(scenario()) == ["ok", "fail"]


GRAPH = b'<?xml version="1.0"?>\n<net name="Model0" version="11"><layers></layers></net>'
EXPORTED = {
    "scheduler/scheduler_config.json": b"{}",
    "tokenizer/openvino_tokenizer.bin": b"\x80\x02 bare numbers",
    "tokenizer/openvino_tokenizer.xml": GRAPH,
    "unet/config.json": b"{}",
    "unet/openvino_model.bin": bytes(64),
    "unet/openvino_model.xml": GRAPH,
    "vae_decoder/config.json": b"{}",
    "vae_decoder/openvino_model.bin": bytes(64),
    "vae_decoder/openvino_model.xml": GRAPH,
}
"""What is taken of an exported pipeline besides its index."""


def exported_files(**changes: bytes) -> dict[str, bytes]:
    """A small pipeline in OpenVINO's format, among files that do not belong to it."""
    index = {**INDEX, "vae": ["diffusers", "AutoencoderKL"]}
    others = {
        "unet/pytorch_model.bin": b"\x80\x02pickle",
        "unet/openvino_other.xml": GRAPH,
        "other/openvino_model.xml": GRAPH,
        "other/openvino_model.bin": bytes(64),
        "vae_encoder/config.json": b"{}",
    }
    return {"model_index.json": json.dumps(index).encode(), **EXPORTED, **others, **changes}


@pytest.mark.parametrize("place", ["hub", "folder"])
def test_an_exported_pipeline_is_kept_with_its_networks(tmp_path: Path, place: str) -> None:
    """Of an export graphs are taken that have weights, with those, and both halves of the VAE; a lone pickle is not."""
    files = exported_files()
    lay(tmp_path / "pipe", files)

    async def scenario() -> None:
        async with hub_of(files).running() as hub, open_catalog(tmp_path / "home", hf_endpoint=hub.url) as catalog:
            entry = await catalog.pull("hf://org/tiny" if place == "hub" else f"file://{tmp_path / 'pipe'}")
            kept = catalog.path(entry)
            taken = {str(path.relative_to(kept)): path.read_bytes() for path in kept.rglob("*") if path.is_file()}
            assert taken == {"model_index.json": files["model_index.json"], **EXPORTED}
            assert entry.format == "openvino"
            assert entry.details["task"] == "images"
            await catalog.verify(entry.name)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "graph",
    [
        b"\x80\x02" + bytes(100),
        b"<html><net></net></html>",
        b'<?xml version="1.0"?><!DOCTYPE net SYSTEM "file:///etc/passwd"><net></net>',
        b"",
    ],
)
def test_a_graph_that_is_none_is_refused(tmp_path: Path, graph: bytes) -> None:
    """A file that only bears the name of a network, and one with a document type, end the pull."""
    lay(tmp_path / "pipe", exported_files(**{"unet/openvino_model.xml": graph}))

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            with pytest.raises(UnsupportedModelFormat, match=r"unet/openvino_model\.xml"):
                await catalog.pull(f"file://{tmp_path / 'pipe'}")
            assert await catalog.list() == []

    asyncio.run(scenario())


def test_safetensors_go_before_networks(tmp_path: Path) -> None:
    """Of a component that has both the safetensors are taken, so that what was pulled before stays the same."""
    files = pipeline_files(**{"unet/openvino_model.xml": GRAPH, "unet/openvino_model.bin": bytes(64)})
    lay(tmp_path / "pipe", files)

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            entry = await catalog.pull(f"file://{tmp_path / 'pipe'}")
            assert (entry.sha256, entry.format) == (digest_of(files), "safetensors")

    asyncio.run(scenario())
