"""What a model's folder says of its training: the file that `freehold train export` writes beside the weights.

The catalog reads it with the weights, and the lineage has what it says as the parents of the model. It is the word of
whoever wrote the folder; that it speaks of these very weights is checked.
"""

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from freehold.types.base import SettingsModel

STATEMENT: Final = "freehold-training.json"
"""The file's name."""
MAX_STATEMENT_BYTES: Final = 1 << 20

Digest: TypeAlias = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""A SHA-256 in hex."""
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]
Count: TypeAlias = Annotated[int, Field(ge=0)]
Facts: TypeAlias = Annotated[dict[Name, Annotated[str, Field(max_length=256)] | int | float], Field(max_length=64)]


class StatedSource(SettingsModel):
    """A file that the training data were made of."""

    name: Name
    sha256: Digest
    bytes: Count
    licence: Annotated[str, Field(max_length=256)] = ""


class StatedData(SettingsModel):
    """The training data: token shards, with the digest that names them, and what their card says, if there is one."""

    name: Name
    sha256: Digest
    card_sha256: Digest | None = None
    tokenizer_sha256: Digest
    tokens: Count | None = None
    sources: Annotated[tuple[StatedSource, ...], Field(max_length=10_000)] = ()


class StatedPart(SettingsModel):
    """A recipe, a version of the code, or a checkpoint: its digest, and what is known of it."""

    name: Name
    sha256: Digest
    facts: Facts = Field(default_factory=dict)


class TrainingStatement(SettingsModel):
    """How the weights of a folder came to be."""

    version: Literal[1] = 1
    weights_sha256: Digest
    """Of the safetensors file or, of several, of the lines `<digest>  <name>` sorted by name."""
    licence: Annotated[str, Field(max_length=256)] = ""
    data: StatedData
    recipe: StatedPart
    code: StatedPart
    checkpoint: StatedPart
