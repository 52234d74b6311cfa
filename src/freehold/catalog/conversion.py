"""Turning a safetensors model into GGUF, in a process of its own: the gateway never loads weights."""

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

from freehold.catalog.sources import Report
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

_PROGRESS = re.compile(rb"^Progress (\d+) of (\d+)")
UNSUPPORTED = 3
"""The converter's exit status for a model that it cannot convert; the reason is its last line on stderr."""


def check_architecture(config: Path) -> None:
    """Check that a model can be converted, before its weights are fetched.

    Raises:
        UnsupportedModelFormat: it cannot.
    """
    try:
        names = json.loads(config.read_text(encoding="utf-8")).get("architectures") or []
    except (ValueError, AttributeError) as exc:
        raise UnsupportedModelFormat("The model's config.json is not JSON.") from exc
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
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "freehold.catalog.convert", str(folder), str(target)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        errors = asyncio.create_task(process.stderr.read())
        async for line in process.stdout:
            if match := _PROGRESS.match(line):
                report(Progress("converting", int(match[1]), int(match[2])))
        complaint = (await errors).decode("utf-8", "replace").strip().splitlines()
        code = await process.wait()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code == UNSUPPORTED and complaint:
        raise UnsupportedModelFormat(complaint[-1])
    if code != 0:
        raise UnsupportedModelFormat(f"The model cannot be converted: the converter ended with status {code}.")
