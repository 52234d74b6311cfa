"""Callers who come to a server whose cluster is two cores, need all of it, are served, and go again."""

from typing import Any

from tests.service import Service, eventually

DEPLOYMENT = {
    "name": "spike",
    "engine": "echo",
    "model": "echo",
    "resources": {"cores": 2},
    "price": {"input": "1000", "output": "1000"},
}
REQUESTS = 3


def come(service: Service) -> None:
    """Have callers be served who need the whole machine."""
    assert service.post("/admin/deployments", DEPLOYMENT).status == 201
    eventually(lambda: state(service) == "ready", f"there is room for callers: {service.log()[-3000:]}")
    for number in range(REQUESTS):
        body = {"model": "spike", "messages": [{"role": "user", "content": f"number {number}"}]}
        assert service.post("/v1/chat/completions", body).status == 200


def go(service: Service) -> None:
    """Have them need nothing any more."""
    assert service.request("DELETE", "/admin/deployments/spike", key=service.key).status == 200


def state(service: Service) -> Any:
    """How their deployment is."""
    return service.get("/admin/deployments/spike", key=service.key).json()["state"]
