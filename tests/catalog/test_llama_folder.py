import asyncio
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from freehold.errors import SourceUnavailable, UnsafePath, UnsupportedModelFormat
from tests.catalog.engine import ask
from tests.catalog.llama_folder import (
    CONTEXT,
    WORD_START,
    byte_level_tokenizer,
    llama_files,
    sentencepiece_tokenizer,
)
from tests.catalog.serving import FileServer, open_catalog


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files into a new folder."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def converted(folder: Path, *options: str) -> tuple[dict[str, Any], dict[str, gguf.ReaderTensor]]:
    """The metadata and the tensors of a folder's model, converted."""
    target = folder / "out.gguf"
    argv = [sys.executable, "-m", "freehold.catalog.convert", str(folder), str(target), *options]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    reader = gguf.GGUFReader(target)
    return (
        {key: value.contents() for key, value in reader.fields.items()},
        {tensor.name: tensor for tensor in reader.tensors},
    )


def hub_of(files: dict[str, bytes]) -> FileServer:
    """A hub with one repository, org/tiny."""
    listing = {"siblings": [{"rfilename": name} for name in files]}
    return FileServer(
        {"/api/models/org/tiny": json.dumps(listing).encode()}
        | {f"/org/tiny/resolve/main/{name}": data for name, data in files.items()}
    )


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 3])
def test_a_hubs_safetensors_are_converted_and_answer(shards: int, tmp_path: Path) -> None:
    """A Llama in one or in several safetensors files is fetched with what lies beside it, converted, and generates."""
    files = llama_files(byte_level_tokenizer(), shards=shards)
    names = sorted(name for name in files if name.endswith(".safetensors"))

    async def scenario() -> Path:
        async with hub_of(files).running() as hub, open_catalog(tmp_path / "home", hf_endpoint=hub.url) as catalog:
            entry = await catalog.pull("hf://org/tiny")
            digests = {name: hashlib.sha256(files[name]).hexdigest() for name in names}
            lines = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
            alone = digests[names[0]]
            assert entry.source_sha256 == (alone if shards == 1 else hashlib.sha256(lines.encode()).hexdigest())
            assert (entry.format, entry.details["context_length"]) == ("safetensors", CONTEXT)
            assert not [path for path in (tmp_path / "home" / "models" / "work").rglob("*") if path.is_file()]
            assert (await catalog.pull("hf://org/tiny", sha256=entry.source_sha256)) == entry
            return catalog.path(entry)

    model = asyncio.run(scenario())
    answer = ask("complete", model, [{"prompt": "the cat", "temperature": 0, "max_tokens": 1}])[0]
    assert answer["usage"]["completion_tokens"] == 1
    assert answer["usage"]["prompt_tokens"] == len(["the", "\u0120", "c", "a", "t"])


@pytest.mark.parametrize("shard", ["../evil.safetensors", "a/b.safetensors", "/etc/x.safetensors", "model.bin"])
def test_an_index_cannot_name_files_elsewhere(shard: str, tmp_path: Path) -> None:
    """A safetensors index that names a file outside its folder, or of another kind, is refused."""
    files = llama_files(byte_level_tokenizer(), shards=2)
    files["model.safetensors.index.json"] = json.dumps({"weight_map": {"a": shard}}).encode()

    async def scenario() -> None:
        async with hub_of(files).running() as hub, open_catalog(tmp_path, hf_endpoint=hub.url) as catalog:
            with pytest.raises((UnsafePath, UnsupportedModelFormat)):
                await catalog.pull("hf://org/tiny")
            assert await catalog.list() == []

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_deep_documents_are_refused(name: str, tmp_path: Path) -> None:
    """A configuration or an index of a hundred thousand brackets is damaged, not a crash."""
    folder = lay(tmp_path / "hf", llama_files(byte_level_tokenizer(), shards=2) | {name: b"[" * 100_000})

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            with pytest.raises(UnsupportedModelFormat):
                await catalog.pull(f"file://{folder}")

    asyncio.run(scenario())


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    """If a file that the index names is not there, the message says which."""
    files = llama_files(byte_level_tokenizer(), shards=2)
    del files["model-00002-of-00002.safetensors"]
    folder = lay(tmp_path / "hf", files)

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            with pytest.raises(SourceUnavailable, match="model-00002-of-00002"):
                await catalog.pull(f"file://{folder}")

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_sentencepiece_vocabulary_is_written_as_one(tmp_path: Path) -> None:
    """Bytes, the unknown token, scores in the order of merges and the prefixed space are as the engine wants them."""
    folder = lay(tmp_path / "hf", llama_files(sentencepiece_tokenizer()))
    meta, _ = converted(folder)
    assert (meta["tokenizer.ggml.model"], meta["tokenizer.ggml.pre"]) == ("llama", "default")
    tokens = meta["tokenizer.ggml.tokens"]
    types = meta["tokenizer.ggml.token_type"]
    kind = {token: gguf.TokenType(types[index]) for index, token in enumerate(tokens)}
    assert (kind["<unk>"], kind["<s>"]) == (gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL)
    assert (kind["<0x0A>"], kind["ab"]) == (gguf.TokenType.BYTE, gguf.TokenType.NORMAL)
    assert kind[tokens[-1]] == gguf.TokenType.UNUSED
    scores = dict(zip(tokens, meta["tokenizer.ggml.scores"], strict=True))
    assert scores["ab"] > scores[WORD_START + "ab"] > scores["a"]
    assert "tokenizer.ggml.merges" not in meta
    assert meta["tokenizer.ggml.add_space_prefix"] is True
    assert (meta["tokenizer.ggml.add_bos_token"], meta["tokenizer.ggml.add_eos_token"]) == (True, False)
    special = [meta[f"tokenizer.ggml.{role}_token_id"] for role in ("unknown", "bos", "eos")]
    assert special == [0, 1, 2]
    bodies = [{"prompt": prompt, "temperature": 0, "max_tokens": 1} for prompt in ("ab", "é")]
    counts = [answer["usage"]["prompt_tokens"] for answer in ask("complete", folder / "out.gguf", bodies)]
    assert counts == [len(["<s>", WORD_START + "ab"]), len(["<s>", WORD_START, "<0xC3>", "<0xA9>"])]


def test_linear_rope_scaling_is_written(tmp_path: Path) -> None:
    """A linear rope scaling is metadata: its kind and its factor."""
    scaling = {"rope_scaling": {"type": "linear", "factor": 4.0}, "rope_theta": 500000.0}
    meta, tensors = converted(lay(tmp_path / "hf", llama_files(byte_level_tokenizer(), scaling)))
    assert (meta["llama.rope.scaling.type"], meta["llama.rope.scaling.factor"]) == ("linear", 4.0)
    assert meta["llama.rope.freq_base"] == 500000.0
    assert "rope_freqs.weight" not in tensors


def test_llama3_rope_scaling_is_written(tmp_path: Path) -> None:
    """Llama 3's rope scaling is a tensor: high frequencies stay, low ones are slowed down by the whole factor."""
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    meta, tensors = converted(lay(tmp_path / "hf", llama_files(byte_level_tokenizer(), {"rope_scaling": scaling})))
    assert "llama.rope.scaling.type" not in meta
    factors = tensors["rope_freqs.weight"].data
    assert factors.shape == (8,)
    wavelength = 2 * np.pi * 10000 ** (np.arange(0, 16, 2) / 16)
    assert np.all(factors[wavelength < 64 / 4] == 1.0)
    assert np.all(factors[wavelength > 64 / 1] == 8.0)
    smooth = (64 / wavelength[1] - 1) / (4 - 1)
    assert 16 < wavelength[1] < 64
    assert factors[1] == pytest.approx(1 / ((1 - smooth) / 8 + smooth))


def test_an_unknown_rope_scaling_is_refused(tmp_path: Path) -> None:
    """A rope scaling that the engine has not is refused by name."""
    folder = lay(tmp_path / "hf", llama_files(byte_level_tokenizer(), {"rope_scaling": {"type": "dynamic"}}))

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            with pytest.raises(UnsupportedModelFormat, match="dynamic"):
                await catalog.pull(f"file://{folder}")

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "bits"), [("f32", 23), ("f16", 10), ("bf16", 7)])
def test_matrices_are_stored_as_asked(dtype: str, bits: int, tmp_path: Path) -> None:
    """Matrices have the type that was asked for and are the model's to its precision; vectors stay float32."""
    folder = lay(tmp_path / "hf", llama_files(byte_level_tokenizer()))
    exact = converted(folder, "--dtype", "f32")[1]
    originals = {name: gguf.dequantize(tensor.data, tensor.tensor_type).copy() for name, tensor in exact.items()}
    meta, tensors = converted(folder, "--dtype", dtype)
    kind = gguf.GGMLQuantizationType[dtype.upper()]
    file_type = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16"}[dtype]
    assert meta["general.file_type"] == gguf.LlamaFileType[file_type]
    for name, tensor in tensors.items():
        assert tensor.tensor_type == (kind if len(tensor.shape) > 1 else gguf.GGMLQuantizationType.F32)
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        assert np.allclose(values, originals[name], rtol=2.0 ** -(bits + 1), atol=1e-7), name
