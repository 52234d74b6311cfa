"""What is said at the end, in a few lines."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from freehold.training.data.counting import counted
from freehold.training.data.records import TRAINING, VALIDATION
from freehold.training.data.settings import TokenizerSettings
from freehold.training.data.shards import CARD, PAGE, TokenShards
from freehold.training.data.tokenizer import TextTokenizer

SAMPLE: Final = 64
"""Documents by which a tokenizer is measured."""


def said_of_data(shards: TokenShards) -> Iterator[str]:
    """What data have become."""
    for split in (TRAINING, VALIDATION):
        tokens, size = shards.tokens(split), shards.bytes(split)
        ratio = f", {size / tokens:.2f} bytes a token" if tokens else ""
        yield f"{split}: {counted(shards.documents(split), 'document')}, {size:,} bytes, {tokens:,} tokens{ratio}"
    if not shards.tokens(VALIDATION):
        yield "nothing fell to validation, so no training can be measured by it: give more documents or a larger share"
    folder = shards.records.folder
    yield f"the data are {shards.sha256}; their card is {folder / PAGE}, and for programs {folder / CARD}"


def said_of_tokenizer(tokenizer: TextTokenizer, settings: TokenizerSettings, texts: Iterable[str]) -> Iterator[str]:
    """What a tokenizer is, and how it cuts the first of the texts that it was made from."""
    sample = list(islice(texts, SAMPLE))
    size = sum(len(text.encode()) for text in sample)
    tokens = sum(map(len, tokenizer.encode(sample)))
    yield f"{tokenizer.vocabulary:,} tokens, {size / max(1, tokens):.3f} bytes a token over the first {size:,} bytes"
    if tokenizer.vocabulary < settings.vocabulary:
        yield f"the text has no more pairs that come twice, so there are fewer tokens than {settings.vocabulary:,}"
    yield f"tokenizer.json is {tokenizer.sha256}; it is in {tokenizer.folder}"
