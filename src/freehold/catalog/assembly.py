"""What is pulled: its files brought together from a source, verified, and converted where needed."""

import asyncio
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.catalog.background import in_thread
from freehold.catalog.blobs import hash_file, hash_model, size_of
from freehold.catalog.conversion import COMPANIONS, check_architecture, convert_model
from freehold.catalog.folders import COMPANIONS as ALL_COMPANIONS
from freehold.catalog.folders import check_companions, describe_folder
from freehold.catalog.formats import Format, identify
from freehold.catalog.gguf_header import describe, read_gguf_header
from freehold.catalog.pipelines import fetch_pipeline, read_index, was_exported
from freehold.catalog.references import checked_name, checked_path, default_name, parse_reference
from freehold.catalog.sources import PIPELINE_INDEX, SAFETENSORS, SAFETENSORS_INDEX, Report, Source
from freehold.catalog.starter import STARTER
from freehold.catalog.statement import fetch_statement
from freehold.errors import CatalogError, DigestMismatch, SourceUnavailable, UnsupportedModelFormat
from freehold.types.model import ModelEntry, Progress
from freehold.types.training_statement import TrainingStatement

_MAX_INDEX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be pulled: a starter model's licence and companions are known, another's are not.

    Safetensors of a language model are converted to GGUF, unless they are to be kept as they are (`convert`).
    """

    name: str
    uri: str
    sha256: str | None
    licence: str | None = None
    files: tuple[tuple[str, str], ...] | None = None
    convert: bool = True

    @classmethod
    def of(cls, reference: str, name: str | None, sha256: str | None, *, convert: bool) -> "Order":
        """What is meant by a reference.

        Raises:
            UnknownModel, UnsafePath, CatalogError: as `Catalog.pull`.
        """
        if sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise CatalogError("A SHA-256 is 64 lower-case hex digits.", param="sha256")
        for known, starter in STARTER.items():
            if reference in {known, starter.uri}:
                files = tuple(starter.files.items())
                return cls(
                    checked_name(name or known), starter.uri, sha256 or starter.sha256, starter.licence, files, convert
                )
        parsed = parse_reference(reference)
        return cls(checked_name(name or default_name(parsed)), reference, sha256, convert=convert)

    @property
    def place(self) -> str:
        """The name of the folders that are this order's."""
        return hashlib.sha256(f"{self.uri}{'' if self.convert else ' as it is'}".encode()).hexdigest()

    def fits(self, entry: ModelEntry) -> bool:
        """Whether a model from the order's source is in the form that is ordered."""
        converted = entry.format == "safetensors" and entry.details.get("task") != "images"
        return not converted if not self.convert else entry.format != "transformers"

    @property
    def is_here(self) -> bool:
        """Whether it lies on this machine, so that what its folder says of it is the operator's word."""
        return self.uri.startswith("file://")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified GGUF file, or a model's folder, in the work folder, and what its folder says of its training."""

    file: Path
    format: Format
    source_sha256: str
    statement: TrainingStatement | None = None

    def said(self, order: Order) -> dict[str, Any]:
        """What is said of a model besides its weights: its training, its licence, and whether its digest was given."""
        found: dict[str, Any] = {} if self.statement is None else {"training": self.statement.model_dump(mode="json")}
        if licence := order.licence or (self.statement and self.statement.licence):
            found["licence"] = licence
        return found if order.sha256 is None else {**found, "pinned": True}


async def assemble(source: Source, order: Order, work: Path, report: Report) -> Fetched:
    """Fetch the weights and, where they are safetensors, what belongs to them; convert those.

    Args:
        source: an opened source.
        order: what is wanted of it.
        work: an empty folder.
        report: is told how far it is.

    Raises:
        SourceUnavailable, DigestMismatch, UnsupportedModelFormat, UnsafePath, CatalogError: as `Catalog.pull`.
    """
    if source.main == PIPELINE_INDEX:
        return await _pipeline(source, order, work / "pipeline", report)
    folder = _model_folder(work)
    companions = COMPANIONS if order.convert else ALL_COMPANIONS
    indexed = source.main.endswith(".safetensors.index.json")
    early = indexed or source.main.endswith(".safetensors")
    if early:
        await _companions(source, order, companions, folder, report)
    weights = folder / (SAFETENSORS_INDEX if indexed else SAFETENSORS)
    if not await source.get(source.main, weights, report, sha256=None if indexed else order.sha256):
        raise SourceUnavailable("The source has no such file.", param="source")
    if indexed:
        digest = await _shards(source, folder, weights, report)
    else:
        digest = await hash_reporting(weights, report)
    if order.sha256 is not None and digest != order.sha256:
        raise DigestMismatch(f"The weights' SHA-256 is {digest}, not the pinned {order.sha256}; they were discarded.")
    kind = "safetensors" if indexed else await asyncio.to_thread(identify, weights)
    if kind == "gguf":
        return Fetched(weights, "gguf", digest)
    if not early:
        await _companions(source, order, companions, folder, report)
    if not _has_config(folder):
        raise UnsupportedModelFormat("The safetensors file has no config.json beside it.", param="source")
    statement = await fetch_statement(source, work, digest, report) if order.is_here else None
    if not order.convert:
        await asyncio.to_thread(check_companions, folder)
        return Fetched(folder, "transformers", digest, statement)
    target = work / "converted.gguf"
    await convert_model(folder, target, report)
    return Fetched(target, "safetensors", digest, statement)


async def describe_fetched(fetched: Fetched, report: Report) -> tuple[str, dict[str, Any]]:
    """The digest of what is served, in hex, and what is known of it from its files.

    Raises:
        UnsupportedModelFormat: they are damaged.
    """
    if fetched.format == "transformers":
        details = await asyncio.to_thread(describe_folder, fetched.file)
        return await hash_reporting(fetched.file, report), details
    if fetched.file.is_dir():
        class_name = (await asyncio.to_thread(read_index, fetched.file / PIPELINE_INDEX)).class_name
        return fetched.source_sha256, {"task": "images", "architecture": class_name}
    served = await hash_reporting(fetched.file, report) if fetched.format == "safetensors" else fetched.source_sha256
    return served, describe(await asyncio.to_thread(read_gguf_header, fetched.file))


async def _pipeline(source: Source, order: Order, folder: Path, report: Report) -> Fetched:
    """Fetch a pipeline; nothing of it is converted."""
    await asyncio.to_thread(folder.mkdir)
    digest = await fetch_pipeline(source, folder, report)
    if order.sha256 not in {None, digest}:
        raise DigestMismatch(f"The pipeline's SHA-256 is {digest}, not the pinned {order.sha256}; it was discarded.")
    return Fetched(folder, "openvino" if was_exported(folder) else "safetensors", digest)


async def _companions(source: Source, order: Order, names: Iterable[str], folder: Path, report: Report) -> None:
    """Fetch the small files beside the weights; for a starter model exactly those that are pinned."""
    digests: Mapping[str, str] = dict(order.files or ())
    for name in names if order.files is None else digests:
        target = folder / name
        there = await source.get(name, target, report, sha256=digests.get(name))
        if order.files is not None and (not there or await asyncio.to_thread(hash_file, target) != digests[name]):
            raise DigestMismatch(f"The file '{name}' beside the weights is not the one that was pinned.")
        if there and name == "config.json" and order.convert:
            check_architecture(target)


async def _shards(source: Source, folder: Path, index: Path, report: Report) -> str:
    """Fetch the files that an index names; their digest in common."""
    try:
        names = _shard_names(index)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
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
        lines.append(f"{await hash_reporting(target, report)}  {name}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


async def hash_reporting(path: Path, report: Report) -> str:
    """The SHA-256 of a model in hex."""
    total = size_of(path)
    return await in_thread(
        lambda count: hash_model(path, count), lambda done: report(Progress("verifying", done, total))
    )


def _model_folder(work: Path) -> Path:
    """The folder that the model's files go to, with the folders in it that they may lie in."""
    folder = work / "model"
    for name in ALL_COMPANIONS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    return folder


def _shard_names(index: Path) -> list[str]:
    if index.stat().st_size > _MAX_INDEX_BYTES:
        raise UnsupportedModelFormat("The safetensors index is too large.")
    return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))


def _has_config(folder: Path) -> bool:
    return (folder / "config.json").is_file()
