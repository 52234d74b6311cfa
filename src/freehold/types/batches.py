"""Batches: many requests in a file, answered in a file."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from freehold.types.base import RequestModel, SettingsModel
from freehold.types.chat import Metadata
from freehold.types.files import MEBIBYTE, ExpiresAfter

BATCH_JOB: Final = "batch"
"""What a job is called that works on a batch."""
MOST_LINES: Final = 100_000
MOST_BYTES: Final = 200 * MEBIBYTE
"""Of an input file."""
WINDOW_S: Final = 86_400
"""How long a batch may take: `24h`."""
MAX_CUSTOM_ID: Final = 512
"""Characters of a `custom_id`."""

Endpoint: TypeAlias = Literal[
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/moderations",
    "/v1/images/generations",
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/responses",
    "/moderations",
    "/images/generations",
]
"""What the lines of a batch ask for: as OpenAI names it, and as Azure does."""


class BatchStatus(StrEnum):
    """How far a batch is."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


BATCH_ENDED: Final = frozenset({BatchStatus.FAILED, BatchStatus.COMPLETED, BatchStatus.EXPIRED, BatchStatus.CANCELLED})
"""States that no batch leaves."""


class BatchesSettings(SettingsModel):
    """`[batches]`: how much may wait in batches, and what their lines cost."""

    max_enqueued_tokens: Annotated[int, Field(ge=1)] = 100_000_000
    """Of the batches of a project that have not ended, together; four bytes of an input file are taken for a token."""
    price_factor: Annotated[Decimal, Field(ge=0, le=1, decimal_places=6)] = Decimal("0.5")
    """By which a deployment's price is multiplied for the lines of batches."""


class BatchRequest(RequestModel):
    """A batch that is to be made."""

    input_file_id: Annotated[str, Field(min_length=1, max_length=64)]
    endpoint: Endpoint
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None


@dataclass(frozen=True, slots=True)
class BatchProblem:
    """What is wrong with the input of a batch.

    Args:
        code: what, in a word.
        message: what, and what to do about it.
        line: in which line, from 1; None where it is the whole file.
        param: which part of the line, if it is one.
    """

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class LineUsage:
    """The tokens that one line, or several, came to."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class LineResult:
    """What became of a line.

    Args:
        line: its number, from 1.
        failed: whether it belongs into the file of errors.
        content: the line that is written there, without its end.
        usage: what it came to.
    """

    line: int
    failed: bool
    content: bytes
    usage: LineUsage = LineUsage()


def operation_of(endpoint: str) -> str:
    """The operation that an endpoint names, as OpenAI writes it."""
    return endpoint if endpoint.startswith("/v1/") else f"/v1{endpoint}"
