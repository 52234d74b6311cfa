"""What a model will need and how fast it will be: the formulas, by hand-computed values."""

import math
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.catalog.gguf_header import GgufHeader, read_gguf_header
from freehold.catalog.sizing import (
    MIB,
    SHARES,
    EngineShare,
    MachineSpeed,
    ModelShape,
    memory_of,
    readers,
    shape_by_size,
    shape_of,
    slots_that_fit,
    speed_of,
    step_s,
)
from freehold.errors import UnsupportedModelFormat

MODEL = ModelShape(
    parameters=1_000_000_000, active_parameters=1_000_000_000, weight_bytes=500_000_000, read_bytes=500_000_000,
    layers=10, kv_heads=4, key_length=64, value_length=64, embedding=1000, feed_forward=4000, vocabulary=32_000,
    context_length=4096,
)  # fmt: skip
ENGINE = EngineShare(
    copies=2, kv_bytes=2.0, base_bytes=100 * MIB, bandwidth=0.5, decode=0.25, prefill=0.5, layer_s=0.001, stream_s=0.002
)
MACHINE = MachineSpeed(cores=2, memory_bytes=8 << 30, bandwidth_bytes_s=10e9, flops=100e9)


def test_memory_is_the_sum_of_its_parts() -> None:
    """Keys and values are context x slots x layers x heads x (key + value) x bytes of each."""
    memory = memory_of(MODEL, ENGINE, context=1000, slots=2)
    assert memory.weights == 2 * 500_000_000
    assert memory.keys_and_values == 1000 * 2 * 10 * 4 * (64 + 64) * 2 == 20_480_000
    assert memory.working == 4 * 512 * (3 * 1000 + 2 * 4000) + 4 * 2 * 32_000 == 22_784_000
    assert memory.total == 1_000_000_000 + 20_480_000 + 22_784_000 + 100 * MIB


def test_slots_fit_as_far_as_memory_goes() -> None:
    """As many slots fit as there is memory for, each with its keys and values; none where the weights do not fit."""
    one = memory_of(MODEL, ENGINE, 1000, 1).total
    more = 10_240_000 + 4 * 32_000
    assert slots_that_fit(MODEL, ENGINE, 1000, one) == 1
    assert slots_that_fit(MODEL, ENGINE, 1000, one + 3 * more) == 4
    assert slots_that_fit(MODEL, ENGINE, 1000, one + 3 * more - 1) == 3
    assert slots_that_fit(MODEL, ENGINE, 1000, one - 1) == 0


def test_a_step_is_bounded_by_memory_or_by_arithmetic() -> None:
    """A step takes the longer of reading weights and computing for all streams, and its layers' and streams' times."""
    reading, computing = 500e6 / (0.5 * 10e9), 2e9 / (0.25 * 100e9)
    assert (reading, computing) == (0.1, 0.08)
    assert step_s(MODEL, ENGINE, MACHINE, 1) == pytest.approx(0.1 + 10 * 0.001 + 0.002)
    assert step_s(MODEL, ENGINE, MACHINE, 3) == pytest.approx(3 * 0.08 + 10 * 0.001 + 3 * 0.002)
    slow = MachineSpeed(2, None, 10e9, 10e9)
    assert step_s(MODEL, ENGINE, slow, 1) == pytest.approx(0.8 + 10 * 0.001 + 0.002)


def test_speeds_follow_from_the_step() -> None:
    """Tokens a second are streams by the time of a step, and prompts are read at the engine's share of arithmetic."""
    speed = speed_of(MODEL, ENGINE, MACHINE, 3)
    assert speed.alone == pytest.approx(1 / 0.112)
    assert speed.together == pytest.approx(3 / 0.256)
    assert speed.prefill == pytest.approx(0.5 * 100e9 / 2e9)


@pytest.mark.parametrize(("reading_speed", "most"), [(10.0, 0), (8.9, 1), (5.0, 2), (2.0, 5), (8.0, 1)])
def test_readers_are_the_most_streams_that_are_fast_enough(reading_speed: float, most: int) -> None:
    """With that many streams each is as fast as people read, and with one more it is not."""
    assert readers(MODEL, ENGINE, MACHINE, reading_speed) == most
    assert step_s(MODEL, ENGINE, MACHINE, most + 1) > 1 / reading_speed
    assert most == 0 or step_s(MODEL, ENGINE, MACHINE, most) <= 1 / reading_speed


def _header(**more: Any) -> GgufHeader:
    metadata = {
        "general.architecture": "llama", "llama.block_count": 30, "llama.embedding_length": 576,
        "llama.attention.head_count": 9, "llama.attention.head_count_kv": 3, "llama.feed_forward_length": 1536,
        "llama.context_length": 8192,
    }  # fmt: skip
    return GgufHeader({**metadata, **more}, 1000, vocabulary=49_152)


def test_a_shape_is_read_from_a_header() -> None:
    """Heads' length is the width by the number of heads where the file does not say otherwise."""
    shape = shape_of(_header(), 600)
    assert (shape.layers, shape.kv_heads, shape.key_length, shape.value_length) == (30, 3, 64, 64)
    assert shape.kv_values == 30 * 3 * 128
    assert (shape.weight_bytes, shape.read_bytes, shape.vocabulary, shape.context_length) == (600, 600, 49_152, 8192)
    own = shape_of(_header(**{"llama.attention.key_length": 96, "llama.attention.value_length": 80}), 600)
    assert (own.key_length, own.value_length) == (96, 80)


def test_heads_may_differ_from_layer_to_layer() -> None:
    """A list of a number for each layer counts with its mean."""
    assert shape_of(_header(**{"llama.attention.head_count_kv": [2, 4, 4, 2]}), 600).kv_heads == 3


def test_of_experts_only_those_that_are_used_count_for_speed() -> None:
    """A token reads the experts that it uses, and one row of a table of token vectors that is not the output too."""
    header = _header(**{"llama.expert_count": 8, "llama.expert_used_count": 2})
    header = GgufHeader(header.metadata, 1000, lookup_parameters=100, expert_parameters=800, vocabulary=10)
    shape = shape_of(header, 500)
    assert shape.active_parameters == 1000 - 100 - 600
    assert shape.read_bytes == 150
    assert shape.weight_bytes == 500


@pytest.mark.parametrize("missing", ["llama.block_count", "llama.embedding_length", "llama.attention.head_count"])
def test_what_a_header_does_not_say_is_named(missing: str) -> None:
    """A header without what is needed is an error that names it."""
    header = _header()
    del header.metadata[missing]
    with pytest.raises(UnsupportedModelFormat, match=missing):
        shape_of(header, 600)


def test_a_number_of_parameters_takes_the_nearest_shape() -> None:
    """Seven billion parameters are shaped as the eight billion of Llama 3, and weigh what their bits come to."""
    shape = shape_by_size(7_000_000_000, 4)
    assert (shape.layers, shape.kv_heads, shape.key_length) == (32, 8, 128)
    assert shape.weight_bytes == 3_500_000_000
    assert not shape.exact


def test_many_readers_may_be_bounded_by_what_a_stream_costs() -> None:
    """Where computing is fast, what each stream costs besides bounds them, and without it only computing does."""
    fast = MachineSpeed(2, None, 10e9, 1e18)
    assert readers(MODEL, ENGINE, fast, 5.0) == 45
    free = replace(ENGINE, stream_s=0.0)
    assert readers(MODEL, free, MACHINE, 5.0) == 2
    assert readers(MODEL, free, MACHINE, 9.5) == 0


def test_every_engine_of_the_table_has_sensible_shares() -> None:
    """Shares and times are positive, and no engine reads memory faster than the machine."""
    for share in SHARES.values():
        assert 0 < share.bandwidth <= 1
        assert min(share.decode, share.prefill) > 0
        assert math.isfinite(share.layer_s)


def test_the_header_tells_table_output_and_experts(tmp_path: Path) -> None:
    """The table of token vectors counts as looked up only beside an output of its own, and experts are told apart."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    def tensor(name: str, *dimensions: int) -> bytes:
        return text(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, 24, 0)

    def file(*tensors: bytes) -> Path:
        head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 0) + b"".join(tensors)
        path = tmp_path / "model.gguf"
        path.write_bytes(head + bytes(-len(head) % 32) + bytes(64))
        return path

    table, output = tensor("token_embd.weight", 4, 10), tensor("output.weight", 4, 10)
    experts = tensor("blk.0.ffn_up_exps.weight", 2, 3, 4)
    tied = read_gguf_header(file(table, experts))
    assert (tied.parameter_count, tied.lookup_parameters, tied.expert_parameters, tied.vocabulary) == (64, 0, 24, 10)
    assert read_gguf_header(file(table, output)).lookup_parameters == 40
