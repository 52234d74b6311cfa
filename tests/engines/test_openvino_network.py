"""The networks that are built of GGUF files compute what their architectures say, from weights of every kind."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf.quants import dequantize, quantize

from freehold.engines.openvino_network import write_network
from freehold.engines.openvino_runtime import openvino
from freehold.engines.openvino_weights import Matrix, WeightsFile, network_bytes, stacked
from tests.engines.gguf_networks import BASE, EPSILON, HEADS, LAYERS, PAIRS, SIZE, Tensors, tensors_of, write_gguf

TOKENS = [5, 17, 3, 44, 44, 9]


def _computed(path: Path, folder: Path) -> Any:
    """The likelihoods after each token, by the network; one token at a time, as its mask is none of the order."""
    write_network(path, folder)
    exact = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0, "KV_CACHE_PRECISION": "f32"}
    compiled = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU", exact)
    request, rows = compiled.create_infer_request(), []
    for place, token in enumerate(TOKENS):
        given = {"input_ids": [[token]], "attention_mask": [[1] * (place + 1)], "position_ids": [[place]]}
        arrays = {name: np.array(value, np.int64) for name, value in given.items()}
        request.infer({**arrays, "beam_idx": np.zeros(1, np.int32)})
        rows.append(request.get_tensor("logits").data[0, -1].copy())
    return np.array(rows)


def _norm(numbers: Any, weights: Any) -> Any:
    return numbers / np.sqrt((numbers**2).mean(-1, keepdims=True) + EPSILON) * weights


def _turned(heads: Any, interleaved: bool) -> Any:
    """Heads (places by heads by size) turned by their places: pairs beside each other, or half a head apart."""
    angles = np.arange(len(heads))[:, None] / BASE ** (np.arange(SIZE // 2) * 2 / SIZE)
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    first, second = (heads[..., 0::2], heads[..., 1::2]) if interleaved else np.split(heads, 2, -1)
    parts = first * cosine - second * sine, first * sine + second * cosine
    return np.stack(parts, -1).reshape(heads.shape) if interleaved else np.concatenate(parts, -1)


def _expected(architecture: str, tensors: Tensors) -> Any:
    """The same by the definition, in NumPy."""
    stream = tensors["token_embd.weight"][TOKENS].astype(np.float64)
    order = np.tril(np.ones((len(TOKENS), len(TOKENS)), bool))
    for layer in range(LAYERS):

        def of(name: str, layer: int = layer) -> Any:
            return tensors.get(f"blk.{layer}.{name}")

        def product(numbers: Any, name: str) -> Any:
            bias = of(f"{name}.bias")
            return numbers @ of(f"{name}.weight").T + (0 if bias is None else bias)

        normed, heads = _norm(stream, of("attn_norm.weight")), {}
        for name, count in (("attn_q", HEADS), ("attn_k", PAIRS), ("attn_v", PAIRS)):
            heads[name] = product(normed, name).reshape(len(TOKENS), count, SIZE)
            weights = of(f"{name}_norm.weight")
            heads[name] = heads[name] if weights is None else _norm(heads[name], weights)
        queries, keys = (_turned(heads[name], architecture == "llama") for name in ("attn_q", "attn_k"))
        keys, values = (np.repeat(each, HEADS // PAIRS, 1) for each in (keys, heads["attn_v"]))
        scores = np.einsum("qhs,khs->hqk", queries, keys) / np.sqrt(SIZE)
        scores = np.exp(np.where(order, scores, -np.inf))
        read = np.einsum("hqk,khs->qhs", scores / scores.sum(-1, keepdims=True), values)
        stream = stream + product(read.reshape(len(TOKENS), -1), "attn_output")
        normed = _norm(stream, of("ffn_norm.weight"))
        gate = product(normed, "ffn_gate")
        stream = stream + product(gate / (1 + np.exp(-gate)) * product(normed, "ffn_up"), "ffn_down")
    return _norm(stream, tensors["output_norm.weight"]) @ tensors.get("output.weight", tensors["token_embd.weight"]).T


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_a_network_computes_what_its_architecture_says(tmp_path: Path, architecture: str) -> None:
    """Turned heads, shared keys, biases, norms of heads and the order of places are as the definition has them."""
    tensors = tensors_of(architecture)
    found = _computed(write_gguf(tmp_path / "m.gguf", architecture, tensors), tmp_path)
    assert np.abs(found - _expected(architecture, tensors)).max() < 1e-3


def test_matrices_of_several_kinds_are_products_of_their_own(tmp_path: Path) -> None:
    """Where a layer's matrices cannot be one product, the network computes the same as from what they stand for."""
    kinds = {"attn_q.weight": Kind.Q8_0, "attn_k.weight": Kind.Q4_0, "ffn_up.weight": Kind.F16}
    tensors = tensors_of("llama")
    file = write_gguf(tmp_path / "m.gguf", "llama", tensors, kinds)
    meant = {
        name: next((dequantize(quantize(data, kind), kind) for end, kind in kinds.items() if name.endswith(end)), data)
        for name, data in tensors.items()
    }
    assert np.abs(_computed(file, tmp_path) - _expected("llama", meant)).max() < 1e-3


def _weights(matrix: Matrix) -> Any:
    """What a matrix stands for."""
    numbers = matrix.numbers.astype(np.float32)
    scaled = numbers if matrix.scales is None else numbers * matrix.scales.astype(np.float32)
    return scaled.reshape(matrix.rows, matrix.columns)


@pytest.mark.parametrize(
    ("kind", "bits", "within_steps"),
    [
        *((Kind.F32, 32, 0.0), (Kind.F16, 16, 0.0), (Kind.BF16, 16, 0.0), (Kind.Q8_0, 8, 0.0), (Kind.Q4_0, 4, 0.0)),
        *((Kind.Q4_1, 8, 1 / 30), (Kind.Q5_0, 8, 1 / 8), (Kind.Q5_1, 8, 1 / 8)),
    ],
)
def test_weights_are_what_the_file_means(tmp_path: Path, kind: Kind, bits: int, within_steps: float) -> None:
    """Kinds that are computed with stay as they are; others lose a small part of the error that they have already."""
    tensors = tensors_of("llama")
    file = write_gguf(tmp_path / "m.gguf", "llama", tensors, {"token_embd.weight": kind})
    matrix = WeightsFile(file).matrix("token_embd.weight")
    data = tensors["token_embd.weight"]
    meant = data if kind == Kind.F32 else dequantize(quantize(data, kind), kind)
    step = (meant.max() - meant.min()) / (31 if kind in (Kind.Q5_0, Kind.Q5_1) else 15)
    assert matrix.bits == bits
    assert np.abs(_weights(matrix) - meant).mean() <= within_steps * step
    assert network_bytes(file) > matrix.numbers.nbytes // (2 if bits == 4 else 1)


def test_numbers_too_large_for_sixteen_bits_stay(tmp_path: Path) -> None:
    """A matrix in BF16 with a number that F16 does not reach is computed in 32 bits, not with the infinite."""
    tensors = tensors_of("llama")
    tensors["token_embd.weight"][3, 5] = 2.0**17
    matrix = WeightsFile(write_gguf(tmp_path / "m", "llama", tensors, {"embd.weight": Kind.BF16})).matrix(
        "token_embd.weight"
    )
    assert matrix.bits == 32
    assert matrix.numbers[3, 5] == 2.0**17


def test_only_matrices_of_one_kind_are_stacked(tmp_path: Path) -> None:
    """Matrices of the same kind and width are one below the other; others are not."""
    file = WeightsFile(write_gguf(tmp_path / "m.gguf", "llama", tensors_of("llama"), {"attn_q.weight": Kind.Q8_0}))
    query, key, value = (file.matrix(f"blk.0.attn_{name}.weight") for name in "qkv")
    both = stacked([key, value])
    assert both is not None
    assert np.array_equal(both.numbers, np.concatenate([key.numbers, value.numbers]))
    assert stacked([query, key]) is None


def test_what_is_missing_or_broken_off_is_named(tmp_path: Path) -> None:
    """A tensor that is not there is named, and a file that ends too soon is told."""
    file = write_gguf(tmp_path / "m.gguf", "llama", tensors_of("llama"))
    with pytest.raises(ValueError, match=r"no tensor 'output\.weight'"):
        WeightsFile(file).matrix("output.weight")
    file.write_bytes(file.read_bytes()[:-4096])
    with pytest.raises(ValueError, match="broken off"):
        write_network(file, tmp_path)
