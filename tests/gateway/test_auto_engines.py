"""`engine = "auto"` in a real server: requests, receipts, and what administrators see."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.filtered import receipt
from tests.service import Reply, Service, events_of, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "chat"
model = "echo"
options = { quick = { without = ["logit_bias", "n", "tools"], fail_on = "hard" } }

[[deployment]]
name = "dying"
model = "echo"
options = { quick = { crash_on = "poison" }, echo = { crash_on = "poison" } }
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with deployments of two engines each."""
    with Service(tmp_path_factory.mktemp("auto"), CONFIG, program="tests.gateway.auto_server") as service:
        yield service


def chat(service: Service, text: str = "hello", *, model: str = "chat", **more: Any) -> Reply:
    """One conversation."""
    return service.post(
        "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": text}], **more}
    )


def test_the_receipt_says_which_engine_served_and_why(service: Service) -> None:
    """A plain request is served by the fast engine, one with logit_bias by the full one, both at the first try."""
    plain = receipt(service, chat(service))
    assert (plain["engine"], plain["parameters"]["engine_choice"]) == ("quick", "fastest")
    reply = chat(service, logit_bias={"1": 5})
    assert reply.status == 200, reply.body
    full = receipt(service, reply)
    assert (full["engine"], full["parameters"]["engine_choice"]) == ("echo", "needs logit_bias")
    assert full["replica"] != plain["replica"]


def test_a_stream_with_tools_goes_to_the_engine_that_has_them(service: Service) -> None:
    """Streams are routed like everything else."""
    tool = {"type": "function", "function": {"name": "say", "parameters": {"type": "object"}}}
    body = {"model": "chat", "messages": [{"role": "user", "content": "x"}], "tools": [tool], "tool_choice": "required"}
    with service.open("POST", "/v1/chat/completions", body | {"stream": True}, key=service.key) as response:
        assert response.status == 200
        events = events_of(response)
    assert events[-1] == "[DONE]"
    assert any(choice["delta"].get("tool_calls") for event in events[:-1] for choice in event["choices"])


def test_several_choices_are_made_by_an_engine_that_makes_one(service: Service) -> None:
    """Where only one of the engines takes `n`, every choice comes all the same."""
    answer = chat(service, n=3).json()
    assert len(answer["choices"]) == 3
    answer = chat(service, n=3, logit_bias={"1": 5}).json()
    assert len(answer["choices"]) == 3


def test_a_failure_of_the_fast_engine_is_tried_again_on_the_full_one(service: Service) -> None:
    """The caller sees an answer; the receipt tells the second engine and the attempt."""
    reply = chat(service, "hard")
    assert reply.status == 200, reply.body
    found = receipt(service, reply)
    assert (found["engine"], found["attempt"]) == ("echo", 2)


def test_a_poison_request_is_tried_twice_in_all(service: Service) -> None:
    """One that kills both engines ends with an error after each of them was tried once."""
    assert chat(service, "poison", model="dying").status in {502, 503}
    eventually(lambda: chat(service, model="dying").status == 200, "both engines are back or one of them")


def test_administrators_see_both_engines(service: Service) -> None:
    """The deployment tells the engines, the replicas whose they are and what memory they hold, and all features."""
    chat(service, logit_bias={"1": 5})
    found = service.get("/admin/deployments/chat", key=service.key).json()
    assert [each["engine"] for each in found["engines"]] == ["quick", "echo"]
    assert {each["engine"] for each in found["replicas"]} == {"quick", "echo"}
    assert all(each["memory_bytes"] > 1 << 20 for each in found["replicas"])
    assert {"logit_bias", "tools", "chat"} <= set(found["features"])
    assert "n" not in found["features"]


def test_the_fingerprint_is_that_of_the_engine(service: Service) -> None:
    """`system_fingerprint` is told by whichever engine answers."""
    assert chat(service).json()["system_fingerprint"] == "fp_echo"


def test_embeddings_have_one_engine(service: Service) -> None:
    """`auto` stands for llama.cpp alone where there is nothing faster, and options are still checked."""
    body = {"name": "e", "model": "all-minilm-l6-v2", "task": "embeddings", "options": {"quick": {"delay_s": 1}}}
    answer = service.post("/admin/deployments", body)
    assert answer.status == 400
    assert "options.quick" in answer.json()["error"]["message"]


def test_an_option_of_one_engine_is_checked_by_it(service: Service) -> None:
    """A wrong value in an engine's own table is refused, and so is an option that the full engine does not know."""
    wrong = {"name": "w", "model": "echo", "options": {"quick": {"delay_s": -1}}}
    answer = service.post("/admin/deployments", wrong)
    assert (answer.status, "delay_s" in answer.json()["error"]["message"]) == (400, True)
    answer = service.post("/admin/deployments", {"name": "w", "model": "echo", "options": {"warp": 9}})
    assert answer.status == 400
    assert "options.quick" in answer.json()["error"]["message"]


def test_engines_with_nothing_to_find_are_not_measured(service: Service) -> None:
    """Measuring is recorded, and tells nothing where no engine has options that could be found."""
    answer = service.post("/admin/deployments/chat/measurements", {})
    assert (answer.status, answer.json()["data"]) == (200, [])
    assert service.get("/admin/deployments/chat/measurements", key=service.key).json()["data"] == []
    assert service.post("/admin/deployments/nobody/measurements", {}).status == 404
