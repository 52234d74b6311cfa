"""Reinforcement fine-tuning: the model answers, a grader rewards, and what earned most becomes more likely.

TRL's GRPOTrainer does it: several answers to each prompt are compared with one another, so no model of values is
needed. The grader is with whoever started this process; answers go there and rewards come back as messages.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from datasets import Dataset
from transformers import PreTrainedModel
from trl import GRPOConfig, GRPOTrainer

from freehold.training.finetune.protocol import Channel, Task
from freehold.training.finetune.recipe import TEMPERATURE, Recipe, micro_batch
from freehold.training.finetune.trainer import Checkpointing, adapter, arguments

MESSAGE_BYTES: Final = 8 * 1024 * 1024
"""About how long a message may be; items are at most a mebibyte each, and stand in it once for each answer."""
_ESCAPED: Final = 6
"""Bytes of JSON that a character may need."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the model reads it, and what the data set says of it, for the grader."""

    text: str
    item: Mapping[str, Any]


class ReinforcementTrainer(Checkpointing, GRPOTrainer):
    """TRL's trainer, with checkpoints of ours."""


class Rewards:
    """Asks for rewards. An answer that could not be graded gets the mean of its prompt's others, which teaches nothing.

    Args:
        channel: to who has the grader.
    """

    __name__ = "grader"

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __call__(self, prompts: list[str], completions: list[str], item: list[str], **_: Any) -> list[float]:
        """A reward for each answer."""
        rewards: list[float | None] = []
        problems: list[str] = []
        for samples in _in_messages(item, completions):
            some, told = self._channel.grade(samples)
            rewards += some
            problems += told
        for problem in sorted(set(problems))[:3]:
            self._channel.event(f"Answers could not be graded: {problem}", "warn")
        known: dict[str, list[float]] = {}
        for prompt, reward in zip(prompts, rewards, strict=True):
            if reward is not None:
                known.setdefault(prompt, []).append(reward)
        means = {prompt: sum(found) / len(found) for prompt, found in known.items()}
        return [
            means.get(prompt, 0.0) if reward is None else reward
            for prompt, reward in zip(prompts, rewards, strict=True)
        ]


def _in_messages(items: Sequence[str], answers: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """Samples to be graded, in parts that fit a message."""
    part: list[dict[str, Any]] = []
    size = 0
    for item, answer in zip(items, answers, strict=True):
        length = len(item) + _ESCAPED * len(answer)
        if part and size + length > MESSAGE_BYTES:
            yield part
            part, size = [], 0
        part.append({"item": json.loads(item), "output_text": answer})
        size += length
    if part:
        yield part


def with_format(response_format: Mapping[str, Any] | None) -> str | None:
    """What the model is told about the form of its answers."""
    if response_format is None or response_format.get("type") == "text":
        return None
    schema = (response_format.get("json_schema") or {}).get("schema")
    if schema is None:
        return "Answer with a JSON object and nothing else."
    return f"Answer with JSON that fits this schema, and nothing else:\n{json.dumps(schema)}"


def reinforcement_trainer(
    task: Task,
    recipe: Recipe,
    model: PreTrainedModel,
    tokenizer: Any,
    examples: Sequence[Prompt],
    validation: Sequence[Prompt],
    scratch: Path,
    channel: Channel,
) -> ReinforcementTrainer:
    """A trainer that is ready to go; see `freehold.training.finetune.supervised.supervised_trainer`."""
    longest = max(len(tokenizer(prompt.text).input_ids) for prompt in examples) + recipe.answer_tokens
    whole = recipe.batch_size * recipe.generations
    micro = micro_batch(whole, longest)
    settings = arguments(
        GRPOConfig,
        task,
        recipe,
        scratch,
        beta=0.0,
        num_generations=recipe.generations,
        max_completion_length=recipe.answer_tokens,
        temperature=TEMPERATURE,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=whole // micro,
        steps_per_generation=whole // micro,  # so that each step begins with new answers, and can be resumed from
        num_generations_eval=recipe.eval_samples,
        per_device_eval_batch_size=recipe.eval_samples * micro_batch(16, longest * recipe.eval_samples),
        eval_strategy="steps" if validation else "no",
        eval_steps=recipe.eval_interval,
        log_completions=False,
    )
    return ReinforcementTrainer(
        model=model,
        reward_funcs=Rewards(channel),
        args=settings,
        train_dataset=_dataset(examples),
        eval_dataset=_dataset(validation) if validation else None,
        processing_class=tokenizer,
        peft_config=adapter(),
    )


def _dataset(prompts: Sequence[Prompt]) -> Dataset:
    return Dataset.from_dict(
        {"prompt": [each.text for each in prompts], "item": [json.dumps(dict(each.item)) for each in prompts]}
    )
