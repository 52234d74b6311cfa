"""Supervised fine-tuning: the model learns to say what the assistant says in the examples, through TRL's SFTTrainer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel
from trl import SFTConfig, SFTTrainer

from freehold.training.finetune.conversations import Tokens
from freehold.training.finetune.protocol import Task
from freehold.training.finetune.recipe import Recipe, micro_batch
from freehold.training.finetune.trainer import Checkpointing, adapter, arguments


class SupervisedTrainer(Checkpointing, SFTTrainer):
    """TRL's trainer, with checkpoints of ours."""


def supervised_trainer(
    task: Task,
    recipe: Recipe,
    model: PreTrainedModel,
    tokenizer: Any,
    examples: Sequence[Tokens],
    validation: Sequence[Tokens],
    scratch: Path,
) -> SupervisedTrainer:
    """A trainer that is ready to go.

    Args:
        task: what is to be done.
        recipe: its numbers.
        model: the base.
        tokenizer: the base's, for padding.
        examples: to be learnt.
        validation: to be measured at the end of each epoch; may be empty.
        scratch: a folder for what trainers insist on writing.
    """
    longest = max(len(example.ids) for example in examples)
    micro = micro_batch(recipe.batch_size, longest)
    settings = arguments(
        SFTConfig,
        task,
        recipe,
        scratch,
        per_device_train_batch_size=micro,
        per_device_eval_batch_size=micro_batch(16, longest),
        gradient_accumulation_steps=recipe.batch_size // micro,
        eval_strategy="epoch" if validation else "no",
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    return SupervisedTrainer(
        model=model,
        args=settings,
        train_dataset=_dataset(examples),
        eval_dataset=_dataset(validation) if validation else None,
        processing_class=tokenizer,
        peft_config=adapter(),
    )


def _dataset(examples: Sequence[Tokens]) -> Dataset:
    return Dataset.from_dict(
        {"input_ids": [example.ids for example in examples], "labels": [example.labels for example in examples]}
    )
