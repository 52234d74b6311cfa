"""The model of a training, written with its card and with what it states of where it comes from."""

import json
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from freehold.errors import ConfigError
from freehold.training.data.prepare import Preparation
from freehold.training.data.settings import DataSettings, TokenizerSettings, source_files
from freehold.training.data.shards import TokenShards
from freehold.training.data.tokenizer import train_tokenizer
from freehold.training.language.build import RUN, TOKENIZER, Run, keep
from freehold.training.language.code import code_facts
from freehold.training.language.export import DATA_CARD, export
from freehold.training.language.export_request import ExportRequest
from freehold.training.language.llama_folder import weights_sha256
from freehold.training.language.objective import NextToken
from freehold.training.pretrain import pretrain
from freehold.training.trainer.parallel import Devices
from freehold.types.training_statement import STATEMENT, TrainingStatement
from tests.training.language.texts import small_recipe

pytestmark = pytest.mark.torch

TEXT = "\n\n".join(f"Day {at}: the sea is {'calm' if at % 3 else 'wild'}." for at in range(300))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of six steps with averaged weights and checkpoints of steps 3 and 6."""
    root = tmp_path_factory.mktemp("run")
    (root / "days.txt").write_text(TEXT, encoding="utf-8")
    tokenizer = train_tokenizer([TEXT], TokenizerSettings(vocabulary=270), root / "tokenizer")
    sources = source_files("text", [root / "days.txt"])
    settings = DataSettings(sources=tuple(sources), tokenizer=root / "tokenizer", licences=("CC0-1.0",))
    Preparation(settings, root / "data", lambda _: None).run()
    small = small_recipe()
    recipe = small.model_copy(
        update={
            "model": small.model.model_copy(update={"vocabulary": tokenizer.vocabulary}),
            "training": small.training.model_copy(
                update={
                    "steps": 6,
                    "average": 0.5,
                    "checkpoints": small.training.checkpoints.model_copy(update={"every_steps": 3, "keep": 2}),
                }
            ),
        }
    )
    out = root / "run"
    out.mkdir()
    keep(Run(recipe, root / "data", out))
    with Devices.open(recipe.training.parallel, "cpu") as devices:
        learnt = NextToken(recipe, TokenShards.open(root / "data"), devices)
        pretrain(recipe.training, learnt, devices, out, description={"name": recipe.name, "code": code_facts()})
    return out


def exported(run: Path, out: Path, **given: Any) -> tuple[TrainingStatement, list[str]]:
    """What is stated of an exported model, and what was said."""
    said: list[str] = []
    request = ExportRequest(run=str(run), out=str(out), name="days", licence="CC0-1.0", **given)
    return export(request, said.append), said


def test_the_averaged_weights_are_written(run: Path, tmp_path: Path) -> None:
    """The newest checkpoint's means are the model, since they were evaluated; others only where they are asked for."""
    checkpoint = load_file(run / "checkpoints" / "step-6" / "part-0.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    for weights, key in (("auto", f"extra/average.{name}"), ("trained", f"weights/{name}")):
        exported(run, tmp_path / weights, weights=weights)
        model = AutoModelForCausalLM.from_pretrained(tmp_path / weights)
        assert torch.equal(model.state_dict()[name], checkpoint[key]), weights


def test_the_statement_leads_to_the_text(run: Path, tmp_path: Path) -> None:
    """Sources, data, tokenizer, recipe, code and checkpoint are stated by their digests, with what was measured."""
    stated, _ = exported(run, tmp_path / "out")
    assert stated == TrainingStatement.model_validate_json((tmp_path / "out" / STATEMENT).read_bytes())
    assert stated.weights_sha256 == weights_sha256(tmp_path / "out")
    (source,) = stated.data.sources
    assert (source.name, source.sha256, source.licence) == ("days.txt", sha256(TEXT.encode()).hexdigest(), "CC0-1.0")
    card = json.loads((run / "card.json").read_text())
    assert (stated.data.sha256, stated.data.tokens) == (card["sha256"], card["splits"]["training"]["tokens"])
    assert stated.data.tokenizer_sha256 == sha256((run / TOKENIZER / "tokenizer.json").read_bytes()).hexdigest()
    assert stated.checkpoint.facts["step"] == 6
    assert stated.checkpoint.facts["valid_loss"] == measured(run)["valid_loss"]
    assert stated.code.facts == code_facts()
    unmeasured, _ = exported(run, tmp_path / "trained", weights="trained")
    assert set(unmeasured.checkpoint.facts) == {"step"}, "the evaluation was of the averaged weights"


def measured(run: Path) -> Mapping[str, float]:
    """The last evaluation in the log."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "evaluation"][-1]


def test_the_card_tells_what_the_model_is(run: Path, tmp_path: Path) -> None:
    """A reader of the folder finds data, licences, figures and how to serve it, and the data's card."""
    stated, _ = exported(run, tmp_path / "out")
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for told in (
        'license_name: "CC0-1.0"',
        "| days.txt |",
        f"--sha256 {stated.weights_sha256}",
        f"{measured(run)['valid_bits_per_byte']:.4f}",
        str(stated.data.card_sha256),
        '"steps": 6',
    ):
        assert told in page
    assert (tmp_path / "out" / DATA_CARD).read_bytes() == (run / "card.md").read_bytes()


def test_a_damaged_checkpoint_is_passed_over(run: Path, tmp_path: Path) -> None:
    """The newest that is whole is written and the other is told of; one that was asked for by its step is an error."""
    copy = shutil.copytree(run, tmp_path / "run")
    part = copy / "checkpoints" / "step-6" / "part-0.safetensors"
    whole = part.read_bytes()
    part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    stated, said = exported(copy, tmp_path / "out")
    assert stated.checkpoint.name == "small/step-3"
    assert any("step 6 is passed over: part-0.safetensors is not as it was written" in line for line in said)
    with pytest.raises(ConfigError, match="no checkpoint that is whole: the checkpoint of step 6"):
        exported(copy, tmp_path / "other", step=6)


def test_what_cannot_be_exported_is_named(run: Path, tmp_path: Path) -> None:
    """A folder without a training, a step without a checkpoint, and means that were not kept are errors that say so."""
    with pytest.raises(ConfigError, match="holds no training"):
        exported(tmp_path, tmp_path / "out")
    with pytest.raises(ConfigError, match="no checkpoint of step 4; there are those of 3, 6"):
        exported(run, tmp_path / "out", step=4)
    copy = shutil.copytree(run, tmp_path / "run")
    tree = json.loads((copy / RUN).read_text())
    tree["recipe"]["training"]["average"] = None
    (copy / RUN).write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match="kept no averaged weights"):
        exported(copy, tmp_path / "out", weights="averaged")
    assert not (tmp_path / "out").exists()


def test_a_folder_is_replaced_only_if_it_is_an_export(run: Path, tmp_path: Path) -> None:
    """An earlier export gives way as a whole; a folder with something else in it is left alone."""
    out = tmp_path / "out"
    exported(run, out, step=3)
    (out / "left.txt").write_text("of before")
    stated, _ = exported(run, out)
    assert stated.checkpoint.facts["step"] == 6
    assert not (out / "left.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "diary.txt").write_text("mine")
    with pytest.raises(ConfigError, match="has something else in it"):
        exported(run, other)
    assert (other / "diary.txt").read_text() == "mine"
