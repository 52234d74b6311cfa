"""What fine-tuning changes, as administrative records in the journal: jobs from their making to their end, deployments.

A job is changed by whoever made it, and by the service itself; records of the latter name nobody.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from freehold.gateway.lineage import exact
from freehold.gateway.own_actions import action_body
from freehold.journal.recorder import Recorder
from freehold.journal.records import Kind, canonical, plain
from freehold.store.fine_tuning import TuningRow
from freehold.types.deployment import DeploymentSettings
from freehold.types.identity import Principal


class TuningChanges:
    """Records what is changed by fine-tuning; a record is on the disk when its method returns.

    Every method may raise AuditUnavailable: it cannot be recorded.

    Args:
        journal: where to.
    """

    def __init__(self, journal: Recorder) -> None:
        self._journal = journal

    def check(self) -> None:
        """Return if changes can be recorded."""
        self._journal.check()

    async def job(self, row: TuningRow, what: str, by: Principal | None = None) -> None:
        """Record that a job was `created`, `paused`, `resumed` or `cancelled`, or has `succeeded` or `failed`.

        Args:
            row: the job.
            what: happened to it.
            by: who did it; None if the service itself.
        """
        files = {"training_file": row.training_file, "validation_file": row.validation_file or None}
        details = {"method": row.method, "model": row.model, "job": row.job_id, **files}
        told = {key: value for key, value in details.items() if value is not None}
        where = (row.organization_id, row.project_id)
        await self._record(f"fine_tuning.job.{what}", ("fine_tuning.job", row.id), where, by, {"details": told})

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


def _digest(settings: DeploymentSettings | None) -> str | None:
    """SHA-256 of a deployment's canonical form, as of every other change of one."""
    return None if settings is None else hashlib.sha256(canonical(plain(_exact(settings.wire())))).hexdigest()


def _exact(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _exact(each) for key, each in exact(value).items()}
    return [_exact(each) for each in value] if isinstance(value, list) else value
