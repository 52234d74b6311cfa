"""The models that fine-tuning makes: kept in the catalog, deployed by their names, removed."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from freehold.catalog.catalog import Catalog
from freehold.errors import ConfigError, Conflict, DeploymentNotFound, InvalidRequest, UnknownModel
from freehold.gateway.control import DeploymentControl
from freehold.gateway.training_changes import TrainingChanges
from freehold.gateway.tuning_base import Base, project_of
from freehold.gateway.tuning_store import Tuning
from freehold.governance.authorization import require
from freehold.types.deployment import DeploymentSettings
from freehold.types.fine_tuning import PREFIX, FineTuningSettings
from freehold.types.identity import Action, Principal
from freehold.types.model import ModelEntry

log = structlog.get_logger(__name__)

IDLE_UNLOAD_S: Final = 900.0
"""After how long without a request a fine-tuned model leaves the memory, where its base's deployment says nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    """What training has made.

    Args:
        file: in the job's folder.
        name: of the model.
        source: which job, or which step of it.
        sha256: of the file, in hex.
    """

    file: Path
    name: str
    source: str
    sha256: str


class TunedModels:
    """The fine-tuned models of one home.

    Args:
        catalog: where they are kept.
        control: deploys them.
        changes: records what becomes of deployments.
        settings: whether they are deployed.
    """

    def __init__(
        self, catalog: Catalog, control: DeploymentControl, changes: TrainingChanges, settings: FineTuningSettings
    ) -> None:
        self._catalog = catalog
        self._control = control
        self._changes = changes
        self._settings = settings

    async def keep(self, tuning: Tuning, base: Base, parent: ModelEntry, result: Result) -> ModelEntry:
        """Take a model into the catalog, and let its project call it by its name.

        Raises:
            CatalogError: it cannot be kept: it is no model, or the disk is full.
            AuditUnavailable: nothing can be recorded.
        """
        self._changes.check()
        row = tuning.row
        entry = await self._catalog.keep(
            result.file,
            name=result.name,
            source=result.source,
            parent=parent,
            adapter=row.export == "lora",
            details={"organization": row.organization_id, "project": row.project_id},
        )
        if self._settings.deploy != "never":
            wanted = deployment_of(base.settings, entry)
            before = self._deployed(entry.name)
            try:
                if await self._control.put(wanted):
                    await self._changes.deployment(row.organization_id, before, wanted, job_id=row.id)
            except (ConfigError, Conflict) as exc:  # what its base's deployment names may be gone meanwhile
                log.warning("model_not_deployed", model=entry.name, reason=exc.message)
        return entry

    async def delete(self, principal: Principal, name: str) -> None:
        """Remove a fine-tuned model of the caller's project, and its deployment.

        Raises:
            Forbidden: the caller may not.
            InvalidRequest: it is none that fine-tuning made.
            DeploymentNotFound: there is none for the caller.
            Conflict: another deployment falls back to it.
        """
        require(principal, Action.WRITE_FILES, f"models/{name[:64]}")
        if not name.startswith(PREFIX):
            raise InvalidRequest(
                f"Only fine-tuned models can be deleted here, and '{name[:64]}' is none.", param="model"
            )
        try:
            entry = await self._catalog.find(name)
        except UnknownModel:
            raise DeploymentNotFound(name) from None
        if entry.name != name or project_of(entry) != principal.project_id or not principal.reaches(name):
            raise DeploymentNotFound(name)
        self._changes.check()
        await self._remove(entry, by=principal)

    async def discard(self, tuning: Tuning) -> None:
        """Remove the model that a job has made, if it has made one: it was cancelled meanwhile."""
        for entry in await self._catalog.list():
            if entry.source == f"job://{tuning.id}":
                await self._remove(entry, job_id=tuning.id)

    async def delete_all(self, project_id: str) -> int:
        """Remove the fine-tuned models of a project; how many there were."""
        found = [entry for entry in await self._catalog.list() if project_of(entry) == project_id]
        for entry in found:
            await self._remove(entry)
        return len(found)

    async def _remove(self, entry: ModelEntry, *, by: Principal | None = None, job_id: str | None = None) -> None:
        before = self._deployed(entry.name)
        if before is not None:
            with suppress(DeploymentNotFound):
                await self._control.delete(entry.name)
                organization_id = str(entry.details.get("organization", ""))
                await self._changes.deployment(organization_id, before, None, job_id=job_id, by=by)
        with suppress(UnknownModel):
            await self._catalog.delete(entry.name)

    def _deployed(self, name: str) -> DeploymentSettings | None:
        """The settings of the deployment of a model; None if there is none."""
        found = (view.deployment.settings for view in self._control.all() if view.deployment.name == name)
        return next(found, None)


def deployment_of(base: DeploymentSettings, entry: ModelEntry) -> DeploymentSettings:
    """How a fine-tuned model is served: as its base is, to its own project, started by the first request."""
    own: dict[str, Any] = {
        "name": entry.name,
        "model": entry.name,
        "aliases": [],
        "fallbacks": [],
        "capacity": None,
        "canary": None,
        "promote_if": None,
        "upgrade": "never",
        "project": project_of(entry),
        "start": "on_demand",
        "replicas": max(1, base.replicas),
        "idle_unload_s": base.idle_unload_s or IDLE_UNLOAD_S,
    }
    return DeploymentSettings.model_validate({**base.wire(), **own})
