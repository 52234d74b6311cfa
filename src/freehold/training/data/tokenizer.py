"""Tokenizers: byte-level BPE, trained here or brought along, in the form that transformers, llama.cpp and vLLM read.

    train_tokenizer(pieces, TokenizerSettings(vocabulary=1024), Path("tokenizer"))
    tokenizer = TextTokenizer.open(Path("tokenizer"))
    tokenizer.encode(["any text"])              # [array([...], dtype=uint32)]

Every text has tokens, since every byte is one: with 260 tokens (256 bytes and four special ones) there is nothing
else. BPE joins the most frequent pairs of bytes (Sennrich et al., arXiv 1508.07909; on bytes, as GPT-2), inside of
the pieces that a pattern cuts. The same text and settings give the same file, whatever the number of threads.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from freehold.engines.chat_template import ChatTemplate
from freehold.engines.model_defaults import chat_template
from freehold.errors import ConfigError, InvalidRequest
from freehold.training.data.cutting import CUTS
from freehold.training.data.records import file_sha256
from freehold.training.data.settings import TokenizerSettings
from freehold.training.data.writing import replace_file, writable

END: Final = "<|endoftext|>"
"""Ends a document."""
TURN: Final = "<|im_start|>"
END_OF_TURN: Final = "<|im_end|>"
PADDING: Final = "<|padding|>"
SPECIAL: Final = (END, TURN, END_OF_TURN, PADDING)
PIECE: Final = 1 << 16
"""Characters that are cut into tokens at once; longer texts are cut into pieces where no token is."""
AT_ONCE: Final = 1 << 19
"""Characters that all threads together cut into tokens at once."""
CHATML: Final = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_FILE: Final = "tokenizer.json"
_CONFIG: Final = "tokenizer_config.json"
_TEMPLATE: Final = "chat_template.jinja"
_SPACE: Final = "\u2581"


def train_tokenizer(texts: Iterable[str], settings: TokenizerSettings, folder: Path) -> "TextTokenizer":
    """Learn a tokenizer from texts and write its folder; what is there already is replaced.

    Args:
        texts: are read once, piece by piece.
        settings: the numbers.
        folder: is made if need be.

    Raises:
        ConfigError: the folder cannot be written.
    """
    tokenizer = Tokenizer(models.BPE(ignore_merges=settings.cut == "llama-bpe"))
    tokenizer.pre_tokenizer = CUTS[settings.cut]()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        min_frequency=2,
        special_tokens=[AddedToken(token, normalized=False, special=True) for token in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=settings.longest,
        show_progress=False,
    )
    tokenizer.train_from_iterator((piece for text in texts for piece in pieces(text)), trainer)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END,
        "eos_token": END_OF_TURN,
        "pad_token": PADDING,
        "add_bos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHATML,
    }
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _TEMPLATE).unlink(missing_ok=True)
        replace_file(folder / _CONFIG, _json(config))
        replace_file(folder / _FILE, _json(json.loads(tokenizer.to_str())))
    return TextTokenizer.open(folder)


class TextTokenizer:
    """Cuts texts into tokens for training, and makes texts of conversations.

    Args:
        folder: has tokenizer.json, and what else belongs to it.
        tokenizer: from there.
        config: of tokenizer_config.json.
        end: the token that ends documents.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer, config: Mapping[str, Any], end: int) -> None:
        self.folder = folder
        self.end = end
        self.vocabulary: int = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        """As many rows an embedding needs."""
        self.sha256 = file_sha256(folder / _FILE)
        self._tokenizer = tokenizer
        self._config = config
        self._template: ChatTemplate | None = None
        self._byte_level = "ByteLevel" in str(tokenizer.decoder)
        """Otherwise a text may get a space before it, so that it cannot be cut."""

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read a folder: one that `train_tokenizer` wrote, or another model's with the same files.

        Documents are ended by `<|endoftext|>` if it is in the vocabulary, else by the token that the folder names as
        the end.

        Raises:
            ConfigError: there is none, or it has no token that ends a text.
        """
        path = folder / _FILE
        try:
            tokenizer = Tokenizer.from_file(str(path)) if path.is_file() else None
            config = json.loads((folder / _CONFIG).read_bytes()) if (folder / _CONFIG).is_file() else {}
        except Exception as exc:  # the library raises nothing more special
            raise ConfigError(f"{path} cannot be read: {exc}") from exc
        if tokenizer is None:
            raise ConfigError(f"{folder} has no tokenizer.json; make one with: freehold train tokenizer")
        named = config.get("eos_token")
        name = named.get("content") if isinstance(named, dict) else named
        end = next((found for each in (END, name) if each and (found := tokenizer.token_to_id(each)) is not None), None)
        if end is None:
            raise ConfigError(f"{folder / _CONFIG} names no eos_token, and the vocabulary has no {END}")
        return cls(folder, tokenizer, config, end)

    def encode(self, texts: Sequence[str], *, special: bool = False) -> list[NDArray[np.uint32]]:
        """The tokens of each text, and no others.

        Args:
            texts: any.
            special: whether special tokens that stand in a text are these; without, they are text like any other.
        """
        cut = [list(pieces(text)) if self._byte_level else [text] for text in texts]
        self._tokenizer.encode_special_tokens = not special
        found = self._encoded([each for text in cut for each in text])
        return [np.concatenate([np.empty(0, np.uint32), *(next(found) for _ in text)]) for text in cut]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens, special ones among them."""
        return str(self._tokenizer.decode([int(token) for token in tokens], skip_special_tokens=False))

    def rendered(self, example: Mapping[str, Any]) -> str:
        """The text of a conversation as it is served: `messages`, and `tools` if any. It has special tokens.

        Raises:
            ConfigError: there is no chat template.
            ValueError: the template refuses the conversation; says why.
        """
        if self._template is None:
            self._template = self._read_template()
        try:
            return self._template.render(_messages(example["messages"]), example.get("tools") or [], answer=False)
        except InvalidRequest as exc:
            raise ValueError(exc.message) from exc

    def token_bytes(self) -> NDArray[np.int32]:
        """How many bytes of text each token is: [vocabulary]; 0 for special ones and where there is none."""
        special = {index for index, token in self._tokenizer.get_added_tokens_decoder().items() if token.special}
        counted = np.zeros(self.vocabulary, np.int32)
        for token, index in self._tokenizer.get_vocab(with_added_tokens=True).items():
            if index not in special:
                counted[index] = len(token) if self._byte_level else _sentencepiece_bytes(token)
        return counted

    def files(self) -> Iterator[Path]:
        """What belongs to it: all files of the folder whose names a tokenizer has."""
        for name in (_FILE, _CONFIG, _TEMPLATE, "special_tokens_map.json"):
            if (self.folder / name).is_file():
                yield self.folder / name

    def _encoded(self, texts: Sequence[str]) -> Iterator[NDArray[np.uint32]]:
        """The tokens of each text, by as many threads as there are; the library takes some 150 bytes a token for it."""
        start = length = 0
        for end, text in enumerate(texts, start=1):
            length += len(text)
            if length >= AT_ONCE or end == len(texts):
                made = self._tokenizer.encode_batch_fast(texts[start:end], add_special_tokens=False)
                yield from (np.array(each.ids, np.uint32) for each in made)
                start, length = end, 0

    def _read_template(self) -> ChatTemplate:
        file = self.folder / _TEMPLATE
        own = file.read_text("utf-8") if file.is_file() else self._config.get("chat_template")
        if not isinstance(own, str) or not own:
            raise ConfigError(f"{self.folder} has no chat template, which conversations need; give texts instead")
        names = {
            name: token["content"] if isinstance(token, dict) else token
            for name, token in self._config.items()
            if name.endswith("_token") and isinstance(token, dict | str)
        }
        try:
            return ChatTemplate(chat_template(own, None) or own, names)
        except ValueError as exc:
            raise ConfigError(f"{self.folder}: {exc}") from exc


def pieces(text: str, longest: int = PIECE) -> Iterator[str]:
    """A text in pieces of about so many characters, cut where no token goes across.

    That is before a space that follows a letter or digit of ASCII: every pattern that cuts texts begins anew there,
    and no special token has a space. A text without such a place is cut where it is full.
    """
    start = 0
    while len(text) - start > longest:
        end = border(text, start + longest // 2, start + longest)
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def border(text: str, least: int, most: int) -> int:
    """The last place between two of a text where no token goes across; the last one, if there is none."""
    place = most
    while (place := text.rfind(" ", least, place)) > 0:
        if text[place - 1].isascii() and text[place - 1].isalnum():
            return place
    return most


def _messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages as templates expect them: a text as content, and the developer as the system."""
    made = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content)
        role = "system" if message["role"] == "developer" else message["role"]
        made.append({**message, "role": role, "content": content or ""})
    return made


def _sentencepiece_bytes(token: str) -> int:
    """A token of a vocabulary in SentencePiece's manner: bytes as `<0x0A>`, spaces as a block."""
    is_byte = len(token) == len("<0x00>") and token.startswith("<0x") and token.endswith(">")
    return 1 if is_byte else len(token.replace(_SPACE, " ").encode())


def _json(tree: Mapping[str, Any]) -> bytes:
    return (json.dumps(tree, ensure_ascii=False, indent=1) + "\n").encode()
