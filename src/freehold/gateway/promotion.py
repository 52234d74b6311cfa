"""Promotion: a deployment with `promote_if` changes to another model only if that one's evaluations allow it."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from freehold.catalog.catalog import Catalog
from freehold.errors import PromotionRefused, UnknownModel
from freehold.gateway.lineage import Lineage, exact
from freehold.journal.records import canonical
from freehold.types.condition import Comparison, Judgement, parse_condition
from freehold.types.deployment import DeploymentSettings
from freehold.types.lineage import Artifact, ArtifactKind


class Result(Protocol):
    """What an evaluation came to."""

    @property
    def value(self) -> float:
        """The mean score, 0 to 1."""
        ...

    @property
    def run_id(self) -> str:
        """The run that it comes from."""
        ...


class Results(Protocol):
    """Knows what evaluations came to."""

    async def of(self, organization_id: str, project_id: str, model: str) -> Mapping[str, Result]:
        """The newest finished result of each evaluation, by its name, of a model or a deployment."""
        ...


Owner: TypeAlias = Callable[[str | None], tuple[str, str]]
"""Gives organization and project whose evaluations count for a deployment of that project, or of none."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The results that a decision rests on: of the candidate, and of the model that it would replace."""

    candidate: Mapping[str, Result]
    base: Mapping[str, Result]

    def judge(
        self, condition: str, measured: Mapping[str, float] | None = None, base: Mapping[str, float] | None = None
    ) -> Judgement:
        """Whether a condition holds, with other numbers beside those of evaluations."""
        values = {name: result.value for name, result in self.candidate.items()} | dict(measured or {})
        before = {name: result.value for name, result in self.base.items()} | dict(base or {})
        return parse_condition(condition).judge(values, before)

    def runs(self, names: frozenset[str]) -> list[str]:
        """The ids of the runs that have a say in a condition on these names."""
        told = [results[name].run_id for results in (self.candidate, self.base) for name in names if name in results]
        return sorted(set(told))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a deployment may change to a model, and why.

    Args:
        deployment: its name.
        present: the model that it has.
        candidate: the model that it would have.
        condition: its `promote_if`; None where it has none.
        judgement: what became of the condition.
        runs: the evaluations' runs that were looked at.
    """

    deployment: str
    present: str
    candidate: str
    condition: str | None = None
    judgement: Judgement = field(default_factory=lambda: Judgement(holds=True, comparisons=()))
    runs: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether it may. What cannot be told is a no."""
        return self.judgement.holds is True

    @property
    def failed(self) -> list[Comparison]:
        """The comparisons that do not hold, or cannot be told."""
        return [comparison for comparison in self.judgement.comparisons if comparison.holds is not True]

    def wire(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return {
            "object": "promotion",
            "deployment": self.deployment,
            "from": self.present,
            "to": self.candidate,
            "promote_if": self.condition,
            "allowed": self.allowed,
            "comparisons": [
                {"text": each.text, "holds": each.holds, "value": each.value, "base": each.base, "told": each.told()}
                for each in self.judgement.comparisons
            ],
            "runs": list(self.runs),
        }


class Promotions:
    """Decides on changes of deployments' models, and records the decisions.

    Args:
        lineage: where they are recorded.
        catalog: knows which weights a model has.
        results: knows what evaluations came to.
        owner: tells whose evaluations count.
    """

    def __init__(self, lineage: Lineage, catalog: Catalog, results: Results, owner: Owner) -> None:
        self._lineage = lineage
        self._catalog = catalog
        self._results = results
        self._owner = owner

    async def evidence(self, settings: DeploymentSettings, candidate: str) -> Evidence:
        """What is known of a deployment's model and of one that would replace it."""
        owner = self._owner(settings.project)
        return Evidence(await self._of(owner, candidate), await self._of(owner, settings.model))

    async def judge(self, settings: DeploymentSettings, candidate: str) -> Verdict:
        """Whether a deployment, as it is, may change to a model."""
        if settings.promote_if is None or candidate == settings.model:
            return Verdict(settings.name, settings.model, candidate)
        evidence = await self.evidence(settings, candidate)
        judgement = evidence.judge(settings.promote_if)
        runs = tuple(evidence.runs(parse_condition(settings.promote_if).names))
        return Verdict(settings.name, settings.model, candidate, settings.promote_if, judgement, runs)

    async def check_there(self, settings: DeploymentSettings, candidate: str) -> None:
        """Return unless a deployment of the catalog's model would change to a name that the catalog has not.

        Raises:
            UnknownModel: it would.
        """
        if await self._catalog.known(settings.model) is None or "://" in candidate:
            return
        if await self._catalog.known(candidate) is None:
            raise UnknownModel(
                f"There is no model '{candidate}', and that is no address to fetch one from; see 'freehold models'.",
                param="model",
            )

    async def gate(self, before: DeploymentSettings | None, after: DeploymentSettings) -> None:
        """Return if a deployment may change so; the decision is recorded, whatever it is, where there is one to make.

        The condition of before counts: who changes the model does not change the condition with it.

        Raises:
            PromotionRefused: names the comparisons that do not hold, with their numbers.
            AuditUnavailable: the decision cannot be recorded.
        """
        if before is None or before.model == after.model:
            return
        asked = before if before.promote_if is not None else before.model_copy(update={"promote_if": after.promote_if})
        verdict = await self.judge(asked, after.model)
        if verdict.condition is None:
            return
        await self.record_verdict(verdict, asked.project)
        if not verdict.allowed:
            why = "; ".join(comparison.told() for comparison in verdict.failed)
            raise PromotionRefused(
                f"The deployment '{after.name}' may not change from '{before.model}' to '{after.model}': "
                f"{verdict.condition!r} does not hold: {why}.",
                param="model",
            )

    async def record_verdict(self, verdict: Verdict, project_id: str | None) -> None:
        """Record a decision with what it rests on."""
        numbers = {
            f"{number}.{what}": value
            for number, comparison in enumerate(verdict.judgement.comparisons, 1)
            for what, value in (
                ("comparison", comparison.text),
                ("value", comparison.value),
                ("base", comparison.base),
            )
            if value is not None
        }
        facts = {"decision": "promoted" if verdict.allowed else "refused", "promote_if": verdict.condition or ""}
        await self.record(
            verdict.deployment, project_id, (verdict.candidate, verdict.present), facts | numbers, verdict.runs
        )

    async def record(
        self,
        deployment: str,
        project_id: str | None,
        models: tuple[str, str],
        facts: Mapping[str, str | int | float],
        runs: Sequence[str],
    ) -> None:
        """Record what was decided of a deployment; its parents are the models and the evaluations.

        Args:
            deployment: its name.
            project_id: whose own it is, if it is a project's.
            models: the candidate and the present one.
            facts: what was decided, and why.
            runs: the ids of the evaluations' runs that it rests on.

        Raises:
            AuditUnavailable: it cannot be recorded.
        """
        organization, project = self._owner(project_id)
        told = {**facts, "deployment": deployment, "to": models[0], "from": models[1], "at": int(time.time())}
        told |= {f"run.{number}": run for number, run in enumerate(runs, 1)}
        parents = [await self._digest_of(model) for model in models]
        parents += [found.digest for run in runs if (found := await self._lineage.of_run(run)) is not None]
        digest = hashlib.sha256(canonical(exact(told))).hexdigest()
        unique = tuple(dict.fromkeys(parent for parent in parents if parent is not None))
        await self._lineage.record(
            Artifact(
                digest, ArtifactKind.PROMOTION, deployment, unique, organization, project if project_id else "", told
            )
        )

    async def _of(self, owner: tuple[str, str], model: str) -> Mapping[str, Result]:
        return await self._results.of(*owner, model)

    async def _digest_of(self, model: str) -> str | None:
        try:
            return (await self._catalog.find(model)).sha256
        except UnknownModel:
            return None
