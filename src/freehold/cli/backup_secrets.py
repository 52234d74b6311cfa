"""With what backups are encrypted: a key file or a passphrase, from options or from the person at the terminal."""

import sys
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from freehold.backup.checking import Ask
from freehold.backup.encryption import MAX_KEY_BYTES, Secret, SecretKind
from freehold.errors import InvalidRequest

KeyFileOption: TypeAlias = Annotated[
    Path | None, typer.Option("--key-file", metavar="KEY", help="A file of random bytes that encrypts the backup.")
]
PassphraseFileOption: TypeAlias = Annotated[
    Path | None, typer.Option("--passphrase-file", metavar="FILE", help="A file whose first line is the passphrase.")
]


def to_encrypt_with(key_file: Path | None, passphrase_file: Path | None, *, unencrypted: bool) -> Secret | None:
    """What to encrypt a backup with; a person is asked where no option says it. None if it is not to be encrypted.

    Raises:
        typer.BadParameter: several options are given, or none and there is nobody to ask.
        InvalidRequest: a file cannot be read, or what is in it is too short.
    """
    if (key_file is not None) + (passphrase_file is not None) + unencrypted > 1:
        raise typer.BadParameter("choose one of --key-file, --passphrase-file and --unencrypted")
    if unencrypted:
        return None
    return _from_files(key_file, passphrase_file) or Secret.from_passphrase(_asked(confirm=True))


def asker(key_file: Path | None, passphrase_file: Path | None) -> Ask:
    """What tells the secret of an encrypted backup: the option that is given, or the person at the terminal.

    Raises:
        typer.BadParameter: both options are given.
        InvalidRequest: as `to_encrypt_with`.
    """
    if key_file is not None and passphrase_file is not None:
        raise typer.BadParameter("choose one of --key-file and --passphrase-file")
    given = _from_files(key_file, passphrase_file)

    def ask(kind: SecretKind) -> Secret:
        if given is not None:
            return given
        if kind is SecretKind.KEY_FILE:
            raise InvalidRequest("the backup is encrypted with a key file; give it with --key-file", param="key_file")
        return Secret.from_passphrase(_asked(confirm=False))

    return ask


def _from_files(key_file: Path | None, passphrase_file: Path | None) -> Secret | None:
    if key_file is not None:
        return Secret.from_key_file(_read(key_file))
    if passphrase_file is not None:
        first = _read(passphrase_file).partition(b"\n")[0].removesuffix(b"\r")
        return Secret.from_passphrase(first.decode("utf-8", "surrogateescape"))
    return None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_BYTES + 1)
    except OSError as exc:
        raise InvalidRequest(f"{path} cannot be read: {exc.strerror}") from exc


def _asked(*, confirm: bool) -> str:
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            "say with what it is encrypted, --key-file or --passphrase-file" + (", or --unencrypted" if confirm else "")
        )
    found: str = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return found
