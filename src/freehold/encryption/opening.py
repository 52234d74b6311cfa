"""Which master keys a home has: what the configuration says, and the home's own file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from freehold.config import read_secret
from freehold.encryption.key_service import ServiceMasterKey
from freehold.encryption.master_key import KeyFile, MasterKey, MasterKeys, parse_master_key
from freehold.types.encryption import EncryptionSettings


@asynccontextmanager
async def open_master_keys(path: Path, settings: EncryptionSettings) -> AsyncIterator[MasterKeys]:
    """The master keys, until the block ends.

    Args:
        path: the file of the home's own.
        settings: where another one is, if there is one.

    Raises:
        ConfigError: a secret of the configuration cannot be read, or is no key.
        HomeError: the home's own cannot be read or written.
    """
    file = KeyFile(path)
    service = _service(settings)
    earlier: list[MasterKey] = [
        parse_master_key(read_secret(ref), f"encryption.previous_master_keys[{index}]")
        for index, ref in enumerate(settings.previous_master_keys)
    ]
    current: MasterKey
    if service is not None:
        current = service
    elif settings.master_key is not None:
        current = parse_master_key(read_secret(settings.master_key), "encryption.master_key")
    else:
        key = file.key()
        current = file.next_key() if file.has_next else key
    if file.exists:
        earlier.append(file.key())
    if file.has_next:
        earlier.append(file.next_key())
    try:
        yield MasterKeys(current, earlier, file=file)
    finally:
        if service is not None:
            await service.close()


def has_master_key(path: Path, settings: EncryptionSettings) -> bool:
    """Whether `open_master_keys` would find a master key, and make none."""
    return settings.master_key is not None or settings.key_service is not None or KeyFile(path).exists


def _service(settings: EncryptionSettings) -> ServiceMasterKey | None:
    found = settings.key_service
    if found is None:
        return None
    return ServiceMasterKey(found.url, found.key, read_secret(found.token), timeout_s=found.timeout_s)
