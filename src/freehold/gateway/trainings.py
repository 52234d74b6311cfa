"""Trainings from nothing as callers have them: submitted, looked at, cancelled, paused and resumed."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from freehold.errors import ConfigError, Conflict, Forbidden, InvalidRequest, NotFound
from freehold.gateway.training_changes import TrainingChanges
from freehold.gateway.training_needs import Needs
from freehold.gateway.tuning_python import Trainer
from freehold.governance.authorization import require
from freehold.governance.directory import ORGANIZATION
from freehold.jobs.queue import JobQueue
from freehold.store.kept_items import Reader
from freehold.store.training import (
    TrainingRow,
    add_training,
    cancel_training,
    get_training,
    list_trainings,
    set_training_status,
    training_in,
)
from freehold.training.checkpoint_folders import CheckpointFolders
from freehold.training.language.recipes import LanguageRecipe
from freehold.training.trainer.recipe import read
from freehold.types.identity import Action, MemberKind, Principal
from freehold.types.ids import new_id
from freehold.types.jobs import JobState
from freehold.types.training import (
    TRAINING_ENDED,
    TRAINING_JOB,
    TrainingRequest,
    TrainingSettings,
    TrainingStatus,
)

RESOURCE: Final = "training"
CHECKPOINTS: Final = "checkpoints"
"""The folder of checkpoints within that of a training."""
_WAITING: Final = (TrainingStatus.QUEUED, TrainingStatus.RUNNING, TrainingStatus.PREEMPTED)


@dataclass(frozen=True, slots=True)
class TrainingParts:
    """What trainings are made with.

    Args:
        queue: has them done.
        changes: records them.
        trainer: the program that trains.
        settings: where folders may lie, and how long a checkpoint may take.
        clock: seconds since the epoch.
    """

    queue: JobQueue
    changes: TrainingChanges
    trainer: Trainer
    settings: TrainingSettings
    clock: Callable[[], float] = time.time


class Trainings:
    """The trainings of a home. Every method may raise HomeError where the database cannot be used.

    Args:
        parts: what they are made with.
    """

    def __init__(self, parts: TrainingParts) -> None:
        self.parts = parts

    async def create(self, principal: Principal, request: TrainingRequest) -> TrainingRow:
        """Have a model trained.

        Raises:
            Forbidden: the caller may not, or not in these folders.
            InvalidRequest: something cannot be done as it is asked.
            Conflict: the folder holds a training already.
            TrainingUnavailable: this server cannot train.
            RateLimited: too many of the project's have not ended.
            AuditUnavailable: it cannot be recorded.
        """
        for action in (Action.INFER, Action.WRITE_FILES):
            require(principal, action, RESOURCE)
        recipe = _recipe(request)
        data = await self._folder(principal, request.data, "data")
        out = await self._folder(principal, request.out, "out")
        await self.parts.trainer.check()
        self.parts.changes.check()
        training_id = new_id("train_")
        job = self.parts.queue.new(
            TRAINING_JOB,
            {"training": training_id},
            organization_id=principal.organization_id,
            project_id=principal.project_id,
            owner_id=principal.id,
            subject=training_id,
            private=principal.kind is MemberKind.USER,
        )
        row = TrainingRow(
            id=training_id,
            organization_id=principal.organization_id,
            project_id=principal.project_id,
            owner_id=principal.id,
            job_id=job.id,
            key_id=principal.key_id,
            auth_method=principal.auth_method,
            private=job.private,
            name=recipe.name,
            recipe=recipe.model_dump(mode="json"),
            data=str(data),
            out=str(out),
            needs=Needs.of(request, self.parts.settings.checkpoint_s).wire(),
            steps=recipe.training.steps,
            created_at=int(self.parts.clock()),
        )
        async with self.parts.queue.room(job):
            await self._check_free(row, data, resume=request.resume)
            await add_training(self.parts.queue.database, row, job)
        await self.parts.changes.job(row, "created", principal)
        return row

    async def get(self, principal: Principal, training_id: str) -> TrainingRow:
        """A training that the caller may see.

        Raises:
            NotFound: there is none of that id.
            Forbidden: the caller may not read.
        """
        require(principal, Action.READ_FILES, f"{RESOURCE}/{training_id[:64]}")
        row = await get_training(self.parts.queue.database, self._reader(principal), training_id)
        if row is None:
            raise NotFound(f"No training found with id '{training_id[:64]}'.", param="training_id")
        return row

    async def list(self, principal: Principal, *, after: str | None, limit: int) -> tuple[Sequence[TrainingRow], bool]:
        """The trainings that the caller may see, the newest first, and whether there are more. Raises: as `get`."""
        require(principal, Action.READ_FILES, RESOURCE)
        found = await list_trainings(self.parts.queue.database, self._reader(principal), after=after, limit=limit + 1)
        return found[:limit], len(found) > limit

    async def cancel(self, principal: Principal, training_id: str) -> TrainingRow:
        """Have a training end, with a checkpoint; see `freehold.gateway.jobs.JobOwner`."""
        row = await self._changeable(principal, training_id, "cancel")
        await cancel_training(self.parts.queue.database, row, int(self.parts.clock()))
        await self.parts.changes.job(row, "cancelled", principal)
        self.parts.queue.announce()
        return await self.get(principal, training_id)

    async def pause(self, principal: Principal, training_id: str) -> TrainingRow:
        """Have a training stop at its next step, with a checkpoint, until it is resumed."""
        row = await self._changeable(principal, training_id, "pause")
        if await self.parts.queue.pause(row.job_id) is JobState.PAUSED:
            await set_training_status(self.parts.queue.database, row.id, TrainingStatus.PAUSED, *_WAITING)
        await self.parts.changes.job(row, "paused", principal)
        return await self.get(principal, training_id)

    async def resume(self, principal: Principal, training_id: str) -> TrainingRow:
        """Have a training go on that was paused."""
        row = await self._changeable(principal, training_id, "resume")
        await self.parts.queue.resume(row.job_id)
        await set_training_status(self.parts.queue.database, row.id, TrainingStatus.QUEUED, TrainingStatus.PAUSED)
        await self.parts.changes.job(row, "resumed", principal)
        return await self.get(principal, training_id)

    async def check(self, principal: Principal, row: TrainingRow) -> None:
        """Return if a training may still be done for whoever submitted it, in its folders.

        Raises:
            Forbidden: it may not.
        """
        require(principal, Action.INFER, f"{RESOURCE}/{row.id}")
        for param in ("data", "out"):
            await self._folder(principal, getattr(row, param), param)

    async def _changeable(self, principal: Principal, training_id: str, what: str) -> TrainingRow:
        """The row of a training that has not ended."""
        require(principal, Action.WRITE_FILES, f"{RESOURCE}/{training_id[:64]}")
        row = await self.get(principal, training_id)
        if row.status in TRAINING_ENDED:
            raise Conflict(f"Cannot {what} a training that has {row.status}.")
        self.parts.changes.check()
        return row

    async def _folder(self, principal: Principal, name: str, param: str) -> Path:
        """The real path of a folder in which the caller's trainings may lie.

        Raises:
            InvalidRequest: it is no absolute path.
            Forbidden: the caller may not have it read or written.
        """
        path = Path(name)
        if not path.is_absolute() or "\0" in name:
            raise InvalidRequest(f"'{param}' must be the absolute path of a folder on the server.", param=param)
        roots = [each.replace("{project}", principal.project_id) for each in self.parts.settings.folders]
        real, *permitted = await asyncio.to_thread(lambda: [each.resolve() for each in (path, *map(Path, roots))])
        if not _runs_the_service(principal) and not any(real.is_relative_to(root) for root in permitted):
            told = f"; possible are folders in {', '.join(roots)}" if roots else " ([training] folders)"
            raise Forbidden(
                f"'{param}' is not within a folder that whoever runs the service has set aside for trainings{told}.",
                param=param,
            )
        return real

    async def _check_free(self, row: TrainingRow, data: Path, *, resume: bool) -> None:
        """Return if the data are there, and nobody else trains, or has trained, in the folder.

        Raises:
            InvalidRequest: there are no data.
            Conflict: the folder is another training's, or holds checkpoints and is not to be gone on with.
        """
        if not await asyncio.to_thread(data.is_dir):
            raise InvalidRequest("'data' is no folder that the server can read.", param="data")
        other = await training_in(self.parts.queue.database, row.out)
        if other is not None:
            raise Conflict("A training that has not ended has the folder 'out'; choose another.", param="out")
        folders = CheckpointFolders(Path(row.out) / CHECKPOINTS, 1)
        if not resume and await asyncio.to_thread(lambda: bool(folders.newest_first())):
            raise Conflict(
                "The folder 'out' holds a training already; go on with it by 'resume', or choose another.",
                param="out",
            )

    def _reader(self, principal: Principal) -> Reader:
        return Reader(principal.organization_id, principal.project_id, principal.id, self.parts.clock())


def _recipe(request: TrainingRequest) -> LanguageRecipe:
    """The recipe of a request, which so many processes can train.

    Raises:
        InvalidRequest: it is none, or they cannot.
    """
    try:
        recipe = read(LanguageRecipe, request.recipe)
        layout = recipe.training.parallel.layout(request.processes)
    except ConfigError as exc:
        raise InvalidRequest(f"recipe: {exc.message}", param="recipe") from exc
    if recipe.training.batch % layout.data:
        raise InvalidRequest(
            f"recipe: training.batch: {recipe.training.batch} samples cannot be divided among {layout.data} groups of "
            f"processes; say a multiple of {layout.data}",
            param="recipe",
        )
    return recipe


def _runs_the_service(principal: Principal) -> bool:
    """Whether the caller may do everything on the server, its files included."""
    return principal.organization_id == ORGANIZATION and Action.MANAGE in principal.organization_actions
