"""The starter model learns a style, and llama.cpp says what the trainer says, token by token."""

from pathlib import Path

import pytest

from freehold.training.finetune.protocol import FINISHED
from tests.conftest import StarterModels
from tests.training.finetune.data_sets import replies, split
from tests.training.finetune.driving import lay_job, run
from tests.training.finetune.served import agreement, forced, greedy, prompt_text, served, trainers_own

pytestmark = [pytest.mark.slow, pytest.mark.finetune, pytest.mark.long]

ASKED = 20
TOKENS = 48
"""More than an answer in the style has."""
END = 2
"""The starter model's token that ends an answer."""


def test_llamacpp_says_what_the_trainer_says(
    python: str, starter_models: StarterModels, full_size: bool, tmp_path: Path
) -> None:
    """Of the tokens of 20 greedy answers in sentences, at least 95 % are the trainer's, run freely and led by them."""
    learnt = 200 if full_size else 64
    training, held_out = split(replies(learnt + ASKED), learnt)
    job = lay_job(
        tmp_path / "job", "supervised", starter_models.chat, training, hyperparameters={"n_epochs": 1, "batch_size": 4}
    )
    done = run(python, job)
    assert done.status == FINISHED, done.complaint
    newest = max((job / "checkpoints").iterdir(), key=lambda path: int(path.name.removeprefix("step-")))
    with served(job / "export" / "model.gguf") as socket:
        texts = [prompt_text(socket, example["messages"][:-1]) for example in held_out]
        own = trainers_own(python, starter_models.chat, newest, texts, TOKENS)
        pairs = list(zip(own["prompts"], own["answers"], strict=True))
        free = [agreement(answer, greedy(socket, prompt, TOKENS), END) for prompt, answer in pairs]
        led = [forced(socket, prompt, answer) for prompt, answer in pairs]
    total = sum(count for _, count in free)
    assert total >= 300
    assert sum(same for same, _ in free) / total >= 0.95, free
    assert sum(led) / total >= 0.95, led
    begun = [text.startswith("Dear customer, thank you for your letter") for text in own["told"]]
    assert begun.count(True) >= ASKED - 2, own["told"]
