"""A trained model as a folder of Hugging Face's: transformers computes with it what was trained."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from freehold.catalog.convert.__main__ import convert
from freehold.errors import ConfigError
from freehold.training.data.settings import TokenizerSettings
from freehold.training.data.tokenizer import train_tokenizer
from freehold.training.language.llama_folder import special_tokens, weights_sha256, write_llama_folder
from freehold.training.language.model import GPT
from freehold.training.language.recipes import ModelRecipe

pytestmark = pytest.mark.torch

TEXT = "the cat sat on the mat, and the dog sat on the cat. " * 40


def made(tmp_path: Path, *, tied: bool) -> tuple[GPT, Path]:
    """A model with random weights, and the folder of a tokenizer for it."""
    tokenizer = train_tokenizer([TEXT], TokenizerSettings(vocabulary=280), tmp_path / "tokenizer")
    recipe = ModelRecipe(
        vocabulary=tokenizer.vocabulary,
        layers=2,
        width=32,
        heads=4,
        kv_heads=2,
        feed_forward=48,
        context=64,
        rope_theta=5000.0,
        norm_epsilon=1e-4,
        tied=tied,
        dropout=0.1,
    )
    model = GPT(recipe)
    model.initialise(3)
    return model, tmp_path / "tokenizer"


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize(("dtype", "near"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_transformers_computes_what_was_trained(tied: bool, dtype: str, near: float, tmp_path: Path) -> None:
    """Logits of the folder's model are those of ours, as near as the type of its numbers allows."""
    model, tokenizer = made(tmp_path, tied=tied)
    out = tmp_path / "out"
    out.mkdir()
    digest = write_llama_folder(model, tokenizer, out, dtype)
    assert digest == weights_sha256(out)
    theirs = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    words = AutoTokenizer.from_pretrained(out)
    tokens = words("the dog sat on the mat", return_tensors="pt").input_ids
    with torch.no_grad():
        ours, other = model.eval()(tokens), theirs.eval()(tokens).logits
    assert float((ours - other).abs().max()) <= near * float(ours.abs().max())
    config = json.loads((out / "config.json").read_text())
    assert (config["architectures"], config["dtype"]) == (["LlamaForCausalLM"], dtype)
    assert (config["eos_token_id"], config["bos_token_id"], config["pad_token_id"]) == (2, 0, 3)
    assert words.apply_chat_template([{"role": "user", "content": "the cat"}], tokenize=False) == (
        "<|im_start|>user\nthe cat<|im_end|>\n"
    )


def test_the_converter_reads_the_folder(tmp_path: Path) -> None:
    """The catalog's converter makes a GGUF file of it."""
    model, tokenizer = made(tmp_path, tied=True)
    out = tmp_path / "out"
    out.mkdir()
    write_llama_folder(model, tokenizer, out, "float32")
    convert(out, tmp_path / "model.gguf", "f32")
    assert (tmp_path / "model.gguf").stat().st_size > 4 * model.recipe.parameters


def test_a_tokenizer_that_lacks_its_own_tokens_is_refused(tmp_path: Path) -> None:
    """A configuration that names a token which the vocabulary has not, and one that is missing, are named."""
    _, tokenizer = made(tmp_path, tied=True)
    config = tokenizer / "tokenizer_config.json"
    config.write_text(json.dumps({"eos_token": "</s>"}))
    with pytest.raises(ConfigError, match="eos_token '</s>' is no token"):
        special_tokens(tokenizer)
    config.unlink()
    with pytest.raises(ConfigError, match="is missing"):
        special_tokens(tokenizer)
