"""Graders of a running server: tried on an answer, in every dialect, with receipts for what judges are asked."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.test_response_tenants import DIALECTS
from tests.faults.books import receipts
from tests.service import Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[evaluations]
embedding_model = "echo"

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
"""
CHECK: dict[str, Any] = {
    "type": "string_check",
    "name": "same",
    "input": "{{ sample.output_json.city }}",
    "reference": "{{ item.city }}",
    "operation": "eq",
}
JUDGE = {
    "type": "score_model",
    "name": "judge",
    "model": "echo",
    "input": [{"role": "user", "content": "Rate {{ sample.output_text }}."}],
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


def run(service: Service, grader: Any, sample: str, item: Any = None, place: str = "/v1", behind: str = "") -> Any:
    """Try a grader."""
    body = {"grader": grader, "model_sample": sample, "item": item or {}}
    return service.post(f"{place}/fine_tuning/alpha/graders/run{behind}", body)


@pytest.mark.parametrize(("prefix", "behind"), DIALECTS.items())
def test_a_grader_is_tried_in_every_dialect(service: Service, prefix: str, behind: str) -> None:
    """A grader is said back, and gives its reward with what it is made of."""
    checked = service.post(f"{prefix}/fine_tuning/alpha/graders/validate{behind}", {"grader": CHECK})
    assert (checked.status, checked.json()) == (200, {"grader": CHECK})
    found = run(service, CHECK, '{"city": "Rome"}', {"city": "Rome"}, prefix, behind).json()
    assert (found["reward"], found["metadata"]["name"]) == (1.0, "same")
    assert not any(found["metadata"]["errors"].values())


def test_an_answer_that_is_not_json_is_an_error_of_the_sample(service: Service) -> None:
    """A field of JSON that there is not is flagged, and worth nothing."""
    found = run(service, CHECK, "Rome", {"city": "Rome"}).json()
    assert (found["reward"], found["metadata"]["errors"]["sample_parse_error"]) == (0.0, True)


def test_a_judge_is_metered_and_receipted(service: Service) -> None:
    """What a judge is asked has a receipt of its own, which names the request that it was for."""
    reply = run(service, JUDGE, "this")
    found = reply.json()
    assert found["model_grader_token_usage_per_model"]["echo"]["total_tokens"] == found["metadata"]["token_usage"] > 0
    request_id = reply.headers["x-request-id"]
    asked = [
        each for each in receipts(service.home.root) if (each.get("parameters") or {}).get("grader_run") == request_id
    ]
    assert [each["route"] for each in asked] == ["/v1/chat/completions"]


def test_similarity_by_embeddings_asks_the_configured_deployment(service: Service) -> None:
    """The same text twice has a cosine of 1."""
    texts = {"input": "{{ sample.output_text }}", "reference": "{{ item.answer }}"}
    grader = {"type": "text_similarity", "name": "near", **texts, "evaluation_metric": "cosine"}
    assert run(service, grader, "one two", {"answer": "one two"}).json()["reward"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("grader", "param"),
    [
        ({"type": "python", "name": "p", "source": "1"}, "grader.type"),
        ({**CHECK, "input": "{{ ''.__class__ }}"}, "grader.input"),
        ({**CHECK, "operation": "regex"}, "grader.operation"),
        ({**CHECK, "surprise": 1}, "grader.surprise"),
        ({**JUDGE, "range": [1, 0]}, "grader.range"),
        (
            {**JUDGE, "type": "label_model", "labels": ["a"], "passing_labels": ["a"]},
            "grader.type",
        ),
    ],
)
def test_what_is_no_grader_is_refused_by_field(service: Service, grader: Any, param: str) -> None:
    """Both operations name the field that is wrong."""
    for path, more in (("validate", {}), ("run", {"model_sample": "x"})):
        refused = service.post(f"/v1/fine_tuning/alpha/graders/{path}", {"grader": grader, **more})
        assert (refused.status, refused.json()["error"]["param"]) == (400, param), refused.body
