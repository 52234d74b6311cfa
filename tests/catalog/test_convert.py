import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from freehold.catalog.conversion import UNSUPPORTED
from freehold.catalog.gguf_header import describe, read_gguf_header
from tests.catalog.engine import ask
from tests.catalog.making import safetensors_bytes
from tests.conftest import StarterModels

REFERENCE = Path(__file__).parent / "data" / "minilm_reference.json"


def convert(folder: Path, target: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the converter."""
    argv = [sys.executable, "-m", "freehold.catalog.convert", str(folder), str(target), *options]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_converted_embeddings_are_those_of_the_reference(starter_models: StarterModels) -> None:
    """Vectors of the converted all-MiniLM-L6-v2 have a cosine of at least 0.999 to the reference's on 20 sentences."""
    rows = json.loads(REFERENCE.read_text(encoding="utf-8"))
    assert len(rows) == 20
    vectors = ask("embed", starter_models.embed, [row["text"] for row in rows])
    for row, vector in zip(rows, vectors, strict=True):
        wanted, got = np.array(row["vector"]), np.array(vector)
        cosine = float(wanted @ got / np.linalg.norm(wanted) / np.linalg.norm(got))
        assert cosine >= 0.999, row["text"]


@pytest.mark.slow
def test_a_converted_llama_answers_as_the_original(starter_models: StarterModels, tmp_path: Path) -> None:
    """SmolLM2 in float32 answers the same, token by token, after its way through safetensors and the converter."""
    original, target = tmp_path / "float32.gguf", tmp_path / "back.gguf"
    write_float32(starter_models.chat, original)
    done = convert(unpack_llama(original, tmp_path / "hf"), target, "--dtype", "f32")
    assert done.returncode == 0, done.stderr
    before, after = (describe(read_gguf_header(path)) for path in (starter_models.chat, target))
    for key in ("architecture", "parameter_count", "context_length", "chat_template", "task"):
        assert before[key] == after[key]
    assert_same_model(original, target)
    prompts = ["The capital of France is", "1, 2, 3, 4, 1234, Naïve café 東京 🌍 is"]
    bodies = [
        {"prompt": prompt, "temperature": 0, "max_tokens": 5, "logprobs": 1, "cache_prompt": False}
        for prompt in prompts
    ]
    firsts, seconds = (ask("complete", path, bodies) for path in (original, target))
    for first, second in zip(firsts, seconds, strict=True):
        assert first["usage"] == second["usage"]
        assert len(tokens(first)) == 5
        assert [token["id"] for token in tokens(first)] == [token["id"] for token in tokens(second)]
        for one, other in zip(tokens(first), tokens(second), strict=True):
            assert one["logprob"] == pytest.approx(other["logprob"], abs=1e-3)


def write_float32(file: Path, target: Path) -> None:
    """Write a quantized model with the same metadata and names, and each weight as the float32 it stands for."""
    reader = gguf.GGUFReader(file)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key not in {"general.architecture", "general.file_type"}:
            kinds = [*field.types, None]
            writer.add_key_value(key, field.contents(), kinds[0], kinds[1])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def assert_same_model(original: Path, converted: Path) -> None:
    """The vocabulary is the same, and so is every weight."""
    first, second = gguf.GGUFReader(original), gguf.GGUFReader(converted)
    for key in first.fields:
        if key.startswith("tokenizer.") and not key.endswith("add_space_prefix"):
            assert second.fields[key].contents() == first.fields[key].contents(), key
    found = {tensor.name: tensor for tensor in second.tensors}
    assert found.keys() == {tensor.name for tensor in first.tensors}
    for tensor in first.tensors:
        assert np.array_equal(tensor.data, found[tensor.name].data), tensor.name


def tokens(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The tokens of an answer with their log probabilities."""
    found: list[dict[str, Any]] = answer["choices"][0]["logprobs"]["content"]
    return found


def unpack_llama(file: Path, folder: Path) -> Path:
    """Lay a Llama GGUF in float32 out as Hugging Face does: config.json, tokenizer.json, model.safetensors."""
    folder.mkdir()
    reader = gguf.GGUFReader(file)
    meta = {key: value.contents() for key, value in reader.fields.items()}
    heads, kv_heads = meta["llama.attention.head_count"], meta["llama.attention.head_count_kv"]
    config = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": meta["llama.embedding_length"],
        "intermediate_size": meta["llama.feed_forward_length"],
        "max_position_embeddings": meta["llama.context_length"],
        "num_attention_heads": heads,
        "num_hidden_layers": meta["llama.block_count"],
        "num_key_value_heads": kv_heads,
        "rms_norm_eps": meta["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": meta["llama.rope.freq_base"],
        "tie_word_embeddings": True,
        "vocab_size": meta["llama.vocab_size"],
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    write_tokenizer(meta, folder)
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
    parts = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    header: dict[str, object] = {}
    blocks = []
    offset = 0
    for tensor in reader.tensors:
        values = tensor.data
        stem = tensor.name.removesuffix(".weight")
        if stem.startswith("blk."):
            _, layer, part = stem.split(".")
            name = f"model.layers.{layer}.{parts[part]}.weight"
            if part in {"attn_q", "attn_k"}:
                rows = heads if part == "attn_q" else kv_heads
                shape = (rows, values.shape[0] // rows // 2, 2, values.shape[1])
                values = values.reshape(shape).swapaxes(1, 2).reshape(values.shape)
        else:
            name = f"{names[stem]}.weight"
        raw = np.ascontiguousarray(values).tobytes()
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [offset, offset + len(raw)]}
        blocks.append(raw)
        offset += len(raw)
    (folder / "model.safetensors").write_bytes(safetensors_bytes(header, b"".join(blocks)))
    return folder


def write_tokenizer(meta: dict[str, Any], folder: Path) -> None:
    """tokenizer.json and tokenizer_config.json from a GGUF's vocabulary."""
    pieces, types = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    tokenizer = {
        "added_tokens": [
            {"id": index, "content": pieces[index], "special": True} for index, kind in enumerate(types) if kind == 3
        ],
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            ],
        },
        "model": {
            "type": "BPE",
            "vocab": {piece: index for index, piece in enumerate(pieces)},
            "merges": meta["tokenizer.ggml.merges"],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    settings = {
        "bos_token": pieces[meta["tokenizer.ggml.bos_token_id"]],
        "eos_token": pieces[meta["tokenizer.ggml.eos_token_id"]],
        "unk_token": pieces[meta["tokenizer.ggml.unknown_token_id"]],
        "pad_token": pieces[meta["tokenizer.ggml.padding_token_id"]],
        "chat_template": meta["tokenizer.chat_template"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    """A model of another architecture ends with a status and a reason of its own, and leaves no file."""
    (tmp_path / "config.json").write_text('{"architectures": ["MambaForCausalLM"]}', encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes())
    done = convert(tmp_path, tmp_path / "out.gguf")
    assert done.returncode == UNSUPPORTED
    assert "MambaForCausalLM" in done.stderr
    assert not (tmp_path / "out.gguf").exists()
