"""The loop: what it learns, how it goes on, and what it does when something is wrong."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from freehold.errors import ConfigError, TrainingDiverged
from freehold.training.data.shards import TokenShards
from freehold.training.language.objective import NextToken
from freehold.training.language.recipes import LanguageRecipe
from freehold.training.pretrain import CHECKPOINTS, Trained, pretrain
from freehold.training.trainer.parallel import Devices
from freehold.training.trainer.recipe import CheckpointRecipe, SpikeRecipe
from tests.training.language.texts import prepared, small_recipe

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> TokenShards:
    return prepared(tmp_path_factory.mktemp("text"))


def train(
    recipe: LanguageRecipe,
    shards: TokenShards,
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
    objective: type[NextToken] = NextToken,
) -> Trained:
    """Train on one processor."""
    with Devices.open(recipe.training.parallel, "cpu") as devices:
        learnt = objective(recipe, shards, devices)
        return pretrain(recipe.training, learnt, devices, folder, description={"name": recipe.name}, stop=stop)


def after(steps: int) -> Callable[[], bool]:
    """Asks to stop at a step."""
    asked = iter(range(1, 1000))
    return lambda: next(asked) >= steps


def log(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of a kind of a training's log."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def curve(folder: Path) -> list[tuple[int, float]]:
    """Steps and losses."""
    return [(line["step"], line["loss"]) for line in log(folder, "step")]


def state(folder: Path, step: int) -> Mapping[str, torch.Tensor]:
    """The tensors of a checkpoint."""
    return load_file(folder / CHECKPOINTS / f"step-{step}" / "part-0.safetensors")


def assert_same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> None:
    """Two states are equal, bit for bit."""
    assert set(one) == set(other)
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_learns(shards: TokenShards, tmp_path: Path) -> None:
    """The loss of a small text falls far, on what is learnt from and on what is held out, and the log says how."""
    recipe = small_recipe(steps=80, evaluate_every=40)
    trained = train(recipe, shards, tmp_path)
    losses = curve(tmp_path)
    assert trained.finished
    assert [step for step, _ in losses] == list(range(1, 81))
    assert losses[0][1] == pytest.approx(5.56, abs=0.1)
    assert losses[-1][1] < 2.0
    assert trained.metrics["valid_loss"] < 2.0
    assert [line["step"] for line in log(tmp_path, "evaluation")] == [40, 80]
    assert log(tmp_path, "evaluation")[-1]["valid_bits_per_byte"] == trained.metrics["valid_bits_per_byte"]


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_resumed(kind: str, shards: TokenShards, tmp_path: Path) -> None:
    """A training that was stopped twice ends with the same bits as one that was not, averages and dropout included."""
    recipe = small_recipe(optimizer={"kind": kind}, average=0.9, micro_batch=4)
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"dropout": 0.2})})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(recipe, shards, whole)
    assert not train(recipe, shards, parts, after(4)).finished
    assert train(recipe, shards, parts, after(3)).step == 7
    assert train(recipe, shards, parts).finished
    assert curve(parts) == curve(whole)
    assert_same(state(parts, 12), state(whole, 12))


def test_accumulation(shards: TokenShards, tmp_path: Path) -> None:
    """Several small micro-batches are learnt from as one large batch is, to rounding."""
    train(small_recipe(), shards, tmp_path / "large")
    train(small_recipe(micro_batch=2), shards, tmp_path / "small")
    for (_, large), (_, small) in zip(curve(tmp_path / "large"), curve(tmp_path / "small"), strict=True):
        assert small == pytest.approx(large, rel=1e-4)


def test_other_pieces_go_on(shards: TokenShards, tmp_path: Path) -> None:
    """What changes rounding only may be another when a training goes on."""
    train(small_recipe(), shards, tmp_path, after(4))
    assert train(small_recipe(micro_batch=2, log_every=4), shards, tmp_path).finished


def test_other_recipe(shards: TokenShards, tmp_path: Path) -> None:
    """A folder with another training's checkpoints is refused, and the message says what is different."""
    train(small_recipe(), shards, tmp_path, after(2))
    with pytest.raises(ConfigError, match=r"training.seed is 1 there and 2 here.*choose another"):
        train(small_recipe(seed=2), shards, tmp_path)


def test_damaged_checkpoint_is_told(shards: TokenShards, tmp_path: Path) -> None:
    """A newest checkpoint that is not as it was written is passed over and told, and the end is the same."""
    recipe = small_recipe(checkpoints=CheckpointRecipe(every_steps=4))
    train(recipe, shards, tmp_path / "whole")
    train(recipe, shards, tmp_path / "damaged", after(8))
    part = tmp_path / "damaged" / CHECKPOINTS / "step-8" / "part-0.safetensors"
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    assert train(recipe, shards, tmp_path / "damaged").finished
    told = [line["text"] for line in log(tmp_path / "damaged", "event")]
    assert "a later checkpoint was passed over: step-8: part-0.safetensors is not as it was written" in told
    assert_same(state(tmp_path / "damaged", 12), state(tmp_path / "whole", 12))


def test_finished(shards: TokenShards, tmp_path: Path) -> None:
    """A training that is finished is left as it is."""
    train(small_recipe(), shards, tmp_path)
    before = (tmp_path / CHECKPOINTS / "step-12" / "manifest.json").stat().st_mtime_ns
    again = train(small_recipe(), shards, tmp_path)
    assert (again.step, again.finished, again.metrics) == (12, True, {})
    assert (tmp_path / CHECKPOINTS / "step-12" / "manifest.json").stat().st_mtime_ns == before


def test_batch_too_small(tmp_path: Path) -> None:
    """A text that is shorter than a sample is refused."""
    recipe = small_recipe()
    with pytest.raises(ConfigError, match=r"validation.*one sample needs 17"):
        train(recipe, prepared(tmp_path / "text", held_out="short"), tmp_path)


class Poisoned(NextToken):
    """Some batches make the loss something that is no number."""

    bad: frozenset[int] = frozenset()

    def batch(self, step: int, micro: int) -> Any:
        self.poisoned = step in self.bad
        return super().batch(step, micro)

    def loss(self, batch: Any) -> torch.Tensor:
        return super().loss(batch) * (float("nan") if self.poisoned else 1.0)


def test_spike_is_left_out(shards: TokenShards, tmp_path: Path) -> None:
    """A batch whose loss is no number changes nothing: the weights are those of the step before."""

    class Once(Poisoned):
        bad = frozenset({4})

    recipe = small_recipe(steps=6, checkpoints=CheckpointRecipe(every_steps=1, keep=9))
    assert train(recipe, shards, tmp_path, objective=Once).finished
    before, left_out, later = (state(tmp_path, step) for step in (4, 5, 6))
    assert all(torch.equal(tensor, left_out[name]) for name, tensor in before.items() if name.startswith("weights/"))
    assert not all(torch.equal(tensor, later[name]) for name, tensor in before.items() if name.startswith("weights/"))
    assert [line["text"] for line in log(tmp_path, "event") if "leapt" in line["text"]] == [
        "the loss leapt to nan; step 5 changed nothing"
    ]


def test_goes_back(shards: TokenShards, tmp_path: Path) -> None:
    """After too many leaps in a row it goes back to the newest checkpoint, and passes over the batches since then."""

    class Often(Poisoned):
        bad = frozenset({5, 6, 7})

    recipe = small_recipe(steps=8, checkpoints=CheckpointRecipe(every_steps=4), spikes=SpikeRecipe(patience=3))
    assert train(recipe, shards, tmp_path, objective=Often).finished
    assert [step for step, _ in curve(tmp_path)] == list(range(1, 9))
    assert any("back to step 4" in line["text"] for line in log(tmp_path, "event"))
    manifest = json.loads((tmp_path / CHECKPOINTS / "step-8" / "manifest.json").read_text())
    assert manifest["extra"]["taken"] == 12  # 8 until it went back, and 4 after that


def test_diverges(shards: TokenShards, tmp_path: Path) -> None:
    """A training whose loss never becomes a number again ends with an error that says what to try."""

    class Always(Poisoned):
        bad = frozenset(range(5, 1000))

    recipe = small_recipe(checkpoints=CheckpointRecipe(every_steps=4), spikes=SpikeRecipe(patience=2, rollbacks=2))
    with pytest.raises(TrainingDiverged, match=r"going back 2 times did not help; try a lower rate"):
        train(recipe, shards, tmp_path, objective=Always)


def test_diverges_at_once(shards: TokenShards, tmp_path: Path) -> None:
    """Without a checkpoint there is nothing to go back to, and it says so."""

    class Always(Poisoned):
        bad = frozenset(range(1000))

    with pytest.raises(TrainingDiverged, match="before there was a checkpoint"):
        train(small_recipe(spikes=SpikeRecipe(patience=2)), shards, tmp_path, objective=Always)
