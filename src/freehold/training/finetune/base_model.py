"""The model that is tuned, read from its GGUF file: the inverse of `freehold.catalog.convert.llama`.

Quantized weights are computed back to floats, so training begins with the very numbers that llama.cpp multiplies by.
transformers' own reader is not used: its tokenizer differs (see `base_tokenizer`), and it leaves out what slows down
the frequencies of Llama 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final

import torch
from gguf import GGUFReader, ReaderTensor, dequantize
from transformers import LlamaConfig, LlamaForCausalLM

from freehold.catalog.convert.llama import LAYER, OUTSIDE, uninterleave
from freehold.catalog.convert.tensors import Array
from freehold.training.finetune.base_tokenizer import BaseTokenizer
from freehold.training.finetune.protocol import Base, TaskInvalid

_MAGIC: Final = b"GGUF"
_ROPE_FACTORS: Final = "rope_freqs.weight"


@dataclass(frozen=True)
class BaseModel:
    """A GGUF file, opened.

    Args:
        path: the file.
        metadata: its metadata by key, lists included.
        tensors: by name; their numbers are read when they are asked for.
    """

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, ReaderTensor]

    @classmethod
    def open(cls, base: Base) -> "BaseModel":
        """Open the file of a task's base.

        Raises:
            TaskInvalid: it is not the file that it should be, no GGUF file, or no model that can be tuned.
        """
        try:
            with base.path.open("rb") as file:
                magic = file.read(4)
                file.seek(0)
                digest = file_digest(file, "sha256").hexdigest()
        except OSError as exc:
            raise TaskInvalid(f"The weights of '{base.name}' cannot be read.", param="model") from exc
        if magic != _MAGIC:
            raise TaskInvalid(
                f"The weights of '{base.name}' are no GGUF file; others, pickles above all, are not loaded.",
                param="model",
            )
        if digest != base.sha256:
            raise TaskInvalid(f"The weights of '{base.name}' are not those that were recorded.", param="model")
        try:
            reader = GGUFReader(base.path)
            metadata = {name: field.contents() for name, field in reader.fields.items() if field.types}
        except (ValueError, IndexError, OSError) as exc:
            raise TaskInvalid(f"The weights of '{base.name}' are damaged.", param="model") from exc
        kind = metadata.get("general.architecture")
        if kind != "llama":
            raise TaskInvalid(
                f"'{base.name}' is of the architecture '{kind}'; only models of Llama's are fine-tuned.", param="model"
            )
        return cls(base.path, metadata, {tensor.name: tensor for tensor in reader.tensors})

    @cached_property
    def tokenizer(self) -> BaseTokenizer:
        """Its tokenizer.

        Raises:
            TaskInvalid: its vocabulary is of a kind that is not known.
        """
        return BaseTokenizer(self.metadata)

    @property
    def template(self) -> str:
        """Its chat template; empty where it has none."""
        return str(self.metadata.get("tokenizer.chat_template", ""))

    @property
    def heads(self) -> tuple[int, int]:
        """How many heads queries have, and how many keys."""
        queries = int(self._number("attention.head_count"))
        return queries, int(self._number("attention.head_count_kv", queries))

    @property
    def context_length(self) -> int:
        """For how many tokens it was made."""
        return int(self._number("context_length"))

    def array(self, name: str) -> Array:
        """A tensor as float32, in the engine's order of rows.

        Raises:
            TaskInvalid: it is stored in a way that cannot be read.
        """
        tensor = self.tensors[name]
        try:
            values: Array = dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError as exc:
            raise TaskInvalid(
                f"The model's weights are stored as {tensor.tensor_type.name}, which cannot be computed back.",
                param="model",
            ) from exc
        return values.astype("float32", copy=False)

    def config(self) -> LlamaConfig:
        """Its sizes, as transformers wants them."""
        queries, keys = self.heads
        hidden = int(self._number("embedding_length"))
        rope: dict[str, Any] = {"rope_type": "default", "rope_theta": float(self._number("rope.freq_base", 10000.0))}
        if (scaling := self._number("rope.scaling.type", "none")) != "none":
            rope |= {"rope_type": scaling, "factor": float(self._number("rope.scaling.factor", 1.0))}
            if (original := self._number("rope.scaling.original_context_length", 0)) != 0:
                rope["original_max_position_embeddings"] = int(original)
        return LlamaConfig(
            vocab_size=int(self.tensors["token_embd.weight"].shape[1]),
            hidden_size=hidden,
            intermediate_size=int(self._number("feed_forward_length")),
            num_hidden_layers=int(self._number("block_count")),
            num_attention_heads=queries,
            num_key_value_heads=keys,
            head_dim=int(self._number("attention.key_length", hidden // queries)),
            max_position_embeddings=self.context_length,
            rms_norm_eps=float(self._number("attention.layer_norm_rms_epsilon")),
            rope_parameters=rope,
            attention_bias="blk.0.attn_q.bias" in self.tensors,
            mlp_bias="blk.0.ffn_up.bias" in self.tensors,
            tie_word_embeddings="output.weight" not in self.tensors,
            bos_token_id=self.metadata.get("tokenizer.ggml.bos_token_id"),
            eos_token_id=self.tokenizer.eos,
            pad_token_id=self.tokenizer.pad,
        )

    def load(self, dtype: torch.dtype) -> LlamaForCausalLM:
        """The model with its weights, on the processor.

        Raises:
            TaskInvalid: a tensor is missing, or has a form that is not known.
        """
        config = self.config()
        state = {}
        for name, own in self.names(config.num_hidden_layers).items():
            if own in self.tensors:
                state[name] = torch.from_numpy(self._rows(own).copy()).to(dtype)
            elif own.endswith(".weight") and own != "output.weight":
                raise TaskInvalid(f"The model lacks the tensor {own}.", param="model")
        model = LlamaForCausalLM.from_pretrained(None, config=config, state_dict=state, dtype=dtype)
        if _ROPE_FACTORS in self.tensors:
            rotary = model.model.rotary_emb
            rotary.inv_freq = rotary.inv_freq / torch.from_numpy(self.array(_ROPE_FACTORS).reshape(-1).copy())
            rotary.original_inv_freq = rotary.inv_freq.clone()
        return model

    def names(self, layers: int) -> dict[str, str]:
        """Every tensor that there may be: transformers' names and those in GGUF."""
        return {
            **OUTSIDE,
            **{
                f"model.layers.{layer}.{name}.{part}": f"blk.{layer}.{own}.{part}"
                for layer in range(layers)
                for name, own in LAYER.items()
                for part in ("weight", "bias")
            },
        }

    def _rows(self, own: str) -> Array:
        """A tensor in transformers' order of rows."""
        values = self.array(own)
        queries, keys = self.heads
        kind = own.split(".")[2] if own.startswith("blk.") else ""
        if kind in {"attn_q", "attn_k"}:
            return uninterleave(values, queries if kind == "attn_q" else keys)
        return values

    def _number(self, name: str, default: Any = None) -> Any:
        found = self.metadata.get(f"llama.{name}", default)
        if found is None:
            raise TaskInvalid(f"The model's file does not say llama.{name}.", param="model")
        return found
