"""Language models that are kept as they came: a folder of safetensors in Hugging Face's layout, which is not converted.

    config.json                      the architecture and its sizes
    model.safetensors                the weights, or several files with model.safetensors.index.json
    tokenizer.json, …                the vocabulary, the chat template, defaults of sampling

It is what engines read that want a model as its makers gave it, such as `vllm`. Of the files beside the weights only
those of `COMPANIONS` are taken: code never is. The folder is kept under the digest of its lines `<digest>  <path>`.
"""

import json
import math
from pathlib import Path
from typing import Any, Final

from freehold.catalog.formats import read_safetensors_header
from freehold.errors import UnsupportedModelFormat

COMPANIONS: Final = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "quantize_config.json",
    "quantization_config.json",
    "hf_quant_config.json",
    "params.json",
    "tekken.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)
"""Configurations, vocabularies and templates: plain text, or SentencePiece's protocol buffer."""
MAX_COMPANION_BYTES: Final = 64 << 20

_WRITERS: Final = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")
"""How the architectures end whose models write."""
_EMBEDDERS: Final = ("1_Pooling/config.json", "modules.json")
"""What sentence-transformers lays beside a model that makes vectors."""


def check_companions(folder: Path) -> None:
    """See that no file beside the weights is larger than a configuration or a vocabulary can be.

    Raises:
        UnsupportedModelFormat: one is.
    """
    for name in COMPANIONS:
        if (folder / name).is_file() and (folder / name).stat().st_size > MAX_COMPANION_BYTES:
            raise UnsupportedModelFormat(f"The file '{name}' is too large to be a configuration.", param="source")


def read_config(folder: Path) -> dict[str, Any]:
    """What `config.json` says.

    Raises:
        UnsupportedModelFormat: it is no JSON object, or is not there.
    """
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise UnsupportedModelFormat("The model's config.json is not a JSON object.", param="source") from exc
    if not isinstance(found, dict):
        raise UnsupportedModelFormat("The model's config.json is not a JSON object.", param="source")
    return found


def describe_folder(folder: Path) -> dict[str, Any]:
    """A model's details in the catalog's words; what its files do not say is left out.

    Raises:
        UnsupportedModelFormat: its configuration or its weights cannot be read.
    """
    config = read_config(folder)
    text = config.get("text_config")
    sizes = {**config, **text} if isinstance(text, dict) else config
    names = config.get("architectures")
    architecture = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None
    writes = architecture is None or architecture.endswith(_WRITERS)
    embeds = any((folder / name).is_file() for name in _EMBEDDERS)
    details = {
        "architecture": architecture,
        "parameter_count": _parameters(folder),
        "context_length": _count(sizes.get("max_position_embeddings")),
        "embedding_length": _count(sizes.get("hidden_size")),
        "quantization": _quantization(config, sizes),
        "chat_template": has_template(folder),
        "task": "chat" if writes and not embeds else "embeddings",
    }
    return {key: value for key, value in details.items() if value is not None}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _quantization(config: dict[str, Any], sizes: dict[str, Any]) -> str | None:
    """The method by which the weights were made smaller, or the width of their numbers."""
    made = config.get("quantization_config")
    method = made.get("quant_method") if isinstance(made, dict) else None
    width = sizes.get("dtype") or sizes.get("torch_dtype")
    found = method or width
    return found.upper() if isinstance(found, str) else None


def has_template(folder: Path) -> bool:
    """Whether a model has a chat template, in a file of its own or in the tokenizer's configuration."""
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    try:
        found = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and bool(found.get("chat_template"))


def _parameters(folder: Path) -> int:
    """The numbers of all tensors; of weights in four bits, what they are packed in."""
    return sum(
        math.prod(tensor["shape"])
        for file in sorted(folder.glob("*.safetensors"))
        for tensor in read_safetensors_header(file)[0].values()
    )
