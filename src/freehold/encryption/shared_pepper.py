"""The pepper of several gateways: in their database, wrapped by the master key, and in the home of each.

It must be the same everywhere: keys of callers are hashed under it. The first gateway's is taken; whoever comes later
needs the master key to have it, which shows that it is one of them.
"""

from typing import Any, Final

from freehold.encryption.master_key import MasterKeys
from freehold.encryption.opening import has_master_key, open_master_keys
from freehold.errors import ContentUnreadable, HomeError
from freehold.store.database import Database
from freehold.store.deployments import get_fact, put_fact
from freehold.store.home import Home, write_private
from freehold.types.encryption import EncryptionSettings

_FACT: Final = "pepper"
_CONTEXT: Final = b"freehold pepper"


async def share_pepper(database: Database, home: Home, settings: EncryptionSettings) -> None:
    """Give the database this home's pepper, or this home the database's.

    Raises:
        HomeError: this gateway has another master key than the others, or another pepper.
        ConfigError, KeyServiceUnavailable: the master key cannot be had.
    """
    stored = await get_fact(database, _FACT)
    if stored is not None and not has_master_key(home.master_key, settings):
        raise _unknown(stored["master"])
    async with open_master_keys(home.master_key, settings) as masters:
        if stored is None:
            async with database.turn():
                stored = await get_fact(database, _FACT)
                if stored is None:
                    await put_fact(database, _FACT, await _wrapped(masters, home.pepper()))
                    return
        pepper = await _unwrapped(masters, stored)
    if not home.has_pepper:
        write_private(home.root / "secrets" / "pepper", pepper)
    elif home.pepper() != pepper:
        raise HomeError(
            "this home has keys of its own (HOME/secrets/pepper), made before it had this database, which has others: "
            "begin this gateway with a new home folder"
        )


async def rewrap_pepper(database: Database, masters: MasterKeys) -> None:
    """Wrap the pepper by the master key that is in use, where the database has it.

    Raises:
        HomeError: it is wrapped by a master key that is not known here.
    """
    if not database.is_shared:
        return
    stored = await get_fact(database, _FACT)
    if stored is not None and stored["master"] != masters.current.name:
        await put_fact(database, _FACT, await _wrapped(masters, await _unwrapped(masters, stored)))


async def _wrapped(masters: MasterKeys, pepper: bytes) -> dict[str, str]:
    wrapped = await masters.current.wrap(pepper, _CONTEXT)
    return {"master": masters.current.name, "wrapped": wrapped.hex()}


async def _unwrapped(masters: MasterKeys, stored: dict[str, Any]) -> bytes:
    try:
        return await masters.named(stored["master"]).unwrap(bytes.fromhex(stored["wrapped"]), _CONTEXT)
    except ContentUnreadable:
        raise _unknown(stored["master"]) from None


def _unknown(master: str) -> HomeError:
    return HomeError(
        f"this gateway does not have the master key '{master}', which the others on its database have: give all of "
        "them the same by 'encryption.master_key', or copy HOME/secrets/content of the first one before the start"
    )
