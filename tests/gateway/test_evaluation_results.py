"""What promotions read: the newest finished result of each evaluation of a model, and what counts for none."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from freehold.config import Settings
from freehold.gateway.content import open_content
from freehold.gateway.evaluation_results import EvaluationResults, Result
from freehold.store.database import Database
from freehold.store.home import Home
from tests.evaluating import asking, begun, check, ended, evaluation, items
from tests.service import Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "one"
aliases = ["gpt-4o"]

[[deployment]]
name = "falling"
engine = "echo"
model = "two"
fallbacks = ["echo"]
options = { fail_on = "a" }

[[deployment]]
name = "trying"
engine = "echo"
model = "three"

[deployment.canary]
model = "four"
share = 0.99
"""
RIGHT = items([("a", "a")])


async def results(root: Path, model: str, project_id: str = "proj-default") -> Mapping[str, Result]:
    """The results in a home whose server has ended."""
    home = Home(root)
    database = await Database.open(home.database)
    try:
        async with open_content(database, home, Settings()) as content:
            return await EvaluationResults(content.evaluations.store).of("org-default", project_id, model)
    finally:
        await database.close()


def account(service: Service, name: str) -> str:
    """The key of a new service account of the default project."""
    path = "/v1/organization/projects/proj-default/service_accounts"
    made = service.post(path, {"name": name})
    assert made.status in {200, 201}, made.body
    key: str = made.json()["api_key"]["value"]
    return key


def run(service: Service, made: Mapping[str, Any], body: Mapping[str, Any], key: str) -> Any:
    """A run of an evaluation, once it has ended."""
    begun = service.post(f"/v1/evals/{made['id']}/runs", body, key=key)
    assert begun.status == 201, begun.body
    return ended(service, begun.json(), key)


def test_the_newest_result_of_each_evaluation_is_found(tmp_path: Path) -> None:
    """By the model that was asked, from the newest completed run, and of the project alone."""
    with Service(tmp_path, CONFIG) as service:
        key = account(service, "bot")
        made, first = begun(service, asking(items([("a", "a"), ("b", "x")])), key)
        ended(service, first, key)
        newest = run(service, made, asking(items([("a", "a"), ("b", "b"), ("c", "c"), ("d", "x")]), "gpt-4o"), key)
    quiz = asyncio.run(results(tmp_path, "one"))["quiz"]
    assert (quiz.value, quiz.count, quiz.run_id) == (0.75, 4, newest["id"])
    assert quiz.low < 0.75 < quiz.high
    assert asyncio.run(results(tmp_path, "echo")) == {}, "a deployment's name is no model's"
    assert asyncio.run(results(tmp_path, "one", "proj-other")) == {}
    assert asyncio.run(results(tmp_path, "nobody")) == {}


def test_brought_answers_are_no_evidence(tmp_path: Path) -> None:
    """A run that brings its answers counts for no model, unless whoever brings them may change deployments."""

    def bring(service: Service, key: str) -> None:
        lines = {"type": "file_content", "content": [{"item": {}, "sample": {"output_text": "a"}}]}
        config = {"type": "custom", "item_schema": {}, "include_sample_schema": True}
        body = evaluation({**check(), "reference": "a"}, data_source_config=config)
        other = service.post("/v1/evals", body, key=key).json()
        told = {"metadata": {"model": "echo"}, "data_source": {"type": "jsonl", "source": lines}}
        brought = run(service, other, told, key)
        assert (brought["model"], brought["result_counts"]["passed"]) == ("echo", 1)

    with Service(tmp_path, CONFIG) as service:
        bring(service, account(service, "bot"))
        assert asyncio.run(results(tmp_path, "one")) == {}
    with Service(tmp_path, CONFIG) as service:
        bring(service, service.key)
    assert asyncio.run(results(tmp_path, "one")) == {}, "two have an evaluation of that name"


def test_an_administrators_word_is_evidence(tmp_path: Path) -> None:
    """Answers that somebody brings who may change deployments count, as those of a harness do."""
    with Service(tmp_path, CONFIG) as service:
        lines = {"type": "file_content", "content": [{"item": {}, "sample": {"output_text": "a"}}]}
        config = {"type": "custom", "item_schema": {}, "include_sample_schema": True}
        body = evaluation({**check(), "reference": "a"}, data_source_config=config)
        other = service.post("/v1/evals", body, key=service.key).json()
        told = {"metadata": {"model": "echo"}, "data_source": {"type": "jsonl", "source": lines}}
        assert run(service, other, told, service.key)["result_counts"]["passed"] == 1
    assert asyncio.run(results(tmp_path, "one"))["quiz"].value == 1


def test_nobodys_evaluation_passes_for_anothers(tmp_path: Path) -> None:
    """Runs of somebody else count for nothing, and a name that two members have taken names nothing."""
    with Service(tmp_path, CONFIG) as service:
        mine, others = account(service, "mine"), account(service, "others")
        made, first = begun(service, asking(items([("a", "x")])), mine)
        ended(service, first, mine)
        assert run(service, made, asking(RIGHT), others)["result_counts"]["passed"] == 1
        assert asyncio.run(results(tmp_path, "one"))["quiz"].value == 0
        assert service.post("/v1/evals", evaluation(), key=others).status == 201
        assert asyncio.run(results(tmp_path, "one")) == {}


def test_no_other_model_answers_in_the_place_of_the_evaluated(tmp_path: Path) -> None:
    """Neither a fallback nor the candidate of a canary is asked by a run."""
    with Service(tmp_path, CONFIG) as service:
        key = account(service, "bot")
        _, failing = begun(service, asking(RIGHT, "falling"), key)
        assert ended(service, failing, key)["result_counts"]["errored"] == 1
        _, trying = begun(service, asking(items([("a", "a")] * 20), "trying"), key)
        assert ended(service, trying, key)["result_counts"]["passed"] == 20
        paths = (service.home.journal / "main").glob("*.jsonl")
        lines = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    receipts = [line["body"] for line in lines if line["kind"] == "receipt"]
    asked = [receipt["model"] for receipt in receipts if receipt.get("deployment") == "trying"]
    assert (len(asked), set(asked)) == (20, {"three"})
