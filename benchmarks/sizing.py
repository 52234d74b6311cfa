"""What `freehold size` predicts beside what is measured: memory of the engine's process, tokens a second.

The starter model and, so that the formulas are tried on another size, one of random weights with the same vocabulary,
which is as fast as a trained one. Speeds are the best of several tries: what the machine can do, whatever else it did.

    python -m benchmarks.sizing --engines llamacpp --tries 5
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
import uvloop

from benchmarks.processes import engine_mb
from benchmarks.serving import machine, server
from benchmarks.speed.__main__ import ROOT, starter
from benchmarks.speed.engines import CONFIG, DEPLOYMENT, GREEDY
from benchmarks.speed.prompts import long_prompt, story_prompts
from freehold.catalog.peeking import peek_file
from freehold.catalog.sizing import SHARES, MachineSpeed, ModelShape, memory_of, shape_of, speed_of
from freehold.cli.bench_streams import Endpoint, wave
from freehold.cli.size_probe import machine_speed
from freehold.engines.registry import ENGINES

SLOTS: Final = 8
CONTEXT: Final = 1024
TOKENS: Final = (8, 40)
PROMPT: Final = 512
LAYERS, WIDTH, INNER, HEADS, KV_HEADS = 24, 1536, 4096, 24, 8
"""Of the random model: 680 million parameters."""


@dataclass(frozen=True, slots=True)
class Found:
    """Measured or predicted: megabytes, and tokens a second."""

    memory_mb: float
    alone: float
    together: float
    prefill: float


def write_random_model(like: Path, target: Path) -> None:
    """A Llama of random Q4_0 weights with the vocabulary of another file.

    Args:
        like: a GGUF file whose metadata about tokens are taken.
        target: where to write.
    """
    writer = gguf.GGUFWriter(str(target), "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(8192)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100_000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    words = 0
    for field in gguf.GGUFReader(str(like)).fields.values():
        if not field.name.startswith("tokenizer."):
            continue
        kind, value = field.types[0], field.contents()
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, value, kind, sub_type=inner)
        words = len(value) if field.name == "tokenizer.ggml.tokens" else words
    drawn = np.random.default_rng(1)
    _add(writer, drawn, "token_embd", words, WIDTH)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    narrow = KV_HEADS * (WIDTH // HEADS)
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDTH, np.float32))
        shapes = {"attn_q": (WIDTH, WIDTH), "attn_k": (narrow, WIDTH), "attn_v": (narrow, WIDTH),
                  "attn_output": (WIDTH, WIDTH), "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH),
                  "ffn_down": (WIDTH, INNER)}  # fmt: skip
        for name, (rows, columns) in shapes.items():
            _add(writer, drawn, f"blk.{layer}.{name}", rows, columns)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: Any, drawn: np.random.Generator, name: str, rows: int, columns: int) -> None:
    """A matrix of random 4-bit numbers: blocks of 32 with a scale of 16 bits."""
    blocks = columns // 32
    data = drawn.integers(0, 256, (rows, blocks, 18), dtype=np.uint8)
    data[:, :, :2] = np.frombuffer(np.float16(0.004).tobytes(), np.uint8)
    writer.add_tensor(f"{name}.weight", data.reshape(rows, -1), raw_dtype=gguf.GGMLQuantizationType.Q4_0)


async def measured(weights: Path, engine: str, tries: int) -> Found:
    """Serve a model and measure it."""
    with tempfile.TemporaryDirectory(prefix="fh") as folder:
        part = DEPLOYMENT.format(name="m", model=f"file://{weights}", engine=engine, context=CONTEXT, parallel=SLOTS)
        async with server(Path(folder), CONFIG + part) as (url, key, pid):
            endpoint = Endpoint.of_url(url, key)
            alone, together, prefill = [], [], []
            for number in range(tries):
                alone.append(await _rate(endpoint, f"{number}a", 1))
                together.append(await _rate(endpoint, f"{number}b", SLOTS))
                messages = [{"role": "user", "content": long_prompt(f"{number}", PROMPT)}]
                found = await wave(endpoint, [{"model": "m", "max_tokens": 1, "messages": messages, **GREEDY}])
                prefill += [stream.prompt_tokens / stream.first_s for stream in found.streams]
            return Found(engine_mb(pid), max(alone), max(together), max(prefill))


async def _rate(endpoint: Endpoint, nonce: str, streams: int) -> float:
    """Tokens a second of so many streams together once all have begun: what longer ones take more than shorter ones."""
    tokens, seconds = [], []
    for length in TOKENS:
        bodies = [
            {"model": "m", "max_tokens": length, "messages": [{"role": "user", "content": prompt}], **GREEDY}
            for prompt in story_prompts(f"{nonce} {length}", streams)
        ]
        found = await wave(endpoint, bodies)
        if found.errors or not found.streams:
            raise SystemExit(f"not every answer was good: {found.errors[:1]}")
        tokens.append(sum(stream.completion_tokens for stream in found.streams))
        seconds.append(found.seconds)
    return (tokens[1] - tokens[0]) / max(1e-9, seconds[1] - seconds[0])


def predicted(shape: ModelShape, engine: str, here: MachineSpeed) -> Found:
    """What `freehold size` says."""
    share = SHARES[engine]
    speed = speed_of(shape, share, here, SLOTS)
    return Found(memory_of(shape, share, CONTEXT, SLOTS).total / 1e6, speed.alone, speed.together, speed.prefill)


async def main(engines: Sequence[str], tries: int, cache: Path, *, random: bool) -> None:
    """Measure, and print a table."""
    models = {"SmolLM2-135M, Q4_1": await starter(cache)}
    with tempfile.TemporaryDirectory(prefix="fh") as folder:
        here = machine_speed(Path(folder), again=True)
        if random:
            models["680M of random weights, Q4_0"] = Path(folder) / "random.gguf"
            write_random_model(models["SmolLM2-135M, Q4_1"], models["680M of random weights, Q4_0"])
        print(machine())
        print(f"{here.cores} cores, {here.bandwidth_bytes_s / 1e9:.1f} GB/s, {here.flops / 1e9:.0f} GFLOP/s\n")
        print(f"| model, engine | | memory, MB | tokens/s alone | {SLOTS} together | prompt tokens/s |")
        print("|---|---|--:|--:|--:|--:|")
        for name, weights in models.items():
            peeked = peek_file(weights)
            for engine in engines:
                if engine not in ENGINES:
                    print(f"| {name}, {engine} | this Freehold has no such engine | | | | |")
                    continue
                say = predicted(shape_of(peeked.header, peeked.file_bytes), engine, here)
                is_ = await measured(weights, engine, tries)
                for what, each in (("predicted", say), ("measured", is_)):
                    figures = f"{each.memory_mb:,.0f} | {each.alone:.0f} | {each.together:.0f} | {each.prefill:.0f}"
                    print(f"| {name}, {engine} | {what} | {figures} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default=",".join(SHARES))
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--without-random", action="store_true", help="only the starter model")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "peers")
    given = parser.parse_args()
    uvloop.run(main(given.engines.split(","), given.tries, given.cache.absolute(), random=not given.without_random))
