"""From a request that the content filter blocks to the report and the review, in a real server."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.api.test_kept_content import admin, make_project
from tests.service import Reply, Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[blocklist]]
name = "fruit"
items = [{ term = "bananaphone" }]

[[blocklist]]
name = "rings"
prompt = "off"
items = [{ term = "grapefruit" }]

[[content_filter]]
name = "keeping"
blocklists = ["fruit", "rings"]
keep_flagged = true

[[content_filter]]
name = "forgetting"
blocklists = ["fruit", "rings"]

[[deployment]]
name = "keeping"
engine = "echo"
model = "echo"
content_filter = "keeping"

[[deployment]]
name = "forgetting"
engine = "echo"
model = "echo"
content_filter = "forgetting"

[[deployment]]
name = "brush"
engine = "echo"
model = "echo"
task = "images"
content_filter = "keeping"
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with a policy that keeps what it blocks, and one that does not."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


def ask(service: Service, key: str, text: str, **more: Any) -> Reply:
    """A chat completion of the deployment that keeps."""
    body = {"model": "keeping", "messages": [{"role": "user", "content": text}], "user": "mallory", **more}
    return service.request("POST", "/v1/chat/completions", body, key=key)


def kept(service: Service, project_id: str) -> list[Any]:
    """What is kept of a project, newest first."""
    data: list[Any] = admin(service, "GET", f"/admin/flagged?{urlencode({'project': project_id})}")["data"]
    return data


def reviewed(service: Service, request_id: str) -> Any:
    """The text of a request."""
    return admin(service, "POST", f"/admin/flagged/{request_id}/review", {"reason": "a test"})


def test_a_blocked_prompt_is_reported_and_can_be_reviewed(service: Service) -> None:
    """The end user stands in the report with what was found, and the text of the request is there to be read."""
    project_id, key = make_project(service, "Prompts")
    assert ask(service, key, "all is well").status == 200
    reply = ask(service, key, "ring the bananaphone")
    assert (reply.status, reply.json()["error"]["code"]) == (400, "content_filter")
    (row,) = kept(service, project_id)
    assert (row["id"], row["deployment"]) == (reply.headers["x-request-id"], "keeping")
    assert row["found"]["blocked"] == ["prompt:blocklist:fruit"]
    text = reviewed(service, row["id"])
    assert (text["prompt"], text["completion"]) == ("user: ring the bananaphone", "")
    (line,) = admin(service, "GET", f"/admin/abuse?project={project_id}")["data"]
    assert (line["id"], line["requests"], line["flagged"], line["blocked"]) == (row["end_user"], 2, 1, 1)
    assert [(each["name"], each["severity"], each["blocked"]) for each in line["findings"]] == [
        ("blocklist:fruit", "medium", 1)
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_a_blocked_completion_is_kept_as_the_model_wrote_it(service: Service, stream: bool) -> None:
    """What was not sent is kept with what was asked, streamed or whole."""
    project_id, key = make_project(service, f"Completions {stream}")
    reply = ask(service, key, "a grapefruit a day", stream=stream)
    assert (reply.status, b"grapefruit" in reply.body) == (200, False)
    (row,) = kept(service, project_id)
    text = reviewed(service, row["id"])
    assert text["prompt"] == "user: a grapefruit a day"
    assert "grapefruit" in text["completion"]


def test_a_blocked_prompt_of_a_picture_is_kept(service: Service) -> None:
    """The prompt of a picture that is not painted is there to be read."""
    project_id, key = make_project(service, "Pictures")
    body = {"model": "brush", "prompt": "a bananaphone", "size": "256x256"}
    assert service.request("POST", "/v1/images/generations", body, key=key).status == 400
    (row,) = kept(service, project_id)
    assert reviewed(service, row["id"])["prompt"] == "user: a bananaphone"


def test_nothing_else_is_kept(service: Service) -> None:
    """Under a policy without `keep_flagged`, in zero retention, and where nothing is blocked, no text is kept."""
    project_id, key = make_project(service, "Nothing")
    assert ask(service, key, "all is well").status == 200
    assert ask(service, key, "ring the bananaphone", model="forgetting").status == 400
    admin(service, "PUT", f"/v1/organization/projects/{project_id}/retention", {"type": "zero_data_retention"})
    assert ask(service, key, "ring the bananaphone").status == 400
    assert kept(service, project_id) == []
    assert b"bananaphone" not in service.home.database.read_bytes()
