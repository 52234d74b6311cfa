"""Which of these tests this interpreter can run: those marked `torch` run in .venv-train, as `make test` does."""

from importlib.util import find_spec
from pathlib import Path

MARK = "pytest.mark.torch"
HAS_TORCH = find_spec("torch") is not None
HAS_CLIENTS = find_spec("openai") is not None
"""Whether this is the environment of all other tests."""


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out files that import what is not here."""
    if collection_path.suffix == ".py" and collection_path.name.startswith("test_"):
        needs_torch = MARK in collection_path.read_text(encoding="utf-8")
        return True if not (HAS_TORCH if needs_torch else HAS_CLIENTS) else None
    return None
