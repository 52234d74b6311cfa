"""A deployment changes to another model only if the evaluations allow it, and every decision is recorded."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from freehold.app import open_app
from freehold.config import Settings, parse_settings
from freehold.errors import ConfigError, PromotionRefused
from freehold.gateway.lineage import Lineage
from freehold.gateway.promotion import Promotions
from freehold.store.artifacts import find_artifacts
from freehold.store.database import Database
from freehold.types.deployment import DeploymentSettings
from freehold.types.lineage import Artifact, ArtifactKind
from tests.catalog.serving import open_catalog
from tests.fuzz.walking import bearer, call
from tests.gateway.test_lineage import open_lineage

RUN = "c" * 64


@dataclass(frozen=True, slots=True)
class Measured:
    """A result of an evaluation."""

    value: float
    run_id: str


class Known:
    """Results by model and evaluation."""

    def __init__(self, **models: Mapping[str, float]) -> None:
        self._models = models

    async def of(self, organization_id: str, project_id: str, model: str) -> Mapping[str, Measured]:
        """See `Results.of`; only the project `proj` has any."""
        assert organization_id == "org"
        found = self._models.get(model, {}) if project_id == "proj" else {}
        return {name: Measured(value, f"run-{model}-{name}") for name, value in found.items()}


RESULTS = Known(old={"toxicity": 0.04}, good={"gsm8k": 0.4, "toxicity": 0.04}, bad={"gsm8k": 0.4, "toxicity": 0.05})
BEFORE = DeploymentSettings(name="chat", model="old", promote_if="gsm8k >= 0.3 and toxicity <= base", project="proj")

Trial = Callable[[Promotions, Lineage], Awaitable[None]]


def decide(folder: Path, trial: Trial) -> list[Artifact]:
    """Run a trial; which decisions it recorded, the oldest first."""

    async def scenario() -> list[Artifact]:
        async with open_lineage(folder) as (lineage, _), open_catalog(folder / "home") as catalog:
            await trial(Promotions(lineage, catalog, RESULTS, lambda project: ("org", project or "other")), lineage)
            database = await Database.open(folder / "freehold.db")
            found = await find_artifacts(database, None, kind=ArtifactKind.PROMOTION)
            await database.close()
            return [each.artifact for each in reversed(found)]

    return asyncio.run(scenario())


def changed(**update: Any) -> DeploymentSettings:
    """The deployment with other settings."""
    return BEFORE.model_copy(update=update)


def test_a_good_model_is_promoted(tmp_path: Path) -> None:
    """The decision is recorded with its numbers and runs; its parents are the evaluations that are recorded."""

    async def trial(promotions: Promotions, lineage: Lineage) -> None:
        await lineage.record(Artifact(RUN, ArtifactKind.EVALUATION, "run-good-gsm8k", (), "org", "proj"))
        await promotions.gate(BEFORE, changed(model="good"))

    (decision,) = decide(tmp_path, trial)
    assert (decision.name, decision.organization_id, decision.project_id) == ("chat", "org", "proj")
    assert decision.parents == (RUN,)
    wanted = {"decision": "promoted", "from": "old", "to": "good", "1.value": 0.4, "2.base": 0.04}
    assert wanted.items() <= decision.facts.items()
    assert {decision.facts[f"run.{number}"] for number in (1, 2, 3)} == {
        "run-good-gsm8k",
        "run-good-toxicity",
        "run-old-toxicity",
    }


def test_a_bad_model_is_refused_with_its_numbers(tmp_path: Path) -> None:
    """The refusal names the comparison and both numbers, also where the change would take the condition away."""

    async def trial(promotions: Promotions, _lineage: Lineage) -> None:
        for after in (changed(model="bad"), changed(model="bad", promote_if=None)):
            with pytest.raises(PromotionRefused, match=r"'toxicity <= base': toxicity is 0\.05, base is 0\.04\.$"):
                await promotions.gate(BEFORE, after)

    decisions = decide(tmp_path, trial)
    assert [decision.facts["decision"] for decision in decisions][:1] == ["refused"]


def test_a_missing_evaluation_is_named(tmp_path: Path) -> None:
    """What was not evaluated is not promoted, and neither is what only another project has evaluated."""

    async def trial(promotions: Promotions, _lineage: Lineage) -> None:
        with pytest.raises(PromotionRefused, match="no number of 'gsm8k' for the candidate"):
            await promotions.gate(BEFORE, changed(model="unknown"))
        elsewhere = changed(project="another")
        with pytest.raises(PromotionRefused, match="no number of 'gsm8k'"):
            await promotions.gate(elsewhere, elsewhere.model_copy(update={"model": "good"}))

    assert len(decide(tmp_path, trial)) == 2


def test_what_needs_no_decision_leaves_none(tmp_path: Path) -> None:
    """A new deployment, another setting and a deployment without a condition go through unrecorded."""

    async def trial(promotions: Promotions, _lineage: Lineage) -> None:
        await promotions.gate(None, BEFORE)
        await promotions.gate(BEFORE, changed(replicas=2))
        await promotions.gate(changed(promote_if=None), changed(model="bad", promote_if=None))

    assert decide(tmp_path, trial) == []


def settings_of(model: str) -> Settings:
    """A configuration file with one deployment."""
    deployment = {"name": "filed", "engine": "echo", "model": model, "promote_if": "gsm8k >= 0.3"}
    return parse_settings({"server": {"starter": False}, "deployment": [deployment]}, Settings)


def test_a_configuration_file_is_held_to_its_condition(tmp_path: Path) -> None:
    """A server does not start where the file names another model than at the last start, and nothing allows that."""

    async def start(model: str) -> None:
        async with open_app(tmp_path, settings_of(model), engines=False):
            pass

    asyncio.run(start("one"))
    asyncio.run(start("one"))
    with pytest.raises(ConfigError, match=r"deployment\.model: .*'filed' may not change from 'one' to 'two'"):
        asyncio.run(start("two"))
    asyncio.run(start("one"))


def test_the_api_refuses_and_tells(tmp_path: Path) -> None:
    """A dry run tells what is missing; a promotion and a PUT are refused, and done where there is no condition."""

    async def scenario() -> None:
        async with open_app(tmp_path, settings_of("one"), engines=False) as app:
            owner = bearer(app.admin_key)

            async def ask(method: str, path: str, body: Any) -> tuple[int, Any]:
                json_type = (b"content-type", b"application/json")
                answer = await call(app.asgi, method, path, owner, json_type, body=json.dumps(body).encode())
                return answer.status, json.loads(answer.body)

            made = {"name": "held", "engine": "echo", "model": "one", "promote_if": "gsm8k >= 0.3"}
            assert (await ask("POST", "/admin/deployments", made))[0] == 201
            path = "/admin/deployments/held"
            status, tried = await ask("POST", f"{path}/promote", {"model": "two", "dry_run": True})
            assert (status, tried["allowed"], tried["dry_run"]) == (200, False, True)
            assert tried["comparisons"][0]["holds"] is None
            for method, where, body in (
                ("POST", f"{path}/promote", {"model": "two"}),
                ("PUT", path, made | {"model": "two"}),
            ):
                status, refused = await ask(method, where, body)
                assert (status, refused["error"]["code"]) == (409, "promotion_refused")
            assert (await ask("PUT", path, {key: made[key] for key in ("name", "engine", "model")}))[0] == 200
            status, done = await ask("POST", f"{path}/promote", {"model": "two"})
            assert (status, done["allowed"], done["settings"]["model"]) == (200, True, "two")
            status, wrong = await ask("POST", "/admin/deployments", made | {"name": "x", "promote_if": "gsm8k"})
            assert status == 400
            assert "column 1: a comparison" in wrong["error"]["message"]

    asyncio.run(scenario())
