"""What a language model will need and how fast it will be, computed before it is deployed.

Memory is arithmetic. Speed is a roofline: a step takes as long as reading the weights or as computing for each stream,
whichever is longer, and what its layers and streams cost besides. Bandwidth and arithmetic are measured on the machine,
and an engine reaches a share of them that was found by measuring it. With P parameters that take part in a token, W
bytes of them, L layers, H heads of keys and values with K and V numbers each, B bandwidth, F arithmetic, the engine's
shares b, d, p, and its times l for a layer and o for a stream:

    keys and values      context x slots x L x H x (K + V) x bytes of a number
    step of n streams    max(W / (b B), n 2 P / (d F)) + L l + n o
    tokens/s, n streams  n / step
    prompt tokens/s      p F / (2 P)

The page docs/reference/sizing.md says the same and compares it with what was measured.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from freehold.catalog.gguf_header import GgufHeader
from freehold.errors import UnsupportedModelFormat

MIB: Final = 1 << 20
PREFILL_BATCH: Final = 512
"""Prompt tokens that engines take at a time; working memory is sized for them."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What of a model decides its needs.

    Args:
        parameters: in all.
        active_parameters: those that take part in one token; fewer for a mixture of experts.
        weight_bytes: the file, or what it will be.
        read_bytes: of these, what one token reads.
        layers: blocks.
        kv_heads: heads of keys and values in each, all layers alike or on average.
        key_length: numbers of a key.
        value_length: numbers of a value.
        embedding: width of the model.
        feed_forward: width within a block.
        vocabulary: tokens that it knows.
        context_length: tokens that it was trained for.
        exact: whether a file says all this, or it was estimated from the number of parameters.
    """

    parameters: int
    active_parameters: int
    weight_bytes: int
    read_bytes: int
    layers: int
    kv_heads: float
    key_length: int
    value_length: int
    embedding: int
    feed_forward: int
    vocabulary: int
    context_length: int
    exact: bool = True

    @property
    def kv_values(self) -> float:
        """Numbers of keys and values for one token."""
        return self.layers * self.kv_heads * (self.key_length + self.value_length)


@dataclass(frozen=True, slots=True)
class EngineShare:
    """What an engine makes of a machine; see the module's docstring for the letters.

    Args:
        copies: of the weights, in memory that cannot be given back.
        kv_bytes: of one number of keys and values, with what belongs to it.
        base_bytes: of the process without a model.
        bandwidth: share b of the memory's bandwidth.
        decode: share d of the processor's arithmetic when each stream has one token.
        prefill: share p of it when a prompt is read.
        layer_s: time l for each layer of a step, in which threads wait for each other.
        stream_s: time o for each stream of a step, in which its token is chosen and told.
        kv_room_bytes: the most that keys and values may take where a deployment does not say; None: as many as needed.
        prompt_cache_bytes: what prompts that were read may take beside them, at most.
    """

    copies: float
    kv_bytes: float
    base_bytes: int
    bandwidth: float
    decode: float
    prefill: float
    layer_s: float
    stream_s: float
    kv_room_bytes: int | None = None
    prompt_cache_bytes: int = 0


SHARES: Final[Mapping[str, EngineShare]] = {
    "llamacpp": EngineShare(
        copies=1, kv_bytes=2.0, base_bytes=100 * MIB, bandwidth=0.85, decode=0.33, prefill=0.32, layer_s=90e-6,
        stream_s=200e-6, prompt_cache_bytes=1024 * MIB,
    ),
    "openvino": EngineShare(
        copies=2, kv_bytes=1.17, base_bytes=360 * MIB, bandwidth=0.53, decode=1.5, prefill=1.5, layer_s=100e-6,
        stream_s=400e-6, kv_room_bytes=1024 * MIB,
    ),
}  # fmt: skip
"""By engine. Measured on few machines: see docs/reference/sizing.md."""


@dataclass(frozen=True, slots=True)
class MachineSpeed:
    """What a machine does.

    Args:
        cores: physical ones that this process may use.
        memory_bytes: in all; None where the system does not tell.
        bandwidth_bytes_s: reading memory with all cores.
        flops: multiplications and additions of 32-bit numbers a second, in a product of matrices, with all cores.
    """

    cores: int
    memory_bytes: int | None
    bandwidth_bytes_s: float
    flops: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that a replica needs.

    Args:
        weights: of the model.
        keys_and_values: of all slots at their whole context.
        working: for a step's results.
        base: of the process itself.
        prompt_cache: what kept prompts may take besides, at most; not in the sum.
    """

    weights: int
    keys_and_values: int
    working: int
    base: int
    prompt_cache: int

    @property
    def total(self) -> int:
        """The sum."""
        return self.weights + self.keys_and_values + self.working + self.base


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second.

    Args:
        alone: of one stream.
        together: of all slots at once.
        streams: how many these are.
        prefill: of a prompt that is read alone.
    """

    alone: float
    together: float
    streams: int
    prefill: float


def shape_of(header: GgufHeader, file_bytes: int) -> ModelShape:
    """What a GGUF file says of its model.

    Raises:
        UnsupportedModelFormat: it does not say what is needed; it is no language model, or of an unknown kind.
    """
    kind = str(header.metadata.get("general.architecture", ""))

    def number(name: str, otherwise: int | None = None) -> int:
        found = header.metadata.get(f"{kind}.{name}", otherwise)
        if isinstance(found, list) and found:
            found = round(sum(found) / len(found))  # a number for each layer
        if isinstance(found, bool) or not isinstance(found, int) or found < 0:
            raise UnsupportedModelFormat(
                f"The file does not say '{kind}.{name}', so its needs cannot be computed; give a number of parameters."
            )
        return found

    layers, embedding, heads = number("block_count"), number("embedding_length"), number("attention.head_count")
    head = embedding // max(1, heads)
    experts, used = number("expert_count", 0), number("expert_used_count", 0)
    idle = header.expert_parameters * (1 - used / experts) if experts and used else 0.0
    lookup = header.lookup_parameters
    by_parameter = file_bytes / max(1, header.parameter_count)
    active = round(header.parameter_count - idle - lookup)
    return ModelShape(
        parameters=header.parameter_count,
        active_parameters=active,
        weight_bytes=file_bytes,
        read_bytes=round(active * by_parameter),
        layers=layers,
        kv_heads=_mean(header.metadata.get(f"{kind}.attention.head_count_kv"), heads),
        key_length=number("attention.key_length", head),
        value_length=number("attention.value_length", head),
        embedding=embedding,
        feed_forward=number("feed_forward_length", 4 * embedding),
        vocabulary=header.vocabulary or number("vocab_size", 32_000),
        context_length=number("context_length", 2048),
    )


def _mean(found: Any, otherwise: int) -> float:
    """A number, or the mean of one for each layer."""
    if isinstance(found, list) and found:
        return float(sum(found) / len(found))
    return float(found if isinstance(found, int) else otherwise)


_DENSE: Final = (
    (0.135e9, 30, 3, 64, 576, 1536, 49_152),
    (0.5e9, 24, 2, 64, 896, 4864, 151_936),
    (1.2e9, 16, 8, 64, 2048, 8192, 128_256),
    (3.2e9, 28, 8, 128, 3072, 8192, 128_256),
    (8.0e9, 32, 8, 128, 4096, 14_336, 128_256),
    (14.8e9, 48, 8, 128, 5120, 13_824, 151_936),
    (32.8e9, 64, 8, 128, 5120, 27_648, 151_936),
    (70.6e9, 80, 8, 128, 8192, 28_672, 128_256),
    (405e9, 126, 8, 128, 16_384, 53_248, 128_256),
)
"""Shapes of well-known dense models: parameters, layers, heads of keys and values, their length, width, inner width,
vocabulary (SmolLM2, Qwen2.5 and Llama 3)."""


def shape_by_size(parameters: int, bits: float, context_length: int = 8192) -> ModelShape:
    """A model of that many parameters, shaped like the well-known dense one whose number is nearest by ratio.

    Args:
        parameters: how many.
        bits: of a parameter in its file, with scales: 4.5 to 5 for formats that are called 4-bit.
        context_length: that it was trained for.
    """
    near = min(_DENSE, key=lambda known: abs(math.log(known[0] / parameters)))
    _, layers, heads, length, width, inner, vocabulary = near
    size = round(parameters * bits / 8)
    return ModelShape(
        parameters, parameters, size, size, layers, heads, length, length, width, inner, vocabulary, context_length,
        exact=False,
    )  # fmt: skip


def memory_of(model: ModelShape, engine: EngineShare, context: int, slots: int) -> Memory:
    """What a replica of a model needs.

    Args:
        model: its shape.
        engine: what runs it.
        context: tokens of each slot, prompt and completion together.
        slots: requests at once.
    """
    working = 4 * PREFILL_BATCH * (3 * model.embedding + 2 * model.feed_forward) + 4 * slots * model.vocabulary
    return Memory(
        weights=round(engine.copies * model.weight_bytes),
        keys_and_values=round(context * slots * model.kv_values * engine.kv_bytes),
        working=working,
        base=engine.base_bytes,
        prompt_cache=engine.prompt_cache_bytes,
    )


def slots_that_fit(model: ModelShape, engine: EngineShare, context: int, memory_bytes: int) -> int:
    """The most slots of that context for which there is memory; 0 if not even one fits."""
    one = memory_of(model, engine, context, 1)
    two = memory_of(model, engine, context, 2)
    if one.total > memory_bytes:
        return 0
    return 1 + (memory_bytes - one.total) // max(1, two.total - one.total)


def step_s(model: ModelShape, engine: EngineShare, machine: MachineSpeed, streams: int) -> float:
    """How long one step takes in which each of so many streams gets a token, in seconds."""
    reading = model.read_bytes / (engine.bandwidth * machine.bandwidth_bytes_s)
    computing = streams * 2 * model.active_parameters / (engine.decode * machine.flops)
    return max(reading, computing) + model.layers * engine.layer_s + streams * engine.stream_s


def speed_of(model: ModelShape, engine: EngineShare, machine: MachineSpeed, streams: int) -> Speed:
    """How fast a model writes and reads.

    Args:
        model: its shape.
        engine: what runs it.
        machine: where.
        streams: how many at once, for the sum of all.
    """
    return Speed(
        alone=1 / step_s(model, engine, machine, 1),
        together=streams / step_s(model, engine, machine, streams),
        streams=streams,
        prefill=engine.prefill * machine.flops / (2 * model.active_parameters),
    )


def readers(model: ModelShape, engine: EngineShare, machine: MachineSpeed, reading_speed: float) -> int:
    """The most streams at once each of which still gets so many tokens a second; 0 if not even one does."""
    spare = 1 / reading_speed - model.layers * engine.layer_s
    reading = model.read_bytes / (engine.bandwidth * machine.bandwidth_bytes_s)
    computing = 2 * model.active_parameters / (engine.decode * machine.flops)
    by_computing = spare / (computing + engine.stream_s)
    by_reading = (spare - reading) / engine.stream_s if engine.stream_s else math.inf if spare >= reading else 0
    return max(0, math.floor(min(by_computing, by_reading)))
