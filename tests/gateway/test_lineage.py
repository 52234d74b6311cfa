"""Artifacts are recorded once, in the journal, and found by those who may see them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.config import JournalSettings
from freehold.gateway.lineage import EVENT, Lineage, Node
from freehold.journal.journal import Journal
from freehold.journal.reader import Cursor, read_lines
from freehold.journal.signer import Signer
from freehold.store.artifacts import Viewer
from freehold.store.database import Database
from freehold.types.lineage import Artifact, ArtifactKind
from tests.catalog.making import gguf_bytes
from tests.catalog.serving import open_catalog

FILE, RECIPE, MODEL, RUN = (digit * 64 for digit in "abcd")


@asynccontextmanager
async def open_lineage(folder: Path) -> AsyncIterator[tuple[Lineage, Journal]]:
    """Lineage on a database and a journal of its own."""
    database = await Database.open(folder / "freehold.db")
    signer = Signer.load_or_create(folder / "journal.pem", folder / "public.pem")
    journal = await Journal.open(folder / "journal", signer, JournalSettings())
    try:
        yield Lineage(database, journal), journal
    finally:
        await journal.close()
        await database.close()


async def record_family(lineage: Lineage) -> None:
    """Record a model, what it was made from, and its evaluation."""
    for artifact in (
        Artifact(FILE, ArtifactKind.FILE, "file-1"),
        Artifact(RECIPE, ArtifactKind.RECIPE, "ftjob-1", facts={"rate": 0.5, "epochs": 3}),
        Artifact(MODEL, ArtifactKind.MODEL, "ft:chat:one", (FILE, RECIPE)),
        Artifact(RUN, ArtifactKind.EVALUATION, "run-1", (MODEL, FILE), facts={"score": 0.25}),
    ):
        await lineage.record(replace(artifact, organization_id="org-1", project_id="proj-1"))


def recorded(journal: Journal) -> list[dict[str, object]]:
    """What the journal says of artifacts."""
    lines = read_lines(journal.folder, Cursor(), journal.durable, 1000)
    return [line.body for line in lines if line.body.get("event") == EVENT]


def names(node: Node) -> object:
    """A tree as nested names."""
    name = node.recorded.artifact.name if node.recorded else None
    return (name, [names(parent) for parent in node.parents], [names(child) for child in node.derived])


def test_an_artifact_is_recorded_once(tmp_path: Path) -> None:
    """Each artifact has one record in the journal however often it comes, with its fractions as text."""

    async def scenario() -> list[dict[str, object]]:
        async with open_lineage(tmp_path) as (lineage, journal):
            await record_family(lineage)
            await asyncio.gather(record_family(lineage), record_family(lineage))
            return recorded(journal)

    found = asyncio.run(scenario())
    assert [body["resource_id"] for body in found] == [FILE, RECIPE, MODEL, RUN]
    assert found[1]["details"] == {
        "kind": "recipe",
        "name": "ftjob-1",
        "parents": [],
        "facts": {"epochs": 3, "rate": "0.5"},
    }
    assert {body["resource_project_id"] for body in found} == {"proj-1"}


def test_a_tree_leads_to_the_data(tmp_path: Path) -> None:
    """A model's tree has its parents and its evaluation, and tells the parents of an artifact in one place only."""

    async def scenario() -> None:
        async with open_lineage(tmp_path) as (lineage, _):
            await record_family(lineage)
            tree = await lineage.tree(MODEL)
            file: object = ("file-1", [], [])
            run: object = ("run-1", [("ft:chat:one", [], []), file], [])
            assert names(tree) == ("ft:chat:one", [file, ("ftjob-1", [], [])], [run])
            assert tree.derived[0].parents[0].again
            assert await lineage.of_model("ft:chat:one") == await lineage.get(MODEL)
            assert await lineage.get("e" * 64) is None

    asyncio.run(scenario())


def test_a_project_sees_its_own_artifacts_only(tmp_path: Path) -> None:
    """Another project sees nothing of an artifact, not even in a tree; the organization and the service see it."""

    async def scenario() -> None:
        async with open_lineage(tmp_path) as (lineage, _):
            await record_family(lineage)
            await lineage.record(Artifact("f" * 64, ArtifactKind.MODEL, "base"))
            own, other = Viewer("org-1", "proj-1"), Viewer("org-1", "proj-2")
            assert await lineage.get(MODEL, other) is None
            assert await lineage.get(MODEL, Viewer("org-2")) is None
            assert names(await lineage.tree(MODEL, other)) == (None, [], [])
            for viewer in (own, Viewer("org-1"), None):
                assert await lineage.of_model("ft:chat:one", viewer) is not None
            assert await lineage.of_model("base", other) is not None

    asyncio.run(scenario())


def test_a_dataset_may_be_the_bytes_of_its_file(tmp_path: Path) -> None:
    """Where two artifacts have the same bytes they stand in one place of the tree, which does not go round."""

    async def scenario() -> None:
        async with open_lineage(tmp_path) as (lineage, _):
            await lineage.record(Artifact(FILE, ArtifactKind.FILE, "file-1"))
            await lineage.record(Artifact(FILE, ArtifactKind.DATASET, "training", (FILE,)))
            tree = await lineage.tree(FILE)
            assert names(tree) == ("training", [], [])
            assert [each.artifact.name for each in tree.also] == ["file-1"]

    asyncio.run(scenario())


def test_what_cannot_be_an_artifact_is_refused(tmp_path: Path) -> None:
    """A digest that is none is an error, and leaves no record."""

    async def scenario() -> None:
        async with open_lineage(tmp_path) as (lineage, journal):
            with pytest.raises(ValueError, match="64 lower-case"):
                await lineage.record(Artifact("A" * 64, ArtifactKind.FILE, "file"))
            assert recorded(journal) == []

    asyncio.run(scenario())


def test_a_pulled_model_is_recorded(tmp_path: Path) -> None:
    """A model is recorded with its source; one that was converted, with the file that it was converted from."""
    (tmp_path / "m.gguf").write_bytes(gguf_bytes())
    digest = hashlib.sha256(gguf_bytes()).hexdigest()

    async def scenario() -> None:
        async with open_lineage(tmp_path) as (lineage, journal), open_catalog(tmp_path / "home") as catalog:
            catalog.on_entry(lineage.record_model)
            entry = await catalog.pull(f"file://{tmp_path}/m.gguf")
            await catalog.pull(f"file://{tmp_path}/m.gguf")
            found = await lineage.of_model(entry.name)
            assert found is not None
            assert (found.digest, found.parents, found.facts["source"]) == (digest, (), entry.source)
            converted = replace(entry, name="converted", source_sha256="1" * 64, format="safetensors")
            await lineage.record_model(converted)
            assert names(await lineage.tree(digest))[1] == [(entry.source, [], [])]  # type: ignore[index]
            await lineage.record_model(replace(entry, name="trained", source="job://ftjob-1"))
            assert len(recorded(journal)) == 3

    asyncio.run(scenario())
