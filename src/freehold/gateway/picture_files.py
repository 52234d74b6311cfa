"""Pictures that are answered as an address: kept for a while, encrypted, and given to whoever has the address.

The address is signed: HMAC-SHA256 over the picture's id and the moment of its end, under a key that is derived from the
home's pepper. So an address cannot be guessed, nor made to last longer, and a wrong one costs no look into the store.
"""

import base64
import hmac
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from freehold.encryption.cipher import ContentCipher
from freehold.errors import ContentUnreadable, NotFound, ProjectKeyRevoked
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.store.kept_pictures import KeptPictureRow, get_kept_picture, put_kept_picture
from freehold.types.content import PICTURES, Tenant
from freehold.types.images import OutputFormat

PARAM = "response_format"
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
        cipher: encrypts them.
        retention: how long each is kept.
        signing_key: under which addresses are signed.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        cipher: ContentCipher,
        retention: RetentionRegistry,
        signing_key: bytes,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._retention = retention
        self._signing_key = signing_key
        self._clock = clock

    def check(self, tenant: Tenant) -> None:
        """Return if pictures may be kept for a tenant.

        Raises:
            ZeroRetention: nothing is.
        """
        instead = "Ask for the picture itself: 'b64_json'."
        self._retention.check_keeping(tenant.organization_id, tenant.project_id, PARAM, instead)

    async def keep(self, tenant: Tenant, request_id: str, data: bytes, output_format: OutputFormat) -> str:
        """Keep a picture as long as pictures are kept; the path and the query of its address.

        Raises:
            ZeroRetention: nothing is kept for the tenant.
            ContentUnreadable, ProjectKeyRevoked, KeyServiceUnavailable: it cannot be encrypted.
            HomeError: the database cannot be written.
        """
        self.check(tenant)
        picture_id = f"img-{secrets.token_hex(16)}"
        now = self._clock()
        keep_s = self._retention.keep_s(tenant.organization_id, tenant.project_id, PICTURES)
        expires_at = math.ceil(now + keep_s)
        row = KeptPictureRow(
            id=picture_id,
            organization_id=tenant.organization_id,
            project_id=tenant.project_id,
            owner_id=tenant.owner_id,
            request_id=request_id,
            media_type=MEDIA_TYPES[output_format],
            picture=await self._cipher.seal(tenant, PICTURES.name, picture_id, data),
            created_at=math.floor(now),
            expires_at=expires_at,
        )
        await put_kept_picture(self._database, row)
        return f"{PATH}/{picture_id}?exp={expires_at}&sig={self._signature(picture_id, str(expires_at))}"

    async def find(self, picture_id: str, expires_at: str, signature: str) -> PictureFile:
        """The picture of an address.

        Raises:
            NotFound: the address is wrong or has ended, or the project's key is revoked; which of these is not told.
            KeyServiceUnavailable: its key cannot be unwrapped now.
        """
        given = signature.encode("utf-8", "replace")
        if not hmac.compare_digest(self._signature(picture_id, expires_at).encode(), given):
            raise _gone()
        row = await get_kept_picture(self._database, picture_id)
        if row is None or row.expires_at <= self._clock():
            raise _gone()
        tenant = Tenant(row.organization_id, row.project_id, row.owner_id)
        try:
            data = await self._cipher.open(tenant, PICTURES.name, row.id, row.picture)
        except (ContentUnreadable, ProjectKeyRevoked):
            raise _gone() from None
        return PictureFile(data, row.media_type, math.floor(row.expires_at - self._clock()))

    def _signature(self, picture_id: str, expires_at: str) -> str:
        text = f"{picture_id}\n{expires_at}".encode("utf-8", "replace")
        return base64.urlsafe_b64encode(hmac.digest(self._signing_key, text, "sha256")).decode().rstrip("=")


def _gone() -> NotFound:
    return NotFound("There is no such picture, or its address has ended: they hold for a limited time.")
