"""Adapters (LoRA) for pipelines of OpenVINO GenAI: read, named as the library wants them, and held against the model.

The library finds an adapter's layers by their names, and where it finds none it paints without the adapter. Diffusers
writes the names with the component before them (`unet.`, `text_encoder.`), the library wants its own words or none.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from freehold.catalog.formats import identify
from freehold.catalog.pipelines import NETWORK
from freehold.engines.openvino_genai import openvino_genai
from freehold.engines.openvino_runtime import openvino
from freehold.engines.picture_orders import UnusableModel
from freehold.errors import UnsupportedModelFormat

_NETWORKS = ("unet", "transformer", "text_encoder", "text_encoder_2")
_LAYER = re.compile(r'name="__module\.([^"/]+)')
_ADAPTED = re.compile(
    r"(?:base_model\.model\.)?(?:(?:lora_(?:unet|te[12]?)|unet|transformer|text_encoder(?:_2)?)[._])?(.+?)[._]lora[._]"
)
"""The layer in a name of an adapter's file."""
_TRANSLATED = re.compile(r"(?:input|output|double|single)_blocks|middle_block")
"""Names of other programs, which the library itself translates."""


def adapters_of(entries: Iterable[Mapping[str, Any]], folder: Path) -> Any:
    """What the library is to be called with as `adapters`; None where there are none.

    Args:
        entries: of the option `lora`.
        folder: the model's.

    Raises:
        UnusableModel: an adapter is no safetensors, or fits no layer of the model.
    """
    found = []
    layers = ""
    for entry in entries:
        path = Path(entry["path"])
        try:
            if identify(path) != "safetensors":
                raise UnusableModel(f"options.lora: {path} is not safetensors")
            data = path.read_bytes()
            layers = layers or _layers(folder)
            adapter = openvino_genai.Adapter(_tensor(_translated(data, path, layers, _prefixes(folder))))
        except (UnsupportedModelFormat, OSError, RuntimeError, ValueError) as exc:
            if isinstance(exc, UnusableModel):
                raise
            raise UnusableModel(f"options.lora: {path} cannot be used: {exc}") from exc
        found.append((adapter, float(entry.get("scale", 1.0))))
    return openvino_genai.AdapterConfig(found) if found else None


def _prefixes(folder: Path) -> Mapping[str, str]:
    """What a name's beginning becomes; the first that fits counts."""
    two = (folder / "text_encoder_2").is_dir()
    own = "" if (folder / "unet").is_dir() else "transformer."
    return {
        "base_model.model.": own,
        "unet.": "",
        "text_encoder_2.": "lora_te2.",
        "text_encoder.": "lora_te1." if two else "lora_te.",
    }


def _layers(folder: Path) -> str:
    """The names of the model's layers, one a line, with underscores for dots."""
    names: set[str] = set()
    for network in _NETWORKS:
        path = folder / network / NETWORK
        if path.is_file():
            names.update(_LAYER.findall(path.read_text(encoding="utf-8")))
    return "\n".join(sorted(names)).replace(".", "_")


def _translated(data: bytes, path: Path, layers: str, prefixes: Mapping[str, str]) -> bytes:
    """An adapter's file with the names that the library wants.

    Raises:
        UnusableModel: no name is that of a layer.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    bases = {
        found[1].replace(".processor.", ".").replace(".", "_") for name in header if (found := _ADAPTED.match(name))
    }
    if not any(base in layers or _TRANSLATED.search(base) for base in bases):
        raise UnusableModel(f"options.lora: {path} fits no layer of the model; it was made for another one")
    renamed = json.dumps({_renamed(name, prefixes): tensor for name, tensor in header.items()}).encode()
    renamed += b" " * (-len(renamed) % 8)  # the data stays aligned
    return len(renamed).to_bytes(8, "little") + renamed + data[end:]


def _renamed(name: str, prefixes: Mapping[str, str]) -> str:
    for prefix, other in prefixes.items():
        if name.startswith(prefix):
            return other + name.removeprefix(prefix)
    return name


def _tensor(data: bytes) -> Any:
    return openvino.Tensor(np.frombuffer(data, np.uint8).copy())
