"""A fine-tuning job from its files to its result: what the training process does, in order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import set_seed

from freehold.training.finetune.base_model import BaseModel
from freehold.training.finetune.checkpoints import Checkpoint, CheckpointStore
from freehold.training.finetune.conversations import Conversations, Pair, Tokens, Unrenderable
from freehold.training.finetune.dataset import check_file, read_examples
from freehold.training.finetune.export import Exported, export
from freehold.training.finetune.preference import preference_trainer
from freehold.training.finetune.protocol import CHECKPOINTS, EXPORTS, Channel, Task, TaskInvalid
from freehold.training.finetune.recipe import MAX_TOKENS, Recipe, resolve
from freehold.training.finetune.reinforcement import Prompt, reinforcement_trainer, with_format
from freehold.training.finetune.supervised import supervised_trainer
from freehold.training.finetune.trainer import Reporter, device, scratch_folder, train

ExampleT = TypeVar("ExampleT")


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of a job, ready for its trainer.

    Args:
        training: to be learnt.
        validation: to be measured with.
        tokens: of the training file, in one epoch.
    """

    training: Sequence[Any]
    validation: Sequence[Any]
    tokens: int


class Job:
    """One job.

    Args:
        task: what is to be done.
        folder: with its files.
        channel: to whoever started the process.
        versions: of the libraries, to be told.
    """

    def __init__(self, task: Task, folder: Path, channel: Channel, versions: Mapping[str, str]) -> None:
        self._task = task
        self._folder = folder
        self._channel = channel
        self._versions = versions

    def run(self) -> bool:
        """Train and export; whether it came to its end, and was not paused or cancelled before.

        Raises:
            TaskInvalid: the input is at fault.
            Stopped: it was to stop while it waited for grades.
        """
        task = self._task
        base = BaseModel.open(task.base)
        examples = self._examples(base)
        recipe = resolve(task, len(examples.training))
        checkpoints = CheckpointStore(self._folder / CHECKPOINTS, self._identity(recipe))
        resume = checkpoints.newest()
        self._tell_start(recipe, examples, resume)
        set_seed(task.seed)
        with scratch_folder() as scratch:
            trainer = self._trainer(base, recipe, examples, Path(scratch))
            reporter = Reporter(self._channel, checkpoints, recipe)
            if task.export_checkpoints:
                reporter.export = lambda step: self._export(trainer.model, base, f"step-{step}.gguf").path.name
            model = train(trainer, reporter, resume)
        if reporter.stopped is not None:
            return False
        made = self._export(model, base, "model.gguf")
        self._channel.say(
            "finished",
            file=f"{EXPORTS}/{made.path.name}",
            export=task.export,
            size_bytes=made.size_bytes,
            sha256=made.sha256,
            trained_tokens=examples.tokens * recipe.n_epochs,
            metrics=reporter.last,
        )
        return True

    def _export(self, model: Any, base: BaseModel, name: str) -> Exported:
        return export(model, base, self._folder / EXPORTS / name, self._task.export, self._task.name)

    def _examples(self, base: BaseModel) -> Examples:
        task, conversations = self._task, Conversations(base)
        length = min(MAX_TOKENS, base.context_length)
        if task.method == "supervised":
            learnt = self._read("training", task.training, lambda raw: self._cut(conversations.learnt(raw), length))
            measured = self._read(
                "validation", task.validation, lambda raw: self._cut(conversations.learnt(raw), length)
            )
            return Examples(learnt, measured, sum(len(example.ids) for example in learnt))
        if task.method == "dpo":
            pairs = self._read("training", task.training, lambda raw: _fitting(conversations.pair(raw), length))
            judged = self._read("validation", task.validation, lambda raw: _fitting(conversations.pair(raw), length))
            tokens = sum(2 * len(pair.prompt) + len(pair.chosen) + len(pair.rejected) for pair in pairs)
            return Examples(pairs, judged, tokens)
        instruction = with_format(task.response_format)

        def prompt(raw: Mapping[str, Any]) -> Prompt:
            return Prompt(conversations.prompt(raw, instruction), dict(raw))

        asked = self._read("training", task.training, prompt)
        tokens = sum(len(base.tokenizer.beginning(each.text)) for each in asked)
        return Examples(asked, self._read("validation", task.validation, prompt), tokens)

    def _read(self, param: str, name: str | None, make: Callable[[Mapping[str, Any]], ExampleT]) -> list[ExampleT]:
        """The examples of a file, checked again: this process trusts no other's check."""
        if name is None:
            return []
        path = self._folder / name
        code = f"invalid_{param}_file"
        try:
            report = check_file(path, self._task.method, min_examples=10 if param == "training" else 1)
        except OSError as exc:
            raise TaskInvalid(f"The {param} file cannot be read.", code=code, param=f"{param}_file") from exc
        if report.problems:
            raise TaskInvalid(f"The {param} file has problems: {report.explain()}", code=code, param=f"{param}_file")
        made = []
        for number, raw in enumerate(read_examples(path), start=1):
            try:
                made.append(make(raw))
            except Unrenderable as exc:
                raise TaskInvalid(
                    f"The {param} file: example {number}: {exc}", code=code, param=f"{param}_file"
                ) from exc
        return made

    def _cut(self, tokens: Tokens, length: int) -> Tokens:
        """An example that fits the model; what is too long is cut at its end, if something is left to learn."""
        if len(tokens.ids) <= length:
            return tokens
        cut = tokens.cut(length)
        if not cut.learnt:
            raise Unrenderable(f"has {len(tokens.ids)} tokens before it says anything to learn; at most {length} fit")
        return cut

    def _identity(self, recipe: Recipe) -> dict[str, Any]:
        """What makes a training this one: a checkpoint of another is not gone on with."""
        task = self._task
        return {
            "method": task.method,
            "base": task.base.sha256,
            "seed": task.seed,
            "training": _digest(self._folder / task.training),
            "recipe": {key: value for key, value in recipe.told().items() if key != "checkpoint_steps"},
        }

    def _tell_start(self, recipe: Recipe, examples: Examples, resume: Checkpoint | None) -> None:
        self._channel.say(
            "started",
            total_steps=recipe.total_steps,
            examples=len(examples.training),
            trained_tokens=examples.tokens * recipe.n_epochs,
            resumed_from=resume.step if resume is not None else 0,
            device=device(),
            hyperparameters=recipe.told(),
            versions=dict(self._versions),
        )

    def _trainer(self, base: BaseModel, recipe: Recipe, examples: Examples, scratch: Path) -> Any:
        task = self._task
        model = base.load(torch.float32)
        given = (task, recipe, model, base.tokenizer.fast, examples.training, examples.validation, scratch)
        if task.method == "supervised":
            return supervised_trainer(*given)
        if task.method == "dpo":
            return preference_trainer(*given)
        return reinforcement_trainer(*given, self._channel)


def _fitting(pair: Pair, length: int) -> Pair:
    longest = len(pair.prompt) + max(len(pair.chosen), len(pair.rejected))
    if longest > length:
        raise Unrenderable(f"has {longest} tokens; at most {length} fit")
    return pair


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
