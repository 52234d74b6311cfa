"""A guard model as the last stage of a policy; the echo engine plays it, which says of a text what the text says."""

from collections.abc import Iterator

import pytest

from tests.service import Reply, Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "guarded"
engine = "echo"
model = "echo"
content_filter = "watched"

[[deployment]]
name = "open"
engine = "echo"
model = "echo"
content_filter = "watched-open"

[[deployment]]
name = "guard"
engine = "echo"
model = "echo"

[[content_filter]]
name = "watched"
guard = { deployment = "guard", format = "llama_guard", always = true }

[[content_filter]]
name = "watched-open"
on_error = "open"
guard = { deployment = "guard", format = "llama_guard", always = true }
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server whose deployments are watched by a guard model."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


def _ask(service: Service, deployment: str, text: str) -> Reply:
    return service.post(
        f"/openai/deployments/{deployment}/chat/completions?api-version=2024-10-21",
        {"messages": [{"role": "user", "content": text}]},
    )


def _filter_of(service: Service, answer: Reply) -> dict[str, object]:
    path = f"/v1/receipts/{answer.headers['x-request-id']}"
    found: dict[str, object] = service.request("GET", path, headers={"api-key": service.key}).json()["receipt"][
        "filter"
    ]
    return found


def test_what_the_guard_calls_safe_passes(service: Service) -> None:
    """A prompt and an answer that the guard has judged safe pass, and the receipt names the guard's format."""
    answer = _ask(service, "guarded", "safe")
    assert answer.status == 200
    assert answer.json()["choices"][0]["message"]["content"] == "safe"
    told = _filter_of(service, answer)
    assert told["scanned"] == ["prompt", "completion"]
    assert "llama_guard:" in str(told["detectors"])


def test_what_the_guard_calls_unsafe_is_blocked(service: Service) -> None:
    """A hazard of the guard's is a severity of Azure's category, and blocks the prompt."""
    answer = _ask(service, "guarded", "unsafe\nS10")
    assert answer.status == 400
    inner = answer.json()["error"]["innererror"]
    assert inner["code"] == "ResponsibleAIPolicyViolation"
    assert inner["content_filter_result"]["hate"] == {"filtered": True, "severity": "high"}
    assert _filter_of(service, answer)["blocked"] == ["prompt:hate"]


def test_an_answer_that_cannot_be_read_lets_nothing_pass(service: Service) -> None:
    """A guard that does not answer in its format makes 503, and under an open policy an answer that says so."""
    closed = _ask(service, "guarded", "hello")
    assert (closed.status, _filter_of(service, closed)["scanned"]) == (503, [])
    served = _ask(service, "open", "hello")
    assert served.status == 200
    results = served.json()["prompt_filter_results"][0]["content_filter_results"]
    assert results["error"]["code"] == "content_filter_error"
    told = _filter_of(service, served)
    assert told["scanned"] == []
    assert "prompt" in str(told["failed"])
