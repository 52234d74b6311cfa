"""What promotions read: the newest finished result of each evaluation, of a model or a deployment."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from freehold.config import Settings
from freehold.gateway.content import open_content
from freehold.gateway.evaluation_results import EvaluationResults, Result
from freehold.store.database import Database
from freehold.store.home import Home
from tests.evaluating import asking, begun, check, ended, items
from tests.service import Service

pytestmark = pytest.mark.slow


async def results(root: Path, model: str, project_id: str = "proj-default") -> Mapping[str, Result]:
    """The results in a home whose server has ended."""
    home = Home(root)
    database = await Database.open(home.database)
    try:
        async with open_content(database, home, Settings()) as content:
            return await EvaluationResults(content.evaluations.store).of("org-default", project_id, model)
    finally:
        await database.close()


def test_the_newest_result_of_each_evaluation_is_found(tmp_path: Path) -> None:
    """By deployment, alias and model alike, from the newest completed run, and of the project alone."""
    with Service(tmp_path) as service:
        key = service.key
        made, run = begun(service, asking(items([("a", "a"), ("b", "x")])), key)
        ended(service, run, key)
        path = f"/v1/evals/{made['id']}/runs"
        newest = service.post(path, asking(items([("a", "a"), ("b", "b"), ("c", "c"), ("d", "x")]), "gpt-4o"), key=key)
        ended(service, newest.json(), key)
        lines = {"type": "file_content", "content": [{"item": {}, "sample": {"output_text": "a"}}]}
        body = {"name": "brought", "testing_criteria": [{**check(), "reference": "a"}]}
        config = {"data_source_config": {"type": "custom", "item_schema": {}, "include_sample_schema": True}}
        other = service.post("/v1/evals", body | config, key=key).json()
        told = {"metadata": {"model": "echo"}, "data_source": {"type": "jsonl", "source": lines}}
        brought = service.post(f"/v1/evals/{other['id']}/runs", told, key=key).json()
        assert ended(service, brought, key)["model"] == "echo"
    for model in ("echo", "gpt-4o"):
        found = asyncio.run(results(tmp_path, model))
        quiz = found["quiz"]
        assert (quiz.value, quiz.count, quiz.run_id) == (0.75, 4, newest.json()["id"])
        assert quiz.low < 0.75 < quiz.high
    assert asyncio.run(results(tmp_path, "echo"))["brought"].value == 1
    assert asyncio.run(results(tmp_path, "echo", "proj-other")) == {}
    assert asyncio.run(results(tmp_path, "nobody")) == {}
