"""What is recorded of trainings and fine-tuning in the journal.

Administrative records say what becomes of jobs from their making to their end, and of the deployments of fine-tuned
models; a job is changed by whoever made it, and by the service itself, whose records name nobody. Records of trainings
say through which times a job ran.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from freehold.gateway.lineage import exact
from freehold.gateway.own_actions import action_body
from freehold.journal.recorder import Recorder
from freehold.journal.records import Kind, canonical, plain
from freehold.store.fine_tuning import TuningRow
from freehold.store.training import TrainingRow
from freehold.types.deployment import DeploymentSettings
from freehold.types.identity import Principal
from freehold.types.training import Stretch


class TrainingChanges:
    """Records; a record is on the disk when its method returns.

    Every method may raise AuditUnavailable: it cannot be recorded.

    Args:
        journal: where to.
    """

    def __init__(self, journal: Recorder) -> None:
        self._journal = journal

    def check(self) -> None:
        """Return if something can be recorded."""
        self._journal.check()

    async def job(self, row: TrainingRow | TuningRow, what: str, by: Principal | None = None) -> None:
        """Record that a job was `created`, `paused`, `resumed` or `cancelled`, or has `succeeded` or `failed`.

        Args:
            row: the training, or the fine-tuning.
            what: happened to it.
            by: who did it; None if the service itself.
        """
        kind = "training.job" if isinstance(row, TrainingRow) else "fine_tuning.job"
        where = (row.organization_id, row.project_id)
        await self._record(f"{kind}.{what}", (kind, row.id), where, by, {"details": _details(row)})

    async def deployment(
        self,
        organization_id: str,
        before: DeploymentSettings | None,
        after: DeploymentSettings | None,
        *,
        job_id: str | None = None,
        by: Principal | None = None,
    ) -> None:
        """Record that a deployment was made, changed or removed.

        Args:
            organization_id: of its project.
            before: what it was; None if there was none.
            after: what it is; None if there is none any more.
            job_id: which job brought it about.
            by: who did; None if a job, or the end of a project.
        """
        settings = after or before
        assert settings is not None, "something was changed"
        what = "deleted" if after is None else "created" if before is None else "updated"
        digests = {"before_sha256": _digest(before), "after_sha256": _digest(after)}
        more = {**digests, "details": {"fine_tuning_job": job_id} if job_id else None}
        where = (organization_id, settings.project)
        await self._record(f"deployment.{what}", ("deployment", settings.name), where, by, more)

    async def stretch(self, stretch: Stretch) -> None:
        """Record a time through which a job ran."""
        await self._journal.submit(Kind.TRAINING, stretch.body(), durable=True)

    async def _record(
        self,
        event: str,
        resource: tuple[str, str],
        where: tuple[str, str | None],
        by: Principal | None,
        more: Mapping[str, Any],
    ) -> None:
        body = action_body(event, resource, where, by, more)
        await self._journal.submit(Kind.ADMIN, body, durable=True)


def _details(row: TrainingRow | TuningRow) -> dict[str, Any]:
    """What is told of a job."""
    if isinstance(row, TrainingRow):
        return {"name": row.name, "job": row.job_id, "steps": row.steps, "step": row.step}
    files = {"training_file": row.training_file, "validation_file": row.validation_file or None}
    details = {"method": row.method, "model": row.model, "job": row.job_id, **files}
    return {key: value for key, value in details.items() if value is not None}


def _digest(settings: DeploymentSettings | None) -> str | None:
    """SHA-256 of a deployment's canonical form, as of every other change of one."""
    return None if settings is None else hashlib.sha256(canonical(plain(_exact(settings.wire())))).hexdigest()


def _exact(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _exact(each) for key, each in exact(value).items()}
    return [_exact(each) for each in value] if isinstance(value, list) else value
