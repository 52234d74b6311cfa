"""What fine-tuning the starter model takes and brings: minutes, and what is measured on examples that were held out.

The data sets are drawn with a seed (`tests/training/finetune/data_sets.py`): 200 tickets to be sorted into five kinds,
100 pairs of sentences of which one spelling is preferred, and 40 questions to which a grader wants a plain yes or no.
Targets: under 20 minutes on two cores for the first, over 80 % of held-out pairs for the second, a higher mean for the
third.

    python -m benchmarks.finetune supervised --base ~/.freehold/models/blobs/sha256-…
"""

import argparse
import tempfile
import time
from pathlib import Path

from freehold.catalog.blobs import hash_file
from tests.training.finetune.data_sets import KINDS, plainness, questions, spellings, split, tickets
from tests.training.finetune.driving import Run, lay_job, run, trainer_python
from tests.training.finetune.served import answer, served


def _accuracy(weights: Path, held_out: list[dict[str, object]]) -> float:
    """The part of held-out tickets that a model sorts right."""
    right = 0
    with served(weights) as socket:
        for example in held_out:
            messages = example["messages"]
            assert isinstance(messages, list)
            said = answer(socket, messages[:-1], 6).strip().lower()
            right += next((kind for kind in KINDS if said.startswith(kind)), None) == messages[-1]["content"]
    return right / len(held_out)


def _report(name: str, done: Run, minutes: float, before: float, after: float) -> None:
    started = done.of("started")[0]
    print(
        f"{name}: {started['examples']} examples, {started['total_steps']} steps, {started['trained_tokens']} tokens,"
    )
    print(f"  {minutes:.1f} minutes, status {done.status}; before {before:.3f}, after {after:.3f}")


def main() -> None:
    """Train and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=("supervised", "dpo", "reinforcement"))
    parser.add_argument("--base", type=Path, required=True, help="the starter chat model's GGUF file")
    arguments = parser.parse_args()
    python = trainer_python()
    if python is None:
        parser.error("there is no environment with torch and TRL; make setup-train makes it")
    with tempfile.TemporaryDirectory() as work:
        base = Path(work) / f"sha256-{hash_file(arguments.base)}"
        base.symlink_to(arguments.base.resolve())
        folder, started = Path(work) / "job", time.monotonic()
        if arguments.method == "supervised":
            training, held_out = split(tickets(300), 200)
            done = run(python, lay_job(folder, "supervised", base, training))
            before, after = _accuracy(base, held_out), _accuracy(folder / "export" / "model.gguf", held_out)
        elif arguments.method == "dpo":
            training, held_out = split(spellings(140), 100)
            done = run(python, lay_job(folder, "dpo", base, training, held_out, hyperparameters={"n_epochs": 1}))
            before, *_, after = done.series("valid_preference_accuracy")
        else:
            training, held_out = split(questions(60), 40)
            numbers = {"reasoning_effort": "low", "batch_size": 2}
            job = lay_job(folder, "reinforcement", base, training, held_out, max_steps=30, hyperparameters=numbers)
            done = run(python, job, plainness)
            before, *_, after = done.series("valid_mean_reward")
        _report(arguments.method, done, (time.monotonic() - started) / 60, before, after)


if __name__ == "__main__":
    main()
