"""Runs of evaluations at work: on whose behalf they ask, and what is recorded of them."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson

from freehold.api.door import Door
from freehold.api.own_requests import OwnRequests
from freehold.gateway.batch_room import Room
from freehold.gateway.content import Content
from freehold.gateway.evaluation_asking import Patience
from freehold.gateway.evaluation_results import EvaluationResults
from freehold.gateway.evaluation_sources import Sources
from freehold.gateway.evaluation_store import Evaluation, Run
from freehold.gateway.evaluation_work import EvaluationWork, WorkParts
from freehold.gateway.lineage import Lineage
from freehold.gateway.pipeline import Gateway
from freehold.types.identity import Principal
from freehold.types.lineage import Artifact, ArtifactKind


@dataclass(frozen=True, slots=True)
class RunAsker:
    """Whoever made a run: see `freehold.gateway.asking.Asker`."""

    door: Door
    run: Run

    def principal(self) -> Principal:
        """See `Asker.principal`."""
        row = self.run.row
        principal = self.door.returning(row.owner_id, row.project_id, row.key_id, row.auth_method)
        self.door.check_served(principal)
        return principal


def evaluation_work(gateway: Gateway, door: Door, room: Room, content: Content, lineage: Lineage) -> EvaluationWork:
    """What does the jobs of runs."""
    service = content.evaluations
    parts = WorkParts(
        service.store,
        Sources(content.files, content.completions),
        Patience(OwnRequests(gateway), room.slots),
        lambda run: RunAsker(door, run),
        service.settings,
        _recorded(EvaluationResults(service.store), lineage),
    )
    return EvaluationWork(parts)


def _recorded(results: EvaluationResults, lineage: Lineage) -> Callable[[Evaluation, Run], Awaitable[None]]:
    """Records what a run has come to as an artifact, whose parent is the model that was asked."""

    async def record(evaluation: Evaluation, run: Run) -> None:
        row, names = run.row, [criterion.name for criterion in evaluation.request.criteria]
        report = await results.report(names, run.id)
        model = await lineage.of_model(row.catalog_model) if row.catalog_model else None
        data = orjson.dumps({"run": run.id, **report}, option=orjson.OPT_SORT_KEYS)
        facts: dict[str, str | int | float] = {
            "eval_id": row.eval_id,
            "model": row.model,
            "deployment": row.deployment,
            "total": row.total,
            "passed": row.passed,
            "failed": row.failed,
            "errored": row.errored,
        }
        if report["overall"] is not None:
            facts |= {name: report["overall"][name] for name in ("mean", "low", "high")}
        await lineage.record(
            Artifact(
                hashlib.sha256(data).hexdigest(),
                ArtifactKind.EVALUATION,
                run.id,
                () if model is None else (model.digest,),
                row.organization_id,
                row.project_id,
                facts,
            )
        )

    return record
