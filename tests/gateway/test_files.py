"""Uploaded files on a real database."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from freehold.errors import ContentUnreadable, Forbidden, InvalidRequest, NotFound, ZeroRetention
from freehold.gateway.file_store import BATCH_S, PIECE_BYTES, RECEIVING_S
from freehold.gateway.files import Files
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.store.tables import kept_file_pieces, kept_files
from freehold.types.content import DAY_S, FILES, RetentionOverride, RetentionSettings, Tenant
from freehold.types.files import ExpiresAfter, FileQuery, FileRequest, FilesSettings, Purpose
from freehold.types.identity import DATA_PLANE, Action, Principal
from freehold.types.images import HeldUpload
from tests.gateway.kept import cipher_of, files_of, sweep_of

ANN = Principal("org", "proj_a", "ann", actions=DATA_PLANE)
BOB = replace(ANN, id="bob")
ELSEWHERE = replace(ANN, project_id="proj_b")
NOTES = FileRequest(purpose=Purpose.USER_DATA)
LINES = b'{"prompt": "a"}\n{"prompt": "b"}\n'


class Clock:
    """A clock that is set by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@dataclass(frozen=True, slots=True)
class Trial:
    """What a test has."""

    files: Files
    database: Database
    clock: Clock


def with_files(folder: Path, trial: Callable[[Trial], Awaitable[None]], settings: FilesSettings | None = None) -> None:
    """Run a trial on the files of a new home."""

    async def main() -> None:
        database, clock = await Database.open(folder / "freehold.db"), Clock()
        try:
            await trial(Trial(files_of(database, clock, settings=settings), database, clock))
        finally:
            await database.close()

    asyncio.run(main())


async def content(files: Files, principal: Principal, file_id: str) -> bytes:
    """All of a file."""
    _, pieces = await files.content(principal, file_id)
    return b"".join([piece async for piece in pieces])


async def rows(database: Database) -> tuple[int, int]:
    """How many files there are, and how many pieces."""
    async with database.read() as connection:
        return (
            int((await connection.execute(select(func.count()).select_from(kept_files))).scalar_one()),
            int((await connection.execute(select(func.count()).select_from(kept_file_pieces))).scalar_one()),
        )


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    """A file of several pieces is found by everybody in its project, whole, and lies in the database encrypted only."""
    data = b"a line of a long text\n" * 100_000

    async def trial(home: Trial) -> None:
        made = await home.files.create(ANN, HeldUpload(data, "Notes \u00e9.txt"), NOTES)
        assert (made.filename, made.size, made.purpose) == ("Notes \u00e9.txt", len(data), Purpose.USER_DATA)
        assert made.sha256 == hashlib.sha256(data).hexdigest()
        assert made.created_at == home.clock.now
        assert await home.files.get(BOB, made.id) == made
        assert await content(home.files, BOB, made.id) == data
        assert await rows(home.database) == (1, -(-len(data) // PIECE_BYTES))

    with_files(tmp_path, trial)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"a line of a long text" not in stored
    assert b"Notes" not in stored


def test_files_of_another_project_do_not_exist(tmp_path: Path) -> None:
    """What is another project's is neither listed nor found, given or deleted."""

    async def trial(home: Trial) -> None:
        made = await home.files.create(ANN, HeldUpload(b"text", "a.txt"), NOTES)
        for other in (ELSEWHERE, replace(ANN, organization_id="org-2")):
            assert await home.files.list(other, FileQuery()) == ([], False)
            for ask in (home.files.get, home.files.content, home.files.delete):
                with pytest.raises(NotFound, match="No such File object"):
                    await ask(other, made.id)
        assert await content(home.files, ANN, made.id) == b"text"

    with_files(tmp_path, trial)


def test_reading_and_writing_are_rights_of_their_own(tmp_path: Path) -> None:
    """Who may not write can still read, and who may do neither does neither."""

    async def trial(home: Trial) -> None:
        made = await home.files.create(ANN, HeldUpload(b"text", "a.txt"), NOTES)
        reader = replace(ANN, actions=frozenset({Action.READ_FILES}))
        nobody = replace(ANN, actions=frozenset({Action.INFER}))
        assert await content(home.files, reader, made.id) == b"text"
        for who in (reader, nobody):
            with pytest.raises(Forbidden):
                await home.files.create(who, HeldUpload(b"text", "a.txt"), NOTES)
            with pytest.raises(Forbidden):
                await home.files.delete(who, made.id)
        for ask in (home.files.get, home.files.content):
            with pytest.raises(Forbidden):
                await ask(nobody, made.id)
        with pytest.raises(Forbidden):
            await home.files.list(nobody, FileQuery())

    with_files(tmp_path, trial)


def test_lists_are_in_order_and_in_pages(tmp_path: Path) -> None:
    """Files are listed newest first or oldest first, by purpose, page by page, each once."""

    async def trial(home: Trial) -> None:
        made = [(await home.files.create(ANN, HeldUpload(b"text", f"{n}.txt"), NOTES)).id for n in range(5)]
        batch = await home.files.create(ANN, HeldUpload(LINES, "b.jsonl"), FileRequest(purpose=Purpose.BATCH))
        found, more = await home.files.list(ANN, FileQuery())
        assert ([each.id for each in found], more) == ([batch.id, *reversed(made)], False)
        assert [each.id for each in (await home.files.list(ANN, FileQuery(purpose=Purpose.BATCH)))[0]] == [batch.id]
        seen: list[str] = []
        more = True
        while more:
            query = FileQuery(limit=2, newest_first=False, after=seen[-1] if seen else None)
            found, more = await home.files.list(ANN, query)
            seen += [each.id for each in found]
        assert seen == [*made, batch.id]

    with_files(tmp_path, trial)


def test_a_deleted_file_leaves_nothing(tmp_path: Path) -> None:
    """With a file its pieces go, and it is found no more, nor deleted twice."""

    async def trial(home: Trial) -> None:
        kept = await home.files.create(ANN, HeldUpload(b"other", "b.txt"), NOTES)
        made = await home.files.create(ANN, HeldUpload(b"x" * 2 * PIECE_BYTES, "a.txt"), NOTES)
        await home.files.delete(BOB, made.id)
        assert await rows(home.database) == (1, 1)
        with pytest.raises(NotFound):
            await home.files.delete(ANN, made.id)
        assert await content(home.files, ANN, kept.id) == b"other"

    with_files(tmp_path, trial)


class Breaking(HeldUpload):
    """An upload that breaks off in its second piece."""

    async def pieces(self, size: int) -> AsyncGenerator[bytes]:
        """One piece, then an error."""
        yield self._data[:size]
        raise ConnectionError("gone")


def test_an_interrupted_upload_leaves_nothing(tmp_path: Path) -> None:
    """Where the caller goes away or the server dies in the middle, the file never was, and its pieces go."""

    async def trial(home: Trial) -> None:
        with pytest.raises(ConnectionError):
            await home.files.create(ANN, Breaking(b"x" * 2 * PIECE_BYTES, "a.txt"), NOTES)
        assert await rows(home.database) == (0, 0)
        made = await home.files.create(ANN, HeldUpload(b"text", "a.txt"), NOTES)
        async with home.database.write() as connection:  # as a server that was killed leaves it
            expires_at = home.clock.now + RECEIVING_S
            await connection.execute(kept_files.update().values(ready=False, expires_at=expires_at))
            await connection.execute(kept_file_pieces.update().values(expires_at=expires_at))
        assert await home.files.list(ANN, FileQuery()) == ([], False)
        with pytest.raises(NotFound):
            await home.files.get(ANN, made.id)
        home.clock.now += RECEIVING_S
        assert (await sweep_of(home.database, home.clock).run())["files"] == 1
        assert await rows(home.database) == (0, 0)

    with_files(tmp_path, trial)


def test_files_end(tmp_path: Path) -> None:
    """A file ends when its request says, one for a batch after 30 days, and both no later than the project's files."""

    async def trial(home: Trial) -> None:
        soon = FileRequest(purpose=Purpose.USER_DATA, expires_after=ExpiresAfter(anchor="created_at", seconds=3600))
        ending = await home.files.create(ANN, HeldUpload(b"text", "a.txt"), soon)
        batch = await home.files.create(ANN, HeldUpload(LINES, "b.jsonl"), FileRequest(purpose=Purpose.BATCH))
        lasting = await home.files.create(ANN, HeldUpload(b"text", "c.txt"), NOTES)
        ends = [each.expires_at - each.created_at for each in (ending, batch, lasting)]
        assert ends == [3600, BATCH_S, FILES.default_s]
        home.clock.now += 3600
        with pytest.raises(NotFound):
            await home.files.content(ANN, ending.id)
        assert len((await home.files.list(ANN, FileQuery()))[0]) == 2
        assert (await sweep_of(home.database, home.clock).run())["files"] == 1
        retention = RetentionRegistry(home.database, RetentionSettings())
        await retention.put("org", "proj_a", RetentionOverride(keep_s={"files": DAY_S}))
        short = await files_of(home.database, home.clock, retention=retention).create(
            ANN, HeldUpload(b"text", "d.txt"), NOTES
        )
        assert short.expires_at == short.created_at + DAY_S
        await sweep_of(home.database, home.clock, retention).run()
        assert (await home.files.get(ANN, lasting.id)).expires_at == lasting.created_at + DAY_S
        home.clock.now += DAY_S
        await sweep_of(home.database, home.clock, retention).run()
        assert await rows(home.database) == (0, 0)

    with_files(tmp_path, trial)


def test_nothing_is_kept_where_nothing_may_be(tmp_path: Path) -> None:
    """Under zero data retention a file is refused before anything of it is written."""

    async def trial(home: Trial) -> None:
        strict = files_of(
            home.database, home.clock, retention=RetentionRegistry(home.database, RetentionSettings(zero=True))
        )
        with pytest.raises(ZeroRetention):
            await strict.create(ANN, HeldUpload(b"text", "a.txt"), NOTES)
        assert await rows(home.database) == (0, 0)

    with_files(tmp_path, trial)


def test_erasing_takes_files_too(tmp_path: Path) -> None:
    """A user's files go with the user, a project's with the project, with every piece."""

    async def trial(home: Trial) -> None:
        for who in (ANN, BOB, ELSEWHERE):
            await home.files.create(who, HeldUpload(b"x" * 3 * PIECE_BYTES, "a.txt"), NOTES)
        sweep = sweep_of(home.database, home.clock)
        assert (await sweep.erase("org", owner_id="ann"))["files"] == 2
        assert await rows(home.database) == (1, 3)
        assert (await sweep.erase("org", project_id="proj_a"))["files"] == 1
        assert await rows(home.database) == (0, 0)

    with_files(tmp_path, trial)


def test_a_piece_does_not_open_in_another_place(tmp_path: Path) -> None:
    """Pieces that are exchanged, taken away or of another file are noticed."""

    async def trial(home: Trial) -> None:
        made = await home.files.create(ANN, HeldUpload(b"x" * PIECE_BYTES + b"y" * PIECE_BYTES, "a.txt"), NOTES)
        pieces = kept_file_pieces
        async with home.database.write() as connection:
            await connection.execute(pieces.update().where(pieces.c.number == 0).values(number=7))
            await connection.execute(pieces.update().where(pieces.c.number == 1).values(number=0))
            await connection.execute(pieces.update().where(pieces.c.number == 7).values(number=1))
        with pytest.raises(ContentUnreadable):
            await content(home.files, ANN, made.id)
        async with home.database.write() as connection:
            await connection.execute(pieces.delete().where(pieces.c.number == 0))
        with pytest.raises(ContentUnreadable, match="not complete"):
            await content(home.files, ANN, made.id)
        async with home.database.write() as connection:
            header = await cipher_of(home.database).seal(Tenant("org", "proj_a", "ann"), FILES.name, "file-x", b"{}")
            await connection.execute(kept_files.update().values(header=header))
        with pytest.raises(ContentUnreadable):
            await home.files.get(ANN, made.id)

    with_files(tmp_path, trial)


def test_files_have_bounds(tmp_path: Path) -> None:
    """An empty file, one that is too large, and one too many for the project are refused and leave nothing."""
    settings = FilesSettings(max_bytes=2048, max_project_bytes=3000)

    async def trial(home: Trial) -> None:
        for data, code in ((b"", "empty_file"), (b"x" * 2049, "file_too_large")):
            with pytest.raises(InvalidRequest) as refused:
                await home.files.create(ANN, HeldUpload(data, "a.txt"), NOTES)
            assert refused.value.code == code
        first = await home.files.create(ANN, HeldUpload(b"x" * 2048, "a.txt"), NOTES)
        with pytest.raises(InvalidRequest, match="3048 bytes together; 3000 are allowed") as refused:
            await home.files.create(BOB, HeldUpload(b"x" * 1000, "a.txt"), NOTES)
        assert refused.value.code == "file_storage_full"
        await home.files.create(ELSEWHERE, HeldUpload(b"x" * 1000, "a.txt"), NOTES)
        await home.files.delete(ANN, first.id)
        await home.files.create(BOB, HeldUpload(b"x" * 1000, "a.txt"), NOTES)
        assert await rows(home.database) == (2, 2)

    with_files(tmp_path, trial, settings)


def test_files_that_come_at_the_same_time_stay_within_the_bound(tmp_path: Path) -> None:
    """Of ten uploads at once so many are taken as there is room for, and the others leave nothing."""

    async def trial(home: Trial) -> None:
        asked = [home.files.create(ANN, HeldUpload(b"x" * 1000, f"{n}.txt"), NOTES) for n in range(10)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        refused = [each.code for each in found if isinstance(each, InvalidRequest)]
        assert refused == ["file_storage_full"] * 7
        assert await rows(home.database) == (3, 3)

    with_files(tmp_path, trial, FilesSettings(max_bytes=2048, max_project_bytes=3500))


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a.txt", "a/b.txt", "a\\b.txt", "a\0.txt", "a\n.txt", "a\u202etxt.exe", "x" * 256]
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    """A name is a plain one: no path, nothing that cannot be seen, no novel."""

    async def trial(home: Trial) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await home.files.create(ANN, HeldUpload(b"text", name), NOTES)
        assert refused.value.code == "invalid_file_name"
        assert await rows(home.database) == (0, 0)

    with_files(tmp_path, trial)


@pytest.mark.parametrize(
    ("purpose", "name", "data"),
    [
        ("batch", "a.txt", LINES),
        ("batch", "a.jsonl", b"no json\n"),
        ("fine-tune", "a.jsonl", b"[1, 2]\n"),
        ("fine-tune", "a.jsonl", b"\0" * 100_000),
        ("evals", "jsonl", LINES),
        ("vision", "a.txt", b"text"),
        ("vision", "a.png", b"text"),
        ("vision", "a.webp", b"RIFF1234WAVE"),
        ("user_data", "a.exe", b"MZ"),
        ("user_data", "a.zip", b"PK\x03\x04"),
        ("user_data", "a.pdf", b"text"),
        ("user_data", "README", b"text"),
        ("assistants", "a.jpg", b"\x89PNG\r\n\x1a\n"),
    ],
)
def test_what_its_purpose_cannot_use_is_refused(tmp_path: Path, purpose: str, name: str, data: bytes) -> None:
    """A file of another kind than its purpose needs, or than its name says, is refused and leaves nothing."""

    async def trial(home: Trial) -> None:
        with pytest.raises(InvalidRequest, match=purpose) as refused:
            await home.files.create(ANN, HeldUpload(data, name), FileRequest(purpose=Purpose(purpose)))
        assert refused.value.code == "invalid_file_format"
        assert await rows(home.database) == (0, 0)

    with_files(tmp_path, trial)


@pytest.mark.parametrize(
    ("purpose", "name", "data"),
    [
        ("batch", "a.JSONL", LINES),
        ("fine-tune", "a.jsonl", b"\xef\xbb\xbf\r\n" + LINES),
        ("evals", "a.jsonl", b'{"one": "line without an end"}'),
        ("fine-tune", "a.jsonl", b'{"long": "' + b"x" * 200_000 + b'"}\n'),
        ("vision", "a.png", b"\x89PNG\r\n\x1a\nrest"),
        ("vision", "a.webp", b"RIFF1234WEBP"),
        ("user_data", "a.pdf", b"%PDF-1.7"),
        ("assistants", "a.b.md", b"# text"),
    ],
)
def test_what_its_purpose_can_use_is_taken(tmp_path: Path, purpose: str, name: str, data: bytes) -> None:
    """Lines, pictures and documents are taken for what they are, whatever the case of their suffix."""

    async def trial(home: Trial) -> None:
        made = await home.files.create(ANN, HeldUpload(data, name), FileRequest(purpose=Purpose(purpose)))
        assert await content(home.files, ANN, made.id) == data

    with_files(tmp_path, trial)
