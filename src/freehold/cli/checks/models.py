"""Checks of the catalog's models: are their files there, whole and what they were."""

import asyncio
from pathlib import Path
from typing import Any

from freehold.catalog.blobs import hash_model, size_of
from freehold.cli.checks.result import Finding, Sample, fail, ok
from freehold.cli.tables import in_bytes
from freehold.store.home import Home


async def check_models(root: Path, entries: list[dict[str, Any]], *, verify: bool) -> list[Finding]:
    """Whether each model's file is there with the right size and, with `verify`, the right digest.

    Args:
        root: the home.
        entries: the catalog, as the admin API lists it.
        verify: whether to read every file.
    """
    if not entries:
        return [ok("models", "none yet; 'freehold serve' fetches those that deployments need")]
    return [await asyncio.to_thread(_check, root, entry, verify=verify) for entry in entries]


def sample_of(root: Path, entries: list[dict[str, Any]]) -> Sample | None:
    """The smallest chat model, to try an engine on; None if there is none."""
    chat = [entry for entry in entries if entry["details"].get("task", "chat") == "chat"]
    for entry in sorted(chat, key=lambda entry: int(entry["size_bytes"])):
        file = _file(root, entry)
        if file is not None:
            return Sample(entry["name"], file)
    return None


def _file(root: Path, entry: dict[str, Any]) -> Path | None:
    """The file or the folder of a model, found by its digest; None if it is not there."""
    found = Home(root).models.rglob(f"sha256-{entry['sha256']}")
    return next(iter(found), None)


def _check(root: Path, entry: dict[str, Any], *, verify: bool) -> Finding:
    check = f"model {entry['name']}"
    again = f"freehold pull {entry['source']} --name {entry['name']}"
    file = _file(root, entry)
    if file is None:
        return fail(check, "its file is gone", again)
    size = size_of(file) or 0
    if size != entry["size_bytes"]:
        return fail(check, f"{file} has {size} bytes instead of {entry['size_bytes']}", f"rm -r {file}; {again}")
    if not verify:
        return ok(check, f"{in_bytes(size)}; not read (--verify reads it)")
    digest = hash_model(file)
    if digest != entry["sha256"]:
        return fail(check, f"{file} has changed: its SHA-256 is {digest}", f"rm -r {file}; {again}")
    return ok(check, f"{in_bytes(size)}, SHA-256 verified")
