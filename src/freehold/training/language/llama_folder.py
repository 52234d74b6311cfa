"""A trained model as a folder that Hugging Face's libraries read, and with them whatever reads Llama's architecture."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from freehold.errors import ConfigError
from freehold.training.language.model import GPT
from freehold.training.language.recipes import ModelRecipe

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SHARD: Final = "5GB"
"""Weights that are more are written into several files."""
TOKENIZER_FILES: Final = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
_TIED: Final = ("lm_head.weight", "model.embed_tokens.weight")
_LOOKED_AT: Final = 64
"""Tokens on which a written model is compared with the one that was trained."""
_NEAR: Final = 1e-3
"""By how much logits may differ, in parts of the largest: the order of sums differs, nothing else."""


def write_llama_folder(model: GPT, tokenizer: Path, out: Path, dtype: str) -> str:
    """Write weights, configuration and tokenizer into an empty folder, and read them back; the digest of the weights.

    Args:
        model: that was trained, on the processor, in float32.
        tokenizer: the folder of its tokenizer; its files are copied.
        out: where to write.
        dtype: one of `DTYPES`.

    Raises:
        ConfigError: the tokenizer's folder lacks a file.
        OSError: it cannot be written.
        RuntimeError: what was written does not compute what was trained.
    """
    special = special_tokens(tokenizer)
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, out / name)
    state = {name: weight.detach().to(DTYPES[dtype]) for name, weight in model.state_dict().items()}
    config = llama_config(model.recipe, special)
    config.dtype = dtype
    written = _llama(config, state)
    written.save_pretrained(out, max_shard_size=SHARD)
    _compare(model, state, out)
    return weights_sha256(out)


def llama_config(recipe: ModelRecipe, special: Mapping[str, int]) -> LlamaConfig:
    """The sizes as transformers has them.

    Args:
        recipe: the sizes.
        special: the ids of special tokens, by their roles: `bos`, `eos` and `pad`.
    """
    return LlamaConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.width,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.kv_heads,
        head_dim=recipe.width // recipe.heads,
        max_position_embeddings=recipe.context,
        rms_norm_eps=recipe.norm_epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta},
        tie_word_embeddings=recipe.tied,
        bos_token_id=special.get("bos"),
        eos_token_id=special.get("eos"),
        pad_token_id=special.get("pad"),
    )


def special_tokens(tokenizer: Path) -> dict[str, int]:
    """The ids of the special tokens of a tokenizer's folder, by their roles.

    Raises:
        ConfigError: the folder lacks a file, or names a token that there is not.
    """
    config = _json(tokenizer / "tokenizer_config.json")
    ids = {each["content"]: each["id"] for each in _json(tokenizer / "tokenizer.json").get("added_tokens", [])}
    found = {}
    for role in ("bos", "eos", "pad"):
        token = config.get(f"{role}_token")
        text = token.get("content") if isinstance(token, dict) else token
        if text is not None and text not in ids:
            raise ConfigError(
                f"{tokenizer / 'tokenizer_config.json'}: {role}_token {text!r} is no token of its vocabulary"
            )
        if text is not None:
            found[role] = ids[text]
    return found


def weights_sha256(folder: Path) -> str:
    """The digest of a folder's weights: of its safetensors file or, of several, of the lines `<digest>  <name>`."""
    digests = {path.name: _digest(path) for path in sorted(folder.glob("*.safetensors"))}
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256("".join(f"{each}  {name}\n" for name, each in digests.items()).encode()).hexdigest()


def _llama(config: LlamaConfig, state: Mapping[str, Tensor]) -> LlamaForCausalLM:
    """The model of transformers with these weights; a name that is missing or unknown is an error."""
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    whole = dict(state)
    if config.tie_word_embeddings:
        head, embedding = _TIED
        whole[head] = whole[embedding]
    model.load_state_dict(whole, strict=True, assign=True)
    model.tie_weights()
    return model


@torch.no_grad()
def _compare(model: GPT, state: Mapping[str, Tensor], out: Path) -> None:
    """Return if the folder's model, read anew, computes what ours does with the weights as they were rounded."""
    ours = GPT(model.recipe)
    ours.load_state_dict({name: weight.float() for name, weight in state.items()})
    theirs = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32)
    length = min(_LOOKED_AT, model.recipe.context)
    tokens = torch.randint(model.recipe.vocabulary, (1, length), generator=torch.Generator().manual_seed(1))
    logits = ours.eval()(tokens)
    apart = float((logits - theirs.eval()(tokens).logits).abs().max() / logits.abs().max().clamp(min=1.0))
    if not apart <= _NEAR:
        raise RuntimeError(f"the model in {out} computes other logits than the one that was trained, {apart:.2g} apart")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path} is missing or is not JSON; the data were prepared with another tokenizer") from exc
    return dict(found)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
