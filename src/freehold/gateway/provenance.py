"""Where a picture came from, told to those who may ask."""

import asyncio
from pathlib import Path
from typing import Any

from freehold.governance.authorization import require
from freehold.provenance.reader import ProvenanceReader
from freehold.types.identity import Action, Principal


class Provenance:
    """Reads files that callers send.

    Args:
        reader: does the reading.
        issuer: the file with the certificates that this installation's pictures are verified with.
    """

    def __init__(self, reader: ProvenanceReader, issuer: Path) -> None:
        self._reader = reader
        self._issuer = issuer

    async def read(self, principal: Principal, data: bytes) -> dict[str, Any]:
        """The report of a file, expecting this installation's signature.

        Raises:
            Forbidden: the principal may not ask.
            InvalidRequest: it is no PNG, JPEG or WebP.
            ProvenanceUnavailable: it cannot be read in the time and memory there is.
        """
        require(principal, Action.READ_PROVENANCE, "provenance")
        return await self._reader.read(data, await asyncio.to_thread(self._issuers))

    def _issuers(self) -> str:
        """The certificates; none before the first picture was signed."""
        return self._issuer.read_text(encoding="utf-8") if self._issuer.is_file() else ""
