"""The pepper of several gateways: it must be the same everywhere, for keys of callers are hashed under it."""

from freehold.encryption.opening import has_master_key, open_master_keys
from freehold.encryption.shared_secret import PEPPER, shared_secret, unknown_master
from freehold.errors import HomeError
from freehold.store.database import Database
from freehold.store.deployments import get_fact
from freehold.store.home import Home, write_private
from freehold.types.encryption import EncryptionSettings


async def share_pepper(database: Database, home: Home, settings: EncryptionSettings) -> None:
    """Give the database this home's pepper, or this home the database's.

    Raises:
        HomeError: this gateway has another master key than the others, or another pepper.
        ConfigError, KeyServiceUnavailable: the master key cannot be had.
    """
    stored = await get_fact(database, PEPPER)
    if stored is not None and not has_master_key(home.master_key, settings):
        raise unknown_master(stored["master"])
    async with open_master_keys(home.master_key, settings) as masters:
        pepper = await shared_secret(database, masters, PEPPER, home.pepper)
    if not home.has_pepper:
        write_private(home.root / "secrets" / "pepper", pepper)
    elif home.pepper() != pepper:
        raise HomeError(
            "this home has keys of its own (HOME/secrets/pepper), made before it had this database, which has others: "
            "begin this gateway with a new home folder"
        )
