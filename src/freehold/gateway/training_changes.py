"""What is recorded of trainings in the journal: what callers do to them, how they end, and each stretch of running."""

from freehold.gateway.own_actions import action_body
from freehold.journal.recorder import Recorder
from freehold.journal.records import Kind
from freehold.store.training import TrainingRow
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

    async def job(self, row: TrainingRow, what: str, by: Principal | None = None) -> None:
        """Record that a training was `created`, `paused`, `resumed` or `cancelled`, or has `succeeded` or `failed`.

        Args:
            row: the training.
            what: happened to it.
            by: who did it; None if the service itself.
        """
        details = {"name": row.name, "job": row.job_id, "steps": row.steps, "step": row.step}
        body = action_body(
            f"training.job.{what}",
            ("training.job", row.id),
            (row.organization_id, row.project_id),
            by,
            {"details": details},
        )
        await self._journal.submit(Kind.ADMIN, body, durable=True)

    async def stretch(self, stretch: Stretch) -> None:
        """Record a time through which a training ran."""
        await self._journal.submit(Kind.TRAINING, stretch.body(), durable=True)
