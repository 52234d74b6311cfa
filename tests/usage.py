"""A real journal with receipts in it, and the usage database that is made from it."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.config import JournalSettings
from freehold.journal.journal import Journal
from freehold.journal.projection import Projection
from freehold.journal.projection_reports import UsageReports
from freehold.journal.records import Kind, utc
from freehold.journal.signer import Signer
from freehold.store.usage_database import UsageDatabase
from freehold.types.receipt import Admitted, Outcome, Receipt

NOON_S = 1_795_521_600
"""2026-11-24, 12:00 UTC."""
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Usage:
    """The parts, open."""

    journal: Journal
    database: UsageDatabase
    projection: Projection
    reports: UsageReports

    async def record(self, receipts: Iterable[Receipt]) -> None:
        """Have requests admitted and ended, and wait until that is on the disk."""
        for each in receipts:
            if each.outcome is not Outcome.REFUSED:
                self.journal.submit(Kind.ADMITTED, admitted(each).body(), durable=False)
            self.journal.submit(Kind.RECEIPT, each.body(), durable=False)
        await self.journal.checkpoint()

    async def caught_up(self) -> None:
        """Wait until all of that is in the database."""
        assert await self.projection.caught_up(PATIENCE_S), self.projection.state


def receipt(number: int, *, at_s: float = NOON_S, **changes: Any) -> Receipt:
    """A finished chat request that read 10 tokens, wrote 20 and cost 30 micro-units."""
    base = Receipt(
        request_id=f"req_{number:032x}",
        started_at=utc(at_s),
        ended_at=utc(at_s + 0.5),
        duration_us=500_000,
        route="/v1/chat/completions",
        dialect="openai",
        outcome=Outcome.FINISHED,
        status=200,
        attempt=1,
        finish_reason="stop",
        organization_id="org",
        project_id="proj",
        principal="user",
        key_id="key",
        auth_method="api_key",
        requested="chat",
        deployment="chat",
        model="small",
        engine="echo",
        replica="chat-1",
        service_tier="default",
        prompt_tokens=10,
        cached_tokens=4,
        completion_tokens=20,
        cost_micro=30,
        price_version="always/0",
    )
    return base._replace(**changes)


def admitted(ended: Receipt) -> Admitted:
    """The record with which a request began."""
    return Admitted(
        request_id=ended.request_id,
        started_at=ended.started_at,
        route=ended.route,
        dialect=ended.dialect,
        organization_id=ended.organization_id or "",
        project_id=ended.project_id or "",
        key_id=ended.key_id or "",
        principal=ended.principal or "",
        auth_method="api_key",
        deployment=ended.deployment or "",
        reserved_tokens=100,
        reserved_micro=100,
        prompt_tokens=10,
        prompt_micro=10,
        price_version="always/0",
    )


async def open_journal(home: Path, settings: JournalSettings | None = None) -> Journal:
    """The journal of a home folder, as the program opens it."""
    (home / "journal").mkdir(parents=True, exist_ok=True)
    signer = Signer.load_or_create(home / "journal.pem", home / "journal" / "public.pem")
    return await Journal.open(home / "journal", signer, settings or JournalSettings())


@asynccontextmanager
async def open_usage(
    home: Path, url: str | None = None, *, settings: JournalSettings | None = None, started: bool = True
) -> AsyncIterator[Usage]:
    """Journal, database and projection of a home folder; closed at the end."""
    journal = await open_journal(home, settings)
    database = UsageDatabase.at(home / "usage.db", url)
    projection = Projection(journal, database)
    if started:
        projection.start()
    try:
        yield Usage(journal, database, projection, UsageReports(journal, database, projection))
    finally:
        await projection.stop()
        await database.close()
        await journal.close()
