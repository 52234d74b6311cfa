"""Llama-architecture models: LlamaForCausalLM, such as Llama 2 and 3, SmolLM, TinyLlama and what is tuned from them."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from gguf import GGUFWriter, RopeScalingType

from freehold.catalog.convert.checkpoint import Checkpoint
from freehold.catalog.convert.tensors import Array, OutTensor
from freehold.catalog.convert.tokenizer import read_tokenizer
from freehold.errors import UnsupportedModelFormat

LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""The parts of a layer: Hugging Face's names, and those in GGUF."""
OUTSIDE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
"""The tensors outside of the layers, likewise."""


class LlamaModel:
    """Writes a Llama decoder.

    Args:
        checkpoint: the model.

    Raises:
        UnsupportedModelFormat: it has a part that the engine has not.
    """

    architecture = "llama"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._heads: int = checkpoint.number("num_attention_heads")
        self._kv_heads: int = checkpoint.config.get("num_key_value_heads") or self._heads
        self._head_size: int = checkpoint.config.get("head_dim") or checkpoint.number("hidden_size") // self._heads
        rope = checkpoint.config.get("rope_parameters") or {}
        self._rope: dict[str, Any] = {**rope, **(checkpoint.config.get("rope_scaling") or {})}
        self._theta = float(self._rope.get("rope_theta") or checkpoint.config.get("rope_theta") or 10000.0)
        self._rope_kind: str = self._rope.get("rope_type") or self._rope.get("type") or "default"
        if self._rope_kind not in {"default", "linear", "llama3", "yarn"}:
            raise UnsupportedModelFormat(f"The rope scaling '{self._rope_kind}' is not converted.")
        if checkpoint.config.get("hidden_act", "silu") != "silu":
            raise UnsupportedModelFormat("Llama models are converted with the activation silu only.")
        self._vocabulary = read_tokenizer(checkpoint)

    def write_metadata(self, writer: GGUFWriter) -> None:
        """Write the sizes, the positions' encoding and the vocabulary."""
        get = self._checkpoint.number
        writer.add_vocab_size(get("vocab_size"))
        writer.add_context_length(get("max_position_embeddings"))
        writer.add_embedding_length(get("hidden_size"))
        writer.add_feed_forward_length(get("intermediate_size"))
        writer.add_block_count(get("num_hidden_layers"))
        writer.add_head_count(self._heads)
        writer.add_head_count_kv(self._kv_heads)
        writer.add_key_length(self._head_size)
        writer.add_value_length(self._head_size)
        writer.add_layer_norm_rms_eps(get("rms_norm_eps"))
        writer.add_rope_dimension_count(self._head_size)
        writer.add_rope_freq_base(self._theta)
        if self._rope_kind in {"linear", "yarn"}:
            linear = self._rope_kind == "linear"
            writer.add_rope_scaling_type(RopeScalingType.LINEAR if linear else RopeScalingType.YARN)
            writer.add_rope_scaling_factor(self._rope["factor"])
            if not linear and "original_max_position_embeddings" in self._rope:
                writer.add_rope_scaling_orig_ctx_len(self._rope["original_max_position_embeddings"])
        self._vocabulary.write(writer, get("vocab_size"))

    def tensors(self) -> Iterator[OutTensor]:
        """Every tensor of the decoder; a head tied to the embeddings is left out, as the engine expects."""
        yield self._checkpoint.tensor("model.embed_tokens.weight", "token_embd.weight")
        if self._rope_kind == "llama3":
            yield OutTensor("rope_freqs.weight", (self._head_size // 2,), self._rope_factors, exact=True)
        for layer in range(self._checkpoint.number("num_hidden_layers")):
            for name, out_name in LAYER.items():
                for part in ("weight", "bias"):
                    full = f"model.layers.{layer}.{name}.{part}"
                    if part == "weight" or full in self._checkpoint.stored:
                        yield self._rotated(self._checkpoint.tensor(full, f"blk.{layer}.{out_name}.{part}"))
        yield self._checkpoint.tensor("model.norm.weight", "output_norm.weight")
        if not self._checkpoint.config.get("tie_word_embeddings", False):
            yield self._checkpoint.tensor("lm_head.weight", "output.weight")

    def _rotated(self, tensor: OutTensor) -> OutTensor:
        """Queries and keys in the engine's order; everything else unchanged."""
        kind = tensor.name.split(".")[2]
        if kind not in {"attn_q", "attn_k"}:
            return tensor
        heads = self._heads if kind == "attn_q" else self._kv_heads
        return OutTensor(tensor.name, tensor.shape, lambda: interleave(tensor.load(), heads))

    def _rope_factors(self) -> Array:
        """By how much each frequency of a Llama 3.1 model is slowed down, per pair of dimensions."""
        try:
            factor, low, high = (float(self._rope[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
            original = float(self._rope["original_max_position_embeddings"])
        except (KeyError, TypeError, ValueError) as exc:
            raise UnsupportedModelFormat("The model's rope_scaling lacks a number.") from exc
        wavelengths = 2 * math.pi * self._theta ** (np.arange(0, self._head_size, 2) / self._head_size)
        smooth = (original / wavelengths - low) / (high - low)
        between = 1 / ((1 - smooth) / factor + smooth)
        factors = np.where(wavelengths > original / low, factor, between)
        return np.where(wavelengths < original / high, 1.0, factors).astype(np.float32)


def interleave(array: Array, heads: int) -> Array:
    """The rows of each head, from halves (as Hugging Face rotates them) to neighbouring pairs (as the engine does)."""
    rows = array.shape[0] // heads
    return array.reshape(heads, 2, rows // 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def uninterleave(array: Array, heads: int) -> Array:
    """What `interleave` undoes: the rows of each head, from neighbouring pairs to halves."""
    rows = array.shape[0] // heads
    return array.reshape(heads, rows // 2, 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
