"""How texts are cut before their bytes are joined to tokens: the ways that llama.cpp knows, under its names."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from tokenizers import Regex, pre_tokenizers

from freehold.catalog.convert.tokenizer import LLAMA3, QWEN2


def _split(pattern: str) -> Callable[[], Any]:
    return lambda: pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _byte_level() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def _digits() -> Any:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _byte_level()])


CUTS: Final[Mapping[str, Callable[[], Any]]] = {
    "gpt-2": _byte_level,
    "smollm": _digits,
    "llama-bpe": _split(LLAMA3),
    "llama3": _split(LLAMA3),
    "llama-v3": _split(LLAMA3),
    "smaug-bpe": _split(LLAMA3),
    "qwen2": _split(QWEN2),
}
