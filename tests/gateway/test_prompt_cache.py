"""Requests that go to where their prompt was read, in a real server."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.filtered import receipt
from tests.service import Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "on"
model = "echo"
engine = "echo"
replicas = 2
prompt_cache_routing = "on"

[[deployment]]
name = "found-out"
model = "echo"
engine = "echo"
replicas = 2

[[deployment]]
name = "one"
model = "echo"
engine = "echo"
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with deployments of two replicas, and of one."""
    with Service(tmp_path_factory.mktemp("prompts"), CONFIG) as service:
        yield service


def ask(service: Service, model: str, instructions: str, question: str) -> str:
    """The replica that answered a question under long instructions."""
    messages = [
        {"role": "system", "content": instructions.ljust(2000, ".")},
        {"role": "user", "content": question},
    ]
    reply = service.post("/v1/chat/completions", {"model": model, "messages": messages, "max_tokens": 5})
    assert reply.status == 200, reply.body
    replica: str = receipt(service, reply)["replica"]
    return replica


def cache_of(service: Service, model: str) -> dict[str, Any] | None:
    """What administrators see of it."""
    found: dict[str, Any] | None = service.get(f"/admin/deployments/{model}", key=service.key).json()["prompt_cache"]
    return found


def test_the_same_instructions_stay_on_one_replica(service: Service) -> None:
    """Whatever the question is, and different instructions are spread; metrics and status tell how many."""
    homes = {name: ask(service, "on", name, "first?") for name in ("a", "b", "c", "d")}
    assert len(set(homes.values())) == 2
    assert {name: ask(service, "on", name, "and then?") for name in ("d", "a", "c", "b")} == homes
    assert cache_of(service, "on") == {
        "by_prompt": True,
        "decided": True,
        "outcomes": {"known": 4, "elsewhere": 0, "new": 4},
        "gain": None,
    }
    metrics = service.get("/metrics").body.decode()
    assert 'freehold_prompt_cache_choices{deployment="on",outcome="known"} 4.0' in metrics


def test_auto_tries_both_ways(service: Service) -> None:
    """Before it is settled requests go the one way and the other, and streams are measured like the rest."""
    body = {"model": "found-out", "messages": [{"role": "user", "content": "hello " * 100}], "max_tokens": 2}
    ways = set()
    for number in range(140):
        with service.open(
            "POST", "/v1/chat/completions", body | {"stream": number % 2 == 0}, key=service.key
        ) as answer:
            assert answer.status == 200
            answer.read()
        cache = cache_of(service, "found-out") if number % 20 == 0 or number > 135 else None
        ways |= {cache["by_prompt"]} if cache else set()
    assert ways == {True, False}
    assert cache is not None
    assert (cache["decided"], sum(cache["outcomes"].values())) == (False, 140)


def test_one_replica_has_nothing_to_choose(service: Service) -> None:
    """Nothing is counted where there is one replica."""
    ask(service, "one", "a", "?")
    assert cache_of(service, "one") is None
