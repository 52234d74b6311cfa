"""A home with a past: requests that were flagged, and texts that were kept of some; and what its server is asked."""

import time
from pathlib import Path
from typing import Any, Final

from freehold.config import JournalSettings, Settings
from freehold.gateway.content import open_content
from freehold.governance.digests import Digests
from freehold.journal.journal import Journal
from freehold.journal.records import Kind
from freehold.journal.signer import Signer
from freehold.store.database import Database
from freehold.store.home import Home
from freehold.types.content import Tenant
from tests.api.test_kept_content import admin
from tests.service import Service
from tests.usage import receipt

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = { delay_s = 0.2 }
parallel = 64
"""
NAME: Final = "mallory@example.org"
TEXT: Final = "a telltale bananaphone"
FOUND: Final = {
    "policy": "default",
    "prompt": {"hate": "high", "blocklist:fruit": "detected"},
    "completion": {"sexual": "low"},
    "blocked": ["prompt:hate"],
}
KEPT: Final = ("req_kept_1", "req_kept_2")
ELSEWHERE: Final = "req_kept_elsewhere"


async def seed(home: Path) -> None:
    """Give a home a past: receipts of requests that were flagged, and texts that were kept of some."""
    place = Home(home)
    with place.locked():
        place.journal.mkdir(exist_ok=True)
        signer = Signer.load_or_create(place.journal_key, place.journal / "public.pem")
        journal = await Journal.open(place.journal, signer, JournalSettings())
        digest = Digests(place.pepper()).end_user(NAME)
        for number in range(12):
            flagged = {"filter": FOUND} if number < 4 else {}
            project = "proj-other" if number == 3 else "proj-default"
            who = {"organization_id": "org-default", "project_id": project, "principal": "svc_seed"}
            made = receipt(number, at_s=time.time() - 3600, end_user=digest, **who, **flagged)
            journal.submit(Kind.RECEIPT, made.body(), durable=False)
        await journal.checkpoint()
        await journal.close()
        database = await Database.open(place.database)
        async with open_content(database, place, Settings()) as content:
            for request_id, project in (
                (KEPT[0], "proj-default"),
                (KEPT[1], "proj-default"),
                (ELSEWHERE, "proj-other"),
            ):
                tenant = Tenant("org-default", project, "svc_seed")
                assert await content.flagged.keep(tenant, request_id, TEXT, "an answer", FOUND, end_user=digest)
        await database.close()


def digest_of(service: Service, name: str = NAME) -> str:
    """The digest that stands for an end user on receipts."""
    return Digests(service.home.pepper()).end_user(name)


def key_of(service: Service, role: str, project_id: str = "proj-default", *, everywhere: bool = False) -> str:
    """A new key with a role in a project, or in the whole organization."""
    body = {"name": role, "role": role, "project_id": project_id, "everywhere": everywhere}
    return str(admin(service, "POST", "/admin/keys", body)["key"])


def suspend(service: Service, **body: Any) -> Any:
    """Suspend somebody."""
    return admin(service, "POST", "/admin/suspensions", {"reason": "sends bananaphone", **body})


def ask(service: Service, key: str, **more: Any) -> Any:
    """A chat completion."""
    body = {"model": "echo", "messages": [{"role": "user", "content": "hello"}], **more}
    return service.request("POST", "/v1/chat/completions", body, key=key)
