"""A program that speaks as the one that trains, and only counts: a first-class fake for what is around it.

Its model is a copy of its base but for two bytes. What else it does stands in the suffix of the job, as the name of its
model has it: `crash` ends it in the middle, once after each checkpoint; `die` before the first; `memory` and `disk` as
a lack of these does; `bad` says that the input is at fault; `odd` breaks the protocol, `wild` tells what is
too long and too large, `flood` too much; `slow` makes many steps, `patient` slower ones, and `sulky` breaks off when it
is to stop; `leak` reports what it can see of the network; `noisy` writes very much to its log.
"""

import hashlib
import json
import os
import shutil
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

EPOCHS, EVERY, TOKENS = 2, 5, 100
PAUSES_S = {"slow": 0.05, "sulky": 0.05, "patient": 0.3}
"""How long jobs of many steps take for each."""


class Heard:
    """What the program was told: to stop, and grades."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.grades: list[dict[str, Any]] = []
        self.graded = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if message["type"] == "grades":
                self.grades.append(message)
                self.graded.set()
            else:
                self.stop.set()


def say(kind: str, **fields: Any) -> None:
    """Write one message."""
    sys.stdout.write(json.dumps({"type": kind, **fields}) + "\n")
    sys.stdout.flush()


def write_model(task: dict[str, Any], target: Path, mark: str) -> None:
    """Write a copy of the base in which two bytes depend on `mark`."""
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(task["base"]["path"], target)
    with target.open("r+b") as file:  # the last bytes of its last tensor
        file.seek(-4, os.SEEK_END)
        file.write(hashlib.sha256(mark.encode()).digest()[:2])


def write_checkpoint(folder: Path, step: int, task: dict[str, Any]) -> None:
    """Save the state, which is the number of the step, and say so; with a model of it where that is asked."""
    data = json.dumps({"step": step}).encode()
    place = folder / "checkpoints" / f"step-{step}"
    place.mkdir(parents=True, exist_ok=True)
    (place / "state.json").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    together = hashlib.sha256(f"{digest}  state.json\n".encode()).hexdigest()
    metrics = {"train_loss": 1.0 / step, "train_mean_token_accuracy": 0.5}
    more: dict[str, str] = {}
    if task["export_checkpoints"]:
        more["file"] = f"export/step-{step}.gguf"
        write_model(task, folder / more["file"], f"{task['name']} {step}")
    say("checkpoint", step=step, path=f"checkpoints/step-{step}", sha256=together, metrics=metrics, **more)


def newest(folder: Path) -> int:
    """The step of the newest checkpoint; 0 if there is none."""
    found = (folder / "checkpoints").glob("step-*")
    return max((json.loads((each / "state.json").read_bytes())["step"] for each in found), default=0)


def misbehave(how: str, step: int, begun: int) -> None:
    """Break off as the suffix says."""
    if how == "crash" and step == begun + EVERY + 2:
        os._exit(9)
    if how == "die" and step == 2:
        os._exit(7)
    if how == "memory" and step == 2:
        sys.stderr.write("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte\n")
        os._exit(1)
    if how == "disk" and step == 2:
        sys.stderr.write("OSError: [Errno 28] No space left on device\n")
        os._exit(1)
    if how == "wild" and step == 2:
        say("event", message="x" * 1_000_000)
        say("metrics", step=2, total=20, **{f"m{number}": number for number in range(5000)}, large=1e300)
        say("metrics", step=1e300, total=20)
        time.sleep(60)
    if how == "flood" and step == 2:
        for number in range(2000):
            say("event", message=str(number))
        time.sleep(60)
    if how == "odd" and step == 2:
        say("secret", text="what nobody knows")
        time.sleep(60)


def reaches_network() -> bool:
    """Whether a connection could be made."""
    try:
        socket.create_connection(("127.0.0.1", 1), timeout=1)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def main() -> int:
    """Train; the exit status."""
    folder = Path(sys.argv[1])
    task = json.loads((folder / "task.json").read_bytes())
    task["base"]["path"] = sys.argv[2]
    how = task["name"].split(":")[3]
    heard = Heard()
    examples = sum(1 for line in (folder / task["training"]).read_bytes().splitlines() if line.strip())
    steps = 150 if how in PAUSES_S else examples * EPOCHS // 2
    begun = newest(folder)
    numbers = {"n_epochs": EPOCHS, "batch_size": 2, "learning_rate_multiplier": 1.0}
    say(
        "started",
        total_steps=steps,
        examples=examples,
        trained_tokens=steps * TOKENS,
        resumed_from=begun,
        device="cpu",
        hyperparameters=numbers,
        versions={"counting": "1"},
    )
    if how == "bad":
        say("failed", code="example_too_long", message="Line 3 has too many tokens.", param="training_file")
        return 2
    if how == "leak":
        say("event", level="warn", message=f"network: {reaches_network()}")
    for step in range(begun + 1, steps + 1):
        misbehave(how, step, begun)
        heard.stop.wait(PAUSES_S.get(how, 0.0))
        measured = {"train_loss": 1.0 / step, "train_mean_token_accuracy": 1 - 1.0 / (step + 1), "valid_loss": 2 / step}
        if task["method"] == "reinforcement":
            sample = {"item": {"answer": "yes"}, "output_text": "yes" if step % 2 else "no"}
            heard.graded.clear()
            say("grade", id=step, samples=[sample])
            while not heard.graded.wait(0.1) and not heard.stop.is_set():
                pass
            measured["train_mean_reward"] = heard.grades[-1]["rewards"][0] if heard.grades else 0.0
        say("metrics", step=step, total=steps, tokens=step * TOKENS, **measured)
        stopped = heard.stop.is_set()
        if stopped and how == "sulky":
            os._exit(9)
        if stopped or step % EVERY == 0:
            write_checkpoint(folder, step, task)
        if stopped:
            return 3
    target = folder / "export" / "model.gguf"
    write_model(task, target, task["name"])
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    size = target.stat().st_size
    say("finished", file="export/model.gguf", export=task["export"], size_bytes=size, sha256=digest,
        trained_tokens=steps * TOKENS, metrics={"train_loss": 1.0 / steps})  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
