"""What a language model needs of GPUs under vLLM, computed before it is deployed.

vLLM takes a share of each GPU's memory at its start: the weights first, what a step works with, and all the rest for
keys and values, in pages that requests share as they grow. With N GPUs, each of bandwidth B and arithmetic F, W bytes
of weights that a token reads, P parameters that take part in it, and n streams whose contexts hold c bytes of keys and
values each:

    room for keys and values    N x (share x memory - working) - weights
    tokens/s, n streams         at most n / max((W + n c) / (N B), n 2 P / (N F))

These are bounds by the makers' figures. What is lost between the GPUs and in kernels is not in them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from freehold.catalog.blobs import size_of
from freehold.catalog.folders import describe_folder, read_config
from freehold.catalog.sizing import ModelShape
from freehold.errors import InvalidRequest, UnsupportedModelFormat

SHARE: Final = 0.9
"""Of a GPU's memory, that vLLM takes where `options.gpu_memory_utilization` does not say."""
WORKING_BYTES: Final = 3 << 30
"""Of each GPU, for a step's results, captured graphs and the collectives of several GPUs: an assumption."""
KV_BYTES: Final = 2
"""Of one number of keys and values."""


@dataclass(frozen=True, slots=True)
class Gpus:
    """Equal GPUs over which each layer is spread.

    Args:
        name: as people call them.
        count: how many.
        memory_bytes: of each.
        bandwidth_bytes_s: of each one's memory.
        flops: operations a second of each, in 16 bits.
    """

    name: str
    count: int
    memory_bytes: int
    bandwidth_bytes_s: float
    flops: float


@dataclass(frozen=True, slots=True)
class GpuNeeds:
    """What becomes of the GPUs' memory, and the most that they could do. Bytes are of all GPUs together.

    Args:
        weights: of the model.
        working: for a step's results and the like.
        keys_and_values: the room that is left; negative where the weights do not fit.
        tokens: that it holds.
        slots: requests of the whole context that it holds.
        alone: tokens a second of one stream, at most.
        together: of all streams that were asked for, at most.
    """

    weights: int
    working: int
    keys_and_values: int
    tokens: int
    slots: int
    alone: float
    together: float


def needs_on_gpus(model: ModelShape, gpus: Gpus, context: int, streams: int) -> GpuNeeds:
    """What a model needs of GPUs.

    Args:
        model: its shape.
        gpus: which.
        context: tokens of a request, prompt and answer.
        streams: requests at once, for the speed of all together.
    """
    working = gpus.count * WORKING_BYTES
    room = round(SHARE * gpus.count * gpus.memory_bytes) - model.weight_bytes - working
    # keys and values of a head are on one GPU; with fewer heads than GPUs they are on several
    copies = max(1.0, gpus.count / model.kv_heads) if model.kv_heads else 1.0
    token_bytes = model.kv_values * KV_BYTES * copies
    tokens = max(0, int(room / token_bytes)) if token_bytes else 0
    return GpuNeeds(
        weights=model.weight_bytes,
        working=working,
        keys_and_values=room,
        tokens=tokens,
        slots=tokens // context,
        alone=_bound(model, gpus, context, 1),
        together=_bound(model, gpus, context, streams),
    )


def _bound(model: ModelShape, gpus: Gpus, context: int, streams: int) -> float:
    """Tokens a second of so many streams, each in the middle of its context."""
    held = streams * model.kv_values * KV_BYTES * context / 2
    reading = (model.read_bytes + held) / (gpus.count * gpus.bandwidth_bytes_s)
    computing = streams * 2 * model.active_parameters / (gpus.count * gpus.flops)
    return streams / max(reading, computing)


def check_heads(folder: Path, count: int) -> None:
    """See that a model's heads can be spread over so many GPUs.

    Raises:
        InvalidRequest: they cannot.
    """
    sizes = _sizes(folder)
    heads = sizes.get("num_attention_heads")
    if isinstance(heads, int) and heads % count:
        raise InvalidRequest(f"the model has {heads} attention heads, which cannot be spread over {count} GPUs")


def shape_of_folder(folder: Path) -> ModelShape:
    """What the files of an unconverted model say of it.

    Raises:
        UnsupportedModelFormat: they do not say what is needed.
    """
    sizes, details = _sizes(folder), describe_folder(folder)

    def number(name: str, otherwise: int | None = None) -> int:
        found = sizes.get(name, otherwise)
        if isinstance(found, bool) or not isinstance(found, int) or found < 0:
            raise UnsupportedModelFormat(
                f"The model's config.json does not say '{name}', so its needs cannot be computed; give a number of "
                "parameters."
            )
        return found

    layers, width, heads = number("num_hidden_layers"), number("hidden_size"), number("num_attention_heads")
    head = number("head_dim", width // max(1, heads))
    inner, vocabulary = number("intermediate_size", 4 * width), number("vocab_size")
    parameters = int(details["parameter_count"])
    experts = number("num_local_experts", number("num_experts", number("n_routed_experts", 0)))
    used = number("num_experts_per_tok", experts)
    of_experts = 3 * layers * experts * width * number("moe_intermediate_size", inner)
    idle = min(parameters, round(of_experts * (1 - used / experts))) if experts else 0
    lookup = 0 if sizes.get("tie_word_embeddings") else vocabulary * width
    weights = sum(size_of(file) or 0 for file in folder.glob("*.safetensors"))
    active = max(1, parameters - idle - lookup)
    return ModelShape(
        parameters=parameters,
        active_parameters=active,
        weight_bytes=weights,
        read_bytes=round(weights * active / max(1, parameters)),
        layers=layers,
        kv_heads=number("num_key_value_heads", heads),
        key_length=head,
        value_length=head,
        embedding=width,
        feed_forward=inner,
        vocabulary=vocabulary,
        context_length=number("max_position_embeddings", 2048),
    )


def _sizes(folder: Path) -> dict[str, Any]:
    """The sizes of the part that writes."""
    config = read_config(folder)
    text = config.get("text_config")
    return {**config, **text} if isinstance(text, dict) else config
