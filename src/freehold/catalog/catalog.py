"""The models on this machine: fetched, verified, converted where needed, kept by their digest.

ROOT/
  blobs/sha256-<hex>   verified files and, for pipelines and unconverted models, folders, ready to be served
  partial/             unfinished downloads by what was ordered, which the next try goes on from
  work/                what a running pull needs, with its lock; emptied at its end, or by the next pull
  changing.lock        held while files and entries are made or removed together

Several processes may use one home: they take turns at the same model, and one of them fetches it.
"""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from freehold.catalog.assembly import Fetched, Order, assemble, describe_fetched, hash_reporting
from freehold.catalog.background import finish
from freehold.catalog.blobs import BlobStore, disk_errors, size_of
from freehold.catalog.download import Downloader, DownloadLimits
from freehold.catalog.gguf_header import describe, read_gguf_header
from freehold.catalog.locking import locked, locked_if_free
from freehold.catalog.references import (
    FileReference,
    HubReference,
    WebReference,
    WheelReference,
    checked_name,
    parse_reference,
)
from freehold.catalog.sharing import Sharing
from freehold.catalog.sources import FolderSource, Report, Source
from freehold.catalog.web import HubSource, WebSource
from freehold.catalog.wheels import WheelSource
from freehold.config import CatalogSettings, read_secret
from freehold.errors import CatalogError, DigestMismatch, UnknownModel
from freehold.store.database import Database
from freehold.store.models import all_models, count_users, delete_model, find_model, put_model
from freehold.types.deployment import MODEL_NAME_PATTERN
from freehold.types.model import ModelEntry, Progress


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
        self._changing = root / "changing.lock"
        self._listeners: list[Callable[[ModelEntry], Awaitable[None]]] = []

    def on_entry(self, listener: Callable[[ModelEntry], Awaitable[None]]) -> None:
        """Have something done with each model that is pulled or trained, also if it was there, before that ends."""
        self._listeners.append(listener)

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

    async def known(self, reference: str) -> ModelEntry | None:
        """As `find`, also where its file is not here, because another gateway has fetched it; None if there is none."""
        return await find_model(self._database, reference)

    def path(self, entry: ModelEntry) -> Path:
        """The verified file of a model; of a pipeline, its folder."""
        return self._blobs.path(entry.sha256)

    async def pull(
        self,
        reference: str,
        *,
        name: str | None = None,
        sha256: str | None = None,
        convert: bool = True,
        progress: Callable[[Progress], None] | None = None,
    ) -> ModelEntry:
        """Fetch a model, unless it is there; those who pull the same at the same time share one piece of work.

        A model that was pulled before is not fetched again, even if its source has changed: delete it first.

        Args:
            reference: a starter model's name, or a URI.
            name: what to call it; without, it is named after the file.
            sha256: hex digest that the weights must have.
            convert: whether safetensors of a language model become GGUF; without, they are kept as they are.
            progress: is told, in the event loop's thread, how far it is.

        Raises:
            SourceUnavailable: the source cannot be reached or lacks the file.
            DigestMismatch: the bytes are not those that were pinned.
            UnsupportedModelFormat: the file is neither GGUF nor safetensors, or cannot be converted.
            UnsafePath: a name or a path would leave the model folder.
            UnknownModel: the reference is neither a URI nor a starter model's name.
            CatalogError: the name is taken, the disk is full, or the source has several models.
        """
        order = Order.of(reference, name, sha256, convert=convert)

        async def work(report: Report) -> ModelEntry:
            with disk_errors():
                async with locked(self._root / "work" / f"{order.place}.lock"):
                    entry = await self._present(order) or await self._fetch(order, report)
            await self._tell(entry)
            return entry

        return await self._sharing.run(order, work, progress)

    async def keep(
        self,
        file: Path,
        *,
        name: str,
        source: str,
        parent: ModelEntry,
        adapter: bool = False,
        details: Mapping[str, Any] | None = None,
    ) -> ModelEntry:
        """Take in a model that was trained here; a model of the same name and source is replaced.

        Args:
            file: its GGUF file, on the home's file system; moved.
            name: what to call it.
            source: which work it comes from, such as `job://ftjob-0123`.
            parent: the model that it was made from.
            adapter: whether the file is a LoRA adapter, which is served together with its parent's.
            details: what else is known of it.

        Raises:
            UnsafePath: it cannot have the name.
            UnsupportedModelFormat: the file is no GGUF, or damaged.
            CatalogError: the name is taken by a model from elsewhere, or the disk is full.
        """
        with disk_errors():
            sha256 = await hash_reporting(file, lambda _progress: None)
            found = describe(await asyncio.to_thread(read_gguf_header, file))
            if adapter:
                found = {**parent.details, "quantization": found.get("quantization", "F16")}
            origin = {"parent": parent.name, "parent_sha256": parent.sha256}
            licence = {key: value for key, value in parent.details.items() if key == "licence"}
            entry = ModelEntry(
                name=checked_name(name, MODEL_NAME_PATTERN),
                source=source,
                source_sha256=sha256,
                sha256=sha256,
                size_bytes=size_of(file) or 0,
                format="lora" if adapter else "gguf",
                details={**found, **licence, **(details or {}), **origin},
                created_at=int(time.time()),
            )
            async with locked(self._changing):
                await finish(self._enter(Order(entry.name, source, sha256), entry, file))
        await self._tell(entry)
        return entry

    async def _tell(self, entry: ModelEntry) -> None:
        for listener in self._listeners:
            await listener(entry)

    async def base_of(self, entry: ModelEntry) -> ModelEntry | None:
        """The model with which an adapter is served; None for what is served alone.

        Raises:
            UnknownModel: it is there no more.
        """
        if entry.format != "lora":
            return None
        wanted = entry.details.get("parent_sha256")
        for other in await self.list():
            if other.sha256 == wanted and self._is_there(other):
                return other
        raise UnknownModel(
            f"The model '{entry.details.get('parent')}', of which '{entry.name}' is an adapter, is not in the catalog; "
            "pull it again.",
            param="model",
        )

    async def unconverted(self, entry: ModelEntry) -> ModelEntry:
        """The same weights, kept as the safetensors that they came as; the model itself if it is that.

        Raises:
            UnknownModel: they are not here in that form.
        """
        for other in (entry, *await self.list()):
            same = other.source_sha256 == entry.source_sha256
            if other.format == "transformers" and same and self._is_there(other):
                return other
        raise UnknownModel(
            f"The model '{entry.name}' is here as GGUF only. Fetch its safetensors as they are, under another name: "
            f"freehold pull {entry.source} --no-convert --name {entry.name[:50]}-safetensors",
            param="model",
        )

    async def delete(self, name: str) -> None:
        """Remove a model, and its file if no other model is served from it.

        Raises:
            UnknownModel: there is no such model.
            CatalogError: adapters are served with its file.
        """
        with disk_errors():
            await self._delete(name)

    async def _delete(self, name: str) -> None:
        async with locked(self._changing):
            entry = await find_model(self._database, name)
            if entry is None or entry.name != name:
                raise UnknownModel(f"The catalog has no model '{name}'.", param="model")
            adapters = await self._adapters_of(entry)
            if adapters:
                raise CatalogError(
                    f"The model '{name}' is what {', '.join(adapters)} is served with; delete that first.",
                    param="model",
                )
            await delete_model(self._database, name)
            if await count_users(self._database, entry.sha256) == 0:
                self._blobs.remove(entry.sha256)

    async def _adapters_of(self, entry: ModelEntry) -> tuple[str, ...]:
        """The names of the adapters that need a model's file, unless another model has the same."""
        others = [other for other in await self.list() if other.name != entry.name]
        if any(other.sha256 == entry.sha256 for other in others):
            return ()
        return tuple(
            other.name
            for other in others
            if other.format == "lora" and other.details.get("parent_sha256") == entry.sha256
        )

    async def note(self, name: str, details: Mapping[str, Any]) -> ModelEntry:
        """Change what else is known of a model; None takes something out. Raises UnknownModel."""
        async with locked(self._changing):
            known = {**(entry := await self.find(name)).details, **details}.items()
            entry = replace(entry, details={key: value for key, value in known if value is not None})
            await put_model(self._database, entry)
        return entry

    async def verify(self, name: str) -> None:
        """Read a model's file again and compare its digest.

        Raises:
            UnknownModel: there is no such model, or its file is gone.
            DigestMismatch: the file has changed.
        """
        entry = await self.find(name)
        if await hash_reporting(self.path(entry), lambda _progress: None) != entry.sha256:
            raise DigestMismatch(f"The file of '{entry.name}' has changed on the disk; delete the model and pull it.")

    async def digest_of(self, sha256: str) -> str | None:
        """The digest, as it is now, of the weights that lie in the place of that digest; None where there are none."""
        path = self._blobs.path(sha256)
        return await hash_reporting(path, lambda _progress: None) if path.exists() else None

    def _is_there(self, entry: ModelEntry) -> bool:
        return size_of(self.path(entry)) == entry.size_bytes

    async def _present(self, order: Order) -> ModelEntry | None:
        """The model, if it need not be fetched; one that is there under another name only gets the new name.

        Raises:
            CatalogError: the name is taken by a model from elsewhere.
        """
        same = None
        await self._replaced(order)
        for entry in await self.list():
            pinned = order.sha256 in {None, entry.sha256, entry.source_sha256}
            if entry.source == order.uri and order.fits(entry) and pinned and self._is_there(entry):
                same = entry if same is None or entry.name == order.name else same
        if same is None or same.name == order.name:
            return same
        async with locked(self._changing):
            await self._replaced(order)
            entry = replace(same, name=order.name, created_at=int(time.time()))
            await put_model(self._database, entry)
        return entry

    async def _replaced(self, order: Order) -> ModelEntry | None:
        """The model that has the name and comes from the same place, in the same form.

        Raises:
            CatalogError: the name is taken by another model.
        """
        entry = await find_model(self._database, order.name)
        if entry is None or entry.name != order.name or (entry.source == order.uri and order.fits(entry)):
            return entry
        if entry.source == order.uri:
            form = "kept as safetensors" if order.convert else "converted to GGUF"
            raise CatalogError(
                f"The name '{order.name}' is taken by the same model, {form}; choose another name, or delete that "
                "model.",
                param="name",
            )
        raise CatalogError(
            f"The name '{order.name}' is taken by a model from {entry.source}; choose another name, or "
            "delete that model.",
            param="name",
        )

    def _sweep(self) -> None:
        """Drop what pulls that were killed have left."""
        for folder in (self._root / "work").iterdir():
            if folder.is_dir():
                with locked_if_free(folder.with_suffix(".lock")) as held:
                    if held:
                        shutil.rmtree(folder, ignore_errors=True)

    async def _fetch(self, order: Order, report: Report) -> ModelEntry:
        work = self._root / "work" / order.place
        self._sweep()
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        try:
            source = self._source(order, work)
            try:
                await source.open()
                fetched = await assemble(source, order, work, report)
                entry = await self._keep(order, fetched, report)
                await source.done()
            finally:
                await source.close()
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return entry

    async def _keep(self, order: Order, fetched: Fetched, report: Report) -> ModelEntry:
        """Put the file in place, then make the entry, so that no entry is without its file."""
        size = size_of(fetched.file) or 0
        served, details = await describe_fetched(fetched, report)
        entry = ModelEntry(
            name=order.name,
            source=order.uri,
            source_sha256=fetched.source_sha256,
            sha256=served,
            size_bytes=size,
            format=fetched.format,
            details=details | fetched.said(order),
            created_at=int(time.time()),
        )
        async with locked(self._changing):
            await finish(self._enter(order, entry, fetched.file))
        return entry

    async def _enter(self, order: Order, entry: ModelEntry, file: Path) -> None:
        replaced = await self._replaced(order)
        await asyncio.to_thread(self._blobs.put, file, entry.sha256)
        try:
            await put_model(self._database, entry)
        finally:
            for sha256 in {entry.sha256, replaced.sha256 if replaced else entry.sha256}:
                if await count_users(self._database, sha256) == 0:
                    self._blobs.remove(sha256)

    def _source(self, order: Order, work: Path) -> Source:
        reference = parse_reference(order.uri)
        match reference:
            case WheelReference():
                return WheelSource(reference, work)
            case FileReference(path=path):
                return FolderSource(path)
            case WebReference(url=url):
                return WebSource(url, self._downloader(order))
            case HubReference():
                token = read_secret(self._settings.hf_token) if self._settings.hf_token else None
                return HubSource(reference, self._settings.hf_endpoint, token, self._downloader(order))

    def _downloader(self, order: Order) -> Downloader:
        return Downloader(
            self._root / "partial" / order.place, allow_http=self._settings.allow_http, limits=self._limits
        )
