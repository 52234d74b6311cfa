"""A server with a past for the pages of access and record: people, keys, budgets, filters, flags and a backup."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.api.flagged_past import NAME, seed
from tests.service import Reply, Service
from tests.web.browser import make_person

CONFIG = """
[server]
starter = false

[[deployment]]
name = "assistant"
engine = "echo"
model = "echo"
price = { input = "7000", output = "7000" }

[[deployment]]
name = "drafts"
engine = "echo"
model = "echo"
content_filter = "house"

[[content_filter]]
name = "house"
description = "Stricter, and nothing personal leaves the house."
hate = { prompt = { threshold = "low" }, completion = { threshold = "low" } }
personal_data = { prompt = "mask", completion = "mask" }
blocklists = ["project-names"]
keep_flagged = true

[[blocklist]]
name = "project-names"
description = "Names that are not public yet."
items = [{ term = "bluebird" }, { pattern = "fal[ck]on" }]
"""
OWNER = "ann@example.org"


def call(service: Service, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    """What a call of the owner's answers."""
    answer = service.request(method, path, body, key=service.key)
    assert answer.status == status, answer.body
    return answer.json()


def ask(service: Service, key: str, text: str, model: str = "assistant", **more: Any) -> Reply:
    """A chat completion."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 20, **more}
    return service.request("POST", "/v1/chat/completions", body, key=key)


@contextmanager
def governed(home: Path) -> Iterator[Service]:
    """A server whose home has flags of an hour ago, and on which some things were done since."""
    home.mkdir(exist_ok=True)
    asyncio.run(seed(home))
    with Service(home, CONFIG) as service:
        make_person(service, OWNER, "owner", "Ann Okafor")
        _people(service)
        _keys(service)
        _rules(service)
        yield service


def _people(service: Service) -> None:
    claims = call(service, "POST", "/v1/organization/projects", {"name": "Claims"})["id"]
    call(service, "POST", "/v1/organization/projects", {"name": "Marketing"})
    for name, role in (("Bea Lind", "reader"), ("Chidi Anagonye", "auditor"), ("Dana Scully", "usage_reader")):
        email = f"{name.split()[0].lower()}@example.org"
        person = make_person(service, email, role, name)
        body = {"user_id": person, "role": "member"}
        call(service, "POST", f"/v1/organization/projects/{claims}/users", body)
    dana = call(service, "GET", "/v1/organization/users?emails=dana@example.org")["data"][0]["id"]
    call(service, "POST", f"/v1/organization/users/{dana}/disable")
    invite = {"email": "eve@example.org", "role": "reader", "projects": [{"id": claims, "role": "member"}]}
    call(service, "POST", "/v1/organization/invites", invite)
    gone = make_person(service, "gone@example.org", "reader", "Gone Person")
    call(service, "POST", f"/v1/organization/users/{gone}/erase")


def _keys(service: Service) -> None:
    path = "/v1/organization/projects/proj-default"
    account = call(service, "POST", f"{path}/service_accounts", {"name": "nightly-reports"})
    scope = {"models": ["assistant"], "ip_ranges": ["127.0.0.0/8"]}
    body = {"name": "nightly reports", "owner_id": account["id"], "scope": scope, "expires_in_seconds": 90 * 86_400}
    key = call(service, "POST", f"{path}/api_keys", body)
    limit = {"scope": "key", "id": key["id"], "budget_per_month": "10"}
    call(service, "PUT", "/admin/limits", limit)
    for text in ("How many claims came in?", "And yesterday?", "Thank you"):
        answer = ask(service, key["value"], text, user="shop-user-17")
        assert answer.status == 200, answer.body
    call(service, "POST", "/v1/organization/admin_api_keys", {"name": "infrastructure"})


def _rules(service: Service) -> None:
    ask(service, service.key, "I hate you all and will destroy bluebird", "drafts", user="shop-user-17")
    call(service, "PUT", "/admin/content_filters/lenient", {"name": "lenient", "description": "For translators."})
    call(service, "POST", "/admin/suspensions", {"end_user": NAME, "reason": "Keeps sending threats."}, status=201)
    policy = {"name": "modest", "description": "Small requests.", "ceilings": {"max_tokens": 1024}}
    call(service, "PUT", "/admin/policies/modest", policy)
    call(service, "POST", "/admin/backup")
