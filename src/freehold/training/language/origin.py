"""Where a trained model comes from, read from the folder of its training: for its card, and for the lineage."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from freehold.errors import ConfigError
from freehold.training.checkpoint_folders import CheckpointDamaged, CheckpointFolders, whole_manifest
from freehold.training.data.shards import CARD
from freehold.training.language.build import Run
from freehold.training.trainer.log_file import NAME as LOG
from freehold.training.trainer.log_file import read_lines
from freehold.types.training_statement import StatedData, StatedPart, StatedSource, TrainingStatement

CHECKPOINTS: Final = "checkpoints"


@dataclass(frozen=True, slots=True)
class Origin:
    """A checkpoint that is whole, and what is known of the training that wrote it.

    Args:
        run: the training.
        folder: of the checkpoint.
        step: after which it was written.
        sha256: of the lines `<digest>  <name>` of its parts, sorted by name.
        data_sha256: identifies the tokens that were learnt.
        tokenizer_sha256: of the tokenizer's file.
        metrics: what held-out text said at that step, if it was asked.
        code: what trained.
        notes: what whoever exports should know.
    """

    run: Run
    folder: Path
    step: int
    sha256: str
    data_sha256: str
    tokenizer_sha256: str
    metrics: Mapping[str, float]
    code: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: Run, step: int | None) -> "Origin":
        """The checkpoint of a step, or else the newest that is whole.

        Raises:
            ConfigError: there is none, or it is not as it was written.
        """
        there = CheckpointFolders(run.out / CHECKPOINTS, 1).newest_first()
        if not there:
            raise ConfigError(
                f"{run.out} has no checkpoint yet; train it: freehold train pretrain --out {run.out} --resume"
            )
        steps = ", ".join(str(number) for number, _ in reversed(there))
        wanted = [(number, folder) for number, folder in there if step in {None, number}]
        if not wanted:
            raise ConfigError(f"{run.out} has no checkpoint of step {step}; there are those of {steps}")
        notes = []
        for number, folder in wanted:
            try:
                manifest = whole_manifest(folder)
            except CheckpointDamaged as exc:
                notes.append(f"the checkpoint of step {number} is passed over: {exc}")
                continue
            return cls._read(run, folder, manifest, tuple(notes))
        raise ConfigError(f"{run.out} has no checkpoint that is whole: {'; '.join(notes)}")

    @classmethod
    def _read(cls, run: Run, folder: Path, manifest: Mapping[str, Any], notes: tuple[str, ...]) -> "Origin":
        step, identity, files = manifest["step"], manifest["identity"], manifest["files"]
        lines = read_lines(run.out / LOG)
        evaluated = [line for line in lines if line.get("kind") == "evaluation" and line.get("step") == step]
        metrics = {
            name: float(value)
            for name, value in (evaluated[-1] if evaluated else {}).items()
            if name.startswith("valid_") and isinstance(value, int | float)
        }
        begun: Mapping[str, Any] = next((line for line in lines if line.get("kind") == "run"), {})
        whole = hashlib.sha256("".join(f"{files[name]}  {name}\n" for name in sorted(files)).encode()).hexdigest()
        code = {str(name): str(value) for name, value in (begun.get("code") or {}).items()}
        return cls(run, folder, step, whole, identity["data"], identity["tokenizer"], metrics, code, notes)

    @property
    def card(self) -> Path:
        """The card of the data, which the training kept."""
        return self.run.out / CARD

    def unmeasured(self) -> "Origin":
        """The same, of weights that the evaluation did not measure."""
        return replace(self, metrics={})

    def statement(self, weights_sha256: str, licence: str) -> TrainingStatement:
        """What the folder of the model states.

        Args:
            weights_sha256: of the weights that were written.
            licence: of the model; empty where none was given.

        Raises:
            ConfigError: the data's card is of other data.
        """
        recipe = self.run.recipe
        tree = recipe.model_dump(mode="json")
        training = recipe.training
        facts: dict[str, str | int | float] = {
            "parameters": recipe.model.parameters,
            "steps": training.steps,
            "batch": training.batch,
            "sequence": recipe.sequence,
            "optimizer": training.optimizer.kind,
            "seed": training.seed,
        }
        code: dict[str, str | int | float] = dict(self.code)
        return TrainingStatement(
            weights_sha256=weights_sha256,
            licence=licence,
            data=self._data(),
            recipe=StatedPart(name=recipe.name, sha256=_canonical(tree), facts=facts),
            code=StatedPart(name=f"freehold {code.get('freehold', 'unknown')}", sha256=_canonical(code), facts=code),
            checkpoint=StatedPart(
                name=f"{recipe.name}/step-{self.step}", sha256=self.sha256, facts={"step": self.step, **self.metrics}
            ),
        )

    def _data(self) -> StatedData:
        """What the data's card says; where there is none, no more than their digest."""
        name = f"{self.run.recipe.name}/data"
        known = StatedData(name=name, sha256=self.data_sha256, tokenizer_sha256=self.tokenizer_sha256)
        if not self.card.is_file():
            return known
        try:
            raw = self.card.read_bytes()
            card = json.loads(raw)
            sources = tuple(
                StatedSource(
                    name=each["name"], sha256=each["sha256"], bytes=each["bytes"], licence=each["licence"][:256]
                )
                for each in card["sources"]
            )
            tokens, told = card["splits"]["training"]["tokens"], card["sha256"]
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise ConfigError(f"{self.card} is not as it was written; copy it again from the data's folder") from exc
        if told != self.data_sha256:
            raise ConfigError(f"{self.card} is the card of other data ({told}) than were learnt ({self.data_sha256})")
        stated = {"tokens": tokens, "card_sha256": hashlib.sha256(raw).hexdigest(), "sources": sources}
        return StatedData.model_validate({**known.model_dump(), **stated})


def _canonical(tree: Mapping[str, Any]) -> str:
    """The digest of a value's canonical JSON, as the journal writes it."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
