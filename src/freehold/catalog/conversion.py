"""Turning a safetensors model into GGUF, in a process of its own: the gateway never loads weights."""

import json
from pathlib import Path

from freehold.catalog.background import run_python
from freehold.catalog.sources import Report
from freehold.config import engine_environment
from freehold.errors import UnsupportedModelFormat
from freehold.types.model import Progress

ARCHITECTURES = ("BertModel", "BertForMaskedLM", "LlamaForCausalLM")
"""What `config.json` may name; the converter knows how to write these."""

COMPANIONS = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "vocab.txt",
    "chat_template.jinja",
    "1_Pooling/config.json",
)
"""The files beside the weights that the converter reads, where they are there."""

_MAX_CONFIG_BYTES = 16 << 20
UNSUPPORTED = 3
"""The converter's exit status for a model that it cannot convert; the reason is its last line on stderr."""


def check_architecture(config: Path) -> None:
    """Check that a model can be converted, before its weights are fetched.

    Raises:
        UnsupportedModelFormat: it cannot.
    """
    if config.stat().st_size > _MAX_CONFIG_BYTES:
        raise UnsupportedModelFormat("The model's config.json is too large.")
    try:
        names = json.loads(config.read_text(encoding="utf-8")).get("architectures") or []
    except (ValueError, AttributeError, RecursionError) as exc:
        raise UnsupportedModelFormat("The model's config.json is not a JSON object.") from exc
    if not isinstance(names, list) or not any(name in ARCHITECTURES for name in names):
        found = ", ".join(map(str, names)) if isinstance(names, list) and names else "none"
        raise UnsupportedModelFormat(
            f"Safetensors models are converted for the architectures {', '.join(ARCHITECTURES)}; this one names "
            f"{found}. Use a GGUF file of it.",
            param="source",
        )


async def convert_model(folder: Path, target: Path, report: Report) -> None:
    """Convert the model in a folder.

    Raises:
        UnsupportedModelFormat: it cannot be converted, with the reason.
    """
    code, complaint = await run_python(
        ("-m", "freehold.catalog.convert", str(folder), str(target)),
        engine_environment({}),
        lambda done, total: report(Progress("converting", done, total)),
    )
    if code == UNSUPPORTED and complaint:
        raise UnsupportedModelFormat(complaint.splitlines()[-1])
    if code != 0:
        raise UnsupportedModelFormat(f"The model cannot be converted: the converter ended with status {code}.")
