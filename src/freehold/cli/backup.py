"""`freehold backup`: an archive of a home, made while it serves, and whether an archive is whole."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any, Final

import typer

from freehold.backup.archive import DATABASE
from freehold.backup.checking import check_archive, opened
from freehold.backup.encryption import EncryptingWriter, Secret
from freehold.backup.making import Order, write_backup
from freehold.backup.manifest import Manifest
from freehold.backup.moment import Moment, Point, take_moment
from freehold.cli.backup_secrets import KeyFileOption, PassphraseFileOption, asker, to_encrypt_with
from freehold.cli.control import open_control_of_home
from freehold.cli.lazy import command_group
from freehold.cli.options import ConfigOption, HomeOption, JsonOption, home_of
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import in_bytes
from freehold.config import Settings, load_settings, read_secret
from freehold.errors import Conflict, HomeError, InvalidRequest
from freehold.store.home import Home

app = command_group()

STREAM: Final = Path("-")
_EPILOG = """\b
Examples:
  head -c 32 /dev/urandom > backup.key
  freehold backup monday.backup --key-file backup.key --config freehold.toml
  freehold backup --verify monday.backup --key-file backup.key
  freehold backup - --key-file backup.key | ssh elsewhere 'cat > monday.backup'"""


@app.command(epilog=_EPILOG)
def backup(
    file: Annotated[Path, typer.Argument(help="Where to, or which one to verify; - for a pipe.")],
    verify: Annotated[bool, typer.Option("--verify", help="Make nothing: say whether FILE is whole.")] = False,
    key_file: KeyFileOption = None,
    passphrase_file: PassphraseFileOption = None,
    unencrypted: Annotated[
        bool, typer.Option("--unencrypted", help="Do not encrypt: whoever reads the file has the home's secrets.")
    ] = False,
    with_models: Annotated[
        bool, typer.Option("--with-models", help="Include the models' weights, not only names and digests.")
    ] = False,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a backup of the home, also while it serves under load: nothing waits for it.

    In it are the database, also one on PostgreSQL, the journal, the secrets and, with --config, the configuration file;
    not usage.db, which is made from the journal. It is encrypted; without an option for that it asks for a passphrase.
    """
    if verify:
        if unencrypted or with_models or config is not None:
            raise typer.BadParameter("--verify goes with --key-file and --passphrase-file only")
        manifest = _verified(file, key_file, passphrase_file)
        _tell(_facts(file, manifest) if as_json else f"{_shown(file)} is whole: {_about(manifest)}")
        return
    if as_json and file == STREAM:
        raise typer.BadParameter("with - the backup itself goes to stdout; leave out --json")
    secret = to_encrypt_with(key_file, passphrase_file, unencrypted=unencrypted)
    manifest = _make(home_of(home), file, secret, config, with_models=with_models)
    if as_json:
        print_json(_facts(file, manifest) | {"encrypted": secret is not None, "size_bytes": file.stat().st_size})
        return
    tell = print_note if file == STREAM else print
    size = "" if file == STREAM else f" ({in_bytes(file.stat().st_size)})"
    tell(f"wrote {_shown(file)}{size}: {_about(manifest)}")
    tell("encrypted" if secret else "NOT ENCRYPTED: it is as secret as the home")
    for line in _left_out(manifest):
        tell(line)


def _make(home: Path, file: Path, secret: Secret | None, config: Path | None, *, with_models: bool) -> Manifest:
    """Make a backup: whole under its name, or nothing."""
    settings = load_settings(config)
    if file == STREAM and sys.stdout.isatty():
        raise InvalidRequest("a backup is not for a terminal; give a file, or a pipe after -")
    if file != STREAM and file.exists():
        raise Conflict(f"{file} exists already; write another file")
    try:
        with _workplace(file) as folder:
            moment = asyncio.run(_moment(home, settings, folder / DATABASE))
            order = Order(Home(home), moment, config, with_models)
            if file == STREAM:
                return _write(order, sys.stdout.buffer, secret)
            partial = folder / "backup"
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as sink:
                manifest = _write(order, sink, secret)
                os.fsync(sink.fileno())
            partial.rename(file)
            _sync(file.absolute().parent)
            return manifest
    except BrokenPipeError:
        raise
    except OSError as exc:
        where = f" ({exc.filename})" if exc.filename else ""
        raise HomeError(f"the backup {_shown(file)} cannot be made: {exc.strerror or exc}{where}") from exc


@contextmanager
def _workplace(file: Path) -> Iterator[Path]:
    """A folder for what is not done yet, on the disk that the backup goes to; deleted at the end. Its mode is 0700."""
    beside = None if file == STREAM else file.absolute().parent
    with tempfile.TemporaryDirectory(prefix=".freehold-backup-", dir=beside) as name:
        yield Path(name)


async def _moment(home: Path, settings: Settings, target: Path) -> Moment:
    """Have the service record that a backup is made, and copy the database."""
    url = read_secret(settings.database.url) if settings.database.url is not None else None
    async with open_control_of_home(home, settings) as control:

        async def ask() -> Point:
            return Point.from_wire(await control.request("GET", "/admin/backup"))

        if (await ask()).shared != (url is not None):
            raise InvalidRequest(
                "the configuration says otherwise of the database than the server; one of them has it on PostgreSQL: "
                "give the file that it is served with: --config FILE"
            )
        await control.request("POST", "/admin/backup")
        return await take_moment(ask, Home(home), target, url=url)


def _write(order: Order, sink: IO[bytes], secret: Secret | None) -> Manifest:
    if secret is None:
        manifest = write_backup(order, sink)
    else:
        sealed: Any = EncryptingWriter(sink, secret)
        manifest = write_backup(order, sealed)
        sealed.finish()
    sink.flush()
    return manifest


def _verified(file: Path, key_file: Path | None, passphrase_file: Path | None) -> Manifest:
    ask = asker(key_file, passphrase_file)
    with reading(file) as source:
        try:
            return check_archive(opened(source, ask, encrypted=bool(key_file or passphrase_file)))
        except OSError as exc:
            raise HomeError(
                f"{_shown(file)} cannot be verified: {exc.strerror or exc}; the temporary folder needs room for its "
                "database and its journal"
            ) from exc


@contextmanager
def reading(file: Path) -> Iterator[IO[bytes]]:
    """A backup's file, or what comes through a pipe.

    Raises:
        InvalidRequest: it cannot be read.
    """
    if file == STREAM:
        yield sys.stdin.buffer
        return
    try:
        source = file.open("rb")
    except OSError as exc:
        raise InvalidRequest(f"{file} cannot be read: {exc.strerror}", param="file") from exc
    with source:
        yield source


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tell(what: Any) -> None:
    """Print facts as JSON, a sentence as it is."""
    if isinstance(what, str):
        print(what)
    else:
        print_json(what)


def _shown(file: Path) -> str:
    return "the backup" if file == STREAM else str(file)


def _about(manifest: Manifest) -> str:
    return f"the home of {manifest.made_at}, its journal up to record {manifest.journal.seq}"


def _left_out(manifest: Manifest) -> Iterator[str]:
    """What is not in it, and how it gets there."""
    if any(not model.included for model in manifest.models):
        yield "of models it has names and digests; their weights go in with --with-models"
    if manifest.configuration is None:
        yield "no configuration file is in it; give the one that the home is served with as --config"


def _facts(file: Path, manifest: Manifest) -> dict[str, Any]:
    return {
        "object": "backup",
        "file": str(file),
        "version": manifest.version,
        "made_at": manifest.made_at,
        "journal": manifest.journal.model_dump(mode="json"),
        "models": [model.model_dump(mode="json") for model in manifest.models],
        "configuration": manifest.configuration,
        "files": len(manifest.files),
    }
