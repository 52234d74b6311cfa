"""The tokenizer of a GGUF file, as Hugging Face's libraries want it.

llama.cpp decides what a served model reads, so training must cut texts as it does. transformers' own reader of GGUF
takes every byte-level vocabulary for GPT-2's, which joins a space with the digit behind it where SmolLM's does not;
this one follows `tokenizer.ggml.pre`, the inverse of `freehold.catalog.convert.tokenizer`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from gguf import TokenType
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from freehold.training.data.cutting import CUTS
from freehold.training.finetune.protocol import TaskInvalid

_SPACE: Final = "\u2581"
_IGNORE_MERGES: Final = frozenset({"llama-bpe", "llama3", "llama-v3"})
"""Where a word that is a token as a whole is not merged from its parts."""


class BaseTokenizer:
    """Cuts texts into tokens as llama.cpp does.

    Args:
        metadata: of the GGUF file: its `tokenizer.ggml.*`.

    Raises:
        TaskInvalid: the vocabulary is of a kind that is not known here.
    """

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._metadata = metadata
        self.tokens: Sequence[str] = metadata["tokenizer.ggml.tokens"]
        self._prefix = bool(metadata.get("tokenizer.ggml.add_space_prefix", True))
        kind = metadata.get("tokenizer.ggml.model")
        if kind == "gpt2":
            self._first = self._inner = _byte_level_bpe(metadata, self.tokens)
        elif kind == "llama":
            self._first = _sentencepiece(metadata, self.tokens, prefix=self._prefix)
            self._inner = _sentencepiece(metadata, self.tokens, prefix=False) if self._prefix else self._first
        else:
            raise TaskInvalid(f"Models with a vocabulary of the kind '{kind}' are not fine-tuned.", param="model")
        self.bos = self._special("bos") if metadata.get("tokenizer.ggml.add_bos_token", kind == "llama") else None
        eos, padding = self._special("eos"), self._special("padding")
        if eos is None:
            raise TaskInvalid("The model names no token that ends a text.", param="model")
        self.eos: int = eos
        self.pad = self.eos if padding is None else padding
        self.fast = PreTrainedTokenizerFast(
            tokenizer_object=self._first,
            bos_token=self._text("bos"),
            eos_token=self.tokens[self.eos],
            pad_token=self.tokens[self.pad],
            clean_up_tokenization_spaces=False,
        )

    def beginning(self, text: str) -> list[int]:
        """The tokens of a text from its beginning; it gets the token of beginnings where the model wants one."""
        ids = list(self._first.encode(text, add_special_tokens=False).ids)
        return ids if self.bos is None or ids[:1] == [self.bos] else [self.bos, *ids]

    def rest(self, text: str) -> list[int]:
        """The tokens of what follows another text."""
        return list(self._inner.encode(text, add_special_tokens=False).ids)

    def text(self, ids: Iterable[int]) -> str:
        """The text of tokens, special ones left out."""
        return str(self._inner.decode(list(ids), skip_special_tokens=True))

    def _special(self, role: str) -> int | None:
        found = self._metadata.get(f"tokenizer.ggml.{role}_token_id")
        return int(found) if found is not None and 0 <= int(found) < len(self.tokens) else None

    def _text(self, role: str) -> str | None:
        found = self._special(role)
        return None if found is None else self.tokens[found]


def _byte_level_bpe(metadata: Mapping[str, Any], tokens: Sequence[str]) -> Tokenizer:
    pre = metadata.get("tokenizer.ggml.pre", "gpt-2")
    if pre not in CUTS:
        raise TaskInvalid(f"Models whose tokenizer cuts texts as '{pre}' does are not fine-tuned.", param="model")
    merges = [tuple(pair.split(" ", 1)) for pair in metadata["tokenizer.ggml.merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=pre in _IGNORE_MERGES))
    tokenizer.pre_tokenizer = CUTS[pre]()
    tokenizer.decoder = decoders.ByteLevel()
    _add_special(tokenizer, metadata, tokens)
    return tokenizer


def _sentencepiece(metadata: Mapping[str, Any], tokens: Sequence[str], *, prefix: bool) -> Tokenizer:
    """BPE in SentencePiece's manner: the best pair is the one whose whole has the highest score."""
    vocabulary = {token: index for index, token in enumerate(tokens)}
    scores = metadata["tokenizer.ggml.scores"]
    types = metadata["tokenizer.ggml.token_type"]
    ranked = []
    for index, token in enumerate(tokens):
        if types[index] in {TokenType.NORMAL, TokenType.USER_DEFINED}:
            for cut in range(1, len(token)):
                left, right = vocabulary.get(token[:cut]), vocabulary.get(token[cut:])
                if left is not None and right is not None:
                    ranked.append((-scores[index], left, right))
    merges = [(tokens[left], tokens[right]) for _, left, right in sorted(ranked)]
    unknown = tokens[int(metadata.get("tokenizer.ggml.unknown_token_id", 0))]
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    steps: list[Any] = [normalizers.Prepend(_SPACE)] if prefix else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", _SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(_SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
        ]
    )
    _add_special(tokenizer, metadata, tokens)
    return tokenizer


def _add_special(tokenizer: Tokenizer, metadata: Mapping[str, Any], tokens: Sequence[str]) -> None:
    """Tokens that are found in a text before it is cut: those that control, and those that users defined."""
    types = metadata["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == TokenType.CONTROL]
    defined = [token for token, kind in zip(tokens, types, strict=True) if kind == TokenType.USER_DEFINED]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in control])
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in defined])
