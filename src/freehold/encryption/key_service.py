"""A master key in an external key service: it never leaves the service, which encrypts and decrypts small keys by HTTP.

The two requests are those of the transit engine of HashiCorp Vault and of OpenBao, so that these can be used as they
are, with a key of the type `aes256-gcm96`. `URL` is where the engine is mounted, such as
`https://vault.example.org/v1/transit`:

    POST URL/encrypt/KEY  {"plaintext": BASE64, "associated_data": BASE64}   200 {"data": {"ciphertext": TEXT}}
    POST URL/decrypt/KEY  {"ciphertext": TEXT, "associated_data": BASE64}    200 {"data": {"plaintext": BASE64}}

The token goes into the header `X-Vault-Token`. A decryption that is refused with 400 means that the text is not what
was encrypted; every other answer, and none in time, that the service is not available.
"""

import asyncio
import base64
import binascii
from typing import Any, Final

import aiohttp
import orjson

from freehold.errors import ContentUnreadable, KeyServiceUnavailable

_MAX_ANSWER_BYTES: Final = 64 * 1024
_MAX_CONNECTIONS: Final = 8
_RETRY_AFTER_S: Final = 5.0


class ServiceMasterKey:
    """A master key that is a service's.

    Args:
        url: where the engine is mounted.
        key: the name of the key there.
        token: the credential.
        timeout_s: how long one request may take.
    """

    def __init__(self, url: str, key: str, token: str, *, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._token = token
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        """`service:` and the key's name; a new version of the key has the same."""
        return f"service:{self._key}"

    async def wrap(self, plaintext: bytes, context: bytes) -> bytes:
        """What the service makes of it.

        Raises:
            KeyServiceUnavailable: the service cannot be reached, or refuses.
        """
        data = await self._ask("encrypt", {"plaintext": _encoded(plaintext), "associated_data": _encoded(context)})
        ciphertext = data.get("ciphertext")
        if not isinstance(ciphertext, str) or not ciphertext:
            raise _unavailable("its answer has no ciphertext")
        return ciphertext.encode()

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key.

        Raises:
            ContentUnreadable: the service says that this is not what it encrypted.
            KeyServiceUnavailable: as `wrap`.
        """
        body = {"ciphertext": wrapped.decode("ascii", "replace"), "associated_data": _encoded(context)}
        data = await self._ask("decrypt", body)
        try:
            return base64.b64decode(data["plaintext"], validate=True)
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise _unavailable("its answer has no plaintext") from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, operation: str, body: dict[str, str]) -> dict[str, Any]:
        """The `data` of an answer."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=_MAX_CONNECTIONS)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, trust_env=False)
        try:
            async with self._session.post(
                f"{self._url}/{operation}/{self._key}",
                data=orjson.dumps(body),
                headers={"content-type": "application/json", "x-vault-token": self._token},
                allow_redirects=False,
            ) as response:
                text = await _read(response)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as exc:
            raise _unavailable(type(exc).__name__) from exc
        if status == 400 and operation == "decrypt":
            raise ContentUnreadable("A content key cannot be decrypted: the key service did not encrypt it so.")
        if status != 200:
            raise _unavailable(f"it answers {status}")
        try:
            data = orjson.loads(text)["data"]
        except (ValueError, KeyError, TypeError):
            data = None
        if not isinstance(data, dict):
            raise _unavailable("its answer is not what is agreed")
        return data


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body of an answer, which is short."""
    text = b""
    async for chunk in response.content.iter_chunked(_MAX_ANSWER_BYTES):
        text += chunk
        if len(text) > _MAX_ANSWER_BYTES:
            raise _unavailable("its answer is too long")
    return text


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unavailable(why: str) -> KeyServiceUnavailable:
    return KeyServiceUnavailable(
        f"The key service that has the master key is not available: {why}.", retry_after_s=_RETRY_AFTER_S
    )
