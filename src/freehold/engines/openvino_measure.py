"""Which precision and how many threads are the fastest for a model on this machine, by trying them.

Run as `python -m freehold.engines.openvino_measure --weights FILE [--candidates f32:2,bf16:2]`. A candidate is a
precision and a number of threads. Each is loaded, and writes to random prompts: one answer alone, 16 at once, and it
reads a prompt of 512 tokens. Everything is done three times and the fastest counts, since whatever disturbs only slows
down. The best has the largest product of the three speeds: none of them is worth more than another.

The last line of standard output is JSON:

    {"best": {"precision": "bf16", "threads": 2}, "candidates": [{"precision": "f32", "threads": 2,
     "one_tokens_s": 144.0, "many_tokens_s": 1202.0, "prompt_tokens_s": 2451.0}, …]}

Exits with status 1 and one line on standard error where the model cannot be read.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np

from freehold.engines.openvino_genai import openvino_genai
from freehold.engines.openvino_runtime import openvino
from freehold.engines.openvino_text_model import UnusableModel, compiled, readable

PRECISIONS: Final = ("f32", "bf16", "f16")
ROUNDS: Final = 3
ALONE_TOKENS: Final = 24
MANY: Final = 16
MANY_TOKENS: Final = 12
PROMPT_TOKENS: Final = 512
SHORT_PROMPT: Final = 16
CACHE_BLOCKS: Final = 256


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is tried."""

    precision: str
    threads: int


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a candidate is, in tokens a second."""

    one_tokens_s: float
    many_tokens_s: float
    prompt_tokens_s: float

    @property
    def merit(self) -> float:
        """By what candidates are compared."""
        return self.one_tokens_s * self.many_tokens_s * self.prompt_tokens_s


def measure(weights: Path, candidates: Sequence[Candidate]) -> list[tuple[Candidate, Speed]]:
    """How fast each candidate is.

    Raises:
        UnusableModel: the model cannot be read.
    """
    try:
        with readable(weights) as named:
            tokenizer = openvino_genai.Tokenizer(str(named))
            words = len(tokenizer.get_vocab())
            return [(candidate, _tried(candidate, named, tokenizer, words)) for candidate in candidates]
    except (OSError, ValueError, RuntimeError) as exc:
        if isinstance(exc, UnusableModel):
            raise
        raise UnusableModel(str(exc) or type(exc).__name__) from exc


def usual_candidates() -> list[Candidate]:
    """Those that make sense here: the precisions that the processor has, on the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    has = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    words = {"f32": "FP32", "bf16": "BF16", "f16": "FP16"}
    return [Candidate(precision, cores) for precision in ("f32", "bf16") if words[precision] in has]


def _tried(candidate: Candidate, named: Path, tokenizer: Any, words: int) -> Speed:
    options = {"precision": candidate.precision, "threads": candidate.threads, "prefix_cache": False}
    pipeline = compiled(named, tokenizer, options, blocks=CACHE_BLOCKS, parallel=MANY)
    random = np.random.default_rng(0)
    numbers = count()

    def run(requests: int, prompt: int, new: int) -> tuple[float, float]:
        """Seconds until each request has its first token, and from there to the end."""
        config = openvino_genai.GenerationConfig(max_new_tokens=new, apply_chat_template=False)
        config.ignore_eos = True
        handles = [
            pipeline.add_request(
                next(numbers), openvino.Tensor(random.integers(0, words, (1, prompt), np.int64)), config
            )
            for _ in range(requests)
        ]
        began, first = time.perf_counter(), 0.0
        while pipeline.has_non_finished_requests():
            pipeline.step()
            if not first and all(handle.can_read() for handle in handles):
                first = time.perf_counter()
        return first - began, time.perf_counter() - first

    run(1, SHORT_PROMPT, 4)  # what is made at the first use is made now
    alone = min(run(1, SHORT_PROMPT, ALONE_TOKENS)[1] for _ in range(ROUNDS))
    many = min(run(MANY, SHORT_PROMPT, MANY_TOKENS)[1] for _ in range(ROUNDS))
    read = min(run(1, PROMPT_TOKENS, 1)[0] for _ in range(ROUNDS))
    return Speed(
        round((ALONE_TOKENS - 1) / alone, 1), round(MANY * (MANY_TOKENS - 1) / many, 1), round(PROMPT_TOKENS / read, 1)
    )


def _candidates(text: str) -> Iterator[Candidate]:
    for part in text.split(","):
        precision, _, threads = part.partition(":")
        if precision not in PRECISIONS or not threads.isdecimal() or int(threads) < 1:
            raise argparse.ArgumentTypeError(
                f"'{part}' is no precision ({', '.join(PRECISIONS)}) and number of threads"
            )
        yield Candidate(precision, int(threads))


def main() -> None:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(prog="openvino_measure")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--candidates", type=lambda text: list(_candidates(text)), help="such as f32:2,bf16:2")
    arguments = parser.parse_args()
    try:
        found = measure(arguments.weights, arguments.candidates or usual_candidates())
    except UnusableModel as exc:
        sys.exit(f"the model cannot be measured: {' '.join(str(exc).split())}")
    best = max(found, key=lambda each: each[1].merit)[0]
    told = [{**asdict(candidate), **asdict(speed)} for candidate, speed in found]
    sys.stdout.write(json.dumps({"best": asdict(best), "candidates": told}) + "\n")


if __name__ == "__main__":
    main()
