"""Master keys in this process, in files and in secrets."""

import asyncio
import base64
import stat
from pathlib import Path

import pytest

from freehold.encryption.master_key import KeyFile, LocalMasterKey, MasterKeys, parse_master_key
from freehold.encryption.opening import open_master_keys
from freehold.errors import ConfigError, ContentUnreadable, HomeError
from freehold.types.encryption import EncryptionSettings

SECRET = bytes(range(32))


def test_a_wrapped_key_opens_under_its_master_and_context_only() -> None:
    """Another master key, another context and any changed byte make it unreadable."""

    async def trial() -> None:
        key = LocalMasterKey(SECRET)
        wrapped = await key.wrap(b"data key", b"context")
        assert await key.unwrap(wrapped, b"context") == b"data key"
        assert await key.wrap(b"data key", b"context") != wrapped
        wrong = [(LocalMasterKey(b"x" * 32), wrapped, b"context"), (key, wrapped, b"other"), (key, b"", b"context")]
        wrong += [
            (key, wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :], b"context") for at in range(len(wrapped))
        ]
        for master, text, context in wrong:
            with pytest.raises(ContentUnreadable):
                await master.unwrap(text, context)

    asyncio.run(trial())


def test_a_name_tells_nothing_of_the_key() -> None:
    """The name is the same for the same key wherever it is kept, differs between keys, and has no byte of it."""
    encoded = base64.b64encode(SECRET).decode()
    names = {LocalMasterKey(SECRET).name, parse_master_key(encoded, "p").name, parse_master_key(SECRET.hex(), "p").name}
    assert len(names) == 1
    assert LocalMasterKey(b"x" * 32).name not in names
    assert SECRET.hex()[:8] not in names.pop()


@pytest.mark.parametrize("text", ["", "short", "ü" * 32, base64.b64encode(b"x" * 31).decode(), "zz" * 32])
def test_a_secret_that_is_no_key_is_refused(text: str) -> None:
    """Anything but 32 bytes in Base64 or hexadecimal digits is an error that names the setting."""
    with pytest.raises(ConfigError) as caught:
        parse_master_key(text, "encryption.master_key")
    assert caught.value.message.startswith("encryption.master_key: ")


def test_a_key_file_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    """The first use makes 32 random bytes that only the owner can read; a file of another length is told."""
    file = KeyFile(tmp_path / "content")
    name = file.key().name
    assert KeyFile(tmp_path / "content").key().name == name
    assert stat.S_IMODE((tmp_path / "content").stat().st_mode) == 0o600
    (tmp_path / "content").write_bytes(b"short")
    with pytest.raises(HomeError):
        file.key()


def test_the_next_key_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """While a key is exchanged both files are there; at the end there is one, with the next key in it."""
    file = KeyFile(tmp_path / "content")
    masters = MasterKeys(file.key(), file=file)
    before = (tmp_path / "content").read_bytes()
    old = masters.current.name
    masters.begin_rotation()
    new = masters.current.name
    assert masters.names() == [old, new]
    masters.begin_rotation()
    assert masters.current.name == new
    masters.end_rotation()
    assert [path.name for path in tmp_path.iterdir()] == ["content"]
    assert file.key().name == new
    assert (tmp_path / "content").read_bytes() != before
    assert masters.names() == [new]
    with pytest.raises(ContentUnreadable):
        masters.named(old)


def test_an_interrupted_exchange_goes_on_where_it_was(tmp_path: Path) -> None:
    """After a crash before the rename, also one with the old file overwritten, the next key is the one in use."""

    async def trial() -> None:
        file = KeyFile(tmp_path / "content")
        old, new = file.key().name, file.next_key().name
        async with open_master_keys(tmp_path / "content", EncryptionSettings()) as masters:
            assert (masters.current.name, set(masters.names())) == (new, {old, new})
        (tmp_path / "content").write_bytes(b"\0" * 32)
        async with open_master_keys(tmp_path / "content", EncryptionSettings()) as masters:
            masters.begin_rotation()
            assert masters.current.name == new
            masters.end_rotation()
        async with open_master_keys(tmp_path / "content", EncryptionSettings()) as masters:
            assert masters.names() == [new]

    asyncio.run(trial())


def test_a_secret_goes_before_the_file_which_stays_known(tmp_path: Path) -> None:
    """With `master_key` the home's own file is still read, until nothing is wrapped by it; then it is deleted."""

    async def trial() -> None:
        (tmp_path / "new").write_text(base64.b64encode(SECRET).decode() + "\n")
        (tmp_path / "older").write_text((b"o" * 32).hex())
        own = KeyFile(tmp_path / "content").key().name
        settings = EncryptionSettings.model_validate(
            {
                "master_key": {"file": str(tmp_path / "new")},
                "previous_master_keys": [{"file": str(tmp_path / "older")}],
            }
        )
        async with open_master_keys(tmp_path / "content", settings) as masters:
            assert masters.current.name == LocalMasterKey(SECRET).name
            assert set(masters.names()) == {own, LocalMasterKey(b"o" * 32).name, LocalMasterKey(SECRET).name}
            masters.begin_rotation()
            assert masters.current.name == LocalMasterKey(SECRET).name
            masters.end_rotation()
        assert not (tmp_path / "content").exists()
        async with open_master_keys(tmp_path / "content", settings) as masters:
            assert own not in masters.names()
        assert not (tmp_path / "content").exists()

    asyncio.run(trial())


def test_two_places_for_one_master_key_are_refused() -> None:
    """`master_key` and `key_service` exclude each other."""
    service = {"url": "https://vault.example.org/v1/transit", "key": "k", "token": {"env": "T"}}
    with pytest.raises(ValueError, match="either"):
        EncryptionSettings.model_validate({"master_key": {"env": "M"}, "key_service": service})
