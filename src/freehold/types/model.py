"""Models of the catalog."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model on this machine.

    Args:
        name: what deployments call it.
        source: the URI that it was pulled from.
        source_sha256: hex digest of the weights that were fetched; of several files, the digest of the lines
            `<digest>  <name>` sorted by name.
        sha256: hex digest of what is served; differs from `source_sha256` where it was converted. Of a pipeline, the
            digest of the lines of all its files.
        size_bytes: the size of what is served.
        format: what was fetched; safetensors are converted to GGUF, except for pipelines, which are served as they are.
            Only a pipeline has the format "openvino". "transformers" is a folder of safetensors that were kept as they
            are, in Hugging Face's layout, with the digest of all its files. A "lora" is an adapter, in GGUF, of the
            model that `details["parent_sha256"]` names, and is served together with it.
        details: licence, architecture, parameter_count, context_length (tokens), embedding_length, quantization,
            chat_template (whether there is one), pinned (whether the digest of the weights was given beforehand) and
            task ("chat", "embeddings" or "images"), as far as known; of a model that was trained here also parent and
            parent_sha256: the name and `sha256` of what it was made from; of one that was trained from nothing
            training: what its folder states (`freehold.types.training_statement`).
        created_at: seconds since the epoch.
    """

    name: str
    source: str
    source_sha256: str
    sha256: str
    size_bytes: int
    format: Literal["gguf", "safetensors", "openvino", "transformers", "lora"]
    details: Mapping[str, Any] = field(default_factory=dict)
    created_at: int = 0

    def wire(self) -> dict[str, Any]:
        """The entry as JSON values."""
        return {
            "object": "model",
            "name": self.name,
            "source": self.source,
            "source_sha256": self.source_sha256,
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "format": self.format,
            "details": dict(self.details),
            "created_at": self.created_at,
        }


@dataclass(frozen=True, slots=True)
class Retirement:
    """When it was announced that a model is retired, and when that is: seconds since the epoch."""

    announced_at: int
    at: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is: bytes of the file at hand, and of how many, where that is known."""

    stage: Literal["downloading", "verifying", "converting", "done"]
    done_bytes: int
    total_bytes: int | None
