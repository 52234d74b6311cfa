"""Files that callers upload to be used by other operations."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field

from freehold.types.base import RequestModel, SettingsModel

MEBIBYTE: Final = 1024 * 1024


class Purpose(StrEnum):
    """What a file is for, in OpenAI's words."""

    ASSISTANTS = "assistants"
    BATCH = "batch"
    BATCH_OUTPUT = "batch_output"
    """Of files that batches make; nobody uploads them."""
    FINE_TUNE = "fine-tune"
    FINE_TUNE_RESULTS = "fine-tune-results"
    """Of files that fine-tuning jobs make; nobody uploads them."""
    VISION = "vision"
    USER_DATA = "user_data"
    EVALS = "evals"


class FilesSettings(SettingsModel):
    """`[files]`: how much callers may upload. Sizes are bytes."""

    max_bytes: Annotated[int, Field(ge=1024, le=8192 * MEBIBYTE)] = 512 * MEBIBYTE
    """Of one file."""
    max_project_bytes: Annotated[int, Field(ge=1024)] = 10_240 * MEBIBYTE
    """Of all files of a project together."""


class ExpiresAfter(RequestModel):
    """When a file ends: so many seconds after it was made, an hour to thirty days."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]


def _uploaded(purpose: Purpose) -> Purpose:
    if purpose is Purpose.BATCH_OUTPUT:
        raise ValueError("cannot be 'batch_output', of which only batches make files")
    if purpose is Purpose.FINE_TUNE_RESULTS:
        raise ValueError("cannot be 'fine-tune-results', of which only fine-tuning jobs make files")
    return purpose


UploadPurpose: TypeAlias = Annotated[Purpose, Field(strict=False), AfterValidator(_uploaded)]
"""What an uploaded file may be for."""


class FileRequest(RequestModel):
    """What stands beside the file in the form."""

    purpose: UploadPurpose
    expires_after: ExpiresAfter | None = None


class UploadRequest(RequestModel):
    """A file that is to come in parts."""

    filename: str
    purpose: UploadPurpose
    bytes: Annotated[int, Field(ge=1)]
    mime_type: Annotated[str, Field(max_length=255)]
    expires_after: ExpiresAfter | None = None


class CompleteRequest(RequestModel):
    """Which parts make the file, in their order; `md5` is that of all of it, in hex."""

    part_ids: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=1000)]
    md5: Annotated[str, Field(pattern="^[0-9a-fA-F]{32}$")] | None = None


@dataclass(frozen=True, slots=True)
class FileQuery:
    """Which files are listed.

    Args:
        purpose: only those for it; None for all.
        limit: how many at most.
        newest_first: the order.
        after: the id of the last file that the caller has seen.
    """

    purpose: Purpose | None = None
    limit: int = 10_000
    newest_first: bool = True
    after: str | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a project.

    Args:
        id: names it.
        filename: as the caller called it.
        purpose: what it is for.
        size: in bytes.
        sha256: of its content, in hex.
        created_at: in seconds since the epoch, as the next.
        expires_at: from when on it counts as absent.
    """

    id: str
    filename: str
    purpose: Purpose
    size: int
    sha256: str
    created_at: int
    expires_at: int


UploadStatus: TypeAlias = Literal["pending", "completed", "cancelled"]


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """A file that comes in parts.

    Args:
        id: names it.
        filename: as the caller called it.
        purpose: what the file is for.
        size: which it is to have, in bytes.
        status: how far it is.
        created_at: in seconds since the epoch, as the next.
        expires_at: until when parts are taken.
        file: the file, once it is complete.
    """

    id: str
    filename: str
    purpose: Purpose
    size: int
    status: UploadStatus
    created_at: int
    expires_at: int
    file: StoredFile | None = None


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part of a file that is to come: its id, that of its upload, and when it was added."""

    id: str
    upload_id: str
    created_at: int
