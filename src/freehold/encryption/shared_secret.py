"""Secrets that all gateways of a database have alike: in the database, wrapped by the master key.

The first gateway's is taken; whoever comes later needs the master key to have it, which shows that it is one of them.
"""

from collections.abc import Callable
from typing import Any, Final

from freehold.encryption.master_key import MasterKeys
from freehold.errors import ContentUnreadable, HomeError
from freehold.store.database import Database
from freehold.store.deployments import get_fact, put_fact

PEPPER: Final = "pepper"
AUTHORITY: Final = "cluster authority"
SHARED: Final = (PEPPER, AUTHORITY)


async def shared_secret(database: Database, masters: MasterKeys, name: str, make: Callable[[], bytes]) -> bytes:
    """The secret of that name; what `make` gives where there is none yet.

    Raises:
        HomeError: it is wrapped by a master key that is not known here.
        KeyServiceUnavailable: the master key cannot be had.
    """
    stored = await get_fact(database, name)
    if stored is None:
        async with database.turn():
            stored = await get_fact(database, name)
            if stored is None:
                secret = make()
                await put_fact(database, name, await _wrapped(masters, name, secret))
                return secret
    return await _unwrapped(masters, name, stored)


async def rewrap_shared(database: Database, masters: MasterKeys) -> None:
    """Wrap what the gateways of a database share by the master key that is in use.

    Raises:
        HomeError: it is wrapped by a master key that is not known here.
    """
    if not database.is_shared:
        return
    for name in SHARED:
        stored = await get_fact(database, name)
        if stored is not None and stored["master"] != masters.current.name:
            secret = await _unwrapped(masters, name, stored)
            await put_fact(database, name, await _wrapped(masters, name, secret))


def unknown_master(master: str) -> HomeError:
    """What a gateway is told that has another master key than the others on its database."""
    return HomeError(
        f"this gateway does not have the master key '{master}', which the others on its database have: give all of "
        "them the same by 'encryption.master_key', or copy HOME/secrets/content of the first one before the start"
    )


async def _wrapped(masters: MasterKeys, name: str, secret: bytes) -> dict[str, str]:
    wrapped = await masters.current.wrap(secret, _context(name))
    return {"master": masters.current.name, "wrapped": wrapped.hex()}


async def _unwrapped(masters: MasterKeys, name: str, stored: dict[str, Any]) -> bytes:
    try:
        return await masters.named(stored["master"]).unwrap(bytes.fromhex(stored["wrapped"]), _context(name))
    except ContentUnreadable:
        raise unknown_master(stored["master"]) from None


def _context(name: str) -> bytes:
    return f"freehold {name}".encode()
