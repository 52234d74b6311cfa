"""Moderations, as OpenAI's client sees them."""

from collections.abc import Iterator

import openai
import pytest
from openai.types import ModerationMultiModalInputParam

from tests.conformance.echo import CONFIG
from tests.conformance.recording import Judge, client_for
from tests.service import Service

pytestmark = pytest.mark.slow

THREAT = "I want to kill them."
"""OpenAI's own example."""
CATEGORIES = {
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm"),
    *("self-harm/intent", "self-harm/instructions", "sexual", "sexual/minors", "violence", "violence/graphic"),
}
RECIPE = "Slice the apples, add sugar and cinnamon, and bake the cake for forty minutes."


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with the built-in classifier."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


def test_texts_are_classified_in_their_order(service: Service, judge: Judge) -> None:
    """Each text has a result with every category of OpenAI's, its score, and a flag that follows from them."""
    with client_for(service, "openai", judge) as client:
        answer = client.moderations.create(input=[RECIPE, THREAT])
        harmless, threat = answer.results
        assert answer.model.startswith("moderation:ngrams-")
        assert answer.id.startswith("modr-")
        assert not harmless.flagged
        assert threat.flagged
        assert threat.categories.violence
        assert threat.category_scores.violence > harmless.category_scores.violence
        assert threat.categories.to_dict().keys() == threat.category_scores.to_dict().keys() == CATEGORIES
        assert set(threat.category_applied_input_types.violence) == {"text"}
        assert client.moderations.create(input=THREAT, model="text-moderation-stable").results == [threat]
    assert judge.count >= 2 or judge.spec is None


def test_parts_belong_to_one_input(service: Service, judge: Judge) -> None:
    """Several parts of text are classified together, and a picture is refused by its place."""
    with client_for(service, "openai", judge) as client:
        texts: list[ModerationMultiModalInputParam] = [{"type": "text", "text": each} for each in (THREAT, THREAT)]
        parts = client.moderations.create(input=texts)
        assert [result.flagged for result in parts.results] == [True]
        picture: ModerationMultiModalInputParam = {
            "type": "image_url",
            "image_url": {"url": "https://example.com/a.png"},
        }
        with pytest.raises(openai.BadRequestError) as refused:
            client.moderations.create(input=[texts[0], picture])
    assert refused.value.param == "input[1]"
    assert "no classifier of pictures" in refused.value.message


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": [1]}, 400, "input[0]"),
        ({"input": "x", "model": "nobody"}, 404, "model"),
        ({"input": "x", "threshold": 1}, 400, "threshold"),
    ],
)
def test_wrong_requests_are_refused_by_name(service: Service, body: dict[str, object], status: int, param: str) -> None:
    """What is missing, unknown or of the wrong type is named."""
    answer = service.post("/v1/moderations", body)
    assert (answer.status, answer.json()["error"]["param"]) == (status, param)


def test_a_moderation_leaves_a_receipt(service: Service) -> None:
    """A moderation is authorized and receipted as a request to the deployment `moderation`, and has no text in it."""
    answer = service.post("/v1/moderations", {"input": [RECIPE, THREAT]})
    receipt = service.request(
        "GET", f"/v1/receipts/{answer.headers['x-request-id']}", headers={"api-key": service.key}
    ).json()["receipt"]
    assert (receipt["deployment"], receipt["outcome"], receipt["route"]) == (
        "moderation",
        "finished",
        "/v1/moderations",
    )
    assert receipt["parameters"] == {"inputs": 2}
    assert receipt["prompt_tokens"] == -(-len(RECIPE + THREAT) // 4)
    assert receipt["estimated"] is True
    assert "apples" not in str(receipt)
