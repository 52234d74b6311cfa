"""The form of the networks that `openvino_network` builds, and which tensors a file must have for it.

A file whose tensors are others, or of other sides, is of another network, and what would be computed from it is
nonsense. So everything is compared before anything is built. Sources: the architectures in llama.cpp's `src/models`,
and its `src/llama-model.cpp` for what their metadata mean. Standard library only: the gateway asks before it starts a
process.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from freehold.catalog.gguf_header import BLOCKS
from freehold.engines.gguf_header import Tensor, Tensors

INTERLEAVED: Final = "llama"
"""The architecture whose files have the two halves of each head's numbers in turn."""
NORMED_HEADS: Final = "qwen3"
"""The one whose heads of queries and keys have norms of their own."""
BIASED_HEADS: Final = "qwen2"
"""The one whose queries, keys and values have biases."""
_UNTOUCHED: Final = frozenset(
    {
        *("block_count", "context_length", "embedding_length", "feed_forward_length", "vocab_size", "pooling_type"),
        *("attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length"),
        *("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon", "attention.causal"),
        *("rope.dimension_count", "rope.freq_base", "rope.scaling.type", "rope.scaling.factor", "rope.scale_linear"),
        *("rope.scaling.original_context_length", "rope.scaling.finetuned", "tensor_data_layout"),
    }
)
"""What metadata say of an architecture that is asked about, or that changes nothing of what is computed."""
TOKENS: Final = "token_embd.weight"
"""The tensor with a row for each token."""
_ONE: Final = (None, 0, 1)
"""Factors that change nothing."""


@dataclass(frozen=True, slots=True)
class Form:
    """The measures of a network.

    Args:
        architecture: of the file.
        layers: how many.
        width: numbers of a place.
        heads: of queries.
        pairs: heads of keys and values.
        size: numbers of a head.
        epsilon: of the norms.
        base: of the angles that positions are turned by.
    """

    architecture: str
    layers: int
    width: int
    heads: int
    pairs: int
    size: int
    epsilon: float
    base: float

    @property
    def interleaved(self) -> bool:
        """Whether the halves of a head are in turn."""
        return self.architecture == INTERLEAVED

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> "Form":
        """What a file says.

        Raises:
            ValueError: it does not say it, or what cannot be.
        """
        kind = metadata.get("general.architecture")

        def whole(name: str, otherwise: int | None = None) -> int:
            found = metadata.get(f"{kind}.{name}", otherwise)
            if not isinstance(found, int) or isinstance(found, bool) or found < 1:
                raise ValueError(f"its metadata do not say the form of its network: {kind}.{name} is {found!r}")
            return found

        def positive(name: str, otherwise: float | None = None) -> float:
            found = metadata.get(f"{kind}.{name}", otherwise)
            if not isinstance(found, int | float) or isinstance(found, bool) or not 0 < found < math.inf:
                raise ValueError(f"its metadata do not say the form of its network: {kind}.{name} is {found!r}")
            return float(found)

        width, heads = whole("embedding_length"), whole("attention.head_count")
        pairs, size = whole("attention.head_count_kv", heads), whole("attention.key_length", width // heads)
        if heads % pairs or size % 2:
            raise ValueError(f"its {heads} heads of {size} numbers cannot read those of {pairs} keys")
        epsilon = positive("attention.layer_norm_rms_epsilon")
        base = positive("rope.freq_base", 10_000.0)
        return cls(str(kind), whole("block_count"), width, heads, pairs, size, epsilon, base)


def another_network(form: Form, metadata: Mapping[str, Any]) -> str | None:
    """What metadata say that this network does not do; None where there is nothing."""
    kind = form.architecture
    told = {key.removeprefix(f"{kind}."): value for key, value in metadata.items() if key.startswith(f"{kind}.")}
    factors = (told.get("rope.scaling.factor"), told.get("rope.scale_linear"))
    scaling = told.get("rope.scaling.type", "none" if all(factor in _ONE for factor in factors) else "linear")
    turned, values = told.get("rope.dimension_count", form.size), told.get("attention.value_length", form.size)
    if scaling != "none":
        return "whose positions are scaled"
    if told.get("expert_count"):
        return "with experts"
    if turned != form.size:
        return f"that turn {turned} of a head's {form.size} numbers by their place"
    if values != form.size:
        return f"whose heads have {form.size} numbers in keys and {values} in values"
    if not told.get("attention.causal", True):
        return "that read a text in both directions"
    strange = sorted(key for key, value in told.items() if value and key not in _UNTOUCHED)
    return f"of which '{kind}.{strange[0]}' is told" if strange else None


def other_tensors(form: Form, found: Tensors) -> str | None:
    """How the tensors of a file differ from those of the network; None where they do not."""
    tensors = {tensor.name: tensor for tensor in found.tensors}
    if len(tensors) != len(found.tensors):
        return "with two tensors of one name"
    if "rope_freqs.weight" in tensors:
        return "whose positions are scaled"
    layers = {name.split(".")[1] for name in tensors if name.startswith("blk.")}
    if len(layers) != form.layers:
        return f"with tensors of {len(layers)} layers where {form.layers} are told"
    return _difference(form, tensors)


def _difference(form: Form, tensors: Mapping[str, Tensor]) -> str | None:
    wanted = dict(_wanted(form, tensors))
    strange = sorted(tensors.keys() - wanted.keys())
    if strange:
        return f"with a tensor '{strange[0]}'"
    for name, sides in wanted.items():
        if name not in tensors:
            return f"without the tensor '{name}'"
        if tensors[name].sides != sides:
            return f"whose tensor '{name}' has the sides {tensors[name].sides}, not {sides}"
    return None


def _wanted(form: Form, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The tensors of a network, with their sides; those that it may have, where the file has them in one layer."""
    words, inner = (_last_side(tensors, name) for name in (TOKENS, "blk.0.ffn_up.weight"))
    width, queries, keys = form.width, form.heads * form.size, form.pairs * form.size
    matrices = {
        "attn_q": (width, queries),
        "attn_k": (width, keys),
        "attn_v": (width, keys),
        "attn_output": (queries, width),
        "ffn_gate": (width, inner),
        "ffn_up": (width, inner),
        "ffn_down": (inner, width),
    }
    yield TOKENS, (width, words)
    yield "output_norm.weight", (width,)
    if "output.weight" in tensors:
        yield "output.weight", (width, words)
    biased = {name for name in matrices if any(f"blk.{n}.{name}.bias" in tensors for n in range(form.layers))}
    biased |= {"attn_q", "attn_k", "attn_v"} if form.architecture == BIASED_HEADS else set()
    for number in range(form.layers):
        layer = f"blk.{number}."
        for name in ("attn_norm", "ffn_norm"):
            yield f"{layer}{name}.weight", (width,)
        if form.architecture == NORMED_HEADS:
            for name in ("attn_q_norm", "attn_k_norm"):
                yield f"{layer}{name}.weight", (form.size,)
        for name, sides in matrices.items():
            yield f"{layer}{name}.weight", sides
            if name in biased:
                yield f"{layer}{name}.bias", sides[1:]


def _last_side(tensors: Mapping[str, Tensor], name: str) -> int:
    found = tensors.get(name)
    return found.sides[-1] if found is not None and found.sides else 0


def check_extent(found: Tensors, file_bytes: int) -> None:
    """Compare where the tensors of a file are with the file's length; kinds that are not known are passed over.

    Raises:
        ValueError: one is cut off, or its rows are no whole blocks.
    """
    for tensor in found.tensors:
        block, block_bytes = BLOCKS.get(tensor.kind, (1, 0))
        if not tensor.sides or tensor.sides[0] % block:
            raise ValueError(f"the rows of its tensor '{tensor.name}' are no whole blocks")
        end = found.data_begin + tensor.offset + math.prod(tensor.sides) // block * block_bytes
        if end > file_bytes:
            raise ValueError(f"it is broken off: its tensor '{tensor.name}' ends behind the end of the file")
