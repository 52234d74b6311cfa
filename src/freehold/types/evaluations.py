"""Evaluations: what is asked of models, and what is said of their answers."""

from typing import Annotated

from pydantic import Field

from freehold.types.base import SettingsModel


class EvaluationsSettings(SettingsModel):
    """`[evaluations]`: what evaluations ask beside the models that their callers name."""

    embedding_model: Annotated[str, Field(min_length=1, max_length=256)] = "embed"
    """The deployment whose embeddings the metric `cosine` compares."""
