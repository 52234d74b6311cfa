"""Recipes for language models: functions that return everything that a training needs to know.

- `shakespeare`: what nanoGPT's readme trains on a processor in three minutes, at the same shape and batch
- `shakespeare_gpu`: and what it trains on a GPU
- `speedrun`: what `runs/speedrun.sh` trains on two cores
- `depth`: one dial, as nanochat has: width, heads, steps and rates follow from the number of layers
- `gpt2`, `gpt3`: the sizes of their papers, in Llama's architecture
- `llama_1b`: the smallest Llama 3.2

Each takes the number of tokens that the tokenizer at hand has. `named` finds one by the name that a user types.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from freehold.errors import ConfigError
from freehold.training.trainer.recipe import (
    CheckpointRecipe,
    OptimizerRecipe,
    ParallelRecipe,
    PositiveInt,
    PrecisionRecipe,
    ScheduleRecipe,
    TrainingRecipe,
)
from freehold.types.base import SettingsModel

TOKENS_PER_PARAMETER: Final = 20
"""With which a given amount of computing makes the best model (Hoffmann et al., arXiv 2203.15556)."""
_MANY_LOGITS: Final = 2**28


def most_logits(*, compiled: bool) -> int:
    """How many numbers a GPU holds as logits at once; more are made, and done with, in pieces of so many.

    A compiled loss keeps fewer copies of them, so eight times as many.
    """
    return 8 * _MANY_LOGITS if compiled else _MANY_LOGITS


class ModelRecipe(SettingsModel):
    """A GPT of Llama's architecture: RMSNorm, rotary positions, SwiGLU, grouped-query attention (arXiv 2307.09288)."""

    vocabulary: PositiveInt
    """Tokens that there are; the embedding has as many rows."""
    layers: PositiveInt
    """Blocks, one after the other (`num_hidden_layers`)."""
    width: PositiveInt
    """Numbers a token is on the way (`hidden_size`)."""
    heads: PositiveInt
    """Of queries in each layer (`num_attention_heads`)."""
    kv_heads: PositiveInt
    """Of keys and values (`num_key_value_heads`); fewer are shared by several heads of queries."""
    feed_forward: PositiveInt
    """Numbers a token is inside of the feed-forward layer (`intermediate_size`)."""
    context: PositiveInt
    """Tokens in a sequence at most."""
    rope_theta: Annotated[float, Field(gt=0)] = 10_000.0
    """Base of the wavelengths by which positions are told apart; larger for longer contexts."""
    norm_epsilon: Annotated[float, Field(gt=0)] = 1e-5
    """What a norm adds to the mean square, so that it divides by no zero."""
    tied: bool = True
    """Whether the head is the embedding."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of numbers that are left out while it learns; for texts that are seen many times."""

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width ({self.width}) must be a multiple of twice the heads ({self.heads})")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        return self

    @property
    def parameters(self) -> int:
        """Numbers that are learnt."""
        head = self.width // self.heads
        attention = self.width * head * (2 * self.heads + 2 * self.kv_heads)
        block = attention + 3 * self.width * self.feed_forward + 2 * self.width
        return self.vocabulary * self.width * (1 if self.tied else 2) + self.layers * block + self.width


class LanguageRecipe(SettingsModel):
    """A language model's training from nothing."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """What the training is called in its log."""
    model: ModelRecipe
    sequence: PositiveInt
    """Tokens of a sample; at most the model's context."""
    training: TrainingRecipe

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.sequence > self.model.context:
            raise ValueError(f"sequence ({self.sequence}) is longer than the model's context ({self.model.context})")
        return self

    @property
    def tokens(self) -> int:
        """Tokens that the whole training sees."""
        return self.training.steps * self.training.batch * self.sequence


def shakespeare(vocabulary: int) -> LanguageRecipe:
    """700,000 parameters, 1.5 million bytes: nanoGPT's shape, batch and steps for a processor. Minutes on two cores."""
    return LanguageRecipe(
        name="shakespeare",
        model=ModelRecipe(
            vocabulary=vocabulary, layers=4, width=128, heads=4, kv_heads=4, feed_forward=256, context=64
        ),
        sequence=64,
        training=TrainingRecipe(
            steps=2000,
            batch=12,
            micro_batch=12,
            optimizer=OptimizerRecipe(kind="muon", learning_rate=4e-3, muon_learning_rate=8e-3, weight_decay=0.1),
            schedule=ScheduleRecipe(kind="wsd", warmup_steps=50, decay_share=0.6, floor=0.0),
            evaluate_every=250,
        ),
    )


def shakespeare_gpu(vocabulary: int) -> LanguageRecipe:
    """10.7 million parameters, 80 million bytes: nanoGPT's shape, batch and steps for a GPU. Minutes on one."""
    return LanguageRecipe(
        name="shakespeare_gpu",
        model=ModelRecipe(
            vocabulary=vocabulary,
            layers=6,
            width=384,
            heads=6,
            kv_heads=6,
            feed_forward=1024,
            context=256,
            dropout=0.2,
        ),
        sequence=256,
        training=TrainingRecipe(
            steps=5000,
            batch=64,
            micro_batch=64,
            optimizer=OptimizerRecipe(learning_rate=1e-3, betas=(0.9, 0.99), weight_decay=0.1),
            schedule=ScheduleRecipe(kind="cosine", warmup_steps=100),
            precision=PrecisionRecipe(compile=True),
            average=0.998,
            evaluate_every=250,
        ),
    )


def speedrun(vocabulary: int) -> LanguageRecipe:
    """2 million parameters: what two cores train in five minutes so that it can then be taught to answer."""
    return LanguageRecipe(
        name="speedrun",
        model=ModelRecipe(
            vocabulary=vocabulary, layers=4, width=192, heads=6, kv_heads=6, feed_forward=512, context=256
        ),
        sequence=256,
        training=TrainingRecipe(
            steps=600,
            batch=16,
            micro_batch=16,
            optimizer=OptimizerRecipe(kind="muon", learning_rate=4e-3, muon_learning_rate=8e-3, weight_decay=0.1),
            schedule=ScheduleRecipe(kind="wsd", warmup_steps=50, decay_share=0.6, floor=0.0),
            evaluate_every=100,
        ),
    )


def depth(layers: int, vocabulary: int) -> LanguageRecipe:
    """One dial, as nanochat has: a model of so many layers, trained on 20 tokens a parameter.

    Width is 64 a layer and heads have 128 numbers. The batch grows with the tokens to the power 0.383 (Bergsma et al.,
    arXiv 2505.13738) from 2^19 tokens at 12 layers, rates with the root of the batch, and Muon's steps keep their
    length against the weights of any width.
    """
    model = _of_depth(layers, vocabulary)
    tokens = TOKENS_PER_PARAMETER * model.parameters
    growth = tokens / (TOKENS_PER_PARAMETER * _of_depth(12, vocabulary).parameters)
    batch = 2 ** round(math.log2(2**19 * growth**0.383) - math.log2(model.context))
    scale = math.sqrt(batch * model.context / 2**19)
    return LanguageRecipe(
        name=f"depth-{layers}",
        model=model,
        sequence=model.context,
        training=TrainingRecipe(
            steps=max(1, round(tokens / (batch * model.context))),
            batch=batch,
            micro_batch=min(batch, 2 ** max(0, round(math.log2(32 * 12 / layers)))),
            optimizer=OptimizerRecipe(
                kind="muon",
                learning_rate=scale * 0.002 * math.sqrt(768 / model.width),
                muon_learning_rate=scale * 0.1 / math.sqrt(model.width),
                weight_decay=0.1,
            ),
            schedule=ScheduleRecipe(kind="wsd", warmup_steps=40, decay_share=0.5, floor=0.05),
            precision=PrecisionRecipe(compile=True),
            checkpoints=CheckpointRecipe(every_steps=250),
            evaluate_every=250,
            evaluate_samples=512,
        ),
    )


def gpt2(vocabulary: int) -> LanguageRecipe:
    """GPT-2's smallest shape (124 M; Radford et al., 2019) on 10 billion tokens, half a million a step."""
    return LanguageRecipe(
        name="gpt2",
        model=ModelRecipe(
            vocabulary=vocabulary, layers=12, width=768, heads=12, kv_heads=12, feed_forward=2048, context=1024
        ),
        sequence=1024,
        training=TrainingRecipe(
            steps=19_073,
            batch=512,
            micro_batch=32,
            optimizer=OptimizerRecipe(kind="muon", learning_rate=2e-3, muon_learning_rate=3.6e-3),
            schedule=ScheduleRecipe(kind="wsd", warmup_steps=250, decay_share=0.4, floor=0.0),
            precision=PrecisionRecipe(compile=True),
            evaluate_every=250,
            evaluate_samples=1024,
        ),
    )


def llama_1b(vocabulary: int) -> LanguageRecipe:
    """Llama 3.2's smallest shape (1.2 B with its own 128,256 tokens; arXiv 2407.21783), on 20 tokens a parameter."""
    model = ModelRecipe(
        vocabulary=vocabulary,
        layers=16,
        width=2048,
        heads=32,
        kv_heads=8,
        feed_forward=8192,
        context=2048,
        rope_theta=500_000.0,
    )
    batch = 512
    return LanguageRecipe(
        name="llama_1b",
        model=model,
        sequence=model.context,
        training=TrainingRecipe(
            steps=math.ceil(TOKENS_PER_PARAMETER * model.parameters / (batch * model.context)),
            batch=batch,
            micro_batch=8,
            optimizer=OptimizerRecipe(kind="muon", learning_rate=8e-4, muon_learning_rate=2.2e-3),
            schedule=ScheduleRecipe(kind="wsd", warmup_steps=250, decay_share=0.4, floor=0.0),
            precision=PrecisionRecipe(compile=True),
            evaluate_every=250,
            evaluate_samples=1024,
        ),
    )


def gpt3(vocabulary: int) -> LanguageRecipe:
    """GPT-3 (175 B; Brown et al., arXiv 2005.14165, table 2.1 and appendix B) on 300 billion tokens."""
    return LanguageRecipe(
        name="gpt3",
        model=ModelRecipe(
            vocabulary=vocabulary, layers=96, width=12_288, heads=96, kv_heads=96, feed_forward=32_768, context=2048
        ),
        sequence=2048,
        training=TrainingRecipe(
            steps=95_367,
            batch=1536,
            micro_batch=1,
            optimizer=OptimizerRecipe(learning_rate=6e-5, betas=(0.9, 0.95), weight_decay=0.1, clip_norm=1.0),
            schedule=ScheduleRecipe(kind="cosine", warmup_steps=119, floor=0.1),
            precision=PrecisionRecipe(compile=True),
            parallel=ParallelRecipe(tensor=8, activation_checkpointing=True),
            checkpoints=CheckpointRecipe(every_steps=100),
            evaluate_every=500,
            evaluate_samples=1536,
        ),
    )


RECIPES: Final[Mapping[str, Callable[[int], LanguageRecipe]]] = {
    recipe.__name__: recipe for recipe in (shakespeare, shakespeare_gpu, speedrun, gpt2, llama_1b, gpt3)
}
"""By name; `depth-N` for any N is known besides."""


def named(name: str, vocabulary: int) -> LanguageRecipe:
    """The recipe of a name, for a tokenizer with so many tokens.

    Raises:
        ConfigError: there is none; the message names those that there are.
    """
    if dial := re.fullmatch(r"depth-([1-9][0-9]{0,2})", name):
        return depth(int(dial[1]), vocabulary)
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe '{name}'; there are {', '.join(RECIPES)}, and depth-N (depth-12, …)")
    return RECIPES[name](vocabulary)


def _of_depth(layers: int, vocabulary: int) -> ModelRecipe:
    heads = max(1, round(layers / 2))
    width = 128 * heads
    return ModelRecipe(
        vocabulary=vocabulary,
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=heads,
        feed_forward=128 * math.ceil(8 * width / 3 / 128),
        context=2048,
        tied=False,
    )
