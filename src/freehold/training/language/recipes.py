"""Recipes for language models: functions that return everything that a training needs to know.

- `shakespeare`: what nanoGPT's readme trains on a processor in three minutes, at the same shape and batch
- `shakespeare_gpu`: and what it trains on a GPU
- `speedrun`: what `runs/speedrun.sh` trains on two cores
- `depth`: one dial, as nanochat has: width, heads, steps and rates follow from the number of layers
- `gpt2`, `gpt3`: the sizes of their papers, in Llama's architecture
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from freehold.training.trainer.recipe import PositiveInt, TrainingRecipe
from freehold.types.base import SettingsModel


class ModelRecipe(SettingsModel):
    """A GPT of Llama's architecture: RMSNorm, rotary positions, SwiGLU, grouped-query attention (arXiv 2307.09288)."""

    vocabulary: PositiveInt
    """Tokens that there are; the embedding has as many rows."""
    layers: PositiveInt
    width: PositiveInt
    """Numbers a token is on the way (`hidden_size`)."""
    heads: PositiveInt
    kv_heads: PositiveInt
    feed_forward: PositiveInt
    """Numbers a token is inside of the feed-forward layer (`intermediate_size`)."""
    context: PositiveInt
    """Tokens in a sequence at most."""
    rope_theta: Annotated[float, Field(gt=0)] = 10_000.0
    norm_epsilon: Annotated[float, Field(gt=0)] = 1e-5
    tied: bool = True
    """Whether the head is the embedding."""

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
