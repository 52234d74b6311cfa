"""Reading back where a picture came from."""

from typing import Any

from freehold.errors import InvalidRequest
from freehold.provenance.frames import Frame
from freehold.provenance.process import Bounds, WorkerProcess, WorkerRefusal

TIME_S = 20.0
MEMORY_BYTES = 1 << 30


class ProvenanceReader:
    """Reads manifests and marks of files of unknown origin, in a worker process that has no key.

    Args:
        bounds: what one file may take.
    """

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._worker = WorkerProcess(bounds=bounds or Bounds(TIME_S, MEMORY_BYTES))

    async def read(self, data: bytes, issuers: str) -> dict[str, Any]:
        """What a file says of its origin, and whether it can be believed: a `ProvenanceReport` as JSON values.

        Args:
            data: the file; its format is told by its content.
            issuers: certificates of the authorities whose signatures are expected, as PEM; empty for none.

        Raises:
            InvalidRequest: it is no PNG, JPEG or WebP.
            ProvenanceUnavailable: it cannot be read in the time and memory there is.
        """
        try:
            answer = await self._worker.ask(Frame({"do": "read", "issuers": issuers}, (data,)))
        except WorkerRefusal as exc:
            raise InvalidRequest(
                f"The file cannot be read: {exc.message}.", param="file", code="unreadable_picture"
            ) from exc
        report: dict[str, Any] = answer.values["report"]
        return report

    async def close(self) -> None:
        """End the worker."""
        await self._worker.close()
