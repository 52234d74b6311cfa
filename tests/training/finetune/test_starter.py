"""Fine-tuning the starter model on two cores: what it learns, how well, and that llama.cpp says what the trainer says.

The short form trains on less data; `--full-size` trains on all of it.
"""

import json
from pathlib import Path

import pytest

from freehold.training.finetune.protocol import FINISHED
from tests.conftest import StarterModels
from tests.training.finetune.data_sets import KINDS, plainness, questions, spellings, split, tickets
from tests.training.finetune.driving import Run, lay_job, run
from tests.training.finetune.served import agreement, answer, greedy, prompt_text, served, trainers_own

pytestmark = [pytest.mark.slow, pytest.mark.finetune]

LEARNT = 200
HELD_OUT = 60
TOKENS = 24
END = 2
"""The starter model's token that ends an answer."""
TOPICS = ("rain", "tea", "the moon", "a bridge", "salt", "snow", "a clock", "the sea", "bread", "sleep")


@pytest.fixture(scope="module")
def sorted_tickets(
    python: str, starter_models: StarterModels, full_size: bool, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Run]:
    """A supervised job that learns to sort tickets, with its folder."""
    training, _ = split(tickets(LEARNT + HELD_OUT), LEARNT)
    folder = lay_job(
        tmp_path_factory.mktemp("tickets") / "job",
        "supervised",
        starter_models.chat,
        training,
        hyperparameters={"n_epochs": 3 if full_size else 1},
    )
    done = run(python, folder)
    assert done.status == FINISHED, done.complaint
    return folder, done


def accuracy(weights: Path) -> float:
    """The part of the held-out tickets that a model sorts as it should."""
    _, held_out = split(tickets(LEARNT + HELD_OUT), LEARNT)
    with served(weights) as socket:
        said = [answer(socket, example["messages"][:-1], 6) for example in held_out]
    named = [next((kind for kind in KINDS if text.strip().lower().startswith(kind)), None) for text in said]
    right = [kind == example["messages"][-1]["content"] for kind, example in zip(named, held_out, strict=True)]
    return right.count(True) / len(right)


def test_supervised_learning_beats_the_base(sorted_tickets: tuple[Path, Run], starter_models: StarterModels) -> None:
    """After 200 examples the starter model sorts tickets that it has not seen; before, it could not."""
    folder, _ = sorted_tickets
    before, after = accuracy(starter_models.chat), accuracy(folder / "export" / "model.gguf")
    assert after >= 0.8
    assert after >= before + 0.4


def test_llamacpp_says_what_the_trainer_says(
    sorted_tickets: tuple[Path, Run], starter_models: StarterModels, python: str
) -> None:
    """Of 20 greedy answers, at least 95 % of the tokens are those of the trainer, whole and as an adapter."""
    folder, _ = sorted_tickets
    newest = max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name.removeprefix("step-")))
    held_out = [example["messages"][:-1] for example in tickets(LEARNT + HELD_OUT)[LEARNT : LEARNT + 10]]
    asked = [*held_out, *([{"role": "user", "content": f"Tell me about {topic}."}] for topic in TOPICS)]
    with served(folder / "export" / "model.gguf") as socket:
        texts = [prompt_text(socket, messages) for messages in asked]
        own = trainers_own(python, starter_models.chat, newest, texts, TOKENS)
        whole = [greedy(socket, prompt, TOKENS) for prompt in own["prompts"]]
    task = json.loads((folder / "task.json").read_text())
    (folder / "task.json").write_text(json.dumps({**task, "export": "lora"}))
    done = run(python, folder)
    assert done.status == FINISHED, done.complaint
    with served(starter_models.chat, folder / "export" / "model.gguf") as socket:
        adapted = [greedy(socket, prompt, TOKENS) for prompt in own["prompts"]]
    shares = {}
    for name, found in (("whole", whole), ("adapter", adapted)):
        counts = [agreement(ours, theirs, END) for ours, theirs in zip(own["answers"], found, strict=True)]
        shares[name] = sum(same for same, _ in counts) / sum(total for _, total in counts)
    assert shares["whole"] >= 0.95, shares
    assert shares["adapter"] >= 0.9, shares  # beside a base of 4 bits, whose products llama.cpp rounds otherwise


def test_preferences_shift(python: str, starter_models: StarterModels, full_size: bool, tmp_path: Path) -> None:
    """Of pairs that it has not seen, the base prefers fewer than 60 % as it should, and the result over 80 %."""
    training, validation = split(spellings(140 if full_size else 80), 100 if full_size else 64)
    numbers = {"n_epochs": 1, "learning_rate_multiplier": 3.0}
    job = lay_job(tmp_path / "job", "dpo", starter_models.chat, training, validation, hyperparameters=numbers)
    done = run(python, job)
    assert done.status == FINISHED, done.complaint
    found = done.series("valid_preference_accuracy")
    assert found[0] < 0.6
    assert found[-1] > 0.8


def test_rewards_rise(python: str, starter_models: StarterModels, full_size: bool, tmp_path: Path) -> None:
    """A small GRPO job raises the mean reward that a grader gives to answers to questions it was not trained on."""
    training, validation = split(questions(56), 40)
    numbers = {"reasoning_effort": "low", "batch_size": 2, "eval_interval": 10, "learning_rate_multiplier": 2.0}
    job = lay_job(
        tmp_path / "job",
        "reinforcement",
        starter_models.chat,
        training,
        validation,
        max_steps=30 if full_size else 10,
        hyperparameters=numbers,
    )
    done = run(python, job, plainness)
    assert done.status == FINISHED, done.complaint
    rewards = done.series("train_mean_reward")
    third = len(rewards) // 3
    assert sum(rewards[-third:]) / third > sum(rewards[:third]) / third + 0.2
    assert done.series("valid_mean_reward")[-1] > done.series("valid_mean_reward")[0] + 0.2
