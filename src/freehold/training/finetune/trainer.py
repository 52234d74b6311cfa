"""What the three ways of training share: arguments, adapters, checkpoints, and the telling of metrics.

TRL's trainers do the training. What is different here: examples come in tokens, checkpoints are written as
`freehold.training.finetune.checkpoints` wants them, and each step looks at whether it is to be the last.
"""

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from peft import LoraConfig
from safetensors import SafetensorError
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from freehold.training.finetune.checkpoints import Checkpoint, CheckpointStore
from freehold.training.finetune.protocol import EXPORTS, Channel, Stopped, Task
from freehold.training.finetune.recipe import ALPHA, RANK, TARGETS, Recipe

ConfigT = TypeVar("ConfigT", bound=TrainingArguments)

_TOLD: Final = {
    "loss": "train_loss",
    "mean_token_accuracy": "train_mean_token_accuracy",
    "rewards/accuracies": "train_reward_accuracy",
    "rewards/margins": "train_reward_margin",
    "reward": "train_mean_reward",
    "completions/mean_length": "train_mean_answer_tokens",
    "kl": "train_kl",
    "learning_rate": "learning_rate",
    "num_tokens": "tokens",
    "eval_mean_token_accuracy": "valid_mean_token_accuracy",
    "eval_preference_accuracy": "valid_preference_accuracy",
    "eval_rewards/accuracies": "valid_reward_accuracy",
    "eval_reward": "valid_mean_reward",
}
"""Trainers' names of metrics, and those that are told."""


def device() -> str:
    """Where the training runs."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def half_precision() -> bool:
    """Whether matrices are multiplied in bfloat16: on GPUs, and on processors with units of their own for that.

    On a processor without them it is slower than float32; with them it was twice as fast.
    """
    return torch.cuda.is_available() or bool(torch.cpu._is_amx_tile_supported())  # noqa: SLF001  # has no public name


def adapter() -> LoraConfig:
    """The matrices that learn."""
    return LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=list(TARGETS), task_type="CAUSAL_LM")


def arguments(kind: Callable[..., ConfigT], task: Task, recipe: Recipe, scratch: Path, **more: Any) -> ConfigT:
    """A trainer's arguments.

    Args:
        kind: its class of arguments.
        task: has the seed.
        recipe: has the numbers.
        scratch: a folder for what trainers insist on writing; nothing in it is kept.
        more: what only this trainer has.
    """
    return kind(
        output_dir=str(scratch),
        num_train_epochs=recipe.n_epochs,
        max_steps=recipe.total_steps,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_steps,
        lr_scheduler_type="cosine",
        weight_decay=0.0,
        max_grad_norm=1.0,
        optim="adamw_torch",
        seed=task.seed,
        data_seed=task.seed,
        logging_steps=1,
        logging_first_step=True,
        save_strategy="no",  # the reporter says when
        bf16=half_precision(),
        use_cpu=device() == "cpu",
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to="none",
        **more,
    )


class Reporter(TrainerCallback):
    """Tells metrics and checkpoints, and ends the training when that is wanted.

    What is measured at one step, on the training and on the validation file, is told in one message.

    Args:
        channel: to whom.
        checkpoints: where checkpoints go.
        recipe: says how many steps there are, and after how many a checkpoint is due.
    """

    def __init__(self, channel: Channel, checkpoints: CheckpointStore, recipe: Recipe) -> None:
        self._channel = channel
        self._checkpoints = checkpoints
        self._recipe = recipe
        self._pending: dict[str, Any] = {}
        self._pending_step = 0
        self._whole_epoch = False
        self._written = -1
        self.last: dict[str, Any] = {}
        self.stopped: str | None = None
        self.export: Callable[[int], str] | None = None
        """Exports the model as it is after a step, at the end of each epoch, and says under which name."""

    def flush(self) -> None:
        """Tell what was measured so far."""
        if self._pending:
            self._channel.say("metrics", step=self._pending_step, total=self._recipe.total_steps, **self._pending)
            self.last |= self._pending
            self._pending = {}

    def write(self, step: int, fill: Callable[[Path], None]) -> None:
        """Write a checkpoint and tell of it; where that fails, the training goes on with those that there are."""
        self.flush()
        if step == self._written:
            return
        try:
            written = self._checkpoints.write(step, self.last, fill)
            exported = self.export(step) if self.export is not None and self._whole_epoch else None
        except (OSError, RuntimeError, SafetensorError) as exc:  # torch and safetensors have errors of their own for it
            reason = getattr(exc, "strerror", None) or type(exc).__name__
            self._channel.event(f"The checkpoint of step {step} could not be written: {reason}.", "warn")
            return
        self._written = step
        more = {} if exported is None else {"file": f"{EXPORTS}/{exported}"}
        path = f"{written.folder.parent.name}/{written.folder.name}"
        self._channel.say("checkpoint", step=step, path=path, sha256=written.sha256, metrics=self.last, **more)

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002  # the callback's contract
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002  # likewise
        logs: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Take what a trainer measured."""
        found = {told: _plain(logs[name]) for name, told in _TOLD.items() if logs and name in logs}
        if logs and "eval_loss" in logs:
            found["valid_loss"] = _plain(logs["eval_loss"])
            if self._whole_epoch:
                found["full_valid_loss"] = found["valid_loss"]
        if state.global_step != self._pending_step:
            self.flush()
        self._pending_step = state.global_step
        self._pending |= found

    def on_step_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Tell what the step before brought."""
        self._whole_epoch = False
        self.flush()

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        """End the training with a checkpoint, if that is wanted and there is more to do."""
        wanted = self._channel.stop_wanted
        if wanted is not None and state.global_step < self._recipe.total_steps:
            self.stopped = wanted
            control.should_training_stop = True
        epoch = state.epoch or 0.0
        ends = math.isclose(epoch, round(epoch), abs_tol=1e-6) or state.global_step == self._recipe.total_steps
        control.should_save = not ends and self._due(state.global_step)

    def on_epoch_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        """What is measured from here to the next step is of a whole epoch, and its checkpoint comes afterwards."""
        self._whole_epoch = self.stopped is None
        control.should_evaluate = control.should_evaluate and self.stopped is None
        control.should_save = self.export is not None or self._due(state.global_step)

    def _due(self, step: int) -> bool:
        """Whether a checkpoint is due after a step."""
        return self.stopped is not None or step % self._recipe.checkpoint_steps == 0 or step == self._recipe.total_steps


class Checkpointing:
    """Has a trainer write its checkpoints through a `Reporter`, with nothing but what resuming needs."""

    reporter: Reporter

    def _save_checkpoint(self, model: Any, trial: Any) -> None:  # noqa: ARG002  # the trainer's contract
        trainer: Any = self

        def fill(folder: Path) -> None:
            trainer.accelerator.unwrap_model(trainer.model).save_pretrained(folder)
            trainer._save_optimizer_and_scheduler(folder)  # noqa: SLF001  # the trainer's own pieces
            trainer._save_rng_state(folder)  # noqa: SLF001
            trainer.state.save_to_json(folder / "trainer_state.json")

        self.reporter.write(trainer.state.global_step, fill)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Trainers write a page about the model beside each checkpoint, which nobody reads."""


def train(trainer: Any, reporter: Reporter, resume: Checkpoint | None) -> Any:
    """Train to the end, or until that is not wanted any more; returns the model with its adapter.

    Args:
        trainer: one of TRL's, with `Checkpointing`.
        reporter: of this training.
        resume: where to go on.
    """
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(reporter)
    trainer.reporter = reporter
    if resume is not None:
        reporter.last |= resume.metrics
        trainer._total_train_tokens = int(resume.metrics.get("tokens") or 0)  # noqa: SLF001  # it is in no checkpoint
    if resume is not None and resume.step >= trainer.args.max_steps:
        trainer._load_from_checkpoint(str(resume.folder))  # noqa: SLF001  # all that is left to do is to export
    else:
        trainer.args.eval_on_start = resume is None and trainer.eval_dataset is not None
        try:
            trainer.train(resume_from_checkpoint=str(resume.folder) if resume is not None else None)
        except Stopped as exc:  # while it waited for grades: the weights are those of the step before
            reporter.stopped = exc.reason
            if trainer.state.global_step > 0:
                trainer._save_checkpoint(trainer.model, None)  # noqa: SLF001
    reporter.flush()
    return trainer.accelerator.unwrap_model(trainer.model)


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for what trainers insist on writing."""
    return tempfile.TemporaryDirectory(prefix="finetune-")


def _plain(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
