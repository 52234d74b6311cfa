"""Makes a home of the previous release, for `test_upgrade`: what a team had before it upgraded.

Run with that release's code, its checkout being the current folder:

    PYTHONPATH=src:. python …/tests/backup/previous_home.py OUT.tar.xz

It starts that release's server, uses it over HTTP as a team would, ends it, and packs the home. `facts.json` in it says
what must be found again. The secrets in it are of this home alone, and are meant to be seen.
"""

import json
import lzma
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.service import Service, eventually

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
price = { input = "2", output = "4" }

[retention]
completions_s = 315360000
responses_s = 315360000
conversations_s = 315360000
"""
REQUESTS = 7
LEFT_OUT = ("run", "lock", "test-config.toml", "test-server.log")


def fill(service: Service) -> dict[str, Any]:
    """Use the server; what is to be found again."""

    def call(method: str, path: str, body: Any = None, key: str | None = None) -> Any:
        reply = service.request(method, path, body, key=key or service.key)
        assert reply.status in {200, 201}, (path, reply)
        return reply.json()

    facts: dict[str, Any] = {"admin_key": service.key}
    project = call("POST", "/v1/organization/projects", {"name": "Letters"})["id"]
    account = call("POST", f"/v1/organization/projects/{project}/service_accounts", {"name": "writer"})
    key = account["api_key"]["value"]
    facts |= {"project": project, "key": key}
    valid = call("POST", "/admin/keys", {"name": "reader", "role": "user"})
    gone = call("POST", "/admin/keys", {"name": "former", "role": "user"})
    call("DELETE", f"/admin/keys/{gone['id']}")
    facts |= {"valid": valid["key"], "revoked": gone["key"]}
    call("POST", "/admin/deployments", {"name": "stored", "model": "echo", "engine": "echo", "aliases": ["gpt-4o"]})
    limit = {"scope": "project", "id": project, "requests_per_minute": 500, "budget_per_month": "10"}
    facts["limit"] = call("PUT", "/admin/limits", limit)
    said = "a letter to a friend"
    chat = {"model": "echo", "messages": [{"role": "user", "content": said}], "store": True}
    facts["completion"] = call("POST", "/v1/chat/completions", chat, key)["id"]
    for _ in range(REQUESTS - 2):
        call("POST", "/v1/chat/completions", {**chat, "store": False}, key)
    item = {"role": "user", "content": said}
    conversation = call("POST", "/v1/conversations", {"items": [item], "metadata": {"about": "letters"}}, key)["id"]
    asked = {"model": "stored", "input": "and an answer", "conversation": conversation}
    response = call("POST", "/v1/responses", asked, key)
    facts |= {"said": said, "conversation": conversation, "response": response["id"]}
    since = int(time.time()) - 86_400
    eventually(lambda: used(service, project, since)["num_model_requests"] == REQUESTS, "usage has all requests")
    return facts | {"since": since, "used": used(service, project, since)}


def used(service: Service, project: str, since: int) -> dict[str, int]:
    """What usage says of a project since a time."""
    path = f"/v1/organization/usage/completions?start_time={since}&bucket_width=1d&group_by=project_id&limit=31"
    found = service.get(path, key=service.key).json()["data"]
    mine = [each for bucket in found for each in bucket["results"] if each["project_id"] == project]
    names = ("num_model_requests", "input_tokens", "output_tokens")
    return {name: sum(each[name] for each in mine) for name in names}


def main(out: Path) -> None:
    """Make it."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        with Service(home, CONFIG) as service:
            facts = fill(service)
        (home / "facts.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        with lzma.open(out, "wb", preset=9) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
            for path in sorted(home.iterdir()):
                if path.name not in LEFT_OUT:
                    archive.add(path, path.name, filter=_plain)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member without whose machine it was made on."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
