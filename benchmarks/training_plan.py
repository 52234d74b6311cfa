"""What `freehold train plan` predicts on this machine beside what the training loop takes: memory, and a step's time.

Each shape is planned (which measures its operations, one by one) and then trained for some steps in processes of its
own, in turns, as often as asked for; the medians count. Memory is above what a process has after a step of a tiny
model. The bounds are 15 % of memory and 25 % of time. On a busy machine the times say little.

    python -m benchmarks.training_plan --rounds 3 --out plan.json
"""

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from freehold.training.language.recipes import LanguageRecipe, ModelRecipe
from freehold.training.planning.measured import TRIAL, Clock, asked, cores, measured
from freehold.training.planning.plan import plan_of
from freehold.training.trainer.recipe import OptimizerRecipe, ParallelRecipe, PrecisionRecipe, TrainingRecipe

MEMORY_BOUND: Final = 0.15
TIME_BOUND: Final = 0.25
TRAINED_S: Final = 8.0
"""About how long a shape is trained."""
LEAST_STEPS: Final = 8
MOST_STEPS: Final = 60


@dataclass(frozen=True, slots=True)
class Case:
    """One training to predict."""

    width: int
    layers: int
    sequence: int
    batch: int
    vocabulary: int = 512
    optimizer: str = "adamw"
    again: bool = False
    processes: int = 1
    pieces: int = 1
    grouped: int = 1

    @property
    def name(self) -> str:
        """What it is, in a line."""
        extra = [f"{self.processes} processes"] if self.processes > 1 else []
        extra += ["recomputed"] if self.again else []
        extra += [f"{self.pieces} pieces"] if self.pieces > 1 else []
        extra += [f"{self.grouped} queries a key"] if self.grouped > 1 else []
        shape = f"{self.layers} x {self.width}, {self.batch} x {self.sequence}, vocabulary {self.vocabulary}"
        return ", ".join([shape, self.optimizer, *extra])

    def recipe(self, steps: int) -> LanguageRecipe:
        """Its recipe."""
        heads = max(1, self.width // 64)
        return LanguageRecipe(
            name="case",
            model=ModelRecipe(
                vocabulary=self.vocabulary,
                layers=self.layers,
                width=self.width,
                heads=heads,
                kv_heads=heads // self.grouped,
                feed_forward=-(-8 * self.width // 3 // 64) * 64,
                context=self.sequence,
            ),
            sequence=self.sequence,
            training=TrainingRecipe(
                steps=steps,
                batch=self.batch,
                micro_batch=self.batch // self.processes // self.pieces,
                optimizer=OptimizerRecipe.model_validate({"kind": self.optimizer}),
                precision=PrecisionRecipe(compute="float32"),
                parallel=ParallelRecipe(activation_checkpointing=self.again),
            ),
        )


CASES: Final = (
    Case(128, 4, 64, 12, vocabulary=260),
    Case(128, 4, 64, 64, vocabulary=260, optimizer="muon"),
    Case(192, 4, 256, 16, vocabulary=1024, optimizer="muon"),
    Case(256, 6, 256, 16, vocabulary=2048),
    Case(256, 6, 256, 16, vocabulary=2048, again=True),
    Case(384, 6, 256, 16, vocabulary=4096, pieces=2),
    Case(384, 6, 256, 16, vocabulary=260, processes=2),
    Case(384, 6, 256, 16, vocabulary=260, processes=2, optimizer="muon"),
    Case(512, 8, 512, 8, vocabulary=4096, grouped=2),
    Case(512, 8, 512, 8, vocabulary=4096, again=True, optimizer="muon"),
    Case(512, 4, 1024, 4, vocabulary=8192, processes=2, again=True),
    Case(768, 6, 1024, 4, vocabulary=8192),
    Case(768, 12, 256, 4, vocabulary=50_304),
)


@dataclass(frozen=True, slots=True)
class Found:
    """Predicted or measured of one case: bytes above the process's base, and seconds of a step."""

    base: float
    memory: float
    step_s: float


@dataclass(frozen=True, slots=True)
class Way:
    """How it is measured: with all processors by the wall's clock, or with one thread by the processor's."""

    threads: int | None = None
    clock: Clock = "wall"


def predicted(case: Case, way: Way) -> tuple[Found, dict[str, Any]]:
    """What the plan says."""
    recipe = case.recipe(LEAST_STEPS)
    plan = plan_of(recipe, asyncio.run(measured(recipe, case.processes, threads=way.threads, clock=way.clock)))
    memory = plan.memory
    return Found(memory.process, memory.peak - memory.process, plan.step.total), plan.as_json()


def trained(case: Case, steps: int, way: Way) -> Found:
    """What the training took."""
    wanted = {
        "recipe": case.recipe(steps).model_dump(mode="json"),
        "processes": case.processes,
        "threads": way.threads or max(1, cores() // case.processes),
        "clock": way.clock,
    }
    found = asyncio.run(asked(TRIAL, wanted))
    return Found(found["base"], found["peak"], found["step_s"])


def compared(case: Case, rounds: int, way: Way) -> dict[str, Any]:
    """Predictions and trainings of a case in turns, and the ratios of their medians."""
    plans: list[Found] = []
    runs: list[Found] = []
    told: dict[str, Any] = {}
    for _ in range(rounds):
        plan, told = predicted(case, way)
        plans.append(plan)
        steps = max(LEAST_STEPS, min(MOST_STEPS, round(TRAINED_S / plan.step_s)))
        runs.append(trained(case, steps, way))
    before, after = _median(plans), _median(runs)
    return {
        "case": case.name,
        "predicted": {"base_bytes": before.base, "memory_bytes": before.memory, "step_s": before.step_s},
        "measured": {"base_bytes": after.base, "memory_bytes": after.memory, "step_s": after.step_s},
        "memory_ratio": before.memory / after.memory,
        "time_ratio": before.step_s / after.step_s,
        "step_s": {"predicted": [each.step_s for each in plans], "measured": [each.step_s for each in runs]},
        "plan": {"memory": told["memory"], "step": told["step"]},
    }


def _median(found: Sequence[Found]) -> Found:
    return Found(
        median(each.base for each in found),
        median(each.memory for each in found),
        median(each.step_s for each in found),
    )


def _told(row: dict[str, Any]) -> str:
    before, after = row["predicted"], row["measured"]
    return (
        f"{row['case']:<68} {before['memory_bytes'] / 1e6:7.0f} {after['memory_bytes'] / 1e6:7.0f} "
        f"{row['memory_ratio']:6.2f}   {before['step_s'] * 1e3:8.1f} {after['step_s'] * 1e3:8.1f} "
        f"{row['time_ratio']:6.2f}"
    )


def main() -> None:
    """Compare all cases, and tell the worst."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", type=int, action="append", help="its number, from 0; repeatable; all without it")
    parser.add_argument("--out", type=Path, help="where the result goes as JSON")
    parser.add_argument(
        "--one-thread",
        action="store_true",
        help="one thread, by the processor's clock: for a busy machine, one process",
    )
    given = parser.parse_args()
    way = Way(1, "processor") if given.one_thread else Way()
    print(f"{'':<68} {'MB pred':>7} {'meas':>7} {'ratio':>6}   {'ms pred':>8} {'meas':>8} {'ratio':>6}", flush=True)
    rows = []
    for case in [CASES[number] for number in given.case or range(len(CASES))]:
        rows.append(compared(case, given.rounds, way))
        print(_told(rows[-1]), flush=True)
    worst_memory = max((row["memory_ratio"] for row in rows), key=lambda ratio: abs(ratio - 1))
    worst_time = max((row["time_ratio"] for row in rows), key=lambda ratio: abs(ratio - 1))
    bounds = f"bounds ±{MEMORY_BOUND:.0%} and ±{TIME_BOUND:.0%}"
    print(f"worst predicted by measured: memory {worst_memory:.2f}, time {worst_time:.2f} ({bounds})")
    if given.out is not None:
        result = {"cores": cores(), "clock": way.clock, "rounds": given.rounds, "cases": rows}
        given.out.write_text(json.dumps({**result, "worst": {"memory": worst_memory, "time": worst_time}}, indent=1))


if __name__ == "__main__":
    main()
