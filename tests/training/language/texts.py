"""A small text, prepared as a training reads it, and a recipe that is quick."""

import random
from pathlib import Path

import numpy as np

from freehold.training.data.records import TRAINING, VALIDATION, file_sha256
from freehold.training.data.settings import TokenizerSettings
from freehold.training.data.shards import TOKEN_BYTES, TOKENIZER, TOKENS, TokenShards, token_field
from freehold.training.data.tokenizer import TextTokenizer, train_tokenizer
from freehold.training.data.writing import RecordWriter
from freehold.training.language.recipes import LanguageRecipe, ModelRecipe
from freehold.training.trainer.recipe import OptimizerRecipe, PrecisionRecipe, ScheduleRecipe, TrainingRecipe

BYTES = 260
"""The vocabulary without merges."""


def small_text(words: int = 3000, seed: int = 1) -> str:
    """Sentences of few words, which soon can be guessed."""
    draw = random.Random(seed)
    subjects, verbs, objects = ["the king", "a fool", "my lord"], ["sees", "loves", "fears"], ["the sea", "a crown"]
    return " ".join(f"{draw.choice(subjects)} {draw.choice(verbs)} {draw.choice(objects)}." for _ in range(words // 5))


def prepared(folder: Path, text: str | None = None, held_out: str | None = None) -> TokenShards:
    """Shards of a text, cut into bytes."""
    texts = {TRAINING: text or small_text(), VALIDATION: held_out or small_text(600, 2)}
    tokenizer = train_tokenizer(texts.values(), TokenizerSettings(vocabulary=BYTES), folder / TOKENIZER)
    return written(folder, tokenizer, texts)


def written(folder: Path, tokenizer: TextTokenizer, texts: dict[str, str]) -> TokenShards:
    """Shards of the texts of splits, beside their tokenizer."""
    (folder / TOKEN_BYTES).write_bytes(tokenizer.token_bytes().astype("<i4").tobytes())
    facts = {
        "vocabulary": tokenizer.vocabulary,
        "end": tokenizer.end,
        "tokenizer_sha256": tokenizer.sha256,
        "token_bytes_sha256": file_sha256(folder / TOKEN_BYTES),
        "documents": dict.fromkeys(texts, 1),
        "bytes": {split: len(text.encode()) for split, text in texts.items()},
    }
    with RecordWriter(folder, [token_field(tokenizer.vocabulary)], purpose={}) as writer:
        for split, text in texts.items():
            writer.append(split, {TOKENS: np.concatenate(tokenizer.encode([text]))})
        writer.finish(facts)
    return TokenShards.open(folder)


def small_recipe(**changes: object) -> LanguageRecipe:
    """Two layers, 32 wide, on 16 bytes at once; what is changed is changed in the training."""
    training = {
        "steps": 12,
        "batch": 8,
        "micro_batch": 8,
        "optimizer": OptimizerRecipe(kind="muon", learning_rate=5e-3, muon_learning_rate=1e-2),
        "schedule": ScheduleRecipe(warmup_steps=2),
        "precision": PrecisionRecipe(compute="float32"),
        "log_every": 1,
        **changes,
    }
    return LanguageRecipe(
        name="small",
        model=ModelRecipe(vocabulary=BYTES, layers=2, width=32, heads=4, kv_heads=2, feed_forward=48, context=16),
        sequence=16,
        training=TrainingRecipe.model_validate(training),
    )
