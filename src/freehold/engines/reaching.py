"""How an engine's address is reached, and how both sides of a connection to another machine are known."""

import socket
import ssl
from functools import lru_cache
from pathlib import Path

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from freehold.types.address import Address, TlsAddress


def own_url(address: TlsAddress) -> str:
    """The base of URLs of an engine on another machine."""
    return f"https://{address.name}:{address.port}/v1"


@lru_cache(maxsize=8)
def tls_context(credentials: Path | None) -> ssl.SSLContext:
    """How a server over TLS is known, and this side shows who it is.

    Args:
        credentials: the folder with the certificates (see `TlsAddress`); the system's where it is None.
    """
    if credentials is None:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(credentials / "ca.pem")
    context.load_cert_chain(credentials / "gateway.pem", credentials / "gateway.key")
    return context


def connector(address: Address | None, keepalive_s: float) -> aiohttp.BaseConnector:
    """What makes connections to an address; without one, to wherever the URL says."""
    if address is None:
        return aiohttp.TCPConnector(limit=0, keepalive_timeout=keepalive_s)
    if isinstance(address, TlsAddress):
        tls = tls_context(address.credentials)
        return aiohttp.TCPConnector(
            limit=0, keepalive_timeout=keepalive_s, ssl=tls, resolver=_Resolver(address), use_dns_cache=False
        )
    return aiohttp.UnixConnector(path=str(address), limit=0, keepalive_timeout=keepalive_s)


class _Resolver(AbstractResolver):
    """Knows one name, for which the engine's certificate is made."""

    def __init__(self, address: TlsAddress) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See `AbstractResolver.resolve`."""
        if host != self._address.name:
            raise OSError(f"{host} is unknown")
        family = socket.AF_INET6 if ":" in self._address.host else socket.AF_INET
        flags = socket.AI_NUMERICHOST
        found = ResolveResult(hostname=host, host=self._address.host, port=port, family=family, proto=0, flags=flags)
        return [found]

    async def close(self) -> None:
        """See `AbstractResolver.close`."""
