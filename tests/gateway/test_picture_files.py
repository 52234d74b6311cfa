"""Pictures that are answered as an address."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from freehold.errors import NotFound
from freehold.gateway.picture_files import PATH, PictureFile, PictureFiles
from freehold.store.database import Database
from freehold.store.kept_pictures import get_kept_picture, put_kept_picture
from freehold.types.content import DAY_S, Tenant
from tests.gateway.kept import pictures_of, sweep_of

TENANT = Tenant("org", "proj", "user")
PICTURE = b"\x89PNG a picture"


class Clock:
    """A clock that is set by hand."""

    now = 1_000_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def with_files(folder: Path, trial: Callable[[PictureFiles, Database, Clock], Awaitable[None]]) -> None:
    """Run a trial on the pictures of a new home."""

    async def main() -> None:
        database, clock = await Database.open(folder / "freehold.db"), Clock()
        try:
            await trial(pictures_of(database, clock), database, clock)
        finally:
            await database.close()

    asyncio.run(main())


def parts(address: str) -> tuple[str, str, str]:
    """Id, end and signature of an address."""
    query = parse_qs(urlsplit(address).query)
    return urlsplit(address).path.removeprefix(f"{PATH}/"), query["exp"][0], query["sig"][0]


def test_an_address_brings_its_picture_for_a_day(tmp_path: Path) -> None:
    """A picture is found by its address for 24 hours, and then no more, deleted or not."""

    async def trial(files: PictureFiles, database: Database, clock: Clock) -> None:
        where = parts(await files.keep(TENANT, "req", PICTURE, "webp"))
        assert await files.find(*where) == PictureFile(PICTURE, "image/webp", DAY_S)
        clock.now += DAY_S - 1
        assert (await files.find(*where)).left_s == 1
        assert (await sweep_of(database, clock).run())["pictures"] == 0
        clock.now += 1
        with pytest.raises(NotFound):
            await files.find(*where)
        assert (await sweep_of(database, clock).run())["pictures"] == 1
        assert await get_kept_picture(database, where[0]) is None

    with_files(tmp_path, trial)


def test_an_address_cannot_be_made_or_changed(tmp_path: Path) -> None:
    """Another id, another end, another or no signature and another home's secret bring nothing."""

    async def trial(files: PictureFiles, database: Database, clock: Clock) -> None:
        picture_id, end, signature = parts(await files.keep(TENANT, "req", PICTURE, "png"))
        other = parts(await files.keep(TENANT, "req", b"other", "png"))
        wrong = [
            (picture_id, str(int(end) + 1), signature),
            (picture_id, end, other[2]),
            (other[0], end, signature),
            (picture_id, end, ""),
            (picture_id, end, "é\udc80"),
            (f"{picture_id}\n{end}", "", signature),
        ]
        for where in wrong:
            with pytest.raises(NotFound):
                await files.find(*where)
        with pytest.raises(NotFound):
            await pictures_of(database, clock, signing_key=b"t" * 32).find(picture_id, end, signature)
        assert (await files.find(picture_id, end, signature)).data == PICTURE

    with_files(tmp_path, trial)


def test_pictures_lie_encrypted_and_bound_to_their_place(tmp_path: Path) -> None:
    """Nothing of a picture stands in the database, and ciphertext under another id, project or owner opens nothing."""

    async def trial(files: PictureFiles, database: Database, _: Clock) -> None:
        first, second = [parts(await files.keep(TENANT, "req", PICTURE + n, "png")) for n in (b"1", b"2")]
        row = await get_kept_picture(database, first[0])
        assert row is not None
        assert PICTURE not in row.picture
        assert len(row.picture) > len(PICTURE)
        moved = replace(row, id="img-moved")
        stolen = replace(row, id="img-stolen", project_id="other")
        taken = replace(row, id="img-taken", owner_id="other")
        for each in (moved, stolen, taken):
            await put_kept_picture(database, each)
            with pytest.raises(NotFound):
                await files.find(each.id, str(each.expires_at), files._signature(each.id, str(each.expires_at)))
        assert (await files.find(*second)).data == PICTURE + b"2"

    with_files(tmp_path, trial)
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert PICTURE not in stored
