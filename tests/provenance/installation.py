"""An installation that signs pictures and reads them back, and pictures to give it."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from freehold.config import ProvenanceSettings
from freehold.provenance.finisher import Finisher
from freehold.provenance.process import Bounds
from freehold.provenance.reader import ProvenanceReader
from freehold.store.home import Home
from freehold.types.images import OutputFormat, PictureFacts, PictureOperation

FORMATS: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")


@dataclass(frozen=True)
class Installation:
    """A home with its two workers."""

    home: Home
    finisher: Finisher
    reader: ProvenanceReader

    async def paint(self, format_name: OutputFormat = "png", size: int = 48, **facts: Any) -> bytes:
        """The finished file of a picture."""
        return await self.finisher.finish(
            noise(size), format=format_name, compression=None, facts=picture_facts(**facts)
        )

    async def read(self, data: bytes, issuers: str | None = None) -> dict[str, Any]:
        """The report of a file, expecting this installation's signature unless told otherwise."""
        return await self.reader.read(data, self.issuers() if issuers is None else issuers)

    def issuers(self) -> str:
        """The certificates to verify this installation's pictures with."""
        return self.home.picture_issuer.read_text(encoding="utf-8")


@asynccontextmanager
async def installation(
    folder: Path, *, bounds: Bounds | None = None, settings: ProvenanceSettings | None = None
) -> AsyncIterator[Installation]:
    """An installation in a folder; its workers end with the block."""
    home = Home(folder)
    with home.locked():
        finisher = Finisher(home, settings or ProvenanceSettings(), bounds)
        reader = ProvenanceReader(bounds)
        try:
            yield Installation(home, finisher, reader)
        finally:
            await finisher.close()
            await reader.close()


def picture_facts(**changes: Any) -> PictureFacts:
    """What a picture says about itself, with changes."""
    facts: dict[str, Any] = {
        "request_id": "req_lighthouse",
        "operation": PictureOperation.GENERATION,
        "deployment": "paint",
        "model": "starter-painter",
        "weights_sha256": "ab" * 32,
        "prompt_digest": "cd" * 32,
        "seed": 7,
        "created": 1_764_000_000,
    }
    return PictureFacts(**{**facts, **changes})


def noise(size: int = 48) -> bytes:
    """A PNG as an engine makes it: RGB, square."""
    return png(Image.effect_noise((size, size), 60).convert("RGB"))


def png(picture: Image.Image, **options: Any) -> bytes:
    """A picture as a PNG file."""
    out = io.BytesIO()
    picture.save(out, "PNG", **options)
    return out.getvalue()


def pixels(data: bytes) -> Image.Image:
    """A file's picture."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture.copy()
