"""Direct preference optimization: of two answers the preferred one becomes more likely, through TRL's DPOTrainer.

The reference that the model must not leave too far is the base itself: the model with its adapter switched off.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel
from trl import DPOConfig, DPOTrainer

from freehold.training.finetune.conversations import IGNORED, Pair
from freehold.training.finetune.protocol import Task
from freehold.training.finetune.recipe import Recipe, micro_batch
from freehold.training.finetune.trainer import Checkpointing, adapter, arguments


class PreferenceTrainer(Checkpointing, DPOTrainer):
    """TRL's trainer, with examples that are tokens already, and with the accuracy of preferences.

    The reward of DPO compares with the base, so its accuracy says nothing of the base itself. The preference accuracy
    does: the part of the pairs of which the model finds the preferred answer, as a whole, more likely than the other.
    """

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """See `Trainer.evaluate`."""
        metrics: dict[str, float] = super().evaluate(*args, **kwargs)
        accuracy = {"eval_preference_accuracy": self._preference_accuracy()}
        self.callback_handler.on_log(self.args, self.state, self.control, accuracy)
        return {**metrics, **accuracy}

    def _preference_accuracy(self) -> float:
        right = total = 0
        self.model.eval()
        for batch in self.get_eval_dataloader():
            inputs = self._prepare_inputs(batch)
            labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, IGNORED)
            with torch.no_grad(), self.compute_loss_context_manager():
                outputs = self.model(
                    input_ids=inputs["input_ids"],
                    attention_mask=inputs["attention_mask"],
                    labels=labels,
                    fused_lm_head=True,  # TRL's: the probabilities of the labels only, 0 where there is none
                )
            chosen, rejected = outputs.log_probs.sum(1).chunk(2)
            right += int((chosen > rejected).sum())
            total += len(chosen)
        return right / total


def preference_trainer(
    task: Task,
    recipe: Recipe,
    model: PreTrainedModel,
    tokenizer: Any,
    examples: Sequence[Pair],
    validation: Sequence[Pair],
    scratch: Path,
) -> PreferenceTrainer:
    """A trainer that is ready to go; see `freehold.training.finetune.supervised.supervised_trainer`."""
    longest = 2 * max(len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)) for pair in examples)
    micro = micro_batch(recipe.batch_size, longest)
    settings = arguments(
        DPOConfig,
        task,
        recipe,
        scratch,
        beta=recipe.beta,
        per_device_train_batch_size=micro,
        per_device_eval_batch_size=micro_batch(16, longest),
        gradient_accumulation_steps=recipe.batch_size // micro,
        eval_strategy="epoch" if validation else "no",
        max_length=None,
    )
    return PreferenceTrainer(
        model=model,
        args=settings,
        train_dataset=_dataset(examples),
        eval_dataset=_dataset(validation) if validation else None,
        processing_class=tokenizer,
        peft_config=adapter(),
    )


def _dataset(pairs: Sequence[Pair]) -> Dataset:
    return Dataset.from_dict(
        {
            "prompt_ids": [pair.prompt for pair in pairs],
            "chosen_ids": [pair.chosen for pair in pairs],
            "rejected_ids": [pair.rejected for pair in pairs],
        }
    )
