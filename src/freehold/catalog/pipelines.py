"""Models that are a folder: pipelines in the layout of `diffusers`, with a file `model_index.json`.

    model_index.json                 the pipeline's class, and for each component its library and class
    scheduler/scheduler_config.json
    text_encoder/config.json, model.safetensors          weights in one file, or in several with an index
    tokenizer/vocab.json, merges.txt, …
    unet/config.json, diffusion_pytorch_model.safetensors

or, where it was exported to OpenVINO, with networks in that format instead of safetensors and the VAE in two folders:

    text_encoder/config.json, openvino_model.xml, openvino_model.bin      a graph, and its weights as bare numbers
    tokenizer/openvino_tokenizer.xml, openvino_tokenizer.bin, …
    vae_decoder/…, vae_encoder/…

Of the folders that `model_index.json` names, configurations, vocabularies and safetensors or networks are taken; code
and pickles never are. A pipeline is kept as a folder under the digest of its lines `<digest>  <path>`, sorted by path.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from freehold.catalog.blobs import hash_folder
from freehold.catalog.formats import identify
from freehold.catalog.references import checked_path
from freehold.catalog.sources import PIPELINE_INDEX, Report, Source
from freehold.errors import SourceUnavailable, UnsupportedModelFormat

PLAIN_SUFFIXES = (".json", ".txt", ".model")
"""Configurations and vocabularies; `.model` is SentencePiece's, a protocol buffer."""
PICKLED_SUFFIXES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
MAX_PLAIN_BYTES = 64 << 20
MAX_GRAPH_BYTES = 256 << 20
MAX_INDEX_BYTES = 1 << 20
MAX_FILES = 1000
VARIANTS = ("fp16", "bf16")
"""Smaller editions of the weights, in the order in which they are taken where there is no full one."""

NETWORK = "openvino_model.xml"
"""A component's graph, where the pipeline was exported to OpenVINO."""
_GRAPH = re.compile(r"openvino_[a-z0-9_]{1,60}\.xml")
_HALVES = {"vae": ("vae_encoder", "vae_decoder")}
"""Component → the folders that an export makes of it."""
_BEGINNING_BYTES = 4096

_CLASS = re.compile(r"[A-Za-z][A-Za-z0-9]{0,127}")
_LIBRARY = re.compile(r"[a-z][a-z0-9_]{0,63}")
_COMPONENT = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_VARIANT = re.compile(r"\.(fp16|bf16|fp32|fp8|non_ema|ema|ema_only)(?=[.-])")


@dataclass(frozen=True, slots=True)
class PipelineIndex:
    """What `model_index.json` says.

    Args:
        class_name: the pipeline's class.
        components: the folder of each component → its class.
    """

    class_name: str
    components: Mapping[str, str]


async def fetch_pipeline(source: Source, folder: Path, report: Report) -> str:
    """Fetch a pipeline's files into an empty folder; the digest of all together.

    Raises:
        UnsupportedModelFormat: a file is damaged, or a component has no safetensors.
        SourceUnavailable: the source cannot list its files, or lacks one.
        UnsafePath, DigestMismatch: as `Catalog.pull`.
    """
    names = await source.names()
    if names is None:
        raise SourceUnavailable(
            "A pipeline is pulled as a whole, from hf://org/repo or from a folder: file:///folder.", param="source"
        )
    target = folder / PIPELINE_INDEX
    if not await source.get(PIPELINE_INDEX, target, report):
        raise SourceUnavailable("The source has no such file.", param="source")
    index = read_index(target)
    chosen = choose_files(names, index)
    if len(chosen) > MAX_FILES:
        raise UnsupportedModelFormat(f"The pipeline has more than {MAX_FILES} files.", param="source")
    for name in chosen:
        await _fetch(source, name, folder, report)
    return await asyncio.to_thread(hash_folder, folder)


def read_index(path: Path) -> PipelineIndex:
    """Read `model_index.json`.

    Raises:
        UnsupportedModelFormat: it is not one, or names code of the pipeline's own.
    """
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise UnsupportedModelFormat("The pipeline's model_index.json is too large.")
        value = json.loads(path.read_text(encoding="utf-8"))
        class_name = value["_class_name"]
        components = dict(_components(value))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise UnsupportedModelFormat("The pipeline's model_index.json is damaged.", param="source") from exc
    if not isinstance(class_name, str) or not _CLASS.fullmatch(class_name):
        raise UnsupportedModelFormat("The pipeline brings code of its own, which is never run.", param="source")
    return PipelineIndex(class_name, components)


def _components(value: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """The components that there are, each with its class; one that is `[null, null]` is left out."""
    for name, what in value.items():
        if name.startswith("_") or not isinstance(what, list) or len(what) != 2 or what[0] is None:
            continue
        if not _COMPONENT.fullmatch(name) or not _LIBRARY.fullmatch(what[0]) or not _CLASS.fullmatch(what[1]):
            raise ValueError(name)
        yield name, what[1]


def choose_files(names: Iterable[str], index: PipelineIndex) -> list[str]:
    """The files to take, sorted: of each component its configurations, and its weights in one edition or its networks.

    Raises:
        UnsupportedModelFormat: a component has weights, but none in safetensors, and no network.
    """
    there = set(names)
    halves = [half for name in index.components for half in _HALVES.get(name, ()) if f"{half}/{NETWORK}" in there]
    by_folder: dict[str, list[str]] = {name: [] for name in [*index.components, *halves]}
    for name in there:
        path = PurePosixPath(name)
        if len(path.parts) == 2 and path.parts[0] in by_folder:
            by_folder[path.parts[0]].append(checked_path(name))
    chosen: list[str] = []
    for component, files in by_folder.items():
        weights = [name for name in files if name.endswith(".safetensors")]
        networks = [] if weights else _networks(files)
        if not weights and not networks and any(name.endswith(PICKLED_SUFFIXES) for name in files):
            raise UnsupportedModelFormat(
                f"The weights of '{component}' are pickles, which can run code when they are loaded; use an edition "
                "with safetensors.",
                param="source",
            )
        edition = _edition(weights)
        chosen += [name for name in weights if _variant(name) == edition]
        chosen += networks
        chosen += [name for name in files if name.endswith(PLAIN_SUFFIXES) and _variant(name) in {"", edition}]
    return sorted(chosen)


def was_exported(folder: Path) -> bool:
    """Whether a pipeline's folder has networks in OpenVINO's format."""
    return any(folder.glob(f"*/{NETWORK}"))


def _networks(files: Iterable[str]) -> list[str]:
    """OpenVINO's graphs among a component's files, each with its weights."""
    there = set(files)
    pairs = [(name, f"{name.removesuffix('.xml')}.bin") for name in there if _GRAPH.fullmatch(PurePosixPath(name).name)]
    return [name for pair in pairs if pair[1] in there for name in pair]


def _edition(weights: Iterable[str]) -> str:
    """Which edition of the weights to take: the full one, or the first of `VARIANTS` that there is."""
    there = {_variant(name) for name in weights}
    return next((edition for edition in ("", *VARIANTS) if edition in there), "")


def _variant(name: str) -> str:
    """The edition that a file's name tells; empty for the full one."""
    found = _VARIANT.search(PurePosixPath(name).name)
    return found[1] if found else ""


async def _fetch(source: Source, name: str, folder: Path, report: Report) -> None:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if not await source.get(name, target, report):
        raise SourceUnavailable(f"The source lacks the file '{name}'.", param="source")
    if name.endswith(".safetensors"):
        if await asyncio.to_thread(identify, target) != "safetensors":
            raise UnsupportedModelFormat(f"The file '{name}' is not safetensors.", param="source")
    elif name.endswith(".xml"):
        await asyncio.to_thread(_check_graph, target, name)
    elif not name.endswith(".bin") and target.stat().st_size > MAX_PLAIN_BYTES:
        raise UnsupportedModelFormat(f"The file '{name}' is too large to be a configuration.", param="source")


def _check_graph(path: Path, name: str) -> None:
    """Refuse what is no graph of OpenVINO's: XML without a document type, whose root is `net`."""
    with path.open("rb") as file:
        start = file.read(_BEGINNING_BYTES)
    root = re.match(rb"\s*(?:<\?xml[^>]*\?>)?\s*<net[\s>]", start)
    if root is None or path.stat().st_size > MAX_GRAPH_BYTES:
        raise UnsupportedModelFormat(f"The file '{name}' is not a network in OpenVINO's format.", param="source")
