"""A real server whose deployments have units of capacity: what it serves, refuses, passes on and tells."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from freehold.types.capacity import UNIT_MINUTE, UNMEASURED, Work
from tests.conftest import StarterModels
from tests.faults.books import check_reconciled, receipts
from tests.service import Reply, Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "standard"
engine = "echo"
model = "echo"
"""
WORDS = " ".join(["word"] * 40)
SHOP = "proj_shop"


def _chat(deployment: str, text: str = WORDS, tokens: int = 100) -> dict[str, Any]:
    return {"model": deployment, "messages": [{"role": "user", "content": text}], "max_completion_tokens": tokens}


def _ask(service: Service, deployment: str, **more: Any) -> Reply:
    return service.post("/v1/chat/completions", _chat(deployment, **more))


async def _at_once(
    service: Service, bodies: list[dict[str, Any]], path: str = "/v1/chat/completions"
) -> list[tuple[int, dict[str, str]]]:
    """Status and headers of as many chats at once, each on a connection of its own."""

    async def call(body: dict[str, Any]) -> tuple[int, dict[str, str]]:
        async with (
            aiohttp.ClientSession(service.url, timeout=aiohttp.ClientTimeout(total=1200)) as session,
            session.post(path, json=body, headers={"authorization": f"Bearer {service.key}"}) as answer,
        ):
            await answer.read()
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}

    return list(await asyncio.gather(*map(call, bodies)))


def _create(service: Service, name: str, *, force: bool = True, **more: Any) -> Reply:
    body = {"name": name, "model": "echo", "engine": "echo", **more}
    return service.post(f"/admin/deployments?force={str(force).lower()}", body)


def _capacity(service: Service, name: str) -> dict[str, Any]:
    found: dict[str, Any] = service.get(f"/admin/deployments/{name}/capacity", key=service.key).json()
    return found


def _calibrated(service: Service, name: str, seconds: float) -> dict[str, Any]:
    """Calibrate a deployment, however long that takes."""

    async def call() -> dict[str, Any]:
        async with (
            aiohttp.ClientSession(service.url, timeout=aiohttp.ClientTimeout(total=1200)) as session,
            session.post(
                f"/admin/deployments/{name}/calibration",
                json={"seconds": seconds},
                headers={"authorization": f"Bearer {service.key}"},
            ) as answer,
        ):
            assert answer.status == 200, await answer.text()
            found: dict[str, Any] = await answer.json()
            return found

    return asyncio.run(call())


def _metric(service: Service, line: str) -> float:
    """The value of a sample of `/metrics`."""
    text = service.get("/metrics").body.decode()
    return next(float(found.rpartition(" ")[2]) for found in text.splitlines() if found.startswith(line + " "))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One server for all of these tests, each with deployments of its own."""
    with Service(tmp_path_factory.mktemp("capacity") / "home", CONFIG, workers=1) as running:
        yield running


def test_who_comes_again_when_told_is_served(service: Service) -> None:
    """What is over the units is refused with the time after which the same request passes."""
    assert _create(service, "few", capacity={"units": 60, "burst_s": 1}).status == 201
    for _ in range(50):
        refused = _ask(service, "few")
        if refused.status != 200:
            break
    assert refused.status == 429, refused.body
    error = refused.json()["error"]
    assert (error["code"], error["type"]) == ("capacity_exceeded", "rate_limit_error")
    assert "its 60 units are at" in error["message"]
    assert float(refused.headers["azure-openai-deployment-utilization"].rstrip("%")) > 0
    wait_ms = int(refused.headers["retry-after-ms"])
    assert 0 < wait_ms <= 1000 * int(refused.headers["retry-after"])
    time.sleep(wait_ms / 1000)
    served = _ask(service, "few")
    assert served.status == 200, served.body
    assert served.headers["azure-openai-deployment-utilization"].endswith("%")
    assert _metric(service, 'freehold_provisioned_requests_total{deployment="few",outcome="refused"}') == 1


def test_azures_routes_have_azures_error(service: Service) -> None:
    """On Azure's routes the code is the status, as Azure has it."""
    assert _create(service, "azure", capacity={"units": 1, "burst_s": 1}).status == 201
    path = "/openai/deployments/azure/chat/completions?api-version=2024-10-21"
    assert service.post(path, _chat("azure")).status == 200
    refused = service.post(path, _chat("azure"))
    assert refused.status == 429
    assert refused.json()["error"]["code"] == "429"
    assert int(refused.headers["retry-after-ms"]) > 0


def test_the_utilization_reads_as_it_is_driven(service: Service) -> None:
    """What is told of the last minute is what the requests took, whatever they had been thought to take."""
    units = 5_000
    began = time.monotonic()
    assert _create(service, "driven", capacity={"units": units}).status == 201
    first = _capacity(service, "driven")
    begun = time.monotonic()
    assert first["utilization"] == 0
    usage = [_ask(service, "driven", tokens=4000).json()["usage"] for _ in range(20)]
    eventually(lambda: _capacity(service, "driven")["bucket_filled"] < 10, "estimates are corrected")
    before = time.monotonic()
    found = _capacity(service, "driven")
    after = time.monotonic()
    works = [Work(each["prompt_tokens"], each["completion_tokens"]) for each in usage]
    unit_minutes = sum(map(UNMEASURED["chat"].amount, works)) / UNIT_MINUTE
    least, most = (100 * unit_minutes / (units * max(1.0, s) / 60) for s in (after - began, before - begun))
    assert least * 0.99 <= found["utilization"] <= most * 1.01
    assert found["sku"] == {"name": "ProvisionedManaged", "capacity": units}
    assert _metric(service, 'freehold_deployment_units{deployment="driven",project=""}') == units
    assert _metric(service, 'freehold_deployment_utilization{deployment="driven"}') > 0
    listed = service.get("/admin/deployments", key=service.key).json()["data"]
    shown = {each["name"]: each["capacity"] for each in listed}
    assert shown["driven"]["units"] == units
    assert shown["standard"] is None


def test_what_goes_beyond_spills_over_and_receipts_tell(service: Service) -> None:
    """Of many callers at once none fails: those beyond the units are served elsewhere, and it is told."""
    capacity = {"units": 120, "burst_s": 1, "spillover": "standard"}
    assert _create(service, "paid", capacity=capacity, options={"first_delay_s": 0.2}).status == 201
    found = asyncio.run(_at_once(service, [_chat("paid") for _ in range(60)]))
    assert [status for status, _ in found] == [200] * 60
    passed_on = [headers for _, headers in found if "x-freehold-spillover-from" in headers]
    assert {headers["x-freehold-spillover-from"] for headers in passed_on} == {"paid"}
    assert {headers["x-freehold-deployment"] for headers in passed_on} == {"standard"}
    eventually(
        lambda: (
            _metric(service, 'freehold_provisioned_requests_total{deployment="paid",outcome="spilled"}')
            == len(passed_on)
        ),
        "all are counted",
    )
    told = [body for body in receipts(service.home.root) if body.get("requested") == "paid"]
    noted = Counter((body["parameters"]["capacity"], body["deployment"], body.get("spilled_from")) for body in told)
    assert noted == {
        ("provisioned", "paid", None): 60 - len(passed_on),
        ("spilled", "standard", "paid"): len(passed_on),
    }
    assert 0 < len(passed_on) < 60


def test_units_are_asked_for_that_replicas_carry(service: Service) -> None:
    """More than was measured is refused and says how much there is; with force it is taken, and the view warns."""
    path = "/admin/deployments/measured"
    assert _create(service, "measured", force=False, capacity={"units": 3}).status == 400, "it is not calibrated"
    assert _create(service, "measured", parallel=2, options={"delay_s": 0.01}).status == 201
    eventually(lambda: service.get(path, key=service.key).json()["state"] == "ready", "it is ready")
    assert service.get(f"{path}/calibration", key=service.key).status == 404
    found = _calibrated(service, "measured", 0.2)
    units = found["units"]
    assert units > 1
    assert found["replicas"] == 1
    assert {level["concurrency"] for level in found["levels"] if level["kind"] == "completion"} <= {1, 2}
    refused = service.request("PUT", f"{path}/capacity", {"units": units + 1}, key=service.key)
    assert refused.status == 400
    assert f"{units} are available" in refused.json()["error"]["message"]
    assert service.request("PUT", f"{path}/capacity", {"units": units}, key=service.key).status == 200
    assert _capacity(service, "measured")["warning"] is None
    fewer = service.request("PATCH", path, {"replicas": 0}, key=service.key)
    assert fewer.status == 400, "the units would not be carried any more"
    forced = service.request("PUT", f"{path}/capacity?force=true", {"units": units + 1}, key=service.key)
    assert forced.status == 200
    assert "are available" in _capacity(service, "measured")["warning"]
    assert service.request("DELETE", f"{path}/capacity", key=service.key).json()["settings"].get("capacity") is None
    assert _capacity(service, "measured")["available"] == units
    check_reconciled(service.home.root)


@pytest.mark.parametrize(("task", "kind"), [("embeddings", "prompt"), ("images", "pictures")])
def test_what_embeds_or_paints_is_calibrated_by_that(service: Service, task: str, kind: str) -> None:
    """Each kind of deployment is measured by what it does, and its requests take of its units."""
    assert _create(service, task, task=task, parallel=2).status == 201
    eventually(lambda: service.get(f"/admin/deployments/{task}", key=service.key).json()["state"] == "ready", "ready")
    found = _calibrated(service, task, 0.1)
    assert {level["kind"] for level in found["levels"]} == {kind}
    assert found["units"] > 0
    put = service.request("PUT", f"/admin/deployments/{task}/capacity", {"units": 1}, key=service.key)
    assert put.status == 200, put.body
    bodies = {
        "embeddings": ("/v1/embeddings", {"model": task, "input": WORDS}),
        "images": ("/v1/images/generations", {"model": task, "prompt": "A boat", "response_format": "b64_json"}),
    }
    assert service.post(*bodies[task]).status == 200
    eventually(lambda: _capacity(service, task)["utilization"] > 0, "it is counted")


def test_a_deployment_that_takes_what_others_cannot_stays(service: Service) -> None:
    """It must be there, and cannot be deleted while another spills over to it."""
    assert _create(service, "lost", capacity={"units": 1, "spillover": "nowhere"}).status == 400
    assert _create(service, "target").status == 201
    assert _create(service, "source", capacity={"units": 1, "spillover": "target"}).status == 201
    assert service.request("DELETE", "/admin/deployments/target", key=service.key).status == 409


def test_a_project_has_its_own(service: Service) -> None:
    """Units of a project are not for the owner's; where nothing is left for these, there is no time to come again."""
    assert _create(service, "theirs", capacity={"units": 5, "project": SHOP}).status == 201
    refused = _ask(service, "theirs")
    assert refused.status == 429
    assert "retry-after" not in refused.headers
    shares = _capacity(service, "theirs")["shares"]
    assert [(share["project"], share["units"]) for share in shares] == [(SHOP, 5)]


def test_several_workers_share_the_units(tmp_path: Path) -> None:
    """However many processes take the requests, the units are those of one deployment."""
    config = f"""{CONFIG}
[[deployment]]
name = "paid"
engine = "echo"
model = "echo"
options = {{ first_delay_s = 1.0 }}
capacity = {{ units = 60, burst_s = 5, spillover = "standard" }}
"""
    with Service(tmp_path / "home", config, workers=3) as service:
        began = time.monotonic()
        found = asyncio.run(_at_once(service, [_chat("paid", tokens=50) for _ in range(60)]))
        took_s = time.monotonic() - began
        assert [status for status, _ in found] == [200] * 60
        assert _capacity(service, "paid")["utilization"] > 0
    told = [body for body in receipts(tmp_path / "home") if body.get("requested") == "paid"]
    noted = Counter(body["parameters"]["capacity"] for body in told)
    assert noted.total() == 60
    # A unit's minute has 100 tokens of completions; one of these has 40, and 40 of its prompt at a quarter.
    assert 5 <= noted["provisioned"] <= (60 / 60 * (5 + took_s) * 100) / 50 + 1
    assert noted["spilled"] >= 1


@pytest.mark.long
@pytest.mark.llamacpp
def test_the_starter_model_serves_its_units_under_load(tmp_path: Path, starter_models: StarterModels) -> None:
    """Calibrated and given half of what it carries, it never fails a request, is used up and spills over."""
    home = starter_models.lay(tmp_path / "home")
    with Service(home, CONFIG, workers=1) as service:
        created = {"name": "chat", "model": "smollm2-135m-instruct", "context_length": 4096}
        assert service.post("/admin/deployments", created).status == 201
        eventually(lambda: service.get("/admin/deployments/chat", key=service.key).json()["state"] == "ready", "ready")
        units = max(1, _calibrated(service, "chat", 3)["units"] // 2)
        capacity = {"units": units, "spillover": "standard", "burst_s": 5}
        put = service.request("PUT", "/admin/deployments/chat/capacity", capacity, key=service.key)
        assert put.status == 200, put.body
        bodies = [_chat("chat", f"Tell me about the number {i}.", 64) for i in range(48 * (os.cpu_count() or 1))]
        answers = asyncio.run(_at_once(service, bodies))
        assert {status for status, _ in answers} == {200}
        assert _capacity(service, "chat")["utilization"] > 30
        told = [body for body in receipts(home) if body.get("requested") == "chat"]
        noted = Counter(body["parameters"]["capacity"] for body in told)
        assert min(noted["provisioned"], noted["spilled"]) > 0
