"""What a folder on this machine says of how its weights came to be, where `freehold train export` wrote it."""

import asyncio
from pathlib import Path

from pydantic import ValidationError

from freehold.catalog.sources import Report, Source
from freehold.errors import DigestMismatch, UnsupportedModelFormat
from freehold.types.training_statement import MAX_STATEMENT_BYTES, STATEMENT, TrainingStatement


async def fetch_statement(
    source: Source, folder: Path, weights_sha256: str, report: Report
) -> TrainingStatement | None:
    """The statement beside the weights; None where there is none.

    Args:
        source: an opened source.
        folder: where a copy goes.
        weights_sha256: of the weights that were fetched.
        report: is told how far it is.

    Raises:
        UnsupportedModelFormat: it is damaged.
        DigestMismatch: it speaks of other weights.
    """
    copy = folder / STATEMENT
    if not await source.get(STATEMENT, copy, report):
        return None
    statement = await asyncio.to_thread(_read, copy)
    if statement.weights_sha256 != weights_sha256:
        raise DigestMismatch(
            f"The {STATEMENT} beside the weights speaks of weights with the SHA-256 {statement.weights_sha256}, and "
            f"these have {weights_sha256}; export them again, or remove that file.",
            param="source",
        )
    return statement


def _read(path: Path) -> TrainingStatement:
    if path.stat().st_size > MAX_STATEMENT_BYTES:
        raise UnsupportedModelFormat(f"The {STATEMENT} beside the weights is too large.", param="source")
    try:
        return TrainingStatement.model_validate_json(path.read_bytes())
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnsupportedModelFormat(
            f"The {STATEMENT} beside the weights is damaged: {where or 'as a whole'}: {first['msg']}.", param="source"
        ) from exc
