import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from freehold.store.database import Database
from freehold.store.kept_answers import KeptAnswerRow, get_kept_answer, put_kept_answer

ROW = KeptAnswerRow("proj_a", b"k" * 32, "org", "user", b"b" * 32, "req_1", b"\x00sealed\xff", 500, 1000)


def _with_database(folder: Path, url: str | None, scenario: Callable[[Database], Awaitable[None]]) -> None:
    async def main() -> None:
        database = await Database.open(folder / "freehold.db", url=url)
        try:
            await scenario(database)
        finally:
            await database.close()

    asyncio.run(main())


def test_a_row_comes_back_as_it_was_put(tmp_path: Path, home_url: str | None) -> None:
    """A row is found by project and key digest, and by nothing else."""

    async def scenario(database: Database) -> None:
        await put_kept_answer(database, ROW)
        assert await get_kept_answer(database, ROW.project_id, ROW.key_digest) == ROW
        assert await get_kept_answer(database, "proj_b", ROW.key_digest) is None
        assert await get_kept_answer(database, ROW.project_id, b"x" * 32) is None

    _with_database(tmp_path, home_url, scenario)


def test_a_second_row_of_the_name_takes_the_first_ones_place(tmp_path: Path, home_url: str | None) -> None:
    """Putting a row again replaces all of it and leaves the others as they are."""

    async def scenario(database: Database) -> None:
        other = replace(ROW, project_id="proj_b")
        new = replace(ROW, body_digest=b"c" * 32, request_id="req_2", answer=b"new", expires_at=2000)
        for row in (ROW, other, new):
            await put_kept_answer(database, row)
        assert await get_kept_answer(database, ROW.project_id, ROW.key_digest) == new
        assert await get_kept_answer(database, other.project_id, other.key_digest) == other

    _with_database(tmp_path, home_url, scenario)
