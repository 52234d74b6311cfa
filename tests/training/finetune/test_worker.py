"""The training process, with a model so small that it trains in seconds."""

import json
import pickle
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from freehold.engines.gguf_header import read_metadata
from freehold.training.finetune.protocol import FAILED, FINISHED, STOPPED
from tests.training.finetune.data_sets import plainness, questions, spellings, split, tickets
from tests.training.finetune.driving import Run, Trainer, lay_job, run

pytestmark = [pytest.mark.slow, pytest.mark.finetune]

LEARN: Mapping[str, Any] = {"hyperparameters": {"n_epochs": 2, "batch_size": 4}, "checkpoint_steps": 5, "seed": 5}


def lay_supervised(folder: Path, base: Path, **task: Any) -> Path:
    training, validation = split(tickets(48), 40)
    return lay_job(folder, "supervised", base, training, validation, **{**LEARN, **task})


@pytest.fixture(scope="module")
def undisturbed(python: str, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A supervised job that ran to its end, with its folder."""
    folder = lay_supervised(tmp_path_factory.mktemp("undisturbed") / "job", tiny_base, export_checkpoints=True)
    return folder, run(python, folder)


def test_a_job_tells_what_it_does(undisturbed: tuple[Path, Run]) -> None:
    """It says how it starts, what it measures at each step, and where its result is."""
    folder, done = undisturbed
    assert done.status == FINISHED, done.complaint
    (started,) = done.of("started")
    assert (started["total_steps"], started["examples"], started["resumed_from"]) == (20, 40, 0)
    assert started["hyperparameters"]["batch_size"] == 4
    assert started["versions"].keys() == {"torch", "transformers", "trl", "peft"}
    assert [message["step"] for message in done.of("metrics")] == list(range(21))
    assert done.series("train_loss")[-1] < done.series("train_loss")[0]
    assert len(done.series("full_valid_loss")) == 2
    assert done.series("full_valid_loss")[-1] < done.series("valid_loss")[0]
    (finished,) = done.of("finished")
    made = folder / finished["file"]
    assert finished["size_bytes"] == made.stat().st_size
    assert finished["sha256"] == sha256(made.read_bytes()).hexdigest()
    assert finished["trained_tokens"] == started["trained_tokens"] > 0


def test_the_result_is_its_base_with_other_weights(undisturbed: tuple[Path, Run], tiny_base: Path) -> None:
    """Sizes, vocabulary and chat template are the base's; the name is the job's."""
    folder, _ = undisturbed
    before, after = read_metadata(tiny_base), read_metadata(folder / "export" / "model.gguf")
    own = {"general.name", "general.file_type", "general.type"}
    assert {key: value for key, value in after.items() if key not in own} == {
        key: value for key, value in before.items() if key not in own
    }
    assert after["general.name"] == "ft:base:test"
    assert after["general.file_type"] == 1


def test_checkpoints_are_told_and_exported(undisturbed: tuple[Path, Run]) -> None:
    """Checkpoints stand where they are said to, the newest two of them; each epoch's is exported."""
    folder, done = undisturbed
    told = done.of("checkpoint")
    assert [message["step"] for message in told] == [5, 10, 15, 20]
    assert [message.get("file") for message in told] == [None, "export/step-10.gguf", None, "export/step-20.gguf"]
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-15", "step-20"]
    assert (folder / told[1]["file"]).read_bytes()[:4] == b"GGUF"
    assert told[1]["metrics"]["full_valid_loss"] == done.series("full_valid_loss")[0]


def test_a_killed_process_goes_on_as_if_nothing_had_been(
    python: str, tiny_base: Path, tmp_path: Path, undisturbed: tuple[Path, Run]
) -> None:
    """After SIGKILL it goes on from its newest checkpoint, with the same examples in the same order."""
    folder = lay_supervised(tmp_path / "job", tiny_base)
    trainer = Trainer(python, folder)
    for message in trainer.messages():
        if message["type"] == "metrics" and message["step"] == 12:
            trainer.kill()
    assert trainer.run.status == -9
    again = run(python, folder)
    assert again.status == FINISHED, again.complaint
    assert again.of("started")[0]["resumed_from"] == 10
    _, whole = undisturbed
    expected = {message["step"]: message["train_loss"] for message in whole.of("metrics") if "train_loss" in message}
    found = {message["step"]: message["train_loss"] for message in again.of("metrics") if "train_loss" in message}
    assert found.keys() == set(range(11, 21))
    assert all(abs(found[step] - expected[step]) < 0.001 * expected[step] for step in found)
    assert again.series("full_valid_loss")[-1] == pytest.approx(whole.series("full_valid_loss")[-1], rel=0.01)


@pytest.mark.parametrize("word", ["pause", "cancel"])
def test_a_job_stops_at_a_steps_end_and_can_go_on(python: str, tiny_base: Path, tmp_path: Path, word: str) -> None:
    """Told to pause or cancel, it writes a checkpoint and ends; a paused one goes on from there."""
    folder = lay_supervised(tmp_path / "job", tiny_base, checkpoint_steps=20, max_steps=12)
    trainer = Trainer(python, folder)
    for message in trainer.messages():
        if message["type"] == "metrics" and message["step"] == 2:
            trainer.tell({"type": word})
    assert trainer.run.status == STOPPED, trainer.run.complaint
    (written,) = trainer.run.of("checkpoint")
    assert not trainer.run.of("finished")
    if word == "pause":
        again = run(python, folder)
        assert again.of("started")[0]["resumed_from"] == written["step"]
        assert again.status == FINISHED, again.complaint


def test_a_job_that_had_only_to_be_exported_is_exported(
    python: str, tiny_base: Path, undisturbed: tuple[Path, Run]
) -> None:
    """A process that was killed between its last step and its result trains no further, and makes the same result."""
    folder, done = undisturbed
    assert tiny_base.exists()
    (folder / "export" / "model.gguf").unlink()
    again = run(python, folder)
    assert again.status == FINISHED, again.complaint
    assert again.of("started")[0]["resumed_from"] == 20
    assert not again.series("train_loss")
    assert again.of("finished")[0]["sha256"] == done.of("finished")[0]["sha256"]


def test_preferences_are_learnt(python: str, tiny_base: Path, tmp_path: Path) -> None:
    """A DPO job tells how often the preferred answer is the likelier one, before and after; an adapter comes out."""
    training, validation = split(spellings(48), 32)
    folder = lay_job(
        tmp_path / "job",
        "dpo",
        tiny_base,
        training,
        validation,
        export="lora",
        hyperparameters={"n_epochs": 2, "learning_rate_multiplier": 20.0},
    )
    done = run(python, folder)
    assert done.status == FINISHED, done.complaint
    accuracy = done.series("valid_preference_accuracy")
    assert len(accuracy) == 3
    assert accuracy[-1] >= accuracy[0]
    assert done.series("valid_reward_accuracy")[-1] > 0.5 >= done.series("valid_reward_accuracy")[0]
    metadata = read_metadata(folder / "export" / "model.gguf")
    assert (metadata["general.type"], metadata["adapter.type"]) == ("adapter", "lora")


def test_rewards_are_asked_for(python: str, tiny_base: Path, tmp_path: Path) -> None:
    """A GRPO job has its answers graded with the data set's own fields, and bears that some cannot be."""
    training, validation = split(questions(14), 12)
    seen: list[Mapping[str, Any]] = []

    def grader(item: Mapping[str, Any], text: str) -> float | None:
        seen.append(item)
        return None if len(seen) % 5 == 0 else plainness(item, text)

    folder = lay_job(
        tmp_path / "job",
        "reinforcement",
        tiny_base,
        training,
        validation,
        export="q8_0",
        max_steps=3,
        hyperparameters={"reasoning_effort": "low", "batch_size": 2, "compute_multiplier": 0.5},
    )
    done = run(python, folder, grader)
    assert done.status == FINISHED, done.complaint
    assert len(done.series("train_mean_reward")) == 3
    assert done.series("valid_mean_reward")
    assert all(item["words"] == ["yes", "no"] and item["messages"] for item in seen)
    assert read_metadata(folder / "export" / "model.gguf")["general.file_type"] == 7


def test_a_grpo_job_stops_while_it_waits_for_grades(python: str, tiny_base: Path, tmp_path: Path) -> None:
    """Who does not grade any more but says pause finds a checkpoint of the step before."""
    folder = lay_job(
        tmp_path / "job",
        "reinforcement",
        tiny_base,
        questions(12),
        max_steps=9,
        checkpoint_steps=9,
        hyperparameters={"reasoning_effort": "low", "batch_size": 2, "compute_multiplier": 0.25},
    )
    trainer = Trainer(python, folder)
    for message in trainer.messages():
        if message["type"] == "grade":
            if message["id"] == 3:
                trainer.tell({"type": "pause"})
            else:
                rewards = [float(index) for index, _ in enumerate(message["samples"])]
                trainer.tell({"type": "grades", "id": message["id"], "rewards": rewards, "problems": []})
    assert trainer.run.status == STOPPED, trainer.run.complaint
    assert [message["step"] for message in trainer.run.of("checkpoint")] == [2]


def failed(done: Run) -> dict[str, Any]:
    """What a job said that failed for its input's sake."""
    assert done.status == FAILED, done.complaint
    assert [message["type"] for message in done.messages] == ["failed"]
    return done.messages[0]


def test_a_pickle_is_no_base(python: str, tmp_path: Path) -> None:
    """A base that is no GGUF file is not opened by anything that could run it."""
    content = pickle.dumps({"weights": [1.0]})
    base = tmp_path / f"sha256-{sha256(content).hexdigest()}"
    base.write_bytes(content)
    said = failed(run(python, lay_supervised(tmp_path / "job", base)))
    assert "no GGUF file" in said["message"]
    assert said["param"] == "model"


def test_a_base_that_was_changed_is_refused(python: str, tiny_base: Path, tmp_path: Path) -> None:
    """Weights are trained only if they are those that were recorded."""
    folder = lay_supervised(tmp_path / "job", tiny_base)
    task = json.loads((folder / "task.json").read_text())
    task["base"]["sha256"] = "00" * 32
    (folder / "task.json").write_text(json.dumps(task))
    assert "not those that were recorded" in failed(run(python, folder))["message"]


def test_a_bad_file_is_refused_with_line_and_field(python: str, tiny_base: Path, tmp_path: Path) -> None:
    """The process checks its files again, and trusts nobody's word."""
    folder = lay_supervised(tmp_path / "job", tiny_base)
    with (folder / "training.jsonl").open("a") as file:
        file.write('{"messages": [{"role": "assistant"}]}\n')
    said = failed(run(python, folder))
    assert said["code"] == "invalid_training_file"
    assert "line 41, messages[0].content: is missing" in said["message"]
