"""Where a fine-tuned model comes from: files, data sets, recipe, code and checkpoints, recorded as artifacts.

Each names what it was made from, by digest; what callers wrote stands in none of them.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

import freehold.training.finetune
from freehold.gateway.tuning_store import Tuning
from freehold.types.lineage import Artifact, ArtifactKind
from freehold.types.model import ModelEntry

Record: TypeAlias = Callable[[Artifact], Awaitable[None]]
"""See `freehold.gateway.lineage.Lineage.record`."""
_PACKAGE: Final = "freehold"


class Origin:
    """Records what one job is made of.

    Args:
        record: records an artifact.
        tuning: the job.
    """

    def __init__(self, record: Record, tuning: Tuning) -> None:
        self._record = record
        self._tuning = tuning

    async def data(self, name: str, file_id: str, sha256: str, examples: int) -> str:
        """Record a file of examples, and the data set that it was read as; the digest of that.

        Args:
            name: `training` or `validation`.
            file_id: of the file.
            sha256: of its bytes, in hex.
            examples: how many it has.
        """
        await self._add(sha256, ArtifactKind.FILE, file_id, (), {})
        facts: dict[str, str | int | float] = {
            "job": self._tuning.id, "part": name, "examples": examples, "method": self._tuning.row.method
        }  # fmt: skip
        digest = digest_of({"file": sha256, **facts})
        await self._add(digest, ArtifactKind.DATASET, f"{self._tuning.id}/{name}", (sha256,), facts)
        return digest

    async def recipe(self, said: Mapping[str, Any]) -> tuple[str, str]:
        """Record the numbers and the code of a run; the digests of both.

        Args:
            said: what the process said of itself when it began.
        """
        row = self._tuning.row
        numbers = {key: value for key, value in (said.get("hyperparameters") or {}).items() if value is not None}
        facts: dict[str, str | int | float] = {
            "job": row.id, "method": row.method, "seed": row.seed, "export": row.export,
            **{key: value for key, value in numbers.items() if isinstance(value, str | int | float)},
        }  # fmt: skip
        recipe = digest_of({**facts, "grader": digest_of(self._tuning.header["method"])})
        await self._add(recipe, ArtifactKind.RECIPE, f"{row.id}/recipe", (), facts)
        versions = {str(key): str(value) for key, value in (said.get("versions") or {}).items()}
        built = {"freehold": _version(), "source_sha256": source_digest(), **versions}
        code = digest_of(built)
        await self._add(code, ArtifactKind.CODE, f"{_PACKAGE} {_version()}", (), built)
        return recipe, code

    async def checkpoint(self, step: int, sha256: str, parents: tuple[str, ...]) -> None:
        """Record a checkpoint: its step, the digest of its files, and what it was made from."""
        name = f"{self._tuning.id}/step-{step}"
        await self._add(sha256, ArtifactKind.CHECKPOINT, name, parents, {"job": self._tuning.id, "step": step})

    async def model(self, entry: ModelEntry, parents: tuple[str, ...]) -> None:
        """Record a model, and what it was made from."""
        facts: dict[str, str | int | float] = {
            "job": self._tuning.id, "source": entry.source, "format": entry.format, "size_bytes": entry.size_bytes
        }  # fmt: skip
        await self._add(entry.sha256, ArtifactKind.MODEL, entry.name, parents, facts)

    async def _add(
        self,
        digest: str,
        kind: ArtifactKind,
        name: str,
        parents: tuple[str, ...],
        facts: Mapping[str, str | int | float],
    ) -> None:
        row = self._tuning.row
        found = tuple(dict.fromkeys(parent for parent in parents if parent and parent != digest))
        await self._record(Artifact(digest, kind, name, found, row.organization_id, row.project_id, facts))


def digest_of(value: Mapping[str, Any]) -> str:
    """The digest of a value's canonical JSON, in hex."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


@cache
def source_digest() -> str:
    """The digest of the modules that train: of the lines `<digest>  <name>`, sorted by name."""
    folder = Path(str(freehold.training.finetune.__file__)).parent
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.rglob("*.py"))
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _version() -> str:
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        return "unknown"
