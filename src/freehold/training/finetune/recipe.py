"""How a job trains: the numbers behind "auto", and those that callers cannot choose.

All are for LoRA: the base stays as it is, and small matrices beside each of its linear layers learn. That needs a
fraction of the memory, learns data sets of this size as well as training everything does, and its rates of learning
hold for models of many sizes. Source: Schulman et al., "LoRA Without Regret" (2025), and runs with the starter model.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

from freehold.training.finetune.protocol import Hyperparameters, Method, Task

RANK: Final = 16
ALPHA: Final = 32
TARGETS: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WARM_UP: Final = 0.05
"""The part of the steps in which the rate of learning rises; then it falls along a cosine."""
MAX_TOKENS: Final = 4096
"""The longest example in tokens, where the model's own context is not shorter; what is longer is cut."""
MICRO_TOKENS: Final = 4096
"""How many tokens go through the model at once, so that memory stays bounded whatever the batch is."""
RATES: Final[dict[Method, float]] = {"supervised": 5e-4, "dpo": 2e-4, "reinforcement": 2e-4}
"""The rates of learning at a multiplier of 1."""
BETA: Final = 0.1
GENERATIONS: Final = 8
"""Answers to each prompt that reinforcement learning compares, at a compute multiplier of 1."""
ANSWER_TOKENS: Final = {"default": 128, "low": 32, "medium": 256, "high": 512}
"""The longest answer in reinforcement learning, by the effort."""
TEMPERATURE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """All numbers of a training.

    Args:
        n_epochs: how often each example is seen.
        batch_size: examples a step; of reinforcement learning, prompts a step.
        learning_rate_multiplier: as the caller chose.
        learning_rate: at its highest.
        beta: how far preferences may lead away from the base; 0 where there are none.
        generations: answers compared for each prompt; 0 where none are.
        answer_tokens: the longest of these.
        eval_interval: steps between evaluations of reinforcement learning.
        eval_samples: answers for each prompt of the validation file.
        total_steps: of the whole training.
        warmup_steps: in which the rate of learning rises.
        checkpoint_steps: between checkpoints.
    """

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    learning_rate: float
    beta: float
    generations: int
    answer_tokens: int
    eval_interval: int
    eval_samples: int
    total_steps: int
    warmup_steps: int
    checkpoint_steps: int

    def told(self) -> dict[str, Any]:
        """The numbers, for whoever looks at the job."""
        return {key: value for key, value in asdict(self).items() if value != 0}


def resolve(task: Task, examples: int) -> Recipe:
    """The numbers of a job with so many examples."""
    chosen = task.hyperparameters
    epochs = _chosen(chosen.n_epochs, _epochs(task.method, examples))
    batch = min(_chosen(chosen.batch_size, _batch(task.method, examples)), examples)
    total = epochs * math.ceil(examples / batch)
    if task.method == "reinforcement":  # what does not fill a batch is left out
        total = epochs * (examples // batch)
    if task.max_steps is not None:
        total = min(total, task.max_steps)
    multiplier = _chosen(chosen.learning_rate_multiplier, 1.0)
    reinforcement = task.method == "reinforcement"
    return Recipe(
        n_epochs=epochs,
        batch_size=batch,
        learning_rate_multiplier=multiplier,
        learning_rate=RATES[task.method] * multiplier,
        beta=_chosen(chosen.beta, BETA) if task.method == "dpo" else 0.0,
        generations=_generations(chosen) if reinforcement else 0,
        answer_tokens=ANSWER_TOKENS[chosen.reasoning_effort] if reinforcement else 0,
        eval_interval=_chosen(chosen.eval_interval, max(1, total // 4)) if reinforcement else 0,
        eval_samples=_chosen(chosen.eval_samples, 1) if reinforcement else 0,
        total_steps=total,
        warmup_steps=math.ceil(WARM_UP * total),
        checkpoint_steps=_chosen(task.checkpoint_steps, max(1, min(50, math.ceil(total / 10)))),
    )


def micro_batch(batch: int, longest: int) -> int:
    """How many examples go through the model at once: the largest divisor of the batch that memory allows."""
    return max(
        size for size in range(1, batch + 1) if batch % size == 0 and (size == 1 or size * longest <= MICRO_TOKENS)
    )


def _epochs(method: Method, examples: int) -> int:
    """Few examples are seen more often: about 600 in all, at least twice and at most ten times each."""
    if method == "reinforcement":
        return max(1, min(10, math.ceil(100 / examples)))
    return max(2, min(10, math.ceil(600 / examples)))


def _batch(method: Method, examples: int) -> int:
    """Larger data sets are learnt in larger batches."""
    if method == "reinforcement":
        return 4
    return 8 if examples < 2000 else 16 if examples < 10_000 else 32


def _generations(chosen: Hyperparameters) -> int:
    factor = 1.0 if chosen.compute_multiplier == "auto" else chosen.compute_multiplier
    return max(2, round(GENERATIONS * factor))


def _chosen(value: Any, otherwise: Any) -> Any:
    return otherwise if value == "auto" else value
