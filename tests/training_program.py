"""A program that speaks as `freehold.training.language.member`, and only counts; for what is around a training.

Its state is the number of its step. The name of its recipe says what else it does: `crash` ends it badly two steps
after it began, once; `always` does so each time; `wrong` says that its input cannot be done; `deaf` does not hear when
it is asked to stop; `patient` makes its last step only when a file `go` lies in its folder; `telling` writes down how
its threads would wait for one another.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STEP_S = 0.01


def say(**line: Any) -> None:
    """Write a line."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def kept(out: Path) -> int:
    """The step of the newest checkpoint; 0 if there is none."""
    return max((int(each.name.removeprefix("step-")) for each in (out / "checkpoints").glob("step-*")), default=0)


def keep(out: Path, step: int) -> None:
    """Write a checkpoint, whole or not at all; the one before goes."""
    before = kept(out)
    folder = out / "checkpoints" / f"step-{step}"
    folder.with_suffix(".new").mkdir(parents=True, exist_ok=True)
    folder.with_suffix(".new").rename(folder)
    if before and before != step:
        shutil.rmtree(out / "checkpoints" / f"step-{before}")


def work(task: Mapping[str, Any], asked: list[int]) -> int:
    """Count; the exit status."""
    recipe, out = task["recipe"], Path(task["out"])
    name, training = recipe["name"], recipe["training"]
    first = os.environ.get("RANK", "0") == "0"
    out.mkdir(parents=True, exist_ok=True)
    if name == "wrong":
        if first:
            say(type="refused", message="training.batch: it cannot be so")
        return 2
    step = begun = kept(out)
    if name == "telling" and first:
        (out / "environment").write_text(os.environ.get("OMP_WAIT_POLICY", ""))
    if first:
        say(type="started", step=step, device="cpu")
    while step < training["steps"] and not asked:
        while name == "patient" and step + 1 == training["steps"] and not (out / "go").exists() and not asked:
            time.sleep(STEP_S)
        if asked:
            break
        time.sleep(STEP_S)
        step += 1
        if not first:
            continue
        line = {"kind": "step", "step": step, "loss": 1 / step, "seconds": step * STEP_S}
        with (out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        if step % training["checkpoints"]["every_steps"] == 0 or step == training["steps"]:
            keep(out, step)
        if step == begun + 2 and (name == "always" or (name == "crash" and not (out / "broke").exists())):
            (out / "broke").touch()
            sys.stderr.write("it broke\n")
            return 1
    if first and step > kept(out):
        keep(out, step)
    return 0


def main() -> int:
    """Do what the task says, until it is done or asked to stop."""
    task = json.loads(sys.argv[1])
    asked: list[int] = []
    hear = (lambda *_: None) if task["recipe"]["name"] == "deaf" else (lambda number, _: asked.append(number))
    signal.signal(signal.SIGTERM, hear)
    return work(task, asked)


if __name__ == "__main__":
    sys.exit(main())
