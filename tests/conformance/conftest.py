"""A running service for the conformance tests, and the judge of its answers."""

from collections.abc import Iterator

import pytest

from tests.conformance.recording import Dialect, Judge
from tests.conformance.spec import AzureSpec, OpenAISpec

DIALECTS: tuple[Dialect, ...] = ("openai", "azure", "azure-v1")


@pytest.fixture(scope="session")
def specification() -> OpenAISpec | None:
    """OpenAI's specification, where it lies beside the repository."""
    return OpenAISpec.load()


@pytest.fixture
def judge(specification: OpenAISpec | None) -> Iterator[Judge]:
    """Judges every answer of a test; without the specification the answers are only parsed by the client."""
    judge = Judge(specification, AzureSpec.load())
    yield judge
    assert judge.problems == []


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each way in which the official clients call."""
    dialect: Dialect = request.param
    return dialect
