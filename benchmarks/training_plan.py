"""What `freehold train plan` predicts on this machine beside what the training loop takes: memory, and a step's time.

Each shape is planned (which measures its operations, one by one) and then trained for some steps in processes of its
own, in turns, as often as asked for; the medians count. One whose step takes more than a second is compared once.
Memory is above what a process has after a step of a tiny model. The bounds are 15 % of memory and 25 % of time. On a
busy machine the times say little.

    python -m benchmarks.training_plan --page docs/benchmarks.md     the first six shapes: a quarter of an hour
    python -m benchmarks.training_plan --all --out plan.json         and the others
"""

import argparse
import asyncio
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any, Final

from benchmarks.serving import machine
from freehold.training.language.recipes import LanguageRecipe, ModelRecipe
from freehold.training.planning.measured import TRIAL, Clock, asked, cores, measured
from freehold.training.planning.plan import plan_of
from freehold.training.process import training_python
from freehold.training.trainer.recipe import OptimizerRecipe, ParallelRecipe, PrecisionRecipe, TrainingRecipe

MEMORY_BOUND: Final = 0.15
TIME_BOUND: Final = 0.25
TRAINED_S: Final = 8.0
"""About how long a shape is trained."""
LEAST_STEPS: Final = 8
MOST_STEPS: Final = 60
SLOW_S: Final = 1.0
"""A step that takes longer is compared once: what else a machine does evens out within it."""
SHOWN: Final = 6
"""Of the shapes, the first so many are compared unless others are asked for."""
BEGIN: Final = "<!-- begin: written by python -m benchmarks.training_plan -->"
END: Final = "<!-- end: written by python -m benchmarks.training_plan -->"


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
    Case(768, 6, 256, 4, vocabulary=8192),
    Case(384, 6, 256, 16, vocabulary=4096, pieces=2),
    Case(384, 6, 256, 16, vocabulary=260, processes=2),
    Case(384, 6, 256, 16, vocabulary=260, processes=2, optimizer="muon"),
    Case(512, 8, 512, 8, vocabulary=4096, grouped=2),
    Case(512, 8, 512, 8, vocabulary=4096, again=True, optimizer="muon"),
    Case(512, 4, 1024, 4, vocabulary=8192, processes=2, again=True),
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
        if runs[-1].step_s > SLOW_S:
            break
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


def rendered(rows: Sequence[dict[str, Any]], told: str) -> str:
    """The table of docs/benchmarks.md."""
    lines = [
        f"{told} The target is within {MEMORY_BOUND:.0%} of memory and {TIME_BOUND:.0%} of a step's time.",
        "",
        "| layers x width, batch x block | MB predicted | measured | ratio | ms predicted | measured | ratio | |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        before, after = row["predicted"], row["measured"]
        met = abs(row["memory_ratio"] - 1) <= MEMORY_BOUND and abs(row["time_ratio"] - 1) <= TIME_BOUND
        cells = (
            row["case"],
            f"{before['memory_bytes'] / 1e6:,.0f}",
            f"{after['memory_bytes'] / 1e6:,.0f}",
            f"{row['memory_ratio']:.2f}",
            f"{before['step_s'] * 1e3:,.1f}",
            f"{after['step_s'] * 1e3:,.1f}",
            f"{row['time_ratio']:.2f}",
            "met" if met else "missed",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_page(page: Path, text: str) -> None:
    """Put the table between its markers.

    Raises:
        SystemExit: the page has no such place.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no place for the table: the lines '{BEGIN}' and '{END}'")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def torch_version() -> str:
    """That of the Python that trains."""
    command = (training_python(), "-c", "from importlib.metadata import version; print(version('torch'))")
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def given() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--case", type=int, action="append", choices=range(len(CASES)), help="its number; repeatable")
    which.add_argument("--all", action="store_true", help=f"all {len(CASES)} shapes; the first {SHOWN} without it")
    parser.add_argument("--out", type=Path, help="where the result goes as JSON")
    parser.add_argument("--page", type=Path, help="the page whose table is to be written anew")
    parser.add_argument(
        "--one-thread",
        action="store_true",
        help="one thread, by the processor's clock: for a busy machine, one process",
    )
    return parser.parse_args()


def main() -> None:
    """Compare the shapes, and tell the worst."""
    wanted, began = given(), monotonic()
    way = Way(1, "processor") if wanted.one_thread else Way()
    print(f"{'':<68} {'MB pred':>7} {'meas':>7} {'ratio':>6}   {'ms pred':>8} {'meas':>8} {'ratio':>6}", flush=True)
    rows = []
    for number in wanted.case or range(len(CASES) if wanted.all else SHOWN):
        rows.append(compared(CASES[number], wanted.rounds, way))
        print(_told(rows[-1]), flush=True)
    worst_memory = max((row["memory_ratio"] for row in rows), key=lambda ratio: abs(ratio - 1))
    worst_time = max((row["time_ratio"] for row in rows), key=lambda ratio: abs(ratio - 1))
    bounds = f"bounds ±{MEMORY_BOUND:.0%} and ±{TIME_BOUND:.0%}"
    print(f"worst predicted by measured: memory {worst_memory:.2f}, time {worst_time:.2f} ({bounds})")
    clock = "one thread, by the processor's clock" if wanted.one_thread else f"{cores()} cores"
    told = (
        f"`python -m benchmarks.training_plan`, {datetime.now(UTC):%Y-%m-%d}, {machine()}, {clock}, torch "
        f"{torch_version()}, up to {wanted.rounds} rounds, {(monotonic() - began) / 60:.0f} minutes in all."
    )
    print(told)
    if wanted.page is not None:
        write_page(wanted.page, rendered(rows, told))
    if wanted.out is not None:
        result = {"cores": cores(), "clock": way.clock, "rounds": wanted.rounds, "cases": rows}
        wanted.out.write_text(json.dumps({**result, "worst": {"memory": worst_memory, "time": worst_time}}, indent=1))


if __name__ == "__main__":
    main()
