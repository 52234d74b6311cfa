"""Pictures that are answered as an address: kept for 24 hours, encrypted, and given to whoever has the address.

The address is signed: HMAC-SHA256 over the picture's id and the moment of its end, under a key that is derived from the
home's secret. So an address cannot be guessed, nor made to last longer, and a wrong one costs no look into the store.
"""

import base64
import hmac
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from freehold.errors import NotFound
from freehold.gateway.sealing import derived, seal, unseal
from freehold.store.database import Database
from freehold.store.kept_pictures import KeptPictureRow, delete_expired_pictures, get_kept_picture, put_kept_picture
from freehold.types.images import OutputFormat

KEPT_S = 24 * 3600
PATH = "/v1/images/files"
MEDIA_TYPES: dict[OutputFormat, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A kept picture: the file, its media type, and how many seconds its address still holds."""

    data: bytes
    media_type: str
    left_s: int


class PictureFiles:
    """The kept pictures of one home.

    Args:
        database: where they lie.
        secret: from which the keys are derived.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._secret = secret
        self._clock = clock
        self._signing_key = derived(secret, b"freehold picture addresses")

    async def keep(self, project_id: str, request_id: str, data: bytes, output_format: OutputFormat) -> str:
        """Keep a picture for 24 hours; the path and the query of its address.

        Raises:
            HomeError: the database cannot be written.
        """
        picture_id = f"img-{secrets.token_hex(16)}"
        expires_at = math.ceil(self._clock() + KEPT_S)
        sealed = seal(self._key(project_id), data, picture_id.encode())
        await put_kept_picture(
            self._database,
            KeptPictureRow(picture_id, project_id, request_id, MEDIA_TYPES[output_format], sealed, expires_at),
        )
        return f"{PATH}/{picture_id}?exp={expires_at}&sig={self._signature(picture_id, str(expires_at))}"

    async def find(self, picture_id: str, expires_at: str, signature: str) -> PictureFile:
        """The picture of an address.

        Raises:
            NotFound: the address is wrong or has ended; which of both is not told.
        """
        given = signature.encode("utf-8", "replace")
        if not hmac.compare_digest(self._signature(picture_id, expires_at).encode(), given):
            raise _gone()
        row = await get_kept_picture(self._database, picture_id)
        if row is None or row.expires_at <= self._clock():
            raise _gone()
        data = unseal(self._key(row.project_id), row.picture, row.id.encode())
        if data is None:
            raise _gone()
        return PictureFile(data, row.media_type, math.floor(row.expires_at - self._clock()))

    async def expire(self) -> int:
        """Delete those whose address has ended; how many they were."""
        return await delete_expired_pictures(self._database, self._clock())

    def _signature(self, picture_id: str, expires_at: str) -> str:
        text = f"{picture_id}\n{expires_at}".encode("utf-8", "replace")
        return base64.urlsafe_b64encode(hmac.digest(self._signing_key, text, "sha256")).decode().rstrip("=")

    def _key(self, project_id: str) -> bytes:
        return derived(self._secret, b"freehold kept picture " + project_id.encode())


def _gone() -> NotFound:
    return NotFound("There is no such picture, or its address has ended: addresses of pictures hold for 24 hours.")
