"""Vocabularies of language models, from tokenizer.json: byte-level BPE, and BPE in SentencePiece's manner."""

import re
from dataclasses import dataclass, field
from typing import Any

from gguf import GGUFWriter, TokenType

from freehold.catalog.convert.checkpoint import Checkpoint
from freehold.errors import UnsupportedModelFormat

_CASE = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = _CASE + _WORDS + r"\p{N}{1,3}" + _REST
QWEN2 = _CASE + _WORDS + r"\p{N}" + _REST
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_LOWEST = -1e9
"""The score of a piece that no merge makes."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A vocabulary in the engine's terms.

    Args:
        model: "gpt2" for byte-level BPE, "llama" for SentencePiece's manner.
        pre: how text is cut before it is merged.
        tokens: by identifier.
        types: likewise.
        merges: for "gpt2", best first.
        scores: for "llama", by identifier.
        special: the identifiers of bos, eos, unk and pad, as far as there are any.
        flags: add_bos_token, add_eos_token, add_space_prefix.
        template: the chat template.
    """

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    special: dict[str, int] = field(default_factory=dict)
    flags: dict[str, bool] = field(default_factory=dict)
    template: str | None = None

    def write(self, writer: GGUFWriter, size: int) -> None:
        """Write it, filled up to the size of the embeddings with tokens that are never used."""
        spare = range(size - len(self.tokens))
        if len(self.tokens) > size:
            raise UnsupportedModelFormat("The vocabulary has more tokens than the model has embeddings.")
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list([*self.tokens, *(f"[PAD{index}]" for index in spare)])
        writer.add_token_types([*self.types, *(TokenType.UNUSED for _ in spare)])
        if self.scores:
            writer.add_token_scores([*self.scores, *(_LOWEST for _ in spare)])
        if self.merges:
            writer.add_token_merges(self.merges)
        for role, identifier in self.special.items():
            writer.add_uint32(f"tokenizer.ggml.{role}_token_id", identifier)
        for flag, value in self.flags.items():
            writer.add_bool(f"tokenizer.ggml.{flag}", value)
        if self.template is not None:
            writer.add_chat_template(self.template)


def read_tokenizer(checkpoint: Checkpoint) -> Vocabulary:
    """The vocabulary of a model's folder.

    Raises:
        UnsupportedModelFormat: there is no tokenizer.json, or it cuts or merges in a way that the engine has not.
    """
    tokenizer = checkpoint.json("tokenizer.json")
    model = tokenizer.get("model") or {}
    if not tokenizer:
        raise UnsupportedModelFormat("The model has no tokenizer.json; save its tokenizer in the 'fast' form.")
    if model.get("type", "BPE") != "BPE" or not isinstance(model.get("vocab"), dict):
        raise UnsupportedModelFormat(f"Vocabularies of the kind {model.get('type')} are not converted.")
    added = {item["id"]: item for item in tokenizer.get("added_tokens") or []}
    tokens, types = _tokens(model["vocab"], added)
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model.get("merges") or []]
    special = _special(checkpoint, {token: index for index, token in enumerate(tokens)}, model)
    flags = _flags(checkpoint, tokenizer, special)
    template = _template(checkpoint)
    if model.get("byte_fallback"):
        types = _sentencepiece_types(tokens, types, special)
        flags["add_space_prefix"] = _space_prefix(tokenizer)
        scores = _scores(tokens, merges)
        return Vocabulary("llama", "default", tokens, types, [], scores, special, flags, template)
    flags["add_space_prefix"] = False
    pre = pre_tokenizer(tokenizer.get("pre_tokenizer") or {}, ignore_merges=bool(model.get("ignore_merges")))
    return Vocabulary("gpt2", pre, tokens, types, merges, [], special, flags, template)


def pre_tokenizer(node: dict[str, Any], *, ignore_merges: bool = False) -> str:
    """The engine's name for how a tokenizer cuts text before it merges.

    Args:
        node: `pre_tokenizer` of tokenizer.json.
        ignore_merges: whether a word that is a token as a whole is not merged from its parts.

    Raises:
        UnsupportedModelFormat: the engine has no such way.
    """
    steps = node.get("pretokenizers") or [node]
    kinds = [step.get("type") for step in steps]
    last = steps[-1]
    if kinds[-1] == "ByteLevel" and not last.get("add_prefix_space"):
        by_regex = last.get("use_regex", True)
        if kinds == ["ByteLevel"] and by_regex:
            return "gpt-2"
        if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and by_regex:
            return "smollm"
        if kinds == ["Split", "ByteLevel"] and not by_regex and steps[0].get("behavior") == "Isolated":
            pattern = (steps[0].get("pattern") or {}).get("Regex")
            if pattern == LLAMA3:
                return "llama-bpe" if ignore_merges else "smaug-bpe"
            if pattern == QWEN2:
                return "qwen2"
    raise UnsupportedModelFormat(f"The engine cannot cut text as this tokenizer does ({', '.join(map(str, kinds))}).")


def _tokens(vocab: dict[str, int], added: dict[int, dict[str, Any]]) -> tuple[list[str], list[int]]:
    """Tokens and their types by identifier; gaps are filled with tokens that are never used."""
    by_id = {index: token for token, index in vocab.items()}
    by_id.update({index: item["content"] for index, item in added.items()})
    tokens, types = [], []
    for index in range(max(by_id) + 1):
        tokens.append(by_id.get(index, f"[PAD{index}]"))
        if index in added:
            types.append(TokenType.CONTROL if added[index].get("special") else TokenType.USER_DEFINED)
        else:
            types.append(TokenType.NORMAL if index in by_id else TokenType.UNUSED)
    return tokens, types


def _sentencepiece_types(tokens: list[str], types: list[int], special: dict[str, int]) -> list[int]:
    """Bytes and the unknown token are types of their own there."""
    return [
        TokenType.UNKNOWN
        if special.get("unknown") == index
        else TokenType.BYTE
        if _BYTE.fullmatch(token)
        else types[index]
        for index, token in enumerate(tokens)
    ]


def _scores(tokens: list[str], merges: list[str]) -> list[float]:
    """A piece is the better, the earlier the merge that makes it stands."""
    rank: dict[str, int] = {}
    for index, pair in enumerate(merges):
        rank.setdefault(pair.replace(" ", "", 1), index)
    return [-float(rank[token]) if token in rank else _LOWEST for token in tokens]


def _special(checkpoint: Checkpoint, identifiers: dict[str, int], model: dict[str, Any]) -> dict[str, int]:
    """The special tokens: by text in tokenizer_config.json or special_tokens_map.json, else by number in config."""
    named = {**checkpoint.json("special_tokens_map.json"), **checkpoint.json("tokenizer_config.json")}
    special = {}
    for role, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        token = named.get(f"{role}_token", model.get("unk_token") if role == "unk" else None)
        text = token.get("content") if isinstance(token, dict) else token
        number = checkpoint.config.get(f"{role}_token_id")
        number = number[0] if isinstance(number, list) and number else number
        if text in identifiers:
            special[key] = identifiers[text]
        elif isinstance(number, int) and 0 <= number < len(identifiers):
            special[key] = number
    return special


def _flags(checkpoint: Checkpoint, tokenizer: dict[str, Any], special: dict[str, int]) -> dict[str, bool]:
    """Whether a text begins with bos and ends with eos: as the post-processor does it or, without, as configured."""
    settings = checkpoint.json("tokenizer_config.json")
    steps = tokenizer.get("post_processor") or {}
    templates = [step for step in steps.get("processors") or [steps] if step.get("type") == "TemplateProcessing"]
    flags = {}
    for flag, role, place in (("add_bos_token", "bos", 0), ("add_eos_token", "eos", -1)):
        value = bool(settings.get(flag, False))
        if templates and templates[0].get("single"):
            part = templates[0]["single"][place].get("SpecialToken") or {}
            ids = ((templates[0].get("special_tokens") or {}).get(part.get("id")) or {}).get("ids") or [None]
            value = ids[0] is not None and ids[0] == special.get(role)
        flags[flag] = value
    return flags


def _space_prefix(tokenizer: dict[str, Any]) -> bool:
    """Whether a space is put before a text."""
    normalizer = tokenizer.get("normalizer") or {}
    if any(step.get("type") == "Prepend" for step in normalizer.get("normalizers") or [normalizer]):
        return True
    cut = tokenizer.get("pre_tokenizer") or {}
    scheme = cut.get("prepend_scheme", "always" if cut.get("add_prefix_space", True) else "never")
    return cut.get("type") == "Metaspace" and scheme != "never"


def _template(checkpoint: Checkpoint) -> str | None:
    """The chat template: a file of its own, or in tokenizer_config.json, where the one named `default` counts."""
    file = checkpoint.folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = checkpoint.json("tokenizer_config.json").get("chat_template")
    if isinstance(found, list):
        found = next((item.get("template") for item in found if item.get("name") == "default"), None)
    return found if isinstance(found, str) else None
