"""What follows from a model file's metadata: how long contexts are, and which chat template to use.

Standard library only: the engine's process imports this before it does anything else.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KV_BUDGET_BYTES = 1024**3
"""For the keys and values of all slots together, where the deployment does not say how long contexts are."""
DEFAULT_CONTEXTS = (8192, 4096, 2048)
TEMPLATES = Path(__file__).parent / "templates"
CHATML_TOOLS = "chatml-tools"


def default_context(metadata: Mapping[str, Any], parallel: int) -> int:
    """Tokens per request where the deployment does not say: the model's own length, as far as memory allows."""
    kind = metadata.get("general.architecture", "")

    def value(name: str, otherwise: int) -> int:
        found = metadata.get(f"{kind}.{name}")
        return found if isinstance(found, int) and found > 0 else otherwise

    trained, heads = value("context_length", 2048), value("attention.head_count", 1)
    size = value("attention.key_length", value("embedding_length", 4096) // heads)
    token_bytes = 2 * 2 * value("block_count", 32) * value("attention.head_count_kv", heads) * size
    for length in DEFAULT_CONTEXTS:
        if length * parallel * token_bytes <= KV_BUDGET_BYTES:
            return min(trained, length)
    return min(trained, DEFAULT_CONTEXTS[-1])


def chat_template(own: str, option: str | None) -> str:
    """The template to use, as text; empty for the model's own.

    Args:
        own: the template in the model file.
        option: `chatml-tools`, the path of a template, or None.

    Raises:
        OSError: the path cannot be read.
    """
    if option is not None and option != CHATML_TOOLS:
        return Path(option).read_text("utf-8")
    if option is None and ("<|im_start|>" not in own or "tools" in own):
        return ""
    system = re.search(r"<\|im_start\|>system(?:\\n|\n)([^<>{}'\"]*)<\|im_end\|>", own)
    default = json.dumps(system[1].replace("\\n", "\n") if system else "")
    template = (TEMPLATES / "chatml_tools.jinja").read_text("utf-8")
    return f"{{%- set default_system = {default} -%}}\n{template}"
