"""The manifest: what a backup holds. It is the archive's last member, so that an archive without it is not whole."""

from typing import Annotated, Any, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from freehold.errors import BackupDamaged

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
MAX_BYTES: Final = 256 * 1024 * 1024

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileEntry(_Part):
    """A file of the archive, by its path in the home."""

    path: str
    size: Count
    sha256: Sha256


class JournalEnd(_Part):
    """Where the journal of a backup ends: behind the record `seq`, whose line has the SHA-256 `head`."""

    writer: str
    segment: Count
    offset: Count
    seq: Count
    head: Sha256
    checkpoint: dict[str, Any] | None
    """The newest checkpoint before that, as `freehold audit anchor` keeps it."""


class ModelEntry(_Part):
    """A model that the home knew, and whether its weights are in the archive."""

    name: str
    source: str
    source_sha256: Sha256
    sha256: Sha256
    size_bytes: Count
    included: bool


class Manifest(_Part):
    """What a backup holds. `made_at` is the moment that it shows, RFC 3339 in UTC; `version` is Freehold's."""

    object: Literal["freehold.backup"] = "freehold.backup"
    format: Count = FORMAT
    version: str
    made_at: str
    journal: JournalEnd
    models: tuple[ModelEntry, ...]
    configuration: str | None
    """The path of the configuration file, if there is one."""
    files: tuple[FileEntry, ...]

    def encoded(self) -> bytes:
        """The manifest as it stands in the archive."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2)

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """Read a manifest.

        Raises:
            BackupDamaged: it is none, or of a newer Freehold.
        """
        try:
            found = orjson.loads(data)
            newer = found["format"] > FORMAT
        except (ValueError, KeyError, TypeError) as exc:
            raise BackupDamaged("the backup's manifest is damaged") from exc
        if newer:
            raise BackupDamaged("the backup was made by a newer Freehold; restore it with that version")
        try:
            return cls.model_validate_json(data)
        except ValidationError as exc:
            first = exc.errors()[0]
            where = ".".join(str(step) for step in first["loc"])
            raise BackupDamaged(f"the backup's manifest is damaged: {where}: {first['msg']}") from exc
