"""Files that come in parts, on a real database."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from freehold.errors import Forbidden, InvalidRequest, NotFound, ZeroRetention
from freehold.gateway.file_store import PIECE_BYTES, RECEIVING_S, FileStore
from freehold.gateway.file_uploads import PART_BYTES, FileUploads
from freehold.gateway.files import Files
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.store.tables import kept_file_pieces, kept_files
from freehold.types.content import RetentionSettings
from freehold.types.files import CompleteRequest, ExpiresAfter, FileQuery, FilesSettings, Purpose, UploadRequest
from freehold.types.identity import DATA_PLANE, Action, Principal
from freehold.types.images import HeldUpload
from tests.gateway.kept import cipher_of, sweep_of

ANN = Principal("org", "proj_a", "ann", actions=DATA_PLANE)
BOB = replace(ANN, id="bob")
ELSEWHERE = replace(ANN, project_id="proj_b")


class Clock:
    """A clock that is set by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@dataclass(frozen=True, slots=True)
class Trial:
    """What a test has."""

    uploads: FileUploads
    files: Files
    database: Database
    clock: Clock

    async def begin(self, size: int, name: str = "a.txt", purpose: str = "user_data") -> str:
        """An upload's id."""
        request = UploadRequest(filename=name, purpose=Purpose(purpose), bytes=size, mime_type="text/plain")
        return (await self.uploads.begin(ANN, request)).id

    async def add(self, upload_id: str, data: bytes, who: Principal = ANN) -> str:
        """A part's id."""
        return (await self.uploads.add(who, upload_id, HeldUpload(data))).id

    async def complete(self, upload_id: str, *part_ids: str, who: Principal = ANN) -> str:
        """The id of the file that the parts make."""
        done = await self.uploads.complete(who, upload_id, CompleteRequest(part_ids=list(part_ids)))
        assert done.file is not None
        return done.file.id

    async def rows(self) -> tuple[int, int]:
        """How many files and uploads there are, and how many pieces."""
        async with self.database.read() as connection:
            return (
                int((await connection.execute(select(func.count()).select_from(kept_files))).scalar_one()),
                int((await connection.execute(select(func.count()).select_from(kept_file_pieces))).scalar_one()),
            )


def with_uploads(
    folder: Path,
    trial: Callable[[Trial], Awaitable[None]],
    settings: FilesSettings | None = None,
    *,
    zero: bool = False,
) -> None:
    """Run a trial on the uploads of a new home."""

    async def main() -> None:
        database, clock = await Database.open(folder / "freehold.db"), Clock()
        retention = RetentionRegistry(database, RetentionSettings(zero=zero))
        store = FileStore(database, cipher_of(database), retention, settings or FilesSettings(), clock=clock)
        try:
            await trial(Trial(FileUploads(store), Files(store), database, clock))
        finally:
            await database.close()

    asyncio.run(main())


def test_parts_become_one_file(tmp_path: Path) -> None:
    """Parts of several members, in the order that is asked for, are one file; those that are left out go."""
    data = bytes(range(256)) * 4096

    async def trial(home: Trial) -> None:
        upload = await home.begin(len(data))
        second = await home.add(upload, data[PIECE_BYTES + 5 :], BOB)
        first = await home.add(upload, data[: PIECE_BYTES + 5])
        file_id = await home.complete(upload, first, second, who=BOB)
        _, pieces = await home.files.content(ANN, file_id)
        assert b"".join([piece async for piece in pieces]) == data
        assert await home.rows() == (1, 3)
        for again in (home.add(upload, b"x"), home.complete(upload, first, second), home.uploads.cancel(ANN, upload)):
            with pytest.raises(NotFound):
                await again
        await home.files.delete(ANN, file_id)
        assert await home.rows() == (0, 0)

    with_uploads(tmp_path, trial)


def test_another_projects_upload_does_not_exist(tmp_path: Path) -> None:
    """Nobody outside the project adds to it, completes or cancels it, nor makes a file of its parts in one's own."""

    async def trial(home: Trial) -> None:
        upload = await home.begin(4)
        part = await home.add(upload, b"text")
        for other in (ELSEWHERE, replace(ANN, organization_id="org-2")):
            for ask in (
                home.add(upload, b"x", other),
                home.complete(upload, part, who=other),
                home.uploads.cancel(other, upload),
            ):
                with pytest.raises(NotFound, match="No such Upload"):
                    await ask
        request = UploadRequest(filename="b.txt", purpose=Purpose.USER_DATA, bytes=4, mime_type="text/plain")
        theirs = await home.uploads.begin(ELSEWHERE, request)
        with pytest.raises(InvalidRequest, match="parts of this upload"):
            await home.complete(theirs.id, part, who=ELSEWHERE)
        assert await home.complete(upload, part)

    with_uploads(tmp_path, trial)


def test_an_upload_is_no_file_and_a_file_no_upload(tmp_path: Path) -> None:
    """Until it is complete an upload is not among the files, and a file that is there takes no parts."""

    async def trial(home: Trial) -> None:
        upload = await home.begin(4)
        part = await home.add(upload, b"text")
        assert await home.files.list(ANN, FileQuery()) == ([], False)
        with pytest.raises(NotFound):
            await home.files.get(ANN, upload)
        with pytest.raises(NotFound):
            await home.files.delete(ANN, upload)
        file_id = await home.complete(upload, part)
        with pytest.raises(NotFound):
            await home.add(file_id, b"more")

    with_uploads(tmp_path, trial)


def test_who_may_not_write_uploads_nothing(tmp_path: Path) -> None:
    """Reading files is not enough."""

    async def trial(home: Trial) -> None:
        reader = replace(ANN, actions=frozenset({Action.READ_FILES}))
        upload = await home.begin(4)
        request = UploadRequest(filename="b.txt", purpose=Purpose.USER_DATA, bytes=4, mime_type="text/plain")
        asked = (
            home.uploads.begin(reader, request),
            home.add(upload, b"text", reader),
            home.complete(upload, "part_0", who=reader),
            home.uploads.cancel(reader, upload),
        )
        for ask in asked:
            with pytest.raises(Forbidden):
                await ask

    with_uploads(tmp_path, trial)


class Breaking(HeldUpload):
    """A part that breaks off after its first piece."""

    async def pieces(self, size: int) -> AsyncGenerator[bytes]:
        """One piece, then an error."""
        yield self._data[:size]
        raise ConnectionError("gone")


def test_what_is_not_finished_goes(tmp_path: Path) -> None:
    """A part that breaks off was never there, a cancelled upload leaves nothing, a forgotten one goes in an hour."""

    async def trial(home: Trial) -> None:
        upload = await home.begin(3 * PIECE_BYTES)
        with pytest.raises(ConnectionError):
            await home.uploads.add(ANN, upload, Breaking(b"x" * 2 * PIECE_BYTES))
        assert await home.rows() == (1, 0)
        part = await home.add(upload, b"x" * 3 * PIECE_BYTES)
        await home.uploads.cancel(BOB, upload)
        assert await home.rows() == (0, 0)
        upload = await home.begin(4)
        part = await home.add(upload, b"text")
        home.clock.now += RECEIVING_S
        with pytest.raises(NotFound, match="has expired"):
            await home.complete(upload, part)
        assert (await sweep_of(home.database, home.clock).run())["files"] == 1
        assert await home.rows() == (0, 0)

    with_uploads(tmp_path, trial)


def test_parts_have_bounds(tmp_path: Path) -> None:
    """No part is empty or larger than 64 MiB, and together they are no more than was said and is allowed."""

    async def trial(home: Trial) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await home.begin(2049)
        assert (refused.value.param, refused.value.code) == ("bytes", "file_too_large")
        upload = await home.begin(2048)
        with pytest.raises(InvalidRequest, match="2148 bytes together"):
            await home.begin(100)
        for data in (b"", b"x" * 2049):
            with pytest.raises(InvalidRequest) as refused:
                await home.add(upload, data)
            assert refused.value.param == "data"
        huge = HeldUpload(b"")
        huge.size = PART_BYTES + 1
        with pytest.raises(InvalidRequest, match=str(PART_BYTES)):
            await home.uploads.add(ANN, upload, huge)
        assert await home.rows() == (1, 0)

    with_uploads(tmp_path, trial, FilesSettings(max_bytes=2048, max_project_bytes=2100))


def test_parts_that_come_at_the_same_time_stay_within_the_bound(tmp_path: Path) -> None:
    """Of eight parts at once no more are kept than fit; what was refused is gone, and can be sent again."""

    async def trial(home: Trial) -> None:
        upload = await home.begin(8)
        found = await asyncio.gather(*(home.add(upload, b"text") for _ in range(8)), return_exceptions=True)
        kept = [each for each in found if isinstance(each, str)]
        assert all(isinstance(each, InvalidRequest) for each in found if each not in kept)
        assert len(kept) <= 2
        assert await home.rows() == (1, len(kept))
        while len(kept) < 2:
            kept.append(await home.add(upload, b"text"))
        assert await home.complete(upload, *kept)

    with_uploads(tmp_path, trial)


def test_a_file_of_parts_must_fit_its_purpose(tmp_path: Path) -> None:
    """The content is looked at when it is complete, over the borders of parts; a refused one can still be mended."""
    line = b'{"custom_id": "' + b"x" * 3000 + b'"}\n'

    async def trial(home: Trial) -> None:
        upload = await home.begin(len(line), "a.jsonl", "batch")
        parts = [await home.add(upload, line[start : start + 1000]) for start in range(0, len(line), 1000)]
        with pytest.raises(InvalidRequest, match="line 1 cannot be parsed"):
            await home.complete(upload, *reversed(parts))
        assert await home.complete(upload, *parts)
        with pytest.raises(InvalidRequest) as refused:
            await home.begin(4, "../a.jsonl", "batch")
        assert refused.value.code == "invalid_file_name"

    with_uploads(tmp_path, trial)


def test_a_file_of_parts_ends_as_it_was_asked_to(tmp_path: Path) -> None:
    """`expires_after` of the upload holds for the file, from when it is complete."""

    async def trial(home: Trial) -> None:
        ends = ExpiresAfter(anchor="created_at", seconds=7200)
        request = UploadRequest(
            filename="a.txt", purpose=Purpose.USER_DATA, bytes=4, mime_type="text/plain", expires_after=ends
        )
        upload = (await home.uploads.begin(ANN, request)).id
        part = await home.add(upload, b"text")
        home.clock.now += 600
        made = await home.files.get(ANN, await home.complete(upload, part))
        assert (made.created_at, made.expires_at) == (int(home.clock.now), int(home.clock.now) + 7200)
        home.clock.now += 7199
        assert (await sweep_of(home.database, home.clock).run())["files"] == 0
        assert await home.rows() == (1, 1)
        home.clock.now += 1
        assert (await sweep_of(home.database, home.clock).run())["files"] == 1
        assert await home.rows() == (0, 0)

    with_uploads(tmp_path, trial)


def test_nothing_is_begun_where_nothing_may_be_kept(tmp_path: Path) -> None:
    """Under zero data retention an upload is refused when it begins."""

    async def trial(home: Trial) -> None:
        with pytest.raises(ZeroRetention):
            await home.begin(4)
        assert await home.rows() == (0, 0)

    with_uploads(tmp_path, trial, zero=True)
