"""`freehold restore`: a home from a backup, whole or not at all."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.backup.checking import opened
from freehold.backup.manifest import ModelEntry
from freehold.backup.restoring import Restored, restore
from freehold.cli.backup import reading
from freehold.cli.backup_secrets import KeyFileOption, PassphraseFileOption, asker
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import print_json, visible
from freehold.log_lines import configure_logging
from freehold.store.snapshot import StoredKey

app = command_group()

_EPILOG = """\b
Examples:
  freehold restore monday.backup --key-file backup.key --home /var/lib/freehold
  freehold restore monday.backup --key-file backup.key --home /var/lib/freehold --replace
  ssh elsewhere cat monday.backup | freehold restore - --key-file backup.key"""


@app.command("restore", epilog=_EPILOG)
def restore_home(
    file: Annotated[Path, typer.Argument(help="The backup; - for a pipe.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Move aside what is in the home; nothing is deleted.")
    ] = False,
    key_file: KeyFileOption = None,
    passphrase_file: PassphraseFileOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a home of a backup: verified first, then put in place as a whole, or nothing is changed.

    The home must not be in use. What happened after the backup was made is not in it: a key that was revoked since is
    valid again. With --replace those keys are named.
    """
    configure_logging("error")
    ask = asker(key_file, passphrase_file)
    target = home_of(home)
    with reading(file) as source:
        found = restore(opened(source, ask, encrypted=bool(key_file or passphrase_file)), target, replace=replace)
    if as_json:
        print_json(_facts(found, target))
    else:
        print(visible("\n".join(_told(found, target))))


def _told(found: Restored, target: Path) -> Iterator[str]:
    """What was restored, what is to be done, and what is lost."""
    manifest = found.manifest
    yield f"restored the home of {manifest.made_at} into {target}"
    yield f"its journal is verified up to record {manifest.journal.seq}"
    if found.interrupted:
        yield f"{found.interrupted} requests that ran when the backup was made are settled as interrupted"
    if manifest.configuration:
        yield f"the configuration file is {target / manifest.configuration}"
    if found.aside is not None:
        yield f"what was there before is in {found.aside}"
    yield from _lost(found)
    if found.missing:
        yield "weights that the backup does not hold; starter models come by themselves, others by:"
        yield from (f"  {_pull(model)}" for model in found.missing)


def _lost(found: Restored) -> Iterator[str]:
    """What the backup does not know."""
    comparison = found.comparison
    if comparison is None:
        if found.incomparable:
            yield f"NOT COMPARED with what was there before: {found.incomparable}"
        yield f"what happened after {found.manifest.made_at} is not in it. A key that was revoked since is VALID AGAIN;"
        yield f"of {len(found.keys)} valid keys, revoke what should not be with 'freehold keys revoke ID':"
        yield from _keys(found.keys)
        return
    if comparison.same_journal is False:
        yield "WARNING: the backup is not an earlier state of what was there before, but of another home"
    yield f"{comparison.lost_records} records of what was there before are not in the backup"
    if comparison.revived:
        yield "keys that were revoked since and are VALID AGAIN; revoke them with 'freehold keys revoke ID':"
        yield from _keys(comparison.revived)
    if comparison.forgotten:
        yield "keys that were made since and are unknown now:"
        yield from _keys(comparison.forgotten)


def _keys(keys: tuple[StoredKey, ...]) -> Iterator[str]:
    yield from (f"  {key.id}  {key.name} ({', '.join(key.roles)})" for key in keys)


def _pull(model: ModelEntry) -> str:
    """The command that fetches a model again."""
    return shlex.join(["freehold", "pull", model.source, "--name", model.name, "--sha256", model.source_sha256])


def _facts(found: Restored, target: Path) -> dict[str, Any]:
    comparison = asdict(found.comparison) if found.comparison else None
    return {
        "object": "restore",
        "home": str(target),
        "made_at": found.manifest.made_at,
        "version": found.manifest.version,
        "journal": found.manifest.journal.model_dump(mode="json"),
        "interrupted": found.interrupted,
        "configuration": found.manifest.configuration,
        "keys": [asdict(key) for key in found.keys],
        "missing_models": [model.model_dump(mode="json") for model in found.missing],
        "aside": str(found.aside) if found.aside else None,
        "comparison": comparison,
        "incomparable": found.incomparable,
    }
