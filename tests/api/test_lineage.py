"""`/v1/lineage` and its verification: whatever is tampered with is found and named."""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.app import App, open_app
from freehold.config import Settings, parse_settings
from freehold.governance.directory import ORGANIZATION
from freehold.store.home import Home
from freehold.types.identity import Role
from freehold.types.lineage import Artifact, ArtifactKind
from tests.catalog.making import gguf_bytes
from tests.fuzz.walking import bearer, call

SETTINGS = parse_settings({"server": {"starter": False}}, Settings)
MODEL = gguf_bytes()
BASE, TRAINED, RECIPE = hashlib.sha256(MODEL).hexdigest(), "a" * 64, "b" * 64
DATA = b'{"messages": []}\n'
FORM = (
    b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="train.jsonl"\r\n\r\n' + DATA + b"\r\n--b--\r\n"
)


@dataclass(frozen=True, slots=True)
class Trial:
    """A home with a model that was trained on a file."""

    app: App
    home: Home
    key: str
    file_id: str

    async def lineage(self, path: str, key: str | None = None) -> dict[str, Any]:
        """The lineage of something."""
        answer = await call(self.app.asgi, "GET", f"/v1/lineage/{path}", bearer(key or self.key))
        found: dict[str, Any] = json.loads(answer.body)
        return found

    async def faults(self) -> list[tuple[str, str]]:
        """Names of artifacts of which something is wrong, and what."""
        verified = (await self.lineage("ft:base:one?verify=true"))["verified"]
        assert verified["ok"] == (not verified["faults"])
        return [(fault["name"], fault["what"]) for fault in verified["faults"]]


@asynccontextmanager
async def open_trial(folder: Path) -> AsyncIterator[Trial]:
    """A trained model with its base, its recipe and its file, all recorded."""
    (folder / "base.gguf").write_bytes(MODEL)
    async with open_app(folder / "home", SETTINGS, engines=False) as app:
        await app.catalog.pull(f"file://{folder}/base.gguf")
        key = (await app.keys.issue("user", Role.USER))[1]
        form = (b"content-type", b"multipart/form-data; boundary=b")
        file_id = json.loads((await call(app.asgi, "POST", "/v1/files", bearer(key), form, body=FORM)).body)["id"]
        digest = hashlib.sha256(DATA).hexdigest()
        for artifact in (
            Artifact(digest, ArtifactKind.FILE, file_id, (), "org-default", "proj-default"),
            Artifact(RECIPE, ArtifactKind.RECIPE, "ftjob-1", (), "org-default", "proj-default", {"rate": 0.5}),
            Artifact(TRAINED, ArtifactKind.MODEL, "ft:base:one", (BASE, digest, RECIPE), "org-default", "proj-default"),
        ):
            await app.lineage.record(artifact)
        yield Trial(app, app.home, key, file_id)


@contextmanager
def changed(path: Path, before: bytes, after: bytes) -> Iterator[None]:
    """A file in which something is written over, until the block ends."""
    data = path.read_bytes()
    assert before in data
    path.write_bytes(data.replace(before, after, 1))
    try:
        yield
    finally:
        path.write_bytes(data)


def test_a_tree_is_told(tmp_path: Path) -> None:
    """A model's tree has its base, its file and its recipe; an unknown name and another project's are a 404."""

    async def scenario() -> None:
        async with open_trial(tmp_path) as trial:
            found = await trial.lineage("ft:base:one")
            assert (found["object"], found["answer"], found["verified"]) == ("lineage", None, None)
            parents = [(parent["kind"], parent["name"]) for parent in found["tree"]["parents"]]
            assert parents == [("model", "base"), ("file", trial.file_id), ("recipe", "ftjob-1")]
            assert (
                (await trial.lineage(BASE))["tree"]["name"] == (await trial.lineage("base"))["tree"]["name"] == "base"
            )
            directory = trial.app.directory
            project = await directory.create_project(ORGANIZATION, "other")
            member = await directory.create_service_account(ORGANIZATION, project.id, "other", [Role.USER])
            other = (await trial.app.keys.create("other", member, project.id))[1]
            for name in ("nothing", "c" * 64, "ft:base:one?verify=true"):
                assert (await trial.lineage(name, other))["error"]["code"] == "lineage_not_found"
            assert (await trial.lineage("base", other))["tree"]["digest"] == BASE
            assert (await trial.lineage("base?verify=maybe"))["error"]["param"] == "verify"

    asyncio.run(scenario())


def test_what_is_untouched_is_verified(tmp_path: Path) -> None:
    """All four artifacts are found in the signed journal; the bytes of those two that are here are read."""

    async def scenario() -> None:
        async with open_trial(tmp_path) as trial:
            verified = (await trial.lineage("ft:base:one?verify=true"))["verified"]
            assert verified == {"ok": True, "artifacts": 4, "read": 2, "faults": [], "notes": []}

    asyncio.run(scenario())


def test_changed_weights_are_found(tmp_path: Path) -> None:
    """A byte of the weights that is not what was recorded is found, and the model is named."""

    async def scenario() -> None:
        async with open_trial(tmp_path) as trial:
            with changed(trial.home.models / "blobs" / f"sha256-{BASE}", b"llama", b"lIama"):
                assert [(name, what[:22]) for name, what in await trial.faults()] == [
                    ("base", "its bytes have changed")
                ]
            assert await trial.faults() == []

    asyncio.run(scenario())


def execute(path: Path, statement: str) -> None:
    """Change the database beside the service, which may be writing: it must be able to end that meanwhile."""
    with closing(sqlite3.connect(path, timeout=30)) as database, database:
        database.execute(statement)


def test_a_changed_row_is_found(tmp_path: Path) -> None:
    """A fact, a parent and a file that were changed in the database disagree with the journal, and are named."""

    async def scenario() -> None:
        async with open_trial(tmp_path) as trial:
            for statement, name, what in (
                ("UPDATE artifacts SET facts = '{}' WHERE kind = 'recipe'", "ftjob-1", "something else"),
                ("UPDATE kept_file_pieces SET data = zeroblob(64)", trial.file_id, "cannot be decrypted"),
                ("UPDATE artifact_parents SET parent = 'd' WHERE number = 2", "", "nothing is recorded"),
            ):
                await asyncio.to_thread(execute, trial.home.database, statement)
                assert any(known == name and what in told for known, told in await trial.faults()), name

    asyncio.run(scenario())


def test_a_changed_line_of_the_journal_is_found(tmp_path: Path) -> None:
    """An artifact's line that was changed is named; so is every artifact under the same checkpoint."""

    async def scenario() -> None:
        async with open_trial(tmp_path) as trial:
            assert await trial.faults() == []
            segment = next((trial.home.journal / "main").glob("*.jsonl"))
            with changed(segment, b'"rate":"0.5"', b'"rate":"0.6"'):
                found = dict(await trial.faults())
            assert "something else than the database" in found["ftjob-1"]
            assert "are not those that the checkpoint" in found["ft:base:one"]

    asyncio.run(scenario())
