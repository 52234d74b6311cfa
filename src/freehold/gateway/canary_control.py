"""Canaries from their beginning to their end: finished, stopped, or given up because they did worse."""

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from freehold.catalog.deployments import Deployment
from freehold.errors import FreeholdError, NotFound
from freehold.gateway.canary import Breach, Canaries, digest_of
from freehold.gateway.control import DeploymentControl
from freehold.gateway.lineage import Lineage
from freehold.gateway.promotion import Promotions
from freehold.types.condition import parse_condition
from freehold.types.deployment import CanarySettings, DeploymentSettings, Origin

log = structlog.get_logger(__name__)

GIVEN_UP: Final = "canary_rolled_back"


class CanaryControl:
    """Begins and ends canaries.

    Args:
        control: changes deployments.
        canaries: chooses arms, and tells when a candidate does worse.
        promotions: records decisions, and knows evaluations.
        lineage: where those decisions are found again.
    """

    def __init__(
        self, control: DeploymentControl, canaries: Canaries, promotions: Promotions, lineage: Lineage
    ) -> None:
        self._control = control
        self._canaries = canaries
        self._promotions = promotions
        self._lineage = lineage
        self._tasks: set[asyncio.Task[None]] = set()
        canaries.on_breach(self._breached)

    async def load(self) -> None:
        """Remember which canaries of the configuration file were given up before."""
        for digest in await self._lineage.facts_of(GIVEN_UP, "canary_sha256"):
            self._canaries.end(digest)

    async def begin(self, name: str, canary: CanarySettings) -> DeploymentSettings:
        """Give a candidate a share of a deployment's requests.

        Raises:
            DeploymentNotFound, Conflict, ConfigError: as `DeploymentControl.put`.
        """
        async with self._control.turn():
            before = self._control.get(name).deployment.settings
            after = _validated(before, canary=canary.model_dump(mode="json", exclude_none=True))
            await self._control.put(after)
        return after

    async def finish(self, name: str) -> DeploymentSettings:
        """Have the candidate become the deployment's model.

        Raises:
            NotFound: there is no canary.
            PromotionRefused: the deployment's `promote_if` does not allow it.
            DeploymentNotFound, Conflict, ConfigError, AuditUnavailable: as `DeploymentControl.put`.
        """
        async with self._control.turn():
            before, canary = self._running(name)
            changes = {"model": canary.model} | ({} if canary.options is None else {"options": canary.options})
            after = _validated(before, canary=None, **changes)
            await self._control.put(after)
        await self._record("canary_finished", before, canary)
        return after

    async def stop(self, name: str) -> DeploymentSettings:
        """Have the candidate get no more requests. Raises: as `finish`."""
        async with self._control.turn():
            before, canary = self._running(name)
            after = _validated(before, canary=None)
            await self._control.put(after)
        await self._record("canary_stopped", before, canary)
        return after

    async def review(self) -> None:
        """Look at the newest evaluations of all candidates, and give up those that fail by them."""
        for view in self._control.all():
            deployment, settings = view.deployment, view.deployment.settings
            if settings.canary is None or settings.canary.rollback_if is None:
                continue
            try:
                evidence = await self._promotions.evidence(settings, settings.canary.model)
            except FreeholdError as exc:
                log.warning("canary_not_reviewed", deployment=deployment.name, reason=exc.message)
                continue
            values = [
                {name: result.value for name, result in results.items()}
                for results in (evidence.candidate, evidence.base)
            ]
            self._canaries.evaluated(digest_of(settings), *values)
            self._canaries.judge(deployment)

    async def settle(self) -> None:
        """Wait until what was decided is done and recorded."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _breached(self, breach: Breach) -> None:
        task = asyncio.ensure_future(self._give_up(breach))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give_up(self, breach: Breach) -> None:
        deployment = breach.deployment
        comparisons = [each for each in breach.judgement.comparisons if each.holds]
        facts = {f"because.{number}": each.told() for number, each in enumerate(comparisons, 1)}
        try:
            names = parse_condition(breach.canary.rollback_if or "").names
            evidence = await self._promotions.evidence(deployment.settings, breach.canary.model)
            await self._record(GIVEN_UP, deployment.settings, breach.canary, facts, evidence.runs(names))
            await self._remove(deployment)
        except FreeholdError as exc:
            log.warning("canary_roll_back_not_recorded", deployment=deployment.name, reason=exc.message)
        else:
            log.warning("canary_rolled_back", deployment=deployment.name, model=breach.canary.model)

    async def _remove(self, deployment: Deployment) -> None:
        """Take the canary out of the deployment's settings; the file's own stay, and are not heeded any more."""
        if deployment.origin is Origin.CONFIG:
            await self._control.refresh(deployment.name)
            return
        settings = self._control.get(deployment.name).deployment.settings
        if settings.canary is not None and digest_of(settings) == digest_of(deployment.settings):
            with suppress(NotFound):
                await self._control.put(_validated(settings, canary=None))

    async def _record(
        self,
        decision: str,
        settings: DeploymentSettings,
        canary: CanarySettings,
        facts: dict[str, str] | None = None,
        runs: list[str] | None = None,
    ) -> None:
        told: dict[str, str | int | float] = {"decision": decision, "canary_sha256": digest_of(settings)}
        told["share"], told["rollback_if"] = canary.share, canary.rollback_if or ""
        told.update(facts or {})
        await self._promotions.record(settings.name, settings.project, (canary.model, settings.model), told, runs or [])

    def _running(self, name: str) -> tuple[DeploymentSettings, CanarySettings]:
        settings = self._control.get(name).deployment.settings
        if settings.canary is None:
            raise NotFound(f"The deployment '{name}' has no canary.", code="canary_not_found")
        return settings, settings.canary


def _validated(settings: DeploymentSettings, **changes: object) -> DeploymentSettings:
    return DeploymentSettings.model_validate({**settings.wire(), **changes})
