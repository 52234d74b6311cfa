"""Training from nothing: the loop, for any model on any number of devices.

    gradients → shorten → judge → change the weights → log → evaluate → checkpoint

What a step does depends on the recipe, on the weights, and on how many batches were taken before; on nothing else. So a
training that was stopped, or killed, goes on as if nothing had been: on a processor bit for bit.

`pretrain` is the whole of it, `Training.make_step` what a step is; the rest is in the order in which they call it.

What it does not know: what the model is (`trainer.objective`), how it lies on devices (`trainer.parallel`), and how its
state is written (`trainer.checkpoints`).
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from freehold.errors import ConfigError, TrainingDiverged
from freehold.training.trainer import precision, schedules
from freehold.training.trainer.average import Average
from freehold.training.trainer.checkpoints import Checkpoints
from freehold.training.trainer.identity import decisive
from freehold.training.trainer.metrics import Rates, RunLog
from freehold.training.trainer.objective import Objective
from freehold.training.trainer.optimizers import optimizers_of, set_rates
from freehold.training.trainer.parallel import Devices
from freehold.training.trainer.peaks import peak
from freehold.training.trainer.recipe import TrainingRecipe
from freehold.training.trainer.share import StepShare
from freehold.training.trainer.spikes import Spikes

CHECKPOINTS: Final = "checkpoints"
"""The folder of checkpoints within that of a training."""


@dataclass(frozen=True, slots=True)
class Trained:
    """How a training ended.

    Args:
        step: steps that were made.
        metrics: of the last evaluation; none if it had ended before.
        finished: whether these were all steps; otherwise it was asked to stop, and a checkpoint holds where it is.
    """

    step: int
    metrics: Mapping[str, float]
    finished: bool


def pretrain(
    recipe: TrainingRecipe,
    objective: Objective,
    devices: Devices,
    folder: Path,
    *,
    description: Mapping[str, Any],
    price_per_hour: float | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train from the folder's newest checkpoint, if it has one, to the last step, or until a stop is asked for.

    Each process of the training calls this, with what `Devices.open` gave it.

    Args:
        recipe: the numbers.
        objective: what is learnt.
        devices: where.
        folder: for checkpoints and logs.
        description: what the log says of the training: its name, at least.
        price_per_hour: of one device, for the log.
        stop: asked at each step whether to stop after it; if one process is to stop, all do.

    Raises:
        ConfigError: the recipe cannot be done on these devices, or the folder has checkpoints of another training.
        TrainingDiverged: the loss leapt more often than the recipe bears.
    """
    training = Training(recipe, objective, devices, folder)
    log = training.begin(description, price_per_hour)
    try:
        while training.step < recipe.steps and not training.stopping:
            if not training.make_step(stop()):
                continue  # it went back
            last = training.step == recipe.steps
            if last or (recipe.evaluate_every and training.step % recipe.evaluate_every == 0):
                training.evaluate()
            if last or training.stopping or training.step % recipe.checkpoints.every_steps == 0:
                training.save()
    finally:
        training.end()
        log.close()
    return Trained(training.step, training.metrics, finished=training.step == recipe.steps)


class Training:
    """The parts of a training, and what is done with them."""

    def __init__(self, recipe: TrainingRecipe, objective: Objective, devices: Devices, folder: Path) -> None:
        self.step = 0
        """Steps that were made."""
        self.metrics: Mapping[str, float] = {}
        """What the last evaluation said."""
        self.stopping = False
        """Whether it is to stop here."""
        self._recipe = recipe
        self._objective = objective
        self._devices = devices
        self._folder = folder
        self._taken = 0
        """Batches that were taken; after going back, steps are made again with batches that were not."""
        self._pieces = StepShare.of(recipe, devices.data_rank, devices.data_world).pieces
        self._numbers = precision.of(recipe.precision, devices.device.type)
        self._model = devices.distribute(self._numbers.convert(objective.model), recipe)
        objective.initialise()
        self._optimizers = optimizers_of(self._model, recipe.optimizer, self._numbers.dtype)
        self._average = Average(self._model, recipe.average) if recipe.average is not None else None
        self._spikes = Spikes(recipe.spikes)
        identity = {"training": decisive(recipe), **objective.identity()}
        self._checkpoints = Checkpoints(folder / CHECKPOINTS, identity, recipe.checkpoints, devices)

    def begin(self, description: Mapping[str, Any], price_per_hour: float | None) -> RunLog:
        """Load the newest checkpoint, if there is one, and open the log."""
        found = self._load()
        if not found and self._checkpoints.passed_over:
            reasons = "; ".join(self._checkpoints.passed_over)
            raise ConfigError(f"{self._folder} has checkpoints that cannot be gone on with ({reasons}); choose another")
        rates = Rates(
            self._recipe.batch,
            self._objective.tokens_per_sample,
            self._objective.flops_per_sample,
            self._devices.world,
            peak(self._devices.device, self._numbers.dtype),
            price_per_hour,
        )
        whole = {"steps": self._recipe.steps, **description}
        self._log = RunLog(self._folder, whole, rates, self._recipe.log_every, self.step, writes=self._devices.is_first)
        self._tell_passed_over()
        self._model.train()
        return self._log

    def make_step(self, wants_stop: bool) -> bool:
        """Learn from the next batch, unless its loss leaps; false if it leapt so often that the training went back."""
        own_loss = self._gradients()
        own_length = self._devices.clip(self._model.parameters(), self._recipe.optimizer.clip_norm)
        loss, length, self.stopping = self._agreed(own_loss, own_length, wants_stop)
        verdict = self._spikes.judge(loss, length)
        height = schedules.share(self._recipe.schedule, self.step, self._recipe.steps)
        rate = set_rates(self._optimizers, self._recipe.optimizer, height)
        if verdict == "go":
            for optimizer in self._optimizers:
                optimizer.step()
            if self._average:
                self._average.follow(self.step + 1)
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._taken += 1
        self._log.step(self.step, loss, length, rate)
        if verdict == "skip":
            self._log.event(f"the loss leapt to {loss:.4g}; step {self.step} changed nothing")
        elif verdict == "roll_back":
            self._go_back(loss)
        return verdict != "roll_back"

    def evaluate(self) -> None:
        """Measure with held-out samples: with all of them after the last step."""
        samples = None if self.step == self._recipe.steps else self._recipe.evaluate_samples
        self._model.eval()
        averaged = self._average.in_place() if self._average else nullcontext()
        with self._log.aside(), torch.no_grad(), self._numbers.autocast(), averaged:
            self.metrics = self._objective.evaluate(samples)
        self._model.train()
        self._log.evaluation(self.step, self.metrics)

    def save(self) -> None:
        """Have a checkpoint written."""
        state = {"taken": self._taken, "spikes": self._spikes.state(), **self._averaged()}
        with self._log.aside():
            self._checkpoints.save(self.step, self._model, self._optimizers, state)
        self._tell_failure()

    def end(self) -> None:
        """Wait for what is being written."""
        self._checkpoints.close()
        self._tell_failure()

    def _gradients(self) -> Tensor:
        """Add up the gradients of a batch, micro-batch by micro-batch; returns its loss in this process."""
        torch.manual_seed(_seed(self._recipe.seed, self._taken, self._devices.data_rank))  # of dropout, say
        loss = torch.zeros((), device=self._devices.device)
        for micro in range(self._pieces):
            batch = self._objective.batch(self._taken, micro)
            self._devices.accumulating(self._model, last=micro + 1 == self._pieces)
            with self._numbers.autocast():
                part = self._objective.loss(batch) / self._pieces
            part.backward()
            loss += part.detach()
        return loss

    def _agreed(self, loss: Tensor, length: Tensor, stopping: bool) -> tuple[float, float, bool]:
        """The loss, the gradients' length before they were shortened, and whether to stop: equal on all processes."""
        told = torch.stack((loss, length.to(loss.dtype), torch.full_like(loss, float(stopping))))
        mean_loss, mean_length, any_stopping = self._devices.mean(told).tolist()
        return mean_loss, mean_length, any_stopping > 0

    def _go_back(self, loss: float) -> None:
        """Be where the newest checkpoint was, but pass over the batches since then."""
        if self._spikes.exhausted:
            raise TrainingDiverged(
                f"the loss leapt to {loss:.4g} at step {self.step}, and going back {self._recipe.spikes.rollbacks} "
                "times did not help; try a lower rate, a longer warm-up, or clipping"
            )
        left, taken = self.step, self._taken
        if not self._load():
            raise TrainingDiverged(
                f"the loss leapt to {loss:.4g} at step {self.step}, before there was a checkpoint to go back to; "
                "try a lower rate, a longer warm-up, or more frequent checkpoints"
            )
        self._taken = taken
        self._log.rewind(self.step)
        self._tell_passed_over()
        self._log.event(f"the loss leapt to {loss:.4g} at step {left}; back to step {self.step}, with later batches")

    def _load(self) -> bool:
        """Be where the newest checkpoint is; whether there is one."""
        newest = self._checkpoints.newest()
        if newest is None:
            return False
        state = self._checkpoints.load(newest, self._model, self._optimizers, self._averaged())
        self._spikes.restore(state["spikes"])
        self.step, self._taken = newest.step, int(state["taken"])
        return True

    def _averaged(self) -> Mapping[str, Tensor]:
        return self._average.tensors if self._average else {}

    def _tell_passed_over(self) -> None:
        for each in self._checkpoints.passed_over:
            self._log.event(f"a later checkpoint was passed over: {each}")

    def _tell_failure(self) -> None:
        if (failure := self._checkpoints.failure()) is not None:
            self._log.event(failure)


def _seed(seed: int, taken: int, rank: int) -> int:
    return int.from_bytes(sha256(f"{seed}:{taken}:{rank}".encode()).digest()[:8], "big") >> 1
