"""Finishing pictures: what an engine painted becomes a file of the asked format that tells where it came from."""

from dataclasses import asdict

import structlog

from freehold.config import ProvenanceSettings
from freehold.errors import EngineFailed, FreeholdError, InvalidRequest, ProvenanceUnavailable
from freehold.provenance.certificate import load_credentials
from freehold.provenance.frames import UNREADABLE, UNREADABLE_PARENT, Frame
from freehold.provenance.process import Bounds, WorkerProcess, WorkerRefusal
from freehold.store.home import Home
from freehold.types.images import OutputFormat, PictureFacts

log = structlog.get_logger(__name__)


class Finisher:
    """Encodes, marks and signs pictures, in a worker process that is started at the first one.

    Args:
        home: where the certificate is.
        settings: whose certificate.
        bounds: what one picture may take.
    """

    def __init__(self, home: Home, settings: ProvenanceSettings, bounds: Bounds | None = None) -> None:
        self._home = home
        self._settings = settings
        self._bounds = bounds
        self._worker: WorkerProcess | None = None

    @property
    def worker_pid(self) -> int | None:
        """The worker's process id; None while there is none."""
        return self._worker.pid if self._worker is not None else None

    async def finish(
        self,
        png: bytes,
        *,
        format: OutputFormat,  # noqa: A002  # OpenAI's word
        compression: int | None,
        facts: PictureFacts,
    ) -> bytes:
        """The file of a picture, with the IPTC mark and a signed C2PA manifest; nothing else of the PNG but its pixels.

        Args:
            png: the picture as the engine made it, RGB or RGBA.
            format: of the file.
            compression: quality of JPEG and WebP from 0 to 100.
            facts: what the manifest says.

        Raises:
            EngineFailed: the engine's picture is no PNG, or too large.
            InvalidRequest: a parent is no PNG, JPEG or WebP.
            ProvenanceUnavailable: it cannot be signed; a picture without its manifest is not given out.
        """
        values = asdict(facts)
        parents = values.pop("parents")
        request = Frame(
            {"do": "finish", "format": format, "compression": compression, "facts": values}, (png, *parents)
        )
        try:
            answer = await self._running().ask(request)
        except WorkerRefusal as exc:
            raise _told(exc) from exc
        return answer.blobs[0]

    async def close(self) -> None:
        """End the worker; a picture that is being finished fails."""
        if self._worker is not None:
            await self._worker.close()

    def _running(self) -> WorkerProcess:
        if self._worker is None:
            try:
                credentials = load_credentials(self._home, self._settings)
            except FreeholdError as exc:
                log.error("provenance_certificate_unusable", reason=exc.message)  # noqa: TRY400  # it says all there is
                raise ProvenanceUnavailable("Pictures cannot be signed; see the server's log.") from exc
            self._worker = WorkerProcess({"do": "open", **asdict(credentials)}, self._bounds)
        return self._worker


def _told(refusal: WorkerRefusal) -> FreeholdError:
    """A refusal as the caller is told it."""
    if refusal.kind == UNREADABLE:
        return EngineFailed(f"The engine's picture cannot be read: {refusal.message}.")
    if refusal.kind == UNREADABLE_PARENT:
        return InvalidRequest(f"The image cannot be read: {refusal.message}.", param="image")
    log.error("picture_not_signed", reason=refusal.message)
    return ProvenanceUnavailable("The picture cannot be signed; see the server's log.")
