"""A training from its command to its end, in processes of its own."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from freehold.errors import ConfigError
from freehold.training.data.shards import TokenShards
from freehold.training.language.build import RUN, Machines, Run, keep, opened, pretrain
from tests.training.language.texts import prepared, small_recipe

pytestmark = pytest.mark.torch

COMMAND = (sys.executable, "-m", "freehold", "train", "pretrain")
PATIENCE_S = 120


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("text")).records.folder


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """A recipe's file."""
    path = tmp_path / "small.json"
    path.write_text(small_recipe().model_dump_json(), encoding="utf-8")
    return str(path)


def kept(out: Path, data: Path, recipe: str, settings: Mapping[str, str] | None = None) -> Run:
    """A training that was begun in a folder."""
    run = opened(out, data, recipe, settings or {}, resume=False)
    asyncio.run(pretrain(run, Machines(device="cpu", threads=1), print))
    return run


def test_named_recipe(data: Path, tmp_path: Path) -> None:
    """A recipe by its name is for the tokenizer of the data, and values may be changed."""
    run = opened(tmp_path, data, "shakespeare", {"training.steps": "3"}, resume=False)
    assert (run.recipe.model.vocabulary, run.recipe.training.steps) == (260, 3)
    assert (run.step, run.finished) == (0, False)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"data": None}, "--data: say where"),
        ({"recipe": None}, "--recipe: say what"),
        ({"recipe": "shakespear"}, "no recipe 'shakespear'; there are shakespeare"),
        ({"recipe": "none.json"}, "none.json cannot be read"),
        ({"settings": {"steps": "3"}}, "no 'steps'"),
        ({"data": Path("/nowhere")}, "/nowhere"),
    ],
)
def test_wrong_words(given: Mapping[str, object], told: str, data: Path, tmp_path: Path) -> None:
    """What is missing or wrong is named."""
    words = {"data": data, "recipe": "shakespeare", "settings": {}, **given}
    with pytest.raises(ConfigError, match=told):
        opened(tmp_path, words["data"], words["recipe"], words["settings"], resume=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("machines", "told"),
    [
        (Machines(devices=3), "8 samples cannot be divided among 3"),
        (Machines(nodes=2), "--master"),
        (Machines(nodes=2, node_rank=2, master="first:29500"), "--node-rank.*the last has 1"),
    ],
)
def test_wrong_machines(machines: Machines, told: str, data: Path, recipe: str, tmp_path: Path) -> None:
    """Machines on which the recipe cannot be trained are refused before anything is started."""
    run = opened(tmp_path / "out", data, recipe, {}, resume=False)
    with pytest.raises(ConfigError, match=told):
        asyncio.run(pretrain(run, machines, print))


def test_folder_is_kept(data: Path, recipe: str, tmp_path: Path) -> None:
    """A folder that holds a training is refused without --resume, with it only the same training goes on, by itself."""
    out = tmp_path / "out"
    kept(out, data, recipe)
    with pytest.raises(ConfigError, match=r"holds the training 'small' already, at step 12 of 12; .*--resume"):
        opened(out, data, recipe, {}, resume=False)
    with pytest.raises(ConfigError, match=r"another training: training.steps is 12 there and 13 here"):
        opened(out, data, recipe, {"training.steps": "13"}, resume=True)
    with pytest.raises(ConfigError, match=r"another training: name is 'small' there and 'shakespeare' here"):
        opened(out, data, "shakespeare", {}, resume=True)
    run = opened(out, None, None, {"training.log_every": "5"}, resume=True)
    assert (run.recipe.name, run.data, run.step, run.finished) == ("small", data, 12, True)
    part = out / "checkpoints" / "step-12" / "part-0.safetensors"
    part.write_bytes(part.read_bytes()[:-1])
    assert not run.finished, "what the disk has spoilt is trained again"
    (out / RUN).write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="does not say what is trained"):
        opened(out, None, None, {}, resume=True)


def test_nothing_was_trained(data: Path, recipe: str, tmp_path: Path) -> None:
    """A folder in which no step was kept is free: another training may begin there, and the log is its own."""
    out = tmp_path / "out"
    out.mkdir()
    keep(opened(out, data, "shakespeare", {}, resume=False))
    (out / "log.jsonl").write_text('{"kind": "run", "name": "shakespeare", "steps": 2000}\n', encoding="utf-8")
    kept(out, data, recipe, {"training.steps": "1"})
    begun, *_ = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert (begun["kind"], begun["name"]) == ("run", "small")


def test_tokenizer_is_kept(data: Path, recipe: str, tmp_path: Path) -> None:
    """The tokenizer lies in the training's folder, as it is in that of the data."""
    out = tmp_path / "out"
    kept(out, data, recipe, {"training.steps": "1"})
    shards = TokenShards.open(data)
    for file in shards.tokenizer.iterdir():
        assert (out / "tokenizer" / file.name).read_bytes() == file.read_bytes()


def test_two_processes(data: Path, recipe: str, tmp_path: Path) -> None:
    """Two processes learn what one does, to rounding, and say what one says."""
    curves = []
    for devices in (1, 2):
        out = tmp_path / str(devices)
        run = opened(out, data, recipe, {}, resume=False)
        asyncio.run(pretrain(run, Machines(devices=devices, device="cpu", threads=1), print))
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        curves.append(
            [line.get("loss", line.get("valid_loss")) for line in lines if line["kind"] in {"step", "evaluation"}]
        )
    assert len(curves[0]) == 13
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)


def test_command(data: Path, recipe: str, tmp_path: Path) -> None:
    """The command trains and shows the curve; Ctrl-C leaves a checkpoint, --resume goes on, and then it is finished."""
    out = tmp_path / "out"
    begin = [*COMMAND, "--data", str(data), "--recipe", recipe, "--out", str(out)]
    begin += ["--threads", "1", "--set", "training.steps=600"]
    with subprocess.Popen(begin, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert any(line.startswith("step 3/") for line in running.stdout)
        running.send_signal(signal.SIGINT)
        said = running.stdout.read()
        assert running.wait(PATIENCE_S) == 130
    told = re.search(r"stopped; a checkpoint of step (\d+) .* --resume", said)
    assert told is not None
    assert (out / "checkpoints" / f"step-{told[1]}").is_dir()

    def again(*options: str) -> str:
        words = [*COMMAND, "--out", str(out), "--threads", "1", *options]
        return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout

    assert f"goes on after step {told[1]}" in again("--resume")
    assert "holds the finished training 'small', at step 600" in again("--resume")


@pytest.mark.long
def test_a_scheduler_stops_it(data: Path, recipe: str, tmp_path: Path) -> None:
    """SIGTERM, which schedulers and service managers send, leaves a checkpoint, also where Ctrl-C would be ignored."""
    out = tmp_path / "out"
    begin = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *COMMAND]
    begin = [*begin, "--data", str(data), "--recipe", recipe, "--out", str(out), "--threads", "1"]
    with subprocess.Popen([*begin, "--set", "training.steps=9999"], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert any(line.startswith("step 3/") for line in running.stdout)
        running.send_signal(signal.SIGTERM)
        told = re.search(r"stopped; a checkpoint of step (\d+) ", running.stdout.read())
        assert running.wait(PATIENCE_S) == 130
    assert told is not None
    assert (out / "checkpoints" / f"step-{told[1]}").is_dir()
