"""Checkpoints of a training: the whole state, written while the training goes on, there whole or not at all.

`save` copies the state to the host's memory and returns; a thread writes it. Each process writes the parts of tensors
that it has as `part-R.safetensors`; when all have synced theirs, the first one writes the manifest, with the digest of
each part, and renames the folder into its place (`freehold.training.checkpoint_folders`). The processes agree on this
over a group of their own (gloo), so the training's own exchanges are not disturbed. `load` fills any other number of
processes, too. There is no pickle in it.

If a checkpoint cannot be written, say because the disk is full, those before it stay, its room is given back, `failure`
tells why, and the training goes on.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from freehold.training.checkpoint_folders import (
    CheckpointDamaged,
    CheckpointFolders,
    digest,
    read_manifest,
    sync,
    whole_manifest,
)
from freehold.training.trainer import state
from freehold.training.trainer.identity import difference
from freehold.training.trainer.recipe import CheckpointRecipe

_MESSAGE_BYTES: Final = 1024
_PATIENCE: Final = timedelta(hours=2)
"""How long processes wait for the slowest one's part."""


class Processes(Protocol):
    """Which of the training's processes this is."""

    @property
    def rank(self) -> int:
        """From 0."""
        ...

    @property
    def world(self) -> int:
        """How many there are."""
        ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that is whole and of this training.

    Args:
        step: after which it was written.
        folder: where it is.
        processes: that wrote it.
        extra: what the loop gave with it that is no tensor.
    """

    step: int
    folder: Path
    processes: int
    extra: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of a training. Every process makes one, at the same moment, and calls the same in the same order.

    Args:
        folder: where they are; all processes see the same.
        identity: what the training is, in a form that is equal for equal trainings.
        recipe: how many are kept, and whether they are written beside the training.
        processes: of the training.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], recipe: CheckpointRecipe, processes: Processes
    ) -> None:
        self.passed_over: list[str] = []
        """Checkpoints that the last `newest` did not take, and why."""
        self._folders = CheckpointFolders(folder, recipe.keep)
        self._identity = json.loads(json.dumps(identity))
        self._asynchronous = recipe.asynchronous
        self._rank, self._world = processes.rank, processes.world
        self._group = distributed.new_group(backend="gloo", timeout=_PATIENCE) if self._world > 1 else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._failure: str | None = None
        self._host: dict[str, Tensor] = {}

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole and of this training; each process examines its share of the parts."""
        self.wait()
        self.passed_over = []
        candidates = iter(self._folders.newest_first())
        while True:
            found = next(candidates, None)
            name = self._exchange(found[1].name if found else "")[0]  # the first process's list counts
            if not name:
                return None
            folder = self._folders.partial.with_name(name)
            problem = next(filter(None, self._exchange(self._problem(folder))), None)
            if problem is None:
                manifest = read_manifest(folder)
                return Checkpoint(manifest["step"], folder, manifest["processes"], manifest["extra"])
            self.passed_over.append(f"{name}: {problem}")

    def load(
        self,
        checkpoint: Checkpoint,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        extra: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Any]:
        """Fill a model and its optimizers, in whatever layout they are now; what `extra` gave at `save` is returned.

        With as many processes as wrote it, their random generators go on, too.

        Args:
            checkpoint: from `newest`.
            model: filled in place.
            optimizers: of the model, in any state.
            extra: tensors that were given as extra, filled in place.

        Raises:
            ConfigError: the checkpoint is of a model with other names or sizes.
        """
        rank = self._rank if checkpoint.processes == self._world else None
        state.fill(checkpoint.folder, model, optimizers, extra or {}, rank)
        return dict(checkpoint.extra)

    def save(self, step: int, model: nn.Module, optimizers: Sequence[Optimizer], extra: Mapping[str, Any]) -> None:
        """Write the state down as it is now. Returns when it is copied; waits for the one before to be written.

        Args:
            step: after which this is.
            model: may be split over processes.
            optimizers: of the model.
            extra: tensors, and what JSON can say, by name.
        """
        self.wait()
        tensors = {name: value for name, value in extra.items() if isinstance(value, Tensor)}
        said = {name: value for name, value in extra.items() if name not in tensors}
        parts = state.parts_of(state.tensors_of(model, optimizers, tensors, self._rank), self._rank)
        copies = self._copied(parts)
        self._writing = self._thread.submit(self._write, step, copies, state.file_metadata(parts), said)
        if not self._asynchronous:
            self.wait()

    def wait(self) -> None:
        """Wait until what was saved is written, or has failed."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def failure(self) -> str | None:
        """Why a checkpoint could not be written, once for each; None if all is well as far as known."""
        failure, self._failure = self._failure, None
        return failure

    def close(self) -> None:
        """Wait for what is being written, and end the thread."""
        self.wait()
        self._thread.shutdown()

    @torch.no_grad()
    def _copied(self, parts: Mapping[str, tuple[Tensor, list[int]]]) -> dict[str, Tensor]:
        """The parts in the host's memory, where the copies of the last time are written over."""
        self._host = {name: self._host[name] for name in parts if name in self._host}
        for name, (part, _) in parts.items():
            place = self._host.get(name)
            if place is None or place.size() != part.size() or place.dtype != part.dtype:
                place = torch.empty(part.size(), dtype=part.dtype, pin_memory=part.is_cuda)
                self._host[name] = place
            place.copy_(part, non_blocking=True)
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return dict(self._host)

    def _write(self, step: int, copies: dict[str, Tensor], metadata: dict[str, str], extra: Mapping[str, Any]) -> None:
        """Write this process's part, and put the folder in place when all are there. Runs beside the training."""
        try:
            self._together(self._begin)
            digests = self._together(partial(self._write_part, copies, metadata))
            self._together(partial(self._finish, step, digests, extra))
        except OSError as exc:
            if self._rank == 0:
                self._folders.abandon()
            self._failure = f"the checkpoint of step {step} could not be written: {exc}"

    def _begin(self) -> str:
        if self._rank == 0:
            self._folders.begin()
        return ""

    def _write_part(self, copies: dict[str, Tensor], metadata: dict[str, str]) -> str:
        path = self._folders.partial / _part(self._rank)
        save_file(copies, path, metadata)
        sync(path)
        return digest(path)

    def _finish(self, step: int, digests: Sequence[str], extra: Mapping[str, Any]) -> str:
        if self._rank == 0:
            files = {_part(rank): each for rank, each in enumerate(digests)}
            manifest = {"step": step, "processes": self._world, "identity": self._identity, "extra": dict(extra)}
            self._folders.finish(step, {**manifest, "files": files})
        return ""

    def _together(self, act: Callable[[], str]) -> list[str]:
        """Do something on each process, and have what it said on each.

        Raises:
            OSError: on all processes, if it failed on one.
        """
        try:
            said = f"+{act()}"
        except (OSError, SafetensorError) as exc:
            said = f"-{exc}"
        every = self._exchange(said)
        for each in every:
            if each.startswith("-"):
                raise OSError(each[1:])
        return [each[1:] for each in every]

    def _exchange(self, text: str) -> list[str]:
        """What each process says, in the order of their ranks. A text has at most `_MESSAGE_BYTES`; more is cut off."""
        if self._group is None:
            return [text]
        mine = torch.zeros(_MESSAGE_BYTES, dtype=torch.uint8)
        for place, byte in enumerate(text.encode()[:_MESSAGE_BYTES]):
            mine[place] = byte
        every = [torch.empty_like(mine) for _ in range(self._world)]
        distributed.all_gather(every, mine, group=self._group)
        return [bytes(each.tolist()).rstrip(b"\0").decode(errors="ignore") for each in every]

    def _problem(self, folder: Path) -> str:
        """Why a checkpoint is not gone on with; empty if it can be, as far as this process has looked."""
        try:
            if (other := difference(self._identity, read_manifest(folder)["identity"])) is not None:
                return f"it is of another training: {other}"
            whole_manifest(folder, slice(self._rank, None, self._world))
        except CheckpointDamaged as exc:
            return str(exc)
        except (OSError, ValueError, KeyError) as exc:
            return f"it is not whole ({type(exc).__name__}: {exc})"
        return ""


def _part(rank: int) -> str:
    return f"part-{rank}.safetensors"
