"""Kept texts of requests that the content filter blocked."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.encryption.cipher import ContentCipher
from freehold.errors import ContentUnreadable, InvalidRequest, NotFound, ProjectKeyRevoked
from freehold.gateway.flagged import MAX_CHARACTERS, FlaggedContent, FlaggedText
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.types.content import FLAGGED, RetentionOverride, RetentionSettings, Tenant
from tests.gateway.kept import content_keys_of, flagged_of, sweep_of

TENANT = Tenant("org", "proj", "user")
RECORD = {
    "policy": "strict",
    "sha256": "ab",
    "mode": "blocking",
    "prompt": {"blocklist:fruit": "detected"},
    "blocked": ["prompt:blocklist:fruit"],
    "examine_us": 12,
}


def with_flagged(
    folder: Path, trial: Callable[[FlaggedContent, Database, RetentionRegistry], Awaitable[None]], now_s: float = 1000.0
) -> None:
    """Run a trial on the kept texts of a home."""

    async def main() -> None:
        database = await Database.open(folder / "freehold.db")
        try:
            retention = RetentionRegistry(database, RetentionSettings())
            await retention.load()
            await trial(flagged_of(database, lambda: now_s, retention=retention), database, retention)
        finally:
            await database.close()

    asyncio.run(main())


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    """Prompt and completion come back as they were, with what was found; beside them stands nothing of them."""

    async def trial(flagged: FlaggedContent, _database: Database, _retention: RetentionRegistry) -> None:
        kept = await flagged.keep(TENANT, "req_1", "my bananaphone\ud800", "a ring", RECORD, end_user="eu_1")
        assert kept
        row = await flagged.get("org", "req_1")
        assert await flagged.open(row) == FlaggedText("my bananaphone?", "a ring")
        assert (row.end_user, row.created_at, row.expires_at) == ("eu_1", 1000, 1000 + FLAGGED.default_s)
        assert row.found == {name: value for name, value in RECORD.items() if name != "examine_us"}
        assert b"bananaphone" not in (tmp_path / "freehold.db").read_bytes() + row.content
        assert await flagged.keep(TENANT, "req_1", "again", "", RECORD)
        assert (await flagged.open(await flagged.get("org", "req_1"))).prompt == "my bananaphone?"
        await flagged.delete(row)
        with pytest.raises(NotFound):
            await flagged.get("org", "req_1")

    with_flagged(tmp_path, trial)


def test_no_more_than_enough_is_kept(tmp_path: Path) -> None:
    """Of a text that is very long the beginning is kept, and that it was cut."""

    async def trial(flagged: FlaggedContent, _database: Database, _retention: RetentionRegistry) -> None:
        await flagged.keep(TENANT, "req_1", "x" * (MAX_CHARACTERS + 1), "y", RECORD)
        assert await flagged.open(await flagged.get("org", "req_1")) == FlaggedText(
            "x" * MAX_CHARACTERS, "y", ("prompt",)
        )

    with_flagged(tmp_path, trial)


@pytest.mark.parametrize("where", ["", "proj"])
@pytest.mark.parametrize("kind", ["zero_data_retention", "modified_abuse_monitoring"])
def test_who_keeps_nothing_for_monitoring_keeps_nothing(tmp_path: Path, where: str, kind: str) -> None:
    """With zero retention or modified abuse monitoring nothing is kept, and what was kept goes with the next sweep."""

    async def trial(flagged: FlaggedContent, database: Database, retention: RetentionRegistry) -> None:
        assert await flagged.keep(TENANT, "req_1", "text", "", RECORD)
        await retention.put("org", where, RetentionOverride.model_validate({"type": kind}))
        assert not await flagged.keep(TENANT, "req_2", "text", "", RECORD)
        assert (await sweep_of(database, lambda: 1001.0, retention).run())["flagged"] == 1

    with_flagged(tmp_path, trial)


def test_a_project_may_be_monitored_though_others_are_not(tmp_path: Path) -> None:
    """A project with `none` keeps what its policy says, though its organization has modified abuse monitoring."""

    async def trial(flagged: FlaggedContent, _database: Database, retention: RetentionRegistry) -> None:
        await retention.put("org", "", RetentionOverride(type="modified_abuse_monitoring"))
        await retention.put("org", "proj", RetentionOverride(type="none", keep_s={"flagged": 60}))
        assert await flagged.keep(TENANT, "req_1", "text", "", RECORD)
        assert (await flagged.get("org", "req_1")).expires_at == 1060

    with_flagged(tmp_path, trial)


def test_what_cannot_be_encrypted_is_not_kept(tmp_path: Path) -> None:
    """A project whose key is revoked has nothing kept, and no error reaches the request."""

    async def trial(flagged: FlaggedContent, database: Database, retention: RetentionRegistry) -> None:
        assert await flagged.keep(TENANT, "req_1", "text", "", RECORD)
        row = await flagged.get("org", "req_1")
        keys = content_keys_of(database)
        await keys.revoke("org", "proj")
        later = FlaggedContent(database, ContentCipher(keys), retention, clock=lambda: 1000.0)
        assert not await later.keep(TENANT, "req_2", "text", "", RECORD)
        with pytest.raises(ProjectKeyRevoked):
            await later.open(row)

    with_flagged(tmp_path, trial)


def test_a_text_opens_only_as_what_it_is(tmp_path: Path) -> None:
    """A ciphertext that was damaged, moved to another request or whose owner was erased is told as unreadable."""

    async def trial(flagged: FlaggedContent, database: Database, _retention: RetentionRegistry) -> None:
        await flagged.keep(TENANT, "req_1", "text", "", RECORD)
        row = await flagged.get("org", "req_1")
        for wrong in (
            replace(row, content=row.content[:-1] + bytes([row.content[-1] ^ 1])),
            replace(row, request_id="req_2"),
            replace(row, owner_id="other"),
        ):
            with pytest.raises(ContentUnreadable):
                await flagged.open(wrong)
        await content_keys_of(database).destroy_owner("org", "user")
        with pytest.raises(ContentUnreadable, match="erased"):
            await flagged_of(database, lambda: 1000.0).open(row)

    with_flagged(tmp_path, trial)


def test_the_list_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Pages, newest first, have each request once; another organization, project or end user has its own only."""

    async def trial(flagged: FlaggedContent, _database: Database, _retention: RetentionRegistry) -> None:
        for number in range(5):
            await flagged.keep(TENANT, f"req_{number}", "text", "", RECORD, end_user=f"eu_{number % 2}")
        await flagged.keep(replace(TENANT, project_id="proj-2"), "req_p", "text", "", RECORD)
        await flagged.keep(replace(TENANT, organization_id="org-2"), "req_o", "text", "", RECORD)
        first, more = await flagged.list("org", projects=["proj"], limit=3)
        rest, no_more = await flagged.list("org", projects=["proj"], limit=3, after=first[-1].request_id)
        assert (more, no_more) == (True, False)
        assert [row.request_id for row in (*first, *rest)] == ["req_4", "req_3", "req_2", "req_1", "req_0"]
        assert [row.request_id for row in (await flagged.list("org-2"))[0]] == ["req_o"]
        mine, _ = await flagged.list("org", end_users=["eu_1"])
        assert [row.request_id for row in mine] == ["req_3", "req_1"]
        with pytest.raises(InvalidRequest, match="after"):
            await flagged.list("org", after="req_o")

    with_flagged(tmp_path, trial)
