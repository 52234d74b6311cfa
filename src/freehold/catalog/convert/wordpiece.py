"""WordPiece vocabularies, as the engine wants them: a word's first piece is marked instead of its later ones."""

from dataclasses import dataclass

from gguf import GGUFWriter, TokenType

from freehold.catalog.convert.checkpoint import Checkpoint
from freehold.errors import UnsupportedModelFormat

_WORD_START = "\u2581"
_SPECIAL = {"cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "unk": "[UNK]", "mask": "[MASK]"}


@dataclass(frozen=True, slots=True)
class WordPiece:
    """A vocabulary: its pieces by identifier, and the identifiers of the special ones."""

    pieces: tuple[str, ...]
    special: dict[str, int]

    def write(self, writer: GGUFWriter) -> None:
        """Write it in the engine's form."""
        controls = set(self.special.values())
        tokens = [
            piece if index in controls else piece[2:] if piece.startswith("##") else _WORD_START + piece
            for index, piece in enumerate(self.pieces)
        ]
        types = [TokenType.CONTROL if index in controls else TokenType.NORMAL for index in range(len(tokens))]
        writer.add_tokenizer_model("bert")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(tokens)
        writer.add_token_types(types)
        writer.add_bos_token_id(self.special["cls"])
        writer.add_eos_token_id(self.special["sep"])
        writer.add_sep_token_id(self.special["sep"])
        writer.add_unk_token_id(self.special["unk"])
        writer.add_pad_token_id(self.special["pad"])
        if "mask" in self.special:
            writer.add_mask_token_id(self.special["mask"])


def read_wordpiece(checkpoint: Checkpoint) -> WordPiece:
    """The vocabulary of tokenizer.json or, without it, of vocab.txt.

    Raises:
        UnsupportedModelFormat: there is none, it is of another kind, or it tells upper from lower case.
    """
    tokenizer = checkpoint.json("tokenizer.json")
    settings = checkpoint.json("tokenizer_config.json")
    lower = (tokenizer.get("normalizer") or {}).get("lowercase", settings.get("do_lower_case", True))
    if not lower:
        raise UnsupportedModelFormat("The vocabulary tells upper from lower case, which the engine cannot do.")
    if tokenizer:
        model = tokenizer.get("model") or {}
        if model.get("type", "WordPiece") != "WordPiece" or not isinstance(model.get("vocab"), dict):
            raise UnsupportedModelFormat("A BERT model needs a WordPiece vocabulary.")
        ranked = sorted(model["vocab"].items(), key=lambda item: item[1])
        if [index for _, index in ranked] != list(range(len(ranked))):
            raise UnsupportedModelFormat("The vocabulary has gaps.")
        pieces = tuple(piece for piece, _ in ranked)
    else:
        file = checkpoint.folder / "vocab.txt"
        if not file.is_file():
            raise UnsupportedModelFormat("The model has neither tokenizer.json nor vocab.txt.")
        pieces = tuple(file.read_text(encoding="utf-8").rstrip("\n").split("\n"))
    identifiers = {piece: index for index, piece in enumerate(pieces)}
    special = {}
    for role, usual in _SPECIAL.items():
        named = settings.get(f"{role}_token", usual)
        piece = named.get("content") if isinstance(named, dict) else named
        if piece in identifiers:
            special[role] = identifiers[piece]
    if missing := {"cls", "sep", "pad", "unk"} - special.keys():
        raise UnsupportedModelFormat(f"The vocabulary lacks special tokens: {', '.join(sorted(missing))}.")
    return WordPiece(pieces, special)
