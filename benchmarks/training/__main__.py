"""Tokens a second of our training beside nanoGPT's, on this processor; and the share of a GPU's peak that we reach.

nanoGPT is not part of Freehold: get it from https://github.com/karpathy/nanoGPT (`git clone`), and name its folder.
Both run as their own programs, nanoGPT's `train.py` as it is published with the arguments of its readme, on the same
text, with the same layers, heads, width, block and batch, in turn, round after round; ours has no more parameters. What
is timed are steps after the first few, from outside, by the wall's clock and by processor time, with no evaluation and
no checkpoint among them.

    python -m benchmarks.training --nanogpt ../nanoGPT --text tinyshakespeare.txt --rounds 7
    python -m benchmarks.training --text tinyshakespeare.txt --profile gpt2 --profile llama_1b
"""

import argparse
import json
import os
import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from benchmarks.speed.rounds import Samples, in_turn
from benchmarks.training.nanogpt import NanoGPT
from benchmarks.training.ours import Ours
from benchmarks.training.profiling import profiled
from benchmarks.training.shapes import SHAPES, Shape
from benchmarks.training.stopwatch import Elapsed
from freehold.training.process import training_python

MEASURES = {"tokens_per_s": "by the wall's clock", "tokens_per_processor_s": "by processor time"}


class Contender(Protocol):
    """Something that trains."""

    name: str

    def train(self, shape: Shape) -> Elapsed:
        """Train until the shape's last step; what the measured steps took."""
        ...


def compared(contenders: list[Contender], shape: Shape, rounds: int) -> Samples:
    """Train with each in turn, and keep tokens a second."""
    samples = Samples()
    by_name = {contender.name: contender for contender in contenders}
    for number, name in in_turn(list(by_name), rounds):
        took = by_name[name].train(shape)
        rates = {
            "tokens_per_s": shape.tokens / took.wall_s,
            "tokens_per_processor_s": shape.tokens / took.processor_s,
        }
        samples.add(name, rates)
        print(f"{shape.name}, round {number + 1}: {name} {rates['tokens_per_s']:,.0f} tokens/s", flush=True)
    return samples


def as_json(samples: Samples, ours: list[str], theirs: str) -> dict[str, Any]:
    """What the rounds say: each contender, and each of ours over the other, pair by pair."""
    found: dict[str, Any] = {}
    for measure in MEASURES:
        found[measure] = {}
        for name in (*ours, theirs):
            summary, ratio = samples.summary(name, measure), samples.ratio(name, theirs, measure)
            assert summary is not None
            assert ratio is not None
            found[measure][name] = {**summary.as_json(), "ratio": ratio.as_json()}
    return found


def as_table(results: dict[str, Any]) -> str:
    """The same, for docs/benchmarks.md."""
    lines = ["| shape | measured | | tokens/s | least to greatest | over nanoGPT | |", "|---|---|---|---|---|---|---|"]
    for shape, measures in results.items():
        for measure, words in MEASURES.items():
            for name, found in measures[measure].items():
                ratio = found["ratio"]
                cells = (
                    shape,
                    words,
                    name,
                    f"{found['median']:,.0f}",
                    f"{found['min']:,.0f} to {found['max']:,.0f}",
                    f"{ratio['median']:.2f}",
                    f"{ratio['min']:.2f} to {ratio['max']:.2f}",
                )
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def beside_nanogpt(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Both, at each shape."""
    python = training_python()
    theirs = NanoGPT(arguments.nanogpt, work / "nanogpt", arguments.text, python, arguments.threads)
    ours = [
        Ours(work / "ours", arguments.text, python, arguments.threads, optimizer, compute)
        for optimizer, compute in (("adamw", "auto"), ("adamw", "float32"), ("muon", "auto"))
    ]
    results = {}
    for name in arguments.shape or SHAPES:
        shape = SHAPES[name]
        own = ours[0].parameters(shape)
        print(f"{name}: {own:,} parameters of ours, {shape.nanogpt_parameters:,} of nanoGPT's", flush=True)
        samples = compared([*ours, theirs], shape, arguments.rounds)
        results[name] = as_json(samples, [each.name for each in ours], theirs.name)
    print(f"\nMedians of {arguments.rounds} rounds:\n\n{as_table(results)}")
    return results


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, help="nanoGPT's folder")
    parser.add_argument("--text", type=Path, required=True, help="what is learnt: tinyshakespeare.txt")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each; all cores if not said"
    )
    parser.add_argument("--shape", action="append", choices=SHAPES, help="only this one; may be said again")
    parser.add_argument("--profile", action="append", help="a recipe whose share of a GPU's peak is measured")
    parser.add_argument("--out", type=Path, default=Path("training-benchmark.json"), help="where the results go")
    arguments = parser.parse_args()
    if not arguments.profile and arguments.nanogpt is None:
        parser.error("say --nanogpt FOLDER, or --profile RECIPE on a machine with a GPU")
    results: dict[str, Any] = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.processor() or platform.machine()}, {platform.system()}",
    }
    with tempfile.TemporaryDirectory() as work:
        if arguments.nanogpt is not None:
            results["beside nanoGPT"] = beside_nanogpt(arguments, Path(work))
    for recipe in arguments.profile or ():
        results.setdefault("profiles", {})[recipe] = profiled(recipe, arguments.text, arguments.out.parent)
    arguments.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten: {arguments.out}")


if __name__ == "__main__":
    main()
